"""Single values of a log: names, whole numbers, scores. Each function raises ValueError with the end of a sentence."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

WORDS = {"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0, "pass": 1.0, "passed": 1.0, "fail": 0.0, "failed": 0.0}
WORDS |= {"correct": 1.0, "incorrect": 0.0}
ABSENT = {"", "nan", "none", "null", "na", "n/a", "<na>"}
"""Words of CSV writers for "no value"."""
STATES = {"error", "errored", "unscored", "invalid", "invalidated", "skipped"}
"""Words for an episode that has no score, where its score would stand."""
EXACT = 1e15
"""Whole numbers up to here keep every digit as a float."""
WHOLE_AS_REAL = re.compile(r"[+-]?\d{1,15}\.0+")


@dataclass(frozen=True)
class Unreadable:
    """In the place of an object that no column may hold."""

    kind: str


def is_absent(value: Any) -> bool:
    """None, NaN, or a word that writers of tables put in their place."""
    if isinstance(value, str):
        return value.strip().lower() in ABSENT
    return value is None or (isinstance(value, float) and math.isnan(value))


def name_of(value: Any) -> str:
    """The name of a policy or question: 7, 7.0, "7" and "7.0" are one, since a format may turn one into another."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        raise ValueError("is missing")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"must be text or a number, got {shown(value)}")
    if isinstance(value, float):
        if math.isinf(value):
            raise ValueError("is a number beyond what a float can hold")
        return str(int(value)) if value.is_integer() and abs(value) < EXACT else repr(value)
    try:
        text = str(value).strip()
    except ValueError:
        raise ValueError("has too many digits for a name") from None
    if not text:
        raise ValueError("is empty")
    return str(int(float(text))) if WHOLE_AS_REAL.fullmatch(text) else text


def score_of(value: Any) -> float:
    """A finite number, from a number, a truth value, or text that says one; NaN for a value that is absent, or says
    that nothing was scored."""
    if is_absent(value):
        return math.nan
    number = math.nan
    if isinstance(value, str):
        text = value.strip().lower()
        if text in STATES:
            return math.nan
        if text in WORDS:
            return WORDS[text]
    if isinstance(value, str | int | float):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"must be a finite number, got {shown(value)}")
    return number


def number_of(value: Any) -> float:
    """As `score_of`, but there must be a value."""
    number = score_of(value)
    if math.isnan(number):
        raise ValueError("is missing")
    return number


def cap_of(value: Any) -> float:
    """T, a cap on rounds: at least 0."""
    number = number_of(value)
    if number < 0:
        raise ValueError(f"must be at least 0, got {shown(value)}")
    return number


def count_of(value: Any) -> float:
    """A whole number of at least 0."""
    number = number_of(value)
    if number < 0 or number != math.floor(number) or number >= EXACT:
        raise ValueError(f"must be a whole number of at least 0, got {shown(value)}")
    return number


def shown(value: Any) -> str:
    """The value for a message, shortened: a whole transcript in the wrong column would bury it."""
    try:
        kind = (
            value.kind
            if isinstance(value, Unreadable)
            else "list"
            if isinstance(value, tuple)
            else type(value).__name__
        )
        text = repr(value) if isinstance(value, str | int | float) else f"a {kind}"
    except ValueError:
        text = "a number with too many digits"
    return text if len(text) <= 40 else text[:37] + "..."
