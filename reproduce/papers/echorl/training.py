"""The arms of EchoRL as training sees them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType, reduce
from trl import GRPOTrainer

from methods.grpo import GRPOWithGroupMetrics
from methods.rivals.degenerate_groups import SignAdvantageTrainer, ZeroVarianceTrainer, dr_grpo_settings
from methods.rivals.dynamic_sampling import DynamicSamplingTrainer, dapo_settings
from reproduce.core.files import UserError
from reproduce.core.paper import Training
from reproduce.environments.reasoning import NEWLINE, MathTask, ReasoningTask, solve, split_steps
from reproduce.papers.echorl.clips import ClipConfig, ClipTrainer, ClipTrainerOnDapo
from reproduce.papers.echorl.experiment import ArmSettings
from reproduce.papers.echorl.probes import write_tables
from reproduce.rollouts import EpisodeText
from reproduce.training.checks import check_processes
from reproduce.training.train import Recipe, Setting, sample_columns

REPLICATED = (DistributedType.MULTI_GPU, DistributedType.MULTI_CPU)
"""Several processes, each of which holds all weights."""


class MeasuredEcho(ClipTrainer):
    """`ClipTrainer` that also logs, every so many steps, the norms `gradient/policy` (without the echo),
    `gradient/echo` (lambda times the echo's) and `gradient/echo_all_right` (of that, what clips of all-success groups
    give). The measurement changes nothing: it leaves no gradient behind. It is left out where the batch takes several
    forward passes, which each see a part of the gradient, and where weights are sharded."""

    def __init__(self, *args: Any, measure_every: int = 0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.measure_every = measure_every
        self._mines_at_update = False  # What is measured is known before the update.
        self._terms: tuple[torch.Tensor, torch.Tensor | None] | None = None

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        whole = self._successes.view(-1, self.num_generations).all(dim=1).repeat_interleave(self.num_generations)
        output["all_right"] = whole[self._local_slice(len(inputs))].float()
        return output

    def _echo(self, kept: dict[str, Any]) -> torch.Tensor:
        log_probabilities = self._forward[0]
        nll = super()._echo(kept)
        weights = kept["echo_weights"] * kept["all_right"][:, None]
        self._terms = (nll, -(weights * log_probabilities).sum() if weights.any() else None)
        return nll

    def _forget(self) -> None:
        self._terms = None  # It holds the graph.

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        self._forget()
        loss = super()._compute_loss(model, inputs)
        measure = self.model.training and self.measure_every and self.state.global_step % self.measure_every == 0
        if measure and self._measurable():
            assert self._terms is not None
            nll, of_all_right = self._terms
            weight = self._echo_weight
            # The two parts of the echo's own gradient cancel to exactly 0 before they are spread over the weights.
            self._log("gradient/policy", self._norm(loss - weight * nll))
            self._log("gradient/echo", weight * self._norm(nll))
            if any(self._on_all_processes(of_all_right is not None)):
                scale = self.accelerator.num_processes  # As the echo's own: gradients are averaged over processes.
                self._log("gradient/echo_all_right", weight * self._norm(of_all_right, scale))
        self._forget()
        return loss

    def _measurable(self) -> bool:
        whole = self.accelerator.distributed_type in (DistributedType.NO, *REPLICATED)
        return whole and self.args.gradient_accumulation_steps == 1 and all(self._on_all_processes(self._terms))

    def _on_all_processes(self, value: Any) -> list[bool]:
        if self.accelerator.num_processes == 1:
            return [bool(value)]
        return self.accelerator.gather(torch.tensor([bool(value)], device=self.accelerator.device)).tolist()

    def _norm(self, term: torch.Tensor | None, scale: float = 1.0) -> float:
        """Norm of the term's gradient, averaged over processes."""
        weights = [value for value in self.model.parameters() if value.requires_grad]
        found: Sequence[torch.Tensor | None] = [None] * len(weights)
        if term is not None:
            found = torch.autograd.grad(term, weights, retain_graph=True, allow_unused=True)
        squares = []
        for value, weight in zip(found, weights, strict=True):
            if self.accelerator.num_processes > 1:
                local = torch.zeros_like(weight) if value is None else value
                value = self.accelerator.reduce(local.detach(), reduction="mean") * scale
            if value is not None:
                squares.append(value.double().square().sum())
        return float(torch.stack(squares).sum().sqrt()) if squares else 0.0


def outcome(
    completions: list[Any],
    success: list[bool],
    policy_tokens: Sequence[int],
    entropies: Sequence[Sequence[float]] = (),
    log_metric: Callable[[str, float], None] | None = None,
    **columns: Any,
) -> list[float]:
    """The reward: 1 for a right answer, else 0. Logs `policy/entropy`, in nats a token, over all sampled tokens, where
    the sampler tells entropies."""
    if not entropies:
        return [float(value) for value in success]
    total, tokens = sum(sum(row) for row in entropies), float(sum(policy_tokens))
    if PartialState().num_processes > 1:
        sums = torch.tensor([total, tokens], dtype=torch.float64, device=PartialState().device)
        total, tokens = reduce(sums).tolist()
    if log_metric and tokens:
        log_metric("policy/entropy", total / tokens)
    return [float(value) for value in success]


def rollouts(setting: Setting, demonstrations: int = 0) -> Callable[[list[str], GRPOTrainer], dict[str, list[Any]]]:
    """Independent episodes. Arms of one seed draw from the same streams, so that they differ by nothing else; each
    call within a step, as dynamic sampling makes, has streams of its own.

    demonstrations: how many episodes of each group give way to the expert's solution (`reasoning` only).
    """
    config, training = setting.config, setting.training
    calls = {"step": -1, "number": 0}

    def rollout(prompts: list[str], trainer: GRPOTrainer) -> dict[str, list[Any]]:
        step = trainer.state.global_step
        calls.update(step=step, number=calls["number"] + 1 if calls["step"] == step else 0)
        name = f"{config.paper} {config.environment} seed {config.seed} step {step} call {calls['number']}"
        columns = sample_columns(setting, prompts, trainer, name)
        columns["policy_tokens"] = [sum(mask) for mask in columns["env_mask"]]
        columns["demonstration"] = [False] * len(prompts)
        for row in range(len(prompts)):
            if row % training.group_size < demonstrations:
                task = setting.tasks[setting.place_of_prompt[prompts[row]]]
                demonstrate(columns, row, expert_tokens(task, setting.sampler.text))
        return columns

    return rollout


def demonstrate(columns: dict[str, list[Any]], row: int, ids: list[int]) -> None:
    """Put a solution in the place of an episode."""
    columns["completion_ids"][row] = ids
    columns["env_mask"][row] = [1] * len(ids)
    for name in {"logprobs", "entropies"} & set(columns):
        columns[name][row] = [0.0] * len(ids)
    columns["success"][row] = columns["demonstration"][row] = True
    columns["policy_tokens"][row] = 0
    columns["failure"][row] = ""


def expert_tokens(task: ReasoningTask | MathTask, text: EpisodeText) -> list[int]:
    """The expert's one action, closed; of a data set, its own solution."""
    solution = task.solution if isinstance(task, MathTask) else solve(task)[0]
    if not text.full_texts:
        return [*text.encode(solution), int(text.tokenizer.eos_token_id)]
    if isinstance(task, ReasoningTask):
        solution = "\n".join(split_steps(solution))
    end = text.tokenizer.eos_token_id
    return [*text.encode(solution), text.ends[0] if end is None else int(end)]


def newline_token_ids(settings: ArmSettings, setting: Setting) -> tuple[int, ...] | None:
    """Tokens that end a step; None for every token with a line break. In countdown a step is an action.

    Raises UserError for a given id that stands for something else in this vocabulary.
    """
    if setting.config.environment != "reasoning":
        return ()
    if not setting.sampler.text.full_texts:
        return (int(setting.tokenizer.convert_tokens_to_ids(NEWLINE)),)
    for token in settings.newline_token_ids:
        if "\n" not in (text := setting.tokenizer.decode([token])):
            raise UserError(
                f"--set newline_token_ids={','.join(map(str, settings.newline_token_ids))}: {token} is {text!r} in "
                "this vocabulary, no line break; leave it empty for every token with one"
            )
    return settings.newline_token_ids or None


def echo_config(settings: ArmSettings, setting: Setting) -> ClipConfig:
    """The settings as the trainers read them."""
    return ClipConfig(
        weight=settings.weight,
        selection=settings.selection,  # type: ignore[arg-type]
        extent=settings.extent,  # type: ignore[arg-type]
        scope=settings.scope,  # type: ignore[arg-type]
        unit=settings.unit,  # type: ignore[arg-type]
        split=settings.split,  # type: ignore[arg-type]
        reduction=settings.reduction,  # type: ignore[arg-type]
        newline_token_ids=newline_token_ids(settings, setting),
        minimum_step_tokens=settings.minimum_step_tokens,
        seed=setting.config.seed,
    )


def check_solutions(setting: Setting) -> None:
    """Raise UserError where a question of a data set comes without a solution to demonstrate."""
    without = [task.identifier for task in setting.tasks if isinstance(task, MathTask) and not task.solution]
    if without:
        raise UserError(
            f"{setting.config.arm}: {len(without)} of {len(setting.tasks)} questions of {setting.config.panels.source} "
            f"have no column solution to demonstrate, the first is {without[0]}"
        )


def own_arguments(settings: ArmSettings) -> dict[str, Any]:
    """Arguments of `GRPOConfig` that an arm sets itself."""
    arguments: dict[str, Any] = {}
    if settings.trainer == "dr_grpo":
        arguments = dr_grpo_settings()
    elif settings.trainer in ("dapo", "dapo_echo"):
        arguments = dapo_settings()
    if settings.entropy_bonus:
        arguments["entropy_coef"] = settings.entropy_bonus
    if settings.frozen:
        arguments["learning_rate"] = 0.0
    return arguments


def build(setting: Setting) -> Recipe:
    """The arm of a run. Raises ValueError for demonstrations in an environment without them."""
    settings = setting.config.method
    assert isinstance(settings, ArmSettings)
    if settings.demonstrations and setting.config.environment != "reasoning":
        raise ValueError("only reasoning has demonstrations in training")
    if settings.demonstrations:
        check_solutions(setting)
    check_processes(setting.config)
    options: dict[str, Any] = {}
    trainer: type[GRPOTrainer] = GRPOWithGroupMetrics
    match settings.trainer:
        case "dapo":
            trainer = DynamicSamplingTrainer
            options = {"largest_rounds": settings.largest_rounds, "resampling_seed": setting.config.seed}
        case "dapo_echo":
            trainer = ClipTrainerOnDapo
            options = {"largest_rounds": settings.largest_rounds, "resampling_seed": setting.config.seed}
            options["echo"] = echo_config(settings, setting)
        case "rl_zvp":
            trainer, options = ZeroVarianceTrainer, {"alpha": settings.weight}
        case "sign_advantage":
            trainer = SignAdvantageTrainer
        case "echo":
            trainer = MeasuredEcho
            options = {"echo": echo_config(settings, setting), "measure_every": settings.measure_gradients_every}

    def finish(folder: Path) -> None:
        if settings.frozen:
            write_tables(setting, folder)

    return Recipe(
        trainer=trainer,
        reward=outcome,
        updates=settings.updates,
        arguments=own_arguments(settings),
        options=options,
        rollout=rollouts(setting, settings.demonstrations),
        finish=finish,
    )


TRAINING = Training(build, own_arguments)
