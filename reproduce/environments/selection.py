"""Which tasks of a data set are taken: the same ones on every machine, whatever the order of its files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from reproduce.core.files import UserError


def order_of(identifier: str) -> bytes:
    """Where an item stands: items are taken in the order of the sha256 of their identifiers."""
    return hashlib.sha256(identifier.encode()).digest()


def plain_question(question: str) -> str:
    """The same for questions that differ in case and white space only."""
    return " ".join(question.casefold().split())


def check_apart(trained: Mapping[str, str], tested: Sequence[tuple[str, str]]) -> None:
    """Raise UserError where a question is in training and in a test.

    trained: where each question stands (file and row), by its plain form. tested: plain form and place of each one.
    """
    for form, place in tested:
        if form in trained:
            raise UserError(f"{place}: the same task is in the training data ({trained[form]})")
