"""Whether two engines run the same weights: they must give the same tokens the same log-probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from transformers import PreTrainedModel

from reproduce.core.config import SamplingConfig
from reproduce.core.files import UserError
from reproduce.rollouts.drawing import log_distribution
from reproduce.rollouts.vllm_sampler import Generated, TokenGenerator

_TOKENS_CHECKED = 4096
"""Most tokens, prompts included, that an agreement is measured on: a forward pass on the CPU of any model takes
minutes at most."""

SHARE_KEPT = 0.9
"""Share of the sampled tokens that the policy's own top_p must keep."""


def check_agreement(sampled: np.ndarray, recomputed: np.ndarray, tolerance: float) -> float:
    """Mean absolute difference of two log-probabilities of the same tokens, (tokens,) each, in nats.

    With top_p, a token at the edge of what one engine keeps may lie just outside of what the other does: tokens whose
    recomputed log-probability is minus infinity are left out while they are few (`SHARE_KEPT`). Raises UserError where
    the difference is above the tolerance or not a number.
    """
    kept = ~np.isneginf(recomputed)
    if kept.mean() < SHARE_KEPT:
        kept[:] = True
    sampled, recomputed = np.asarray(sampled, dtype=np.float64)[kept], recomputed[kept]
    difference = float(np.abs(sampled - recomputed).mean())
    if not difference <= tolerance:
        raise UserError(
            f"the engine and the policy differ by {difference:.3g} nats a token, on average over {len(sampled)} tokens "
            f"(hardware.agreement={tolerance:g}): they do not run the same weights, or not in this precision"
        )
    return difference


def forward_log_probabilities(
    model: PreTrainedModel, prompt: Sequence[int], written: np.ndarray, config: SamplingConfig
) -> np.ndarray:
    """Log-probabilities of the tokens written after a prompt from one forward pass, (tokens,) float32.

    They are those of the distribution that `config` samples from; at temperature 0, of temperature 1.
    """
    ids = torch.tensor([[*prompt, *written.tolist()]], device=model.device)
    with torch.no_grad():
        kept = len(written) + 1
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), logits_to_keep=kept).logits[0, :-1]
    chosen = torch.from_numpy(written.astype(np.int64)).to(logits.device)
    return log_distribution(logits, config).gather(1, chosen[:, None])[:, 0].cpu().numpy()


class CheckedGenerator:
    """A generator whose first answers are held against a forward pass of the policy; then the policy is let go."""

    def __init__(
        self, generator: TokenGenerator, model: PreTrainedModel, config: SamplingConfig, tolerance: float
    ) -> None:
        """config: what the generator samples with. tolerance: see `check_agreement`."""
        self.generator, self.config, self.tolerance = generator, config, tolerance
        self._model: PreTrainedModel | None = model.eval()
        self.difference: float | None = None
        """Mean absolute difference found, nats a token; None before the first answers."""

    def generate(
        self, prompts: Sequence[Sequence[int]], seeds: Sequence[int], longest: Sequence[int]
    ) -> list[Generated]:
        """The generator's answers. Raises UserError where the first ones do not agree with the policy."""
        answers = self.generator.generate(prompts, seeds, longest)
        if self._model is not None:
            self.difference = self._check(self._model, prompts, answers)
            self._model = None
        return answers

    def _check(self, model: PreTrainedModel, prompts: Sequence[Sequence[int]], answers: Sequence[Generated]) -> float:
        left = _TOKENS_CHECKED
        pairs: list[np.ndarray] = []
        for prompt, answer in zip(prompts, answers, strict=True):
            left -= len(prompt) + len(answer.token_ids)
            if left < 0 and pairs:
                break
            expected = forward_log_probabilities(model, prompt, answer.token_ids, self.config)
            pairs.append(np.stack([answer.log_probabilities, expected]))
        sampled, recomputed = np.concatenate(pairs, axis=1)
        return check_agreement(sampled, recomputed, self.tolerance)
