"""EchoRL's experiment: its plan, and its claims on records with planted effects, without any, and of the wrong sign."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from reproduce import claims
from reproduce.claims import Verdict, decide
from reproduce.method_records import MethodRecords
from reproduce.papers.echorl_accuracy import cumulative_cost, equal_cost, omnibus
from reproduce.papers.echorl_claims import CLAIMS
from reproduce.papers.echorl_design import ARMS, DESIGNS, EVERY_ARM, PROFILES, plan
from reproduce.papers.echorl_measures import over_seeds_evidence
from reproduce.storage import UserError
from tests.reproduce.simulated_echorl import Planted, simulated_records

SECTION_7 = (
    "degeneration-grows vanishing-signal restored-gradient final-accuracy peak-selection unselected-null "
    "entropy-side-effect prefix-form step-deletion golden-entropy ood-transfer demo-complement overhead vs-remedies "
    "late-dose robustness short-step-bias"
).split()
STRONG = [name for name in EVERY_ARM if name.endswith("_strong")]
HELD = Planted(
    success={
        "echo": 6.0,
        "echo_strong": 12.0,
        "echo_moderate": 6.0,
        "full_rollout_strong": 4.0,
        "echo_demonstrations": 8.0,
        **{name: 6.0 for name in EVERY_ARM if name.startswith("echo_strong_")},
    },
    ood={"echo": 4.0},
    dose=40.0,
    rise=30.0,
    slope=-2.0,
    entropy={"echo_strong": 4.0, "lowest_entropy_prefix_strong": -4.0},
    short=2.0,
    selection=20.0,
    deletion={"high_first": -20.0, "low_first": 5.0},
    golden=5.0,
)
REVERSED = Planted(
    success={"echo": -6.0, "echo_strong": -8.0, "full_rollout_strong": 4.0, "echo_demonstrations": -8.0},
    ood={"echo": -8.0},
    dose=-20.0,
    rise=-20.0,
    slope=2.0,
    entropy={"echo_strong": -4.0, "lowest_entropy_prefix_strong": 4.0},
    ratio=0.01,
    slower=20.0,
    short=0.5,
    unselected=9.0,
    deletion={"high_first": 10.0},
    golden=-5.0,
)
WITHOUT_TEST = {"restored-gradient", "unselected-null", "overhead", "robustness"}


def verdicts(records: MethodRecords) -> Mapping[str, Verdict]:
    return {verdict.claim.identifier.partition(".")[2]: verdict for verdict in decide(CLAIMS, records)}


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> MethodRecords:
    folder = tmp_path_factory.mktemp("held")
    return simulated_records(folder, np.random.default_rng(1), HELD, "full", tasks=12, samples=32, steps=20)


@pytest.fixture(scope="module")
def reversed_records(tmp_path_factory: pytest.TempPathFactory) -> MethodRecords:
    folder = tmp_path_factory.mktemp("reversed")
    return simulated_records(folder, np.random.default_rng(2), REVERSED, "full", tasks=12, samples=32, steps=20)


def test_claims_are_those_of_the_specification() -> None:
    assert [claim.identifier for claim in CLAIMS] == [f"echorl.{name}" for name in SECTION_7]


def test_the_laptop_family_leaves_room_for_holm_with_eight_seeds(tmp_path: Path) -> None:
    records = simulated_records(tmp_path, np.random.default_rng(0), tasks=6, steps=12)
    found = decide(CLAIMS, records)
    assert len(found) == len(claims.tested_claims(CLAIMS, "laptop")) < len(CLAIMS)
    tested = [verdict for verdict in found if verdict.adjusted_p is not None]
    assert len(tested) <= 12 and len(tested) / 2 ** PROFILES["laptop"].seeds <= 0.05
    assert PROFILES["laptop"].seeds == 8 and PROFILES["full"].seeds >= 10


def test_planted_effects_are_found(held: MethodRecords) -> None:
    found = verdicts(held)
    decisions = {name: verdict.decision for name, verdict in found.items()}
    assert set(decisions.values()) == {"supported"}, decisions
    assert {name for name, verdict in found.items() if verdict.evidence.p_value is None} == WITHOUT_TEST


def test_the_wrong_sign_refutes(reversed_records: MethodRecords) -> None:
    decisions = {name: verdict.decision for name, verdict in verdicts(reversed_records).items()}
    # Robustness asks for one sign everywhere; here the settings at lambda = 0.1 have no effect and two have a loss.
    assert decisions.pop("robustness") in ("inconclusive", "refuted")
    assert set(decisions.values()) == {"refuted"}, decisions


def false_support(folder: Path, simulations: int) -> int:
    count = 0
    for seed in range(simulations):
        records = simulated_records(folder / str(seed), np.random.default_rng(seed), tasks=8, steps=20)
        found = verdicts(records)
        # The echo has a gradient and costs nothing in these records: those two claims are true.
        count += any(
            verdict.decision == "supported" for name, verdict in found.items() if verdict.evidence.p_value is not None
        )
    return count


def test_a_a_experiments_keep_the_family_wise_error(tmp_path: Path) -> None:
    assert false_support(tmp_path, 6) <= stats.binom.ppf(0.999, 6, 0.05)


@pytest.mark.slow
def test_a_a_experiments_keep_the_family_wise_error_at_length(tmp_path: Path) -> None:
    assert false_support(tmp_path, 200) <= stats.binom.ppf(0.999, 200, 0.05)


def test_a_null_at_the_published_weight_alone_does_not_refute(tmp_path: Path) -> None:
    planted = Planted(success={"echo_strong": 10.0, "random_prefix_strong": 5.0})
    found = verdicts(simulated_records(tmp_path, np.random.default_rng(3), planted, tasks=30, samples=64))
    accuracy = found["final-accuracy"]
    assert accuracy.evidence.high < 5
    assert accuracy.decision == "inconclusive"
    assert found["peak-selection"].decision == "supported"
    assert found["vs-remedies"].decision == "inconclusive"


def test_a_peak_that_brings_less_than_half_of_the_gain_is_refuted(tmp_path: Path) -> None:
    planted = Planted(success=dict.fromkeys(STRONG, 12.0) | {"echo_strong": 14.0})
    found = verdicts(simulated_records(tmp_path, np.random.default_rng(4), planted, tasks=30, samples=64))
    assert found["peak-selection"].decision == "refuted"
    assert found["peak-selection"].evidence.high < 7


def test_smoke_verdicts_are_withheld(tmp_path: Path) -> None:
    records = simulated_records(tmp_path, np.random.default_rng(5), HELD, "smoke", 2, 4, 4, 3)
    found = verdicts(records)
    assert len(found) == len(SECTION_7)
    assert {verdict.decision for verdict in found.values()} == {"withheld"}


def test_evidence_over_seeds_is_the_exact_sign_flip() -> None:
    found = over_seeds_evidence(np.arange(1.0, 9.0), lambda low, high: low > 0, lambda low, high: high < 0)
    assert found.p_value == 2.0**-8 and found.in_favour and not found.against
    missing = over_seeds_evidence(np.array([1.0, np.nan]), lambda low, high: True, lambda low, high: True)
    assert not missing.in_favour and not missing.against and missing.p_value is None
    shifted = over_seeds_evidence(
        np.full(8, 1.5) + np.linspace(0, 0.1, 8), lambda low, high: low > 1, lambda low, high: False, null=1.0
    )
    assert shifted.p_value == 2.0**-8


def test_the_omnibus_test_sees_one_arm_that_differs(tmp_path: Path) -> None:
    arms = ["echo_strong", "random_prefix_strong", "lowest_entropy_prefix_strong", "full_rollout_strong"]
    planted = Planted(success={"echo_strong": 8.0})
    differs = simulated_records(tmp_path / "1", np.random.default_rng(6), planted)
    alike = simulated_records(tmp_path / "2", np.random.default_rng(7))
    assert omnibus(differs, arms) < 0.01 < omnibus(alike, arms)


def test_costs_count_extra_rollouts(held: MethodRecords) -> None:
    usual = cumulative_cost(held, "reasoning", "grpo", "episodes")
    dynamic = cumulative_cost(held, "reasoning", "dapo", "episodes")
    np.testing.assert_allclose(dynamic, 3 * usual)
    tokens = cumulative_cost(held, "reasoning", "dapo", "tokens/sampled")
    assert (np.diff(tokens, axis=1) > 0).all()
    training = held.training.copy()
    # DAPO learns steadily: at GRPO's cost it is a third of the way, where its reward is about 0.3.
    rows = training["arm"] == "dapo"
    training.loc[rows, "reward"] = training.loc[rows, "step"] / 20
    difference = equal_cost(replace(held, training=training), "grpo", "dapo", "episodes")
    assert np.abs(difference - 100 * (0.5 - 5.5 / 20)).max() < 5


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_plans_are_runs_after_their_base(profile: str) -> None:
    config = PROFILES[profile]
    runs = plan(config)
    assert len({run.name for run in runs}) == len(runs)
    bases = set()
    for run in runs:
        place = (run.environment, run.seed)
        if run.arm == "base":
            assert run.training is None and run.method is None
            bases.add(place)
        else:
            assert place in bases and run.training is not None and run.method is not None
            categories = max(1, len(run.panels.categories))
            tasks = run.panels.train * categories
            assert tasks * run.training.epochs % run.training.questions_per_step == 0, run.name
    assert {run.arm for run in runs} <= set(ARMS)


def test_smoke_and_full_have_every_arm_and_both_environments() -> None:
    for profile in ("smoke", "full"):
        runs = plan(PROFILES[profile])
        assert {run.arm for run in runs if run.environment == "reasoning"} == set(ARMS)
        assert {run.environment for run in runs} == {"reasoning", "countdown"}


def test_other_group_sizes_sample_as_many_episodes() -> None:
    runs = {run.arm: run.training for run in plan(PROFILES["full"]) if run.seed == 0 and run.environment == "reasoning"}
    sizes = {training.questions_per_step * training.group_size for training in runs.values() if training is not None}
    assert len(sizes) == 1
    assert {runs["grpo_group_4"].group_size, runs["grpo_group_16"].group_size} == {4, 16}
    assert runs["echo_strong_group_4"] == runs["grpo_group_4"]


def test_an_unknown_arm_is_refused() -> None:
    with pytest.raises(UserError, match="unknown arm 'echos'.*echo"):
        plan(replace(PROFILES["laptop"], reasoning_arms=("echos",)))


def test_controls_differ_from_the_echo_in_what_they_say() -> None:
    echo = DESIGNS["echo_strong"].settings
    assert echo is not None
    for name, changed in {
        "random_prefix_strong": {"selection"},
        "lowest_entropy_prefix_strong": {"selection"},
        "full_rollout_strong": {"extent"},
        "isolated_peak_strong": {"extent"},
        "last_step_strong": {"selection", "extent"},
        "length_matched_random_strong": {"selection"},
        "echo": {"weight"},
        "placebo": {"weight"},
    }.items():
        settings = DESIGNS[name].settings
        assert settings is not None
        assert {field for field, value in vars(settings).items() if value != vars(echo)[field]} == changed, name
