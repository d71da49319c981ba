"""Which tokens end a line, and which lines of an action are blank."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase


def token_texts(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Text of each token, alone; empty where an id is not taken."""
    return tokenizer.batch_decode([[token] for token in range(len(tokenizer))], skip_special_tokens=False)


def tokens_with(tokenizer: PreTrainedTokenizerBase, part: str) -> np.ndarray:
    """Which tokens of the vocabulary contain this text, (vocabulary,) bool."""
    return np.array([part in text for text in token_texts(tokenizer)], dtype=bool)


@dataclass(frozen=True, eq=False)
class LineBreak:
    """The tokens that end a line where more than one does, as lookups over the vocabulary, (vocabulary,) bool."""

    ends: np.ndarray
    """Tokens that contain the break."""
    blank: np.ndarray
    """Those of them that hold nothing else but white space."""

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, line_break: str) -> LineBreak:
        """The tokens of a vocabulary that contain this text. Raises ValueError where there are none."""
        texts = token_texts(tokenizer)
        # One place more than the vocabulary, for ids that only the model's wider matrix has.
        ends = np.array([*(line_break in text for text in texts), False], dtype=bool)
        if not ends.any():
            raise ValueError(f"no token contains the line break {line_break!r}")
        blank = np.array([*(not text.replace(line_break, "").strip() for text in texts), False], dtype=bool)
        return cls(ends, ends & blank)


def breaks(tokens: np.ndarray, line_break: int | LineBreak) -> tuple[np.ndarray, np.ndarray]:
    """Which tokens contain a line break, and which of them nothing else, bool of the shape of `tokens`."""
    if isinstance(line_break, LineBreak):
        known = np.minimum(tokens, len(line_break.ends) - 1)
        return line_break.ends[known], line_break.blank[known]
    ends = tokens == line_break
    return ends, ends


def line_ends(action: np.ndarray, line_break: int | LineBreak) -> np.ndarray:
    """Which tokens of an action end a line that is not blank, (tokens,) bool.

    A break that holds no words, at the start of the action or right after another break, ends a blank line.
    """
    ends, blank = breaks(action, line_break)
    after_break = np.concatenate([[True], ends[:-1]])
    return ends & ~(blank & after_break)
