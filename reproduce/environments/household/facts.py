"""The facts of a position, and every way to match a query of the grammar against them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from textworld.logic import Placeholder, Proposition, Rule, Signature, TypeHierarchy, Variable


class Facts:
    """What is true, by signature and in sorted order. Immutable: a change gives other facts, sharing what is equal."""

    def __init__(self, by_signature: Mapping[Signature, tuple[Proposition, ...]], types: TypeHierarchy) -> None:
        self.by_signature, self.types = by_signature, types

    def changed(self, effects: list[Proposition]) -> Facts:
        """The facts after effects; a negated effect is itself a fact, as in the stock engine."""
        changed: dict[Signature, set[Proposition]] = {}
        for effect in effects:
            opposite = effect.negate()
            for signature in (opposite.signature, effect.signature):
                changed.setdefault(signature, set(self.by_signature.get(signature, ())))
            changed[opposite.signature].discard(opposite)
            changed[effect.signature].add(effect)
        by_signature = {**self.by_signature, **{name: tuple(sorted(facts)) for name, facts in changed.items()}}
        return Facts(by_signature, self.types)

    def named(self, predicate: str) -> Iterator[tuple[str, ...]]:
        """Names of the arguments of all facts of one predicate."""
        for signature, facts in self.by_signature.items():
            if signature.name == predicate:
                yield from (fact.names for fact in facts)

    def all_assignments(
        self, rule: Rule, mapping: Mapping[Placeholder, Variable]
    ) -> Iterator[Mapping[Placeholder, Variable]]:
        """Every way to match the rule's conditions, in the order of TextWorld's `State.all_assignments`."""
        return self._assignments(rule.preconditions, dict(mapping))

    def _assignments(
        self, conditions: tuple[Any, ...], mapping: dict[Placeholder, Variable]
    ) -> Iterator[Mapping[Placeholder, Variable]]:
        if not conditions:
            yield mapping
            return
        condition = conditions[0]
        for fact in self._candidates(condition.signature):
            extended = dict(mapping)
            for placeholder, variable in zip(condition.parameters, fact.arguments, strict=True):
                known = extended.get(placeholder)
                # Two placeholders never stand for one thing.
                if known != variable and (known is not None or variable in extended.values()):
                    break
                extended[placeholder] = variable
            else:
                yield from self._assignments(conditions[1:], extended)

    def _candidates(self, signature: Signature) -> Iterator[Proposition]:
        for subtypes in self.types.multi_subtypes([self.types.get(name) for name in signature.types]):
            yield from self.by_signature.get(Signature(signature.name, [kind.name for kind in subtypes]), ())
