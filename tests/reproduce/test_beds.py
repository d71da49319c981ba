"""Beds: demonstrations that the policy can read, sizes that can be counted without drawing a task."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from reproduce.core.config import PanelSizes
from reproduce.environments.beds import ENVIRONMENTS, load_bed, task_counts
from reproduce.environments.protocol import Turn
from reproduce.environments.sequences import BEGIN, END, TURN, demonstration_words, epochs

WITHOUT_GAMES = ("countdown", "household", "reasoning")
"""Environments whose tasks are drawn in milliseconds."""


@pytest.mark.parametrize("environment", WITHOUT_GAMES)
def test_panels_have_as_many_tasks_as_are_counted(environment):
    sizes = PanelSizes(train=4, test=3, ood=2)
    panels = load_bed(environment).panels(sizes)
    assert {name: len(panel.tasks) for name, panel in panels.items()} == task_counts(environment, sizes)


def test_categories_of_reasoning_can_be_chosen():
    sizes = PanelSizes(2, 2, 2, categories=("easy", "decisive-4-of-8"), ood_categories=("longer",))
    panels = load_bed("reasoning").panels(sizes)
    assert {task.category for task in panels["train"].tasks} == {"easy", "decisive-4-of-8"}
    assert {task.category for task in panels["ood"].tasks} == {"longer"}
    assert {name: len(panel.tasks) for name, panel in panels.items()} == task_counts("reasoning", sizes)
    with pytest.raises(ValueError, match="no category 'esay'"):
        load_bed("reasoning").panels(replace(sizes, categories=("esay",)))


@pytest.mark.parametrize("environment", WITHOUT_GAMES)
def test_demonstrations_are_words_of_the_policy_and_fit_its_positions(environment):
    bed = load_bed(environment)
    config = replace(bed.BED.warm_start, steps=6, demonstrations=60, batch_size=10)
    vocabulary = {*bed.words(), BEGIN, TURN, END}
    drawn = list(bed.batches(config, 0))
    assert len(drawn) == 6
    sequences = [sequence for parts in drawn for part in parts for sequence in part]
    assert len(sequences) == 60
    for sequence in sequences:
        assert {word for word, _ in sequence} <= vocabulary
        assert len(sequence) <= bed.BED.policy.longest
        assert [word for word, by_policy in sequence if by_policy][-1] == END
    assert drawn == list(bed.batches(config, 0))
    assert drawn != list(bed.batches(config, 1))


def test_every_environment_has_a_bed_that_imports_no_engine():
    for environment in ENVIRONMENTS:
        bed = load_bed(environment)
        assert bed.TRAINING_EPISODES_PER_SECOND > 0 and bed.STORED_AS in ("float16", "float32")
    with pytest.raises(KeyError):
        load_bed("chess")


def test_words_of_a_demonstration_say_who_wrote_them():
    turns = (Turn("go now", False), Turn("left", True), Turn("wall", False), Turn("right", True))
    words = demonstration_words(turns)
    assert [word for word, _ in words] == [BEGIN, "go", "now", TURN, "left", END, "wall", TURN, "right", END]
    assert [word for word, by_policy in words if by_policy] == ["left", END, "right", END]


def test_epochs_show_every_sequence_once_and_batches_have_like_lengths():
    generator = np.random.default_rng(0)
    pool = [[(f"w{place}", True)] * int(length) for place, length in enumerate(generator.integers(1, 100, 64))]
    first, second = (list(epochs(pool, 8, 16, seed)) for seed in (0, 1))
    assert first != second and len(first) == 16
    for start in (0, 8):
        shown = [sequence[0][0] for parts in first[start : start + 8] for sequence in parts[0]]
        assert sorted(shown) == sorted(f"w{place}" for place in range(64))
    spreads = [np.ptp([len(sequence) for sequence in parts[0]]) for parts in first]
    assert np.mean(spreads) < 35, "batches of random sequences would spread over some 80 tokens"
    orders = [[sequence[0][0] for parts in first[start : start + 8] for sequence in parts[0]] for start in (0, 8)]
    assert orders[0] != orders[1]
    assert len(list(itertools.islice(epochs(pool[:3], 8, 5, 0), 5))) == 5
