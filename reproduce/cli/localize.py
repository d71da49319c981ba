"""Measure localizers on chains whose first wrong step is known: where would RRPO, SRPO and their controls reset?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table
from statsmodels.stats.proportion import proportion_confint

from methods.localizers import LeastConfidentStep, localization_prompt, parse_step
from methods.reset_buffer import Chain, ResetChoice, ResetRule, Seed, uniform_step
from reproduce.core.files import UserError, write_json
from reproduce.core.names import nearest
from reproduce.environments.reasoning.labelled_chains import LabelledChain, read_labelled_chains
from reproduce.environments.selection import order_of
from reproduce.papers.resets.rules import PositionHistogram

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

RULES: Mapping[str, ResetRule] = {
    "uniform": uniform_step,
    "first": lambda seeds, generator: [ResetChoice(1) for _ in seeds],
    "middle": lambda seeds, generator: [ResetChoice((seed.chain.steps + 1) // 2) for seed in seeds],
    "last": lambda seeds, generator: [ResetChoice(seed.chain.steps) for seed in seeds],
    # How often the released log of SRPO has each twentieth of the chain.
    "published": PositionHistogram((0, 5, 195, 17, 112, 149, 145, 44, 206, 19, 50, 42, 3, 42, 0, 12, 4, 0, 8, 1)),
}
"""Localizers that read nothing. uniform: RRPO. published: places drawn as often as SRPO's own in its training."""
DRAWN, DRAWS = ("uniform", "published"), 200
"""Rules that draw the step, and how often they do for each chain."""
OF_A_MODEL = ("asked", "entropy")
"""asked: SRPO, the model names the step. entropy: the step whose tokens have the highest mean entropy."""
TEMPERATURE, LONGEST_REPLY = 0.3, 512
"""Of a reply: the paper's temperature (section 4.2); tokens, ours."""


@dataclass(frozen=True)
class Localized:
    """One localizer on all chains."""

    localizer: str
    chains: int
    exact: float
    """Share of chains whose first wrong step was found."""
    exact_interval: tuple[float, float]
    """Wilson's, 95 %, over chains."""
    clean: float
    """Share of chains whose kept prefix has no wrong step."""
    clean_interval: tuple[float, float]
    deviation: float
    """Mean of the localized step minus the first wrong one, steps."""
    deviation_interval: tuple[float, float]
    """Normal, 95 %, over chains."""
    position: float
    """Mean of the localized step over the steps of its chain."""


def localize(
    console: Console, file: Path, names: Sequence[str], model: str, number: int | None, seed: int, json: Path | None
) -> None:
    """Print, and write as JSON, how well each localizer does. number: chains at the most, those whose identifiers have
    the first sha256. Raises UserError."""
    known = (*RULES, *OF_A_MODEL)
    for name in names:
        if name not in known:
            raise UserError(f"no localizer {name!r}; {nearest(name, known)}")
        if name in OF_A_MODEL and not model:
            raise UserError(f"--localizer {name} reads chains with a model: name one with --model")
    chains = read_labelled_chains(file)
    wrong = sorted((one for one in chains if one.first_error), key=lambda one: order_of(one.identifier))[:number]
    if not wrong:
        raise UserError(f"{file}: none of its {len(chains)} chains has a wrong step")
    rules = dict(RULES)
    if set(names) & set(OF_A_MODEL):
        reader = ModelReader.load(model, seed)
        wrong = reader.fitting(wrong)
        rules |= {"asked": reader.asked, "entropy": LeastConfidentStep()}
        seeds = [reader.seed_of(one) if "entropy" in names else seed_of(one) for one in wrong]
        reader.chains = {id(seed): chain for seed, chain in zip(seeds, wrong, strict=True)}
    else:
        seeds = [seed_of(one) for one in wrong]
    found = [measure(name, rules[name], seeds, wrong, seed) for name in names]
    _show(console, found, wrong, len(chains))
    if json is not None:
        write_json(json, {"file": file.name, "model": model, "localizers": [asdict(one) for one in found]})


def measure(
    name: str, rule: Callable[..., Sequence[ResetChoice]], seeds: list[Seed], chains: Sequence[LabelledChain], seed: int
) -> Localized:
    """Apply one rule and compare with the labels; a rule that draws is applied `DRAWS` times and averaged."""
    generator, draws = np.random.default_rng(seed), DRAWS if name in DRAWN else 1
    chosen = np.array([[choice.step for choice in rule(seeds, generator)] for _ in range(draws)])
    truth = np.array([chain.first_error for chain in chains])
    exact, clean = float((chosen == truth).mean()), float((chosen <= truth).mean())
    deviation = float((chosen - truth).mean())
    off, count = (chosen - truth).mean(axis=0), len(chains)
    spread = 1.96 * float(np.std(off, ddof=1)) / np.sqrt(count) if count > 1 else float("nan")

    def interval(share: float) -> tuple[float, float]:
        low, high = proportion_confint(share * count, count, method="wilson")
        return float(low), float(high)

    return Localized(
        name,
        count,
        exact,
        interval(exact),
        clean,
        interval(clean),
        deviation,
        (deviation - spread, deviation + spread),
        float((chosen / [len(chain.steps) for chain in chains]).mean()),
    )


def seed_of(chain: LabelledChain) -> Seed:
    """A chain for rules that read nothing: a token for each step."""
    steps = len(chain.steps)
    return Seed((), Chain(tuple(range(steps)), tuple(range(1, steps + 1)), 0.0, False))


class ModelReader:
    """Chains as a model reads them."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, ends: Sequence[int], seed: int):
        self.model, self.tokenizer, self.ends, self.seed = model.eval(), tokenizer, ends, seed
        self.limit = int(model.config.get_text_config().max_position_embeddings)
        self.chains: dict[int, LabelledChain] = {}

    @classmethod
    def load(cls, name: str, seed: int) -> ModelReader:
        """Open a model by path or name. Raises UserError where it is not there, damaged or made here."""
        from reproduce.rollouts.models import check_model, end_tokens, find_model
        from reproduce.rollouts.policies import load_policy

        folder = find_model(name)
        check_model(folder)
        return cls(*load_policy(folder), end_tokens(folder), seed)

    def fitting(self, chains: Sequence[LabelledChain]) -> list[LabelledChain]:
        """The chains whose question leaves the model room for a reply. Raises UserError without any."""
        room = self.limit - LONGEST_REPLY - 64  # What a chat template adds.
        kept = [
            one
            for one in chains
            if len(self.tokenizer(localization_prompt(one.problem, one.steps), add_special_tokens=False).input_ids)
            <= room
        ]
        if not kept:
            raise UserError(f"none of {len(chains)} chains fits into the model's context of {self.limit} tokens")
        return kept

    def seed_of(self, chain: LabelledChain) -> Seed:
        """The chain's tokens, a line for each step, each with the entropy of the model's distribution at its place."""
        import torch

        def ids(text: str) -> list[int]:
            return list(self.tokenizer(text, add_special_tokens=False).input_ids)

        prompt, steps = ids(f"{chain.problem}\n"), [ids(f"{step}\n") for step in chain.steps]
        tokens = [token for step in steps for token in step]
        with torch.inference_mode():
            logits = self.model(torch.tensor([prompt + tokens])).logits[0, len(prompt) - 1 : -1].float()
            entropies = torch.distributions.Categorical(logits=logits).entropy().tolist()
        ends = np.cumsum([len(step) for step in steps]).tolist()
        return Seed(tuple(prompt), Chain(tuple(tokens), tuple(ends), 0.0, False, entropies=tuple(entropies)))

    def asked(self, seeds: Sequence[Seed], generator: np.random.Generator) -> list[ResetChoice]:
        """SRPO's question about each chain, and the step that the reply names."""
        from reproduce.core.config import SamplingConfig
        from reproduce.papers.resets.localizer import PolicyReplies, Questions
        from reproduce.rollouts import EpisodeSampler, open_text

        text = open_text(self.tokenizer, ends=self.ends, several_lines=True)
        config = SamplingConfig(temperature=TEMPERATURE, longest_action=LONGEST_REPLY)
        replies = PolicyReplies(EpisodeSampler(self.model, self.tokenizer, Questions(), config, text))
        replies.begin(f"localize {self.seed}")
        chains = [self.chains[id(seed)] for seed in seeds]
        found = replies([localization_prompt(chain.problem, chain.steps) for chain in chains])
        return [
            ResetChoice(parse_step(reply, len(chain.steps)), tokens)
            for (reply, tokens), chain in zip(found, chains, strict=True)
        ]


def _show(console: Console, found: Sequence[Localized], chains: Sequence[LabelledChain], all_chains: int) -> None:
    truth = float(np.mean([(one.first_error or 0) / len(one.steps) for one in chains]))
    console.print(
        f"{len(chains)} of {all_chains} chains, with {np.mean([len(one.steps) for one in chains]):.1f} steps; "
        f"first wrong step at {truth:.2f} of the chain; intervals of 95 % over chains"
    )
    table = Table("localizer", "exact", "clean prefix", "deviation (steps)", "position")
    for one in found:
        table.add_row(
            one.localizer,
            _with_interval(100 * one.exact, [100 * end for end in one.exact_interval], " %"),
            _with_interval(100 * one.clean, [100 * end for end in one.clean_interval], " %"),
            _with_interval(one.deviation, one.deviation_interval, ""),
            f"{one.position:.2f}",
        )
    console.print(table)


def _with_interval(value: float, ends: Sequence[Any], unit: str) -> str:
    return f"{value:.1f}{unit} ({ends[0]:.1f} to {ends[1]:.1f})"
