"""The rows of all files as one array of counts: every episode once, every policy and question under its own name."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

import numpy as np
import pandas as pd

from reproduce.core.files import UserError
from reproduce.logs.episodes import MISSING, Column, EpisodeCounts, Log
from reproduce.logs.plain_tables import cap_column
from reproduce.logs.scores import Outcomes, ScoreRule, outcomes
from reproduce.logs.settings import policy_names, settings_that_differ, shown_settings
from reproduce.logs.values import name_of

LARGEST_N = 100_000
PACKED_SUFFIXES = ([".gz"], [".zst"])
EPISODE = ["policy", "episode"]
FEWEST_TOLD_BY_ORDER = 8
"""Rows from which on equal outcomes in equal order, in two formats and under other names, are taken for one run."""
MOST_POLICIES, MOST_DEPTHS, MOST_CELLS = 64, 64, 20_000_000


def merge(logs: Sequence[Log], rule: ScoreRule) -> EpisodeCounts:
    """Counts over all files. Policies and questions keep the order in which they appear, depths increase.

    Raises UserError for a T in some files only, counts of one cell given twice, one episode with two outcomes, the
    same episodes in two files, and sizes that only a wrong column can have.
    """
    caps = [cap_column(log) for log in logs]
    for log, cap in zip(logs, caps, strict=True):
        if cap is None and any(other is not None for other in caps):
            other = next(other for other, cap in zip(logs, caps, strict=True) if cap is not None)
            raise UserError(f"{log.source}: no T, but {other.source} has one; write POLICY@T=FILE to say it")
    names, notes = policy_names(logs)
    rows = _Rows()
    for place, (log, name, cap) in enumerate(zip(logs, names, caps, strict=True)):
        rows.add(place, log, name, cap, outcomes(log, rule))
    frame = rows.frame()
    frame = _tell_prompts_apart(frame, rows, logs)
    frame, seen_twice = _each_once(frame, rows, logs)
    notes += seen_twice
    frame, without = _scored(frame, logs, rule, rows)
    notes += _same_run_twice(frame, logs)
    notes += [note for each in rows.outcomes for note in each.notes] + [n for log in logs for n in log.notes] + without
    notes += _pooled(frame, logs, rows)
    return _counts(frame, rows, logs, any(cap is not None for cap in caps), tuple(dict.fromkeys(notes)))


@dataclass(eq=False)
class _Rows:
    """The rows of all logs, with the codes of their labels."""

    parts: list[pd.DataFrame] = field(default_factory=list)
    outcomes: list[Outcomes] = field(default_factory=list)
    labels: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))

    def add(self, place: int, log: Log, policy: str | None, cap: np.ndarray | None, found: Outcomes) -> None:
        columns: dict[str, object] = {"log": np.full(log.rows, place), "row": np.arange(log.rows)}
        for kind, column in (("policy", log.policy), ("question", log.question)):
            if column is None:
                columns[kind] = np.full(log.rows, self._code(kind, str(policy)))
            else:
                names, codes = column.names(name_of, kind, log.place)
                columns[kind] = np.array([self._code(kind, name) for name in names], dtype=np.int64)[codes]
        columns["depth"] = np.zeros(log.rows) if cap is None else cap
        columns |= {"n": found.n, "c": found.c, "scored": found.scored}
        columns["failed"] = np.zeros(log.rows, dtype=bool) if log.failed is None else log.failed
        for kind in ("episode", "slot", "prompt", "content", "cluster", "seed"):
            other: Column | None = getattr(log, kind)
            if other is None:
                columns[kind] = np.full(log.rows, MISSING)
            else:
                known = [self._code(kind, _label(value)) for value in other.values]
                columns[kind] = np.array([*known, MISSING], dtype=np.int64)[other.codes]
        self.parts.append(pd.DataFrame(columns))
        self.outcomes.append(found)

    def _code(self, kind: str, name: str) -> int:
        known = self.labels[kind]
        return known.setdefault(name, len(known))

    def frame(self) -> pd.DataFrame:
        return pd.concat(self.parts, ignore_index=True)

    def name(self, kind: str, code: int) -> str:
        return list(self.labels[kind])[code]


def _label(value: object) -> str:
    try:
        return name_of(value)
    except ValueError:
        return repr(value)


def _tell_prompts_apart(frame: pd.DataFrame, rows: _Rows, logs: Sequence[Log]) -> pd.DataFrame:
    """Questions of one name that ask different things become several, named by a digest of what they ask."""
    asked = frame[frame["prompt"] >= 0]
    if asked.empty:
        return frame
    several = asked.groupby(["policy", "question"])["prompt"].nunique()
    ambiguous = set(several[several > 1].index.get_level_values("question"))
    if not ambiguous:
        return frame
    texts, questions = list(rows.labels["prompt"]), list(rows.labels["question"])
    known = rows.labels["question"]
    pairs = asked[asked["question"].isin(ambiguous)][["question", "prompt"]].drop_duplicates()
    renamed = {
        (question, prompt): known.setdefault(
            f"{questions[question]}/{hashlib.sha256(texts[prompt].encode()).hexdigest()[:8]}", len(known)
        )
        for question, prompt in pairs.itertuples(index=False)
    }
    keys = zip(frame["question"], frame["prompt"], strict=True)
    frame["question"] = [renamed.get(key, key[0]) for key in keys]
    return frame


def _each_once(frame: pd.DataFrame, rows: _Rows, logs: Sequence[Log]) -> tuple[pd.DataFrame, list[str]]:
    """Each episode that has an identity once, scored where any of its rows is; a failed one that a retry replaced not
    at all. Raises UserError for two outcomes of one episode."""
    known = frame["episode"] >= 0
    if not known.any():
        return frame, []
    scored = frame[known & frame["scored"]]
    repeated = scored[scored.duplicated(EPISODE, keep=False)]
    if not repeated.empty:
        share = repeated.assign(share=repeated["c"] / repeated["n"]).groupby(EPISODE)["share"]
        for first in repeated[share.transform("nunique") > 1].head(1).itertuples():
            others = repeated[repeated["episode"] == first.episode]
            sources = " and ".join(dict.fromkeys(logs[place].source for place in others["log"]))
            raise UserError(
                f"{logs[first.log].place(first.row)}: two different scores of one episode, in {sources}; name one"
            )
    ordered = frame.assign(unscored=~frame["scored"]).sort_values(["unscored", "log", "row"], kind="stable")
    kept = ordered[~((ordered["episode"] >= 0) & ordered.duplicated(EPISODE))]
    filled = set(kept.loc[kept["scored"] & (kept["slot"] >= 0), "slot"])
    kept = kept[~(~kept["scored"] & kept["slot"].isin(filled))].drop(columns="unscored").sort_values(["log", "row"])
    again = known & frame.duplicated(EPISODE)
    twice = int(again.sum())
    retried = len(frame) - twice - len(kept)
    notes = []
    if twice:
        holders = dict.fromkeys(logs[place].source for place in frame.loc[again, "log"])
        notes.append(f"{', '.join(holders)}: {twice:,} episodes occur more than once and count once")
    if retried:
        notes.append(f"{retried:,} failed episodes were retried, and count as retried")
    return kept, notes


def _scored(frame: pd.DataFrame, logs: Sequence[Log], rule: ScoreRule, rows: _Rows) -> tuple[pd.DataFrame, list[str]]:
    """What becomes of episodes without a score: one rule for all formats, and always a note."""
    notes = []
    without = frame[~frame["scored"]]
    for place, part in without.groupby("log"):
        log, name = logs[int(place)], rows.outcomes[int(place)].name
        if log.counts is not None:
            # A row with n = 0 says so itself; only what is missing is missed.
            missing = [(column.codes < 0)[part["row"]] for column in log.counts]
            part = part[missing[0] | missing[1]]
            if part.empty:
                continue
        failed = int(part["failed"].sum())
        said = f"{log.source}: {len(part):,} of {int((frame['log'] == place).sum()):,} episodes have no score {name}"
        said += f" ({failed:,} ended in an error or were declared invalid)" if failed else ""
        if rule.unscored == "refuse":
            raise UserError(f"{said}; --unscored leave-out or fail says what becomes of them")
        notes.append(
            f"{said} and count as failures"
            if rule.unscored == "fail"
            else f"{said} and are left out; if hard questions fail more often, the values are too high"
        )
    if rule.unscored == "fail":
        counted = ~frame["scored"] & ~frame["log"].isin([i for i, log in enumerate(logs) if log.counts is not None])
        frame = frame.assign(
            n=frame["n"].mask(counted, 1.0), c=frame["c"].mask(counted, 0.0), scored=frame["scored"] | counted
        )
    frame = frame[frame["scored"]]
    for place, log in enumerate(logs):
        # A file whose episodes have identities may be held by another file whole, but not all files by none.
        alone = log.counts is not None or frame.empty or not (rows.parts[place]["episode"] >= 0).any()
        if alone and not (frame["log"] == place).any():
            reason = "no episodes, n is 0 everywhere" if log.counts is not None else "no scored episode in it"
            raise UserError(f"{log.source}: read as {log.format}: {reason}")
    return frame, notes


def _same_run_twice(frame: pd.DataFrame, logs: Sequence[Log]) -> list[str]:
    """Refuse two files with the same outcomes, question by question, where that can be no chance: the answers are
    the same as well, or the same outcomes stand in two formats, be it under other names of the questions. Where it
    may be chance, a note says it."""
    notes: list[str] = []
    if len(logs) < 2:
        return notes
    named = ["policy", "question", "depth", "seed", "n", "c"]
    seen: dict[tuple[str, bytes], int] = {}
    for label, part in frame.groupby("log"):
        place, log = int(label), logs[int(label)]
        answered = bool((part["content"] >= 0).any())
        prints = {
            "answers": _digest(part[[*named, "content"]].sort_values([*named, "content"])),
            "episodes": _digest(part[named].sort_values(named)),
            "outcomes": _digest(part[["policy", "n", "c"]]),
        }
        if not answered:
            del prints["answers"]
        if part["c"].nunique() < 2 or len(part) < FEWEST_TOLD_BY_ORDER:
            del prints["outcomes"]
        for kind, digest in prints.items():
            other = seen.setdefault((kind, digest), place)
            identified = (part["episode"] >= 0).all() and logs[other].episode is not None
            two_formats = _kind_of_file(log) != _kind_of_file(logs[other])
            if other != place and (two_formats or (kind == "answers" and not identified)):
                raise UserError(
                    f"{log.source}: the same {kind} as {logs[other].source}, which would count double: one run in two "
                    "files, or greedy decoding; name one of them"
                )
            if other != place and kind == "episodes" and not answered and not identified:
                notes.append(
                    f"{log.source}: every question has the outcomes that it has in {logs[other].source}, and they "
                    "count again; if both are one run, name one of them"
                )
    return notes


def _digest(rows: pd.DataFrame) -> bytes:
    return hashlib.sha256(rows.to_numpy(dtype=np.float64).tobytes()).digest()


def _kind_of_file(log: Log) -> tuple[str, str]:
    """Layout and suffixes, that of a compression among them."""
    suffixes = PurePath(log.source).suffixes
    return log.format.partition(" (")[0], "".join(suffixes[-2:] if suffixes[-1:] in PACKED_SUFFIXES else suffixes[-1:])


def _pooled(frame: pd.DataFrame, logs: Sequence[Log], rows: _Rows) -> list[str]:
    """Files that form one policy are always named."""
    notes = []
    policies = list(rows.labels["policy"])
    for policy, part in frame.groupby("policy")["log"]:
        places = part.unique().tolist()
        if len(places) > 1:
            listed = [logs[place].source for place in places]
            more = f" and {len(listed) - 12:,} more" if len(listed) > 12 else ""
            differing = settings_that_differ([logs[place] for place in places])
            which = f", which differ in {shown_settings(differing)}" if differing else ""
            notes.append(
                f"{policies[int(policy)]}: pooled from {len(listed)} files{which}: {', '.join(listed[:12])}{more}"
            )
    return notes


def _counts(
    frame: pd.DataFrame, rows: _Rows, logs: Sequence[Log], has_depth: bool, notes: tuple[str, ...]
) -> EpisodeCounts:
    kept = {kind: np.unique(frame[kind].to_numpy()) for kind in ("policy", "question")}
    labels = {kind: list(rows.labels[kind]) for kind in ("policy", "question", "seed", "cluster")}
    policies, questions = (tuple(labels[kind][code] for code in kept[kind]) for kind in ("policy", "question"))
    depths = np.unique(frame["depth"].to_numpy())
    shape = (len(policies), len(questions), depths.size)
    _check_sizes(shape)
    codes = tuple(np.searchsorted(kept[kind], frame[kind].to_numpy()) for kind in ("policy", "question"))
    cell = np.ravel_multi_index((*codes, np.searchsorted(depths, frame["depth"].to_numpy())), shape)
    _check_repeats(frame, cell, logs, (policies, questions, depths, shape))
    n, c = (np.bincount(cell, weights=frame[name], minlength=int(np.prod(shape))) for name in ("n", "c"))
    if n.max(initial=0) > LARGEST_N:
        sources = ", ".join(log.source for log in logs)
        raise UserError(f"{sources}: {n.max():.0f} episodes of one question; at most {LARGEST_N:,}")
    whole = not (c % 1).any()
    seeds: tuple[str, ...] = ()
    by_seed: tuple[np.ndarray, np.ndarray] | None = None
    if (frame["seed"] >= 0).all() and frame["seed"].nunique() > 1:
        present, seed = np.unique(frame["seed"].to_numpy(), return_inverse=True)
        seeds = tuple(labels["seed"][code] for code in present)
        size = int(np.prod(shape)) * len(seeds)
        flat = cell * len(seeds) + seed
        first, second = (
            np.bincount(flat, weights=frame[name], minlength=size).reshape(*shape, -1).astype(np.int64)
            for name in ("n", "c")
        )
        by_seed = (first, second)
    return EpisodeCounts(
        policies=policies,
        questions=questions,
        depths=tuple(depths.tolist()),
        has_depth=has_depth,
        n=n.astype(np.int64).reshape(shape),
        c=(c.astype(np.int64) if whole else c).reshape(shape),
        notes=notes,
        sources=tuple(_source(log, found) for log, found in zip(logs, rows.outcomes, strict=True)),
        clusters=_clusters(frame, codes[1], len(questions), labels["cluster"]) if labels["cluster"] else None,
        seeds=seeds,
        seed_n=by_seed[0] if by_seed else None,
        seed_c=by_seed[1] if by_seed else None,
    )


def _source(log: Log, found: Outcomes) -> str:
    score = "" if log.counts is not None else f", score {found.name}"
    return f"{log.source}: {log.format}{score}, {log.rows:,} rows"


def _clusters(frame: pd.DataFrame, question: np.ndarray, count: int, labels: list[str]) -> np.ndarray:
    """The cluster of every question. Raises UserError for a question that is in two or in none."""
    cluster = frame["cluster"].to_numpy()
    found = np.full(count, MISSING)
    found[question] = cluster
    if (found[question] != cluster).any() or (found < 0).any():
        raise UserError("--cluster: a question belongs to no cluster or to several; each needs one")
    return found


def _check_sizes(shape: tuple[int, int, int]) -> None:
    policies, questions, depths = shape
    said = f"{policies:,} policies, {questions:,} questions and {depths:,} values of T"
    if policies > MOST_POLICIES or depths > MOST_DEPTHS or policies * questions * depths > MOST_CELLS:
        raise UserError(
            f"{said}: too many (at most {MOST_POLICIES} policies, {MOST_DEPTHS} values of T and {MOST_CELLS:,} "
            "combinations); is one column in the place of another?"
        )


def _check_repeats(frame: pd.DataFrame, cell: np.ndarray, logs: Sequence[Log], labels: tuple) -> None:
    """Counts are whole: a second row for the same cell is a mistake, not more data, unless its seed is another."""
    counted = frame["log"].isin([place for place, log in enumerate(logs) if log.counts is not None]).to_numpy()
    if not counted.any():
        return
    keyed = pd.DataFrame({"cell": cell, "seed": frame["seed"].to_numpy()})
    repeated = keyed.duplicated(keep=False).to_numpy()
    with_counts = np.isin(cell, cell[counted])
    for place in np.flatnonzero(repeated & with_counts)[-1:].tolist():
        policies, questions, depths, shape = labels
        policy, question, depth = (int(x) for x in np.unravel_index(cell[place], shape))
        sources = dict.fromkeys(logs[i].source for i in frame["log"].to_numpy()[cell == cell[place]].tolist())
        at = "" if depths.size == 1 else f" at T = {depths[depth]:g}"
        raise UserError(
            f"{' and '.join(sources)}: duplicate counts for policy {policies[policy]!r}, question "
            f"{questions[question]!r}{at}; one row each"
        )
