"""Uniform numbers for sampling, addressable by name and sample."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

STREAM_LENGTH = 128
"""Numbers in a stream where the caller names no length."""
Rounds = TypeVar("Rounds", int, np.ndarray)
_BLOCK = 128
"""Numbers that lie side by side; the next ones of a stream come from a far place of the same generator. Fixed, since
another value changes every stream."""


def stream_length(rounds: Rounds, longest_action: int) -> Rounds:
    """Most tokens an episode may sample: an action of `longest_action` tokens for each round, and the forced answer."""
    return (rounds + 1) * longest_action


@dataclass(frozen=True)
class UniformStreams:
    """Uniform numbers, addressable by name and sample: what a stream holds never depends on which others are drawn.

    Stream number `name * samples + sample` belongs to sample `sample` of name `names[name]`. A short stream is the
    beginning of a longer one of the same name and sample, so the length changes no episode that fits.
    """

    names: tuple[str, ...]
    samples: int
    length: int = STREAM_LENGTH
    """Numbers in a stream; `stream_length` says how many are enough."""

    def draw(self) -> np.ndarray:
        """(len(names) * samples, length) float64 in [0, 1)."""
        drawn = np.empty((len(self.names), self.samples, self.length))
        for place, name in enumerate(self.names):
            key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "little")
            for start in range(0, self.length, _BLOCK):
                # The blocks of all samples are a stretch of their own, so that neither count moves the other's numbers.
                stretch = np.random.Philox(key=key, counter=(start // _BLOCK) << 128)
                block = np.random.Generator(stretch).random((self.samples, _BLOCK))
                drawn[place, :, start : start + _BLOCK] = block[:, : self.length - start]
        return drawn.reshape(-1, self.length)
