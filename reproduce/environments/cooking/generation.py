"""Games made by TextWorld: written and compiled by its own cooking challenge, kept in the cache, read back as tasks.

Three things are changed around a call of TextWorld's `cooking.make`; the rest is TextWorld's.

1. **Preparations.** With the skill `cook` TextWorld drops preparations that need no cooking, without it it does not, so
   a raw ingredient or a bottle of milk would tell which kind a game is of. We give both kinds the tables that the skill
   leaves (and likewise for `cut`). The same seed then gives the same kitchen and the same cookbook in both kinds, and
   only inspecting the food tells them apart.
2. **Knowledge base.** It is parsed once a process, not once a game.
3. **Walkthrough.** TextWorld compiles and plays each game once more to note the actions of its quests, which enter
   Inform's test scripts (`Test quest1_0 with ...`) and nothing else; this is left out.

A test compares the source text of the story with and without 2 and 3.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import json
import random
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from reproduce.core.files import UserError, digest
from reproduce.core.machine import available_cores
from reproduce.environments.cache import cache_folder, is_intact, obtain
from reproduce.environments.cooking.facts import world_of
from reproduce.environments.cooking.tasks import COOK_ON, CookingTask, Level, World, world_from_json

STORY, FACTS = "story.z8", "facts.json"
SPLIT_OF_PANEL = {"train": "train", "test": "train", "ood": "test"}
"""TextWorld's split of foods and preparations. Its `valid` is not used."""
FORMAT = 1
"""Rises when the content of an entry changes without a change of the engine."""
_CHANGING_TEXTWORLD = threading.Lock()
"""Held while TextWorld's tables are replaced."""


@dataclass(frozen=True)
class Request:
    """What determines a game."""

    panel: str
    panel_seed: int
    place: int
    level: Level
    category: str

    @property
    def identifier(self) -> str:
        return f"{self.panel}-{self.category}-{self.level.label}-{self.panel_seed}-{self.place:04d}"


def textworld_version() -> str:
    """Of the installed package. Raises UserError without it."""
    if not _is_installed():
        raise UserError("cooking needs textworld; install rl-claims[cooking]")
    return version("textworld")


@functools.cache
def _is_installed() -> bool:
    from importlib.util import find_spec

    return all(find_spec(name) is not None for name in ("textworld", "jericho"))


def recipe_of(request: Request) -> dict[str, Any]:
    """The entry of the cache that holds the game."""
    return {**asdict(request), "textworld": textworld_version(), "format": FORMAT}


def request_of(task: CookingTask) -> Request:
    """The request that a task answers."""
    return Request(task.panel, task.panel_seed, task.place, task.level, task.category)


def obtain_game(request: Request) -> Path:
    """The folder of the game, made first where it is missing or damaged.

    Raises UserError that names the game where TextWorld cannot make it.
    """
    recipe = recipe_of(request)
    try:
        return obtain(cache_folder("cooking"), recipe, functools.partial(_build, request))
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"cooking game {request.identifier} cannot be made: {type(error).__name__}: {error}") from error


def read_task(request: Request, folder: Path) -> CookingTask:
    """The task of a game in the cache. Raises UserError that names the game if it cannot be read or is no story."""
    try:
        with (folder / STORY).open("rb") as story:
            if story.read(1) != b"\x08":
                raise ValueError(f"{STORY} is not a story of version 8")
        content = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        world, game_seed = world_from_json(content["world"]), int(content["game_seed"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"cooking game {request.identifier} in {folder} does not load: {error}") from None
    return CookingTask(
        request.identifier,
        request.category,
        request.panel,
        request.panel_seed,
        request.place,
        request.level,
        game_seed,
        world,
    )


def make_missing(requests: Sequence[Request], workers: int | None = None) -> None:
    """Make what the cache lacks, `workers` games at a time (as many as this process has cores, if None).

    Threads do: nearly all the time goes into Inform's compilers, which are processes of their own. A game that cannot
    be made is left out here; `obtain_game` names it.
    """
    folder = cache_folder("cooking")
    missing = [request for request in requests if not is_intact(folder / digest(recipe_of(request)))]
    if not missing:
        return
    pool = ThreadPoolExecutor(workers or available_cores())
    try:
        for _ in pool.map(_make_quietly, missing):
            pass
    finally:
        pool.shutdown(cancel_futures=True)


def _make_quietly(request: Request) -> None:
    with contextlib.suppress(UserError):
        obtain_game(request)


def _build(request: Request, folder: Path) -> None:
    """Write the first game of the request's sequence of seeds that belongs to its panel.

    Games of the panels `train` and `test` have one distribution and are told apart by a digest of their form, so no
    game can be in both, whatever the seeds. The category takes no part in it: twins stay together.
    """
    for attempt in itertools.count():
        label = f"{request.panel_seed} {request.panel} {request.place} {asdict(request.level)} {attempt}"
        game_seed = random.Random(label).randrange(2**31 - 1)
        game, options = make_game(
            game_seed, SPLIT_OF_PANEL[request.panel], request.level, request.category == COOK_ON, folder / STORY
        )
        world = world_of(game)
        if request.panel == "ood" or panel_of(world) == request.panel:
            break
    from textworld.generator import compile_game

    compile_game(game, options)
    for leftover in folder.iterdir():
        if leftover.name != STORY:
            leftover.unlink()
    content = json.dumps({"game_seed": game_seed, "world": asdict(world)}, indent=1)
    (folder / FACTS).write_text(content + "\n", encoding="utf-8")


def panel_of(world: World) -> str:
    """`train` or `test`, each for half of the games, by a digest of the canonical form."""
    return "train" if hashlib.sha256(world.canonical_form.encode()).digest()[0] % 2 == 0 else "test"


def make_game(seed: int, split: str, level: Level, cook: bool, story: Path) -> tuple[Any, Any]:
    """A textworld.Game and its options, not compiled yet.

    seed: for textworld.GameOptions. split: TextWorld's, `train` or `test`. story: where it is to be compiled to.
    """
    textworld_version()
    import textworld
    from textworld.challenges.tw_cooking import cooking

    options = textworld.GameOptions()
    options.seeds = seed
    options.path = str(story)
    options.force_recompile = True
    settings = {
        "recipe": level.recipe,
        "take": level.take,
        "go": level.rooms,
        "open": level.closed,
        "cook": cook,
        "cut": level.cut,
        "drop": False,
        "recipe_seed": 0,
        "split": split,
    }
    with _CHANGING_TEXTWORLD, prepared_alike(split, level.cut), without_repeated_work():
        return cooking.make(settings, options), options


@contextlib.contextmanager
def prepared_alike(split: str, cut: bool) -> Iterator[None]:
    """TextWorld's tables of a split without what its skills `cook` and, if `cut`, `cut` leave out.

    Left out are raw (and uncut) preparations, and foods with no other.
    """
    from textworld.challenges.tw_cooking import cooking

    def kept(preparations: dict[str, list[tuple[str, str]]]) -> dict[str, list[tuple[str, str]]]:
        kept_pairs = {
            food: [pair for pair in pairs if pair[0] != "raw" and not (cut and pair[1] == "uncut")]
            for food, pairs in preparations.items()
        }
        return {food: pairs for food, pairs in kept_pairs.items() if pairs}

    every = cooking.get_food_preparations
    table = kept(cooking.FOOD_PREPARATIONS_SPLITS[split])
    new_foods = kept(every(cooking.FOODS_SPLITS[split]))
    replaced = {
        "FOOD_PREPARATIONS_SPLITS": {split: table},
        "FOODS_SPLITS": {
            split: [food for food in cooking.FOODS_SPLITS[split] if food in new_foods],
            "train": [food for food in cooking.FOODS_SPLITS["train"] if food in table],
        },
        "get_food_preparations": lambda foods: kept(every(foods)),
    }
    with _replaced(cooking, replaced):
        yield


@contextlib.contextmanager
def without_repeated_work() -> Iterator[None]:
    """The knowledge base is parsed once a process, and no game is compiled just to annotate its quests."""
    import textworld
    from textworld.challenges.tw_cooking import cooking

    loaded = type("KnowledgeBase", (), {"load": staticmethod(_knowledge_base)})
    with (
        _replaced(cooking, {"KnowledgeBase": loaded}),
        _replaced(textworld.GameMaker, {"set_walkthrough": lambda self, commands: None}),
    ):
        yield


@functools.cache
def _knowledge_base(logic_path: str, grammar_path: str) -> Any:
    from textworld.generator.data import KnowledgeBase

    return KnowledgeBase.load(logic_path=logic_path, grammar_path=grammar_path)


@contextlib.contextmanager
def _replaced(owner: Any, values: dict[str, Any]) -> Iterator[None]:
    before = {name: getattr(owner, name) for name in values}
    try:
        for name, value in values.items():
            setattr(owner, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(owner, name, value)
