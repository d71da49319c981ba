"""The rules: what an action is, what it does, and which puzzles can be solved.

The numbers that are left are a sorted tuple. An operation takes two of them and puts back one result, which must be
an integer from 0 to a limit: no negative results, and division must come out even. `reset` goes back to the start.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

RESET = "reset"
SKILL_OF_OPERATOR = {"+": "add", "-": "sub", "*": "mul", "/": "div"}
SKILLS = (*SKILL_OF_OPERATOR.values(), RESET, "invalid")
"""Abstract symbol of an action: its operator, `reset`, or `invalid` for every text that changes nothing by mistake."""
LONGEST_ACTION = 60
"""Characters of an action that are read; a longer one is invalid."""

Numbers = tuple[int, ...]
_ACTION = re.compile(r"\s*(0|[1-9][0-9]{0,8})\s*([-+*/])\s*(0|[1-9][0-9]{0,8})\s*")


@lru_cache(maxsize=1 << 14)
def _parse_short(action: str) -> str | tuple[int, str, int] | None:
    if action.strip().lower() == RESET:
        return RESET
    found = _ACTION.fullmatch(action)
    return (int(found[1]), found[2], int(found[3])) if found else None


def parse(action: str) -> str | tuple[int, str, int] | None:
    """`reset`, or the two numbers and the operator between them; None for any other text."""
    return _parse_short(action) if len(action) <= LONGEST_ACTION else None


def calculate(first: int, operator: str, second: int, limit: int) -> int | None:
    """The result; None where the rules forbid it: negative, uneven, by zero, or larger than `limit`."""
    if operator == "/":
        result = first // second if second and first % second == 0 else -1
    elif operator == "+":
        result = first + second
    elif operator == "-":
        result = first - second
    else:
        result = first * second
    return result if 0 <= result <= limit else None


def carry_out(start: Numbers, left: Numbers, action: str, limit: int) -> tuple[Numbers, str]:
    """Numbers left after the action, and its skill. An invalid action leaves them as they are.

    start, left: numbers at the start and now, ascending. limit: the largest result allowed.
    """
    parsed = parse(action)
    if parsed is None:
        return left, "invalid"
    if isinstance(parsed, str):
        return start, RESET
    first, operator, second = parsed
    others = list(left)
    if first not in others:
        return left, "invalid"
    others.remove(first)
    if second not in others:
        return left, "invalid"
    others.remove(second)
    result = calculate(first, operator, second, limit)
    if result is None:
        return left, "invalid"
    others.append(result)
    others.sort()
    return tuple(others), SKILL_OF_OPERATOR[operator]


def operations(left: Numbers, limit: int) -> Iterator[tuple[str, Numbers]]:
    """Every legal operation once, and the numbers it leaves. Of `a + b` and `b + a` the one with the larger first."""
    seen = set()
    for second_place in range(len(left)):
        for first_place in range(second_place + 1, len(left)):
            first, second = left[first_place], left[second_place]
            if (first, second) in seen:
                continue
            seen.add((first, second))
            others = left[:second_place] + left[second_place + 1 : first_place] + left[first_place + 1 :]
            for operator in SKILL_OF_OPERATOR:
                result = calculate(first, operator, second, limit)
                if result is not None:
                    yield f"{first} {operator} {second}", tuple(sorted((*others, result)))


@lru_cache(maxsize=1 << 17)
def is_solvable(left: Numbers, target: int, limit: int) -> bool:
    """Whether the target can be reached with all of the numbers: exact, by trying everything."""
    if len(left) == 1:
        return left[0] == target
    return any(is_solvable(following, target, limit) for _, following in operations(left, limit))


def solution_of(left: Numbers, target: int, limit: int) -> tuple[str, ...] | None:
    """The first solution in the order of `operations`; None where there is none."""
    if not is_solvable(left, target, limit):
        return None
    actions: list[str] = []
    while len(left) > 1:
        for action, following in operations(left, limit):
            if is_solvable(following, target, limit):
                actions.append(action)
                left = following
                break
    return tuple(actions)
