"""A `TokenGenerator` over plain forward passes: what vLLM does, without a cache, for tests that need no vLLM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from reproduce.core.config import SamplingConfig
from reproduce.rollouts.drawing import log_distribution
from reproduce.rollouts.vllm_sampler import Generated


class ForwardGenerator:
    """Completes all prompts together, a forward pass over the padded batch for every token."""

    def __init__(self, model: Any, config: SamplingConfig, ends: Sequence[int], tells_entropies: bool = True) -> None:
        self.model, self.config, self.ends, self.tells_entropies = model, config, set(ends), tells_entropies
        self.calls: list[list[tuple[tuple[int, ...], int, int]]] = []
        """What was asked for in each call: (prompt, seed, longest)."""

    def generate(
        self, prompts: Sequence[Sequence[int]], seeds: Sequence[int], longest: Sequence[int]
    ) -> list[Generated]:
        self.calls.append(
            [(tuple(prompt), seed, most) for prompt, seed, most in zip(prompts, seeds, longest, strict=True)]
        )
        generators = [np.random.Generator(np.random.Philox(seed)) for seed in seeds]
        tokens = [list(prompt) for prompt in prompts]
        said: list[list[tuple[float, float]]] = [[] for _ in prompts]
        left = list(range(len(prompts)))
        while left:
            laws = self._laws([tokens[place] for place in left])
            for place, law in zip(left, laws, strict=True):
                token = self._draw(law, generators[place])
                tokens[place].append(token)
                finite = law[np.isfinite(law)]
                said[place].append((law[token], -(np.exp(finite) * finite).sum()))
            left = [place for place in left if tokens[place][-1] not in self.ends and len(said[place]) < longest[place]]
        return [self._generated(tokens[place][len(prompt) :], said[place]) for place, prompt in enumerate(prompts)]

    def _laws(self, histories: Sequence[Sequence[int]]) -> np.ndarray:
        """Log-probabilities of the next token of each history, (histories, vocabulary)."""
        lengths = np.array([len(history) for history in histories])
        ids = torch.zeros((len(histories), lengths.max()), dtype=torch.int64)
        for row, history in enumerate(histories):
            ids[row, : len(history)] = torch.tensor(history)
        # Padding stands after the tokens, where a causal model does not see it.
        with torch.inference_mode():
            logits = self.model(input_ids=ids).logits[torch.arange(len(histories)), torch.from_numpy(lengths - 1)]
        return log_distribution(logits, self.config).double().numpy()

    def _draw(self, law: np.ndarray, generator: np.random.Generator) -> int:
        if self.config.temperature == 0:
            return int(law.argmax())
        probabilities = np.exp(law)
        return int(generator.choice(len(law), p=probabilities / probabilities.sum()))

    def _generated(self, written: list[int], said: list[tuple[float, float]]) -> Generated:
        log_probabilities, entropies = np.array(said, dtype=np.float32).T
        return Generated(
            np.array(written, dtype=np.int32), log_probabilities, entropies if self.tells_entropies else None
        )
