"""What the report of PASS@(k,T) tells besides its claims: bed, Cover@tau, deeper questions, training, the paper."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from reproduce.claims.grid import Records
from reproduce.claims.published import PublishedNumber, load_published, published_number
from reproduce.papers.pass_kt.experiment import ARMS
from reproduce.papers.pass_kt.figures import grid, pass_values
from reproduce.report.text import NOTHING, Section, count, interval, listed, number, over_seeds, plain, table
from theory.inference import crossed_t_interval, mean_interval
from theory.pass_kt import beta_from_pass_values, cover_at, crossing_k, fit_beta_binomial, pass_at_k, saturation_depth

PAPER = "pass_kt"
CATEGORIES = {"A": "static", "B": "comparison", "C": "bridge"}
OURS = {"base": "base", "RL": "grpo"}
"""The paper's letters and words, and ours."""
TAUS = (0.05, 0.1, 0.25)


def further_sections(records: Records) -> tuple[Section, ...]:
    """The sections that follow the claims."""
    further = (deeper(records),) if (records.counts["panel"] == "ood").any() else ()
    return (bed(records), cover(records), *further, training(records), beside_the_paper(records))


def _cap(records: Records, category: str) -> int:
    return 0 if category == "static" else max(grid(records)[1])


def _share(values: np.ndarray, largest: float = 1.0) -> str:
    """Mean of a (seeds, questions) table of shares, or counts of `largest`, with its 95 % interval cut at the ends."""
    digits = 3 if largest == 1.0 else 1
    mean, low, high = _crossed(values)
    return f"{number(mean, digits)} {interval(max(low, 0.0), min(high, largest), digits)}"


def _difference(values: np.ndarray) -> str:
    """Mean of a (seeds, questions) table of differences in points with its 95 % interval."""
    mean, low, high = _crossed(values)
    return f"{number(mean, 1, signed=True)} {interval(low, high, 1, signed=True)}"


def _crossed(values: np.ndarray) -> tuple[float, float, float]:
    """Mean and 95 % interval over seeds and questions; a single question has no interval."""
    if values.shape[1] < 2:
        return float(values.mean()), float("nan"), float("nan")
    found = crossed_t_interval(values)
    return float(found.estimate), float(found.low), float(found.high)


def bed(records: Records) -> Section:
    """What the base can do, before training: the bed on which the claims are tested."""
    k = grid(records)[0][-1]
    rows, episodes = [], 0
    for category in CATEGORIES.values():
        cap = _cap(records, category)
        n, successes = records.counts_of("base", category, cap)
        episodes = int(n.max())
        values = pass_values(records, "base", category, cap, (1, k)).mean(axis=1)
        unsolved = (successes == 0).mean(axis=1)
        # A seed on which every episode failed, or every one succeeded, has no best Beta.
        mixed = [seed for seed in range(len(n)) if 0 < successes[seed].sum() < n[seed].sum()]
        fits = [fit_beta_binomial(n[seed], successes[seed]) for seed in mixed]
        inside = [fit for fit in fits if not fit.at_bound]
        rows.append(
            (
                f"{category}, T = {cap}",
                over_seeds(values[:, 0]),
                over_seeds(values[:, 1]),
                over_seeds(unsolved),
                over_seeds([fit.alpha for fit in inside], 2),
                over_seeds([fit.beta for fit in inside], 2),
            )
        )
    headings = ("Questions", "pass@1", f"pass@{k}", f"No success in {episodes}", "Beta α", "Beta β")
    first, last = (float(published_number(PAPER, f"pass.C.base.k{end}.T5").value) for end in (1, 64))
    alpha, beta = beta_from_pass_values(first, last, 64)
    body = [
        plain(
            f"Of the base policies alone, mean over seeds (least to most). α and β below 1 mean that success differs "
            f"widely from question to question; a share of questions without success in {episodes} episodes leaves "
            f"room for a boundary to move. A seed whose rates admit no Beta is left out of α and β."
        ),
        table(headings, rows, numbers=()),
        plain(
            f"For comparison: pass@1 = {first:g} and pass@64 = {last:g}, published for the paper's base on bridge "
            f"questions, imply α = {alpha:.3f} and β = {beta:.3f} (own calculation)."
        ),
    ]
    return Section("The base and the bed", "\n\n".join(body))


def cover(records: Records) -> Section:
    """Cover@tau beside PASS: on comparison questions a large k rewards guessing."""
    k, cap = grid(records)[0][-1], _cap(records, "comparison")
    rows = []
    for arm in ARMS:
        n, successes = records.counts_of(arm, "comparison", cap)
        shares = cover_at(n, successes, TAUS)
        found = [mean_interval(shares[:, place]) for place in range(len(TAUS))]
        cells = [f"{number(one.mean, 3)} {interval(max(one.low, 0), min(one.high, 1), 3)}" for one in found]
        values = pass_values(records, arm, "comparison", cap, (1, k))
        rows.append((ARMS[arm].label, *cells, _share(values[..., 0]), _share(values[..., 1])))
    headings = ("Policy", *(f"Cover@{tau:g}" for tau in TAUS), "pass@1", f"pass@{k}")
    body = plain(
        f"Comparison questions have few possible answers, so PASS at a large k rewards guessing. Cover@τ is the share "
        f"of questions that a policy answers at a rate of at least τ, T = {cap}. 95 % intervals: of Cover over seeds "
        f"(t), of pass over seeds and questions."
    )
    return Section("Cover@τ on comparison questions", f"{body}\n\n{table(headings, rows)}")


def deeper(records: Records) -> Section:
    """Bridge questions deeper than those of training."""
    k, cap = grid(records)[0][-1], _cap(records, "bridge")
    ood = records.counts[(records.counts["panel"] == "ood") & (records.counts["T"] == cap)]
    rows = []
    for hops in sorted(ood["hops"].unique()):
        values = {}
        for arm in ARMS:
            chosen = ood[(ood["hops"] == hops) & (ood["arm"] == arm)]
            wide = chosen.pivot(index="seed", columns="question", values=["n", "successes"]).sort_index()
            if wide.empty or wide.isna().any(axis=None):
                raise ValueError(f"some run lacks questions: {arm} on ood, {hops} hops, T = {cap}")
            n, successes = (wide[name].to_numpy(dtype=np.int64) for name in ("n", "successes"))
            values[arm] = pass_at_k(n[..., None], successes[..., None], np.array([1, k]))
            cells = [_share(values[arm][..., place]) for place in range(2)]
            rows.append((str(hops), ARMS[arm].label, str(n.shape[1]), *cells))
        gains = 100 * (values["grpo"] - values["base"])
        cells = [f"{_difference(gains[..., place])} points" for place in range(2)]
        rows.append((str(hops), "gain", str(gains.shape[1]), *cells))
    body = plain(
        f"Bridge questions with more hops than the two of training, and new entities; T = {cap}. Mean with 95 % "
        f"interval over seeds and questions. No claim rests on them."
    )
    headings = ("Hops", "Policy", "Questions", "pass@1", f"pass@{k}")
    return Section("Deeper questions than in training", f"{body}\n\n{table(headings, rows, numbers=(0, 2))}")


def training(records: Records) -> Section:
    """Training at its start and its end."""
    log = records.training[records.training["arm"] == "grpo"]
    steps = int(log["step"].max())
    # A tenth of the steps at either end, and at least one.
    edge = max(1, steps // 10)
    start, end = log[log["step"] <= edge], log[log["step"] > steps - edge]
    measures = {
        "reward": "reward, share of episodes right",
        "groups/all_wrong": "groups in which none is right, share",
        "groups/mixed": "groups in which some are right, share",
        "groups/all_right": "groups in which all are right, share",
        "entropy": "entropy, nats a token",
        "grad_norm": "norm of the gradient before clipping",
    }
    rows = [
        (label, *(over_seeds(part.groupby("seed")[name].mean().to_numpy()) for part in (start, end)))
        for name, label in measures.items()
    ]
    totals = log.groupby("seed")[["tokens/sampled", "tokens/trained"]].sum().mean()
    body = [
        plain(
            f"{count(steps)} optimiser steps a seed; on average {count(totals['tokens/sampled'])} tokens were sampled "
            f"and {count(totals['tokens/trained'])} of them trained. Mean over seeds (least to most)."
        ),
        table(("Measure", f"Steps 1–{edge}", f"Steps {steps - edge + 1}–{steps}"), rows),
    ]
    return Section("Training", "\n\n".join(body), ("training",))


def beside_the_paper(records: Records) -> Section:
    """Every published number that this experiment measures too."""
    rows, left_out = [], []
    numbers, largest_k = load_published(PAPER), grid(records)[0][-1]
    for published in numbers:
        value, cell = _ours(records, published), published.cell
        if value is not None:
            policy = f"{cell['arm']} against {cell['against']}" if "against" in cell else str(cell["arm"])
            quantity, category = published.quantity.replace("-", " "), CATEGORIES[str(cell["category"])]
            place = (str(cell.get("k", "")), str(cell.get("T", "")))
            rows.append(
                (quantity, category, policy, *place, f"{published.value:g}", value, ", ".join(published.sources))
            )
        elif cell.get("category") in CATEGORIES:
            strange = {str(cell[role]) for role in ("arm", "against") if role in cell} - set(OURS)
            left_out += [f"the arm {name}" for name in sorted(strange)]
        else:
            left_out.append(published.quantity.replace("-", " "))
    unread = "" if any(item.read_directly for item in numbers) else " All of its numbers were read in digests of it."
    stops = f" This profile stops at k = {largest_k}: what lies beyond is left out." if largest_k < 64 else ""
    body = [
        plain(
            "The paper's categories A, B and C correspond to our static, comparison and bridge questions, its RL to "
            "our trained policy; model, questions and tool differ, so that no number of ours estimates one of theirs."
            f"{unread}{stops} Ours: mean with 95 % interval over seeds and questions, from independent episodes. "
            "Boundary counts and net expansion are of 100 questions, ours unbiased expectations at k episodes; "
            "crossing is the first k at which the trained policy leads after the base has led."
        ),
        plain(f"Published but not measured here: {listed(list(dict.fromkeys(left_out))) or NOTHING}."),
    ]
    if rows:
        headings = ("Quantity", "Questions", "Policy", "k", "T", "Paper", "Ours", "Read in")
        body.insert(1, table(headings, rows, numbers=(3, 4, 5)))
    return Section("Published numbers beside ours", "\n\n".join(body))


def _ours(records: Records, published: PublishedNumber) -> str | None:
    """Our measurement of a published number; None where this experiment has none."""
    cell, (ks, caps) = published.cell, grid(records)
    category, arm = CATEGORIES.get(str(cell.get("category"))), OURS.get(str(cell.get("arm")))
    k, cap = int(cell.get("k", ks[-1])), int(cell.get("T", max(caps)))
    if category is None or arm is None or k not in ks or (cap not in caps):
        return None
    if "against" in cell and cell["against"] != "base":
        return None
    measures: dict[str, Callable[[], str]] = {
        "pass": lambda: _share(pass_values(records, arm, category, cap, (k,))[..., 0]),
        "boundary-size": lambda: _share(100 * pass_values(records, arm, category, cap, (k,))[..., 0], 100),
        "boundary-gained": lambda: _share(_changed(records, category, cap, k, "grpo", "base"), 100),
        "boundary-lost": lambda: _share(_changed(records, category, cap, k, "base", "grpo"), 100),
        "net-expansion": lambda: _difference(
            _changed(records, category, cap, k, "grpo", "base") - _changed(records, category, cap, k, "base", "grpo")
        ),
        "crossing": lambda: _first_lead(records, category, cap),
        "saturation-depth": lambda: _saturation(records, arm, category, k),
    }
    measure = measures.get(published.quantity)
    return measure() if measure else None


def _changed(records: Records, category: str, cap: int, k: int, inside: str, outside: str) -> np.ndarray:
    """Chance, of 100, that k episodes of `inside` hold a success and k of `outside` none, (seeds, questions)."""
    new, old = (pass_values(records, arm, category, cap, (k,))[..., 0] for arm in (inside, outside))
    return 100 * new * (1 - old)


def _first_lead(records: Records, category: str, cap: int) -> str:
    ks = grid(records)[0]
    gain = pass_values(records, "grpo", category, cap, ks) - pass_values(records, "base", category, cap, ks)
    crossing = float(crossing_k(ks, gain.mean(axis=(0, 1))))
    return next((str(k) for k in ks if k >= crossing), "none")


def _saturation(records: Records, arm: str, category: str, k: int) -> str:
    caps = grid(records)[1]
    means = [float(pass_values(records, arm, category, cap, (k,)).mean()) for cap in caps]
    return f"{saturation_depth(caps, means):g}"
