"""`compare-logs`: the numbers equal independent computation, and the verdicts keep their error rates."""

import json

import numpy as np
import pytest
from scipy.stats import binomtest, permutation_test

from reproduce.core.files import UserError
from reproduce.logs.comparison import ComparisonSettings, compare_logs
from reproduce.logs.plain_tables import Columns, columns_of
from reproduce.logs.scores import ScoreRule

ANY, QUICK = ScoreRule(), ComparisonSettings(resamples=999)


def write(folder, name, rows):
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def episodes(wins, **more):
    """A row an episode; wins: shape (questions, episodes)."""
    return [
        {"question": i, "success": int(win), **{key: value[i] for key, value in more.items()}}
        for i, row in enumerate(np.atleast_2d(wins))
        for win in row
    ]


def compared(folder, old, new, settings=QUICK, scores=(), rule=ANY, columns=None, **more):
    files = [write(folder, name, episodes(wins, **more)) for name, wins in (("a", old), ("b", new))]
    return compare_logs(files, scores, rule, settings, columns or Columns())


def test_numbers_equal_independent_computation(tmp_path):
    rng = np.random.default_rng(0)
    old, new = (rng.random((12, 1)) < rate for rate in (0.3, 0.7))
    (found,) = compared(tmp_path, old, new).scores
    difference = new[:, 0].astype(float) - old[:, 0]
    gained, lost = int((difference > 0).sum()), int((difference < 0).sum())
    assert (found.gained, found.lost, found.questions, found.n) == (gained, lost, 12, 1)
    assert found.mcnemar_p_value == pytest.approx(binomtest(gained, gained + lost).pvalue)
    flips = permutation_test((difference,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert found.exact and found.p_value == pytest.approx(flips.pvalue)
    assert found.difference == pytest.approx(difference.mean()) and -1 <= found.low < found.difference < found.high <= 1
    assert np.isnan(found.self_gained) and found.self_n == 0


def test_repeats_give_the_self_null_and_pass_at_k(tmp_path):
    rng = np.random.default_rng(1)
    rates = rng.beta(0.5, 1.0, (60, 1))
    old, new = rng.random((60, 8)) < rates, rng.random((60, 8)) < rates
    (found,) = compared(tmp_path, old, new).scores
    assert found.self_n == 4 and 0 < found.self_gained < 15
    assert found.verdict(0.05) == "undecided" and found.units_to_detect > 60
    (at_4,) = compared(tmp_path, old, new, ComparisonSettings(k=4, resamples=999)).scores
    assert at_4.first > found.first
    with pytest.raises(UserError, match="8 episodes only"):
        compared(tmp_path, old, new, ComparisonSettings(k=9, resamples=999))


@pytest.mark.parametrize(
    ("shift", "questions", "verdict"), [(0.4, 100, "better"), (-0.4, 100, "worse"), (0.0, 3000, "equivalent")]
)
def test_verdicts(tmp_path, shift, questions, verdict):
    rng = np.random.default_rng(2)
    rates = np.full((questions, 1), 0.5)
    old, new = rng.random((questions, 4)) < rates, rng.random((questions, 4)) < rates + shift
    assert compared(tmp_path, old, new).scores[0].verdict(0.05) == verdict


def test_constant_data_prove_nothing_they_cannot(tmp_path):
    same = np.ones((10, 1))
    (found,) = compared(tmp_path, same, same).scores
    assert found.equivalence_p_value == pytest.approx(0.95**10) and found.verdict(0.05) == "undecided"
    assert found.low < -0.2 and found.high > 0.2


def test_clusters_are_the_unit(tmp_path):
    rng = np.random.default_rng(3)
    passages = np.repeat(np.arange(12), 10)
    effect = np.repeat(rng.choice([-0.5, 0.5], 12), 10)[:, None]
    old, new = rng.random((120, 1)) < 0.5, rng.random((120, 1)) < 0.5 + effect
    (alone,) = compared(tmp_path, old, new, passage=passages.tolist()).scores
    columns = columns_of("", "", "passage")
    (found,) = compared(tmp_path, old, new, columns=columns, passage=passages.tolist()).scores
    assert (alone.units, found.units) == (120, 12) and found.difference == pytest.approx(alone.difference)
    assert found.high - found.low > 1.5 * (alone.high - alone.low)
    with pytest.raises(UserError, match="no column 'page'"):
        compared(tmp_path, old, new, columns=columns_of("", "", "page"), passage=passages.tolist())


def test_several_scores_are_corrected_together(tmp_path):
    rng = np.random.default_rng(4)
    rows = []
    for shift in (0.0, 0.3):
        wins = rng.random((40, 2)) < 0.5 + shift
        rows.append(
            [
                {
                    "doc_id": i,
                    "resps": [["x"]],
                    "metrics": ["acc", "f1", "len"],
                    "acc": float(a),
                    "f1": 0.5 + b / 4,
                    "len": 9,
                }
                for i, (a, b) in enumerate(wins)
            ]
        )
    files = [write(tmp_path, name, each) for name, each in zip("ab", rows, strict=True)]
    found = compare_logs(files, (), ANY, QUICK, Columns())
    assert [each.score for each in found.scores] == ["acc", "f1"]
    for each in found.scores:
        assert each.holm_p_value >= each.p_value and each.p_value < 1
    assert np.isnan(found.scores[1].mcnemar_p_value) and 0 < found.scores[1].first < 1
    assert [each.score for each in compare_logs(files, ("acc",), ANY, QUICK, Columns()).scores] == ["acc"]


def test_what_cannot_be_compared(tmp_path):
    one, other = write(tmp_path, "a", episodes([[1]])), write(tmp_path, "b", [{"question": "x", "success": 1}])
    two = write(tmp_path, "two", [{"policy": p, "question": 0, "success": 1} for p in "pq"])
    for files, said in (
        ((one,), "name two logs"),
        ((one, other), "no question in common"),
        ((one, two), "holds 2 policies"),
        ((one, one), "named twice"),
    ):
        with pytest.raises(UserError, match=said):
            compare_logs(files, (), ANY, QUICK, Columns())


@pytest.mark.parametrize("width", ["80", "40", "200"])
def test_what_the_command_prints_and_writes(tmp_path, monkeypatch, capsys, width):
    from reproduce.cli.command_line import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", width)
    rng = np.random.default_rng(5)
    for name in ("base", "a_policy_with_a_name_longer_than_a_column"):
        write(tmp_path, name, episodes(rng.random((30, 4)) < 0.5))
    files = ["base.jsonl", "a_policy_with_a_name_longer_than_a_column.jsonl"]
    assert main(["compare-logs", *files, "--json", "a.json", "--csv", "a.csv", "--resamples", "999"]) == 0
    printed = capsys.readouterr().out
    for part in ("B − A", "Holm", "equal", "McNemar", "gained", "lost", "self", "detectable", "to equate", "undecided"):
        assert part in " ".join(printed.split())
    assert max(map(len, printed.splitlines())) <= int(width)
    assert json.loads((tmp_path / "a.json").read_text(), parse_constant=pytest.fail)["first"] == "base"
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 2
    assert main(["compare-logs", "--score", "success", *files, "--score", "success"]) == 0
    assert "over 2 scores" in " ".join(capsys.readouterr().out.split())
    assert main(["compare-logs", *files, "--json", "a.json"]) == 2
    assert "is there already" in capsys.readouterr().err


@pytest.mark.slow
def test_error_rates(tmp_path):
    """Without a difference at most 5 % are called better or worse, at the margin at most 5 % equivalent."""
    rng = np.random.default_rng(6)
    verdicts = {0.0: [], 0.1: []}
    for shift, found in verdicts.items():
        for _ in range(300):
            rates = rng.beta(1, 1, (40, 1)) * (1 - shift)
            old, new = rng.random((40, 4)) < rates, rng.random((40, 4)) < rates + shift
            settings = ComparisonSettings(margin=0.1, resamples=199)
            found.append(compared(tmp_path, old, new, settings).scores[0].verdict(0.05))
    # Three standard errors of 300 trials above .05.
    assert np.mean([verdict in ("better", "worse") for verdict in verdicts[0.0]]) <= 0.088
    assert np.mean([verdict == "equivalent" for verdict in verdicts[0.1]]) <= 0.088
