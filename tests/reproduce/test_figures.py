"""Figures: every name the claims use, labelled with units, small, and the same bytes for the same records."""

from dataclasses import replace

import numpy as np
import pytest

from reproduce.claims.grid import load_records
from reproduce.papers.pass_kt import figures as pass_kt_figures
from reproduce.papers.pass_kt.paper import PAPER as pass_kt
from tests.reproduce.simulated_records import write_simulated_records

NAMES = ["static_curves", "bridge_curves", "gain_map", "widening", "boundary", "depth", "rounds", "training"]
SMOKE = {"seeds": 2, "questions": 4, "samples": 8, "profile": "smoke"}


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    write_simulated_records(folder, np.random.default_rng(0), gain=4.0, seeds=4, questions=12)
    return load_records(folder)


@pytest.fixture(scope="module")
def drawn(records, tmp_path_factory):
    return pass_kt_figures.draw(records, tmp_path_factory.mktemp("figures"))


def test_every_figure_that_a_claim_names_is_drawn(drawn):
    assert list(drawn) == NAMES
    assert {name for claim in pass_kt.claims for name in claim.figures} <= set(drawn)


def test_figures_are_small_and_their_captions_name_sizes(drawn):
    for name, figure in drawn.items():
        assert figure.path.stat().st_size < 150_000
        assert "seed" in figure.caption
        assert "  " not in figure.caption
        if name not in ("boundary", "training"):
            assert "4 seeds, 12 questions, n = 128 episodes" in figure.caption


def test_the_same_records_give_the_same_bytes(records, drawn, tmp_path):
    for name in ("gain_map", "rounds"):
        drawing, _ = getattr(pass_kt_figures, name)(records)
        again = pass_kt_figures.save(drawing, tmp_path / f"{name}.svg")
        assert again.read_bytes() == drawn[name].path.read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_smoke_sizes_draw_with_labels_on_every_axis(name, tmp_path_factory, recwarn):
    folder = tmp_path_factory.getbasetemp() / "smoke-records"
    if not folder.exists():
        write_simulated_records(folder, np.random.default_rng(1), **SMOKE)
    drawing, caption = getattr(pass_kt_figures, name)(load_records(folder))
    labels = [axes.get_xlabel() for axes in drawing.axes] + [axes.get_ylabel() for axes in drawing.axes]
    labels.append(drawing.get_supylabel())
    assert sum(label != "" for label in labels) >= 2
    units = ("samples k", "rounds T", "points", "share of", "questions", "seed", "optimiser step")
    assert all(any(unit in label for unit in units) for label in labels if label)
    assert "nan" not in caption
    assert not [warning for warning in recwarn if issubclass(warning.category, RuntimeWarning)]


def test_the_heat_map_is_centred_and_shows_the_mean_gain(records):
    drawing, _ = pass_kt_figures.gain_map(records)
    left = drawing.axes[0]
    low, high = left.collections[0].get_clim()
    assert low == -high
    gain = pass_kt_figures.pass_values(records, "grpo", "bridge", 5, (64,))
    gain = gain - pass_kt_figures.pass_values(records, "base", "bridge", 5, (64,))
    corner = next(text for text in left.texts if text.get_position() == (6.5, 4.5))
    assert corner.get_text() == f"{100 * gain.mean():+.1f}".replace("-", "−")


def test_a_crossing_is_marked_and_named(records):
    counts = records.counts.copy()
    # At T = 5 the base always solves half of the questions, the trained policy all of them at a low rate.
    cell = (counts["category"] == "bridge") & (counts["T"] == 5) & (counts["half"] == 0) & (counts["panel"] == "test")
    even = counts["question"].str[-1].astype(int) % 2 == 0
    base, trained = cell & (counts["arm"] == "base"), cell & (counts["arm"] == "grpo")
    counts["successes"] = counts["successes"].mask(base & even, 128).mask(base & ~even, 0).mask(trained, 13)
    drawing, caption = pass_kt_figures.bridge_curves(replace(records, counts=counts))
    marks = [text.get_text() for text in drawing.axes[4].texts]
    assert len(marks) == 1
    assert 4 < float(marks[0].removeprefix("k* = ")) < 8
    assert "overtakes its base at k*" in caption
    assert "5)" in caption
