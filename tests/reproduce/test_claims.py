"""The pipeline from records to verdicts is itself tested: A/A keeps the error rate, planted effects are found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from reproduce.claims.grid import Records, load_records
from reproduce.claims.tests import all_must_hold, equivalence, quote, superiority
from reproduce.claims.verdicts import Claim, Evidence, Verdict, decide
from reproduce.core.files import UserError
from reproduce.papers.pass_kt.paper import PAPER as pass_kt
from tests.reproduce.simulated_records import write_simulated_records
from theory.inference import power_paired_t

NULL_UNDER_A_A = ("gap-widens", "endpoint-gain", "task-specific", "beyond-self-null")


def verdicts(folder: Path, seed: int, gain: float = 0.0, **sizes: object) -> dict[str, Verdict]:
    write_simulated_records(folder, np.random.default_rng(seed), gain=gain, **sizes)
    found = decide(pass_kt.claims, load_records(folder))
    return {verdict.claim.identifier.partition(".")[2]: verdict for verdict in found}


def false_support(folder: Path, simulations: int, **sizes: object) -> int:
    """In how many A/A experiments any superiority claim is supported after Holm."""
    count = 0
    for seed in range(simulations):
        found = verdicts(folder / str(seed), seed, **sizes)
        count += any(found[name].decision == "supported" for name in NULL_UNDER_A_A)
    return count


def test_a_a_experiments_keep_the_family_wise_error(tmp_path: Path) -> None:
    false = false_support(tmp_path, 20, seeds=8, questions=40, samples=16)
    assert false <= stats.binom.ppf(0.999, 20, 0.05)


@pytest.mark.slow
def test_a_a_experiments_keep_the_family_wise_error_at_length(tmp_path: Path) -> None:
    false = false_support(tmp_path, 300, seeds=8, questions=100, samples=128)
    assert false <= stats.binom.ppf(0.999, 300, 0.05)


def test_a_planted_gain_is_found_and_named(tmp_path: Path) -> None:
    found = verdicts(tmp_path, 1, gain=8.0, seeds=8, questions=100, samples=128)
    assert found["endpoint-gain"].decision == "supported"
    assert found["beyond-self-null"].decision == "supported"
    assert found["static-inert"].decision == "supported"
    # In the simulation 64 episodes of one round beat 4 of two, the reverse of the claim.
    assert found["rounds-unlock"].decision == "refuted"
    assert found["endpoint-gain"].evidence.low > 0
    assert found["endpoint-gain"].adjusted_p is not None
    assert found["endpoint-gain"].adjusted_p >= found["endpoint-gain"].evidence.p_value


def test_a_planted_loss_refutes(tmp_path: Path) -> None:
    found = verdicts(tmp_path, 2, gain=-15.0, seeds=8, questions=100, samples=128)
    assert found["endpoint-gain"].decision == "refuted"
    assert found["beyond-self-null"].decision == "refuted"


def test_equal_policies_refute_the_published_gain_but_not_by_lack_of_evidence(tmp_path: Path) -> None:
    """Under A/A with a large panel the interval excludes +4 points: evidence against, not absence of evidence."""
    found = verdicts(tmp_path, 3, seeds=8, questions=150, samples=128)
    endpoint = found["endpoint-gain"]
    assert endpoint.evidence.high < 4 and endpoint.decision == "refuted"
    assert endpoint.evidence.low <= 0
    assert found["gap-widens"].decision == "inconclusive"


def test_smoke_verdicts_are_withheld(tmp_path: Path) -> None:
    found = verdicts(tmp_path, 4, profile="smoke", seeds=2, questions=4, samples=8)
    assert {verdict.decision for verdict in found.values()} == {"withheld"}


def test_claims_are_those_of_the_specification() -> None:
    assert [claim.identifier for claim in pass_kt.claims] == [
        f"pass_kt.{name}"
        for name in (
            "static-inert",
            "gap-widens",
            "endpoint-gain",
            "crossing-small-k",
            "task-specific",
            "beyond-self-null",
            "depth-saturation",
            "rounds-unlock",
        )
    ]


def test_crossing_is_found_where_it_was_planted(tmp_path: Path) -> None:
    write_simulated_records(tmp_path, np.random.default_rng(5), seeds=4, questions=60, samples=128)
    records = load_records(tmp_path)
    cell = (records.counts["category"] == "bridge") & (records.counts["T"] == 5) & (records.counts["half"] == 0)
    counts = records.counts.copy()
    # The base solves 60 % of questions always, the trained policy every question now and then: base ahead at k = 1.
    place = counts["question"].str[-4:].astype(int)
    base = cell & (counts["arm"] == "base")
    counts.loc[base & (place < 36), "successes"] = 128
    counts.loc[base & (place >= 36), "successes"] = 0
    counts.loc[cell & (counts["arm"] == "grpo"), "successes"] = 26
    evidence = pass_kt.crossing_small_k(replace(records, counts=counts))
    # 1 - (1 - 26/128)^k passes .6 between k = 4 and k = 5.
    assert 3.5 < evidence.effect < 5
    assert evidence.in_favour and not evidence.against


def table(mean: float, deviation: float, seeds: int = 8, questions: int = 50, cells: int | None = None) -> np.ndarray:
    shape = (seeds, questions) if cells is None else (seeds, questions, cells)
    return np.random.default_rng(0).normal(mean, deviation, shape)


def test_superiority_uses_the_exact_sign_flip_over_seeds() -> None:
    found = superiority(table(5, 1), smallest_effect=0.0)
    assert found.p_value == 2.0**-8
    assert found.in_favour and not found.against
    assert found.low < found.effect < found.high
    assert superiority(table(-5, 1), smallest_effect=0.0).against
    assert superiority(table(0, 1), smallest_effect=4.0).against
    # A small effect that is surely positive is what the claim says, so it is not refuted.
    assert superiority(table(1, 1), smallest_effect=4.0).in_favour
    assert not superiority(table(1, 1), smallest_effect=4.0).against
    assert not superiority(table(1, 60), smallest_effect=4.0).against


def test_with_few_seeds_nothing_is_detectable_and_it_says_so() -> None:
    assert superiority(table(5, 1, seeds=2), smallest_effect=0.0).minimum_detectable_effect is None


def test_seeds_needed_reach_the_power_they_promise() -> None:
    values = table(1.0, 20.0, questions=200)
    deviation = float(values.mean(axis=1).std(ddof=1))
    found = superiority(values + 1.0, smallest_effect=0.0)
    needed = found.seeds_needed
    assert needed is not None and needed > 5
    assert power_paired_t(found.effect, deviation, needed, alternative="greater") >= 0.8
    assert power_paired_t(found.effect, deviation, needed - 1, alternative="greater") < 0.8


def test_no_number_of_seeds_helps_where_the_questions_decide() -> None:
    generator = np.random.default_rng(0)
    by_question = generator.normal(0, 30, 50)
    values = by_question - by_question.mean() + 1.0 + generator.normal(0, 2, (8, 50))
    assert superiority(values, smallest_effect=0.0).seeds_needed is None


def test_equivalence_needs_every_cell_and_shows_the_deciding_one() -> None:
    inside = equivalence(table(0, 5, cells=3), margin=5.0)
    assert inside.in_favour and inside.p_value < 0.05
    shifted = table(0, 5, cells=3)
    shifted[..., 1] += 12
    outside = equivalence(shifted, margin=5.0)
    assert outside.against and not outside.in_favour
    assert outside.effect == pytest.approx(shifted[..., 1].mean())
    downward = table(0, 5, cells=1) - 12
    assert equivalence(downward, margin=5.0).against
    assert not equivalence(downward, margin=5.0, one_sided_refutation=True).against


def test_equivalence_of_identical_tables_is_decided_by_the_mean() -> None:
    assert equivalence(np.zeros((8, 20, 2)), margin=3.0).in_favour
    assert equivalence(np.zeros((8, 20, 2)), margin=3.0).p_value == 0.0


def test_all_must_hold_is_the_largest_p() -> None:
    parts = [superiority(table(mean, 8), smallest_effect=0.0) for mean in (5, 0.1, 3)]
    assert all_must_hold(parts).effect == parts[1].effect


def test_a_refuted_part_decides_and_is_shown() -> None:
    parts = [superiority(table(mean, 8), smallest_effect=effect) for mean, effect in ((0.0, 0.0), (-3.0, 0.0))]
    found = all_must_hold(parts)
    assert found.against and not found.in_favour
    assert found.effect == parts[1].effect


def test_the_self_null_refuses_unequal_effort(tmp_path: Path) -> None:
    write_simulated_records(tmp_path, np.random.default_rng(6), seeds=2, questions=5, samples=16)
    records = load_records(tmp_path)
    counts = records.counts.copy()
    counts.loc[counts["half"] == 1, "n"] = 8
    with pytest.raises(UserError, match="equally many episodes"):
        pass_kt.beyond_self_null(replace(records, counts=counts))


def test_quote_fills_numbers_and_names_their_sources() -> None:
    text, provenance = quote("pass_kt", "crossing at {crossing.C.RL-base}")
    assert text == "crossing at 4"
    assert "digest A" in provenance and "not read directly" in provenance


def test_holm_is_applied_over_the_family() -> None:
    def constant(p: float | None) -> Evidence:
        return Evidence(1.0, 0.5, 1.5, 0.95, "", p, 0.5, True, False, 8, 100)

    claims = [
        Claim(str(place), "", "", "", "", "", lambda records, p=p: constant(p))
        for place, p in enumerate((0.01, 0.03, None))
    ]
    records = Records(None, None, [], {"profile": "laptop"})  # type: ignore[arg-type]
    found = decide(claims, records)
    assert [verdict.adjusted_p for verdict in found] == [0.02, 0.03, None]
    assert [verdict.decision for verdict in found] == ["supported"] * 3
