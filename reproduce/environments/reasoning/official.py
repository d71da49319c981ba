"""Panels of math sets from a folder: train and test, and out-of-distribution sets where there are any."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from reproduce.core.files import UserError
from reproduce.core.names import nearest
from reproduce.environments.protocol import Panel
from reproduce.environments.reasoning.dataset import MathTask, load_dataset_tasks
from reproduce.environments.rows import State, files_of, states_of
from reproduce.environments.selection import check_apart, order_of, plain_question

ENDINGS = (".jsonl", ".parquet")
SPLITS = ("train", "test", "ood")
Sets = Mapping[str, Sequence[Path]]
"""Files of each category."""


def find_sets(source: Path) -> dict[str, Sets]:
    """The files of each set of each panel: train.jsonl, or train/NAME.jsonl for several sets; test and ood likewise.

    A single file is in both train and test: its questions are split. Raises UserError for a source that is not there,
    or that has no set to train on or to test.
    """
    if not source.exists():
        raise UserError(f"{source}: no such file or folder")
    if source.is_file():
        if source.suffix not in ENDINGS:
            raise UserError(f"{source}: not a .jsonl or .parquet file")
        return {"train": {source.stem: [source]}, "test": {source.stem: [source]}, "ood": {}}
    found = {name: _sets_of(source, name) for name in SPLITS}
    for name in ("train", "test"):
        if not found[name]:
            raise UserError(f"{source}: no {name}.jsonl or {name}.parquet, and no folder {name} with such files")
    return found


def _sets_of(folder: Path, name: str) -> Sets:
    whole, several = files_of(folder, name, ENDINGS), folder / name
    parts = sorted(file for file in several.iterdir() if file.suffix in ENDINGS) if several.is_dir() else []
    if whole and parts:
        raise UserError(f"{folder}: both {whole[0].name} and files in the folder {name}; leave one of them there")
    if whole:
        return {name: whole}
    sets: dict[str, list[Path]] = {}
    for file in parts:
        if file.stem in sets:
            raise UserError(f"{file}: there is {sets[file.stem][0].name}, too; a set is called by its file's name")
        sets[file.stem] = [file]
    return sets


def build_dataset_panels(
    source: Path,
    train_per_category: int,
    test_per_category: int,
    ood_per_category: int,
    categories: Sequence[str] = (),
    ood_categories: Sequence[str] = (),
) -> dict[str, Panel[MathTask]]:
    """The three panels of a folder of math sets, or of one file.

    A set is a category, named by its file (train or test where the panel has one file). The sizes are the most tasks
    of each category: all where there are fewer, else those whose questions have the first sha256; no seed plays a
    part. categories, ood_categories: the sets of test and of ood that are used; all when empty. Of a single file a
    fifth of the questions, by digest, is test. ood is empty where there is no such set.

    Raises UserError, naming file and row, for what cannot be used, for a panel without tasks where there should be
    some, and for a question of train that is in test or ood as well.
    """
    files = [file for sets in find_sets(source).values() for of_set in sets.values() for file in of_set]
    sizes = (train_per_category, test_per_category, ood_per_category)
    kept = _panels(source, sizes, tuple(categories), tuple(ood_categories), states_of(files))
    return {panel.name: panel for panel in kept}


@lru_cache(maxsize=4)
def _panels(
    source: Path,
    sizes: tuple[int, int, int],
    categories: tuple[str, ...],
    ood_categories: tuple[str, ...],
    states: tuple[State, ...],
) -> tuple[Panel[MathTask], ...]:
    """states: of the files, so that what was kept is not used once they have changed."""
    sets_of, trained, panels = find_sets(source), dict[str, str](), list[Panel[MathTask]]()
    for name, size, wanted in zip(SPLITS, sizes, ((), categories, ood_categories), strict=True):
        sets = _wanted(source, name, sets_of[name], wanted)
        chosen = [
            one
            for category, files in sets.items()
            for one in _chosen(_located(name, category, files, halved=source.is_file()), size)
        ]
        if size and sets and not chosen:
            raise UserError(f"{source}: no questions for {name}")
        forms = [(plain_question(task.question), place) for task, place in chosen]
        if name == "train":
            trained = dict(forms)
        else:
            check_apart(trained, forms)
        panels.append(Panel(name, tuple(task for task, _ in chosen)))
    return tuple(panels)


def _wanted(source: Path, name: str, sets: Sets, wanted: Sequence[str]) -> Sets:
    for category in wanted:
        if category not in sets:
            raise UserError(f"{source}: no set {category!r} for {name}; {nearest(category, tuple(sets))}")
    return {category: sets[category] for category in wanted} if wanted else sets


def _located(name: str, category: str, files: Sequence[Path], halved: bool) -> Iterator[tuple[MathTask, str]]:
    """Every task of a set, and its file and row. halved: whether train and test share one file."""
    label, before = name if category == name else f"{name}-{category}", 0
    for file in files:
        tasks = load_dataset_tasks(file, category)
        for row, task in enumerate(tasks, start=1):
            if halved and (order_of(plain_question(task.question))[0] % 5 == 0) != (name == "test"):
                continue
            yield replace(task, identifier=f"{label}-{before + row:05d}"), f"{file}: row {row}"
        before += len(tasks)


def _chosen(tasks: Iterator[tuple[MathTask, str]], most: int) -> list[tuple[MathTask, str]]:
    return sorted(tasks, key=lambda one: (order_of(plain_question(one[0].question)), one[0].identifier))[:most]
