"""The experiment on RRPO and SRPO: planted effects are found, equal arms are not told apart, exact claims hold."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from reproduce import claims
from reproduce.claims import Verdict, decide
from reproduce.method_records import MethodRecords
from reproduce.papers import resets, resets_identities, resets_measures, resets_tests
from reproduce.papers.resets_chains import ChainLog, Located, group_signal, read_tables, step_row
from reproduce.papers.resets_coverage import coverage_laws
from reproduce.papers.resets_evidence import different, not_worse, of_seeds
from reproduce.papers.resets_settings import ARMS, LAPTOP, SETTINGS
from tests.reproduce.simulated_resets import Planted, simulated
from theory.inference import mean_interval

NOTHING = Planted()
REGISTERED = (
    "srpo-vs-rrpo",
    "srpo-vs-grpo",
    "speed-up",
    "rrpo-like-grpo",
    "localization-dose",
    "position-control",
    "clean-prefix",
    "coverage-law",
    "split-mixture",
    "prefix-mask",
    "token-signal",
    "clip-role",
    "self-correction-rise",
    "g1-bias",
    "format-transfer",
    "localization-profile",
)
NULL_UNDER_A_A = (
    "srpo-vs-rrpo",
    "srpo-vs-grpo",
    "speed-up",
    "localization-dose",
    "position-control",
    "clean-prefix",
    "token-signal",
    "self-correction-rise",
)
LEARNS = Planted(
    gains={"rrpo": 0, "position_control": 2, "srpo_degraded": 7, "srpo_oracle": 14},
    speed={"srpo_degraded": 3.0, "srpo_oracle": 3.0},
    clean=0.4,
    erroneous=0.1,
    signal=0.4,
    rise=0.4,
)


def verdicts(seed: int, planted: Planted = NOTHING, **sizes: Any) -> dict[str, Verdict]:
    records = simulated(np.random.default_rng(seed), planted, **sizes)
    return {verdict.claim.identifier.partition(".")[2]: verdict for verdict in decide(resets.CLAIMS, records)}


@pytest.fixture(scope="module")
def full() -> MethodRecords:
    planted = Planted(
        gains={
            **{arm: 8 for arm in SETTINGS if arm.startswith("srpo") or arm in ("independent_base", "unmasked_prefix")},
            "srpo_oracle": 14,
            "srpo_1x8": -6,
            "srpo_2x4": 2,
            "srpo_clip": 2,
        },
        valid={"srpo_degraded": 10},
        spread=0.5,
    )
    sizes = {"seeds": 10, "tasks": 20, "samples": 128, "steps": 12}
    return simulated(np.random.default_rng(7), planted, profile="full", **sizes)


# ---- plan and registration


def test_claims_are_those_of_the_specification() -> None:
    assert [claim.identifier for claim in resets.CLAIMS] == [f"resets.{name}" for name in REGISTERED]
    assert "resets.prop10" in [identity.identifier for identity in resets.IDENTITIES]


def test_the_laptop_family_survives_holm() -> None:
    family = claims.tested_claims(resets.CLAIMS, "laptop")
    assert len(family) <= 12
    assert len(family) * 2.0 ** -resets.PROFILES["laptop"].seeds < 0.05
    assert {claim.identifier for claim in resets.CLAIMS if claim.full_only} == {
        f"resets.{name}"
        for name in ("split-mixture", "prefix-mask", "clip-role", "g1-bias", "format-transfer", "localization-profile")
    }


@pytest.mark.parametrize("profile", list(resets.PROFILES))
def test_plan(profile: str) -> None:
    config = resets.PROFILES[profile]
    runs = resets.plan(config)
    assert len(runs) == config.seeds * (1 + len(config.arms)) == len({run.name for run in runs})
    for seed in range(config.seeds):
        own = [run for run in runs if run.seed == seed]
        order = [run.arm for run in own]
        assert order[0] == "base" and own[0].training is None
        assert order.index("srpo_oracle") < order.index("position_control")
        assert {run.arm for run in own if run.method and run.method.probe_tasks} == {"rrpo"}
        assert len({(run.panels, run.policy, run.warm_start, run.sampling) for run in own}) == 1
    assert set(config.arms) == (set(LAPTOP) if profile == "laptop" else set(SETTINGS))
    assert set(ARMS) == {"base", *SETTINGS}
    assert len(resets.planned_effects(config)) >= 1


# ---- verdicts on simulated records


def test_planted_effects_are_found() -> None:
    found = verdicts(1, LEARNS, samples=64)
    assert {name for name, verdict in found.items() if verdict.decision == "supported"} == {
        *NULL_UNDER_A_A,
        "rrpo-like-grpo",
        "coverage-law",
    }
    assert 1.5 < found["speed-up"].evidence.effect < 4
    assert found["srpo-vs-rrpo"].evidence.low < 7 < found["srpo-vs-rrpo"].evidence.high


def test_the_wrong_sign_refutes() -> None:
    gains = {"srpo_degraded": -9, "srpo_oracle": -12, "position_control": 0, "rrpo": -5}
    planted = Planted(gains, speed={"grpo": 3.0}, clean=0.1, erroneous=0.4, signal=-0.4, rise=-0.4)
    found = verdicts(2, planted, samples=64)
    refuted = {name for name, verdict in found.items() if verdict.decision == "refuted"}
    assert refuted == {*NULL_UNDER_A_A, "rrpo-like-grpo"}


def test_blind_resets_that_do_as_well_refute_credit_assignment() -> None:
    equal = Planted(gains={"srpo_oracle": 8, "position_control": 8}, spread=0.3)
    found = verdicts(3, equal, samples=128)
    assert found["position-control"].decision == "refuted"
    assert found["srpo-vs-rrpo"].decision == "refuted"


def test_a_gain_over_the_published_loss_alone_is_no_gain_of_resets() -> None:
    found = verdicts(4, Planted(gains={"grpo": -10}, spread=0.3), samples=128)["srpo-vs-grpo"]
    assert found.decision == "refuted"
    assert any("the loss alone" in label and value.startswith("+") for label, value in found.evidence.details)


def false_support(simulations: int, **sizes: Any) -> int:
    """In how many A/A experiments any superiority claim is supported, corrected over these claims alone."""
    family = [claim for claim in resets.CLAIMS if claim.identifier.partition(".")[2] in NULL_UNDER_A_A]
    count = 0
    for seed in range(simulations):
        found = decide(family, simulated(np.random.default_rng(seed), **sizes))
        count += any(verdict.decision == "supported" for verdict in found)
    return count


def test_a_a_experiments_keep_the_family_wise_error() -> None:
    assert false_support(3, tasks=10, steps=15, resets=3) <= stats.binom.ppf(0.999, 3, 0.05)


@pytest.mark.slow
def test_a_a_experiments_keep_the_family_wise_error_at_length() -> None:
    assert false_support(200, tasks=20) <= stats.binom.ppf(0.999, 200, 0.05)


def test_earliness_alone_is_called_so() -> None:
    """Correction that depends on the position alone: clean prefixes, which are earlier, look better until adjusted."""
    found = verdicts(5, Planted(clean=0.5, erroneous=0.5, late=0.05), resets=40)["clean-prefix"]
    assert found.decision == "supported"
    details = dict(found.evidence.details)
    assert details["explained by earliness"] == "yes"


def test_claims_of_the_full_profile(full: MethodRecords) -> None:
    found = {verdict.claim.identifier.partition(".")[2]: verdict for verdict in decide(resets.CLAIMS, full)}
    assert set(found) == set(REGISTERED)
    for name in ("split-mixture", "clip-role", "format-transfer", "localization-profile", "localization-dose"):
        assert found[name].decision == "supported", name
    assert not found["g1-bias"].evidence.in_favour
    assert found["prefix-mask"].decision != "refuted"


def test_smoke_verdicts_are_withheld() -> None:
    found = verdicts(6, profile="smoke", seeds=2, tasks=3, steps=6)
    assert {verdict.decision for verdict in found.values()} == {"withheld"}


# ---- evidence


def test_evidence_of_seeds_is_the_paired_t_interval() -> None:
    values = np.random.default_rng(0).normal(1.0, 1.0, 8)
    found, reference = of_seeds(values, 0.0), mean_interval(values)
    assert (found.effect, found.low, found.high) == pytest.approx((reference.mean, reference.low, reference.high))


def test_differences_either_way_and_equality() -> None:
    table = np.random.default_rng(1).normal(0, 1, (10, 40))
    assert different(table + 3, 1.0).in_favour and different(table - 3, 1.0).in_favour
    equal = different(table, 1.0)
    assert equal.against and not equal.in_favour
    assert not_worse(table, 1.0).in_favour and not_worse(table, 1.0).p_value < 0.05
    assert not_worse(table - 3, 1.0).against and not_worse(table - 3, 1.0).p_value > 0.5


# ---- measures


def test_cost_to_a_level() -> None:
    success = np.array([[0.0, 0.0, 0.0, 0.6, 0.9, 0.9, 0.9], [0.1] * 7])
    steps = np.broadcast_to(np.arange(1.0, 8), success.shape)
    found = resets_measures.cost_to_level(resets_measures.Curves(success, steps, 2 * steps, 100 * steps), 0.5, "tokens")
    # Means over three steps: .5 at step 5, from 0, .6 and .9.
    assert found.cost.tolist() == [500, 700]
    assert found.reached.tolist() == [True, False]


def test_smoothing_is_a_mean_of_the_past() -> None:
    values = np.arange(20.0)
    found = resets_measures.smoothed(values, share=0.2)
    assert found[:2].tolist() == [0.0, 0.5]
    assert found[-1] == values[-4:].mean()


def reset_rows(chosen: list[int], truth: list[int], steps: int, **more: Any) -> pd.DataFrame:
    found = pd.DataFrame({"seed": 0, "category": "hard", "steps": steps, "chosen": chosen, "truth": truth, **more})
    return found.assign(exact=found["chosen"] == found["truth"])


def test_agreement_above_chance_is_that_of_all_permutations() -> None:
    chosen, truth = [1, 2, 2, 4, 3], [1, 2, 3, 3, 3]
    permuted = [np.mean(np.array(order) == np.array(truth)) for order in itertools.permutations(chosen)]
    expected = 100 * (np.mean(np.array(chosen) == np.array(truth)) - np.mean(permuted))
    assert resets_measures.agreement_above_chance(reset_rows(chosen, truth, 4)) == pytest.approx([expected])


def test_odds_ratio_by_strata() -> None:
    """Two places with odds ratio 4 each, and clean prefixes rare where success is: the raw ratio is another."""
    rows = []
    for place, clean, solved, count in (
        (1, True, True, 4000),
        (1, True, False, 1000),
        (1, False, True, 100),
        (1, False, False, 100),
        (5, True, True, 100),
        (5, True, False, 400),
        (5, False, True, 500),
        (5, False, False, 8000),
    ):
        rows += [{"seed": 0, "category": "hard", "steps": 8, "chosen": place, "clean": clean, "solved": solved}] * count
    adjusted = resets_measures.log_odds_of_clean(pd.DataFrame(rows), by_position=True)
    raw = resets_measures.log_odds_of_clean(pd.DataFrame(rows), by_position=False)
    assert np.exp(adjusted) == pytest.approx([4.0], rel=0.02)
    assert np.exp(raw) == pytest.approx([410 * 810 / (140 * 60)], rel=0.02)


def test_coverage_laws_are_near_their_predictions() -> None:
    laws = coverage_laws()
    assert [law.predicted for law in laws.values()] == pytest.approx([1.89, 1.02, 1.0], abs=0.01)
    for law in laws.values():
        assert law.fitted.mean() == pytest.approx(law.predicted, abs=0.05)


# ---- what a run keeps


def columns(rewards: list[float], groups: list[int], prefix: int = 2, length: int = 5) -> dict[str, list[Any]]:
    masks = [[0] * (prefix if group else 0) + [1] * (length - (prefix if group else 0)) for group in groups]
    return {
        "chain_reward": rewards,
        "success": [reward == 1 for reward in rewards],
        "reset_group": groups,
        "env_mask": masks,
        "logprobs": [[float(np.log(0.5))] * length for _ in rewards],
        "generated_tokens": [40] + [0] * (len(rewards) - 1),
        "generated_chains": [9] + [0] * (len(rewards) - 1),
    }


def test_signal_per_token() -> None:
    told = columns([1, 0, 0, 0, 1, 1, 0, 0], [0] * 4 + [1] * 4)
    base = group_signal(told, np.arange(4))
    suffix = group_signal(told, np.arange(4, 8))
    spread = np.sqrt(0.25 * 0.75)
    # |A| is .75/spread once and .25/spread three times; every token had chance one half.
    assert base is not None and suffix is not None
    assert base["signal"] == pytest.approx((0.75 + 3 * 0.25) / spread / 4 * 0.5 / 5)
    assert suffix["signal"] == pytest.approx(1.0 * 0.5 / 3)
    assert suffix["inverse_length"] == pytest.approx(1 / 3)
    assert group_signal(columns([1, 1], [0, 0]), np.arange(2)) is None


def test_row_of_a_step() -> None:
    told = columns([1, 0, 0, 0, 1, 1, 0, 0] + [0] * 8, ([0] * 4 + [1] * 4) * 2)
    located = [Located("hard", f"task-{place}", 7, 3, 3 + place, 0) for place in range(2)]
    row = step_row(4, told, [True, False, False], located, 8)
    assert (row["fresh_successes"], row["fresh_chains"], row["generated_tokens"]) == (1, 3, 40)
    assert [(one["corrected"], one["truth"], one["base_successes"]) for one in row["resets"]] == [(2, 3, 1), (0, 4, 0)]
    # Of two prompts one has signal in both groups.
    assert row["suffix_signal"] == pytest.approx(0.5 / 3)


def test_a_step_drawn_again_replaces_the_earlier_one(tmp_path: Path) -> None:
    log = ChainLog(tmp_path)
    located = [Located("hard", "task", 7, 3, 2, 0)]
    told = columns([1, 0, 0, 0, 1, 1, 0, 0], [0] * 4 + [1] * 4)
    for step, fresh in ((1, [True]), (2, [True]), (2, [False])):
        log.append(step_row(step, told, fresh, located, 8))
    log.finish()
    tables = read_tables(tmp_path)
    assert tables["steps"]["fresh_successes"].tolist() == [1, 0]
    assert tables["resets"]["step"].tolist() == [1, 2]
    assert not log.path.exists()


# ---- exact claims


def test_exact_claims_hold() -> None:
    for identity in resets.IDENTITIES:
        check = identity.examine()
        assert check.failures == 0 and check.cases > 0, identity.identifier


def test_a_prefix_that_is_trained_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    masked = resets_identities._columns

    def unmasked(in_prompt: bool) -> Mapping[str, Any]:
        found = masked(in_prompt)
        return {**found, "env_mask": [[1] * len(mask) for mask in found["env_mask"]]}

    monkeypatch.setattr(resets_identities, "_columns", unmasked)
    resets_identities._update.cache_clear()
    assert resets_identities.prefix_gradient().failures == sum(resets_identities.PREFIXES)
    assert resets_identities.prefix_encoding().failures > 0
    resets_identities._update.cache_clear()


def test_a_wrong_law_of_the_base_group_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    law = resets_identities.base_group_law
    monkeypatch.setattr(resets_identities, "base_group_law", lambda p, size, limit: law(p, size + 1, limit))
    assert resets_identities.group_bias().failures > 0


# ---- figures and sections


@pytest.mark.parametrize("profile", ["laptop", pytest.param("full", marks=pytest.mark.slow)])
def test_figures_and_sections(profile: str, full: MethodRecords, tmp_path: Path) -> None:
    records = full if profile == "full" else simulated(np.random.default_rng(8), LEARNS, tasks=8, steps=12)
    figures = resets.draw_figures(records, tmp_path)
    wanted = {name for claim in resets.CLAIMS for name in claim.figures}
    assert wanted <= set(figures)
    assert all(figure.path.stat().st_size > 1000 for figure in figures.values())
    sections = resets.further_sections(records)
    for section in sections:
        assert "nan" not in section.body
        assert set(section.figures) <= set(figures)
    assert "episodes" in resets.scope(records)
    assert len(resets.positive_controls(records)) == len(resets_measures.trained_arms(records))


# ---- arms


def test_the_learned_localizer_fits_what_lies_on_disk(tmp_path: Path) -> None:
    from reproduce.papers.resets_arms import LearningRule

    generator = np.random.default_rng(0)
    rows = []
    for step in (1, 2):
        tables = [generator.normal(size=(6, 3)) for _ in range(30)]
        labels = [int(table[:, 1].argmax()) + 1 for table in tables]
        rows.append({"step": step, "features": [table.tolist() for table in tables], "labels": labels})
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in (rows[1], *rows)))
    rule = LearningRule(SETTINGS["srpo_learned"], lambda requests: [], tmp_path, lambda: 99)
    weights = rule._fit().weights
    assert weights[1] > 5 * max(abs(weights[0]), abs(weights[2]))


@pytest.mark.slow
def test_arms_train_on_the_environment(tmp_path: Path) -> None:
    """Two arms of the smoke profile: the oracle resets at the error, its control at the same places and blindly."""
    from dataclasses import replace

    from reproduce.runs import execute

    config = replace(resets.PROFILES["smoke"], seeds=1, arms=("srpo_oracle", "position_control", "grpo_clip"))
    for run in resets.plan(config):
        execute(run, tmp_path)
    folder = tmp_path / "reasoning"
    oracle, control = (read_tables(folder / arm / "seed-0") for arm in config.arms[:2])
    assert len(oracle["resets"]) > 0
    assert (oracle["resets"]["chosen"] == oracle["resets"]["truth"]).all()
    assert control["resets"]["chosen"].between(1, control["resets"]["steps"]).all()
    assert (control["resets"]["attempts"] == 4).all()
    clipped = read_tables(folder / "grpo_clip" / "seed-0")
    assert len(clipped["resets"]) == 0
    assert (clipped["steps"]["fresh_chains"] == 32).all()
    logged = (folder / "grpo_clip" / "seed-0" / "metrics.jsonl").read_text().splitlines()
    assert len(logged) == len(clipped["steps"]) == len(oracle["steps"])
    assert SimpleNamespace(**json.loads(logged[0])).reward is not None


def test_margins_are_half_of_what_the_paper_shows() -> None:
    assert resets_tests.half("SRPO", "RRPO") == pytest.approx((1.7 + 6.6) / 4, abs=0.03)
    assert resets_tests.half("SRPO", "GRPO") == pytest.approx((5.6 + 3.3) / 4, abs=0.03)
