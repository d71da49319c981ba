"""Speed of ReuseRL, and the distance of greedy extraction from the best dictionary.

    python -m benchmarks.reuserl

Extraction of a dictionary and segmentation are timed on strings of at most 50 symbols from a known grammar. Beside
extraction runs the BPE trainer of `tokenizers` on the same strings, with the same cap on phrases and as many phrases.
It solves an easier problem: its merges replace the pair for good, and it stops at a given size, so that it neither
segments again nor weighs a phrase's bits. On small alphabets every dictionary is tried, and the gap is that of the
greedy one's description length to the smallest. On the large corpora, where that is out of reach, stands the
description length with the grammar's own routines, which the greedy search does not know.

The share of an RL step is that of the reward's seconds in a step of the laptop profile's retrieval training, once with
that training's own skill strings and once for as many episodes of up to 50 symbols with a full buffer.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from datasets import Dataset
from tokenizers import Tokenizer, models, trainers
from trl import GRPOConfig

from benchmarks import _kit
from methods.grpo import GRPOWithGroupMetrics
from methods.reuserl import SkillReuseReward
from methods.reuserl_dictionary import DictionaryLearner, DictionarySettings
from reproduce.core.config import SamplingConfig, TrainingConfig
from reproduce.environments.bases import committed_folder
from reproduce.environments.retrieval import RetrievalEnvironment, build_panels
from reproduce.environments.retrieval.vocabulary import ENTITY_RELATIONS, NUMBER_RELATIONS
from reproduce.rollouts import EpisodeSampler, UniformStreams, rollout_columns
from reproduce.rollouts.policies import load_policy
from theory.mdl import description_length
from theory.segmentation import phrase_counts
from theory.skill_extraction import ExtractionSettings, extract_dictionary
from theory.skill_grammar import SkillGrammar
from theory.skill_strings import SkillDictionary

EXTRACTION_SECONDS, SEGMENTATION_SECONDS, STEP_SHARE = 0.05, 0.002, 0.01
EXTRACTION, SEGMENTATION = "extraction", "segmentation of a batch"
LONGEST = 50
SMALL = ((2, 3), (3, 2))
"""(alphabet, L) with 12 and 9 possible phrases: 4,096 and 512 dictionaries."""
SKILLS = (*(f"search {relation}" for relation in (*ENTITY_RELATIONS, *NUMBER_RELATIONS, "other")), "answer", "invalid")


@dataclass(frozen=True)
class Options(_kit.Options):
    """Sizes of the measurement."""

    corpus: int = _kit.size(2048)
    """Strings that a dictionary is extracted from."""
    batch: int = _kit.size(256)
    """Strings that are segmented at once."""
    alphabets: tuple[int, ...] = (5, 9, 26)
    """Numbers of symbols."""
    small_corpora: int = _kit.size(20)
    """Corpora for each small alphabet, of 8 to 64 strings."""
    repeats: int = _kit.size(15)
    """Timed repeats, taken in turns."""
    steps: int = _kit.size(16, least=2)
    """RL steps; the first is not counted."""


def grammar(alphabet_size: int) -> SkillGrammar:
    """Sub-routines of one to four symbols, drawn at random, in strings of up to 50 symbols; a tenth is noise."""
    generator = np.random.default_rng(alphabet_size)
    lengths = (1, 1, 2, 2, 3, 3, 4, 4)
    routines = tuple(tuple(generator.integers(0, alphabet_size, length).tolist()) for length in lengths)
    return SkillGrammar(alphabet_size, routines, (1.0,) * len(lengths), 2, 18, noise=0.1, horizon=LONGEST)


def train_bpe(strings: Sequence[bytes], dictionary: SkillDictionary) -> Tokenizer:
    """The BPE trainer of `tokenizers`, every string a word: as many phrases of at most as many symbols."""
    tokenizer = Tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=dictionary.size, max_token_length=dictionary.max_phrase_length, show_progress=False
    )
    tokenizer.train_from_iterator(("".join(chr(65 + symbol) for symbol in string) for string in strings), trainer)
    return tokenizer


def bpe_dictionary(tokenizer: Tokenizer, like: SkillDictionary) -> SkillDictionary:
    """The phrases that the BPE trainer found, as a dictionary of ours."""
    phrases = tuple(tuple(ord(letter) - 65 for letter in token) for token in tokenizer.get_vocab() if len(token) > 1)
    return SkillDictionary(like.alphabet_size, like.max_phrase_length, phrases)


def measure_extraction(alphabet_size: int, options: Options) -> dict[str, Any]:
    """Seconds of extraction, BPE and segmentation on one corpus, and what the dictionaries are worth."""
    strings = grammar(alphabet_size).draw(options.corpus, np.random.default_rng(0))
    dictionary = extract_dictionary(strings, alphabet_size)
    theirs = bpe_dictionary(train_bpe(strings, dictionary), dictionary)
    singletons = SkillDictionary(alphabet_size, dictionary.max_phrase_length)
    routines = tuple({routine for routine in grammar(alphabet_size).routines if len(routine) > 1})
    true = SkillDictionary(alphabet_size, dictionary.max_phrase_length, routines)
    batch = strings[: options.batch]
    tasks = {
        EXTRACTION: lambda: extract_dictionary(strings, alphabet_size),
        "BPE of tokenizers": lambda: train_bpe(strings, dictionary),
        SEGMENTATION: lambda: phrase_counts(batch, dictionary),
    }
    return {
        "alphabet": alphabet_size,
        "mean_length": statistics.fmean(map(len, strings)),
        "distinct": len(set(strings)),
        "phrases": len(dictionary.phrases),
        "seconds": _kit.take_turns({name: _kit.looped(task, 0) for name, task in tasks.items()}, options.repeats),
        "bits": description_length(strings, dictionary).total_bits,
        "bpe_phrases": len(theirs.phrases),
        "bpe_bits": description_length(strings, theirs).total_bits,
        "true_routines_bits": description_length(strings, true).total_bits,
        "singleton_bits": description_length(strings, singletons).total_bits,
    }


def smallest_bits(strings: Sequence[bytes], alphabet_size: int, cap: int) -> float:
    """The least description length over every dictionary with phrases of at most `cap` symbols."""
    phrases = [
        phrase
        for length in range(2, cap + 1)
        for phrase in itertools.product(range(alphabet_size), repeat=length)
        if any(bytes(phrase) in string for string in strings)
    ]
    return min(
        description_length(strings, SkillDictionary(alphabet_size, cap, chosen)).total_bits
        for size in range(len(phrases) + 1)
        for chosen in itertools.combinations(phrases, size)
    )


def measure_gap(alphabet_size: int, cap: int, corpora: int) -> dict[str, Any]:
    """Relative excess of the greedy dictionary's bits over the smallest, one value a corpus."""
    generator = np.random.default_rng((alphabet_size, cap))
    gaps, phrases = [], []
    for corpus in range(corpora):
        routines = tuple(tuple(generator.integers(0, alphabet_size, 2 + place % 2).tolist()) for place in range(3))
        law = SkillGrammar(alphabet_size, routines, (1.0,) * 3, 1, 6, noise=0.05, horizon=20)
        strings = law.draw((8, 16, 32, 64)[corpus % 4], generator)
        found = extract_dictionary(strings, alphabet_size, ExtractionSettings(cap))
        phrases.append(len(found.phrases))
        best = smallest_bits(strings, alphabet_size, cap)
        gaps.append(description_length(strings, found).total_bits / best - 1)
    return {
        "alphabet": alphabet_size,
        "cap": cap,
        "corpora": corpora,
        "mean_phrases": statistics.fmean(phrases),
        "mean": statistics.fmean(gaps),
        "largest": max(gaps),
        "optimal": sum(gap < 1e-12 for gap in gaps),
    }


def measure_step(options: Options) -> dict[str, Any]:
    """Seconds of an RL step and of the reward in it, medians over steps."""
    config, sampling = TrainingConfig(), SamplingConfig()
    model, tokenizer = load_policy(committed_folder(0))
    tasks = build_panels(config.questions_per_step * options.steps, 1, 1)["train"].tasks
    place = {task.question: number for number, task in enumerate(tasks)}
    sampler = EpisodeSampler(model, tokenizer, RetrievalEnvironment(), sampling)

    def rollout(prompts: list[str], trainer: Any) -> dict[str, list[Any]]:
        streams = UniformStreams((f"benchmark {trainer.state.global_step}",), len(prompts))
        model.eval()
        numbers = [place[prompt] for prompt in prompts]
        batch = sampler.sample(tasks, numbers, [config.rounds] * len(prompts), range(len(prompts)), streams)
        model.train()
        skills = [batch.trajectories[found].skills for found in batch.trajectory_of_episode]
        return rollout_columns(batch) | {"skills": skills}

    reward = SkillReuseReward(SKILLS, config.rounds + 1, dictionary=DictionarySettings(buffer_size=1024))
    reward_seconds = _kit.note_seconds(SkillReuseReward, "__call__")
    episodes = config.questions_per_step * config.group_size
    with tempfile.TemporaryDirectory() as folder:
        arguments = GRPOConfig(
            **_kit.grpo_arguments(folder),
            max_steps=options.steps,
            per_device_train_batch_size=episodes,
            num_generations=config.group_size,
            learning_rate=config.learning_rate,
            loss_type="grpo",
            temperature=sampling.temperature,
            max_completion_length=int(model.config.max_position_embeddings),
        )
        trainer = GRPOWithGroupMetrics(
            model=model,
            reward_funcs=reward,
            args=arguments,
            train_dataset=Dataset.from_list([{"prompt": task.question} for task in tasks]),
            processing_class=tokenizer,
            rollout_func=rollout,
            callbacks=[reward],
        )
        trainer.train()
    seconds = [entry["step_time"] for entry in trainer.state.log_history if "step_time" in entry]
    step = statistics.median(seconds[1:])
    long = reward_on_long_strings(episodes, options.repeats)
    own = statistics.median(reward_seconds[1:])
    return {
        "episodes": episodes,
        "symbols": reward.horizon,
        "step_seconds": step,
        "reward_seconds": own,
        "share": own / step,
        "phrases": len(reward.phrases),
        "long_strings_seconds": long,
        "long_strings_share": long / step,
    }


def reward_on_long_strings(episodes: int, repeats: int) -> float:
    """Seconds of taking in and scoring a batch of strings of up to 50 symbols, with a full buffer."""
    law, generator = grammar(9), np.random.default_rng(1)
    learner = DictionaryLearner(9, DictionarySettings(buffer_size=1024))
    learner.observe(law.draw(2 * learner.settings.buffer_size, generator))
    batches = [law.draw(episodes, generator) for _ in range(repeats)]

    def once(strings: list[bytes]) -> None:
        learner.observe(strings)
        phrase_counts(strings, learner.dictionary)

    return statistics.median(_kit.clock(lambda strings=strings: once(strings))[0] for strings in batches)


def measure(options: Options) -> dict[str, Any]:
    """All numbers, ready for the file."""
    return {
        "targets": {EXTRACTION: EXTRACTION_SECONDS, SEGMENTATION: SEGMENTATION_SECONDS, "share": STEP_SHARE},
        "extraction": [measure_extraction(size, options) for size in options.alphabets],
        "gap": [measure_gap(size, cap, options.small_corpora) for size, cap in SMALL],
        "step": measure_step(options),
    }


def blocks(result: dict[str, Any]) -> list[_kit.Block | str]:
    """The numbers beside their targets."""
    parts: list[_kit.Block | str] = []
    for found in result["extraction"]:
        seconds = found["seconds"]
        reached = (
            f"{name} {_kit.verdict(min(seconds[name]) <= target, f'{1e3 * target:.0f} ms')}"
            for name, target in ((EXTRACTION, EXTRACTION_SECONDS), (SEGMENTATION, SEGMENTATION_SECONDS))
        )
        parts += [
            _kit.comparison(f"{found['alphabet']} symbols (targets: {', '.join(reached)})", seconds, EXTRACTION),
            f"{found['phrases']} phrases; bits {found['bits']:,.0f}, with BPE's phrases {found['bpe_bits']:,.0f}, with "
            f"the true routines {found['true_routines_bits']:,.0f}, with single symbols {found['singleton_bits']:,.0f}",
        ]
    for found in result["gap"]:
        parts.append(
            f"{found['alphabet']} symbols, L = {found['cap']}: greedy is optimal on {found['optimal']} of "
            f"{found['corpora']} corpora ({found['mean_phrases']:.1f} phrases), mean gap {100 * found['mean']:.2f} %, "
            f"largest {100 * found['largest']:.2f} %"
        )
    step = result["step"]
    reached = _kit.verdict(step["share"] <= STEP_SHARE, f"{100 * STEP_SHARE:.0f} %")
    parts.append(
        f"RL step of {step['episodes']} episodes of at most {step['symbols']} symbols {step['step_seconds']:.2f} s, "
        f"the reward {1e3 * step['reward_seconds']:.1f} ms: {100 * step['share']:.2f} % (target {reached}); with "
        f"strings of up to {LONGEST} symbols {1e3 * step['long_strings_seconds']:.1f} ms: "
        f"{100 * step['long_strings_share']:.2f} % of the same step"
    )
    return parts


main = _kit.Benchmark("reuserl", __doc__, Options, measure, blocks)

if __name__ == "__main__":
    sys.exit(main())
