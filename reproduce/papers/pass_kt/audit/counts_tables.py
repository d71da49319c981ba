"""PASS@(k,T): the tables of the published boundary counts."""

from __future__ import annotations

from reproduce.claims.published import published_number
from reproduce.papers.pass_kt.audit.counts import (
    KEY,
    boundary_pairs,
    category_contrasts,
    equality_of_static,
    pair_tests,
    published_count,
    published_pair,
    size_changes,
    solved_patterns,
)
from reproduce.report.audit_tables import DIGEST, AuditRow, AuditTable
from reproduce.report.text import NOTHING, listed, number, probability


def boundary_counts_table() -> AuditTable:
    """Section 5.4: exact tests on the reported counts."""
    tests = pair_tests(boundary_pairs())
    rows = tuple(
        AuditRow(
            (
                test.pair.name,
                test.pair.counts,
                f"{number(100 * test.pair.net / test.pair.questions, 1, signed=True)} ± {number(test.half_width)}",
                probability(test.exact),
                probability(test.mid_p),
                probability(test.one_sided),
                NOTHING if test.adjusted_in_category is None else probability(test.adjusted_in_category),
                probability(test.adjusted),
            ),
            DIGEST,
        )
        for test in tests
    )
    headline = next(test for test in tests if test.pair.name == "C, RL against base")
    surviving = [test.pair.name for test in tests if test.adjusted <= 0.05]
    unadjusted = [f"{test.pair.name} ({probability(test.exact, 'p')})" for test in tests if test.exact <= 0.05]
    reading = (
        f"The headline {headline.pair.counts} has an exact {probability(headline.exact, 'p')}. "
        f"{_several(surviving)} at 5 % after Holm over the {len(tests)} pairs; unadjusted, "
        f"{listed(unadjusted) if unadjusted else 'none'} {'do' if len(unadjusted) > 1 else 'does'}."
    )
    return AuditTable(
        "boundary-counts",
        "Boundary counts: exact McNemar tests",
        "Are the gained and lost questions more uneven than a fair coin allows? Two-sided exact McNemar, mid-p, "
        "one-sided exact p (more gained) and the Wald interval of the difference in points. Holm over the three "
        "pairs of category C, and over all pairs.",
        ("comparison", "gained : lost", "difference", "exact p", "mid-p", "one-sided", "Holm in C", "Holm, all"),
        rows,
        reading,
        (
            "The mid-p of equal counts takes off half of the point probability (Fagerland, Lydersen and Laake 2013); "
            "taking off all of it, as some texts do, would turn the .8438 of 3 : 3 into .6875.",
            "T is 0 for A and 5 for B; that it is 5 for C is inferred.",
        ),
    )


def boundary_sums_table() -> AuditTable:
    """Do sizes and changes agree, within a pair and between the three pairs of category C?"""
    pairs = boundary_pairs()
    rows = [
        AuditRow(
            (pair.name, f"{pair.before} + {pair.gained} − {pair.lost}", str(pair.before + pair.net), str(pair.after)),
            DIGEST,
        )
        for pair in pairs
    ]
    bonus = published_number(KEY, "net-expansion.C.RL+bonus-base")
    share = published_number(KEY, "pass.C.RL+bonus.k64.T5").value
    base = published_count("boundary-size.C.base")
    expected = base + int(bonus.value)
    rows.append(
        AuditRow(
            ("C, RL+bonus against base", f"{base} + {int(bonus.value)}", str(expected), number(100 * share, 0)), DIGEST
        )
    )
    wrong = [pair.name for pair in pairs if not pair.adds_up] + ([] if round(100 * share) == expected else ["RL+bonus"])
    patterns = solved_patterns(pairs)
    shared = sorted({pattern.trained_and_tuned for pattern in patterns})
    gained = published_pair(pairs, "C", "RL", "base").gained
    joint = (
        f"the three pairs of C fit together in {len(patterns)} ways, in each of which SFT also solves "
        f"{' or '.join(str(value) for value in shared)} of the {gained} "
        "questions that RL gained"
        if patterns
        else "no assignment of questions yields all three pairs of C"
    )
    return AuditTable(
        "boundary-sums",
        "Boundary counts: do they add up?",
        "Size of the reference boundary plus gained minus lost, against the printed size; and whether one set of 100 "
        "questions can yield all three pairs of category C (enumeration of who solves what).",
        ("comparison", "sum", "recomputed", "printed"),
        tuple(rows),
        f"{'All boundary sums agree' if not wrong else f'Boundary sums that disagree: {listed(wrong)}'}; {joint}.",
    )


def category_table() -> AuditTable:
    """Claim pass_kt.task-specific, on the counts alone."""
    contrasts = category_contrasts(boundary_pairs())
    rows = tuple(
        AuditRow(
            (
                f"{item.first.category} and {item.second.category}",
                f"{item.first.counts} and {item.second.counts}",
                f"{number(item.difference, 1, signed=True)} ± {number(item.half_width)}",
                probability(item.p_value),
                probability(item.adjusted),
            ),
            DIGEST,
        )
        for item in contrasts
    )
    last = next(item for item in contrasts if (item.first.category, item.second.category) == ("B", "C"))
    return AuditTable(
        "task-specific",
        "Is the gain specific to sequential tasks?",
        "Fisher's exact test of the gained and lost questions (RL against base) between two categories, Holm over the "
        "three, and the difference of net gains in points (unpaired Wald interval).",
        ("categories", "gained : lost", "difference of net gains", "Fisher p", "Holm"),
        rows,
        f"Categories {last.first.category} (read as shallow) and {last.second.category} (read as expansion) have the "
        f"counts {last.first.counts} and {last.second.counts}: net gains differ by "
        f"{number(last.difference, 1, signed=True)} ± {number(last.half_width)} points. The distinction rests on the "
        "shape of the curves, not on the boundaries.",
    )


def equality_table() -> AuditTable:
    """Claim pass_kt.static-inert, on the counts alone."""
    results = equality_of_static(boundary_pairs())
    pair = published_pair(boundary_pairs(), "A", "RL", "base")
    rows = tuple(
        AuditRow(
            (
                f"± {result.margin} points",
                f"{number(result.low, 1, signed=True)} to {number(result.high, 1, signed=True)}",
                probability(result.p_value),
                probability(result.adjusted),
            ),
            DIGEST,
        )
        for result in results
    )
    shown = [f"± {result.margin}" for result in results if result.adjusted <= 0.05]
    return AuditTable(
        "static-inert",
        "Does 84 against 84 show equality?",
        "Two one-sided paired t-tests on the counts of category A, Holm over the margins. The interval is the 90 % one "
        "that decides them.",
        ("margin", "90 % interval", "TOST p", "Holm"),
        rows,
        f"{pair.before} against {pair.after} with {pair.counts} bounds the difference by {number(results[0].high)} "
        f"points by the t approximation, which passes {' and '.join(shown) if shown else 'none of the margins'} "
        f"points; with {pair.gained + pair.lost} discordant questions it is generous, and only the widest margin is "
        "beyond doubt.",
        ("Before the run such a design had little chance to show equality within 5 points: see the table of designs.",),
    )


def sizes_only_table() -> AuditTable:
    """Monotonicity in T (section 2.2), the bonus arm and SFT on category B, of which only sizes are published."""
    changes = size_changes()
    rows = tuple(
        AuditRow(
            (
                change.name,
                f"{change.before} to {change.after}",
                number(change.after - change.before, 0, signed=True),
                probability(change.smallest_p),
                probability(change.adjusted),
            ),
            DIGEST,
        )
        for change in changes
    )
    falls = [change.name for change in changes if change.after < change.before and "T =" in change.name]
    least = min(change.smallest_p for change in changes)
    return AuditTable(
        "sizes-only",
        "Boundary sizes without gained and lost questions",
        "k = 64, the boundary of base on category B at three depths (fresh episodes at each), and arms without "
        "published pairs. The split into gained and lost is unknown, so the table gives the smallest exact McNemar p "
        "that any split allows; Holm over all rows.",
        ("comparison", "boundary size", "net", "smallest possible p", "Holm"),
        rows,
        f"Where only boundary sizes are published, no split into gained and lost makes a change significant (smallest "
        f"possible p = {number(least, 2)}): neither the "
        "exploration bonus nor SFT on B can be told from their references, and the falls with T "
        f"({listed(falls) or 'none'}), against the monotonicity stated in §2.4 of the paper, need no explanation "
        "beyond noise.",
        ("The sizes are printed as PASS values of 100 questions; T = 5 for category C is inferred.",),
    )


def _several(names: list[str]) -> str:
    return (
        f"{listed(names)} survives" if len(names) == 1 else f"{listed(names)} survive" if names else "No pair survives"
    )
