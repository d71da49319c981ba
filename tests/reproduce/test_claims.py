"""From records to verdicts: errors of the family stay rare, planted effects are found, and nothing in between lies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from reproduce.claims.calibration import Families, _Simulator, calibrate
from reproduce.claims.evidence import Part, not_measured
from reproduce.claims.grid import Records, load_records
from reproduce.claims.power import Planned, outlooks, planned_rows
from reproduce.claims.tests import all_hold, equivalence, non_inferiority, quote, ratio, superiority, trend
from reproduce.claims.verdict_file import CALIBRATION, calibration_from, compare_verdicts, read_verdicts, records_digest
from reproduce.claims.verdicts import Claim, Gate, Needs, Offer, Verdict, decide, examined
from reproduce.cli.command_line import main
from reproduce.core.files import UserError, read_json, write_json
from reproduce.core.paper import PACKAGED, load_paper
from reproduce.papers.pass_kt import claims as pass_kt_claims
from reproduce.papers.pass_kt.paper import PAPER as pass_kt
from reproduce.report.claim_text import explain
from reproduce.report.summary import write_summary
from tests.reproduce.simulated_records import write_simulated_records

NULL_UNDER_A_A = ("endpoint-gain", "beyond-self-null")
LAPTOP = Path(__file__).resolve().parents[2] / "reports" / "laptop"


def verdicts(folder: Path, seed: int, gain: float = 0.0, **sizes: object) -> dict[str, Verdict]:
    write_simulated_records(folder, np.random.default_rng(seed), gain=gain, **sizes)
    found = decide(pass_kt.claims, load_records(folder))
    return {verdict.claim.identifier.partition(".")[2]: verdict for verdict in found}


@pytest.mark.slow
def test_a_a_experiments_keep_the_family_wise_error_at_length(tmp_path: Path) -> None:
    count = 0
    for seed in range(300):
        found = verdicts(tmp_path / str(seed), seed, seeds=8, questions=100, samples=128)
        count += any(found[name].decision == "supported" for name in NULL_UNDER_A_A)
    assert count / 300 <= 0.05


def test_a_planted_gain_is_found_and_named(tmp_path: Path) -> None:
    found = verdicts(tmp_path, 1, gain=8.0, seeds=8, questions=100, samples=128)
    assert found["endpoint-gain"].decision == "supported"
    assert found["beyond-self-null"].decision == "supported"
    assert found["static-inert"].decision == "supported"
    assert found["endpoint-gain"].evidence.deciding.low > 0
    assert found["endpoint-gain"].adjusted_p >= found["endpoint-gain"].evidence.p_value


def test_a_planted_loss_refutes(tmp_path: Path) -> None:
    found = verdicts(tmp_path, 2, gain=-15.0, seeds=8, questions=100, samples=128)
    assert found["endpoint-gain"].decision == "refuted"
    assert found["beyond-self-null"].decision == "refuted"


def test_equal_policies_refute_the_published_gain_but_not_by_lack_of_evidence(tmp_path: Path) -> None:
    """Under A/A with a large panel the interval excludes +4 points: evidence against, not absence of evidence."""
    endpoint = verdicts(tmp_path, 3, seeds=8, questions=150, samples=128)["endpoint-gain"]
    assert endpoint.evidence.deciding.high < 4 and endpoint.decision == "refuted"
    assert endpoint.evidence.deciding.low <= 0


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
    evidence = pass_kt_claims.crossing_small_k(replace(records, counts=counts))
    assert evidence.in_favour and not any(part.against for part in evidence.parts)
    # 1 - (1 - 26/128)^k passes .6 between k = 4 and k = 5.
    low, high = (
        float(end) for end in dict(evidence.rows())["k at which they cross, 95 % of those resamples"].split(" to ")
    )
    assert 2 < low < 4.5 < high < 8


def table(mean: float, deviation: float, seeds: int = 8, questions: int = 50, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, deviation, (seeds, questions))


def claims_of(**examined: object) -> list[Claim]:
    return [Claim(name, "", "", "", "", "it is small", lambda records, e=e: e) for name, e in examined.items()]


def judged(claims: list[Claim], profile: str = "laptop") -> dict[str, Verdict]:
    records = Records(None, None, [], {"profile": profile})  # type: ignore[arg-type]
    # Claims that need nothing are tested on records that have nothing.
    free = [replace(claim, needs=_Nothing()) for claim in claims]
    return {verdict.claim.identifier: verdict for verdict in decide(free, records)}


class _Nothing(Needs):
    def unmet(self, offer: Offer) -> str:
        return ""


def test_superiority_uses_the_exact_sign_flip_over_seeds() -> None:
    found = superiority(table(5, 1), 0.0)
    assert found.p_value == 2.0**-8
    assert found.in_favour and not found.against
    assert found.low < found.effect < found.high
    assert superiority(table(-5, 1), 0.0).against
    assert superiority(table(0, 1), 4.0).against
    # A small effect that is surely positive is what the claim says, so it is not refuted.
    assert superiority(table(1, 1), 4.0).in_favour
    assert not superiority(table(1, 1), 4.0).against
    assert not superiority(table(1, 60), 4.0).against


def test_one_number_a_seed_has_the_paired_t_interval_and_seeds_may_lack_one() -> None:
    values = np.random.default_rng(1).normal(1, 1, 9)
    values[4] = np.nan
    known = values[np.isfinite(values)]
    found, wanted = superiority(values, 0.0), stats.ttest_1samp(known, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high))
    assert found.p_value == superiority(known, 0.0).p_value


def test_equivalence_non_inferiority_ratio_and_trend() -> None:
    assert equivalence(table(0, 5), 5.0).in_favour and equivalence(table(0, 5), 5.0).p_value < 0.05
    assert equivalence(table(12, 5), 5.0).against
    assert equivalence(table(-12, 5), 5.0).against and not equivalence(table(-12, 5), 5.0, upper_only=True).against
    assert equivalence(np.zeros((8, 20)), 3.0).p_value == 0.0
    assert non_inferiority(table(-1, 1), 3.0).in_favour and non_inferiority(table(-5, 1), 3.0).against
    told = ratio(np.log(np.linspace(1.5, 2.5, 8)), 1.2)
    assert 1.5 < told.interval[0] < told.effect < told.interval[1] < 2.5 and told.in_favour
    levels = (0.0, 0.5, 1.0)
    scores = table(0, 0.1, questions=3) + 4 * np.array(levels)
    assert trend(scores, levels, 1.0).effect == pytest.approx(4, abs=0.3)


# ---- What was wrong between a number and its verdict


def test_the_null_is_part_of_the_detectable_effect() -> None:
    ratios = np.random.default_rng(2).normal(1.4, 0.6, 8)
    found = judged(claims_of(ratio=superiority(ratios, 1.2, null=1.0)))
    outlook = outlooks(tuple(found.values()))["ratio"]
    assert outlook.before == pytest.approx(
        1 + outlooks(tuple(judged(claims_of(ratio=superiority(ratios - 1, 0.2))).values()))["ratio"].before, rel=1e-6
    )


def test_a_claim_of_several_parts_prints_the_largest_p_and_every_part() -> None:
    parts = [superiority(table(mean, 8, seed=seed), 1.0, f"part {seed}") for seed, mean in enumerate((5, 0.1, 3))]
    found = judged(claims_of(parts=all_hold(*parts)))["parts"]
    assert found.evidence.p_value == max(part.p_value for part in parts)
    assert found.evidence.deciding is parts[1]
    assert found.adjusted_p >= found.evidence.p_value and found.decision != "supported"


def test_the_outlook_of_an_equivalence_is_the_interval_as_it_lies() -> None:
    part = equivalence(table(2.4, 4), 3.0)
    found = judged(claims_of(equal=part))
    end = max(abs(part.low), abs(part.high))
    assert f"margin above {end:.1f} points" in outlooks(tuple(found.values()))["equal"].needed


def test_a_statistic_that_too_few_seeds_have_is_not_measured() -> None:
    claim = Claim(
        "paper.few", "A sentence.", "none", "own", "a test", "a rule", lambda records: superiority(records, 1.0)
    )
    assert examined(claim, np.array([1.0, np.nan, np.nan])).missing.endswith("fewer than 2 seeds have a value")


def test_claims_that_were_not_measured_cost_the_others_nothing() -> None:
    values = table(2.0, 8, seed=3)
    alone = judged(claims_of(one=superiority(values, 1.0)))["one"]
    missing = {f"missing {place}": not_measured("no episodes") for place in range(5)}
    beside = judged(claims_of(one=superiority(values, 1.0), **missing))
    assert beside["one"].adjusted_p == alone.adjusted_p
    assert {beside[name].decision for name in missing} == {"not testable"}
    assert all(beside[name].adjusted_p is None and beside[name].reason == "no episodes" for name in missing)


def test_the_seeds_that_settle_a_claim_obey_interval_and_correction() -> None:
    part = superiority(table(1.1, 8, seed=2), 0.5)
    crowd = {f"other {place}": superiority(table(0, 8, seed=10 + place), 0.5) for place in range(5)}

    def seeds(**claims: Part) -> int:
        words = outlooks(tuple(judged(claims_of(one=part, **claims)).values()))["one"].needed.split()
        return int(words[words.index("seeds") - 1])

    assert 8 < seeds() < seeds(**crowd)
    hidden = superiority(np.broadcast_to(table(1.0, 30, seeds=1), (8, 50)) + table(0, 1), 0.5)
    told = outlooks(tuple(judged(claims_of(one=hidden)).values()))["one"].needed
    assert "tasks: their spread alone hides it" in told or "refute" in told


def test_churn_without_expansion_is_no_expansion(tmp_path: Path) -> None:
    """Rates reshuffled symmetrically between the questions: as many gained as lost."""
    supported = 0
    for seed in range(8):
        folder = tmp_path / str(seed)
        write_simulated_records(folder, np.random.default_rng(seed), seeds=8, questions=40, samples=16)
        records = load_records(folder)
        counts, generator = records.counts.copy(), np.random.default_rng(100 + seed)
        cell = (
            (counts["category"] == "bridge")
            & (counts["T"] == 5)
            & (counts["arm"] == "grpo")
            & (counts["panel"] == "test")
        )
        for _, rows in counts[cell & (counts["estimator"] == "independent")].groupby("seed"):
            counts.loc[rows.index, "successes"] = generator.permutation(rows["successes"].to_numpy())
        evidence = pass_kt_claims.beyond_self_null(replace(records, counts=counts))
        details = dict(evidence.rows())
        gained, null = (float(details[name].split()[0]) for name in list(details)[::2])
        assert gained > null
        supported += evidence.in_favour
    assert supported <= 2


def test_effect_p_and_detectable_effect_are_of_one_statistic() -> None:
    from reproduce.papers.echorl.paper import PAPER

    records = PAPER.read_records(LAPTOP / "echorl" / "records")
    claim = next(one for one in PAPER.claims if one.identifier == "echorl.degeneration-grows")
    (part,) = claim.examine(records).parts
    assert part.p_value == superiority(part.sample.seed_means, 5.0).p_value
    assert part.effect == pytest.approx(float(np.mean(part.sample.seed_means)))


def test_the_bound_stands_with_the_exact_claims() -> None:
    paper = load_paper("reuserl")
    assert "reuserl.bound-coverage" in {one.identifier for one in paper.identities}
    assert "reuserl.bound-coverage" not in {one.identifier for one in paper.claims}


@pytest.mark.parametrize("key", PACKAGED)
def test_reports_name_units_sides_and_sizes_as_they_are(key: str) -> None:
    text = (LAPTOP / key / "report.md").read_text(encoding="utf-8").replace("\u00a0", " ")
    assert " 0 questions" not in text and " 0 tasks" not in text
    assert "p: one-sided, of the claim's null" in text
    assert "before correction" in text and "## Calibration" in text


# ---- Families, gates, premises, refutation


def test_families_share_the_level_and_refutation_is_corrected_over_parts() -> None:
    strong, none = superiority(table(5, 1), 1.0), superiority(table(-0.9, 8, seed=4), 1.5)
    claims = claims_of(strong=strong, weak=all_hold(*[none] * 3))
    both = judged([claims[0], replace(claims[1], family="secondary")])
    assert {one.corrected.level for one in both.values()} == {0.025}
    assert judged(claims)["strong"].corrected.level == 0.05
    assert both["strong"].decision == "supported"
    alone = judged(claims_of(weak=none))["weak"].corrected.adjusted_refutation
    beside = judged(claims_of(weak=all_hold(none, strong, strong)))["weak"].corrected.adjusted_refutation
    assert beside > alone


def test_a_claim_is_refuted_by_groups_of_parts_together() -> None:
    low, high = superiority(table(-5, 1), 1.0), superiority(table(5, 1), 1.0)
    found = judged(claims_of(any=all_hold(high, low)))["any"]
    assert found.decision == "refuted" and found.told is low
    assert judged(claims_of(both=all_hold(low, high, refuting=((0, 1),))))["both"].decision == "inconclusive"


def test_gates_and_premises_come_before_verdicts() -> None:
    claims = claims_of(first=superiority(table(-5, 1), 1.0), second=superiority(table(5, 1), 1.0))
    gate = Gate("headroom", lambda records: 1.0, least=2.0, unit="points")
    found = judged([claims[0], replace(claims[1], premise="first")])
    assert found["first"].decision == "refuted" and found["second"].decision == "no premise"
    shut = judged([replace(claims[0], gates=(gate,)), replace(claims[1], premise="first")])
    assert shut["first"].decision == "not testable" and "1 points, must be at least 2" in shut["first"].reason
    assert shut["second"].decision == "supported"
    assert explain(shut["first"]).startswith("Not testable here: headroom")


def test_what_is_untested_follows_from_needs() -> None:
    offer = Offer(
        frozenset({("cooking", "grpo"), ("cooking", "base")}), 8, {"analysis_groups": 0, "bed": {"source": "x"}}
    )
    assert Needs(("grpo",), ("cooking",)).unmet(offer) == ""
    assert Needs(("grpo", "echo")).unmet(offer) == "needs the arm echo"
    assert "household" in Needs((), ("household",)).unmet(offer)
    assert Needs(seeds=10).unmet(offer) == "needs 10 seeds to have power, here are 8"
    assert Needs(settings=(("analysis_groups", 4, "the analyses"),)).unmet(offer) == "needs the analyses"
    assert Needs(absent=(("bed.source", "takes our own tasks"),)).unmet(offer) == "takes our own tasks"


def test_planned_effects_are_those_of_the_rule() -> None:
    claims = claims_of(**{name: superiority(table(0, 1), 1.0) for name in "abcde"})
    ((name, alone, family, _),) = planned_rows([Planned("a", 2.0, "assumed")], claims, 8)
    assert name == "a" and float(alone.split()[0]) < float(family.split()[0])
    ((_, few, *_),) = planned_rows([Planned("a", 2.0, "assumed")], claims, 3)
    assert few == "none with 3 seeds"


# ---- Calibration


@pytest.mark.parametrize("key", PACKAGED)
def test_the_calibration_of_a_report_is_of_its_records_and_meets_its_targets(key: str) -> None:
    content = read_json(LAPTOP / key / "records" / CALIBRATION)
    assert content["of"].split()[0] == records_digest(LAPTOP / key / "records")
    found = calibration_from(content)
    assert all(row.replications >= 500 for row in found.errors)
    assert all(row.rate <= 0.06 and row.limits[1] <= 0.07 for row in found.errors), found.errors
    assert all(0.75 <= row.found <= 0.85 for row in found.power), found.power
    assert found.coverage >= 0.94


def test_calibration_finds_a_rule_that_errs() -> None:
    """Refutation at the null instead of at the smallest effect: at the edge of truth it is wrong every other time."""
    part = superiority(table(0, 3), 2.0)
    measured = Families({"one": all_hold(part)}, {"one": "headline"})
    simulator = _Simulator(measured, np.random.default_rng(0))
    drawn = [simulator.draw({"one": [0.0]}) for _ in range(200)]
    estimates = [own["one"].parts[0].effect for own in drawn]
    assert np.std(estimates) == pytest.approx(part.sample.error[0], rel=0.2)
    refuted = np.mean([measured.decisions(own)["one"] == "refuted" for own in drawn])
    at_edge = np.mean([measured.decisions(simulator.draw({"one": [2.0]}))["one"] == "refuted" for _ in range(200)])
    assert refuted > 0.5 > 0.06 >= at_edge


def test_relabelled_arms_are_null(tmp_path: Path) -> None:
    write_simulated_records(tmp_path, np.random.default_rng(1), gain=20.0, seeds=8, questions=40, samples=16)
    records = load_records(tmp_path)
    found = calibrate(pass_kt.claims, records, decide(pass_kt.claims, records), replications=20, relabellings=60)
    row = next(one for one in found.errors if one.setting == "records relabelled")
    assert row.replications == 60 and row.errors <= 7


# ---- Two replications


def test_two_replications_are_set_side_by_side(tmp_path: Path) -> None:
    theirs = read_verdicts(LAPTOP / "pass_kt")
    ours = read_verdicts(LAPTOP / "pass_kt" / "verdicts.json")
    assert all(row.same and row.difference[0] == 0 for row in compare_verdicts(theirs, ours))
    ours["claims"][1]["verdict"] = "refuted"
    ours["claims"][1]["parts"][0]["effect"] -= 3
    ours["claims"] = ours["claims"][:-1]
    rows = compare_verdicts(theirs, ours)
    assert not rows[1].same and not rows[-1].same and rows[-1].ours == "absent"
    with pytest.raises(UserError, match="cannot be compared"):
        compare_verdicts(theirs, read_verdicts(LAPTOP / "echorl"))
    (tmp_path / "verdicts.json").write_text('{"schema": 99, "paper": "pass_kt", "claims": []}')
    with pytest.raises(UserError, match="schema 99"):
        read_verdicts(tmp_path)


def test_the_self_null_refuses_unequal_effort(tmp_path: Path) -> None:
    write_simulated_records(tmp_path, np.random.default_rng(6), seeds=2, questions=5, samples=16)
    records = load_records(tmp_path)
    counts = records.counts.copy()
    counts.loc[counts["half"] == 1, "n"] = 8
    with pytest.raises(UserError, match="equally many episodes"):
        pass_kt_claims.beyond_self_null(replace(records, counts=counts))


def test_quote_fills_numbers_and_names_their_sources() -> None:
    text, provenance = quote("pass_kt", "crossing at {crossing.C.RL-base}")
    assert text == "crossing at 4"
    assert "digest A" in provenance and "not read directly" in provenance


def test_compare_says_by_its_exit_code_whether_verdicts_differ(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", str(LAPTOP), str(LAPTOP)]) == 0
    content = read_json(LAPTOP / "echorl" / "verdicts.json")
    content["claims"][0]["verdict"] = "refuted"
    write_json(tmp_path / "verdicts.json", content)
    assert main(["compare", str(LAPTOP / "echorl"), str(tmp_path)]) == 1
    assert f"{len(content['claims']) - 1} of {len(content['claims'])} verdicts agree" in capsys.readouterr().out
    for arguments, said in (
        (["compare", str(LAPTOP), str(tmp_path / "nowhere")], "no such file or folder"),
        (["compare", str(LAPTOP), str(tmp_path / "..")], "no verdicts.json of the same paper"),
        (["calibrate", "echorl", "--replications", "5"], "must be at least 100"),
        (["calibrate", "echo"], "unknown paper"),
        (["summary", "--out", str(tmp_path)], "no report with verdicts.json below"),
    ):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1


def test_one_page_is_made_from_the_files_of_verdicts_alone(tmp_path: Path) -> None:
    papers = [read_verdicts(LAPTOP / key) for key in PACKAGED]
    written = write_summary(papers, "laptop", tmp_path)
    text = (tmp_path / "README.md").read_text(encoding="utf-8").replace("\u00a0", " ")
    found = [one["verdict"] for content in papers for one in content["claims"]]
    for verdict in set(found):
        assert f"{found.count(verdict)} {verdict}" in text
    for content in papers:
        assert f"## {content['title']}" in text.replace("\\", "")
        meanings = [one["meaning"] for one in content["claims"] if one["meaning"]]
        assert all(meaning in text for meaning in meanings)
    assert text.count("For somebody who trains agents") == len(papers)
    assert written.stat().st_size > 10_000 and (tmp_path / "summary.svg").stat().st_size > 10_000
