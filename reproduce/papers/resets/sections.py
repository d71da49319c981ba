"""What the report on RRPO and SRPO shows besides its claims: where, how well and at what cost chains are reset."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reproduce.claims.records import MethodRecords
from reproduce.papers.resets.arms import ARMS
from reproduce.papers.resets.figures import MOST_DEVIATION, deviation_counts
from reproduce.papers.resets.measures import (
    CHAINS,
    COVERAGE,
    MATCHED,
    SRPO,
    base_group_success,
    curves,
    final_success,
    has_oracle,
    localized,
    probe_ratios,
    reset_arms,
    resets,
    seconds_of_training,
    seed_scores,
    signal_ratios,
    trained_arms,
    trained_chains,
)
from reproduce.papers.resets.published import value
from reproduce.report.text import NOTHING, Section, count, interval, number, over_seeds, plain, table
from theory.base_group import base_group_law
from theory.decisive_chain import coverage_exponent
from theory.inference import crossed_t_interval, mean_interval, wilson_interval


def further_sections(records: MethodRecords) -> tuple[Section, ...]:
    """The sections after the claims, in order."""
    return (
        arms(records),
        costs(records),
        reset_positions(records),
        *([localization(records)] if has_oracle(records) else []),
        signal(records),
        base_group(records),
        *([coverage_in_practice(records)] if "probe" in records.tables else []),
    )


def arms(records: MethodRecords) -> Section:
    """What each arm is, and its success."""
    rows = []
    for arm in ("base", *trained_arms(records)):
        found = crossed_t_interval(final_success(records, arm))
        shown = f"{number(float(found.estimate))} {interval(float(found.low), float(found.high))}"
        spread = number(float(seed_scores(records, arm)[:, 0].std(ddof=1)))
        rows.append((arm, ARMS[arm].description, shown, spread))
    body = [
        plain(
            "Success on the test tiers, %: mean with 95 % interval over seeds and tasks, and standard deviation over "
            "seeds."
        ),
        table(("Arm", "What it is", "Success", "SD"), rows, numbers=(3,)),
    ]
    return Section("The arms", "\n\n".join(body))


def costs(records: MethodRecords) -> Section:
    """What each arm spent."""
    reference = curves(records, MATCHED)
    rows = []
    for arm in trained_arms(records):
        found = curves(records, arm)
        log = records.log("reasoning", arm, "tokens/trained").sum(axis=1)
        rows.append(
            (
                arm,
                count(trained_chains(records, arm)),
                count(found.chains[:, -1].mean()),
                count(found.tokens[:, -1].mean()),
                number(float((found.tokens[:, -1] / reference.tokens[:, -1]).mean()), 2),
                count(log.mean()),
                number(float(seconds_of_training(records, arm).mean())),
            )
        )
    body = [
        plain(
            "Chains drawn and tokens generated hold the chains that are reset, those thrown away and the localization; "
            "a prefix is read again, once for each reset, but not generated. Ratio: tokens generated over those of "
            f"{MATCHED}. Tokens trained: of chains with an advantage. Means over seeds of one training."
        ),
        table(
            ("Arm", "Chains trained", "Chains drawn", "Tokens generated", "Ratio", "Tokens trained", "Seconds"),
            rows,
            numbers=range(1, 7),
        ),
    ]
    return Section("What a training costs", "\n\n".join(body))


def reset_positions(records: MethodRecords) -> Section:
    """Positions of the resets, beside the published ones."""
    rows: list[tuple[str, ...]] = []
    for arm in reset_arms(records):
        found = resets(records, arm)
        by_seed = [own for _, own in found.groupby("seed")]
        share = records.log("reasoning", arm, "resets/share")
        rows.append(
            (
                arm,
                over_seeds([own["position"].mean() for own in by_seed], 2),
                over_seeds([100 * (own["position"] <= 0.5).mean() for own in by_seed], 0),
                over_seeds([100 * (own["position"] > 0.75).mean() for own in by_seed], 0),
                over_seeds([own["steps"].mean() for own in by_seed], 1),
                number(100 * float(np.nanmean(share))),
            )
        )
    for arm in ("SRPO", "RRPO"):
        values = [value(f"position-summary.{arm}.{name}") for name in ("mean", "first-half", "last-quarter")]
        rows.append((f"paper, {arm}", *(f"{stated:g}" for stated in values), NOTHING, NOTHING))
    body = [
        plain(
            "Position h*/H of the step that is sampled anew. Mean over seeds (least to most); prompts without a failed "
            "chain are not reset."
        ),
        table(("Arm", "Mean", "First half, %", "Last quarter, %", "Steps of the chain", "Prompts reset, %"), rows),
    ]
    return Section("Reset positions", "\n\n".join(body), ("positions",))


def localization(records: MethodRecords) -> Section:
    """Confusion of the step with the true first error, and correction rate by deviation."""
    rows = []
    for arm in reset_arms(records):
        found = localized(records, arm)
        shares = [100 * float(found[name].mean()) for name in ("exact", "clean", "solved")]
        suffixes = 100 * found["corrected"].sum() / found["attempts"].sum()
        rows.append(
            (
                arm,
                count(len(found)),
                *(number(value) for value in shares),
                number(float(suffixes)),
                number(float(found["deviation"].mean()), 2, signed=True),
            )
        )
    exact, graded = value("deviation.raw.localizations.0"), value("localizations.graded")
    clean = value("prefix.raw.clean.groups")
    rows.append(
        (
            "paper, SRPO",
            count(graded),
            number(100 * exact / graded),
            number(100 * clean / graded),
            NOTHING,
            NOTHING,
            NOTHING,
        )
    )
    headings = ("Deviation", "Resets", "Suffixes right", "Rate, % [95 %]", "Paper, %")
    counts = deviation_counts(resets(records, SRPO))
    by_deviation = []
    for deviation, row in counts.iterrows():
        place = int(str(deviation))
        corrected, attempts = int(row["corrected"]), int(row["attempts"])
        rate = NOTHING
        if attempts:
            low, high = wilson_interval(corrected, attempts)
            rate = f"{number(100 * corrected / attempts)} {interval(100 * float(low), 100 * float(high))}"
        theirs = value(f"deviation.raw.corrected.{place}") / value(f"deviation.raw.attempts.{place}")
        end = " and beyond" if abs(place) == MOST_DEVIATION else ""
        by_deviation.append(
            (
                f"{place:+d}{end}" if place else "0",
                count(row["resets"]),
                f"{corrected} of {attempts}",
                rate,
                number(100 * theirs),
            )
        )
    body = [
        plain(
            "Share of resets at the true first error, with a clean prefix (at or before it), and with at least one "
            "suffix right; share of suffixes right; mean deviation in steps. The paper's reference is another language "
            "model, ours the environment's oracle. A chain without a wrong step, cut off before its answer, has its "
            "last step as first error. Resets that srpo_learned made while it labelled chains are left out."
        ),
        table(
            ("Arm", "Resets", "Exact, %", "Clean, %", "Solved, %", "Suffixes, %", "Deviation"),
            rows,
            numbers=range(1, 7),
        ),
        plain(
            f"Correction by deviation, {SRPO}; Wilson intervals over suffixes, whose dependence within a reset they "
            "leave out."
        ),
        table(headings, by_deviation, numbers=(1,)),
    ]
    return Section("Localization and correction", "\n\n".join(body), ("localization",))


def signal(records: MethodRecords) -> Section:
    """Signal per token of the two groups."""
    rows = []
    for arm in reset_arms(records):
        if ARMS[arm].settings.split != "1x4":
            continue
        cells = [arm]
        for part in ("signal", "advantage", "inverse_length"):
            logs = np.log(signal_ratios(records, arm, part))
            known = [row[np.isfinite(row)] for row in logs]
            cells.append(over_seeds([float(np.exp(row.mean())) if len(row) else np.nan for row in known], 2))
        cells.append(number(float(np.isfinite(logs).mean() * 100)))
        rows.append(tuple(cells))
    body = [
        plain(
            "Suffix over base group on prompts on which both have signal: |A|/T (1 − π), and its factors |A| and 1/T "
            "alone; geometric mean over steps, mean over seeds (least to most). Suffixes are shorter than whole "
            "chains, so that 1/T is above 1 by arithmetic. Steps: share of steps with such a prompt."
        ),
        table(("Arm", "Signal", "|A|", "1/T", "Steps, %"), rows),
    ]
    return Section("Signal per token", "\n\n".join(body), ("signal",))


def base_group(records: MethodRecords) -> Section:
    """Measured success of the base group beside that of independent chains and what the sampler's law says."""
    rows = []
    for arm in reset_arms(records):
        method = ARMS[arm].settings
        if method.split != "1x4":
            continue
        log = records.tables["steps"]
        fresh = log[log["arm"] == arm].groupby("seed")[["fresh_successes", "fresh_chains"]].sum()
        honest = (fresh["fresh_successes"] / fresh["fresh_chains"]).to_numpy()
        base = base_group_success(records, arm)
        gap = mean_interval(100 * (base - honest))
        law = 100 * (base_group_law(honest).success_rate - honest)
        rows.append(
            (
                arm,
                over_seeds(100 * honest, 1),
                over_seeds(100 * base, 1),
                f"{number(gap.mean, signed=True)} {interval(gap.low, gap.high, signed=True)}",
                "0" if method.independent_base else f"at most {number(float(law.mean()))}",
            )
        )
    body = [
        plain(
            "Success of independent fresh chains and of the base group of four, % over the whole training; where no "
            "chain failed, the first four; "
            "mean over seeds (least to most), difference with 95 % t interval over seeds. Last column: bias of "
            "algorithm 2 if all prompts were equally hard; with prompts of unequal difficulty, as here, it is smaller."
        ),
        table(("Arm", "Fresh chains", "Base group", "Difference", "By its law"), rows),
    ]
    return Section("The base group is not a sample", "\n\n".join(body), ("self_correction",))


def coverage_in_practice(records: MethodRecords) -> Section:
    """What is left of the coverage law where whole suffixes are sampled anew."""
    probe = records.tables["probe"].groupby(["category", "rule"])[["groups", "mixed", "corrected"]].sum()
    rows = []
    for place, category in enumerate(CHAINS):
        cells: Sequence[str] = ()
        for rule in ("random", "targeted"):
            if (category, rule) not in probe.index:
                cells = (*cells, NOTHING, NOTHING)
                continue
            found = probe.loc[(category, rule)]
            cells = (
                *cells,
                f"{found['mixed']} of {found['groups']}",
                number(100 * found["corrected"] / (4 * found["groups"])),
            )
        ratio = mean_interval(np.log(probe_ratios(records)[:, place]))
        ends = interval(float(np.exp(ratio.low)), float(np.exp(ratio.high)), 2)
        rows.append((f"{COVERAGE[place]:g}", *cells, f"{number(float(np.exp(ratio.mean)), 2)} {ends}"))
    exponent = coverage_exponent(COVERAGE, probe_ratios(records))
    body = [
        plain(
            "The theorem is about a reset to a state, one action at random and the policy after it: off the "
            "improvable states nothing can be gained, and the ratio grows as 1/p. The method samples the whole "
            "suffix anew, so that a reset anywhere before the error can mend it. Failed chains of the base with 4, 2 "
            "and 1 of 8 and 1 of 16 decisive steps; four suffixes a reset; ratio of the shares with signal, "
            "geometric mean with 95 % t interval over seeds."
        ),
        table(("p", "Random: signal", "Right, %", "Targeted: signal", "Right, %", "Ratio [95 %]"), rows, numbers=(0,)),
        plain(
            f"Exponent of 1/p in that ratio: {number(exponent.mean, 2)} "
            f"{interval(exponent.low, exponent.high, 2)} over seeds; the theorem's is 1."
        ),
    ]
    return Section("The coverage law in practice", "\n\n".join(body), ("coverage",))
