"""Beds for general models: the same tasks in more words, actions read leniently in form, instructions that are true."""

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reproduce.core.config import PanelConfig, PanelSizes
from reproduce.environments.beds import ENVIRONMENTS, load_bed
from reproduce.environments.cooking.bed import LEVELS, level_of
from reproduce.environments.cooking.tasks import Level
from reproduce.environments.countdown import solve as solve_countdown
from reproduce.environments.household import solve as solve_household
from reproduce.environments.plain_actions import LONGEST_READ, PlainActions, plain_line, plain_lines
from reproduce.environments.reasoning import NEWLINE, build_panels
from reproduce.environments.reasoning import solve as solve_reasoning
from reproduce.environments.retrieval import RetrievalEnvironment, TaggedEnvironment
from reproduce.environments.retrieval import solve as solve_retrieval
from reproduce.environments.retrieval.sentences import question_sentence
from reproduce.environments.retrieval.tagged import INVALID, tagged_commands
from reproduce.environments.retrieval.tasks import facts_of
from reproduce.environments.retrieval.vocabulary import ENTITY_RELATIONS, NUMBER_RELATIONS

RETRIEVAL = load_bed("retrieval").panels(PanelConfig(8, 12, 6))
QUESTIONS = [task for panel in RETRIEVAL.values() for task in panel.tasks]
WORDS, SENTENCES = RetrievalEnvironment(), load_bed("retrieval").environment(full_texts=True)


# ---- the form of an action


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("look", "look"),
        ("> Take apple 1 from fridge 1.", "take apple 1 from fridge 1"),
        ("\n\n  go to bed 1  \nYou arrive at bed 1.\n> look", "go to bed 1"),
        ('"8 * 3"', "8 * 3"),
        ("`reset`.", "reset"),
        ("\u201clook.\u201d", "look"),
        ("- eat meal", "eat meal"),
        ("-5", "-5"),
        (">", ">"),
        ("", ""),
        (" \n\t\n", ""),
        ("I would look.", "i would look"),
        ("8 * 3 = 24", "8 * 3 = 24"),
        ("look. go", "look. go"),
        ("x" * (LONGEST_READ + 5), "x" * LONGEST_READ),
    ],
)
def test_the_first_line_is_read_without_its_wrapping(written: str, read: str) -> None:
    assert plain_line(written) == read


@given(st.text(max_size=60))
def test_a_plain_line_is_plain_and_adds_nothing(text: str) -> None:
    line = plain_line(text)
    assert "\n" not in line and line == line.strip()
    assert line in text.lower() and plain_line(line) in (line, line[2:].strip())


def test_every_line_of_several_is_read() -> None:
    assert plain_lines('> 3 plus 4 = 7.\n\n"7 times 7 = 9"\nAnswer 9.') == "3 plus 4 = 7\n7 times 7 = 9\nanswer 9"
    assert plain_lines("\n".join(["1 plus 1 = 2"] * 2_000)) == ""


# ---- the same tasks


def wrapped(action: str, generator: random.Random) -> str:
    """As a general model might write it."""
    form = generator.choice(("{}", "> {}.", '"{}"\nand then', "\n`{}.`"))
    return form.format(generator.choice((str, str.upper))(action))


@pytest.mark.parametrize("name", ["household", "countdown"])
def test_wrapped_actions_do_what_bare_ones_do(name: str) -> None:
    bed, solve = load_bed(name), {"household": solve_household, "countdown": solve_countdown}[name]
    tasks = bed.panels(PanelSizes(1, 1, 1))["test"].tasks
    plain = bed.environment(full_texts=True)
    assert isinstance(plain, PlainActions)
    bare = plain.environment
    for place, task in enumerate(tasks[:4]):
        generator, history, written = random.Random(place), (), ()
        assert plain.reset(task) == bare.reset(task) != bed.environment().reset(task)
        assert plain.close(task) is None
        for action in ("dance", *solve(task)):
            line = wrapped(action, generator)
            observation = plain.step(task, written, line)
            assert observation == bare.step(task, history, action)
            terse = bed.environment().step(task, history, action)
            assert (observation.done, observation.success, observation.skill) == (
                terse.done,
                terse.success,
                terse.skill,
            )
            history, written = (*history, action), (*written, line)
        assert observation.success


def test_chains_of_a_general_model_are_graded_like_those_of_a_tiny_one() -> None:
    bed = load_bed("reasoning")
    terse, full = bed.environment(), bed.environment(full_texts=True)
    for task in (task for panel in build_panels(2, 2, 2).values() for task in panel.tasks):
        (solution,) = solve_reasoning(task)
        lines = solution.split(f" {NEWLINE} ")
        assert full.reset(task) != terse.reset(task)
        for written in (lines, lines[:-1], ["9 plus 9 = 9", *lines[1:]]):
            spoken = "\n".join(f"> {line.capitalize()}." for line in written)
            assert full.step(task, (), spoken) == terse.step(task, (), f" {NEWLINE} ".join(written))


# ---- retrieval in sentences


def as_tags(action: str) -> str:
    words = action.split()
    place = next(place for place, word in enumerate(words) if word in ("search", "answer"))
    name, said = words[place], " ".join(words[place + 1 :])
    return f"{' '.join(words[:place])} <{name}>{said}</{name}>"


def test_questions_are_sentences_with_the_same_words() -> None:
    wordings = set()
    for task in QUESTIONS:
        sentence = question_sentence(task)
        assert SENTENCES.reset(task) == sentence and sentence.endswith("?") and sentence[0].isupper()
        for word in (*task.phrasings, *task.entities):
            assert word in sentence.lower()
        assert task.answer.title() not in sentence or task.category != "bridge"
        names = {" ".join(task.entities)} | set(task.entities)
        pattern = sentence.lower()
        for name in sorted((*names, *task.phrasings), key=len, reverse=True):
            pattern = pattern.replace(name, "_")
        wordings.add(re.sub(r"(the _ of )+", "the _ of ", pattern))
    assert len(wordings) >= 6, "two wordings of comparisons, three of bridges, one of static questions"
    assert len({question_sentence(task) for task in QUESTIONS}) == len(QUESTIONS)


def test_searches_find_the_same_facts_in_sentences() -> None:
    for task in QUESTIONS:
        history: tuple[str, ...] = ()
        for action in solve_retrieval(task):
            words, sentences = WORDS.step(task, history, action), SENTENCES.step(task, (), as_tags(action))
            assert (words.done, words.success, words.skill) == (sentences.done, sentences.success, sentences.skill)
            if words.text:
                entity, facts = facts_of(words.text.removeprefix("result "))
                said = re.fullmatch(r"<information>\n(.+?): (.+)\n</information>", sentences.text)
                assert said is not None and said[1].lower() == entity
                found = re.findall(r"The (\w+) of (\w+ \w+) is (\w+(?: \w+)?)\.", said[2])
                assert [(relation, value.lower()) for relation, _, value in found] == list(facts.items())
                assert {name.lower() for _, name, _ in found} == {entity}
        assert words.success


def test_a_search_in_the_words_of_a_sentence_finds_the_paragraph() -> None:
    for task in RETRIEVAL["train"].select("bridge"):
        entity = task.entities[0]
        relations = [word for word in solve_retrieval(task)[0].split() if word in ENTITY_RELATIONS + NUMBER_RELATIONS]
        query = f"Who is the {relations[-1]} of {entity.title()}?"
        found = SENTENCES.step(task, (), f"Let me look.\n<search>{query}</search>")
        assert found.text.startswith(f"<information>\n{entity.title()}:") and found.skill == f"search {relations[-1]}"


@settings(max_examples=200)
@given(st.text(alphabet=st.sampled_from("<>/ab searchnw\n"), max_size=80))
def test_any_text_is_an_action(text: str) -> None:
    task = QUESTIONS[-1]
    observation, commands = SENTENCES.step(task, (), text), tagged_commands(text)
    assert (observation.text == INVALID) == (not commands)
    assert observation.done == (bool(commands) and commands[0][0] == "answer")
    assert SENTENCES.step_closed(task, (), text).done


# ---- what a general model is told


def test_every_bed_has_instructions_and_environments_for_both_kinds_of_model() -> None:
    for name in ENVIRONMENTS:
        bed = load_bed(name)
        assert 50 < len(bed.INSTRUCTIONS) < 1_000 and bed.INSTRUCTIONS.strip() == bed.INSTRUCTIONS
        assert "  " not in bed.INSTRUCTIONS and "\n" not in bed.INSTRUCTIONS
        for sizes in (None, PanelConfig() if name == "retrieval" else PanelSizes()):
            assert type(bed.environment(sizes)) is type(bed.environment())
            assert isinstance(bed.environment(sizes, full_texts=True), (PlainActions, TaggedEnvironment))


def test_the_instructions_of_the_household_name_the_engines_commands() -> None:
    bed = load_bed("household")
    task = bed.panels(PanelSizes(0, 1, 0))["test"].tasks[0]
    environment = bed.environment(full_texts=True)
    helped = environment.step(task, (), "help").text
    verbs = set(re.findall(r"^ {2}(go to|\w+)[^:]*:", helped, flags=re.MULTILINE))
    assert verbs >= {"look", "go to", "take", "move", "heat", "slice"}
    assert not {verb for verb in verbs if f"{verb}" not in bed.INSTRUCTIONS}


def test_the_instructions_of_cooking_have_the_forms_of_its_commands() -> None:
    bed = load_bed("cooking")
    listed = bed.INSTRUCTIONS.partition("The commands are: ")[2].partition(". For example: ")
    verbs = {command.split()[0] for command in re.sub(r"\([^)]*\)", "", listed[0]).split("; ")}
    assert verbs == {
        *("look", "inventory", "go", "open", "close", "examine", "take", "drop", "put", "insert"),
        *("cook", "chop", "slice", "dice", "prepare", "eat"),
    }
    assert "already" not in bed.INSTRUCTIONS, "that food may be cooked already is for the player to find out"


def test_examples_of_the_instructions_are_actions() -> None:
    assert tagged_commands(load_bed("retrieval").INSTRUCTIONS)[-1] == ("answer", "Beijing")
    bed = load_bed("countdown")
    example = re.search(r"such as (.+?), without", bed.INSTRUCTIONS)
    task = bed.panels(PanelSizes(0, 1, 0))["test"].tasks[0]
    # Its numbers are not those of the task, but it has the form of an operation.
    assert example is not None and re.fullmatch(r"\d+ [-+*/] \d+", example[1])
    assert bed.environment(full_texts=True).step(task, (), "Reset.").skill == "reset"


# ---- sizes of the generators


def test_levels_of_cooking_are_read_from_their_labels() -> None:
    for level in (*LEVELS, Level(3, 2, True, 6, True), Level(5, 5, False, 12, False), Level(1, 0, True, 1, False)):
        assert level_of(level.label) == level
    for label in ("", "recipe1", "recipe9+go1", "recipe1+take2+go1", "recipe1+open+cut+go1", "recipe1+take0+go1"):
        with pytest.raises(ValueError, match=r"recipe"):
            level_of(label)


def test_countdown_has_puzzles_of_the_generators_own_sizes() -> None:
    bed = load_bed("countdown")
    panels = bed.panels(PanelSizes(6, 6, 0, categories=("reasoning-gym",)))
    for task in (*panels["train"].tasks, *panels["test"].tasks):
        assert 4 <= len(task.numbers) <= 6 and max(task.numbers) <= 100 and 100 <= task.target <= 999
        history: tuple[str, ...] = ()
        for action in task.solution:
            last = bed.environment(full_texts=True).step(task, history, action)
            history += (action,)
        assert last.success
    with pytest.raises(ValueError, match="no categories easy of countdown; there is reasoning-gym"):
        bed.panels(PanelSizes(1, 1, 1, categories=("easy",)))
