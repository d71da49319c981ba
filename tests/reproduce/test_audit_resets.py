"""The re-analysis of credit assignment with resets gives the values worked out by hand from the printed numbers."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import norm, rankdata, ttest_ind_from_stats

from reproduce.claims.published import load_published
from reproduce.papers.resets.audit import curves, localization, scores
from reproduce.papers.resets.audit.curves import CURVE_ARMS, curve, final_step, sample_deviation
from reproduce.papers.resets.audit.localization import CLEAN_TREND, COUNTINGS, EARLIER, LATER, SOLVED, TREND
from reproduce.papers.resets.published import ARMS, BENCHMARKS, CONTRASTS, MODELS, mean_scores, value
from theory.inference import holm
from theory.published import welch_detectable_difference, welch_units

MEANS = {
    # model: means over ten benchmarks and over mathematics, in the order of ARMS, then 2x4, 1x8, no clip and clip
    "Qwen": (
        (37.5, 37.6, 39.4, 37.4, 37.1, 41.5, 43.2, 38.9, 36.4, 45.8, 38.3),
        (32.0, 32.0, 32.2, 31.6, 31.0, 33.0, 33.4, 31.7, 27.7),
    ),
    "OLMo": (
        (40.1, 43.9, 33.7, 40.8, 41.2, 40.7, 47.3, 43.4, 41.4, 47.1, 45.1),
        (34.6, 41.1, 23.7, 35.2, 35.3, 40.3, 41.9, 40.8, 37.8),
    ),
}


def wilcoxon_by_enumeration(differences):
    """Two-sided exact signed-rank p with average ranks, over all sign assignments."""
    values = np.array([value for value in differences if value != 0])
    ranks = rankdata(np.abs(values))
    sums = np.array([np.dot(signs, ranks) for signs in product((0, 1), repeat=values.size)])
    observed = ranks[values > 0].sum()
    return min(1.0, 2 * min((sums <= observed + 1e-9).mean(), (sums >= observed - 1e-9).mean()))


def test_only_the_tracker_page_was_not_read_directly():
    indirect = {number.quantity for number in load_published("resets") if not number.read_directly}
    assert indirect == {"tracker-mean"}


@pytest.mark.parametrize("model", MODELS)
def test_means_of_the_tables(model):
    # Half of the last printed digit, and room for means that lie half way between two digits.
    arms = (*ARMS, "2x4", "1x8", "no-clip", "clip")
    found = [mean_scores(model, arm) for arm in arms]
    assert [ten for ten, _ in found] == pytest.approx(MEANS[model][0], abs=0.0501)
    assert [mathematics for _, mathematics in found[:-2]] == pytest.approx(MEANS[model][1], abs=0.0501)
    assert mean_scores(model, "1x4") == mean_scores(model, "SRPO")


def test_the_tracker_page_does_not_follow_from_the_table_and_the_count_of_best_benchmarks_does():
    found = scores.score_means().data.dropna()
    assert len(found) == 4
    assert ((found.tracker - found.ten).abs() > 1).all()
    assert {model: scores.best_benchmarks(model) for model in MODELS} == {"Qwen": 7, "OLMo": 6}
    assert all(scores.best_benchmarks(model) == value(f"best-benchmarks.{model}") for model in MODELS)


def test_welch_per_cell():
    found = scores.score_cells().data.sort_index()
    ours = found.p["SRPO", "GRPO"]
    for (model, name), p in {
        ("Qwen", "lvl5"): 0.046,
        ("OLMo", "chem"): 0.047,
        ("OLMo", "csqa"): 0.050,
        ("OLMo", "phys"): 0.071,
    }.items():
        assert ours[model, name] == pytest.approx(p, abs=5e-4)
    assert (ours < 0.05).sum() == 2
    smallest = found.p.groupby(level=["arm", "against", "model"]).min()
    assert list(smallest["SRPO", "RRPO"][["Qwen", "OLMo"]]) == pytest.approx([0.079, 0.134], abs=5e-4)
    assert list(smallest["RRPO", "GRPO"][["Qwen", "OLMo"]]) == pytest.approx([0.17, 0.20], abs=5e-3)
    assert found.adjusted.min() > 0.9
    sample = ttest_ind_from_stats(55.2, 0.7 * 1.5**0.5, 3, 52.1, 1.2 * 1.5**0.5, 3, equal_var=False).pvalue
    assert ours["Qwen", "lvl5"] == pytest.approx(sample)


def test_contrasts_across_benchmarks():
    expected = {
        # arm, against, model: mean difference, wins, p. The p of SRPO against RRPO counts equal differences as ties;
        # differences that rounding errors set apart would give .084 and .064.
        ("SRPO", "GRPO", "Qwen"): (5.6, 9, 0.014),
        ("SRPO", "GRPO", "OLMo"): (3.3, 8, 0.014),
        ("SRPO", "RRPO", "Qwen"): (1.7, 7, 0.080),
        ("SRPO", "RRPO", "OLMo"): (6.6, 8, 0.051),
        ("RRPO", "GRPO", "Qwen"): (3.9, 9, 0.020),
        ("RRPO", "GRPO", "OLMo"): (-3.3, 2, 0.160),
    }
    found = scores.score_contrasts().data
    assert dict(zip(expected, found["mean"], strict=True)) == pytest.approx(
        {case: mean for case, (mean, _, _) in expected.items()}, abs=0.05
    )
    assert list(zip(found.arm, found.against, found.model, strict=True)) == list(expected)
    assert list(found.won) == [wins for _, wins, _ in expected.values()]
    assert list(found.p) == pytest.approx([p for *_, p in expected.values()], abs=5e-4)
    assert list(found.adjusted) == pytest.approx(list(holm(found.p)))


@pytest.mark.parametrize("analysis", [scores.score_contrasts, scores.score_splits, scores.score_clip])
def test_wilcoxon_is_the_enumeration_of_signs(analysis):
    for item in analysis().data.itertuples():
        gaps = scores.differences(item.model, item.arm, item.against)
        assert item.p == pytest.approx(wilcoxon_by_enumeration(gaps))


def test_clip_ablation():
    assert scores.clip_cells() == (14, 4, 2, pytest.approx(0.031, abs=5e-4))
    assert list(scores.score_clip().data.p) == pytest.approx([0.11, 0.15], abs=5e-3)


def test_solved_counts_need_population_deviations():
    expected = {
        ("Qwen", "GRPO"): {(1, 2, 2)},
        ("Qwen", "RRPO"): {(2, 2, 3)},
        ("Qwen", "SRPO"): {(1, 2, 3)},
        ("OLMo", "GRPO"): {(1, 4, 5)},
        ("OLMo", "SRPO"): {(3, 5, 6)},
        ("OLMo", "SPO-Tree"): {(3, 4, 4)},
        ("OLMo", "2x4"): {(3, 5, 5)},
        ("OLMo", "1x8"): {(3, 3, 5)},
        ("OLMo", "RRPO"): {(1, 4, 4), (2, 2, 5)},
    }
    found = scores.solved_counts()
    rows = found.data.set_index(["model", "arm"])
    for key, multisets in expected.items():
        assert set(rows.population[key]) == multisets
    assert (
        "Of the 15 cells with a spread, 15 have counts under a population SD and 0 under a sample SD" in found.reading
    )


def test_single_evaluations_fit_five_hundred_items():
    found = scores.item_counts().data
    assert list(found.benchmark) == [name for name in BENCHMARKS if name != "hmmt"]
    assert all(500 in fitting for fitting in found.fitting)
    assert sum(fitting == (500,) for fitting in found.fitting) == 3
    assert list(found.chance) == pytest.approx([(501 / 1001) ** 6] * 9)


def test_no_step_of_the_curves_is_significant():
    found = curves.curve_steps()
    assert len(found.data) == 33
    assert "Of the 33 tests 0 are below .05" in found.reading
    p = {pair: found.data.p[found.data.contrast == " − ".join(pair)].to_numpy() for pair in CONTRASTS}
    expected = {("SRPO", "GRPO"): (0.10, 0.32), ("SRPO", "RRPO"): (0.23, 0.49), ("RRPO", "GRPO"): (0.18, None)}
    for pair, (least, last) in expected.items():
        assert p[pair].min() == pytest.approx(least, abs=5e-3)
        assert last is None or p[pair][-1] == pytest.approx(last, abs=5e-3)
    assert p["SRPO", "GRPO"].max() == pytest.approx(0.49, abs=5e-3)
    assert [curve(arm)[1:].mean() for arm in CURVE_ARMS] == pytest.approx([17.4, 19.5, 24.0], abs=0.05)
    assert [sample_deviation(arm, final_step()) for arm in CURVE_ARMS] == pytest.approx([2.0, 8.2, 9.0], abs=0.051)


def test_speed_ups_in_three_currencies():
    found = curves.curve_speed().data.set_index("against")
    assert list(found.crossing) == pytest.approx([4.13, 4.81], abs=5e-3)
    assert list(found.hours) == pytest.approx([1.76, 2.34], abs=6e-3)
    assert (found.steps.round(1) == found.printed).all()
    # Tokens are not in the specification: 8.10 M over what SRPO's 8.75 M had reached at 4.126 of 11 steps.
    assert found.tokens["GRPO"] == pytest.approx(8.10 / (8.75 * 4.1262 / 11), rel=1e-3)


def test_cost_ratios_are_those_printed():
    found = curves.cost_ratios()
    assert len(found.data) == 10
    assert list(found.data.recomputed) == pytest.approx(list(found.data.printed), abs=0.0051)
    for arm in CURVE_ARMS:
        total, *parts = (value(f"cost.{arm}.{item}-hours") for item in ("total", "train", "validation"))
        assert total == pytest.approx(sum(parts), abs=0.011)


def test_localization_counts_are_consistent():
    for counting in COUNTINGS:
        found, by_prefix = localization.counts(counting), localization.successes(counting)
        made = found.localizations.sum()
        assert made == value("localizations.graded")
        assert (found.attempts == 4 * found.localizations).all()
        assert by_prefix.trials["groups, clean"] + by_prefix.trials["groups, erroneous"] == made
        assert by_prefix.trials["groups, clean"] == by_prefix.trials["suffixes, clean"] / 4
        assert tuple(by_prefix.loc["all suffixes"]) == (337, 3704)


def test_agreement():
    found = localization.localization_agreement().data
    np.testing.assert_allclose(100 * found[["exact", "clean"]], [(11.9, 49.4), (15.8, 50.4)], atol=0.05)
    expected = {"raw": (28.2, 11.4, 17.1, 6.8), "eff5": (28.7, 11.9, 16.3, 6.2)}
    for counting, percentages in expected.items():
        rates = 100 * localization.successes(counting).eval("hits / trials")[:-1]
        assert list(rates) == pytest.approx(percentages, abs=0.051)
        assert [hits / trials for hits, trials in found.loc[counting, rates.index]] == pytest.approx(list(rates / 100))


def test_localization_tests():
    found = localization.tests()
    assert len(found) == 10
    assert list(found.adjusted) == pytest.approx(list(holm(found.p)))
    assert found.p["raw", SOLVED] == pytest.approx(6e-5, abs=0.5e-5)
    assert found.p["eff5", SOLVED] == pytest.approx(7e-6, abs=0.5e-6)
    assert found.effect["raw", TREND] == (pytest.approx(-5.9, abs=0.05),)
    assert found.effect["raw", CLEAN_TREND] == (pytest.approx(-2.9, abs=0.05),)
    assert found.p["raw", LATER] == pytest.approx(0.09, abs=5e-3)
    assert found.p["raw", EARLIER] == pytest.approx(0.23, abs=5e-3)
    # What precision pays depends on how steps are counted.
    assert found.adjusted["raw", CLEAN_TREND] < 0.05 < found.adjusted["eff5", CLEAN_TREND]
    assert found.adjusted["eff5", LATER] < 0.05 < found.adjusted["raw", LATER]


def test_class_sizes_for_the_prefix_claim():
    groups, suffixes = localization.class_sizes("raw")
    first, second = localization.successes("raw").eval("hits / trials")[["groups, clean", "groups, erroneous"]]
    error = np.sqrt((first * (1 - first) + second * (1 - second)) / groups)
    assert norm.cdf((first - second) / error - norm.isf(0.025)) == pytest.approx(0.8, abs=2e-3)
    # 222 and 612 in the specification; the unpooled normal approximation gives a little less.
    assert (groups, suffixes) == pytest.approx((222, 612), abs=6)


def test_reset_positions():
    expected = {"SRPO": (1054, 0.34, 85, 2.4), "RRPO": (1056, 0.54, 43, 31)}
    found = localization.reset_positions().data
    for arm, (resets, mean, first_half, last_quarter) in expected.items():
        row = found.loc[arm]
        assert row.resets == resets == value(f"localizations.{arm}")
        assert row["mean"] == pytest.approx(mean, abs=5e-3)
        assert row.low < row["mean"] < row.high
        assert (row.first_half, row.last_quarter) == pytest.approx((first_half, last_quarter), abs=0.5)


def test_signal():
    found = localization.signal().data
    assert ((found.ratio > 1).sum(), len(found)) == (10, 11)
    assert found.ratio.median() == pytest.approx(1.21)
    assert found.correlation[0] == pytest.approx(value("suffix-pass-rate.correlation"), abs=5e-3)
    stated = [value(f"suffix-pass-rate.{end}") for end in ("first", "last")]
    assert list(found.rate.iloc[[0, -1]]) == pytest.approx(stated, abs=0.05)
    assert found.showcase[0] == pytest.approx(value("signal.showcase.ratio"), abs=0.05)
    assert found.sign_p[0] == pytest.approx(2 * 12 / 2**11)


def test_base_group_at_the_released_sizes():
    """The law is tested with `theory.base_group`; here are the released sizes, and what the reading says."""
    found = curves.base_group().data
    expected = [
        # base group, given a reset, mixed, mixed of 4, mixed of 8, chains
        (0.063, 0.063, 0.226, 0.185, 0.337, 9.0),
        (0.125, 0.125, 0.409, 0.344, 0.570, 9.0),
        (0.312, 0.313, 0.747, 0.680, 0.900, 9.0),
        (0.617, 0.618, 0.781, 0.875, 0.992, 9.0),
        (0.878, 0.874, 0.366, 0.680, 0.900, 9.8),
        (0.977, 0.968, 0.081, 0.344, 0.570, 12.1),
    ]
    columns = ["success_rate", "success_rate_given_reset", "mixed", "independent", "baseline"]
    np.testing.assert_allclose(found[columns], [row[:5] for row in expected], atol=1.5e-3)
    np.testing.assert_allclose(found.rollouts, [row[5] for row in expected], atol=0.07)
    assert (found.mixed < found.baseline).all()


def test_power_of_the_designs():
    detectable = [welch_detectable_difference((1.0, 1.0), (seeds, seeds)) for seeds in (5, 10, 20, 30)]
    assert detectable == pytest.approx([2.03, 1.32, 0.91, 0.74], abs=0.01)
    assert welch_units(5.0, (9.0, 8.0)) == 47
    assert welch_units(6.7, (9.0, 2.0)) == 17
    found = curves.power()
    needs = found.data
    assert (needs.seeds.isna() == (needs.difference <= 0)).all()
    assert (needs.detectable > needs.difference.abs()).all()
    assert needs.seeds[0] == 17
    assert list(found.table["found with 80 % power"])[-3:] == ["1.32", "0.91", "0.74"]


def test_readings_quote_computed_numbers():
    assert "2 of 20 cells below .05, lvl5 (Qwen) and chem (OLMo)" in scores.score_cells().reading
    assert "+3.9 (Qwen) and −3.3 (OLMo)" in scores.score_contrasts().reading
