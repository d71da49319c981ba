"""Each re-analysis of EchoRL against the value its specification states, or against an independent way to it."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import norm
from statsmodels.stats.power import TTestPower
from statsmodels.stats.proportion import proportions_ztest

from reproduce.claims.published import load_published, load_settings, published_values
from reproduce.papers.echorl.audit import scores, training


def test_accuracies_are_not_read_directly_and_the_loss_scale_is():
    assert not any(number.read_directly for number in load_published("echorl") if "accuracy" in number.quantity)
    used = {"echo.lambda", "train.entropy-bonus", "train.group-size", "train.loss-denominator", "data.problems-by-name"}
    assert all(setting.read_directly for setting in load_settings("echorl") if setting.id in used)


def test_published_differences_follow_from_the_printed_table():
    published, cells = published_values("echorl"), scores.accuracies()
    for domain, gain in (("in-domain", 1.8), ("out-of-domain", 3.2)):
        after, before = (published[f"average-accuracy.{name}.{domain}"] for name in ("LUFFY+EchoRL", "LUFFY"))
        assert after - before == pytest.approx(gain)
    assert cells.GPQA["LUFFY+EchoRL"] - cells.GPQA["LUFFY"] == pytest.approx(published["gain.LUFFY.GPQA"])


def test_averages_that_do_not_add_up():
    found = scores.averages()
    checks = found.data.set_index(["method", "domain"])
    assert len(checks) == 15
    assert checks.recomputed["LUFFY+EchoRL", "in-domain"] == pytest.approx(51.60)
    assert checks.recomputed["UFT+EchoRL", "in-domain"] == pytest.approx(47.52, abs=0.005)
    assert list(checks.index[~checks.possible]) == [("LUFFY+EchoRL", "in-domain")]
    assert list(checks.index[~checks.agrees]) == [("LUFFY+EchoRL", "in-domain"), ("UFT+EchoRL", "in-domain")]
    assert "51.60 (one cell would have to be off by 1.8 points)" in found.reading
    theirs = scores.printed_averages("luffy-accuracy")
    assert len(theirs) == 18
    assert theirs.agrees.all()


def test_values_that_are_no_counts_by_listing_all_counts():
    def printable(value, problems):
        return any(abs(100 * solved / problems - value) <= 0.05 + 1e-9 for solved in range(problems + 1))

    fits = scores.counts().data.set_index(["benchmark", "samples"])
    for benchmark in ("MATH500", "Minerva", "Olympiad", "GPQA"):
        fit, values = fits.loc[benchmark, 1], scores.accuracies()[benchmark].dropna()
        assert fit.misfits == {name: value for name, value in values.items() if not printable(value, fit.problems)}
    found = {
        (benchmark, method): (value, scores.fewest_samples(value, scores.problems()[benchmark]))
        for (benchmark, samples), misfits in fits.misfits.items()
        for method, value in misfits.items()
        if samples == scores.samples_of(benchmark)
    }
    assert found == {
        ("MATH500", "LUFFY+EchoRL"): (88.9, 2),
        ("Olympiad", "UFT"): (47.8, 2),
        ("GPQA", "LUFFY+EchoRL"): (45.3, 3),
    }
    # Every value of LUFFY's table fits its protocol, and AIME and AMC are no single attempts.
    assert not any(fits.reference_misfits[name, scores.samples_of(name)] for name in scores.problems().index)
    assert [len(fits.misfits[name, 1]) for name in ("AIME24", "AIME25", "AMC")] == [8, 8, 6]


def test_standard_errors_at_luffys_accuracies():
    expected = {
        "AIME24": 8.3,
        "AIME25": 7.7,
        "AMC": 5.2,
        "MATH500": 1.5,
        "Minerva": 2.9,
        "Olympiad": 1.9,
        "ARC-c": 1.2,
        "GPQA": 3.5,
        "MMLU-Pro": 0.45,
    }
    found = scores.standard_errors("LUFFY")
    assert set(found.index) == set(expected)
    for name, error in expected.items():
        assert found[name] == pytest.approx(error, abs=0.006 if error < 1 else 0.05)
    assert scores.mean_standard_error("LUFFY", "in-domain") == pytest.approx(2.2, abs=0.05)
    assert scores.mean_standard_error("LUFFY", "out-of-domain") == pytest.approx(1.2, abs=0.05)


def test_gains_of_the_averages():
    gains = scores.average_gains().data.set_index(["base", "measure"])
    expected = {("LUFFY", "in-domain"): 1.5, ("LUFFY", "out-of-domain"): 3.2}
    expected |= {("UFT", "in-domain"): 1.9, ("UFT", "out-of-domain"): 3.0}
    assert gains.gain.to_dict() == pytest.approx(expected, abs=0.05)
    assert (gains.adjusted > 0.05).all()
    for gain in gains.itertuples():
        assert gain.power == pytest.approx(_simulated_power(gain.gain / gain.error), abs=0.01)
        assert _simulated_power(gain.gain / gain.error * np.sqrt(gain.factor)) == pytest.approx(0.8, abs=0.01)
    assert "+1.5 points instead of the stated +1.8" in scores.average_gains().reading


def _simulated_power(shift):
    return (np.abs(np.random.default_rng(0).standard_normal(40_000) + shift) > norm.isf(0.025)).mean()


def test_gains_of_the_cells():
    gains = scores.gains().data.set_index(["base", "measure"])
    expected = {
        "LUFFY": (4.0, 2.6, 1.9, 1.3, 1.5, -2.1, 3.1, 5.4, 1.1),
        "UFT": (2.2, 3.2, 1.5, 1.8, 0.7, 1.8, 0.5, 4.5, 3.9),
    }
    for base, values in expected.items():
        assert list(gains.gain[base]) == pytest.approx(values)
    assert list(gains.index[gains.adjusted <= 0.05]) == [("UFT", "MMLU-Pro")]
    # 49.6 % and 53.5 % of 12,032: unpooled test of two proportions from their counts.
    counts, size = np.round([0.496 * 12032, 0.535 * 12032]), 12032
    statistic = (counts[1] - counts[0]) / size / np.sqrt((counts / size * (1 - counts / size) / size).sum())
    found = gains.loc["UFT", "MMLU-Pro"]
    assert found.gain / found.error == pytest.approx(statistic, rel=2e-3)
    assert found.p == pytest.approx(proportions_ztest(counts, [size, size])[1], rel=0.05)


def test_signs():
    found = scores.signs().data
    assert (list(found.improved), list(found.fallen)) == ([8, 9], [["Olympiad"], []])
    assert list(found.p) == pytest.approx([2 * 10 / 512, 2 / 512])
    assert list(found.adjusted) == pytest.approx([2 * 10 / 512, 4 / 512])


def test_rows_that_luffys_table_holds():
    found = scores.copies().data
    assert found.same.dropna().to_dict() == {"base": 8, "Instruct": 8, "SFT": 6, "LUFFY": 9}
    assert found.elsewhere["GRPO"] == {
        "AIME24": ("SFT+RL",),
        "AIME25": ("RL with SFT loss",),
        "AMC": ("Oat-Zero",),
        "MATH500": ("Instruct", "RL with SFT loss"),
        "Minerva": ("SFT+RL",),
        "Olympiad": ("SFT",),
    }
    assert found.elsewhere["LUFFY+EchoRL"] == {"AIME24": ("Oat-Zero",), "Minerva": ("PRIME-Zero",)}
    assert found.adjusted["GRPO"] < 1e-6
    assert (found.adjusted[["UFT", "UFT+EchoRL", "LUFFY+EchoRL"]] > 0.05).all()


def test_probability_of_coincidences_by_enumeration():
    chances = np.array([0.1, 0.4, 0.25, 0.05])
    for at_least in range(5):
        total = sum(
            np.prod(np.where(outcome, chances, 1 - chances))
            for outcome in product((True, False), repeat=4)
            if sum(outcome) >= at_least
        )
        assert scores.coincidence_probability(at_least, chances) == pytest.approx(total)


def test_headline_and_coverage():
    found = training.headline().data
    assert list(found.stated[:2]) == ["+5.61", "+5.04"]
    assert list(found.inside) == [0, 0, 4, 4]
    assert [len(cells) for cells in found.cells] == [2, 2, 4, 6]
    assert training.coverage().data.to_numpy().tolist() == [[9, 4, 7], [10, 5, 4], [10, 5, 7]]


def test_loss_scale():
    rollout, group, ratio, rows, most_micro_batches, _, batches, _ = training.loss_scale().data["value"]
    assert rollout == pytest.approx(0.061, abs=5e-4)
    assert group == pytest.approx(0.49, abs=0.005)
    assert ratio == pytest.approx(500, rel=0.05)
    assert (rows, batches) == (64, 359)
    assert most_micro_batches == 22  # 64 rows of 9,216 tokens, three in 32,768


def test_seeds():
    found = training.seeds().data.set_index("seeds")
    np.testing.assert_allclose(found.standardised, [1.69, 1.16, 1.00, 0.78, 0.67, 0.53], atol=0.01)
    solved = [TTestPower().solve_power(nobs=seeds, alpha=0.05, power=0.8) for seeds in found.index]
    np.testing.assert_allclose(found.standardised, solved, atol=1e-4)
    np.testing.assert_allclose(found.loc[[5, 10]].iloc[:, 1:], [[1.7, 2.5], [1.0, 1.5]], atol=0.05)


def test_toy_against_sampled_groups():
    exact = training.toy_directions(8)
    assert {name: str(value) for name, value in exact.items()} == {
        "argmax": "253/1024",
        "argmin": "-253/1024",
        "random step": "0",
        "full rollout": "0",
    }
    rng = np.random.default_rng(0)
    in_a = rng.random((40_000, 8)) < 0.5
    entropies = np.stack([np.full(in_a.shape, np.log(2)), np.where(in_a, np.log(8), 0.1)], axis=2)
    score = np.where(in_a, 0.5, -0.5)
    for name, pick in (("argmax", np.argmax), ("argmin", np.argmin)):
        chosen = pick(entropies.reshape(len(in_a), -1), axis=1)
        rollout, step = np.divmod(chosen, 2)
        direction = score[np.arange(len(in_a)), rollout] / (step + 1)
        assert direction.mean() == pytest.approx(float(exact[name]), abs=0.002)


def test_short_steps():
    expected = {
        "no selection": (17, 0.115, 0.15),
        "exponential": (2, 0.68, 0.77),
        "20 % exponential(1), 80 % exponential(0.02)": (3, 0.57, 0.67),
        "log-normal, s = 1": (3, 0.53, 0.63),
        "log-normal, s = 1.5": (6, 0.36, 0.43),
        "log-normal, s = 2": (9, 0.23, 0.29),
    }
    found = training.picked_lengths().set_index("law")
    assert list(found.index) == list(expected)
    np.testing.assert_allclose(found["median"], [median for median, *_ in expected.values()], atol=1)
    np.testing.assert_allclose(found.iloc[:, 1:], [shares for _, *shares in expected.values()], atol=0.03)
