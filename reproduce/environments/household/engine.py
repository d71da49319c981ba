"""Games in TextWorld's PDDL engine, as positions that can be stepped from in any order.

Fast Downward's library applies operators, tells which are applicable and whether the goal holds, and plans; TextWorld's
grammar of the game writes the texts (through `FastGrammar`). A position is immutable: the operators applied so far, the
facts, the text and the verdict. The library holds one position at a time; it is taken to another one by loading the
game and applying that position's operators, which takes well under a millisecond in a small scene. One thread at a
time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import fast_downward
from textworld.envs.pddl import logic as pddl_logic
from textworld.generator.game import EntityInfo
from textworld.logic import Placeholder, Proposition, Type, TypeHierarchy, Variable

from reproduce.environments.household import tables
from reproduce.environments.household.facts import Facts
from reproduce.environments.household.grammar import FastGrammar
from reproduce.environments.household.translation import planner_task, translate

Applied = tuple[int, int]
"""Number of an operator and of its effects."""
LONGEST_PATH = 400
"""Operators of one position; a longer game is not played."""
_SHOWN = re.compile(r"[a-z]+ \d+")


@dataclass(frozen=True)
class Position:
    """The game after some actions."""

    path: tuple[Applied, ...]
    """Operators applied since the start."""
    facts: Facts
    text: str
    """What the engine wrote last."""
    won: bool
    operators: Mapping[str, Operator]
    """Applicable operators by command; the engine's first one where commands coincide."""

    @property
    def commands(self) -> tuple[str, ...]:
        """The engine's admissible commands, sorted."""
        return tuple(sorted(self.operators))


@dataclass(frozen=True)
class Operator:
    """An operator of the engine: its number, its PDDL action and what that is applied to."""

    name: str
    applied: Applied
    action: Any
    mapping: Mapping[Placeholder, Variable]
    command: str | None
    """Where no action can change it; None where the facts decide."""


class Game:
    """One problem, ready to be played."""

    def __init__(self, problem: str, instruction: str, domain: str = "", grammar: str = "") -> None:
        """problem: PDDL. instruction: shown in the prompt. domain, grammar: those of the package where empty; others
        must be known to be harmless, since TextWorld's parser reads them.

        Raises ValueError for a problem that the engine cannot translate, and for one that cannot be played: without
        its one agent in one place, with a goal that is true already or out of reach, or with names that are not shown
        as a word and a number.
        """
        domain, grammar = domain or tables.domain(), grammar or tables.grammar()
        translation = translate(problem, domain)
        self.problem, self.domain, self.sas = problem, domain, translation["sas"].encode()
        self.type_of: dict[str, str] = translation["type_of"]
        self.parameters: dict[str, list[list[str]]] = translation["parameters"]
        self.actions, self.grammar = _logic(domain, grammar)
        self.instruction = instruction
        self.types = TypeHierarchy()
        for name, supertypes in translation["types"]:
            self.types.add(Type(name, supertypes))
        self.changing = frozenset(translation["changing"])
        self._operators: dict[int, Operator] = {}
        self._fact_of_atom: dict[str, Proposition] = {}
        given = [self._proposition(name, arguments) for name, arguments in translation["facts"]]
        agents = [name for name, kind in self.type_of.items() if kind == "agent"]
        if len(agents) != 1 or [fact.names[0] for fact in given if fact.name == "atlocation"] != agents:
            raise ValueError("its problem needs one agent in one location")
        _library().take_to(self, ())
        try:
            derived = [fact for fact in map(self._fact, _library().state()) if not fact.is_negation]
        except KeyError:
            # The translator writes a task of its own, about things of its own, where no action can help.
            raise ValueError("its goal is out of reach") from None
        if _library().library.check_goal():
            raise ValueError("its goal is true already")
        self.start_facts = Facts({}, self.types).changed(given + derived)
        names = display_names({name for fact in given + derived for name in fact.names})
        for name, shown in names.items():
            if self.type_of[name] in ("object", "receptacle") and not _SHOWN.fullmatch(shown):
                raise ValueError(f"its problem has a thing {name[:40]!r}, which has no name such as apple_bar_01")
        self.entities = {name: _entity(name, self.type_of[name], shown) for name, shown in names.items()}

    def start(self) -> Position:
        """The first position, with the engine's introduction as its text."""
        _library().take_to(self, ())
        text = self._derive("#intro#", self.start_facts, {})
        return self._position((), self.start_facts, text.replace(tables.UNKNOWN_GOAL, self.instruction))

    def step(self, position: Position, command: str) -> Position | None:
        """The position after an admissible command; None where nothing happens."""
        operator = position.operators.get(command.strip())
        if operator is None or len(position.path) >= LONGEST_PATH:
            return None
        engine = _library()
        engine.take_to(self, position.path)
        effects = engine.apply(operator.applied)
        facts = position.facts.changed([self._fact(effect) for effect in effects])
        text = self._derive(operator.action.feedback_rule, facts, operator.mapping)
        return self._position((*position.path, operator.applied), facts, text)

    def plan(self, position: Position) -> tuple[str, ...]:
        """The engine's plan from a position to the goal: commands; empty where it finds none.

        Meant for scenes of a dozen receptacles; in those of ALFWorld's own games it can take minutes, or for ever.
        """
        engine = _library()
        engine.take_to(self, position.path)
        engine.library.load_sas_replan(planner_task(self.problem, self.domain).encode())
        if not engine.library.replan(False):
            return ()
        operators = (fast_downward.Operator * engine.library.get_last_plan_length())()
        engine.library.get_last_plan(operators)
        return tuple(self._planned_command(operator.name) for operator in operators)

    def _position(self, path: tuple[Applied, ...], facts: Facts, text: str) -> Position:
        operators: dict[str, Operator] = {}
        for listed in _library().applicable():
            operator = self._operators.get(listed.id) or self._operator(listed, facts)
            command = operator.command or self._derive(operator.action.template, facts, operator.mapping)
            operators.setdefault(command, operator)
        return Position(path, facts, text, _library().library.check_goal(), operators)

    def _operator(self, listed: Any, facts: Facts) -> Operator:
        """An operator met for the first time, with a name such as `openobject agent1 loc_bar_1 fridge_bar_1`."""
        action, mapping = self._grounded(listed.name)
        asked = self.grammar.predicates(action.template)
        fixed = asked is not None and asked.isdisjoint(self.changing)
        command = self._derive(action.template, facts, mapping) if fixed else None
        operator = Operator(listed.name, (listed.id, listed.nb_effect_atoms), action, mapping, command)
        self._operators[listed.id] = operator
        return operator

    def _derive(self, text: str, facts: Facts, mapping: Mapping[Placeholder, Variable]) -> str:
        variables = {placeholder.name: self.entities[variable.name] for placeholder, variable in mapping.items()}
        context = {"state": facts, "variables": variables, "mapping": mapping, "entity_infos": self.entities}
        return self.grammar.derive(text, context)

    def _grounded(self, operator: str) -> tuple[Any, Mapping[Placeholder, Variable]]:
        """The action of an operator and what it is applied to, from its name."""
        name, *arguments = operator.split()
        pairs = zip(self.parameters[name], arguments, strict=False)
        return self.actions[name], {
            Placeholder(asked, kind): Variable(argument, kind) for (asked, kind), argument in pairs
        }

    def _planned_command(self, operator: str) -> str:
        """As in the stock engine: a way to go is named by its receptacle."""
        action, mapping = self._grounded(operator)
        names = {asked.name: self.entities[variable.name].name for asked, variable in mapping.items()}
        template = "go to {r}" if action.name.lower() == "gotolocation" else action.template
        return template.format(**names)

    def _fact(self, atom: Any) -> Proposition:
        fact = self._fact_of_atom.get(atom.name)
        if fact is None:
            fact = self._fact_of_atom[atom.name] = atom.get_fact(self.type_of)
        return fact

    def _proposition(self, name: str, arguments: list[str]) -> Proposition:
        undeclared = next((argument for argument in arguments if argument not in self.type_of), None)
        if undeclared is not None:
            raise ValueError(f"its problem does not declare {undeclared[:40]!r}")
        return Proposition(name, [Variable(argument, self.type_of[argument]) for argument in arguments])


class _Library:
    """A copy of Fast Downward's library, which holds one game in one position."""

    def __init__(self) -> None:
        self.library = fast_downward.load_lib()
        self._game: Game | None = None
        self._path: list[Applied] = []

    def take_to(self, game: Game, path: tuple[Applied, ...]) -> None:
        done = len(self._path)
        if self._game is not game or tuple(self._path) != path[:done]:
            self.library.load_sas(game.sas)
            self._game, self._path, done = game, [], 0
        for applied in path[done:]:
            self.apply(applied)

    def apply(self, applied: Applied) -> Any:
        """Apply an operator and return its effects, atoms."""
        number, effects = applied
        atoms = (pddl_logic.Atom * effects)()
        self.library.apply_operator(number, atoms)
        self._path.append(applied)
        return atoms

    def state(self) -> Any:
        """Atoms, true or negated."""
        atoms = (pddl_logic.Atom * self.library.get_state_size())()
        self.library.get_state(atoms)
        return atoms

    def applicable(self) -> Any:
        """Applicable operators in the engine's order."""
        operators = (fast_downward.Operator * self.library.get_applicable_operators_count())()
        self.library.get_applicable_operators(operators)
        return operators


@lru_cache(maxsize=1)
def _library() -> _Library:
    return _Library()


@lru_cache(maxsize=4)
def _logic(domain: str, grammar: str) -> tuple[Mapping[str, Any], FastGrammar]:
    """Actions and texts of a release."""
    logic = pddl_logic.GameLogic(domain=domain, grammar=grammar)
    return logic.actions, FastGrammar.of(logic.grammar)


def _entity(name: str, kind: str, shown: str) -> EntityInfo:
    entity = EntityInfo(name, kind)
    entity.name, entity.definite, entity.indefinite = shown, "the", "a"
    return entity


def display_names(identifiers: set[str]) -> dict[str, str]:
    """What a person sees for `cabinet_bar_02` and the like: the kind and a number.

    ALFWorld's own rule (its `Demangler`): the identifiers of a kind, sorted, are numbered downwards.
    """
    kinds: dict[str, str] = {}
    for identifier in sorted(identifiers):
        kind, separator, _ = identifier.partition("_bar_")
        kinds[identifier] = kind + ("basin" if "basin" in identifier else "") if separator else ""
    left = {kind: list(kinds.values()).count(kind) for kind in set(kinds.values())}
    names = {}
    for identifier, kind in kinds.items():
        names[identifier] = f"{kind} {left[kind]}" if kind else f"{identifier} "
        left[kind] -= 1
    return names
