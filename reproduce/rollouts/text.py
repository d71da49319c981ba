"""Between text and tokens: what the environment writes is encoded once, what the policy writes is decoded once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from transformers import PreTrainedTokenizerFast

from reproduce.policies import TURN


class EpisodeText:
    """A tokenizer that remembers. `turn` is the token that hands the word to the policy, `end` closes an action."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.tokenizer = tokenizer
        self.turn, self.end = tokenizer.convert_tokens_to_ids(TURN), tokenizer.eos_token_id
        self._ids_of_text: dict[str, list[int]] = {}
        self._text_of_ids: dict[bytes, str] = {}

    def prompt(self, text: str, message: Sequence[int] = ()) -> list[int]:
        """What an episode begins with, up to the policy's turn; message: tokens of the environment after the text."""
        begin = self.tokenizer.bos_token_id
        return [*([] if begin is None else [begin]), *self.encode(text), *message, self.turn]

    def encode(self, text: str) -> list[int]:
        """Tokens of a text, none added."""
        ids = self._ids_of_text.get(text)
        if ids is None:
            ids = self._ids_of_text[text] = self.tokenizer(text, add_special_tokens=False).input_ids
        return ids

    def action(self, ids: np.ndarray) -> str:
        """Text of the tokens of an action, int32, without the token that ends it."""
        written = ids[:-1] if ids[-1] == self.end else ids
        key = written.tobytes()
        text = self._text_of_ids.get(key)
        if text is None:
            text = self._text_of_ids[key] = self.tokenizer.decode(written.tolist(), skip_special_tokens=False)
        return text
