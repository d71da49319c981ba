"""What one fixed policy shows: mean gradients of each choice of clip, deleted steps, entropies of reference traces.

The tables are those that `reproduce.papers.echorl.frozen` reads. Everything is teacher-forced on token ids.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from transformers import PreTrainedModel

from methods.echo_clips import find_steps, token_weights
from reproduce.core.files import write_parquet
from reproduce.environments.reasoning import NEWLINE, Demonstrator, ReasoningEnvironment, demonstrate, solve
from reproduce.environments.reasoning.bed import draw_demonstrator
from reproduce.environments.reasoning.steps import ANSWER
from reproduce.papers.echorl.clips import ClipConfig, candidates_of, clips_of
from reproduce.papers.echorl.experiment import ArmSettings
from reproduce.rollouts import Trajectory, UniformStreams, stream_length
from reproduce.training.train import Setting

GROUPS_AT_ONCE = 16
SEQUENCES_AT_ONCE = 256
REACH = 1e-2
"""Length of the step along a direction by which derivatives are taken as central differences."""
LONGEST_PREFIX = 24
"""Prefixes of a length drawn beforehand have up to so many tokens."""
SHARES = tuple(place / 20 for place in range(11))
"""Of the steps, deleted: 0 to 50 % in steps of 5 %."""
FEWEST_LINES = 3
"""Lines before the answer of a solution from which steps are deleted."""
TRIES = 20
"""Demonstrations drawn until one of them is right."""
CHOICES = {
    "highest_entropy": ClipConfig(),
    "lowest_entropy": ClipConfig(selection="lowest_entropy"),
    "random": ClipConfig(selection="random"),
    "random_rollout": ClipConfig(selection="random", extent="rollout"),
}


def write_tables(setting: Setting, folder: Path) -> None:
    """Write the tables that the arm's settings ask for into the run folder."""
    settings = setting.config.method
    assert isinstance(settings, ArmSettings)
    setting.model.eval()
    tables = {}
    if settings.analysis_groups:
        tables["projections"] = projections(setting, settings.analysis_groups)
    if settings.analysis_solutions:
        found = solutions(setting, settings.analysis_solutions)
        tables["deletion"], tables["golden"] = deletion(setting, found), golden(setting, found)
    for name, rows in tables.items():
        write_parquet(pa.Table.from_pandas(rows, preserve_index=False), folder / f"{name}.parquet")


def _sample(setting: Setting, places: Sequence[int], name: str) -> list[Trajectory]:
    """One episode for each place of a task, from streams of its own."""
    training = setting.training
    length = stream_length(training.rounds, setting.config.sampling.longest_action)
    streams = UniformStreams((f"{setting.name} {name}",), len(places), length)
    rounds = [training.rounds] * len(places)
    batch = setting.sampler.sample(setting.tasks, places, rounds, range(len(places)), streams)
    return [batch.trajectories[place] for place in batch.trajectory_of_episode]


@dataclass(frozen=True)
class _Batch:
    """Episodes as the model reads them. All (rows, tokens), padded on the right."""

    ids: torch.Tensor
    policy: torch.Tensor
    entropies: torch.Tensor


def _padded(episodes: Sequence[Trajectory], pad: int) -> _Batch:
    longest = max(len(episode.token_ids) for episode in episodes)
    ids = torch.full((len(episodes), longest), pad)
    policy = torch.zeros(ids.shape, dtype=torch.bool)
    entropies = torch.zeros(ids.shape)
    for row, episode in enumerate(episodes):
        length = len(episode.token_ids)
        ids[row, :length] = torch.from_numpy(episode.token_ids.astype(np.int64))
        policy[row, :length] = torch.from_numpy(episode.from_policy)
        entropies[row, :length] = torch.from_numpy(episode.entropies)
    return _Batch(ids, policy, entropies)


def _log_probabilities(setting: Setting, ids: torch.Tensor) -> torch.Tensor:
    """(rows, tokens) log-probability of each token at the sampling temperature; 0 for the first."""
    # Padding is on the right, out of the causal mask's sight.
    logits = setting.model(input_ids=ids).logits[:, :-1] / setting.config.sampling.temperature
    found = logits.log_softmax(dim=-1).gather(2, ids[:, 1:, None])[..., 0]
    return torch.nn.functional.pad(found, (1, 0))


def _weights(setting: Setting, batch: _Batch, chunk: int) -> dict[str, torch.Tensor]:
    """For each choice of clip the weight of every token, (rows, tokens); the weights of a group add up to one.

    Every episode counts as a success, for success is a selection too.
    """
    rows = torch.arange(len(batch.ids))
    groups, size = rows // setting.training.group_size, setting.training.group_size
    newline = int(setting.tokenizer.convert_tokens_to_ids(NEWLINE))
    end = batch.ids == int(setting.tokenizer.eos_token_id)
    steps = find_steps(batch.ids == newline, batch.policy, end, batch.entropies)
    everybody, count = torch.ones(len(rows), dtype=torch.bool), len(rows) // size
    found = {}
    for place, (name, config) in enumerate(CHOICES.items()):
        words = (setting.config.seed, chunk, place)
        candidates = candidates_of(steps, rows, config, words)
        clips = clips_of(candidates, everybody, groups, count, config, words)
        found[name] = count * token_weights(clips, batch.policy)
    lengths = torch.from_numpy(
        np.random.default_rng([setting.config.seed, chunk]).integers(1, LONGEST_PREFIX + 1, len(rows))
    )
    inside = batch.policy & (batch.policy.long().cumsum(dim=1) <= lengths[:, None]) & (rows % size == 0)[:, None]
    found["fixed_length"] = inside.double() / lengths[:, None]
    return found


def projections(setting: Setting, groups: int) -> pd.DataFrame:
    """Mean ascent direction of each choice of clip, projected on the difference of argmax and argmin.

    The direction is found in one half of the groups and read in the other. One row a choice: groups read, mean and
    standard error over groups.
    """
    model, size = setting.model, setting.training.group_size
    weights = [value for value in model.parameters() if value.requires_grad]
    direction = [torch.zeros_like(value) for value in weights]
    generator = np.random.default_rng([setting.config.seed, 1])
    chunks = np.array_split(np.arange(groups), max(2, 2 * (-(-groups // (2 * GROUPS_AT_ONCE)))))
    read: dict[str, list[np.ndarray]] = {}
    for chunk, members in enumerate(chunks):
        if not len(members):
            continue
        places = np.repeat(generator.integers(0, len(setting.tasks), len(members)), size)
        batch = _padded(_sample(setting, places.tolist(), f"groups {chunk}"), int(setting.tokenizer.pad_token_id or 0))
        chosen = _weights(setting, batch, chunk)
        if chunk < len(chunks) // 2:
            contrast = (chosen["highest_entropy"] - chosen["lowest_entropy"]).float()
            gradients = torch.autograd.grad((contrast * _log_probabilities(setting, batch.ids)).sum(), weights)
            direction = [old + new for old, new in zip(direction, gradients, strict=True)]
            continue
        slopes = _directional_derivatives(setting, batch.ids, direction)
        for name, value in chosen.items():
            read.setdefault(name, []).append((value * slopes).sum(dim=1).view(-1, size).sum(dim=1).numpy())
    rows = []
    for name, parts in read.items():
        values = np.concatenate(parts)
        error = float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else float("nan")
        rows.append({"selection": name, "groups": len(values), "mean": float(values.mean()), "standard_error": error})
    return pd.DataFrame(rows)


@torch.no_grad()
def _directional_derivatives(setting: Setting, ids: torch.Tensor, direction: list[torch.Tensor]) -> torch.Tensor:
    """(rows, tokens) derivative of each token's log-probability along the direction, scaled to length one."""
    weights = [value for value in setting.model.parameters() if value.requires_grad]
    length = float(torch.stack([value.double().square().sum() for value in direction]).sum().sqrt())
    if length == 0:
        return torch.zeros(ids.shape, dtype=torch.float64)
    kept = [value.clone() for value in weights]
    sides = []
    for reach in (REACH, -REACH):
        for value, start, along in zip(weights, kept, direction, strict=True):
            value.copy_(start + along * (reach / length))
        sides.append(_log_probabilities(setting, ids).double())
    for value, start in zip(weights, kept, strict=True):
        value.copy_(start)
    return (sides[0] - sides[1]) / (2 * REACH)


@dataclass(frozen=True)
class Solution:
    """A right solution of the policy's own."""

    task: int
    prompt: tuple[int, ...]
    lines: tuple[tuple[int, ...], ...]
    """Tokens of each line before the answer, its newline included."""
    entropies: tuple[float, ...]
    """Mean token entropy of each of these lines, nats."""
    answer: int
    """Token of the answer's value."""
    mean_entropy: float
    """Of all tokens of the episode, nats."""


def solutions(setting: Setting, count: int) -> list[Solution]:
    """Up to `count` right solutions with a line for the answer, from as many rounds through the tasks as a group has
    episodes."""
    found: list[Solution] = []
    vocabulary = setting.tokenizer.get_vocab()
    for turn in range(setting.training.group_size):
        places = np.random.default_rng([setting.config.seed, 2, turn]).permutation(len(setting.tasks))
        for episode in _sample(setting, places.tolist(), f"solutions {turn}"):
            solution = _solution(episode, vocabulary[NEWLINE], vocabulary[ANSWER]) if episode.success else None
            if solution is not None and len(found) < count:
                found.append(solution)
    return found


def _solution(episode: Trajectory, newline: int, answer: int) -> Solution | None:
    start = episode.prompt_length
    tokens, entropies = episode.token_ids[start:].tolist(), episode.entropies[start:]
    # The answer's line is the word, its value and the end of the action.
    if len(tokens) < 3 or tokens[-3] != answer:
        return None
    cuts = [0, *(place + 1 for place, token in enumerate(tokens[:-3]) if token == newline)]
    if cuts[-1] != len(tokens) - 3:
        return None
    spans = list(itertools.pairwise(cuts))
    return Solution(
        task=episode.task,
        prompt=tuple(episode.token_ids[:start].tolist()),
        lines=tuple(tuple(tokens[first:last]) for first, last in spans),
        entropies=tuple(float(entropies[first:last].mean()) for first, last in spans),
        answer=tokens[-2],
        mean_entropy=float(entropies.mean()),
    )


def comparable(found: Sequence[Solution]) -> list[Solution]:
    """The solutions from which steps are deleted: long enough, and with another one of as many lines.

    One alone in its number of lines would have to lend itself its own order.
    """
    lines = Counter(len(solution.lines) for solution in found)
    return [solution for solution in found if len(solution.lines) >= FEWEST_LINES and lines[len(solution.lines)] > 1]


def deletion(setting: Setting, found: Sequence[Solution]) -> pd.DataFrame:
    """Success after deleting a share of the steps in each order: the policy is given what is left and the word that
    announces the answer. One row for each order and share."""
    chosen = comparable(found)
    orders = _orders(chosen, np.random.default_rng([setting.config.seed, 3]))
    word = int(setting.tokenizer.convert_tokens_to_ids(ANSWER))
    rows = []
    for order, sequences in orders.items():
        for share in SHARES:
            texts, answers = [], []
            for solution, places in zip(chosen, sequences, strict=True):
                gone = set(places[: round(share * len(solution.lines))])
                left = [line for place, line in enumerate(solution.lines) if place not in gone]
                texts.append([*solution.prompt, *(token for line in left for token in line), word])
                answers.append(solution.answer)
            success = _greedy_is(setting, texts, answers) if texts else float("nan")
            rows.append({"order": order, "share": share, "solutions": len(chosen), "success": success})
    return pd.DataFrame(rows)


def _orders(chosen: Sequence[Solution], generator: np.random.Generator) -> dict[str, list[list[int]]]:
    """For each order of deletion and solution the places of its lines, the first to go first.

    matched: the order of another solution with as many lines, so that the number and the positions of deleted lines are
    matched, entropy is not; nor are the tokens of the lines, which one solution cannot borrow from another.
    """
    high = [np.argsort([-value for value in solution.entropies], kind="stable").tolist() for solution in chosen]
    matched: list[list[int]] = [[] for _ in chosen]
    lengths = np.array([len(solution.lines) for solution in chosen])
    for length in np.unique(lengths):
        places = generator.permutation(np.flatnonzero(lengths == length))
        for place, other in zip(places, np.roll(places, 1), strict=True):
            matched[place] = high[other]
    return {
        "high_first": high,
        "low_first": [order[::-1] for order in high],
        "random": [generator.permutation(len(solution.lines)).tolist() for solution in chosen],
        "matched": matched,
    }


@torch.no_grad()
def _greedy_is(setting: Setting, texts: Sequence[Sequence[int]], answers: Sequence[int]) -> float:
    """Share of texts after which the most likely token is the answer's."""
    right = 0
    for start in range(0, len(texts), SEQUENCES_AT_ONCE):
        part = texts[start : start + SEQUENCES_AT_ONCE]
        last = torch.tensor([len(text) - 1 for text in part])
        logits = setting.model(input_ids=_right_padded(part)).logits[torch.arange(len(part)), last]
        right += int((logits.argmax(dim=-1) == torch.tensor(answers[start : start + SEQUENCES_AT_ONCE])).sum())
    return right / len(texts)


def _right_padded(texts: Sequence[Sequence[int]]) -> torch.Tensor:
    ids = torch.zeros((len(texts), max(len(text) for text in texts)), dtype=torch.long)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = torch.tensor(text)
    return ids


def golden(setting: Setting, found: Sequence[Solution]) -> pd.DataFrame:
    """Mean token entropy of the expert's solution, of own successes and of demonstrators' right ones, same tasks.

    One row: prompts, and the three means over prompts in nats.
    """
    own: dict[int, list[float]] = {}
    prompts = {}
    for solution in found:
        own.setdefault(solution.task, []).append(solution.mean_entropy)
        prompts[solution.task] = solution.prompt
    # The demonstrator that the base of this seed was made from: its generator is drawn from in the same order.
    demonstrator = draw_demonstrator(random.Random(f"reasoning demonstrations {setting.config.seed}"))
    generator = random.Random(f"{setting.name} demonstrators")
    texts: dict[str, list[str]] = {"golden": [], "other": []}
    used = []
    for task in own:
        text = _right_demonstration(setting, task, demonstrator, generator)
        if text is not None:
            used.append(task)
            texts["other"].append(text)
            texts["golden"].append(solve(setting.tasks[task])[0])
    row: dict[str, float] = {"prompts": len(used), "own": _mean([float(np.mean(own[task])) for task in used])}
    for name, own_texts in texts.items():
        values = [_mean_entropy(setting, prompts[task], text) for task, text in zip(used, own_texts, strict=True)]
        row[name] = _mean(values)
    return pd.DataFrame([row])


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def _right_demonstration(
    setting: Setting, task: int, demonstrator: Demonstrator, generator: random.Random
) -> str | None:
    """A right solution by the demonstrator; None where `TRIES` of them are wrong."""
    for _ in range(TRIES):
        text = demonstrate(setting.tasks[task], setting.training.rounds, generator, demonstrator)[-1].text
        if ReasoningEnvironment().step(setting.tasks[task], (), text).success:
            return text
    return None


@torch.no_grad()
def _mean_entropy(setting: Setting, prompt: Sequence[int], text: str) -> float:
    """Mean entropy, nats, of the distributions that the tokens of a solution and its end are drawn from."""
    model: PreTrainedModel = setting.model
    ids = [*prompt, *setting.tokenizer.convert_tokens_to_ids(text.split()), int(setting.tokenizer.eos_token_id or 0)]
    logits = model(input_ids=torch.tensor([ids])).logits[0, len(prompt) - 1 : -1] / setting.config.sampling.temperature
    logarithms = logits.double().log_softmax(dim=-1)
    return float(-(logarithms.exp() * logarithms).sum(dim=-1).mean())
