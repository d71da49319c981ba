"""Each re-analysis of EchoRL against the value its specification states, or against an independent way to it."""

import re
from itertools import product

import numpy as np
import pytest
from scipy.stats import norm
from statsmodels.stats.power import TTestPower
from statsmodels.stats.proportion import proportions_ztest

from reproduce.claims.published import load_published, load_settings, published_number
from reproduce.papers.echorl.audit import audit as echorl
from reproduce.papers.echorl.audit import clips as echorl_clips
from reproduce.papers.echorl.audit import copies as echorl_copies
from reproduce.papers.echorl.audit import scores as echorl_scores
from reproduce.papers.echorl.audit import training as echorl_training
from reproduce.report.audit_tables import DIGEST, OURS, PAPER

TABLES = {table.identifier: table for table in echorl.audit().tables}


def test_every_table_is_complete():
    assert len(TABLES) == len(echorl.audit().tables) == 12
    for table in TABLES.values():
        assert table.rows
        assert table.reading.endswith(".")
        assert "nan" not in table.reading
        assert all(cell for row in table.rows for cell in row.cells)


def test_only_tables_without_accuracies_claim_more_than_a_digest():
    sources = {name: {row.source for row in table.rows} for name, table in TABLES.items()}
    assert {name for name, found in sources.items() if found == {PAPER}} == {"coverage", "loss-scale"}
    assert {name for name, found in sources.items() if found == {OURS}} == {"seeds", "selection-toy", "short-steps"}
    assert all(
        found == {DIGEST} for name, found in sources.items() if name in {"averages", "counts", "gains", "copies"}
    )


def test_accuracies_are_not_read_directly_and_the_loss_scale_is():
    assert not any(number.read_directly for number in load_published("echorl") if "accuracy" in number.quantity)
    used = {"echo.lambda", "train.entropy-bonus", "train.group-size", "train.loss-denominator", "data.problems-by-name"}
    assert all(setting.read_directly for setting in load_settings("echorl") if setting.id in used)


def test_published_differences_follow_from_the_printed_table():
    assert echorl_scores.printed_average_gain("LUFFY", "in-domain") == pytest.approx(1.8)
    assert echorl_scores.printed_average_gain("LUFFY", "out-of-domain") == pytest.approx(3.2)
    cells = echorl_scores.accuracies()
    assert cells["LUFFY+EchoRL"]["GPQA"] - cells["LUFFY"]["GPQA"] == pytest.approx(
        published_number("echorl", "gain.LUFFY.GPQA").value
    )


def test_averages_that_do_not_add_up():
    checks = {(check.method, check.domain): check for check in echorl_scores.average_checks()}
    assert len(checks) == 15
    assert checks["LUFFY+EchoRL", "in-domain"].recomputed == pytest.approx(51.60)
    assert checks["UFT+EchoRL", "in-domain"].recomputed == pytest.approx(47.52, abs=0.005)
    assert [name for name, check in checks.items() if not check.possible] == [("LUFFY+EchoRL", "in-domain")]
    assert [name for name, check in checks.items() if not check.agrees] == [
        ("LUFFY+EchoRL", "in-domain"),
        ("UFT+EchoRL", "in-domain"),
    ]
    assert echorl_scores.cell_that_would_repair(checks["LUFFY+EchoRL", "in-domain"]) == pytest.approx(1.8)


def test_luffys_own_averages_all_agree():
    checks = echorl_scores.average_checks("luffy-accuracy")
    assert len(checks) == 18
    assert all(check.agrees for check in checks)


def test_values_that_are_no_counts_by_listing_all_counts():
    def printable(value, problems):
        return any(abs(100 * solved / problems - value) <= 0.05 + 1e-9 for solved in range(problems + 1))

    fits = {(fit.benchmark, fit.samples): fit for fit in echorl_scores.count_fits()}
    for benchmark in ("MATH500", "Minerva", "Olympiad", "GPQA"):
        fit = fits[benchmark, 1]
        values = {method: row[benchmark] for method, row in echorl_scores.accuracies().items() if benchmark in row}
        expected = [(method, value) for method, value in values.items() if not printable(value, fit.problems)]
        assert [(method, value) for method, value, _ in fit.misfits] == expected
    found = [(fit.benchmark, *item) for fit in fits.values() if fit.samples == 1 for item in fit.misfits]
    assert [item for item in found if item[0] not in echorl_scores.AVERAGED] == [
        ("MATH500", "LUFFY+EchoRL", 88.9, 2),
        ("Olympiad", "UFT", 47.8, 2),
        ("GPQA", "LUFFY+EchoRL", 45.3, 3),
    ]


def test_every_value_of_luffys_table_fits_its_protocol_and_aime_is_no_single_attempt():
    fits = echorl_scores.count_fits()
    usual = [fit for fit in fits if fit.samples == echorl_scores.samples_of(fit.benchmark)]
    assert len(usual) == 9
    assert not any(fit.reference_misfits for fit in usual)
    single = {fit.benchmark: fit for fit in fits if fit not in usual}
    assert [len(single[name].misfits) for name in ("AIME24", "AIME25", "AMC")] == [8, 8, 6]


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
    row, sizes = echorl_scores.accuracies()["LUFFY"], echorl_scores.problems()
    for name, error in expected.items():
        found = echorl_scores.standard_error(row[name], sizes[name])
        assert found == pytest.approx(error, abs=0.006 if error < 1 else 0.05)
    assert echorl_scores.mean_standard_error("LUFFY", "in-domain") == pytest.approx(2.2, abs=0.05)
    assert echorl_scores.mean_standard_error("LUFFY", "out-of-domain") == pytest.approx(1.2, abs=0.05)


def test_gains_of_the_averages():
    gains = {(gain.base, gain.measure): gain for gain in echorl_scores.average_gains()}
    assert gains["LUFFY", "in-domain"].gain == pytest.approx(1.5, abs=0.05)
    assert gains["UFT", "in-domain"].gain == pytest.approx(1.9, abs=0.05)
    assert gains["LUFFY", "out-of-domain"].gain == pytest.approx(3.2)
    assert gains["UFT", "out-of-domain"].gain == pytest.approx(3.0, abs=0.05)
    assert all(gain.adjusted > 0.05 for gain in gains.values())
    for gain in gains.values():
        assert gain.power == pytest.approx(_simulated_power(gain.gain / gain.standard_error), abs=0.01)
        larger = gain.gain / gain.standard_error * np.sqrt(gain.problems_factor)
        assert _simulated_power(larger) == pytest.approx(0.8, abs=0.01)


def _simulated_power(shift):
    return (np.abs(np.random.default_rng(0).standard_normal(40_000) + shift) > norm.isf(0.025)).mean()


def test_gains_of_the_cells():
    gains = {(gain.base, gain.measure): gain for gain in echorl_scores.cell_gains()}
    expected = {
        "LUFFY": (4.0, 2.6, 1.9, 1.3, 1.5, -2.1, 3.1, 5.4, 1.1),
        "UFT": (2.2, 3.2, 1.5, 1.8, 0.7, 1.8, 0.5, 4.5, 3.9),
    }
    for base, values in expected.items():
        assert [gain.gain for name, gain in gains.items() if name[0] == base] == pytest.approx(values)
    assert [name for name, gain in gains.items() if gain.adjusted <= 0.05] == [("UFT", "MMLU-Pro")]
    # 49.6 % and 53.5 % of 12,032: unpooled test of two proportions from their counts.
    counts, size = np.round([0.496 * 12032, 0.535 * 12032]), 12032
    statistic = (counts[1] - counts[0]) / size / np.sqrt((counts / size * (1 - counts / size) / size).sum())
    found = gains["UFT", "MMLU-Pro"]
    assert found.gain / found.standard_error == pytest.approx(statistic, rel=2e-3)
    assert found.p_value == pytest.approx(proportions_ztest(counts, [size, size])[1], rel=0.05)


def test_signs():
    luffy, uft = echorl_scores.sign_counts()
    assert (luffy.improved, luffy.fallen, uft.improved, uft.fallen) == (8, ("Olympiad",), 9, ())
    assert (luffy.p_value, uft.p_value) == pytest.approx((2 * 10 / 512, 2 / 512))
    assert (luffy.adjusted, uft.adjusted) == pytest.approx((2 * 10 / 512, 4 / 512))


def test_rows_that_luffys_table_holds():
    found = {item.method: item for item in echorl_copies.shared_cells()}
    assert {name: item.same_row for name, item in found.items() if item.same_row is not None} == {
        "base": 8,
        "Instruct": 8,
        "SFT": 6,
        "LUFFY": 9,
    }
    assert {name: holders for name, _, holders in found["GRPO"].elsewhere} == {
        "AIME24": ("SFT+RL",),
        "AIME25": ("RL with SFT loss",),
        "AMC": ("Oat-Zero",),
        "MATH500": ("Instruct", "RL with SFT loss"),
        "Minerva": ("SFT+RL",),
        "Olympiad": ("SFT",),
    }
    assert [(name, holders) for name, _, holders in found["LUFFY+EchoRL"].elsewhere] == [
        ("AIME24", ("Oat-Zero",)),
        ("Minerva", ("PRIME-Zero",)),
    ]
    assert found["GRPO"].adjusted < 1e-6
    assert all(found[name].adjusted > 0.05 for name in ("UFT", "UFT+EchoRL", "LUFFY+EchoRL"))


def test_probability_of_coincidences_by_enumeration():
    chances = np.array([0.1, 0.4, 0.25, 0.05])
    for at_least in range(5):
        total = sum(
            np.prod(np.where(outcome, chances, 1 - chances))
            for outcome in product((True, False), repeat=4)
            if sum(outcome) >= at_least
        )
        assert echorl_copies.coincidence_probability(at_least, chances) == pytest.approx(total)


def test_headline_statements():
    in_domain, out_of_domain, on_demonstrations, cells = echorl_training.headline_statements()
    assert (in_domain.stated, out_of_domain.stated) == ("+5.61", "+5.04")
    assert in_domain.inside == out_of_domain.inside == 0
    assert on_demonstrations.inside == len(on_demonstrations.cells) == 4
    assert (cells.inside, len(cells.cells)) == (4, 6)


def test_coverage_drifts():
    rows = [row.cells for row in TABLES["coverage"].rows]
    assert [cells[1:] for cells in rows] == [("9", "4", "7"), ("10", "5", "4"), ("10", "5", "7")]


def test_loss_scale():
    value = echorl_training.loss_scale()
    assert value.rollout_weight == pytest.approx(0.061, abs=5e-4)
    assert value.group_weight == pytest.approx(0.49, abs=0.005)
    assert value.ratio == pytest.approx(500, rel=0.05)
    assert (value.rows, value.batches) == (64, 359)
    assert value.most_micro_batches == 22  # 64 rows of 9,216 tokens, three in 32,768


def test_seeds():
    stated = {5: 1.69, 8: 1.16, 10: 1.00, 15: 0.78, 20: 0.67, 30: 0.53}
    for need in echorl_training.seed_needs():
        assert need.standardised == pytest.approx(stated[need.seeds], abs=0.01)
        solved = TTestPower().solve_power(nobs=need.seeds, alpha=0.05, power=0.8)
        assert need.standardised == pytest.approx(solved, abs=1e-4)
    five, ten = (need for need in echorl_training.seed_needs() if need.seeds in (5, 10))
    assert (*five.points, *ten.points) == pytest.approx((1.7, 2.5, 1.0, 1.5), abs=0.05)


def test_toy_against_sampled_groups():
    exact = echorl_clips.toy_directions(8)
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
    for item in echorl_clips.picked_lengths():
        median, up_to_three, below_five = expected[item.law]
        assert item.median == pytest.approx(median, abs=1)
        assert (item.up_to_three, item.below_five) == pytest.approx((up_to_three, below_five), abs=0.03)


def test_readings_quote_computed_numbers():
    assert "51.60" in TABLES["averages"].reading
    assert re.search(r"\+1\.5 points instead of the stated \+1\.8", TABLES["average-gains"].reading)
    assert "22 of 24" in TABLES["counts"].reading
