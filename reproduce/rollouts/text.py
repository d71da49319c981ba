"""Between text and tokens: what the environment writes is encoded once, what the policy writes is decoded once.

One class a format, one interface for every engine: `WordText` for the policies made here, `ChatText` for tokenizers
with a chat template, `LineText` for those without. `open_text` chooses.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

from reproduce.core.config import AUTO, CHAT, TEXT, WORDS
from reproduce.core.files import UserError
from reproduce.environments.sequences import TURN
from reproduce.rollouts.chat_template import read_template
from reproduce.rollouts.lines import LineBreak, tokens_with

PROMPT = ">"
"""What `LineText` writes before an action. No space follows: in most vocabularies it belongs to the word after it."""


class EpisodeText(ABC):
    """A tokenizer that remembers, and knows where actions begin and end."""

    full_texts = True
    """Whether the policy reads the environment's own words, rather than the few of a policy made here."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, ends: Iterable[int]) -> None:
        self.tokenizer = tokenizer
        self.ends = tuple(sorted(set(ends)))
        """Tokens that close an action, sampled by the policy."""
        self._is_end = np.zeros(max(self.ends) + 2, dtype=bool)
        self._is_end[list(self.ends)] = True
        self._ids_of_text: dict[str, list[int]] = {}
        self._text_of_ids: dict[bytes, str] = {}

    @abstractmethod
    def prompt(self, text: str, message: Sequence[int] = ()) -> list[int]:
        """What an episode begins with, up to the policy's turn; message: tokens of the environment after the text."""

    @abstractmethod
    def reply(self, text: str, message: Sequence[int] = (), ended: bool = True) -> list[int]:
        """What the environment writes after an action, up to the policy's next turn; never empty.

        ended: whether the policy closed its action and turn (`ends_turn`); else what is written closes them first.
        """

    @abstractmethod
    def line_break(self, line_break: str) -> int | LineBreak:
        """The tokens that end a line, given the text that does. Raises ValueError where there are none."""

    def closes(self, tokens: np.ndarray) -> np.ndarray:
        """Which of the tokens close an action, bool."""
        if len(self.ends) == 1:
            return tokens == self.ends[0]
        return self._is_end[np.minimum(tokens, len(self._is_end) - 1)]

    def ends_turn(self, tokens: np.ndarray) -> np.ndarray:
        """Which of the tokens close an action so that `reply` has nothing left to close, bool: what its `ended` says of
        the last token."""
        return self.closes(tokens)

    def encode(self, text: str) -> list[int]:
        """Tokens of a text of the environment, none added."""
        ids = self._ids_of_text.get(text)
        if ids is None:
            ids = self._ids_of_text[text] = self._encode(text)
        return ids

    def action(self, ids: np.ndarray) -> str:
        """Text of the tokens of an action, int32, without the token that ends it."""
        key = ids.tobytes()
        text = self._text_of_ids.get(key)
        if text is None:
            text = self._text_of_ids[key] = self._decode(ids)
        return text

    def _encode(self, text: str) -> list[int]:
        """A text is data: where it spells a special token, that is read as ordinary characters."""
        return self.tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids

    def _decode(self, ids: np.ndarray) -> str:
        written = ids[:-1] if self.closes(ids[-1:])[0] else ids
        return self.tokenizer.decode(written.tolist(), skip_special_tokens=False)


class WordText(EpisodeText):
    """Policies made here: `turn` is the token that hands the word to the policy, `end` closes an action."""

    full_texts = False

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.turn, self.end = tokenizer.convert_tokens_to_ids(TURN), tokenizer.eos_token_id
        self._vocabulary = tokenizer.get_vocab()
        super().__init__(tokenizer, (self.end,))

    def prompt(self, text: str, message: Sequence[int] = ()) -> list[int]:
        begin = self.tokenizer.bos_token_id
        return [*([] if begin is None else [begin]), *self.reply(text, message)]

    def reply(self, text: str, message: Sequence[int] = (), ended: bool = True) -> list[int]:
        return [*self.encode(text), *message, self.turn]

    def line_break(self, line_break: str) -> int:
        token = self.tokenizer.convert_tokens_to_ids(line_break)
        if token in (None, self.tokenizer.unk_token_id):
            raise ValueError(f"the line break {line_break!r} is no token")
        return int(token)

    def _encode(self, text: str) -> list[int]:
        words = text.split()
        # Special tokens may stand within a word; of other words each is a token.
        if "<" in text or not all(word in self._vocabulary for word in words):
            return self.tokenizer(text, add_special_tokens=False).input_ids
        return [self._vocabulary[word] for word in words]


class _GeneralText(EpisodeText):
    """A tokenizer made elsewhere."""

    def line_break(self, line_break: str) -> LineBreak:
        return LineBreak.of(self.tokenizer, line_break)

    def _said(self, before: str, text: str, message: Sequence[int], after: str) -> list[int]:
        """Tokens of what the environment says, between texts of the format, which may spell special tokens.

        All is encoded as one, for words may merge where texts meet, unless the environment spells a special token.
        """
        if message:
            return [*self._said(before, f"{text}\n", (), ""), *message, *self._with_special(after)]
        data = self.encode(text)
        if data == self._with_special(text):
            return self._with_special(before + text + after)
        return [*self._with_special(before), *data, *self._with_special(after)]

    def _with_special(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False).input_ids if text else []

    def _decode(self, ids: np.ndarray) -> str:
        return super()._decode(ids).strip()


class ChatText(_GeneralText):
    """A chat template: the environment is the user, the policy the assistant. Instructions are the system message, or
    where the template takes none, the beginning of the first user message."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, instructions: str, ends: Iterable[int]) -> None:
        """Raises UserError where the template cannot be read as one of dialogues."""
        self._glue = read_template(tokenizer, instructions.strip())
        between = tokenizer(self._glue.between, add_special_tokens=False).input_ids
        special = {token: added.content for token, added in tokenizer.added_tokens_decoder.items() if added.special}
        # The template closes a turn with a token that a base model's end of text may differ from: both end an action.
        turn_end = next((token for token in between if token in special), None)
        super().__init__(tokenizer, [*ends, *([] if turn_end is None else [turn_end])])
        self._between = dict.fromkeys((False, True), self._glue.between)
        if turn_end is not None:
            self._between[True] = self._glue.between.split(special[turn_end], 1)[1]

    def prompt(self, text: str, message: Sequence[int] = ()) -> list[int]:
        return self._said(self._glue.before + self._glue.first, text.strip(), message, self._glue.after)

    def reply(self, text: str, message: Sequence[int] = (), ended: bool = True) -> list[int]:
        return self._said(self._between[ended], text.strip(), message, self._glue.again)


class LineText(_GeneralText):
    """Plain lines, for models without a chat template: the instructions, what the environment says, then the prompt.

    An action is one line: any token with a line break ends it. With `several_lines` it may have more, no prompt is
    shown, and the end of text alone ends it.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, instructions: str, ends: Iterable[int], several_lines: bool = False
    ) -> None:
        self.several_lines, self._ends_of_text = several_lines, frozenset(ends)
        # The last entry stands for all that a model has beyond its tokenizer.
        self._has_break = np.append(tokens_with(tokenizer, "\n"), False)
        breaks = [] if several_lines else np.flatnonzero(self._has_break).tolist()
        super().__init__(tokenizer, [*self._ends_of_text, *breaks])
        # Whether texts begin with a token of their own is the tokenizer's to say.
        begin = tokenizer.bos_token_id
        self._begin = [begin] if begin is not None and tokenizer("a").input_ids[:1] == [begin] else []
        self._instructions = f"{instructions.strip()}\n\n" if instructions else ""
        self._turn = "\n" if several_lines else f"\n{PROMPT}"

    def prompt(self, text: str, message: Sequence[int] = ()) -> list[int]:
        return [*self._begin, *self._said(self._instructions, text.strip(), message, self._turn)]

    def reply(self, text: str, message: Sequence[int] = (), ended: bool = True) -> list[int]:
        return self._said("" if ended else "\n", text.strip(), message, self._turn)

    def ends_turn(self, tokens: np.ndarray) -> np.ndarray:
        """An end of text ends the action, but not its line."""
        return self._has_break[np.minimum(tokens, len(self._has_break) - 1)]

    def _decode(self, ids: np.ndarray) -> str:
        if self.several_lines:
            return super()._decode(ids)
        # A token that ends the line may hold text before the break.
        kept = ids[:-1] if int(ids[-1]) in self._ends_of_text else ids
        written = self.tokenizer.decode(kept.tolist(), skip_special_tokens=False)
        return written.split("\n", 1)[0].strip()


def open_text(
    tokenizer: PreTrainedTokenizerBase,
    format: str = AUTO,
    instructions: str = "",
    ends: Iterable[int] = (),
    several_lines: bool = False,
) -> EpisodeText:
    """The format that a policy reads its episodes in.

    format: see `ModelConfig.format`. instructions: what a general model is told first. ends: tokens beside the
    tokenizer's own that end a text (`reproduce.rollouts.models.end_tokens`). several_lines: whether an action may have
    more than one line. Raises UserError for a format that the tokenizer does not offer.
    """
    made_here = TURN in tokenizer.get_vocab()
    if format == AUTO:
        format = WORDS if made_here else CHAT if tokenizer.chat_template else TEXT
    if (format == WORDS) != made_here:
        raise UserError(
            f"model.format={format}: words is the format of policies made here, and of no other; "
            f"this tokenizer {'is one' if made_here else 'is none'} of theirs: leave model.format at auto"
        )
    if made_here:
        return WordText(tokenizer)
    own_end = tokenizer.eos_token_id
    ends = [*ends, *([] if own_end is None else [own_end])]
    if format == CHAT:
        if not tokenizer.chat_template:
            raise UserError("model.format=chat: the tokenizer has no chat template; take a model with one, or text")
        return ChatText(tokenizer, instructions, ends)
    if format != TEXT:
        raise UserError(f"model.format={format}: there are {AUTO}, {WORDS}, {CHAT} and {TEXT}")
    return LineText(tokenizer, instructions, ends, several_lines)
