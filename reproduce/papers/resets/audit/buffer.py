"""Credit assignment with resets: the base group of Algorithm 2 is not made of independent rollouts.

The first failed chain leaves the base group while the successes before it stay. Everything here follows from the
sampling rule of section 4.2 and the released code, for a prompt that the policy solves with probability p; no score
enters.
"""

from __future__ import annotations

from dataclasses import dataclass

from reproduce.papers.resets.audit.scores import whole_setting
from reproduce.report.audit_tables import OURS, AuditRow, AuditTable
from reproduce.report.text import listed, number

RATES = (0.05, 0.10, 0.25, 0.50, 0.75, 0.90)


@dataclass(frozen=True)
class BaseGroup:
    """The base group at one true success rate; `mixed` is the probability that it holds both outcomes."""

    rate: float
    mean: float
    mean_given_reset: float
    mixed: float
    mixed_given_reset: float
    independent_mixed: float
    baseline_mixed: float
    chains: float
    """Expected chains generated for a prompt, continuations included."""


def base_group(rate: float, group: int, cap: int, rollouts: int) -> BaseGroup:
    """Exact law of the base group.

    rate: success probability in (0, 1); group: size of the base group and of the shared-prefix group; cap: most chains
    drawn while waiting for a failure; rollouts: trained rollouts a prompt, the group size of GRPO. Conditions on the
    place of the first failure, geometric and cut at `cap`.
    """
    mean = mixed = chains = 0.0
    for place in range(1, cap + 1):
        weight = rate ** (place - 1) * (1 - rate)
        kept = min(place - 1, group)
        drawn = group - kept
        mean += weight * (kept + drawn * rate) / group
        mixed += weight * (1 - rate**drawn - ((1 - rate) ** drawn if kept == 0 else 0.0))
        chains += weight * (max(place, group + 1) + group)
    reset = 1 - rate**cap
    return BaseGroup(
        rate,
        mean + rate**cap,
        mean / reset,
        mixed,
        mixed / reset,
        _mixed(rate, group),
        _mixed(rate, rollouts),
        # Without a failure the base group is filled up to all trained rollouts with fresh chains.
        chains + rate**cap * (cap + rollouts - group),
    )


def released_base_group(rate: float) -> BaseGroup:
    """The base group at the released sizes."""
    return base_group(
        rate,
        whole_setting("buffer.base-group"),
        whole_setting("buffer.fresh-chains"),
        whole_setting("batch.rollouts"),
    )


def _mixed(rate: float, size: int) -> float:
    return 1 - rate**size - (1 - rate) ** size


def base_group_table() -> AuditTable:
    """Section 4.2 and Algorithm 2: what the base group is."""
    found = [released_base_group(rate) for rate in RATES]
    rows = tuple(
        AuditRow(
            (
                number(item.rate, 2),
                number(item.mean, 3),
                number(item.mean_given_reset, 3),
                number(item.mixed, 3),
                number(item.mixed_given_reset, 3),
                number(item.independent_mixed, 3),
                number(item.baseline_mixed, 3),
                number(item.chains),
            ),
            OURS,
        )
        for item in found
    )
    most = max(found, key=lambda item: item.mean - item.rate)
    loses = [number(item.rate, 2) for item in found if item.mixed < item.independent_mixed]
    return AuditTable(
        "base-group",
        "The base group of Algorithm 2",
        "Exact success rate of the base group of four, which loses the first failure but keeps the successes before "
        "it, and the probability that it holds both outcomes, beside independent groups of four and of GRPO's eight.",
        (
            "true rate",
            "base group's rate",
            "given a reset",
            "mixed",
            "mixed, given a reset",
            "mixed, 4 independent",
            "mixed, 8 independent",
            "chains generated",
        ),
        rows,
        f"The base group overstates success by up to {number(100 * (most.mean - most.rate))} points (true rate "
        f"{number(most.rate, 2)}). It gains signal on hard prompts and loses it at rates of {listed(loses)}; at every "
        f"rate it carries less than GRPO's group of eight, for {number(min(item.chains for item in found))} to "
        f"{number(max(item.chains for item in found))} generated chains instead of {whole_setting('batch.rollouts')}.",
        (
            "An unbiased base group would draw four chains first and take the seed from their failures or from extra "
            "chains.",
        ),
    )
