"""Steps of an episode: the lines that the policy wrote, by token."""

from __future__ import annotations

from typing import Any

import torch


def newline_tokens(tokenizer: Any, vocabulary_size: int, token_ids: tuple[int, ...] | None) -> torch.Tensor:
    """(vocabulary_size,) booleans: the given token ids, or every token whose text holds a newline.

    Raises ValueError for an id outside the vocabulary.
    """
    found = torch.zeros(max(vocabulary_size, len(tokenizer)), dtype=torch.bool)
    if token_ids is None:
        texts = tokenizer.batch_decode([[token] for token in range(len(tokenizer))])
        found[: len(texts)] = torch.tensor(["\n" in text for text in texts])
        return found
    outside = [token for token in token_ids if not 0 <= token < len(found)]
    if outside:
        raise ValueError(f"newline_token_ids {outside} are not in the vocabulary of {len(found)} tokens")
    found[list(token_ids)] = True
    return found


def step_starts(newline: torch.Tensor, policy: torch.Tensor, end: torch.Tensor) -> torch.Tensor:
    """Beginnings of steps, (rows, tokens) booleans: after a run of newlines, and at each turn of the policy.

    newline, policy, end: (rows, tokens) booleans; end: end-of-sequence tokens. A newline belongs to the step that it
    ends; newlines in a row end one step; newlines before any other token of a turn belong to the step that follows, and
    the end of a sequence to the step before it, so that no step is blank.
    """
    newline = newline & policy
    before = torch.zeros_like(policy)
    before[:, 1:] = policy[:, :-1]
    turn = policy & ~before
    word = policy & ~newline & ~end
    content = word.long().cumsum(dim=1)
    # Content tokens seen before the turn began; the count never falls, so the running maximum carries it along.
    at_turn = torch.where(turn, content - word.long(), 0).cummax(dim=1).values
    after_newline = torch.zeros_like(policy)
    after_newline[:, 1:] = newline[:, :-1]
    has_content = content - 1 > at_turn
    return turn | (word & after_newline & has_content)
