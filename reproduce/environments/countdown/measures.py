"""What the paper counts in Countdown's episodes, from the skills of one episode (Skill Reuse as Compression, case
study; `published/reuserl.toml`)."""

from __future__ import annotations

from collections.abc import Sequence


def without_reset(skills: Sequence[str]) -> bool:
    """Whether an episode never went back to the start. The paper reports its share among successes."""
    return "reset" not in skills


def multiplicative_share(episodes: Sequence[Sequence[str]]) -> float:
    """Multiplications and divisions as a share of all operations carried out, over all the episodes; NaN without any.

    episodes: the skills of each. Resets and invalid actions are not operations.
    """
    operations = [skill for skills in episodes for skill in skills if skill in ("add", "sub", "mul", "div")]
    if not operations:
        return float("nan")
    return sum(skill in ("mul", "div") for skill in operations) / len(operations)
