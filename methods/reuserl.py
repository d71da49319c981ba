"""ReuseRL: the segmentation cost of skills in the reward (Skill Reuse as Compression in Agentic RL, arXiv 2605.31509).

    r(tau) = R(tau) - lambda c(tau)  for successes, 0 for failures,                lambda = 1
    c(tau) = seg(phi(tau), C) / T_max

R: outcome, 0 or 1; phi: at most one abstract symbol of the alphabet Sigma for each action; seg(s, C): fewest phrases of
the dictionary C that make up s; T_max: the horizon. C is extracted at each step from a FIFO buffer G of success
strings to which those of the batch, B+, were just added, by greedy pair merging that must lower a two-part description
length (`theory.mdl`, `theory.skill_extraction`), with phrases of at most L symbols; it scores that same batch.

The only change with respect to GRPO is the reward. Rewards are standardised in their group by TRL's
`scale_rewards="group"`; lambda then cancels in a group of successes only, and matters there with
`scale_rewards="none"`.

Read: the paper's full text, by way of its specification. lambda is relative to R: the paper's R = 10 and lambda = 10
are 1 and 1, so that a success of T_max singletons is worth a failure. Left open there, and ours: pairs are counted on
the re-segmented corpus. Deviation: the code length is that of `theory.mdl`, which leaves singletons out of the
dictionary's cost; they are a constant in every merge decision.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import gather, pad_across_processes
from numpy.typing import ArrayLike, NDArray
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from methods.reuserl_dictionary import DictionaryLearner, DictionarySettings, dictionary_metrics, success_metrics
from theory.segmentation import phrase_counts

PENALTIES = ("additive", "discount", "scaled")
INVALID = "invalid"
"""The symbol of an action that the environment did not understand or refused, where an alphabet has one."""


@dataclass(frozen=True)
class PenaltySettings:
    """The part of the cost in the reward.

    weight: lambda over R. penalty: with c = seg/T_max, `additive` gives R - lambda c (equation 6), `scaled` R (1 -
    lambda c), `discount` R gamma^seg with gamma = (1 - lambda)^(1/T_max); all three leave 1 - lambda to a success at
    c = 1. Raises ValueError for an unknown penalty and for lambda outside [0, 1], or at 1 where it is discounted.
    """

    weight: float = 1.0
    penalty: str = "additive"

    def __post_init__(self) -> None:
        if self.penalty not in PENALTIES:
            raise ValueError(f"penalty must be one of {', '.join(PENALTIES)}, got {self.penalty!r}")
        if not 0 <= self.weight <= 1:
            raise ValueError(f"weight must be from 0 to 1, got {self.weight}")
        if self.penalty == "discount" and self.weight == 1:
            raise ValueError("a weight of 1 discounts every success to nothing")

    def rewards(self, success: ArrayLike, costs: ArrayLike) -> NDArray[np.float64]:
        """r of each episode from R and c, both (episodes,). No success lies below a failure."""
        outcome, cost = np.asarray(success, dtype=np.float64), np.asarray(costs, dtype=np.float64)
        if self.penalty == "discount":
            return np.asarray(outcome * (1 - self.weight) ** cost)
        if self.penalty == "scaled":
            return outcome * (1 - self.weight * cost)
        return outcome - self.weight * cost * outcome


@dataclass(frozen=True)
class _Episodes:
    """The episodes of all processes in order of rank, and which of them are this process's own."""

    strings: list[bytes]
    success: NDArray[np.bool_]
    own: slice


class SkillReuseReward(TrainerCallback, ExportableState):
    """ReuseRL as reward function and callback of `trl.GRPOTrainer`: pass it as both.

    alphabet: names of the abstract symbols Sigma, `invalid` among them if actions can be. horizon: T_max, the most
    symbols of an episode. outcome: a TRL reward function that returns 1 for success and 0 for failure; without it the
    column `success` is read. skills: phi, from a completion as TRL hands it over to its symbols; without it the
    column `skills`. penalty, dictionary: see `PenaltySettings` and `DictionarySettings`. learner: makes the dictionary.

    The buffer and dictionary are the same on every process and are saved in the trainer's state with each checkpoint;
    in evaluation episodes are scored and change nothing. Successes are told to the trainer apart from the reward, by
    `log_extra("success", ...)`. Errors (ValueError): a symbol outside the alphabet, an
    episode over the horizon, an outcome other than 0 and 1.

    >>> from methods.reuserl import SkillReuseReward
    >>> def solved(completions, **columns): return [float(text.endswith("deliver")) for text in completions]
    >>> def verbs(completion): return [word for word in completion.split() if word in VERBS]
    >>> reuse = SkillReuseReward(VERBS, horizon=32, outcome=solved, skills=verbs)
    >>> trainer = GRPOTrainer(model, reward_funcs=reuse, callbacks=[reuse], args=arguments, train_dataset=dataset)
    """

    def __init__(
        self,
        alphabet: Sequence[str],
        horizon: int,
        outcome: Callable[..., Sequence[float]] | None = None,
        skills: Callable[[Any], Sequence[str]] | None = None,
        penalty: PenaltySettings | None = None,
        dictionary: DictionarySettings | None = None,
        learner: type[DictionaryLearner] = DictionaryLearner,
    ) -> None:
        if len(set(alphabet)) != len(alphabet):
            raise ValueError("the alphabet names a symbol twice")
        if horizon < 1:
            raise ValueError(f"horizon must be at least 1, got {horizon}")
        self.penalty = penalty or PenaltySettings()
        self.horizon, self.outcome, self.skills = horizon, outcome, skills
        # `invalid` comes last, so that the other numbers are the same with and without it.
        self.alphabet = tuple(sorted(alphabet, key=lambda symbol: symbol == INVALID))
        self._number = {symbol: number for number, symbol in enumerate(self.alphabet)}
        self.learner = learner(len(self.alphabet), dictionary or DictionarySettings())
        self.model: Any = None
        self.successes: list[bytes] = []
        """Skill strings of the successes of the last batch, over all processes."""

    @property
    def phrases(self) -> tuple[tuple[str, ...], ...]:
        """The phrases of two symbols and more of the dictionary in force, in words."""
        return tuple(tuple(self.alphabet[symbol] for symbol in phrase) for phrase in self.learner.dictionary.phrases)

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        log_metric: Callable[[str, float], None] | None = None,
        log_extra: Callable[[str, list[Any]], None] | None = None,
        **columns: Any,
    ) -> list[float]:
        """r of each of this process's episodes."""
        if self.model is None:
            raise ValueError("pass the object in `callbacks` too: the callback keeps buffer and dictionary")
        success = self._outcomes(prompts, completions, columns)
        everyone = _gathered(self._strings(completions, columns), success)
        invalid_share = self._invalid_share(everyone.strings)
        successes = [string for string, solved in zip(everyone.strings, everyone.success, strict=True) if solved]
        self.successes = successes
        if self.model.training:
            self.learner.observe(successes)
        dictionary = self.learner.dictionary
        counts = phrase_counts(everyone.strings, dictionary)
        if log_metric:
            metrics = dictionary_metrics(dictionary, self.learner.corpus_size)
            metrics |= {"reuse/success": float(everyone.success.mean()), "reuse/invalid_share": invalid_share}
            if successes:
                found = counts[everyone.success]
                metrics |= success_metrics(successes, found, dictionary.alphabet_size, self.horizon)
            for name, value in metrics.items():
                log_metric(name, value)
        costs = counts[everyone.own] / self.horizon
        if log_extra:
            log_extra("skill_cost", costs.tolist())
            # The reward of a success is below 1: the trainers of this package are told of it apart.
            log_extra("success", success)
        return self.penalty.rewards(success, costs).tolist()

    def _outcomes(self, prompts: Sequence[Any], completions: Sequence[Any], columns: dict[str, Any]) -> list[bool]:
        if self.outcome is not None:
            values = self.outcome(prompts=prompts, completions=completions, **columns)
        elif "success" in columns:
            values = columns["success"]
        else:
            raise ValueError("no column `success`: give `outcome`, a function that tells successes")
        if any(value not in (0, 1) for value in values):
            raise ValueError("an outcome must be 1 for success or 0 for failure; partial credit has no place in R")
        return [bool(value) for value in values]

    def _strings(self, completions: Sequence[Any], columns: dict[str, Any]) -> list[bytes]:
        if self.skills is not None:
            named = [self.skills(completion) for completion in completions]
        elif "skills" in columns:
            named = columns["skills"]
        else:
            raise ValueError("no column `skills`: give `skills`, a function from a completion to its symbols")
        strings = []
        for symbols in named:
            if len(symbols) > self.horizon:
                raise ValueError(f"an episode has {len(symbols)} symbols, more than the horizon of {self.horizon}")
            try:
                strings.append(bytes(map(self._number.__getitem__, symbols)))
            except KeyError as unknown:
                raise ValueError(f"symbol {unknown} is not in the alphabet {', '.join(self.alphabet)}") from None
        return strings

    def _invalid_share(self, strings: Sequence[bytes]) -> float:
        """Share of invalid actions among all."""
        joined = b"".join(strings)
        if INVALID not in self._number or not joined:
            return 0.0
        return joined.count(self._number[INVALID]) / len(joined)

    # ---- callback

    def on_init_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Know the model, whose mode tells training from evaluation."""
        if args.restore_callback_states_from_checkpoint:
            # That option replaces the callback by a new one, which the reward function would not be.
            raise ValueError(
                "leave restore_callback_states_from_checkpoint off: buffer and dictionary resume by themselves"
            )
        self.model = kwargs["model"]

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take buffer and dictionary from the checkpoint, if training continues from one."""
        self.model = kwargs["model"]
        saved = state.stateful_callbacks.setdefault(type(self).__name__, self.state())
        if isinstance(saved, list):
            raise ValueError("a trainer can hold one reward of this kind only")
        attributes = saved["attributes"]
        if attributes["alphabet"] != list(self.alphabet):
            raise ValueError(f"the checkpoint's alphabet is {', '.join(attributes['alphabet'])}, not the one given")
        self.learner.restore(attributes["dictionary"])

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Say so if no phrase was ever learned: the arm is then a length penalty."""
        if self.learner.learns and not self.learner.dictionary.phrases:
            warnings.warn("the dictionary held single symbols to the end: the cost was a length penalty", stacklevel=2)

    def state(self) -> dict[str, Any]:
        """State that the trainer saves with each checkpoint."""
        return {"args": {}, "attributes": {"alphabet": list(self.alphabet), "dictionary": self.learner.state()}}


def _gathered(strings: Sequence[bytes], success: Sequence[bool]) -> _Episodes:
    """The episodes of all processes, each of which has as many."""
    process = PartialState()
    rows, longest = len(strings), max(map(len, strings))
    own = slice(process.process_index * rows, (process.process_index + 1) * rows)
    if process.num_processes == 1:
        return _Episodes(list(strings), np.array(success, dtype=bool), own)
    # Tensors rather than objects: nothing is pickled, and every backend has them. A row: outcome, length, symbols.
    table = np.zeros((rows, 2 + longest), dtype=np.int64)
    table[:, 0], table[:, 1] = success, [len(string) for string in strings]
    for row, string in zip(table, strings, strict=True):
        row[2 : 2 + len(string)] = np.frombuffer(string, dtype=np.uint8)
    found = gather(pad_across_processes(torch.from_numpy(table).to(process.device), dim=1)).cpu().numpy()
    symbols, lengths = found[:, 2:].astype(np.uint8), found[:, 1].tolist()
    everyone = [row[:length].tobytes() for row, length in zip(symbols, lengths, strict=True)]
    return _Episodes(everyone, found[:, 0].astype(bool), own)
