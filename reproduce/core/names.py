"""Names a user may mistype."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Sequence


def nearest(name: str, known: Sequence[str]) -> str:
    """A hint for an error message: the known name closest to `name`, or all of them."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"


def escaped(text: str) -> str:
    """The text with control characters as their escapes: what a file says must not steer the terminal."""
    return "".join(
        character.encode("unicode_escape").decode() if unicodedata.category(character).startswith("C") else character
        for character in text
    )
