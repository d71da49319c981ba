"""The words of the retrieval environment. A word-level tokenizer with these entries covers every text it writes."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_NAMES = tuple(
    "ada alan amos anna boris carl clara dora edgar elsa emil erik fay felix greta hana hugo ida ivan jana "
    "karl lena leo lola mara milo nina noah olga oscar paula rosa ruth tara vera yuri".split()
)
LAST_NAMES = tuple(
    "abbot baker boyle brand carver clay cross dahl drake ellis falk fisher frost gale grant hale holm keller "
    "lang lowell marsh moss nash north ortega penn quist reed rhodes stone swan tanner vance wells wolf york".split()
)


@dataclass(frozen=True)
class Phrasing:
    """A surface word for a relation in questions; paragraphs and queries use the relation's own name."""

    word: str
    relation: str
    misread_as: str
    """The relation that an unreliable demonstrator takes the word for: fixed, so that an error is systematic."""


ENTITY_RELATIONS = tuple(
    "spouse mentor employer founder owner rival neighbour sponsor doctor lawyer editor pupil".split()
)
NUMBER_RELATIONS = tuple("age height wealth weight speed strength".split())

_ENTITY_WORDS: dict[str, tuple[str, ...]] = {
    "spouse": ("spouse", "partner", "consort"),
    "mentor": ("mentor", "guide", "coach"),
    "employer": ("employer", "boss", "chief"),
    "founder": ("founder", "creator", "originator"),
    "owner": ("owner", "holder", "proprietor"),
    "rival": ("rival", "opponent", "competitor"),
    "neighbour": ("neighbour", "adjoiner", "bystander"),
    "sponsor": ("sponsor", "backer", "patron"),
    "doctor": ("doctor", "physician", "healer"),
    "lawyer": ("lawyer", "attorney", "counsel"),
    "editor": ("editor", "reviser", "redactor"),
    "pupil": ("pupil", "student", "disciple"),
}
_NUMBER_WORDS: dict[str, tuple[str, ...]] = {
    "age": ("older", "elder", "senior"),
    "height": ("taller", "higher", "loftier"),
    "wealth": ("richer", "wealthier", "costlier"),
    "weight": ("heavier", "bulkier", "weightier"),
    "speed": ("faster", "quicker", "swifter"),
    "strength": ("stronger", "mightier", "tougher"),
}


def _phrasings(relations: tuple[str, ...], words: dict[str, tuple[str, ...]]) -> tuple[Phrasing, ...]:
    """Word j of a relation is misread as the relation j + 1 places further on, so no two words err alike."""
    return tuple(
        Phrasing(word, relation, relations[(place + rank + 1) % len(relations)])
        for place, relation in enumerate(relations)
        for rank, word in enumerate(words[relation])
    )


ENTITY_PHRASINGS = _phrasings(ENTITY_RELATIONS, _ENTITY_WORDS)
NUMBER_PHRASINGS = _phrasings(NUMBER_RELATIONS, _NUMBER_WORDS)
PHRASING_OF_WORD = {phrasing.word: phrasing for phrasing in ENTITY_PHRASINGS + NUMBER_PHRASINGS}

DIGITS = tuple(str(digit) for digit in range(10))
NUMBERS = tuple(str(number) for number in range(10, 40))
OPERATIONS = ("plus", "minus", "times")

SEARCH, ANSWER = "search", "answer"
FUNCTION_WORDS = tuple("who is the of has a then what or : ; ? start which".split())
MESSAGE_WORDS = (SEARCH, ANSWER, "result", "invalid", "closed", "first", "second", "recall")


def words() -> tuple[str, ...]:
    """Every word, once, in a fixed order."""
    everything = FUNCTION_WORDS + MESSAGE_WORDS + FIRST_NAMES + LAST_NAMES + ENTITY_RELATIONS + NUMBER_RELATIONS
    everything += tuple(PHRASING_OF_WORD) + DIGITS + NUMBERS + OPERATIONS
    return tuple(dict.fromkeys(everything))
