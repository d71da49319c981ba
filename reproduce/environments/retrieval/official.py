"""Panels of HotpotQA, 2WikiMultihopQA or MuSiQue from a folder, and the questions without a tool beside them."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from reproduce.core.files import UserError
from reproduce.environments.protocol import Panel
from reproduce.environments.reasoning.dataset import check_grader, load_dataset_tasks
from reproduce.environments.retrieval.hotpot import TYPES, Candidate, HotpotTask, is_musique, read_candidates, task_of
from reproduce.environments.retrieval.musique import musique_task
from reproduce.environments.rows import State, files_of, states_of
from reproduce.environments.selection import check_apart, order_of, plain_question

NAMED = (
    {"train": "hotpot_train_v1.1", "test": "hotpot_dev_distractor_v1"},
    {"train": "train", "test": "dev"},
    {"train": "musique_ans_v1.0_train", "test": "musique_ans_v1.0_dev"},
)
"""The authors' files of HotpotQA (.json), 2WikiMultihopQA (.json, or .parquet in copies) and MuSiQue (.jsonl)."""
SHARDS = {"train": "train", "test": "validation"}
"""Hugging Face's files, NAME-00000-of-00002.parquet, in the folder itself or in `distractor`."""
ENDINGS = (".json", ".jsonl", ".parquet")
STATIC = "static"
"""Name of the file with questions without a tool (category A: MATH-500), .jsonl or .parquet."""
HOW_TO_GET = (
    "hotpot_train_v1.1.json and hotpot_dev_distractor_v1.json are at hotpotqa.github.io; or hf download "
    "hotpotqa/hotpot_qa --repo-type dataset --include 'distractor/*'; train.json and dev.json of 2WikiMultihopQA and "
    "musique_ans_v1.0_{train,dev}.jsonl of MuSiQue do as well"
)


def find_files(folder: Path) -> dict[str, list[Path]]:
    """The files of train and test, and of static where there is one; none of them is read. Raises UserError for a
    folder or a file that is not there, and where answers without a tool could not be graded."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; it should hold HotpotQA: {HOW_TO_GET}")
    found: dict[str, list[Path]] = {}
    sets: Sequence[Mapping[str, str]] = NAMED
    for panel, shards in SHARDS.items():
        versions = [(names, files) for names in sets if (files := files_of(folder, names[panel], ENDINGS))]
        # Shards called as a file of the sets were found with it.
        own = [] if shards in [names[panel] for names in sets] else [folder]
        places = [*own, folder / "distractor"] if NAMED[0] in sets else []
        versions += [(NAMED[0], files) for place in places if (files := files_of(place, shards, (".parquet",)))]
        if not versions:
            raise UserError(f"{folder}: neither {sets[0][panel]}.json nor {shards}-*.parquet; {HOW_TO_GET}")
        if len(versions) > 1:
            both = [files[0].name for _, files in versions]
            raise UserError(f"{folder}: both {both[0]} and {both[1]}; leave one of them there")
        names, found[panel] = versions[0]
        # Shards called `train` may be of either of the first two sets, which are read alike.
        sets = NAMED[:2] if names["train"] == shards else (names,)
    found[STATIC] = files_of(folder, STATIC, (".jsonl", ".parquet"))
    if found[STATIC]:
        check_grader()
    return found


def build_hotpot_panels(folder: Path, train_per_category: int, test_per_category: int) -> dict[str, Panel[HotpotTask]]:
    """The panels of a set: train from its training file, test from its development file; ood is empty.

    train: comparison and bridge; test: static where the folder has such a file, comparison, bridge. MuSiQue has bridge
    questions only; 2WikiMultihopQA's compositional and inference questions count as bridge. Each category has
    exactly as many questions as the size says, those whose identifiers have the first sha256; no seed plays a part.
    Left out are questions that cannot be asked (`hotpot.task_of`). Files of half a gigabyte are read in some ten
    seconds, once in a process, a row at a time.

    Raises UserError, naming file and row, for what cannot be used, for a category with too few questions, and for a
    question of train that is in test as well.
    """
    files = find_files(folder)
    kept = _panels(
        folder, train_per_category, test_per_category, states_of([one for of in files.values() for one in of])
    )
    return {panel.name: panel for panel in kept}


@lru_cache(maxsize=4)
def _panels(folder: Path, train: int, test: int, states: tuple[State, ...]) -> tuple[Panel[HotpotTask], ...]:
    """states: of the files, so that what was kept is not used once they have changed."""
    files = find_files(folder)
    trained, tested = _chosen(files["train"], train), _chosen(files["test"], test)
    questions = {plain_question(task.question): candidate.place for candidate, task in trained}
    check_apart(questions, [(plain_question(task.question), candidate.place) for candidate, task in tested])
    static = _static_tasks(files[STATIC][0], test) if files[STATIC] and test else ()
    return (
        Panel("train", tuple(task for _, task in trained)),
        Panel("test", (*static, *(task for _, task in tested))),
        Panel("ood", ()),
    )


def _chosen(files: Sequence[Path], count: int) -> list[tuple[Candidate, HotpotTask]]:
    """`count` questions of each type."""
    if not count:
        return []
    chosen = _Chosen(count)
    for file in files:
        for candidate in read_candidates(file):
            chosen.consider(candidate)
    for category in chosen.categories:
        if (found := len(chosen.kept[category])) < count:
            raise UserError(f"{files[0]}: {found} questions of type {category} that can be asked, {count} wanted")
    return [one for category in chosen.categories for one in chosen.of(category)]


class _Chosen:
    """The questions of each type whose identifiers have the first digests, so far."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.seen: dict[str, str] = {}
        self.categories: tuple[str, ...] = TYPES
        # Heaps with the last digest on top, as the integer that it is with its sign turned.
        self.kept: dict[str, list[tuple[int, Candidate, HotpotTask]]] = {category: [] for category in TYPES}

    def consider(self, candidate: Candidate) -> None:
        """Keep a question if it is one of the first; its paragraphs are read only then."""
        if candidate.identifier in self.seen:
            raise UserError(
                f"{candidate.place} has the identifier of {self.seen[candidate.identifier]}, "
                f"{candidate.identifier[:80]!r}"
            )
        self.seen[candidate.identifier] = candidate.place
        heap, rank = self.kept[candidate.category], -int.from_bytes(order_of(candidate.identifier), "big")
        if len(heap) == self.count and rank <= heap[0][0]:
            return
        if is_musique(candidate.row):
            self.categories, task = ("bridge",), musique_task(candidate)
        else:
            task = task_of(candidate)
        if task is None:
            return
        if len(heap) < self.count:
            heapq.heappush(heap, (rank, candidate, task))
        else:
            heapq.heapreplace(heap, (rank, candidate, task))

    def of(self, category: str) -> list[tuple[Candidate, HotpotTask]]:
        """What was kept of a type, in order."""
        return [(candidate, task) for _, candidate, task in sorted(self.kept[category], reverse=True)]


def _static_tasks(file: Path, count: int) -> tuple[HotpotTask, ...]:
    tasks = load_dataset_tasks(file, STATIC)
    if len(tasks) < count:
        raise UserError(f"{file}: {len(tasks)} questions, {count} wanted")
    first = sorted(tasks, key=lambda task: order_of(task.identifier))[:count]
    return tuple(HotpotTask(task.identifier, STATIC, task.question, task.answer, 0, (), (), (), ()) for task in first)
