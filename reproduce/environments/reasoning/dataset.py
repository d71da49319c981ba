"""Math sets of the user's own: questions with answers that math-verify compares. They bring no oracle for the steps.

The policy's answer is what stands in its last `\\boxed{...}`. It is read as LaTeX only: math-verify's other readers
hand plain expressions to an evaluator of Python, and text of a policy must never get there.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from reproduce.environments.protocol import NoForcedAnswer, Observation
from reproduce.environments.reasoning.environment import NO_ANSWER, WRONG_ANSWER
from reproduce.environments.reasoning.steps import ANSWER
from reproduce.storage import UserError, read_jsonl

LONGEST_SOLUTION = 100_000
"""Characters of a solution that are read; a longer one has no answer."""
LONGEST_ANSWER = 200
"""Characters of an answer that are read; a longer one is wrong."""
SECONDS = 2
"""After which a comparison is given up and counts as wrong: some expressions would take for ever."""
_BOXED = "\\boxed{"
_PROMPT = "{question}\nReason step by step, one step a line, and put the final answer within \\boxed{{}}."


@dataclass(frozen=True)
class MathTask:
    """One question of a math set."""

    identifier: str
    category: str
    """Name of the file it came from, without its ending."""
    question: str
    answer: str
    """LaTeX or a plain number."""


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


@lru_cache(maxsize=1 << 14)
def is_equivalent(gold: str, answer: str) -> bool:
    """Whether two answers are the same mathematically. False where one cannot be read or compared in time.

    The time limit needs the main thread; on any other thread there is none.
    """
    try:
        from math_verify import LatexExtractionConfig, parse, verify
    except ImportError:
        raise UserError("reasoning with a data set needs math-verify; install rl-claims[reasoning]") from None
    logging.getLogger("math_verify").setLevel(logging.CRITICAL)
    if not answer or len(answer) > LONGEST_ANSWER:
        return False
    seconds = SECONDS if threading.current_thread() is threading.main_thread() else None
    readers = [LatexExtractionConfig()]
    found = [
        parse(f"${text}$", extraction_config=readers, parsing_timeout=seconds)  # type: ignore[arg-type]
        for text in (gold, answer)
    ]
    return all(found) and bool(verify(*found, timeout_seconds=seconds))


def load_dataset_tasks(path: Path) -> tuple[MathTask, ...]:
    """The tasks of a math set, in its order: JSONL or Parquet with the columns `question` (or `problem`) and `answer`.

    Of an answer with a solution before it, as in GSM8K, what follows the last `####` counts; of one with a box, what
    stands in the box. Raises UserError that names the file and the row for whatever cannot be used.
    """
    rows = _read(path)
    tasks = tuple(_task(path, place, row) for place, row in enumerate(rows, start=1))
    if not tasks:
        raise UserError(f"{path}: no questions in it")
    return tasks


def _read(path: Path) -> Iterable[Mapping[str, Any]]:
    match path.suffix:
        case ".jsonl":
            return read_jsonl(path)
        case ".parquet":
            return _read_parquet(path)
    raise UserError(f"{path}: not a .jsonl or .parquet file")


def _read_parquet(path: Path) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names = pq.read_schema(path).names
        wanted = [name for name in ("question", "problem", "answer") if name in names]
        rows: list[dict[str, Any]] = pq.read_table(path, columns=wanted).to_pylist()
        return rows
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: damaged ({error})") from None


def _task(path: Path, place: int, row: Mapping[str, Any]) -> MathTask:
    if not isinstance(row, Mapping):
        raise UserError(f"{path}: row {place} is no object with a question and an answer")
    question, answer = row.get("question", row.get("problem")), row.get("answer")
    if isinstance(answer, (int, float)) and not isinstance(answer, bool):
        answer = str(answer)
    for name, value in (("question", question), ("answer", answer)):
        if not isinstance(value, str) or not value.strip():
            raise UserError(f"{path}: row {place} has no {name}")
    assert isinstance(question, str) and isinstance(answer, str)
    if _BOXED in answer:
        answer = boxed_answer(answer) or ""
    answer = answer.rpartition("####")[2].strip()
    if not answer or len(answer) > LONGEST_ANSWER:
        raise UserError(f"{path}: row {place} has no answer of at most {LONGEST_ANSWER} characters")
    return MathTask(f"{path.stem}-{place:05d}", path.stem, question.strip(), answer)
