"""PASS@(k,T): the tables of what the published design could have found."""

from __future__ import annotations

from reproduce.papers.pass_kt.audit.designs import (
    MARGINS,
    SIMULATIONS,
    EndPower,
    end_designs,
    end_power,
    equality_designs,
    equality_power,
    panel_sizes,
    published_contrast,
    widening_designs,
    widening_power,
)
from reproduce.report.audit_tables import DIGEST, AuditRow, AuditTable
from reproduce.report.text import listed, number


def end_power_table() -> AuditTable:
    """Power of the published design for its own headline."""
    results = [end_power(design) for design in end_designs()]
    rows = tuple(
        AuditRow(
            (
                str(item.design.questions),
                str(item.design.episodes),
                number(item.paired_t, 2),
                number(item.sign_flip, 2),
                number(item.mcnemar, 2),
                number(item.mid_p, 2),
            ),
            DIGEST,
        )
        for item in results
    )
    published, powers = results[0], _powers(results[0])
    enough = [item.design.label for item in results if max(_powers(item)) >= 0.8]
    return AuditTable(
        "design-power",
        "Power of the published design for its headline",
        "If the gain of the fitted laws at k = 64 (+4 points) is real, how often does a two-sided test at 5 % find it? "
        "The first row is the published design.",
        ("questions", "episodes", "paired t", "sign-flip", "McNemar exact", "McNemar mid-p"),
        rows,
        f"The published design ({published.design.label}) would find its own headline gain, if real, with a power of "
        f"{number(100 * min(powers), 0)}–{number(100 * max(powers), 0)} %; "
        f"{f'80 % is reached first with {enough[0]}' if enough else 'no design shown reaches 80 %'}.",
        (
            f"Simulated values ({SIMULATIONS:,} panels) have a standard error of at most "
            f"{number(0.5 / SIMULATIONS**0.5, 3)}; those of McNemar are exact under the assumptions.",
            "Assumed, not published: a copula correlation of .95 between the rates under base and RL.",
            "McNemar compares any success of n; the other tests use the unbiased pass@64 of each question.",
        ),
    )


def widening_power_table() -> AuditTable:
    """Power for the claim that the gap widens with k."""
    results = [widening_power(design) for design in widening_designs()]
    rows = tuple(
        AuditRow(
            (
                str(item.design.questions),
                str(item.design.episodes),
                number(item.design.correlation, 2),
                *(number(value, 2) for value in (*item.two_sided, *item.one_sided)),
            ),
            DIGEST,
        )
        for item in results
    )
    published = results[0]
    end = end_power(end_designs()[0])
    return AuditTable(
        "widening-power",
        "Power for a gap that widens with k",
        "Paired t-test of the contrast RL minus base at large k less the same at k = 1, at 5 %, two-sided and "
        "one-sided.",
        ("questions", "episodes", "correlation", "k = 64", "k = 32", "k = 64, one-sided", "k = 32, one-sided"),
        rows,
        f"Asking whether the gap widens suits the published design better: two-sided power "
        f"{number(published.two_sided[0], 2)} at k = 64 and {number(published.two_sided[1], 2)} at k = 32, against "
        f"{number(end.paired_t, 2)} for the end-point. The published contrast is "
        f"{number(published_contrast(), 1, signed=True)} points, with a standard error of "
        f"{number(published.standard_error)} under the assumed laws.",
        (
            "Neither the per-question values nor the standard error of the contrast are published, so it cannot be "
            "tested.",
        ),
    )


def equality_power_table() -> AuditTable:
    """Power to show that two equal policies are equal."""
    results = [equality_power(design) for design in equality_designs()]
    rows = tuple(
        AuditRow(
            (
                str(item.design.questions),
                str(item.design.episodes),
                number(item.design.correlation, 2),
                *(number(value, 2) for value in item.power),
            ),
            DIGEST,
        )
        for item in results
    )
    published = results[0]
    return AuditTable(
        "equality-power",
        "Power to show equality",
        "If two policies both follow the law of the base, how often does TOST at k = 64 show equality within a margin?",
        ("questions", "episodes", "correlation", *(f"± {margin} points" for margin in MARGINS)),
        rows,
        f"The published design shows equality within {MARGINS[1]} points with a power of "
        f"{number(published.power[1], 2)}, within {MARGINS[2]} points with {number(published.power[2], 2)}.",
        ("The law is that of category C, for want of two published points of category A.",),
    )


def panel_sizes_table() -> AuditTable:
    """Questions that an exact McNemar test of the published rates needs."""
    results = panel_sizes()
    rows = tuple(
        AuditRow(
            (
                f"{100 * item.gained_rate:.0f} : {100 * item.lost_rate:.0f}",
                number(item.published_power, 2),
                str(item.needed),
                str(item.round_size),
                number(item.round_power, 3),
            ),
            DIGEST,
        )
        for item in results
    )
    return AuditTable(
        "panel-sizes",
        "Questions that the exact McNemar test needs",
        "Power at the published 100 questions, the smallest panel with 80 % power, and the power of a round size, if "
        "the published counts are the true rates per 100 questions.",
        ("gained : lost", "power at 100", "questions for 80 %", "round size", "its power"),
        rows,
        f"At the published rates ({', '.join(row.cells[0] for row in rows)}) the exact McNemar test needs "
        f"{listed([str(item.needed) for item in results])} questions.",
        ("Power is a saw-tooth in the panel size, so a slightly larger panel may fall just below 80 % again.",),
    )


def _powers(item: EndPower) -> tuple[float, ...]:
    return item.paired_t, item.sign_flip, item.mcnemar, item.mid_p
