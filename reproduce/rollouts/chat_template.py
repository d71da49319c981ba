"""A chat template's own texts around those of a dialogue, found by rendering one with words of ours in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from reproduce.core.files import UserError
from reproduce.core.limited import Failed, limited

SYSTEM, FIRST, ANSWER, SECOND = "INSTRUCTIONS0", "QUESTION1", "ANSWER1", "QUESTION2"
LONGEST = 1 << 20
"""Characters of a template, and of what it writes around a few words."""
DATE = "26 Jul 2024"
"""For templates that write today's date, as Llama 3's do: their own default, so that a prompt is the same tomorrow."""


@dataclass(frozen=True)
class Glue:
    """The texts of a template between those of the dialogue."""

    before: str
    """Before the first user message."""
    first: str
    """What the first user message begins with: the instructions, where the template takes no system message."""
    after: str
    """From the first user message to the assistant's turn."""
    between: str
    """From the assistant's message to the next user message, with what closes the assistant's turn."""
    again: str
    """From a later user message to the assistant's turn."""


def read_template(tokenizer: PreTrainedTokenizerBase, instructions: str) -> Glue:
    """The glue of a tokenizer's template. Raises UserError where a dialogue's own texts do not show in it."""
    user, answer = _message("user", FIRST), _message("assistant", ANSWER)
    dialogue = _render(tokenizer, [user, answer, _message("user", SECOND)])
    opening = _render(tokenizer, [user])
    first = ""
    if instructions:
        told = _try_system(tokenizer, user)
        if told is None:
            first = f"{instructions}\n\n"
        else:
            opening = told.replace(SYSTEM, instructions)
    try:
        before, after = opening.rsplit(FIRST, 1)
        between, again = dialogue.split(ANSWER, 1)[1].split(SECOND, 1)
    except (IndexError, ValueError):
        raise UserError(
            "the tokenizer's chat template does not repeat the messages it is given; set model.format=text"
        ) from None
    return Glue(before, first, after, between, again)


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _try_system(tokenizer: PreTrainedTokenizerBase, user: dict[str, str]) -> str | None:
    """The beginning of a dialogue with a system message; None where the template refuses or drops it."""
    try:
        text = _render(tokenizer, [_message("system", SYSTEM), user])
    except UserError:
        return None
    return text if SYSTEM in text else None


def _render(tokenizer: PreTrainedTokenizerBase, messages: Sequence[dict[str, str]]) -> str:
    template = tokenizer.get_chat_template()
    switches: dict[str, Any] = {"enable_thinking": False, "date_string": DATE}
    known = {name: value for name, value in switches.items() if name in template}
    if len(template) > LONGEST:
        raise UserError(f"the tokenizer's chat template has {len(template):,} characters; set model.format=text")

    def render() -> str:
        text = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True, **known)
        if len(text) > LONGEST:
            raise ValueError(f"it writes {len(text):,} characters")
        return str(text)

    # The sandbox of templates keeps them from files, but not from loops and powers that never end.
    try:
        return str(limited(render, seconds=1))
    except Failed as error:
        raise UserError(f"the tokenizer's chat template fails ({error}); set model.format=text") from None
