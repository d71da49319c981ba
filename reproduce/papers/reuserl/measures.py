"""What the records keep of a run of ReuseRL: sums for each task, distinct skill strings, and the learned phrases."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reproduce.claims.records import TASK, MethodRecords, load_method_records
from reproduce.core.config import RunConfig
from reproduce.core.files import UserError, read_json, write_json
from reproduce.environments.cooking import SKILLS as COOKING_SKILLS
from reproduce.environments.countdown import SKILLS as COUNTDOWN_SKILLS
from reproduce.environments.household import SKILLS as HOUSEHOLD_SKILLS
from reproduce.papers.reuserl.experiment import KEY
from theory.segmentation import phrase_counts, segment
from theory.skill_strings import SkillDictionary

if TYPE_CHECKING:
    import pandas as pd

ALPHABETS = {"countdown": COUNTDOWN_SKILLS, "cooking": COOKING_SKILLS, "household": HOUSEHOLD_SKILLS}
"""Symbols of each environment, `invalid` last."""
DICTIONARY = "dictionary.json"
"""File of a run folder: the dictionary that training ended with."""
TRAINING_COLUMNS = (
    "reward",
    "groups/all_wrong",
    "groups/mixed",
    "groups/all_right",
    "entropy",
    "grad_norm",
    "tokens/sampled",
    "tokens/trained",
    "reuse/success",
    "reuse/success_cost",
    "reuse/success_segments",
    "reuse/success_length",
    "reuse/rank_correlation",
    "reuse/distinct_successes",
    "reuse/success_entropy",
    "reuse/longest_run",
    "reuse/phrases",
    "reuse/dictionary_bits",
    "reuse/corpus",
    "reuse/invalid_share",
)
LENGTH_CAP = 4
"""L of the dictionary of a run that has none of its own."""
OPERATIONS, MULTIPLICATIVE = {"add", "sub", "mul", "div"}, {"mul", "div"}


def longest_run(symbols: Sequence[str]) -> int:
    """Longest run of one symbol; 0 for no symbol."""
    return max((sum(1 for _ in run) for _, run in itertools.groupby(symbols)), default=0)


def measure_tasks(config: RunConfig, episodes: pd.DataFrame) -> pd.DataFrame:
    """Sums over the episodes of each task: the longest run of one symbol, of all episodes and of successes; in
    countdown also operations, those that multiply or divide, and successes without a reset."""
    import pandas as pd

    skills = episodes["skills"].astype(str).str.split()
    success = episodes["success"].astype(bool)
    runs = skills.map(longest_run)
    frame = pd.DataFrame({name: episodes[name].astype(str) for name in TASK})
    frame["longest_run"], frame["longest_run_of_successes"] = runs, runs.where(success, 0)
    if config.environment == "countdown":
        frame["operations"] = [sum(symbol in OPERATIONS for symbol in symbols) for symbols in skills]
        frame["multiplicative"] = [sum(symbol in MULTIPLICATIVE for symbol in symbols) for symbols in skills]
        frame["successes_without_reset"] = [
            int(solved and "reset" not in symbols) for solved, symbols in zip(success, skills, strict=True)
        ]
    return frame.groupby(TASK, sort=True, observed=True).sum().reset_index()


def write_dictionary(folder: Path, phrases: Iterable[Sequence[str]], max_phrase_length: int) -> None:
    """Keep the phrases, in words, that a run ended with."""
    content = {"phrases": [list(phrase) for phrase in phrases], "max_phrase_length": max_phrase_length}
    write_json(folder / DICTIONARY, content)


def read_dictionary(folder: Path, environment: str) -> SkillDictionary:
    """The dictionary that a run ended with; single symbols alone for a run that has none (the base)."""
    alphabet = ALPHABETS[environment]
    if not (folder / DICTIONARY).exists():
        return SkillDictionary(len(alphabet), LENGTH_CAP)
    content = read_json(folder / DICTIONARY)
    phrases = tuple(tuple(alphabet.index(symbol) for symbol in phrase) for phrase in content["phrases"])
    return SkillDictionary(len(alphabet), content["max_phrase_length"], phrases)


def encoded(skills: Iterable[str], environment: str) -> list[bytes]:
    """Skill strings in words, symbols joined by blanks, as bytes of symbol numbers."""
    number = {symbol: place for place, symbol in enumerate(ALPHABETS[environment])}
    return [bytes(number[symbol] for symbol in string.split()) for string in skills]


def further_records(config: RunConfig, folder: Path, episodes: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """`strings`: each distinct skill string with panel, horizon T, outcome, kind of failure, how many episodes had it,
    and its phrases under the run's own final dictionary. `phrases`: of that dictionary, in words, with how often the
    successes on the test panel use each (none for a run without a dictionary)."""
    dictionary = read_dictionary(folder, config.environment)
    columns = ["panel", "T", "success", "failure", "skills"]
    frame = episodes[columns].astype({"panel": str, "T": int, "success": bool, "failure": str, "skills": str})
    strings = frame.groupby(columns, sort=True).size().rename("count").reset_index()
    codes = encoded(strings["skills"], config.environment)
    strings["segments"] = phrase_counts(codes, dictionary) if codes else 0
    tables = {"strings": strings}
    if (folder / DICTIONARY).exists():
        solved = (strings["success"] & (strings["panel"] == "test")).to_numpy()
        counts = strings["count"].tolist()
        found = [(code, n) for code, n, wanted in zip(codes, counts, solved, strict=True) if wanted]
        tables["phrases"] = _phrase_table(dictionary, found, config.environment)
    return tables


def _phrase_table(dictionary: SkillDictionary, successes: list[tuple[bytes, int]], environment: str) -> pd.DataFrame:
    import pandas as pd

    uses: Counter[tuple[int, ...]] = Counter()
    for string, count in successes:
        for phrase in segment(string, dictionary):
            uses[phrase] += count
    words = ALPHABETS[environment]
    rows = [
        (" ".join(words[symbol] for symbol in phrase), len(phrase), uses[phrase], sum(n for _, n in successes))
        for phrase in dictionary.phrases
    ]
    frame = pd.DataFrame(rows, columns=["phrase", "length", "uses", "successes"])
    return frame.astype({"phrase": str, "length": int, "uses": int, "successes": int})


# ---- Reading the records


def read_records(folder: Path) -> MethodRecords:
    """The records in a folder. Raises UserError for those of another paper, or without the skill strings."""
    records = load_method_records(folder)
    others = sorted({str(run.get("paper")) for run in records.runs} - {KEY})
    if others:
        raise UserError(f"{folder / 'runs.jsonl'}: records of {', '.join(others)}, not of {KEY}")
    if "strings" not in records.tables:
        raise UserError(f"{folder / 'strings.parquet'}: no such file; run again with --redo")
    return records


def strings_of(
    records: MethodRecords, environment: str, arm: str, panel: str = "test", seed: int | None = None
) -> pd.DataFrame:
    """The distinct skill strings of an arm's successes with their counts, over all seeds or of one."""
    strings = records.tables["strings"]
    wanted = (strings["environment"] == environment) & (strings["arm"] == arm) & (strings["panel"] == panel)
    wanted &= strings["success"]
    if seed is not None:
        wanted &= strings["seed"] == seed
    return strings[wanted]


def dictionary_of(records: MethodRecords, environment: str, arm: str, seed: int) -> SkillDictionary:
    """The dictionary that a run ended with, from the records."""
    alphabet = ALPHABETS[environment]
    if "phrases" not in records.tables:
        return SkillDictionary(len(alphabet), LENGTH_CAP)
    table = records.tables["phrases"]
    wanted = (table["environment"] == environment) & (table["arm"] == arm) & (table["seed"] == seed)
    phrases = [tuple(encoded([phrase], environment)[0]) for phrase in table[wanted]["phrase"]]
    return SkillDictionary(len(alphabet), max([LENGTH_CAP, *map(len, phrases)]), tuple(phrases))


def drawn_law(strings: pd.DataFrame) -> np.ndarray:
    """Probability of each distinct string under the empirical law of the episodes."""
    counts = strings["count"].to_numpy(dtype=np.float64)
    return counts / counts.sum()


def logged(records: MethodRecords, environment: str, arm: str, column: str) -> np.ndarray:
    """One column of the training log, (seeds, steps); NaN where a step logged none, be it because no run ever did (no
    success, no cost of success)."""
    if column in records.training:
        return records.log(environment, arm, column)
    return np.full_like(records.log(environment, arm, "reward"), np.nan)


FEWEST_STEPS = 3
"""Steps that the start and the end of training have at least."""


def empty_share(records: MethodRecords, environment: str, arm: str = "segcost") -> float:
    """Share of an arm's steps, over all seeds, in which its dictionary held single symbols only."""
    return float((np.nan_to_num(logged(records, environment, arm, "reuse/phrases")) == 0).mean())


def was_empty(records: MethodRecords, environment: str, arm: str = "segcost") -> str:
    """Why an arm cannot be judged as SegCost: its dictionary was empty in more than half of its steps. Else ""."""
    share = empty_share(records, environment, arm)
    return f"{environment}: SegCost's dictionary was empty ({100 * share:.0f} % of the steps)" if share > 0.5 else ""
