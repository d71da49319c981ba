"""What the claims, figures and sections of RRPO and SRPO measure, from records alone.

Two tables of the paper's own stand beside counts and training log. `steps`: one row for each optimiser step that drew
chains. `resets`: one row for each reset, with the step chosen and the true first error, both from 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from reproduce.claims.records import FAILURE, MethodRecords
from reproduce.claims.tests import smoothed
from reproduce.environments.reasoning import DECISIVE
from reproduce.papers.resets.arms import ARMS
from reproduce.papers.resets.chains import UNKNOWN

if TYPE_CHECKING:
    import pandas as pd

ENVIRONMENT = "reasoning"
CATEGORIES = ("medium", "hard")
"""Tiers of the main comparison: chains of five, and of seven or eight lines."""
CHAINS = tuple(f"decisive-{decisive}-of-{steps}" for decisive, steps in DECISIVE)
"""Categories of the coverage law, by falling coverage."""
COVERAGE = np.array([decisive / steps for decisive, steps in DECISIVE])
SRPO = "srpo_degraded"
"""The arm that stands for SRPO where a claim names no localizer: the oracle at the paper's quality."""
ASKED = {SRPO: "srpo", "srpo_2x4": "srpo_asked_2x4", "srpo_1x8": "srpo_asked_1x8"}
"""What stands in these arms' places where there is no oracle: the policy itself is asked."""
MATCHED = "grpo_reset_loss"
FORMAT_FAILURE = FAILURE + "no answer"
Cost = Literal["steps", "chains", "tokens"]


def arm_of(records: MethodRecords, arm: str) -> str:
    """The arm of this name, or the one that stands in its place on a data set without an oracle."""
    return ASKED[arm] if arm in ASKED and not records.has(ENVIRONMENT, arm) else arm


def main_categories(records: MethodRecords) -> tuple[str | None, ...]:
    """The tiers of the main comparison; all test sets together (None) where the tasks are a data set's."""
    return (None,) if records.experiment[ENVIRONMENT]["panels"].get("source") else CATEGORIES


def final_success(records: MethodRecords, arm: str) -> np.ndarray:
    """Success on the test tiers in points, (seeds, tasks)."""
    own = arm_of(records, arm)
    return np.concatenate(
        [records.success(ENVIRONMENT, own, "test", name) for name in main_categories(records)], axis=1
    )


def gain(records: MethodRecords, arm: str, against: str) -> np.ndarray:
    """Difference of two arms' success on the same tasks in points, (seeds, tasks)."""
    return final_success(records, arm) - final_success(records, against)


def seed_scores(records: MethodRecords, *arms: str) -> np.ndarray:
    """Mean success on the test tiers in points, (seeds, arms)."""
    return np.stack([final_success(records, arm).mean(axis=1) for arm in arms], axis=1)


def trained_arms(records: MethodRecords) -> tuple[str, ...]:
    """The arms with a training log, in plan order."""
    return tuple(dict.fromkeys(run["arm"] for run in records.runs if run["arm"] != "base"))


def training_tasks(records: MethodRecords) -> int:
    """Tasks of the training panel."""
    panels = records.experiment[ENVIRONMENT]["panels"]
    # The categories of a data set are those of its test panel.
    return int(panels["train"]) * (1 if panels.get("source") else len(panels["categories"]))


# ---- learning curves


@dataclass(frozen=True)
class Curves:
    """Learning curves of one arm; every array is (seeds, steps)."""

    success: np.ndarray
    """Share of independent fresh chains that are right, on training prompts, four a prompt in every arm with a base
    group. The base group would overstate it."""
    steps: np.ndarray
    """Cost spent up to and with each step: optimiser steps,"""
    chains: np.ndarray
    """chains drawn, seeds and chains thrown away included,"""
    tokens: np.ndarray
    """tokens sampled by the policy, localization included and prefixes not counted."""


def curves(records: MethodRecords, arm: str) -> Curves:
    """The arm's learning curves. Raises ValueError where a run lacks a step."""
    rows = _of_arm(records, "steps", arm)

    def grid(column: str) -> np.ndarray:
        wide = rows.pivot(index="seed", columns="step", values=column).sort_index()
        if wide.isna().any(axis=None):
            raise ValueError(f"some run of {arm} lacks training steps")
        return wide.to_numpy(dtype=np.float64)

    cost = {name: grid(f"generated_{name}").cumsum(axis=1) for name in ("chains", "tokens")}
    steps = np.sort(rows["step"].unique()).astype(np.float64)
    success = grid("fresh_successes") / grid("fresh_chains")
    return Curves(success, np.broadcast_to(steps, success.shape), cost["chains"], cost["tokens"])


@dataclass(frozen=True)
class Reached:
    """When each seed of an arm reached a level."""

    cost: np.ndarray
    """(seeds,); of no meaning where the level was not reached."""
    reached: np.ndarray
    """(seeds,) booleans."""
    budget: np.ndarray
    """Cost of the whole run, (seeds,)."""


def final_level(records: MethodRecords, arm: str = "grpo") -> float:
    """Mean over seeds of the arm's smoothed success at its last step."""
    return float(smoothed(curves(records, arm).success)[:, -1].mean())


def cost_to_level(found: Curves, level: float, cost: Cost) -> Reached:
    """Cost at which the smoothed curve first reaches the level, for each seed."""
    above = smoothed(found.success) >= level
    reached = np.asarray(above.any(axis=1))
    place = np.where(reached, above.argmax(axis=1), above.shape[1] - 1)
    spent: np.ndarray = getattr(found, cost)
    return Reached(np.take_along_axis(spent, place[:, None], axis=1)[:, 0], reached, spent[:, -1])


def log_ratio(slow: Reached, fast: Reached) -> np.ndarray:
    """log(cost of `slow` / cost of `fast`), (seeds,). Of runs that do not reach the level `slow` is charged its own
    budget, which it needs at least, and `fast` the larger of both: to stop early must not count as speed."""
    own = np.where(slow.reached, slow.cost, slow.budget)
    other = np.where(fast.reached, fast.cost, np.maximum(slow.budget, fast.budget))
    found: np.ndarray = np.log(own / other)
    return found


def seconds_of_training(records: MethodRecords, arm: str) -> np.ndarray:
    """Seconds of each seed's training, (seeds,)."""
    runs = [run for run in records.runs if run["arm"] == arm_of(records, arm)]
    return np.array([run["seconds"]["train"] for run in sorted(runs, key=lambda run: run["seed"])], dtype=np.float64)


# ---- resets


def resets(records: MethodRecords, *arms: str) -> pd.DataFrame:
    """The resets of these arms, with `deviation` (chosen minus true step), `clean` (no error before the reset),
    `exact`, `position` (h*/H) and `solved` (at least one suffix right)."""
    import pandas as pd

    found = pd.concat([_of_arm(records, "resets", arm) for arm in arms], ignore_index=True)
    deviation = found["chosen"].astype(int) - found["truth"].astype(int)
    return found.assign(
        deviation=deviation,
        clean=deviation <= 0,
        exact=deviation == 0,
        position=found["chosen"] / found["steps"],
        solved=found["corrected"] > 0,
    )


def localized(records: MethodRecords, arm: str) -> pd.DataFrame:
    """The resets of an arm by its localizer: those that `srpo_learned` made while it labelled chains are left out."""
    rows = resets(records, arm)
    learned = ARMS[arm].settings.rule == "learned"
    return rows[rows["step"] > records.experiment["labelled_steps"]] if learned else rows


def base_group_success(records: MethodRecords, arm: str) -> np.ndarray:
    """Success of the base group of four over the whole training, (seeds,), each prompt once.

    A prompt without a reset is a fallback: none of its fresh chains failed, so that its first four are right.
    """
    rows, prompts = resets(records, arm), curves(records, arm).success.shape[1] * _prompts_per_step(records)
    by_seed = rows.groupby("seed")["base_successes"]
    values: np.ndarray = (by_seed.sum() + 4 * (prompts - by_seed.size())).sort_index().to_numpy() / (4 * prompts)
    return values


def trained_chains(records: MethodRecords, arm: str) -> int:
    """Chains that a training of this arm updates on."""
    size = int(records.experiment[ENVIRONMENT]["training"]["group_size"])
    return curves(records, arm).success.shape[1] * _prompts_per_step(records) * size


def _prompts_per_step(records: MethodRecords) -> int:
    return int(records.experiment[ENVIRONMENT]["training"]["questions_per_step"])


def reset_arms(records: MethodRecords) -> tuple[str, ...]:
    """The arms that reset, in plan order."""
    if "resets" not in records.tables:
        return ()
    found = set(records.tables["resets"]["arm"])
    return tuple(arm for arm in trained_arms(records) if arm in found)


def has_oracle(records: MethodRecords) -> bool:
    """Whether the true first errors of the resets are known."""
    return "resets" in records.tables and bool((records.tables["resets"]["truth"] != UNKNOWN).any())


def hit_rate(records: MethodRecords, arm: str) -> float:
    """Share of the arm's resets at the true first error, all seeds together."""
    return float(resets(records, arm)["exact"].mean())


def log_odds_of_clean(rows: pd.DataFrame, by_position: bool) -> np.ndarray:
    """Log odds ratio of a solved group of suffixes, clean against erroneous prefix, for each seed.

    by_position: Mantel-Haenszel over strata of equal chain length and equal step, so that clean and erroneous resets
    are compared at the same place; otherwise the two-by-two table of all resets. Half a count is added to either side
    of the ratio, which keeps it finite. Source: Mantel and Haenszel 1959; Haldane 1956.
    """
    values = []
    for _, own in rows.groupby("seed", sort=True):
        strata = own.groupby(["category", "steps", "chosen"]) if by_position else [("all", own)]
        favour = against = 0.0
        for _, part in strata:
            clean, solved = part["clean"].to_numpy(), part["solved"].to_numpy()
            favour += (clean & solved).sum() * (~clean & ~solved).sum() / len(part)
            against += (clean & ~solved).sum() * (~clean & solved).sum() / len(part)
        values.append(np.log((favour + 0.5) / (against + 0.5)))
    return np.array(values)


def agreement_above_chance(rows: pd.DataFrame) -> np.ndarray:
    """Agreement with the true first error minus that of the same choices dealt anew among chains of equal length, in
    points, for each seed. The mean over all such permutations is taken in closed form."""
    values = []
    for _, own in rows.groupby("seed", sort=True):
        expected = 0.0
        for (_, steps), part in own.groupby(["category", "steps"]):
            places = np.arange(1, steps + 1)
            chosen, truth = ((part[name].to_numpy()[:, None] == places).sum(axis=0) for name in ("chosen", "truth"))
            expected += float(chosen @ truth) / len(part)
        values.append(100 * (own["exact"].sum() - expected) / len(own))
    return np.array(values)


# ---- signal per token


def signal_ratios(records: MethodRecords, arm: str, part: str = "signal") -> np.ndarray:
    """Suffix over base group of `signal`, `advantage` or `inverse_length`, (seeds, steps); NaN in a step without a
    prompt on which both groups have signal."""
    rows = _of_arm(records, "steps", arm)

    def grid(column: str) -> np.ndarray:
        wide = rows.pivot(index="seed", columns="step", values=column)
        return wide.sort_index().to_numpy(dtype=np.float64)

    return grid(f"suffix_{part}") / grid(f"base_{part}")


# ---- the coverage law in practice


def probe_ratios(records: MethodRecords) -> np.ndarray:
    """Share of suffix groups with signal, resets at the first error over random ones, by falling coverage,
    (seeds, levels). Half a group is added to those with signal and one to all, which keeps the ratio finite."""
    rows = records.tables["probe"]
    shares = {}
    for rule in ("targeted", "random"):
        own = rows[rows["rule"] == rule]
        mixed, groups = (
            own.pivot(index="seed", columns="category", values=name)
            .reindex(index=range(records.seeds), columns=list(CHAINS))
            .fillna(0)
            .to_numpy(dtype=np.float64)
            for name in ("mixed", "groups")
        )
        shares[rule] = (mixed + 0.5) / (groups + 1)
    return shares["targeted"] / shares["random"]


# ---- answers in the right form


def valid_shares(records: MethodRecords, arm: str, panel: str) -> tuple[np.ndarray, np.ndarray]:
    """Share of episodes that end with an answer, and success among these, in points, (seeds,) each."""
    categories = main_categories(records) if panel == "test" else (None,)
    own = arm_of(records, arm)

    def total(column: str) -> np.ndarray:
        parts = [records.table(ENVIRONMENT, own, column, panel, name).sum(axis=1) for name in categories]
        return np.sum(parts, axis=0)

    invalid = total(FORMAT_FAILURE) if FORMAT_FAILURE in records.counts else np.zeros(records.seeds)
    episodes, successes = total("n"), total("successes")
    valid = episodes - invalid
    return 100 * valid / episodes, 100 * successes / np.maximum(valid, 1)


def _of_arm(records: MethodRecords, table: str, arm: str) -> pd.DataFrame:
    rows, arm = records.tables.get(table), arm_of(records, arm)
    if rows is None or rows[rows["arm"] == arm].empty:
        raise ValueError(f"no table of {table} of {arm}")
    return rows[(rows["arm"] == arm) & (rows["environment"] == ENVIRONMENT)]
