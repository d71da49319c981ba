"""TextWorld's context-sensitive grammar without its repeated work: a drop-in `ContextSensitiveGrammar`.

The stock grammar writes the same texts, but parses every template, condition and query again at each use, and copies
the context deeply at each symbol: that is where a step of the stock engine spends its time. Here each is parsed once,
contexts are shared, and expressions such as `r.name or r.id` are read by a small interpreter instead of `eval`, so
that a grammar can name and join entities' fields and nothing else.

Whoever wants stock TextWorld to be faster assigns `FastGrammar.of(logic.grammar)` to the `grammar` of a `GameLogic`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from textworld.envs.pddl import textgen
from textworld.logic import Placeholder, Rule, Variable

Variables = Mapping[str, Any]
"""Entities by the name that an expression calls them."""
FIELDS = frozenset({"id", "name", "definite", "indefinite"})
"""What an expression may ask of an entity."""


@dataclass(frozen=True)
class _Scene:
    """What a symbol is derived in. Nothing below changes it."""

    state: Any
    variables: Variables
    mapping: Mapping[Placeholder, Variable]
    entities: Mapping[str, Any]

    def matches(self, query: str) -> Iterator[Mapping[Placeholder, Variable]]:
        return self.state.all_assignments(_rule(query), self.mapping)

    def extended(self, mapping: Mapping[Placeholder, Variable]) -> _Scene:
        found = {placeholder.name: self.entities[variable.name] for placeholder, variable in mapping.items()}
        return _Scene(self.state, {**self.variables, **found}, {**self.mapping, **mapping}, self.entities)


class FastGrammar(textgen.ContextSensitiveGrammar):
    """The same rules, and the same text for the same context."""

    @classmethod
    def of(cls, grammar: textgen.ContextSensitiveGrammar) -> FastGrammar:
        """A grammar with the rules of another one."""
        fast = cls()
        fast.update(grammar)
        return fast

    def derive(self, start: str, context: Mapping[str, Any]) -> str:
        """The text of `start`. Raises CSGUnknownSymbolError for an unknown symbol, ValueError for an expression that
        does more than read and join fields."""
        scene = _Scene(context["state"], context["variables"], context["mapping"], context["entity_infos"])
        return "".join(self._text(symbol, scene) for symbol in _symbols(start))

    def predicates(self, text: str) -> frozenset[str] | None:
        """Predicates that decide what a text becomes; None where other rules of the grammar do, too."""
        asked: set[str] = set()
        for symbol in _symbols(text):
            inner = symbol.symbol if isinstance(symbol, textgen.ListSymbol) else symbol
            match inner:
                case textgen.TerminalSymbol() | textgen.EvalSymbol():
                    continue
                case textgen.ConditionalSymbol(expression=textgen.EvalSymbol(), given=given):
                    conditions = _rule(given).preconditions if given else ()
                    asked |= {condition.name for condition in conditions}
                case _:
                    return None
        return frozenset(asked)

    def _text(self, symbol: textgen.Symbol, scene: _Scene) -> str:
        match symbol:
            case textgen.TerminalSymbol():
                return str(symbol)
            case textgen.NonterminalSymbol():
                return "".join(self._text(part, scene) for part in self._production(symbol, scene))
            case textgen.ListSymbol():
                return self._listed(self._items(symbol.symbol, scene), scene)
            case textgen.ConditionalSymbol():
                return "".join(self._items(symbol, scene))
            case _:
                return str(_expression(symbol.expression)(scene.variables))

    def _production(self, symbol: textgen.Symbol, scene: _Scene) -> list[textgen.Symbol]:
        """Right-hand side of the first rule whose condition holds."""
        rules = self._rules.get(str(symbol))
        if not rules:
            raise textgen.CSGUnknownSymbolError(symbol)
        return next(
            rule.rhs for rule in rules if not rule.condition or any(True for _ in scene.matches(rule.condition))
        )

    def _items(self, symbol: textgen.ConditionalSymbol, scene: _Scene) -> list[str]:
        """One text for each match of the query."""
        scenes = map(scene.extended, scene.matches(symbol.given)) if symbol.given else [scene]
        return [self._text(symbol.expression, inner) for inner in scenes]

    def _listed(self, items: list[str], scene: _Scene) -> str:
        if not items:
            return self._text(textgen.NonterminalSymbol("list_empty"), scene)
        if len(items) == 1:
            return items[0]
        separator = self._text(textgen.NonterminalSymbol("list_separator"), scene)
        return (
            separator.join(items[:-1]) + self._text(textgen.NonterminalSymbol("list_last_separator"), scene) + items[-1]
        )


@lru_cache(maxsize=4096)
def _symbols(text: str) -> list[textgen.Symbol]:
    return textgen._parse_and_convert(text, rule_name="symbols")


@lru_cache(maxsize=1024)
def _rule(query: str) -> Rule:
    return Rule.parse_conjunctive_query(query)


@lru_cache(maxsize=1024)
def _expression(text: str) -> Callable[[Variables], Any]:
    return _reader(ast.parse(text.strip(), mode="eval").body)


def _reader(node: ast.expr) -> Callable[[Variables], Any]:
    """Reads one expression: an entity, its field, a text, texts joined by `+`, or the first of several that is set."""
    match node:
        case ast.Name(id=name):
            return lambda variables: variables[name]
        case ast.Attribute(value=ast.Name(id=name), attr=field) if field in FIELDS:
            return lambda variables: getattr(variables[name], field)
        case ast.Constant(value=str() as text):
            return lambda variables: text
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            first, second = _reader(left), _reader(right)
            return lambda variables: first(variables) + second(variables)
        case ast.BoolOp(op=ast.Or(), values=values):
            readers = [_reader(value) for value in values]
            return lambda variables: (
                next((value for read in readers[:-1] if (value := read(variables))), None) or readers[-1](variables)
            )
    raise ValueError(f"a grammar may not ask for {ast.unparse(node)}")
