"""What a training run of RRPO or SRPO keeps of its chains: one row a step, and one row a reset.

Each step is appended to `chains.jsonl` in the run folder as it happens, so that an interrupted run loses nothing; a
step that a continued run draws again replaces the earlier row. `finish` turns them into `steps.parquet` and
`resets.parquet`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reproduce.core.files import read_parquet, write_parquet
from reproduce.environments.reasoning import NEWLINE

if TYPE_CHECKING:
    import pandas as pd

    from reproduce.rollouts import EpisodeText

STEPS, RESETS = "steps", "resets"
RESET_COLUMNS = ("category", "question", "steps", "chosen", "truth", "corrected", "attempts", "base_successes")
"""Of one reset: steps of the failed chain, step chosen, true first error (from 1, or `UNKNOWN`), suffixes right,
suffixes, and right chains of the prompt's base group."""
UNKNOWN = 0
"""First error of a chain whose task has no oracle."""
SIGNAL = ("signal", "advantage", "inverse_length")
"""Of a group: |A|/T (1 - pi), |A| and 1/T, each a mean over the chains with an advantage."""


@dataclass(frozen=True)
class Located:
    """A reset as its rule made it."""

    category: str
    question: str
    steps: int
    chosen: int
    truth: int
    generated_tokens: int


def line_break_of(text: EpisodeText) -> str:
    """What ends a line: a word of its own for the policies made here."""
    return "\n" if text.full_texts else NEWLINE


class ChainLog:
    """Rows of one run, on disk."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / "chains.jsonl"

    def append(self, row: Mapping[str, Any]) -> None:
        """Keep the row of a step."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def finish(self) -> None:
        """Write the two tables and remove the rows they are made of."""
        import pandas as pd

        rows = {}
        for line in self.path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            rows[row["step"]] = row
        ordered = [rows[step] for step in sorted(rows)]
        resets = [{"step": row["step"], **reset} for row in ordered for reset in row.pop("resets")]
        _write(pd.DataFrame(ordered), self.folder / f"{STEPS}.parquet")
        found = pd.DataFrame(resets, columns=["step", *RESET_COLUMNS])
        small = dict.fromkeys(set(RESET_COLUMNS) - {"category", "question"}, "int16")
        _write(found.astype({"step": "int16", **small}), self.folder / f"{RESETS}.parquet")
        self.path.unlink()


def read_tables(folder: Path) -> dict[str, pd.DataFrame]:
    """The tables that `finish` wrote into a run folder; a run without resets has no rows of them."""
    return {name: read_parquet(folder / f"{name}.parquet").to_pandas() for name in (STEPS, RESETS)}


def step_row(
    step: int,
    columns: Mapping[str, Any],
    fresh: Sequence[bool],
    located: Sequence[Located],
    block: int,
) -> dict[str, Any]:
    """The row of a step. columns: what the rollouts returned, `block` rows a prompt; fresh: outcomes of the first wave
    of chains from the prompts, which are independent; located: the resets, in the order of the prompts."""
    success = np.array(columns["success"], dtype=bool)
    group = np.array(columns["reset_group"])
    signals = {kind: list[dict[str, float]]() for kind in ("base", "suffix")}
    resets, waiting = [], iter(located)
    for start in range(0, len(success), block):
        rows = np.arange(start, start + block)
        base = rows[group[rows] == 0]
        heard = dict[str, dict[str, float]]()
        if (found := group_signal(columns, base)) is not None:
            heard["base"] = found
        for number in sorted(set(group[rows].tolist()) - {0}):
            suffixes = rows[group[rows] == number]
            one = next(waiting)
            resets.append(
                {
                    "category": one.category,
                    "question": one.question,
                    "steps": one.steps,
                    "chosen": one.chosen,
                    "truth": one.truth,
                    "corrected": int(success[suffixes].sum()),
                    "attempts": len(suffixes),
                    "base_successes": int(success[base].sum()),
                }
            )
            if (found := group_signal(columns, suffixes)) is not None:
                heard["suffix"] = found
        # The paper compares the two groups on prompts on which both have signal.
        if len(heard) == 2:
            for kind, values in heard.items():
                signals[kind].append(values)
    told = {
        f"{kind}_{name}": float(np.mean([values[name] for values in own])) if own else None
        for kind, own in signals.items()
        for name in SIGNAL
    }
    return {
        "step": step,
        "fresh_successes": int(sum(fresh)),
        "fresh_chains": len(fresh),
        "generated_tokens": int(sum(columns["generated_tokens"])),
        "generated_chains": int(sum(columns["generated_chains"])),
        "localization_tokens": sum(one.generated_tokens for one in located),
        **told,
        "resets": resets,
    }


def group_signal(columns: Mapping[str, Any], rows: np.ndarray) -> dict[str, float] | None:
    """Signal per token of one advantage group (section 5.3 and appendix G): means over its chains; None without any.

    Within a chain |A|/T (1 - pi) is a mean over the T tokens that are trained, pi the probability of each when it was
    drawn.
    """
    rewards = np.array([columns["chain_reward"][row] for row in rows], dtype=np.float64)
    if len(rewards) == 0 or rewards.std() < 1e-8:
        return None
    advantages = np.abs(rewards - rewards.mean()) / rewards.std()
    values = []
    for row, advantage in zip(rows, advantages, strict=True):
        active = np.array(columns["env_mask"][row], dtype=bool)
        chance = np.exp(np.array(columns["logprobs"][row], dtype=np.float64)[active])
        if advantage > 0 and active.any():
            length = int(active.sum())
            values.append((advantage / length * float((1 - chance).mean()), advantage, 1 / length))
    means = np.mean(values, axis=0)
    return dict(zip(SIGNAL, (float(value) for value in means), strict=True))


def _write(frame: pd.DataFrame, path: Path) -> None:
    import pyarrow as pa

    write_parquet(pa.Table.from_pandas(frame, preserve_index=False), path)
