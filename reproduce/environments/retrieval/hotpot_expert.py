"""The expert on HotpotQA's questions: it knows the needed titles, the supporting sentences and the answer.

One fixed template: a search for each needed title in the order of the hops, then the supporting sentences and the
answer. Unstated in the paper, ours (SFT is on expert trajectories built from gold, one a question).
"""

from __future__ import annotations

from reproduce.environments.protocol import Turn
from reproduce.environments.retrieval.hotpot import HotpotTask
from reproduce.environments.retrieval.tagged import HotpotCorpus, TaggedEnvironment


def demonstrate_hotpot(task: HotpotTask, rounds: int, passages: int = 1) -> tuple[Turn, ...]:
    """The expert's episode of at most `rounds` searches, as turns; once they are used up, the forced answer.

    It gives the right answer in any case, and the supporting sentences of paragraphs that its searches showed.
    """
    environment = TaggedEnvironment(HotpotCorpus(passages))
    turns, known = [Turn(environment.reset(task), by_policy=False)], list[str]()
    history: tuple[str, ...] = ()
    for place, evidence in list(zip(task.gold, task.evidence, strict=True))[:rounds]:
        title = task.titles[place]
        action = f"I need to know more about {title}. <search>{title}</search>"
        observation = environment.step(task, history, action)
        turns += [Turn(action, by_policy=True), Turn(observation.text, by_policy=False)]
        history += (action,)
        known += [evidence] if f"({title}) " in observation.text else []
    if len(history) == rounds:
        turns.append(Turn(environment.close(task), by_policy=False))
    return (*turns, Turn(" ".join((*known, f"<answer>{task.answer}</answer>")), by_policy=True))


def solve_hotpot(task: HotpotTask) -> tuple[str, ...]:
    """The expert's actions where there are rounds enough."""
    return tuple(turn.text for turn in demonstrate_hotpot(task, task.hops + bool(task.hops)) if turn.by_policy)
