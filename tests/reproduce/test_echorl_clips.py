"""Controls of EchoRL's choice of clips: what each of them picks, and rivals that are such choices."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from methods.echo_clips import Clips, find_steps, token_weights
from reproduce.papers.echorl.clips import (
    ClipConfig,
    ClipTrainer,
    candidates_of,
    in_scope,
    whole_episodes,
)
from reproduce.papers.echorl.clips import clips_of as choose
from tests.methods.test_degenerate_groups import (
    assert_gradient,
    fresh_model,
    gradient,
    rows_of,
    token_log_probabilities,
    trainer_of,
)
from tests.methods.test_echorl import BREAKS, GROUP, MIXED, PEAKS, SUCCESS, train
from tests.methods.test_echorl import trainer_of as echo_trainer_of


def clips_of(
    newline: torch.Tensor, entropies: torch.Tensor, success: torch.Tensor, config: ClipConfig, words: Any = (0,)
) -> tuple[Clips, torch.Tensor]:
    """The clips of groups of GROUP rows in which the policy wrote every token."""
    rows, policy = torch.arange(len(success)), torch.ones_like(newline)
    steps = whole_episodes(policy, entropies)
    if config.split == "newline":
        steps = find_steps(newline, policy, torch.zeros_like(newline), entropies)
    groups = rows // GROUP
    found = candidates_of(steps, rows, config, words)
    echoable = in_scope(success, groups, config.scope)
    clips = choose(found, echoable, groups, len(rows) // GROUP, config, words)
    return clips, token_weights(clips, policy)


@pytest.mark.parametrize(
    ("extent", "expected"),
    [("prefix", {1: (0, 4), 9: (0, 2)}), ("step", {1: (2, 4), 9: (0, 2)}), ("rollout", {1: (0, 6), 9: (0, 6)})],
)
def test_extents(extent: Any, expected: dict[int, tuple[int, int]]) -> None:
    clips, weights = clips_of(BREAKS, PEAKS, SUCCESS, ClipConfig(extent=extent))
    rows = clips.chosen.nonzero()[:, 0].tolist()
    assert {row: (int(clips.first[row]), int(clips.last[row])) for row in rows} == expected
    assert float(weights.sum()) == pytest.approx(1.0)


def test_one_clip_a_success_shares_the_weight_of_one_clip() -> None:
    clips, weights = clips_of(BREAKS, PEAKS, SUCCESS, ClipConfig(unit="rollout"))
    assert clips.chosen.tolist() == SUCCESS.tolist()
    np.testing.assert_allclose(weights.sum(dim=1).view(3, GROUP).sum(dim=1), [0.5, 0.0, 0.5])


def test_last_step_and_length_matched_controls() -> None:
    last, _ = clips_of(BREAKS, PEAKS, SUCCESS, ClipConfig(selection="last_step", extent="step"))
    rows = last.chosen.nonzero()[:, 0]
    assert (rows // GROUP).tolist() == [0, 2] and SUCCESS[rows].all()
    assert last.first[rows].tolist() == [4, 4] and last.last[rows].tolist() == [6, 6]
    drawn = set()
    for seed in range(40):
        config = ClipConfig(selection="length_matched_random")
        clips, _ = clips_of(BREAKS, PEAKS, SUCCESS, config, words=(seed,))
        rows = clips.chosen.nonzero()[:, 0].tolist()
        assert clips.last[rows].tolist() == [4, 2]
        drawn |= set(rows)
    assert drawn == {0, 3, 8, 10, 11}  # Every other success, never the peak's own episode or a failure.


def test_random_steps_are_uniform_over_the_pool() -> None:
    groups = 4000
    success = SUCCESS[:GROUP].repeat(groups)
    breaks, peaks = BREAKS[:GROUP].repeat(groups, 1), PEAKS[:GROUP].repeat(groups, 1)
    clips, _ = clips_of(breaks, peaks, success, ClipConfig(selection="random"), words=(3,))
    rows = clips.chosen.nonzero()[:, 0]
    assert len(rows) == groups
    counts = torch.zeros(GROUP, 7).index_put_((rows % GROUP, clips.last[rows]), torch.tensor(1.0), accumulate=True)
    picked = counts[[0, 1, 3]][:, [2, 4, 6]].flatten()
    assert float(picked.sum()) == groups
    assert float(((picked - groups / 9) ** 2 / (groups / 9)).sum()) < 26.1  # chi-squared, 8 degrees, p = 0.001


def test_the_two_branch_toy() -> None:
    """Closed form of section 3.2: the argmax pushes towards the uncertain branch, the argmin away, chance nowhere.

    Rows are [branch, environment, second step]; branch A (probability 1/2) has a second step of entropy ln 8, B of
    0.1. Only the branch token is read here, for the second token's score does not depend on the branch logit.
    """
    size, groups = 8, 40_000
    uncertain = torch.rand(groups * size, generator=torch.Generator().manual_seed(0)) < 0.5
    second = torch.where(uncertain, math.log(8), 0.1)
    entropies = torch.stack([torch.full_like(second, math.log(2)), torch.full_like(second, 9.0), second], dim=1)
    policy = torch.tensor([[True, False, True]]).expand(len(second), 3)
    nowhere = torch.zeros_like(policy)
    steps = find_steps(nowhere, policy, nowhere, entropies)
    rows = torch.arange(len(uncertain))
    score = torch.where(uncertain, 0.5, -0.5).double()

    def direction(**choice: Any) -> tuple[float, float]:
        config = ClipConfig(**choice)
        found = candidates_of(steps, rows, config, (7,))
        clips = choose(found, torch.ones(len(rows)).bool(), rows // size, groups, config, (7,))
        weights = token_weights(clips, policy)[:, 0]
        each = (weights * score).view(groups, size).sum(dim=1) * groups
        return float(each.mean()), float(each.std() / math.sqrt(groups))

    expected = {"highest_entropy": 253 / 1024, "lowest_entropy": -253 / 1024, "random": 0.0}
    for selection, closed_form in expected.items():
        mean, error = direction(selection=selection)
        assert abs(mean - closed_form) < 4 * error, selection
    mean, error = direction(selection="random", extent="rollout")
    assert abs(mean) < 4 * error


def test_lowest_entropy_scope_and_split() -> None:
    config = ClipConfig(selection="lowest_entropy")
    clips, _ = clips_of(BREAKS, PEAKS, SUCCESS, config)
    assert {row: int(clips.last[row]) for row in clips.chosen.nonzero()[:, 0].tolist()} == {0: 2, 8: 2}
    clips, _ = clips_of(BREAKS, PEAKS, SUCCESS, ClipConfig(scope="all_success"))
    assert clips.chosen.nonzero()[:, 0].tolist() == [9]
    clips, _ = clips_of(BREAKS, PEAKS, SUCCESS, ClipConfig(split="rollout"))
    assert {row: int(clips.last[row]) for row in clips.chosen.nonzero()[:, 0].tolist()} == {1: 6, 9: 6}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"selection": "peak"}, "selection must be one of highest_entropy"),
        ({"unit": "rollout", "selection": "length_matched_random"}, "one clip a group"),
        ({"weight": -1.0}, "weight"),
    ],
)
def test_bad_configurations_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClipConfig(**wrong)


@pytest.mark.parametrize("selection", ["random", "length_matched_random"])
def test_a_resumed_run_draws_what_the_uninterrupted_one_draws(tmp_path: Path, selection: Any) -> None:
    plan = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2, "lr_scheduler_type": "constant"}
    plan |= {"echo": ClipConfig(weight=0.3, selection=selection), "kind": ClipTrainer}
    whole = train(echo_trainer_of(tmp_path, MIXED, **plan)).model.state_dict()
    resumed = echo_trainer_of(tmp_path, MIXED, **plan)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert all(torch.equal(value, whole[name]) for name, value in resumed.model.state_dict().items())


def test_positive_examples_are_the_token_mean_over_all_right_episodes(tmp_path: Path) -> None:
    echo = ClipConfig(0.1, reduction="tokens", selection="last_step", extent="rollout", unit="rollout")
    trainer = trainer_of(tmp_path, ClipTrainer, prompts="acfg", method={"echo": echo})
    model = fresh_model()
    right = [token_log_probabilities(model, row)[0] for row in rows_of("acfg") if row["success"]]
    assert_gradient(gradient(trainer), -0.1 * torch.cat(right).mean(), model)


def test_the_success_of_lowest_entropy_is_imitated_whole(tmp_path: Path) -> None:
    echo = ClipConfig(0.5, selection="lowest_entropy", extent="rollout", split="rollout")
    trainer = trainer_of(tmp_path, ClipTrainer, prompts="acfg", method={"echo": echo})
    model = fresh_model()
    losses = []
    for prompt in "af":
        scored = [token_log_probabilities(model, row) for row in rows_of(prompt)]
        losses.append(-min(scored, key=lambda found: float(found[1].detach().mean()))[0].mean())
    assert_gradient(gradient(trainer), 0.5 * torch.stack(losses).mean(), model)
