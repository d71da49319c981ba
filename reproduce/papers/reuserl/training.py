"""The arms of ReuseRL as training sees them: one reward, `methods.reuserl.SkillReuseReward`, for every arm."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import scipy

from methods.reuserl import PenaltySettings, SkillReuseReward
from reproduce.core.paper import Training
from reproduce.papers.reuserl.dictionaries import ControlledLearner, ControlSettings, Kind, matched_random_dictionary
from reproduce.papers.reuserl.experiment import ReuseSettings
from reproduce.papers.reuserl.measures import ALPHABETS, read_dictionary, write_dictionary
from reproduce.training.train import Recipe, Setting
from theory.segmentation import phrase_counts
from theory.skill_extraction import ExtractionSettings
from theory.skill_strings import SkillDictionary


class LoggedSkillReuse(SkillReuseReward):
    """`SkillReuseReward` that also logs `reuse/rank_correlation`: Spearman's of length and cost over the successes of
    the batch, 1 where the cost ranks them as their length does; not logged where either does not vary."""

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        log_metric: Callable[[str, float], None] | None = None,
        log_extra: Callable[[str, list[Any]], None] | None = None,
        **columns: Any,
    ) -> list[float]:
        """r of each episode."""
        rewards = super().__call__(prompts, completions, log_metric=log_metric, log_extra=log_extra, **columns)
        correlation = self._rank_correlation(self.successes)
        if log_metric and np.isfinite(correlation):
            log_metric("reuse/rank_correlation", correlation)
        return rewards

    def _rank_correlation(self, strings: Sequence[bytes]) -> float:
        lengths = np.array([len(string) for string in strings])
        if len(set(lengths.tolist())) < 2:
            return float("nan")
        with warnings.catch_warnings():
            # Costs that are all equal have no ranks to compare: NaN is the answer.
            warnings.simplefilter("ignore")
            return float(scipy.stats.spearmanr(lengths, phrase_counts(strings, self.learner.dictionary)).statistic)


def dictionary_settings(settings: ReuseSettings, seed: int, learned: Callable[[], SkillDictionary]) -> ControlSettings:
    """Settings of the dictionary. learned: the dictionary that `segcost` of the same seed ended with."""
    common: dict[str, Any] = {
        "extraction": ExtractionSettings(max_phrase_length=settings.max_phrase_length),
        "buffer_size": settings.buffer_size,
        "min_corpus": settings.min_corpus,
        "seed": seed,
    }
    if settings.dictionary == "random":
        return ControlSettings(dictionary="frozen", frozen=matched_random_dictionary(learned(), seed), **common)
    return ControlSettings(dictionary=cast(Kind, settings.dictionary), freeze_after=settings.freeze_after, **common)


def own_arguments(settings: ReuseSettings) -> dict[str, Any]:
    """Arguments of `GRPOConfig` that an arm sets itself."""
    return {} if settings.standardised else {"scale_rewards": "none"}


def build(setting: Setting) -> Recipe:
    """GRPO with the arm's reward; at the end of training its dictionary is kept in the run folder."""
    config, settings = setting.config, setting.config.method
    assert isinstance(settings, ReuseSettings)

    def learned() -> SkillDictionary:
        return read_dictionary(setting.siblings / "segcost" / f"seed-{config.seed}", config.environment)

    reward = LoggedSkillReuse(
        ALPHABETS[config.environment],
        setting.training.rounds,
        penalty=PenaltySettings(settings.weight, penalty=settings.penalty),
        dictionary=dictionary_settings(settings, config.seed, learned),
        learner=ControlledLearner,
    )

    def finish(folder: Path) -> None:
        write_dictionary(folder, reward.phrases, settings.max_phrase_length)

    return Recipe(reward=reward, callbacks=(reward,), arguments=own_arguments(settings), finish=finish)


TRAINING = Training(build, own_arguments)
