"""`pass-kt`: the numbers equal independent computation, the notes say what was done, and no input gives a traceback."""

import io
import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from reproduce.core.files import UserError
from reproduce.logs.analysis import Settings, analyse
from reproduce.logs.command import Outputs, notes, show_pass_kt
from reproduce.logs.episodes import EpisodeCounts
from reproduce.logs.scores import ScoreRule
from reproduce.logs.tables import plain

ANY = ScoreRule()
QUICK = Settings(resamples=200)
REAL = sorted(path for path in (Path(__file__).parent / "logs").rglob("*") if path.suffix in (".jsonl", ".eval"))


def counts_of(n, c, policies=("base", "grpo"), depths=(0.0, 2.0)):
    n, c = np.asarray(n), np.asarray(c)
    questions = tuple(f"q{i}" for i in range(n.shape[1]))
    return EpisodeCounts(tuple(policies), questions, tuple(depths), True, n, c)


def simulated(rng, questions=40, n=16, policies=2, depths=2, shift=0.0):
    p = rng.beta(0.4, 0.6, (1, questions, 1)) + shift * np.arange(policies)[:, None, None]
    size = (policies, questions, depths)
    return np.full(size, n), rng.binomial(n, np.clip(np.broadcast_to(p, size), 0, 1))


def brute_pass(n, c, k):
    """Share of the k-subsets of the n episodes that hold a success."""
    outcomes = [1] * c + [0] * (n - c)
    return float(np.mean([any(chosen) for chosen in itertools.combinations(outcomes, k)]))


def test_surface_and_differences_equal_enumeration():
    rng = np.random.default_rng(0)
    n = rng.integers(4, 8, (2, 9, 2))
    c = rng.binomial(n, 0.3)
    result = analyse(counts_of(n, c), QUICK)
    expected = np.array(
        [
            [[[brute_pass(n[p, q, t], c[p, q, t], k) for k in (1, 2, 4)] for t in (0, 1)] for q in range(9)]
            for p in (0, 1)
        ]
    )
    for row, surface in enumerate(result.surfaces):
        np.testing.assert_allclose(surface.grid.estimate, expected[row].mean(axis=0))
        assert surface.grid.ks == (1, 2, 4) and (surface.smallest_n, surface.largest_n) == (n[row].min(), n[row].max())
        assert np.isnan(surface.standard_error_fixed[:, 2]).all() == (n[row].min() < 8)
    (comparison,) = result.comparisons
    difference = expected[1] - expected[0]
    np.testing.assert_allclose(comparison.grid.estimate, difference.mean(axis=0), atol=1e-12)
    assert comparison.exact
    # All 2^9 sign patterns by hand, for the cell of T = 0, k = 2.
    signs = np.array(list(itertools.product((-1, 1), repeat=9)))
    sums = np.abs(signs @ difference[:, 0, 1])
    assert comparison.p_value[0, 1] == pytest.approx(np.mean(sums >= abs(difference[:, 0, 1].sum()) - 1e-9))
    assert (comparison.adjusted_p_value >= comparison.p_value - 1e-12).all()
    assert comparison.grid_p_value == comparison.adjusted_p_value.min() == comparison.holm_p_value


def test_boundary_counts_exact_test_and_self_null():
    from scipy.stats import binomtest, ttest_1samp

    rng = np.random.default_rng(1)
    n, c = simulated(rng, questions=60, n=12, shift=0.04)
    for place, boundary in enumerate(analyse(counts_of(n, c), QUICK).boundaries):
        base, grpo = c[0, :, place], c[1, :, place]
        gained, lost = int(((grpo > 0) & (base == 0)).sum()), int(((base > 0) & (grpo == 0)).sum())
        assert (boundary.gained, boundary.lost, boundary.n) == (gained, lost, 12)
        assert boundary.p_value == pytest.approx(binomtest(gained, gained + lost).pvalue)
        none_at_6 = np.array([[math.comb(12 - x, 6) / math.comb(12, 6) for x in row] for row in (base, grpo)])
        # Two disjoint halves of the baseline's 12 episodes: the first solved and the second not, over all splits.
        self_gain = none_at_6[0] - (base == 0)
        assert boundary.half_n == 6 and boundary.self_gained == pytest.approx(self_gain.sum())
        assert boundary.half_gained == pytest.approx(((1 - none_at_6[1]) * none_at_6[0]).sum())
        excess = (1 - none_at_6[1]) * none_at_6[0] - self_gain
        assert boundary.excess == pytest.approx(excess.sum())
        assert boundary.excess_low < boundary.excess < boundary.excess_high <= 60
        # The t-test knows no range: the bounded one is the more cautious of the two.
        assert boundary.excess_p_value > ttest_1samp(excess, 0, alternative="greater").pvalue
    p_values = sorted(each.p_value for each in analyse(counts_of(n, c), QUICK).boundaries)
    assert min(each.holm_p_value for each in analyse(counts_of(n, c), QUICK).boundaries) == min(1, 2 * p_values[0])


def test_intervals_cover_and_bands_are_wider():
    rng = np.random.default_rng(2)
    n, c = simulated(rng, questions=200, n=32)
    surface = analyse(counts_of(n, c), Settings(resamples=2000)).surfaces[0]
    grid = surface.grid
    assert ((grid.low < grid.estimate) & (grid.estimate < grid.high)).all()
    assert ((grid.band_low < grid.low) & (grid.high < grid.band_high)).all()
    assert (grid.band_low >= 0).all() and (grid.band_high <= 1).all()


@pytest.mark.slow
def test_size_without_a_difference():
    rng = np.random.default_rng(3)
    rejected = [
        analyse(counts_of(*simulated(rng, questions=20, n=4)), Settings(resamples=199)).comparisons[0].grid_p_value
        <= 0.05
        for _ in range(200)
    ]
    # .05 with 200 trials: three standard errors above are .096.
    assert np.mean(rejected) <= 0.096


def test_the_same_seed_gives_the_same_numbers_and_another_does_not():
    n, c = simulated(np.random.default_rng(4))
    first, again, other = (plain(analyse(counts_of(n, c), Settings(resamples=200, seed=seed))) for seed in (0, 0, 1))
    assert first == again and first["surfaces"] != other["surfaces"]


def test_notes_say_what_was_done_with_uneven_data():
    n = np.array([[[4, 4], [8, 8], [4, 0], [4, 4]], [[4, 4], [4, 4], [4, 4], [0, 0]]])
    c = np.minimum(n, 1)
    result = analyse(counts_of(n, c), Settings(ks=(1, 2, 8), resamples=200))
    said = "\n".join(notes(result))
    for part in (
        "base: n is unequal, 4 to 8 episodes",
        "base: 1 questions left out, which lack episodes at some T",
        "base: no value at k = 8, since 2 of 3 questions have fewer than 8 episodes",
        "grpo: no value at k = 8, since 3 of 3 questions",
        "grpo - base: paired on 2 questions; left out 1 only in the first and 1 only in the second",
        "base, grpo: 3 questions are few",
        "boundary at unequal n",
    ):
        assert part in said
    assert np.isnan(result.surfaces[0].grid.estimate[:, 2]).all()
    assert not result.boundaries[0].equal_n and math.isnan(result.boundaries[0].p_value)
    half = notes(analyse(counts_of(np.full((2, 5, 2), 4), np.ones((2, 5, 2), int)), Settings(resamples=200)))
    assert any(note.startswith("base, grpo: n < 2k at k = 4") for note in half)


def test_no_common_questions_and_no_common_depth():
    n = np.array([[[4, 0], [0, 0]], [[0, 0], [0, 4]]])
    result = analyse(counts_of(n, np.minimum(n, 1)), QUICK)
    assert not result.comparisons and not result.boundaries
    assert any("grpo: no question and T in common with base" in note for note in notes(result))
    assert any("1 question is few" in note for note in notes(result))


def write_counts(path, rng, policies, questions=12, n=8):
    rows = ["policy,question,T,n,c"]
    for policy, question, depth in itertools.product(policies, range(questions), (0, 1)):
        rows.append(f"{policy},q{question},{depth},{n},{rng.integers(0, n + 1)}")
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.mark.parametrize("width", ["80", "120"])
def test_what_the_command_prints_and_writes(tmp_path, monkeypatch, capsys, width):
    from reproduce.cli.command_line import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", width)
    write_counts(tmp_path / "log.csv", np.random.default_rng(5), ("base", "gr\x1b[31mpo", "_$x^$"), n=64)
    words = [
        "pass-kt",
        "log.csv",
        "--json",
        "numbers.json",
        "--csv",
        "table.csv",
        "--figure",
        "a.png",
        "--resamples",
        "200",
    ]
    assert main(words) == 0
    printed = capsys.readouterr().out
    for part in (
        "PASS@(k,T)",
        "k = 64",
        "Unit: question",
        "paired by question",
        "maxT",
        "McNemar",
        "self-null",
        "solves",
        "G-Pass",
    ):
        assert part in " ".join(printed.split())
    assert "\x1b" not in printed and "gr\\x1b[31mpo" in printed
    assert max(map(len, printed.splitlines())) <= int(width)
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    assert len((tmp_path / "table.csv").read_text().splitlines()) == 1 + 3 * 2 * 7 + 2 * 2 * 7 + 2 * 2
    numbers = json.loads((tmp_path / "numbers.json").read_text(), parse_constant=pytest.fail)
    assert numbers["baseline"] == "base" and len(numbers["comparisons"]) == 2
    assert np.array(numbers["surfaces"][0]["grid"]["estimate"]).shape == (2, 7)
    assert numbers["surfaces"][0]["standard_error_fixed"][0][6] is None


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_other_figures_k_and_baseline(tmp_path, monkeypatch, capsys, kind):
    from reproduce.cli.command_line import main

    monkeypatch.chdir(tmp_path)
    write_counts(tmp_path / "log.csv", np.random.default_rng(6), ("a", "b"))
    words = ["--k", "4,1,4", "--baseline", "b", "--figure", f"out.{kind}", "--resamples", "200", "--level", "0.9"]
    assert main(["pass-kt", "log.csv", *words]) == 0
    printed = capsys.readouterr().out
    assert "a − b" in printed and "k = 2" not in printed and "90%" in printed
    assert (tmp_path / f"out.{kind}").stat().st_size > 1000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.csv", f"out.{kind}"]


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ([], "name at least one FILE"),
        (["absent.csv"], "no such file"),
        (["log.csv", "--baseline", "bse"], "did you mean 'base'?"),
        (["log.csv", "--k", "1,x"], "expected whole numbers"),
        (["log.csv", "--k", "0,1"], "--k 0"),
        (["log.csv", "--level", "95"], "--level"),
        (["log.csv", "--resamples", "1"], "--resamples"),
        (["log.csv", "--seed", "-1"], "--seed"),
        (["log.csv", "--threshold", "nan"], "--threshold"),
        (["log.csv", "--figure", "out.gif"], "must end in .png, .svg, .pdf"),
        (["log.csv", "--json", "log.csv"], "is there already"),
        (["log.csv", "--success", "a>=b"], "expected a number behind >="),
        (["log.csv", "--success", "a", "--score", "b"], "leave out --score"),
        (["log.csv", "--question", "nothing"], "no column 'nothing'"),
        (["log.csv", "--unscored", "keep"], "--unscored"),
        (["log.csv", "--tau", "2"], "--tau"),
        (["log.csv", "--policy", "p=absent.csv"], "no such file"),
        (["log.csv", "--figur", "out.png"], "did you mean '--figure'?"),
    ],
)
def test_bad_options_get_one_line(tmp_path, monkeypatch, capsys, words, part):
    from reproduce.cli.command_line import main

    monkeypatch.chdir(tmp_path)
    write_counts(tmp_path / "log.csv", np.random.default_rng(7), ("base", "grpo"))
    assert main(["pass-kt", *words]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and part in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.csv"]


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 5), st.integers(), st.floats(), st.text(max_size=5), st.just("nan")
)
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=2), st.dictionaries(st.text(max_size=3), SCALARS, max_size=2))
LIKELY = st.one_of(st.sampled_from([0, 1, 2, "a", "b", True, False, "1", 0.5]), VALUES)
KEYS = st.sampled_from(["policy", "question", "T", "success", "n", "c", "n_correct", "reward"])
MANY_KEYS = (
    *("doc_id", "resps", "filtered_resps", "filter", "metrics", "acc", "doc_hash"),
    *("example_id", "id", "completion", "reward", "error", "task", "traces", "ok"),
)
JSON_VALUES = st.recursive(
    SCALARS, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(MANY_KEYS), inner))
)
INSPECT_KEYS = st.sampled_from(["eval", "samples", "model", "task", "id", "epoch", "scores", "value"])
INSPECT = st.recursive(
    SCALARS, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(INSPECT_KEYS, inner, max_size=4))
)


def as_lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode("utf-8", "replace")


TABLES = st.lists(st.dictionaries(KEYS, LIKELY, max_size=5), max_size=6).map(as_lines)
REGULAR = st.lists(
    st.fixed_dictionaries(
        {"policy": st.sampled_from("ab"), "question": st.sampled_from("xyz"), "T": st.sampled_from([0, 1.5])},
        optional={"success": st.sampled_from([0, 1, True, "no", 0.5])},
    ),
    min_size=1,
    max_size=30,
).map(as_lines)
SAMPLES = st.lists(
    st.fixed_dictionaries(
        {"doc_id": JSON_VALUES, "resps": JSON_VALUES, "metrics": st.just(["acc"]), "acc": JSON_VALUES},
        optional={"filter": JSON_VALUES},
    ),
    max_size=4,
).map(as_lines)
ROLLOUTS = st.lists(
    st.one_of(
        st.fixed_dictionaries({"example_id": LIKELY, "completion": SCALARS, "reward": LIKELY}),
        st.fixed_dictionaries(
            {"task": st.dictionaries(st.sampled_from(["key", "data"]), JSON_VALUES)},
            optional={"traces": st.lists(st.dictionaries(st.sampled_from(["rewards", "agent"]), JSON_VALUES))},
        ),
    ),
    max_size=4,
).map(as_lines)
CSV_TEXT = st.lists(
    st.lists(st.one_of(KEYS, st.sampled_from(["0", "1", "a", '"', "nan", "\n", "\r"]), st.text(max_size=4))), max_size=6
).map(lambda rows: "\n".join(",".join(row) for row in rows).encode("utf-8", "replace"))
CSV_ROWS = st.tuples(
    st.permutations(["policy", "question", "T", "success"]), st.lists(st.lists(LIKELY, min_size=4, max_size=4))
).map(lambda table: "\n".join(",".join(map(str, row)) for row in (table[0], *table[1])).encode("utf-8", "replace"))
SIGNS = (
    *(
        {"instance_id": 1, "stats": []},
        {"evaluation_id": 1, "sample_id": 1, "evaluation": {}},
        {"doc_id": 1, "resps": []},
    ),
    *({"input": "a", "output": "b", "score": 1, "step": 1}, {"task_id": 1, "passed": True, "completion": "x"}),
    *({"reward": 1, "completion": "x", "id": 1}, {"traces": [], "task": {"key": 1}}),
)
INNER_KEYS = (
    *("stats", "name", "mean", "count", "sum", "evaluation", "score", "is_correct", "model_id", "evaluation_result_id"),
    *("input", "acc", "passed", "doc", "doc_hash", "exact_match", "metrics", "resps", "error", "env", "id", "prompt"),
)
SIGNED = st.lists(
    st.builds(
        lambda sign, more: sign | more,
        st.sampled_from(SIGNS),
        st.dictionaries(st.sampled_from(INNER_KEYS), JSON_VALUES, max_size=4),
    ),
    min_size=1,
    max_size=4,
)
EVALPLUS = st.dictionaries(
    st.text(max_size=2), st.lists(st.dictionaries(st.sampled_from(["base_status", "plus_status"]), VALUES))
)
CONTENT = st.one_of(
    st.tuples(st.just("log.jsonl"), SIGNED.map(as_lines)),
    st.tuples(st.just("log.json"), SIGNED.map(lambda rows: json.dumps(rows).encode())),
    st.tuples(st.just("log.json"), EVALPLUS.map(lambda tasks: json.dumps({"eval": tasks}).encode())),
    st.tuples(st.just("log.tsv"), st.binary(max_size=60)),
    st.tuples(st.sampled_from(["log.csv.gz", "log.jsonl.zst"]), st.binary(max_size=60)),
    st.tuples(st.just("log.jsonl"), st.one_of(TABLES, REGULAR, SAMPLES, ROLLOUTS, st.binary(max_size=200))),
    st.tuples(st.just("log.csv"), st.one_of(CSV_TEXT, CSV_ROWS, st.binary(max_size=200))),
    st.tuples(
        st.just("log.json"), st.one_of(INSPECT.map(lambda value: json.dumps(value).encode()), st.binary(max_size=50))
    ),
    st.tuples(
        st.just("log.json"),
        st.fixed_dictionaries({"eval": INSPECT, "samples": st.lists(INSPECT)}).map(lambda v: json.dumps(v).encode()),
    ),
    st.tuples(st.just("log.parquet"), st.binary(max_size=200).map(lambda middle: b"PAR1" + middle + b"PAR1")),
    st.tuples(st.just("log.eval"), st.binary(max_size=200).map(lambda rest: b"PK\x03\x04" + rest)),
)


def result_or_one_line(path, rule=ANY):
    console = Console(file=io.StringIO(), width=80)
    out = path.with_name("out.json")
    out.unlink(missing_ok=True)
    try:
        show_pass_kt(console, [str(path)], rule, Settings(resamples=100), None, Outputs(numbers=out))
    except UserError as error:
        if not str(error).strip():
            pytest.fail("an empty complaint")
        return False
    json.loads(out.read_text(), parse_constant=pytest.fail)
    return True


@settings(max_examples=600, deadline=None, suppress_health_check=list(HealthCheck))
@given(CONTENT, st.sampled_from([ScoreRule(), ScoreRule(threshold=0.5), ScoreRule("reward"), ScoreRule("acc", 0.5)]))
def test_no_content_gives_a_traceback(tmp_path_factory, content, rule):
    name, text = content
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(text)
    result_or_one_line(path, rule)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_no_damage_to_a_real_log_gives_a_traceback(tmp_path_factory, data):
    source = data.draw(st.sampled_from(REAL))
    content = bytearray(source.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content) - 1))
        content[start : start + data.draw(st.integers(0, 30))] = data.draw(st.binary(max_size=30))
        if not content:
            break
    path = tmp_path_factory.getbasetemp() / f"damaged{source.suffix}"
    path.write_bytes(bytes(content))
    result_or_one_line(path, ScoreRule("exact" if source.suffix == ".eval" else None))


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.tuples(st.text(min_size=1, max_size=4), st.integers(0, 3), st.sampled_from([0, 1, 2.5]), st.booleans()),
        min_size=1,
        max_size=40,
    )
)
def test_any_well_formed_episodes_give_a_result(tmp_path_factory, episodes):
    """Names of any characters, any numbers of episodes: a table and valid JSON, or the one reason there can be."""
    path = tmp_path_factory.getbasetemp() / "episodes.jsonl"
    names = ("policy", "question", "T", "success")
    path.write_bytes(as_lines(dict(zip(names, row, strict=True)) for row in episodes))
    rows = {}
    for policy, question, depth, _ in episodes:
        rows.setdefault(policy.strip(), {}).setdefault(question, set()).add(depth)
    whole = all(any(d == set().union(*by.values()) for d in by.values()) for by in rows.values())
    assert result_or_one_line(path) == (whole and all(rows))
