"""The arms of RRPO and SRPO on the trainer: which chains are drawn, where they are reset, and what is kept of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from accelerate.utils import gather_object

from methods.localizers import AskedPolicy, LeastConfidentStep
from methods.resets import (
    ONE_BY_EIGHT,
    ONE_BY_FOUR,
    PUBLISHED_GRPO,
    TWO_BY_FOUR,
    BufferSettings,
    Chain,
    GRPOWithResets,
    Request,
    ResetChoice,
    ResetLoss,
    ResetRollouts,
    ResetRule,
    Sampler,
    Seed,
    chain_reward,
    uniform_step,
)
from methods.rivals.segment_values import GRPOWithSegmentValues, SegmentValueRollouts
from reproduce.core.paper import Training
from reproduce.environments.reasoning import ReasoningTask, first_wrong_step
from reproduce.papers.resets.arms import ResetSettings
from reproduce.papers.resets.chains import RESETS, UNKNOWN, ChainLog, Located, line_break_of, read_tables, step_row
from reproduce.papers.resets.coverage_probe import write_probe
from reproduce.papers.resets.localizer import PolicyReplies, asking_sampler
from reproduce.papers.resets.rules import (
    LearnedFromResampling,
    Oracle,
    fit_to_resampling,
    positions_by_length,
    resample_first_errors,
    step_features,
)
from reproduce.rollouts.continuation import EpisodeChains
from reproduce.rollouts.divided_chains import DividedChains
from reproduce.training.arguments import named_arguments
from reproduce.training.train import Recipe, Setting, engine_ready, is_main_process

SPLITS = {"1x4": ONE_BY_FOUR, "2x4": TWO_BY_FOUR, "1x8": ONE_BY_EIGHT}
FRESH_COUNTED = 4
"""Fresh chains of a prompt that count in the learning curve: as many in every arm with a base group, since the first
passage of a curve comes earlier the noisier it is. Splits without one draw only one or two before they reset."""


def loss_of(method: ResetSettings) -> ResetLoss:
    """The loss of an arm."""
    return PUBLISHED_GRPO if method.published_loss else ResetLoss(clip=method.clip)


def own_arguments(method: ResetSettings) -> dict[str, Any]:
    """Arguments of `GRPOConfig` that an arm sets itself."""
    return {"loss_type": loss_of(method).loss_type, "scale_rewards": "group"}


def build(setting: Setting) -> Recipe:
    """The arm of a run, from its settings."""
    method = cast(ResetSettings, setting.config.method)
    folder = setting.siblings / setting.config.arm / f"seed-{setting.config.seed}"
    if method.probe_tasks and is_main_process():
        # Before training, when the policy still is the base.
        write_probe(setting, method, folder)
    rollouts = RecordedRollouts(setting, method, ChainLog(folder))
    rows = setting.training.questions_per_step * setting.training.group_size
    if rows % method.updates:
        raise ValueError(f"{method.updates} updates do not divide a batch of {rows} chains")
    return Recipe(
        trainer=GRPOWithSegmentValues if method.rule == "values" else GRPOWithResets,
        reward=chain_reward,
        rollout=rollouts,
        updates=method.updates,
        arguments=own_arguments(method),
        options={"loss": loss_of(method)},
        finish=rollouts.finish,
    )


class RecordedRollouts:
    """TRL's `rollout_func`: chains of the current policy with the arm's resets, and a row in the log for each batch.

    Chains are addressed by (run, step), so that a run continued from a checkpoint draws what the uninterrupted one
    draws. Every process plans the whole batch, of which the sampling is divided (`DividedChains`), and trains its part.
    """

    def __init__(self, setting: Setting, method: ResetSettings, log: ChainLog) -> None:
        self.setting, self.method, self.log = setting, method, log
        line_break = line_break_of(setting.sampler.text)
        self.chains = DividedChains(EpisodeChains(setting.sampler, setting.tasks, line_break))
        self.replies: PolicyReplies | None = None
        # The questions of a data set do not tell where a solution goes wrong.
        self.has_oracle = isinstance(setting.tasks[0], ReasoningTask)
        self.oracle = Oracle(self._first_error, method.hit_rate, method.offset, method.spread)
        self.step, self.fresh, self.located = 0, list[bool](), list[Located]()
        buffer = BufferSettings(
            split=SPLITS[method.split],
            independent_base=method.independent_base,
            mask_prefix=method.mask_prefix,
            longest=method.longest,
        )
        encode = {task.identifier: setting.sampler.prompt_ids(task) for task in setting.tasks}.__getitem__
        if method.rule == "values":
            self.rollouts: ResetRollouts = SegmentValueRollouts(self._sample, encode, method.continuations, buffer)
        else:
            rule, seed = self._rule(), setting.config.seed
            recorded = self._recorded(rule) if rule else None
            truth = self.oracle.truth if self.has_oracle else None
            self.rollouts = ResetRollouts(recorded, self._sample, encode, buffer, seed, truth, whole_batch=True)

    def __call__(self, prompts: list[str], trainer: Any) -> dict[str, list[Any]]:
        self.step = int(trainer.state.global_step) + 1
        self.fresh, self.located = [], []
        name = f"{self.setting.name} training step {self.step - 1}"
        self.chains.begin(name)
        if self.replies:
            self.replies.begin(name)
        with engine_ready(self.setting, trainer):
            columns = self.rollouts(gather_object(list(prompts)), trainer)
        size = SPLITS[self.method.split].size
        if is_main_process():
            self.log.append(step_row(self.step, columns, self.fresh, self.located, size))
        first = trainer.accelerator.process_index * len(prompts)
        return {name: values and values[first : first + len(prompts)] for name, values in columns.items()}

    def finish(self, folder: Path) -> None:
        """Write the tables of the run."""
        self.log.finish()

    def _sample(self, requests: Sequence[Request]) -> list[Chain]:
        chains = self.chains(requests)
        # The first wave asks for equally many chains of each prompt, whatever comes of them: they are independent.
        if not self.fresh:
            self.fresh = first_outcomes(requests, chains)
        return chains

    def _first_error(self, seed: Seed) -> int | None:
        task = self.chains.task_of(seed.prompt_ids)
        place = first_wrong_step(task, self.chains.steps_of(seed.chain))
        return None if place is None else place + 1

    # ---- where to reset

    def _rule(self) -> ResetRule | None:
        rules: dict[str, Callable[[], ResetRule | None]] = {
            "none": lambda: None,
            "uniform": lambda: uniform_step,
            "first": lambda: first_step,
            "oracle": lambda: self.oracle,
            "asked": self._asked,
            "entropy": LeastConfidentStep,
            "learned": self._learning,
            "histogram": self._positions,
        }
        return rules[self.method.rule]()

    def _learning(self) -> ResetRule:
        iterations = named_arguments(self.setting.training.arguments).get("num_iterations", 1)
        return LearningRule(self.method, self._sample, self.log.folder, lambda: self.step, iterations)

    def _asked(self) -> ResetRule:
        self.replies = PolicyReplies(asking_sampler(self.setting, self.method.localizer))
        return AskedPolicy(self._problem_and_steps, self.replies)

    def _problem_and_steps(self, seed: Seed) -> tuple[str, Sequence[str]]:
        return self.chains.task_of(seed.prompt_ids).question, self.chains.steps_of(seed.chain)

    def _positions(self) -> ResetRule:
        run = self.setting.siblings / self.method.source / f"seed-{self.setting.config.seed}"
        found = read_tables(run)[RESETS]
        return positions_by_length(found["chosen"].tolist(), found["steps"].tolist())

    def _recorded(self, rule: ResetRule) -> ResetRule:
        def choose(seeds: Sequence[Seed], generator: np.random.Generator) -> list[ResetChoice]:
            choices = list(rule(seeds, generator))
            for seed, choice in zip(seeds, choices, strict=True):
                task, steps = self.chains.task_of(seed.prompt_ids), seed.chain.steps
                chosen = min(max(choice.step, 1), steps)
                truth = self.oracle.truth(seed) if self.has_oracle else UNKNOWN
                self.located.append(
                    Located(task.category, task.identifier, steps, chosen, truth, choice.generated_tokens)
                )
            return choices

        return choose


def first_outcomes(requests: Sequence[Request], chains: Sequence[Chain]) -> list[bool]:
    """Whether the chain is right, of the first `FRESH_COUNTED` chains of each prompt."""
    seen: Counter[tuple[int, ...]] = Counter()
    outcomes = []
    for request, chain in zip(requests, chains, strict=True):
        seen[request.prompt_ids] += 1
        if seen[request.prompt_ids] <= FRESH_COUNTED:
            outcomes.append(chain.correct)
    return outcomes


def first_step(seeds: Sequence[Seed], generator: np.random.Generator) -> list[ResetChoice]:
    """Begin anew: no prefix is kept."""
    return [ResetChoice(1) for _ in seeds]


class LearningRule:
    """Labels the failed chains of the first training steps by resampling, then localizes with what is fitted to them.

    Labels lie in the run folder, by step, so that a run continued from a checkpoint fits what the uninterrupted one
    fits.
    """

    def __init__(
        self, method: ResetSettings, sample: Sampler, folder: Path, step: Callable[[], int], iterations: int = 1
    ) -> None:
        """step: the optimiser step, from 1 on. iterations: passes over each batch, every one of `method.updates` steps;
        labelled are `method.labelled_steps` batches."""
        self.method, self.sample, self.step = method, sample, step
        self.last_labelled = method.labelled_steps * method.updates * iterations
        self.path = folder / "labels.jsonl"
        self.fitted: LearnedFromResampling | None = None

    def __call__(self, seeds: Sequence[Seed], generator: np.random.Generator) -> list[ResetChoice]:
        if self.step() > self.last_labelled:
            self.fitted = self.fitted or self._fit()
            return self.fitted(seeds, generator)
        found = resample_first_errors(seeds, self.sample, self.method.continuations, self.method.longest)
        tables = [step_features(seed).tolist() for seed in seeds]
        row = {"step": self.step(), "features": tables, "labels": found.steps}
        if is_main_process():
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        # What labelling cost is told once, with the first of the resets.
        costs = [found.generated_tokens] + [0] * (len(seeds) - 1)
        return [ResetChoice(step, cost) for step, cost in zip(found.steps, costs, strict=True)]

    def _fit(self) -> LearnedFromResampling:
        rows = {}
        for line in self.path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            rows[row["step"]] = row
        tables = [np.array(table) for row in rows.values() for table in row["features"]]
        labels = [label for row in rows.values() for label in row["labels"]]
        fitted = fit_to_resampling(cast(Sequence[Seed], tables), labels, lambda table: cast(np.ndarray, table))
        return replace(fitted, features=step_features)


TRAINING = Training(build, own_arguments)
