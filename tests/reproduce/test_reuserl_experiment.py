"""ReuseRL's experiment: planted effects are found, A/A keeps the error rate, the wrong sign is refuted."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from reproduce.claims.power import planned_rows
from reproduce.claims.ratios import ratio_difference, ratio_table, two_panels
from reproduce.claims.records import MethodRecords
from reproduce.claims.verdicts import Verdict, claims_tested, decide, offered_by_plan, offered_by_records
from reproduce.core.config import RunConfig
from reproduce.core.files import UserError
from reproduce.papers.reuserl import bound as reuserl_bound
from reproduce.papers.reuserl import identities as reuserl_identities
from reproduce.papers.reuserl.bound import DRAWS, base_draws
from reproduce.papers.reuserl.compressibility import (
    compressibility_evidence,
    partial_correlation_within,
    partial_rank_correlation,
    run_points,
)
from reproduce.papers.reuserl.experiment import ALL_ARMS, HEADLINE_ARMS, PROFILES, plan, settings_of
from reproduce.papers.reuserl.figures import operations
from reproduce.papers.reuserl.hacks import cheaper_with_one_more, repetition_price
from reproduce.papers.reuserl.measures import (
    empty_share,
    further_records,
    longest_run,
    measure_tasks,
    read_dictionary,
    read_records,
    was_empty,
    write_dictionary,
)
from reproduce.papers.reuserl.paper import PAPER as reuserl
from reproduce.papers.reuserl.sections import matched_length_arm
from reproduce.papers.reuserl.statistics import bound_coverage
from reproduce.report.pages import write_report
from tests.reproduce.simulated_reuserl import NOTHING, PUBLISHED, REVERSED, World, simulated, write_simulated

LAPTOP = PROFILES["laptop"]
SMALL_FULL = replace(
    PROFILES["full"],
    countdown_arms=(*HEADLINE_ARMS, "segcost_no_buffer"),
    cooking_arms=LAPTOP.cooking_arms,
    household_arms=HEADLINE_ARMS,
)
"""The arms that the claims of `full` compare."""
OF_TRAINING = (
    "penalties-beat-grpo",
    "length-harms-guarded",
    "segcost-avoids-harm",
    "irreversible-share",
    "countdown-op-mix",
    "structure-matters",
    "starts-as-length",
)


def verdicts(records: MethodRecords, names: tuple[str, ...] = ()) -> dict[str, Verdict]:
    chosen = [claim for claim in reuserl.claims if not names or claim.identifier.partition(".")[2] in names]
    return {verdict.claim.identifier.partition(".")[2]: verdict for verdict in decide(chosen, records)}


def decisions(records: MethodRecords, names: tuple[str, ...] = ()) -> dict[str, str]:
    return {name: verdict.decision for name, verdict in verdicts(records, names).items()}


@pytest.fixture(scope="module")
def published() -> MethodRecords:
    return simulated(np.random.default_rng(1), PUBLISHED)


@pytest.fixture(scope="module")
def smoke() -> MethodRecords:
    arms = (*HEADLINE_ARMS, "segcost_no_buffer")
    config = replace(PROFILES["smoke"], countdown_arms=arms)
    return simulated(np.random.default_rng(9), PUBLISHED, config, seeds=2, tasks=3, samples=2, strings=4)


# ---- the pipeline from records to verdicts


def test_claims_are_those_of_the_specification() -> None:
    assert [identity.identifier for identity in reuserl.identities] == [
        "reuserl.length-identity",
        "reuserl.mean-objective-degenerate",
        "reuserl.lambda-cancels",
        "reuserl.repetition-cheap",
        "reuserl.bound-coverage",
    ]
    assert [claim.identifier for claim in reuserl.claims] == [
        f"reuserl.{name}"
        for name in (
            "penalties-beat-grpo",
            "length-harms-guarded",
            "segcost-avoids-harm",
            "irreversible-share",
            "ood-gain-not-smaller",
            "easy-env-equivalence",
            "cleaner-actions",
            "segcost-not-shorter",
            "countdown-op-mix",
            "buffer-tradeoff",
            "compressibility-predicts",
            "structure-matters",
            "starts-as-length",
        )
    ]
    tested = claims_tested(reuserl.claims, offered_by_plan(plan(LAPTOP), LAPTOP))
    assert {claim.identifier.partition(".")[2] for claim in tested} == set(OF_TRAINING)


def test_planted_effects_are_found_at_the_laptop_profile(published: MethodRecords) -> None:
    found = verdicts(published)
    assert {name: verdict.decision for name, verdict in found.items()} == dict.fromkeys(OF_TRAINING, "supported")
    harm = found["length-harms-guarded"].evidence.deciding
    assert harm.low < 11 < harm.high
    parts = [part.label for part in found["penalties-beat-grpo"].evidence.parts]
    assert parts == ["countdown: length - GRPO", "countdown: SegCost - GRPO"]


def test_the_wrong_sign_is_refuted() -> None:
    records = simulated(np.random.default_rng(2), REVERSED, strings=0)
    wanted = dict.fromkeys(OF_TRAINING, "refuted") | {"segcost-avoids-harm": "no premise"}
    assert decisions(records, OF_TRAINING) == wanted


OF_FULL = ("ood-gain-not-smaller", "easy-env-equivalence", "cleaner-actions", "segcost-not-shorter", "buffer-tradeoff")


def test_planted_effects_are_found_in_the_claims_of_full_only() -> None:
    world = replace(PUBLISHED, ood_follows_structure=0.0, spread=0.5)
    records = simulated(np.random.default_rng(3), world, SMALL_FULL, seeds=10, samples=64, strings=0)
    assert decisions(records, OF_FULL) == dict.fromkeys(OF_FULL, "supported")


def test_the_wrong_sign_is_refuted_in_the_claims_of_full_only() -> None:
    records = simulated(np.random.default_rng(4), REVERSED, SMALL_FULL, seeds=10, strings=0)
    assert decisions(records, OF_FULL) == dict.fromkeys(OF_FULL, "refuted")


def false_support(simulations: int, **sizes: int) -> int:
    """In how many A/A experiments any claim about training is supported."""
    count = 0
    for seed in range(simulations):
        records = simulated(np.random.default_rng(seed), NOTHING, strings=0, **sizes)
        count += "supported" in decisions(records, OF_TRAINING).values()
    return count


def test_a_a_experiments_keep_the_family_wise_error() -> None:
    assert false_support(4, tasks=12, samples=8) == 0


@pytest.mark.slow
def test_a_a_experiments_keep_the_family_wise_error_at_length() -> None:
    assert false_support(150) / 150 <= 0.05


def test_smoke_verdicts_are_withheld(smoke: MethodRecords) -> None:
    assert set(decisions(smoke).values()) == {"withheld"}


def test_without_failures_the_share_of_failures_is_not_measured(published: MethodRecords) -> None:
    counts = published.counts.copy()
    cooking = (counts["environment"] == "cooking") & (counts["arm"] == "segcost")
    counts.loc[cooking, "successes"] = counts.loc[cooking, "n"]
    counts.loc[cooking, ["failure: burned", "failure: timeout"]] = 0
    verdict = verdicts(replace(published, counts=counts), ("irreversible-share",))["irreversible-share"]
    assert verdict.decision == "not testable"
    assert "8 of 8 seeds left out: a share of nothing" in verdict.reason


def with_log(records: MethodRecords, environment: str, arms: tuple[str, ...], column: str, value: float):
    """The records with one column of the training log of some arms set to a value in every step."""
    log = records.training.copy()
    log.loc[(log["environment"] == environment) & log["arm"].isin(arms), column] = value
    return replace(records, training=log)


def test_an_empty_dictionary_is_a_length_penalty_and_not_judged_as_segcost(published: MethodRecords) -> None:
    assert not was_empty(published, "countdown") and empty_share(published, "countdown") == pytest.approx(0.1)
    records = with_log(published, "countdown", ("segcost",), "reuse/phrases", 0.0)
    found = verdicts(records, OF_TRAINING)
    for name in ("penalties-beat-grpo", "countdown-op-mix"):
        assert found[name].decision == "not testable" and "dictionary was empty: 100 %" in found[name].reason
    reason = ("not measured", "countdown: SegCost's dictionary was empty (100 % of the steps)")
    assert reason in found["starts-as-length"].evidence.rows()
    assert found["starts-as-length"].decision == "supported"
    assert not any("countdown: ρ" in label for label, _ in found["starts-as-length"].evidence.rows())
    text = " ".join(section.body for section in reuserl.load_reporting().further_sections(records))
    assert "dictionary was empty" in text


def test_no_claim_about_segcost_is_judged_where_every_dictionary_was_empty(published: MethodRecords) -> None:
    records = published
    for environment in ("countdown", "cooking"):
        records = with_log(records, environment, ("segcost",), "reuse/phrases", 0.0)
    found = decisions(records, OF_TRAINING)
    # Only GRPO against the length penalty is left to judge.
    assert found == dict.fromkeys(OF_TRAINING, "not testable") | {"length-harms-guarded": "supported"}
    full = simulated(np.random.default_rng(4), REVERSED, SMALL_FULL, seeds=10, strings=0)
    for environment in ("countdown", "cooking", "household"):
        full = with_log(full, environment, ("segcost",), "reuse/phrases", 0.0)
    assert decisions(full, OF_FULL) == dict.fromkeys(OF_FULL, "not testable")


def test_the_share_of_groups_of_successes_is_beside_the_harm(published: MethodRecords) -> None:
    records = with_log(published, "cooking", ("length",), "groups/all_right", 0.25)
    details = dict(verdicts(records, ("length-harms-guarded",))["length-harms-guarded"].evidence.rows())
    label = "groups of successes only, %, {}: training, its first and last tenth"
    assert details[label.format("length")] == "25.0, 25.0, 25.0" and details[label.format("grpo")].startswith("50.0")


@pytest.mark.parametrize(
    "arms",
    [
        {"cooking_arms": ()},
        {"countdown_arms": ()},
        {"cooking_arms": HEADLINE_ARMS},
        {"cooking_arms": (*HEADLINE_ARMS, "random_dictionary")},
    ],
)
def test_plans_without_an_environment_or_a_control_have_a_report(arms: dict[str, Any], tmp_path: Path) -> None:
    records = simulated(np.random.default_rng(11), NOTHING, replace(LAPTOP, **arms), 2, 3, 2, strings=3)
    found = verdicts(records, OF_TRAINING)
    assert ("structure-matters" in found) == ("cooking_arms" not in arms)
    assert ("countdown-op-mix" in found) == ("countdown_arms" not in arms)
    text = " ".join(section.body for section in reuserl.load_reporting().further_sections(records))
    assert not re.search(r"\b(nan|inf|None)\b", text + reuserl.load_reporting().scope(records))
    drawing, _ = operations(records)
    assert len(drawing.axes) == 2


# ---- statistics


def test_a_ratio_table_has_the_ratio_of_sums_in_every_row() -> None:
    generator = np.random.default_rng(0)
    below = generator.integers(1, 9, (6, 30)).astype(float)
    above = generator.binomial(below.astype(int), 0.3).astype(float)
    table = ratio_table(above, below)
    np.testing.assert_allclose(table.mean(axis=1), 100 * above.sum(axis=1) / below.sum(axis=1))
    # The spread over tasks is that of the ratio when tasks are drawn anew, checked by bootstrap.
    drawn = [generator.integers(30, size=30) for _ in range(4000)]
    again = [100 * above[0, which].sum() / below[0, which].sum() for which in drawn]
    assert table[0].std(ddof=1) / 30**0.5 == pytest.approx(np.std(again), rel=0.1)


def test_seeds_without_a_denominator_are_left_out() -> None:
    ones = np.ones((3, 4))
    empty = np.array([[1.0] * 4, [0.0] * 4, [1.0] * 4])
    table, note = ratio_difference((ones * empty, empty), (0 * ones, ones))
    assert note.startswith("1 of 3 seeds") and np.isnan(table[1]).all()
    np.testing.assert_allclose(table[[0, 2]], 100)


def test_two_panels_of_different_size_have_the_difference_of_means() -> None:
    generator = np.random.default_rng(1)
    first, second = generator.normal(3, 1, (8, 10)), generator.normal(1, 1, (8, 25))
    table = two_panels(first, second)
    np.testing.assert_allclose(table.mean(axis=1), first.mean(axis=1) - second.mean(axis=1))
    variance = first[0].var(ddof=1) / 10 + second[0].var(ddof=1) / 25
    assert table[0].var(ddof=1) / 35 == pytest.approx(variance, rel=0.1)


def test_partial_rank_correlation_equals_the_formula() -> None:
    generator = np.random.default_rng(4)
    x, y, z = generator.normal(size=(3, 50))
    y, z = y + x, z + 0.5 * x
    xy, xz, yz = (stats.spearmanr(*pair).statistic for pair in ((x, y), (x, z), (y, z)))
    wanted = (xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2))
    assert partial_rank_correlation(x, y, z) == pytest.approx(wanted)
    assert np.isnan(partial_rank_correlation(z, y, z))
    assert partial_rank_correlation(x, y, np.zeros(50)) == pytest.approx(xy)


def test_correlation_within_arms_knows_nothing_of_differences_between_arms() -> None:
    generator = np.random.default_rng(13)
    x, y, z = generator.normal(size=(3, 12, 5))
    y = y + x
    x[0, 0] = np.nan
    found = partial_correlation_within(x, y, z)
    shift = np.arange(5) * 100.0
    assert partial_correlation_within(x + shift, y - shift, z + shift**2) == pytest.approx(found) and found > 0.4
    # One arm: the plain partial rank correlation.
    assert partial_correlation_within(*(values[:, :1] for values in (x, y, z))) == pytest.approx(
        partial_rank_correlation(*(values[:, :1] for values in (x, y, z)))
    )
    unrelated = generator.normal(size=(400, 5))
    across = (unrelated + shift, generator.normal(size=(400, 5)) + shift, np.zeros((400, 5)))
    assert partial_rank_correlation(*across) > 0.9 and abs(partial_correlation_within(*across)) < 0.1


def test_compressibility_is_found_where_it_was_planted() -> None:
    config = replace(LAPTOP, countdown_arms=())
    records = simulated(np.random.default_rng(10), World(ood_follows_structure=8.0), config, strings=120)
    points = run_points(records, "cooking")
    assert points.cost.shape == (8, len(LAPTOP.cooking_arms) - 1) and np.isfinite(points.cost).all()
    (found,) = compressibility_evidence(records).parts
    assert found.in_favour and not found.against and found.p_value is not None and found.p_value < 0.01
    (unrelated,) = compressibility_evidence(simulated(np.random.default_rng(6), NOTHING, config)).parts
    assert not unrelated.in_favour and unrelated.p_value is not None and unrelated.p_value > 0.05


def test_the_bound_covers_and_would_be_caught_if_it_did_not(
    published: MethodRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    draws = base_draws(published, "cooking")
    assert draws is not None and draws.violations == 0
    assert (draws.tighter_bound <= draws.bound + 1e-12).all() and (draws.batch_cost <= draws.bound).all()
    assert abs(float((draws.true_cost - draws.batch_cost).mean())) < 0.02
    reuserl_bound.bound_draws.cache_clear()
    monkeypatch.setattr(reuserl_bound, "occam_hoeffding_bound", lambda mean, *rest: np.asarray(mean))
    found = bound_coverage(published)
    reuserl_bound.bound_draws.cache_clear()
    assert 0 < found.failures <= found.cases == 2 * DRAWS


# ---- exact claims


@pytest.mark.parametrize("identity", reuserl.identities[:-1], ids=lambda identity: identity.identifier)
def test_identities_hold(identity: Any) -> None:
    found = identity.examine()
    assert found.cases > 100 and found.failures == 0


def test_identities_fail_where_the_segmentation_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    right = reuserl_identities.phrase_counts
    monkeypatch.setattr(reuserl_identities, "phrase_counts", lambda strings, dictionary: right(strings, dictionary) + 1)
    assert reuserl_identities.length_identity().failures > 0
    assert reuserl_identities.repetition_cheap().failures > 0


def test_lambda_does_not_cancel_where_advantages_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    centred_only = reuserl_identities.advantages
    monkeypatch.setattr(
        reuserl_identities, "advantages", lambda rewards, standardised=True, epsilon=0.0: centred_only(rewards, False)
    )
    assert reuserl_identities.lambda_cancels().failures > 0


# ---- what is kept of a run


def run_of(environment: str, arm: str = "segcost", seed: int = 0) -> RunConfig:
    runs = plan(PROFILES["smoke"])
    return next(run for run in runs if (run.environment, run.arm, run.seed) == (environment, arm, seed))


def episodes_of(rows: list[tuple[str, str, bool, str]]) -> pd.DataFrame:
    """question, skills, success, failure."""
    frame = pd.DataFrame(rows, columns=["question", "skills", "success", "failure"])
    return frame.assign(panel="test", category="numbers-4", T=6, repeated=0, sampled_tokens=1)


COUNTDOWN = episodes_of(
    [
        ("a", "add mul sub", True, ""),
        ("a", "add reset add div div", True, ""),
        ("b", "invalid invalid invalid reset", False, "timeout"),
    ]
)


def test_sums_of_each_task() -> None:
    found = measure_tasks(run_of("countdown"), COUNTDOWN).set_index("question")
    assert found.loc["a", "operations"] == 7 and found.loc["a", "multiplicative"] == 3
    assert found.loc["a", "successes_without_reset"] == 1
    assert found.loc["b", ["operations", "multiplicative", "successes_without_reset"]].tolist() == [0, 0, 0]
    assert found.loc["a", ["longest_run", "longest_run_of_successes"]].tolist() == [3, 3]
    assert found.loc["b", ["longest_run", "longest_run_of_successes"]].tolist() == [3, 0]
    assert "operations" not in measure_tasks(run_of("household"), COUNTDOWN)


def test_longest_run_by_enumeration() -> None:
    for string in itertools.product("ab", repeat=5):
        runs = [len(run) for run in re.findall("a+|b+", "".join(string))]
        assert longest_run(string) == max(runs)
    assert longest_run(()) == 0


def test_the_dictionary_and_its_use_are_kept(tmp_path: Path) -> None:
    write_dictionary(tmp_path, [("add", "mul"), ("div", "div")], 4)
    dictionary = read_dictionary(tmp_path, "countdown")
    assert dictionary.phrases == ((0, 2), (3, 3)) and dictionary.max_phrase_length == 4
    tables = further_records(run_of("countdown"), tmp_path, COUNTDOWN)
    strings = tables["strings"].set_index("skills")
    assert strings.loc["add mul sub", "segments"] == 2
    assert strings.loc["add reset add div div", "segments"] == 4
    assert strings["count"].sum() == len(COUNTDOWN)
    assert tables["phrases"][["phrase", "uses", "successes"]].to_numpy().tolist() == [
        ["add mul", 1, 2],
        ["div div", 1, 2],
    ]
    (tmp_path / "dictionary.json").unlink()
    plain = further_records(run_of("countdown", "base"), tmp_path, COUNTDOWN)
    assert "phrases" not in plain and plain["strings"].set_index("skills").loc["add mul sub", "segments"] == 3


def hack_records(records: MethodRecords, phrases: list[str], skills: str) -> MethodRecords:
    """The records with one dictionary and one success of `segcost` in countdown, for all seeds."""
    rows = {"environment": "countdown", "arm": "segcost", "length": 2, "uses": 0, "successes": 1}
    table = pd.DataFrame([rows | {"seed": seed, "phrase": phrase} for seed in range(8) for phrase in phrases])
    strings = records.tables["strings"]
    own = (strings["environment"] == "countdown") & (strings["arm"] == "segcost") & strings["success"]
    one = strings[own & (strings["panel"] == "test")].groupby("seed").head(1).assign(skills=skills, count=1)
    return replace(records, tables={"phrases": table, "strings": one})


def test_the_price_of_repetition_and_of_completing_a_phrase(published: MethodRecords) -> None:
    records = hack_records(published, ["add add add add", "mul div"], "add add mul")
    assert repetition_price(records, "countdown", "segcost", 1) == [2 / 8] * 8
    assert repetition_price(records, "countdown", "segcost", 2) == [4 / 8] * 8
    assert repetition_price(records, "countdown", "length", 1) == [1.0] * 8
    # add add mul: 3 phrases, with one action more at least 3. add add add: 3, and 1 with one more.
    assert cheaper_with_one_more(records, "countdown", "segcost", True).tolist() == [0.0] * 8
    records = hack_records(published, ["add add add add", "mul div"], "add add add")
    assert cheaper_with_one_more(records, "countdown", "segcost", True).tolist() == [100.0] * 8
    records = hack_records(published, ["add sub mul"], "add mul")
    assert cheaper_with_one_more(records, "countdown", "segcost", True).tolist() == [0.0] * 8
    assert cheaper_with_one_more(records, "countdown", "segcost", False).tolist() == [100.0] * 8


def test_matched_length_is_chosen_on_training_rollouts() -> None:
    config = replace(LAPTOP, cooking_arms=(*HEADLINE_ARMS, "length_weight_0.1", "length_weight_0.9"))
    longer = {"segcost": -2.0, "length": -4.0, "length_weight_0.1": -2.2, "length_weight_0.9": -6.0}
    records = simulated(np.random.default_rng(7), World(longer=longer), config, tasks=4, samples=2, strings=0)
    assert matched_length_arm(records, "cooking") == "length_weight_0.1"
    assert matched_length_arm(records, "countdown") == "length"


# ---- arms


COMPLETIONS = {
    "skills": [["add", "mul"], ["add", "mul", "add", "mul"], ["reset"] * 4, ["add", "mul", "sub"], ["div"]] * 4,
    "success": [True, True, False, True, False] * 4,
}


def reward_of(arm: str, folder: Path, **changes: Any) -> tuple[Any, list[float], dict[str, float]]:
    """The arm as training builds it, the rewards it gives to a batch, and what it logs."""
    import torch

    from reproduce.papers.reuserl.training import build as build_recipe
    from reproduce.training.train import Setting

    run = run_of("countdown", arm)
    run = replace(run, method=replace(run.method, **changes)) if changes else run
    # An arm is built from its run's settings and its siblings' files alone.
    setting = Setting(run, run.training, (), {}, None, None, None, folder, folder)  # type: ignore[arg-type]
    built = build_recipe(setting)
    built.reward.model = torch.nn.Identity().train()
    logged: dict[str, float] = {}
    rows = len(COMPLETIONS["success"])
    return built, built.reward([""] * rows, [""] * rows, log_metric=logged.__setitem__, **COMPLETIONS), logged


def test_grpo_is_the_outcome_and_cap_one_the_length_penalty(tmp_path: Path) -> None:
    assert reward_of("grpo", tmp_path)[1] == [float(value) for value in COMPLETIONS["success"]]
    _, length, _ = reward_of("length", tmp_path)
    assert length == pytest.approx([1 - 0.3 * 2 / 4, 1 - 0.3, 0, 1 - 0.3 * 3 / 4, 0] * 4)
    assert reward_of("cap_1", tmp_path)[1] == length
    built, segcost, logged = reward_of("segcost", tmp_path)
    assert built.reward.phrases and segcost[1] > length[1]
    # The four of them cost 1 or 2 phrases, whatever their length.
    assert logged["reuse/phrases"] >= 1 and logged["reuse/rank_correlation"] < 1
    assert reward_of("length", tmp_path)[2]["reuse/rank_correlation"] == pytest.approx(1)


def test_arms_keep_their_dictionary_and_the_random_one_is_matched_to_segcost(tmp_path: Path) -> None:
    built, _, _ = reward_of("segcost", tmp_path)
    built.finish(tmp_path / "segcost" / "seed-0")
    learned = read_dictionary(tmp_path / "segcost" / "seed-0", "countdown")
    assert learned.phrases and built.arguments == {}
    random, _, _ = reward_of("random_dictionary", tmp_path)
    drawn = random.reward.learner.dictionary
    assert [len(phrase) for phrase in drawn.phrases] == [len(phrase) for phrase in learned.phrases]
    assert random.reward.learner.settings.dictionary == "frozen"
    assert reward_of("segcost_no_std", tmp_path)[0].arguments == {"scale_rewards": "none"}
    assert reward_of("segcost_no_buffer", tmp_path)[0].reward.learner.settings.buffer_size == 0
    assert reward_of("discounted_length", tmp_path)[1][1] == pytest.approx(1 - 0.3)
    assert reward_of("frozen_after_warm_up", tmp_path)[0].reward.learner.settings.freeze_after == 1
    assert reward_of("length_weight_0.9", tmp_path)[1][0] == pytest.approx(1 - 0.9 * 2 / 4)


# ---- plan and report


def test_plans() -> None:
    for profile, config in PROFILES.items():
        runs = plan(config)
        assert len({run.name for run in runs}) == len(runs)
        assert all((run.training is None) == (run.arm == "base") == (run.method is None) for run in runs)
        names = [run.name for run in runs]
        for run in runs:
            if run.arm == "random_dictionary":
                assert names.index(run.name.replace("random_dictionary", "segcost")) < names.index(run.name)
            assert names.index(run.name.replace(f"/{run.arm}/", "/base/")) <= names.index(run.name)
        assert profile == config.profile
    assert {run.arm for run in plan(PROFILES["smoke"])} == set(ALL_ARMS)
    assert len({settings_of(arm, LAPTOP) for arm in ALL_ARMS}) == len(ALL_ARMS)
    assert "torch" not in reuserl.__dict__


def test_wrong_arms_are_refused() -> None:
    with pytest.raises(UserError, match="unknown arm 'segcosts'; did you mean 'segcost'"):
        plan(replace(LAPTOP, cooking_arms=("base", "segcosts")))
    with pytest.raises(UserError, match="--set cooking_arms=base: every comparison needs grpo, length, segcost"):
        plan(replace(LAPTOP, cooking_arms=("base",)))
    assert {run.environment for run in plan(replace(LAPTOP, countdown_arms=("",)))} == {"cooking"}


@pytest.mark.parametrize(
    ("name", "value"),
    [("weight", 0.0), ("weight", 1.0), ("weight", -0.3), ("min_corpus", 0), ("buffer_size", -1), ("freeze_after", 0)],
)
def test_senseless_settings_are_refused_in_one_line(name: str, value: float) -> None:
    with pytest.raises(UserError, match=f"^--set {name}={value:g}: [^\n]+$"):
        plan(replace(LAPTOP, **{name: value}))


def test_planned_effects() -> None:
    assert len(reuserl.planned_effects(PROFILES["full"])) == 5
    tested = claims_tested(reuserl.claims, offered_by_plan(plan(LAPTOP), LAPTOP))
    rows = planned_rows(reuserl.planned_effects(LAPTOP), tested, LAPTOP.seeds)
    assert [row[0].partition(".")[2] for row in rows] == [
        "penalties-beat-grpo",
        "length-harms-guarded",
        "segcost-avoids-harm",
        "structure-matters",
    ]


def test_records_are_read_back_and_others_refused(tmp_path: Path) -> None:
    records = simulated(np.random.default_rng(8), NOTHING, seeds=2, tasks=3, samples=2, strings=3)
    write_simulated(tmp_path, records)
    again = read_records(tmp_path)
    pd.testing.assert_frame_equal(again.counts, records.counts, check_dtype=False)
    assert set(again.tables) == {"strings", "phrases"}
    (tmp_path / "strings.parquet").rename(tmp_path.parent / "strings.parquet")
    with pytest.raises(UserError, match=r"strings.parquet: no such file"):
        read_records(tmp_path)


def test_figures_and_sections_hold_no_missing_number(smoke: MethodRecords, tmp_path: Path) -> None:
    figures = reuserl.load_reporting().draw_figures(smoke, tmp_path)
    sections = reuserl.load_reporting().further_sections(smoke)
    shown = {name for section in sections for name in section.figures}
    shown |= {name for claim in claims_tested(reuserl.claims, offered_by_records(smoke)) for name in claim.figures}
    assert shown == set(figures) and all(figure.path.stat().st_size > 1000 for figure in figures.values())
    text = " ".join([*(section.body for section in sections), *(figure.caption for figure in figures.values())])
    assert not re.search(r"\b(nan|inf|None)\b", text)


@pytest.mark.slow
def test_the_report_shows_every_figure_once(smoke: MethodRecords, tmp_path: Path) -> None:
    write_simulated(tmp_path / "records", smoke)
    write_report(reuserl, tmp_path / "records", tmp_path / "report")
    text = (tmp_path / "report" / "report.md").read_text(encoding="utf-8").replace("\u00a0", " ")
    pictures = re.findall(r"\]\((figures/[^)]+)\)", text)
    assert len(pictures) == len(set(pictures)) == 10
    assert not re.search(r"\b(nan|inf|None)\b", text)
