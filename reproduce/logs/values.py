"""Single values of a log: names, whole numbers, scores. Each function raises ValueError with the end of a sentence."""

from __future__ import annotations

import math
from typing import Any

WORDS = {"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0}
EXACT = 1e15
"""Whole numbers up to here keep every digit as a float."""


def name_of(value: Any) -> str:
    """The name of a policy or question. 7, 7.0 and "7" are one name, since a format may change one into the other."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        raise ValueError("is missing")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"must be text or a number, got {_shown(value)}")
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < EXACT else repr(value)
    try:
        text = str(value).strip()
    except ValueError:
        raise ValueError("has too many digits for a name") from None
    if not text:
        raise ValueError("is empty")
    return text


def whole_or_real(value: Any) -> float:
    """A finite number, from a number, a truth value, or text that says one."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        raise ValueError("is missing")
    number = math.nan
    if isinstance(value, str):
        text = value.strip().lower()
        if not text:
            raise ValueError("is empty")
        if text == "nan":
            raise ValueError("is missing")
        if text in WORDS:
            return WORDS[text]
    if isinstance(value, str | int | float):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"must be a finite number, got {_shown(value)}")
    return number


def cap_of(value: Any) -> float:
    """T, a cap on rounds: at least 0."""
    number = whole_or_real(value)
    if number < 0:
        raise ValueError(f"must be at least 0, got {_shown(value)}")
    return number


def count_of(value: Any) -> float:
    """A whole number of at least 0."""
    number = whole_or_real(value)
    if number < 0 or number != math.floor(number) or number >= EXACT:
        raise ValueError(f"must be a whole number of at least 0, got {_shown(value)}")
    return number


def _shown(value: Any) -> str:
    # A whole transcript in the wrong column would bury the message; a number may have too many digits to write out.
    try:
        text = repr(value) if isinstance(value, str | int | float) else f"a {type(value).__name__}"
    except ValueError:
        text = "a number with too many digits"
    return text if len(text) <= 40 else text[:37] + "..."
