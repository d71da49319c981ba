"""The environment: one question, one action of many lines, one verdict.

The whole solution is one action, so an episode has one round (`HORIZON`): steps are lines within the action, which is
how both papers that need steps cut completions, and a prefix of steps can be re-entered by beginning the action with
its tokens. A step is `3 plus 4 = 7`, the last line `answer 7`, all modulo ten:

    start 3 then plus 4 then times 7 ?                          the prompt
    3 plus 4 = 7 <newline> 7 times 7 = 9 <newline> answer 9     the action

The verdict on a chain is that of its answer alone, as in the papers: wrong steps before a right answer cost nothing,
and the oracle (`oracle`) is there to tell. A decisive chain has no answer line: its verdict needs H lines, of which the
k decisive ones are right.

Kinds of failure: `wrong answer`, `no answer` where the last line is none, and for a decisive chain `wrong step` or
`wrong length`. The skill of an action is that of its last line (`steps.skill_of`); `steps.step_skills` gives those of
all its lines. Terse and full mode differ in the prompt only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from reproduce.environments.protocol import NoForcedAnswer, Observation
from reproduce.environments.reasoning.steps import ANSWER, FREE, is_free, last_step, skill_of, split_steps
from reproduce.environments.reasoning.tasks import ReasoningTask

HORIZON = 1
WRONG_ANSWER, NO_ANSWER, WRONG_STEP, WRONG_LENGTH = "wrong answer", "no answer", "wrong step", "wrong length"

_FORM = (
    'Work modulo ten: keep the last digit only. Write one step a line, such as "3 plus 4 = 7", each line beginning '
    "with the value so far"
)


@dataclass(frozen=True)
class ReasoningEnvironment(NoForcedAnswer):
    """The question as a pure function of task and action."""

    observations: Literal["terse", "full"] = "terse"
    """`terse`: see the module; `full`: the question in plain English, with the form of the steps."""

    def __post_init__(self) -> None:
        if self.observations not in ("terse", "full"):
            raise ValueError(f"observations {self.observations!r} is neither 'terse' nor 'full'")

    def reset(self, task: ReasoningTask) -> str:
        """The question."""
        return task.question if self.observations == "terse" else full_question(task)

    def step(self, task: ReasoningTask, history: tuple[str, ...], action: str) -> Observation:
        """Grade a solution; whatever it is, the episode is over."""
        last = last_step(action)
        failure = _failure_of_decisive(task, action) if task.template == "decisive" else _failure(task, last)
        return Observation("", done=True, success=not failure, skill=skill_of(last), failure=failure)


def _failure(task: ReasoningTask, last: str) -> str:
    if last == f"{ANSWER} {task.answer}":
        return ""
    return WRONG_ANSWER if skill_of(last) == ANSWER else NO_ANSWER


def _failure_of_decisive(task: ReasoningTask, action: str) -> str:
    steps, lines = split_steps(action), task.lines
    if len(steps) != len(lines):
        return WRONG_LENGTH
    return "" if all(steps[place] == lines[place] for place in task.decisive) else WRONG_STEP


def full_question(task: ReasoningTask) -> str:
    """The question in plain English."""
    described = [f'write "{FREE}" and any digit' if is_free(operation) else operation for operation in task.operations]
    match task.template:
        case "listed":
            asked = f"Start with {task.start}, then {', then '.join(described)}. What is the result?"
        case "nested":
            asked = f"What is {' of the result of '.join(reversed(described))} of {task.start}?"
        case "trailing":
            asked = (
                f"Do this: {', then '.join(described)}. The value to start with is {task.start}. What is the result?"
            )
        case "decisive":
            steps = "; ".join(f"step {place}: {text}" for place, text in enumerate(described, start=1))
            return f"Start with {task.start}. {steps}. {_FORM}. Write these {len(described)} lines and nothing else."
    return f'{asked} {_FORM}. Write as the last line "{ANSWER}" and the result.'
