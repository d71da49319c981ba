"""Episodes of a run as readable transcripts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.text import Text

from reproduce.core.files import UserError, read_json, read_parquet
from reproduce.core.names import escaped, nearest
from reproduce.environments.retrieval.environment import parse_action
from reproduce.environments.sequences import BEGIN, END, TURN

COLUMNS = (
    *("panel", "category", "question", "T", "estimator", "sample"),
    *("success", "failure", "rounds", "forced", "transcript"),
)
"""Columns that are shown of an episode, or that choose it."""


@dataclass(frozen=True)
class EpisodeFilter:
    """Filter of episodes. None: any."""

    panel: str | None = None
    category: str | None = None
    T: int | None = None
    estimator: str | None = None
    question: str | None = None
    success: bool | None = None

    def select(self, episodes: pa.Table) -> pa.Table:
        """The episodes that fit. Raises UserError for a value that no episode has, with the nearest one."""
        kept = episodes
        for name in ("panel", "category", "question", "estimator", "T"):
            value = getattr(self, name)
            if value is None:
                continue
            known = pc.unique(episodes[name]).to_pylist()
            if value not in known:
                hint = nearest(str(value), [str(each) for each in sorted(known)])
                raise UserError(f"no episode has {name} {value!r}; {hint}")
            kept = kept.filter(pc.equal(kept[name], value))
        if self.success is not None:
            kept = kept.filter(pc.equal(kept["success"], self.success))
        if kept.num_rows == 0:
            wanted = ", ".join(f"{name} {value}" for name, value in vars(self).items() if value is not None)
            raise UserError(f"no episode fits all of: {wanted}")
        return kept


class Turn(NamedTuple):
    """A stretch of a transcript by one writer."""

    by_policy: bool
    text: str


def split_transcript(transcript: str, longest_action: int | None) -> Iterator[Turn]:
    """Question, actions and observations in turn.

    longest_action: words after which an action was cut; such an action has no end marker. None: unknown.
    """
    if TURN not in transcript:  # Of a general model, whose template has turns of its own.
        yield Turn(False, transcript)
        return
    words = transcript.split()
    place = 1 if words[:1] == [BEGIN] else 0
    while place < len(words):
        stop = words.index(TURN, place) if TURN in words[place:] else len(words)
        yield Turn(False, " ".join(words[place:stop]))
        if stop == len(words):
            return
        place = stop + 1
        limit = len(words) if longest_action is None else min(place + longest_action, len(words))
        end = words.index(END, place, limit) if END in words[place:limit] else limit
        yield Turn(True, " ".join(words[place:end]))
        place = end + 1 if end < limit else end


def show_episodes(console: Console, run: Path, wanted: EpisodeFilter, number: int, seed: int) -> None:
    """Print `number` of the episodes that fit, drawn with `seed`, in file order."""
    if not run.is_dir():
        raise UserError(f"{run}: no such run folder")
    path = run / "episodes.parquet"
    if not path.is_file():
        raise UserError(f"{path}: no such file; the run is not complete, or {run} is not the folder of one run")
    episodes = read_parquet(path)
    for column in COLUMNS:
        if column not in episodes.column_names:
            raise UserError(f"{path}: damaged (no column {column}); run again with --redo")
    fitting = wanted.select(episodes)
    longest_action, environment = _settings(run / "config.json")
    chosen = np.random.default_rng(seed).choice(fitting.num_rows, min(number, fitting.num_rows), replace=False)
    for episode in fitting.take(np.sort(chosen)).to_pylist():
        console.print(render_episode(episode, longest_action, environment), soft_wrap=True)
    console.print(f"{len(chosen)} of {fitting.num_rows:,} episodes that fit", style="dim", highlight=False)


def _settings(path: Path) -> tuple[int | None, str]:
    """Words after which an action was cut, and the environment, where the file says so."""
    try:
        config = read_json(path)
        return int(config["sampling"]["longest_action"]), str(config["environment"])
    except (UserError, KeyError, TypeError, ValueError):
        return None, "retrieval"


def render_episode(episode: dict[str, Any], longest_action: int | None, environment: str = "retrieval") -> Text:
    """One episode for a terminal. What the file says is text, never markup."""
    lines = _escaped_lines(episode["transcript"])
    episode = {name: escaped(value) if isinstance(value, str) else value for name, value in episode.items()}
    hops = f"hops {episode['hops']}, " if "hops" in episode else ""
    text = Text()
    if episode["success"]:
        text.append("success", style="bold green")
    else:
        text.append(episode["failure"] or "failure", style="bold red")
    text.append(
        f"  {episode['question']}  {episode['category']}, {hops}T {episode['T']}, "
        f"{episode['estimator']}, sample {episode['sample']}, rounds {episode['rounds']}"
        f"{', forced answer' if episode['forced'] else ''}\n"
    )
    for place, turn in enumerate(split_transcript(lines, longest_action)):
        if turn.by_policy:
            _append_action(text, turn.text, environment)
        else:
            text.append("  question     " if place == 0 else "  environment  ", style="cyan")
            text.append(f"{turn.text}\n")
    return text


def _escaped_lines(text: str) -> str:
    """Control characters as their escapes, but for line breaks."""
    return "\n".join(map(escaped, text.split("\n")))


def _append_action(text: Text, action: str, environment: str) -> None:
    text.append("  policy       ", style="cyan")
    if environment != "retrieval":
        text.append(f"{action}\n", style="bold yellow")
        return
    parsed = parse_action(action)
    if parsed is None:
        text.append(f"{action}", style="dim")
        text.append("  (no valid command)\n", style="italic red")
        return
    reasoning, command, argument = parsed
    text.append(f"{reasoning} " if reasoning else "", style="dim")
    text.append(f"{command} {argument}\n", style="bold yellow")
