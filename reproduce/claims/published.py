"""What the papers printed, one TOML file a paper, each value with its provenance.

A report sets our number beside the paper's; both come from files, none is typed by hand. A file holds `[[number]]` and
`[[setting]]` entries, and `[[table]]` entries for numbers that share all but their row and their column.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any, TypeVar

from reproduce.core.names import nearest
from reproduce.core.paper import paper_file, paper_keys
from reproduce.core.validation import parse

Entry = TypeVar("Entry")

CellValue = int | float | str
SettingValue = int | float | str | tuple[int | float | str, ...]


class PublishedError(ValueError):
    """A paper without a file, an entry that does not exist, or an entry that is not complete."""


PUBLISHED = "published.toml"


@dataclass(frozen=True)
class PublishedPaper:
    """Which paper, and which version of it, a file of published numbers is about."""

    title: str
    arxiv: str
    version: str


@dataclass(frozen=True)
class PublishedNumber:
    """One number that a paper printed, or that a digest of it reports."""

    id: str
    """Unique within the paper: quantity, category, arm, and where needed k and T."""
    quantity: str
    """What was measured, such as `pass` or `boundary-size`."""
    value: int | float
    """The number as printed."""
    unit: str
    """The unit of `value`."""
    cell: Mapping[str, CellValue]
    """Where in the paper's tables the number belongs: category, arm, against, k, T."""
    sources: tuple[str, ...]
    """Source labels of the file, each with the place inside that source."""
    read_directly: bool
    """True only if the paper itself was read for it, False if a digest was."""
    inferred: tuple[str, ...] = ()
    """Keys of `cell` that no source states."""
    note: str | None = None
    """What a reader has to know before quoting the number."""


@dataclass(frozen=True)
class PublishedSetting:
    """One setting of a paper's experiment."""

    id: str
    """Unique within the paper."""
    value: SettingValue
    """The setting as stated."""
    sources: tuple[str, ...]
    """Source labels of the file, each with the place inside that source."""
    read_directly: bool
    """True only if the paper itself was read for it, False if a digest was."""
    unit: str | None = None
    """The unit of `value`, where it has one."""
    note: str | None = None
    """What a reader has to know before quoting the setting."""


def published_paper(paper: str) -> PublishedPaper:
    """The paper behind a key."""
    document = _document(paper)
    return PublishedPaper(document["title"], document["arxiv"], document["version"])


@dataclass(frozen=True)
class _PublishedTable:
    """A table as it was printed: each value becomes the number `id.row.column`."""

    id: str
    quantity: str
    unit: str
    cell: Mapping[str, CellValue]
    """What all numbers of the table share."""
    row: str
    """The key of `cell` that tells the rows apart, such as `arm`."""
    column: str
    """The key of `cell` that tells the columns apart, such as `benchmark`."""
    columns: tuple[CellValue, ...]
    rows: Mapping[str, list[int | float]]
    """One value for each column, under the name of the row."""
    sources: tuple[str, ...]
    read_directly: bool
    inferred: tuple[str, ...] = ()
    note: str | None = None


@cache
def load_published(paper: str) -> tuple[PublishedNumber, ...]:
    """All published numbers of a paper: its single numbers, then its tables, each in the order of the file."""
    tables = _entries(paper, "table", _PublishedTable)
    return (
        *_entries(paper, "number", PublishedNumber),
        *(number for printed in tables for number in _numbers_of(paper, printed)),
    )


@cache
def load_settings(paper: str) -> tuple[PublishedSetting, ...]:
    """All published settings of a paper, in the order of its file."""
    return tuple(_entries(paper, "setting", PublishedSetting))


def published_number(paper: str, identifier: str) -> PublishedNumber:
    """The published number of that id."""
    numbers = {number.id: number for number in load_published(paper)}
    if identifier not in numbers:
        raise PublishedError(f"{paper}.toml has no number {identifier!r}; {nearest(identifier, tuple(numbers))}")
    return numbers[identifier]


@cache
def published_values(paper: str) -> Mapping[str, int | float]:
    """The value of every published number of a paper by id."""
    return MappingProxyType({number.id: number.value for number in load_published(paper)})


@cache
def setting_values(paper: str) -> Mapping[str, SettingValue]:
    """The value of every published setting of a paper by id."""
    return MappingProxyType({setting.id: setting.value for setting in load_settings(paper)})


def whole_setting(paper: str, identifier: str) -> int:
    """A published setting that is a whole number; TypeError if it is not."""
    value = setting_values(paper)[identifier]
    if not isinstance(value, int):
        raise TypeError(f"{paper}.toml: {identifier} is {value!r}, not a whole number")
    return value


def published_papers() -> tuple[str, ...]:
    """The papers that have a file of published numbers."""
    return tuple(sorted(key for key in paper_keys() if paper_file(key, PUBLISHED).is_file()))


@cache
def _document(paper: str) -> dict[str, Any]:
    papers = published_papers()
    if paper not in papers:
        raise PublishedError(f"no published numbers for paper {paper!r}; {nearest(paper, papers)}")
    try:
        return tomllib.loads(paper_file(paper, PUBLISHED).read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise PublishedError(f"{paper}.toml cannot be read: {error}") from error


def _entries(paper: str, kind: str, shape: type[Entry]) -> Iterator[Entry]:
    """The entries of one kind, each complete, with sources that the file defines."""
    document = _document(paper)
    labels = document.get("sources", {})
    for position, raw in enumerate(document.get(kind, ())):
        place = f"{paper}.toml, {kind} {raw.get('id', position + 1)!r}"
        try:
            entry: Any = parse(shape, raw)
        except ValueError as error:
            raise PublishedError(f"{place}: {error}") from None
        if not entry.sources:
            raise PublishedError(f"{place}: no source")
        for source in entry.sources:
            if not any(source == label or source.startswith(f"{label} ") for label in labels):
                raise PublishedError(f"{place}: source {source!r} is not defined under [sources]")
        if stray := [name for name in getattr(entry, "inferred", ()) if name not in entry.cell]:
            raise PublishedError(f"{place}: inferred names {', '.join(stray)}, which the cell does not hold")
        yield entry


def _numbers_of(paper: str, table: _PublishedTable) -> Iterator[PublishedNumber]:
    for row, values in table.rows.items():
        if len(values) != len(table.columns):
            place = f"{paper}.toml, table {table.id!r}, row {row!r}"
            raise PublishedError(f"{place}: {len(values)} values under {len(table.columns)} columns")
        for column, value in zip(table.columns, values, strict=True):
            yield PublishedNumber(
                id=f"{table.id}.{row}.{column}",
                quantity=table.quantity,
                value=value,
                unit=table.unit,
                cell={**table.cell, table.row: row, table.column: column},
                sources=table.sources,
                read_directly=table.read_directly,
                inferred=table.inferred,
                note=table.note,
            )
