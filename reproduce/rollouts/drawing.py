"""The draw of one token for every episode, by inverse distribution function, on the device of the logits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from reproduce.core.config import SamplingConfig


@dataclass(frozen=True)
class Drawn:
    """One token an episode."""

    pairs: np.ndarray
    """Row of the episode times the vocabulary plus its token, (episodes,) int64: equal for episodes that agree."""
    log_probabilities: np.ndarray
    """Of each token, nats, (episodes,) float32."""
    entropies: np.ndarray
    """Of the distribution of each row, nats, (rows,) float32."""


def draw(logits: torch.Tensor, row: np.ndarray, uniform: np.ndarray, config: SamplingConfig) -> Drawn:
    """Draw a token for every episode from the distribution of its row.

    logits: (rows, vocabulary). row, uniform: row of each episode and its number in [0, 1), (episodes,). At temperature
    0 the likeliest token is taken, the first of equals, and log-probability and entropy are those of the model at
    temperature 1: those of the choice itself would all be 0. With top_p < 1 they are those of the distribution that
    is drawn from, truncated and renormalised.
    """
    count, vocabulary = logits.shape
    log_probabilities = log_distribution(logits, config)
    probabilities = log_probabilities.double().exp()
    entropies = -(probabilities * log_probabilities.clamp(min=torch.finfo(torch.float32).min)).sum(-1).float()
    if config.temperature:
        pairs = _invert(probabilities, row, uniform)
    else:
        likeliest = logits.argmax(-1) + torch.arange(count, device=logits.device) * vocabulary
        pairs = likeliest[torch.from_numpy(row).to(logits.device)]
    chosen = log_probabilities.reshape(-1)[pairs]
    return Drawn(pairs.cpu().numpy(), chosen.cpu().numpy(), entropies.cpu().numpy())


def log_distribution(logits: torch.Tensor, config: SamplingConfig) -> torch.Tensor:
    """Log-probabilities of the distribution that `draw` draws from, nats, of the shape of the logits, float32."""
    log_probabilities = torch.log_softmax(logits.float() / (config.temperature or 1.0), dim=-1)
    if config.temperature and config.top_p < 1:
        return _truncated(log_probabilities, config.top_p)
    return log_probabilities


def _invert(probabilities: torch.Tensor, row: np.ndarray, uniform: np.ndarray) -> torch.Tensor:
    """Place in the flattened (rows, vocabulary) array at which each row's distribution function exceeds the number."""
    cumulative = probabilities.cumsum(-1)
    cumulative /= cumulative[:, -1:].clone()
    # One sorted array for all rows: row r occupies [r, r + 1], so one binary search an episode finds its token. The sum
    # of row and number may round up to the next row's beginning.
    ladder = (cumulative + torch.arange(len(cumulative), device=cumulative.device)[:, None]).reshape(-1)
    wanted = np.minimum(row + uniform, np.nextafter(row + 1.0, 0.0))
    return torch.searchsorted(ladder, torch.from_numpy(wanted).to(ladder.device), right=True)


def _truncated(log_probabilities: torch.Tensor, top_p: float) -> torch.Tensor:
    """The likeliest tokens that together reach `top_p`, the one that reaches it included, renormalised; else -inf."""
    probabilities, order = log_probabilities.double().exp().sort(dim=-1, descending=True, stable=True)
    left_out = probabilities.cumsum(-1) - probabilities >= top_p
    left_out[:, 0] = False
    kept = log_probabilities.masked_fill(left_out.scatter(-1, order, left_out), float("-inf"))
    return torch.log_softmax(kept, dim=-1)
