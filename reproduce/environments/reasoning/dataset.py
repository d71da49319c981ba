"""Math sets of the user's own: questions with answers that math-verify compares. They bring no oracle for the steps.

The policy's answer is what stands in its last `\\boxed{...}`.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from reproduce.core.files import UserError
from reproduce.environments.protocol import NoForcedAnswer, Observation
from reproduce.environments.reasoning.environment import NO_ANSWER, WRONG_ANSWER
from reproduce.environments.reasoning.grader import Grader
from reproduce.environments.reasoning.steps import ANSWER
from reproduce.environments.rows import Row, is_unicode, read_rows, text_of

LONGEST_SOLUTION = 100_000
"""Characters of a solution that are read; a longer one has no answer."""
LONGEST_QUESTION = 20_000
"""Characters of a question; a longer one is refused."""
LONGEST_ANSWER = 500
"""Characters of an answer that are read; a longer one is wrong."""
MISSING = "reasoning with a data set needs math-verify; install rl-claims[reasoning]"
COLUMNS = ("question", "problem", "answer", "final_answer", "solution", "prompt", "reward_model", "target")
_BOXED = "\\boxed{"
_PROMPT = "{question}\nReason step by step, one step a line, and put the final answer within \\boxed{{}}."

_grade = Grader()


@dataclass(frozen=True)
class MathTask:
    """One question of a math set."""

    identifier: str
    category: str
    """Name of the file it came from, without its ending."""
    question: str
    answer: str
    """LaTeX or a plain number."""
    solution: str = ""
    """The data set's own, where it has one of at most `LONGEST_SOLUTION` characters."""


class MathEnvironment(NoForcedAnswer):
    """A question of a math set as a pure function of task and action: one action, one verdict."""

    def reset(self, task: MathTask) -> str:
        """The question, and how to give the answer."""
        return _PROMPT.format(question=task.question)

    def step(self, task: MathTask, history: tuple[str, ...], action: str) -> Observation:
        """Grade a solution; whatever it is, the episode is over. Raises UserError where math-verify is missing."""
        answer = boxed_answer(action)
        if answer is None:
            return Observation("", done=True, success=False, skill="invalid", failure=NO_ANSWER)
        success = is_equivalent(task.answer, answer)
        return Observation("", done=True, success=success, skill=ANSWER, failure="" if success else WRONG_ANSWER)


def boxed_answer(text: str) -> str | None:
    """What stands in the last `\\boxed{...}` of a solution; None without one, or where its braces do not close."""
    start = text.rfind(_BOXED) if len(text) <= LONGEST_SOLUTION else -1
    if start < 0:
        return None
    depth = 1
    for place in range(start + len(_BOXED), len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[start + len(_BOXED) : place].strip()
    return None


def check_grader() -> None:
    """Raises UserError where math-verify, which compares answers, is missing."""
    if importlib.util.find_spec("math_verify") is None:
        raise UserError(MISSING)


@lru_cache(maxsize=1 << 14)
def is_equivalent(gold: str, answer: str) -> bool:
    """Whether two answers are the same mathematically. False where one cannot be read or compared in time."""
    check_grader()
    if not answer or len(answer) > LONGEST_ANSWER:
        return False
    return answer == gold or _grade(gold, answer)


def load_dataset_tasks(path: Path, category: str = "", skip_broken: bool = False) -> tuple[MathTask, ...]:
    """The tasks of a math set, in its order: JSONL or Parquet with the columns `question` (or `problem`) and `answer`,
    and `solution` if there is one; or those of verl: `prompt`, `reward_model` and `target`, of which the last message
    of the user, the ground truth and the first message are taken (OpenR1-Math-46k-8192 has them).

    category: the file's name without its ending where empty. Of an answer with a solution before it, as in GSM8K, what
    follows the last `####` counts; of one with a box, what stands in the box. Where there is no `answer`, the list
    `final_answer` (OlympiadBench) or the last box of the solution (Minerva) holds it.

    skip_broken: leave out rows without a question or an answer, with a warning that counts and names them, instead of
    raising. Raises UserError that names the file and the row for whatever cannot be used.
    """
    broken: list[str] = []
    tasks = tuple(_tasks(path, category or path.stem, broken if skip_broken else None))
    if broken:
        warnings.warn(f"{path}: {len(broken)} rows left out: {'; '.join(broken)}", stacklevel=2)
    if not tasks:
        raise UserError(f"{path}: no questions in it")
    return tasks


def _tasks(path: Path, category: str, broken: list[str] | None) -> Iterator[MathTask]:
    """broken: takes what is wrong with rows that cannot be used; None where they are to be raised."""
    if path.suffix not in (".jsonl", ".parquet"):
        raise UserError(f"{path}: not a .jsonl or .parquet file")
    for number, found in read_rows(path, COLUMNS):
        row = {**_of_verl(found), **{name: value for name, value in found.items() if value is not None}}
        try:
            question = text_of(path, number, row, ("question", "problem"), LONGEST_QUESTION)
            answer = _answer(path, number, row)
        except UserError as error:
            if broken is None:
                raise
            broken.append(str(error).removeprefix(f"{path}: "))
            continue
        yield MathTask(f"{path.stem}-{number:05d}", category, question, answer, _solution(row))


def _of_verl(row: Row) -> Row:
    """Question, answer and solution of a row with the columns of verl; only those that are there in its form."""
    grading, said = row.get("reward_model"), _messages(row.get("prompt"), "user")
    found = {"question": said[-1]} if said else {}
    if isinstance(grading, Mapping):
        found["answer"] = grading.get("ground_truth")
    if shown := _messages(row.get("target"), "assistant"):
        found["solution"] = shown[0]
    return found


def _messages(value: Any, role: str) -> list[Any]:
    """The contents of a conversation's messages by one role."""
    messages = value if isinstance(value, list) else []
    return [one.get("content") for one in messages if isinstance(one, Mapping) and one.get("role") == role]


def _answer(path: Path, number: int, row: Row) -> str:
    if row.get("answer") is None:
        row = {**row, "answer": _final_answers(row.get("final_answer")) or boxed_answer(_solution(row))}
    answer = text_of(path, number, row, ("answer",), LONGEST_SOLUTION)
    if _BOXED in answer:
        answer = boxed_answer(answer) or ""
    answer = answer.rpartition("####")[2].strip()
    if not answer or len(answer) > LONGEST_ANSWER:
        raise UserError(f"{path}: row {number} has no answer of at most {LONGEST_ANSWER} characters")
    return answer


def _final_answers(value: Any) -> str | None:
    """The answers of a list, without their dollar signs, as math-verify reads a set of them; None without any."""
    answers = [one.strip().strip("$").strip() for one in value if isinstance(one, str)] if type(value) is list else []
    return ", ".join(answer for answer in answers if answer) or None


def _solution(row: Row) -> str:
    """The solution, the first of several, or what GSM8K has in its place: an answer with the reasoning before it."""
    given, answer = row.get("solution"), row.get("answer")
    if isinstance(given, list) and given:
        given = given[0]
    if not isinstance(given, str) and isinstance(answer, str) and ("####" in answer or _BOXED in answer):
        given = answer
    return given.strip() if isinstance(given, str) and len(given) <= LONGEST_SOLUTION and is_unicode(given) else ""
