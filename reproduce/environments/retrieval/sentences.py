"""The generated questions and paragraphs as sentences, for general models: the same facts in more words."""

from __future__ import annotations

import re

from reproduce.environments.retrieval.tasks import RetrievalTask, facts_of

_NESTED = re.compile(r"who is (the .+) of (\w+ \w+) \?")
_LISTED = re.compile(r"start (\w+ \w+) : (.+) \?")
_INVERTED = re.compile(r"the (\w+) of (\w+ \w+) has which (\w+) \?")
_COMPARED = re.compile(r"who is (\w+) : (\w+ \w+) or (\w+ \w+) \?")
_COMPARED_LAST = re.compile(r"of (\w+ \w+) or (\w+ \w+) who is (\w+) \?")


def question_sentence(task: RetrievalTask) -> str:
    """The question with the same words for its relations, in a wording of its own for each one of the generator.

    Raises ValueError for a question that the generator does not ask.
    """
    question = task.question
    if task.category == "static":
        steps = ", then ".join(task.phrasings)
        return (
            f"Start with {task.entities[0]}, then {steps}. Work modulo ten: keep only the last digit of each result, "
            "and add ten to a negative one. Which digit is the final result?"
        )
    if found := _NESTED.fullmatch(question):
        return f"Who is {found[1]} of {_named(found[2])}?"
    if found := _LISTED.fullmatch(question):
        first, *others = found[2].split(" then ")
        further = "".join(f", and then {other} of that person" for other in others)
        return f"Take {first} of {_named(found[1])}{further}. Who is it?"
    if found := _INVERTED.fullmatch(question):
        return f"The {found[1]} of {_named(found[2])} has someone as {found[3]}. Who is it?"
    if found := _COMPARED.fullmatch(question):
        return f"Who is {found[1]}, {_named(found[2])} or {_named(found[3])}?"
    if found := _COMPARED_LAST.fullmatch(question):
        return f"Of {_named(found[1])} and {_named(found[2])}, who is {found[3]}?"
    raise ValueError(f"no question of the generator: {question!r}")


def paragraph_sentences(paragraph: str) -> str:
    """`Ada Baker: The spouse of Ada Baker is Karl Wolf. ...`, one sentence a fact, in the paragraph's order."""
    entity, facts = facts_of(paragraph)
    name = _named(entity)
    return " ".join(
        (f"{name}:", *(f"The {relation} of {name} is {_named(value)}." for relation, value in facts.items()))
    )


def _named(name: str) -> str:
    """A name with capitals; a number as it is."""
    return " ".join(word.capitalize() for word in name.split())
