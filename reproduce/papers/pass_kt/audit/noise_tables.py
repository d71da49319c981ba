"""PASS@(k,T): the tables of the noise of 64 episodes a question."""

from __future__ import annotations

from reproduce.claims.published import published_number
from reproduce.papers.pass_kt.audit.counts import KEY
from reproduce.papers.pass_kt.audit.noise import (
    EPISODES,
    EXTRAPOLATED,
    detection_rate,
    evaluation_episodes,
    fitted_crossing,
    no_success,
    plug_in_biases,
    prior_effects,
    published_grid,
    rate_law,
    self_null,
    self_null_by_episodes,
    self_null_comparisons,
)
from reproduce.report.audit_tables import DIGEST, AuditRow, AuditTable
from reproduce.report.text import listed, number, probability
from theory.pass_kt import beta_pass_at_k


def curves_table() -> AuditTable:
    """Section 5.5: the laws through the published points, their curves and where they cross."""
    grid = (*published_grid(), *EXTRAPOLATED)
    laws = [rate_law(arm) for arm in ("base", "RL")]
    values = [beta_pass_at_k(*law.parameters, grid) for law in laws]
    rows = tuple(
        AuditRow((str(k), number(base, 3), number(trained, 3), number(100 * (trained - base), 1, signed=True)), DIGEST)
        for k, base, trained in zip(grid, *values, strict=True)
    )
    base, trained = laws
    printed = published_number(KEY, "crossing.C.RL-base").value
    return AuditTable(
        "curves",
        "The curves that two published points imply",
        "Beta laws of the success rate over the questions of category C through pass@1 and pass@64, and the whole "
        f"curve they give; k above {grid[len(grid) - len(EXTRAPOLATED) - 1]} is extrapolated.",
        ("k", "base", "RL", "RL minus base, points"),
        rows,
        f"Base Beta({number(base.alpha, 3)}, {number(base.beta, 3)}) and RL Beta({number(trained.alpha, 3)}, "
        f"{number(trained.beta, 3)}) cross at k = {number(fitted_crossing())}, beside the published k ≈ {printed:g}, "
        f"with no further freedom. RL's rates are less polarised (α + β = {number(trained.alpha + trained.beta, 2)} "
        f"against {number(base.alpha + base.beta, 2)}), which a flatter base distribution would also give.",
        ("The crossing is interpolated on the grid of k, linear in log2 k.",),
    )


def self_null_table() -> AuditTable:
    """Section 5.5: the published pairs beside the base against itself."""
    null, comparisons = self_null(), self_null_comparisons()
    rows = tuple(
        AuditRow(
            (
                f"{item.pair.arm} against {item.pair.against}",
                item.pair.counts,
                str(item.pair.gained + item.pair.lost),
                probability(item.pair_probability),
                probability(item.net_probability),
                probability(item.two_sided),
                probability(item.adjusted),
            ),
            DIGEST,
        )
        for item in comparisons
    )
    low, high = null.discordant_range(0.95)
    headline = next(item for item in comparisons if (item.pair.arm, item.pair.against) == ("RL", "base"))
    observed = headline.pair.gained + headline.pair.lost
    relation = "fewer than" if observed < null.expected_discordants else "no fewer than"
    beyond = [f"{item.pair.arm} against {item.pair.against}" for item in comparisons if item.adjusted <= 0.05]
    return AuditTable(
        "self-null",
        "The base against itself",
        "The same base sampled twice in the published design also gains and loses questions. Probability of a pair at "
        "least as uneven as the published one (as many or more in its direction, as many or fewer against it), and of "
        "its net change, one-sided and two-sided; Holm over the three two-sided values.",
        ("comparison on C", "gained : lost", "discordant", "P(pair)", "P(net)", "two-sided", "Holm"),
        rows,
        f"Two samples of the base differ in {number(null.expected_discordants)} of {null.questions} questions on "
        f"average (95 % range {low}–{high}, SD of the net {number(null.standard_deviation_of_net)}): the {observed} "
        f"discordant questions of the headline are {relation} that, and its net of +{headline.pair.net} or more "
        f"arises with probability {number(headline.net_probability, 3)}. Beyond the self-null after Holm: "
        f"{listed(beyond) if beyond else 'none'}.",
        (
            "The probability of the pair is a description chosen after seeing it, not a p-value; the test is that of "
            "the net.",
            "The law of the base serves as null for RL against SFT too, for which neither of the two arms is the base.",
        ),
    )


def self_null_episodes_table() -> AuditTable:
    """Section 5.5: expected discordant questions by number of episodes."""
    base, trained = self_null_by_episodes("base"), self_null_by_episodes("RL")
    rows = tuple(
        AuditRow((str(episodes), number(first), number(second)), DIGEST)
        for episodes, first, second in zip(EPISODES, base, trained, strict=True)
    )
    shown = dict(zip(EPISODES, base, strict=True))
    published = evaluation_episodes()
    return AuditTable(
        "self-null-episodes",
        "Discordant questions without any change, by episodes",
        "Expected number of questions of 100 solved by one of two samples of the same policy and not by the other.",
        ("episodes a question", "base", "RL"),
        rows,
        f"More episodes help slowly: from {number(shown[published])} discordant questions at n = {published} to "
        f"{number(shown[EPISODES[-1]])} at n = {EPISODES[-1]} for the base.",
    )


def no_success_table() -> AuditTable:
    """Section 5.5 and trap 8: a question outside the boundary may be solvable."""
    results = [no_success(episodes) for episodes in (64, 128, 256)]
    rows = tuple(
        AuditRow(
            (
                f"0 of {item.episodes}",
                number(item.one_sided_bound, 4),
                number(item.two_sided_bound, 4),
                number(item.pass_at_bound, 2),
                number(item.membership, 2),
            ),
            DIGEST,
        )
        for item in results
    )
    first = results[0]
    return AuditTable(
        "no-success",
        "What a question outside the boundary may still be",
        "Exact upper 95 % bounds of the success rate after no success, the pass@64 at the one-sided bound, and the "
        "probability that the true pass@64 exceeds 1/2 if rates follow the law of the base.",
        ("successes", "one-sided bound", "two-sided bound", "pass@64 at the bound", "P(pass@64 > 1/2)"),
        rows,
        f"A question with no success in {first.episodes} episodes may have a pass@64 of "
        f"{number(first.pass_at_bound, 2)}. The boundary is a soft threshold: a question enters it with probability "
        f"1/2 at a success rate of {number(detection_rate(0.5, first.episodes), 3)} and .95 at "
        f"{number(detection_rate(0.95, first.episodes), 3)}.",
        ("The bounds need no published number; the last column uses the law of the base.",),
    )


def priors_table() -> AuditTable:
    """Section 3.4, the prior trap."""
    effects = prior_effects()
    rows = tuple(
        AuditRow((effect.name, number(effect.at_64, 3), number(effect.at_256, 2), number(effect.panel, 3)), DIGEST)
        for effect in effects
    )
    uniform, truth = effects[0], published_number(KEY, "pass.C.base.k64.T5").value
    return AuditTable(
        "priors",
        "What a prior adds to the boundary",
        "Posterior mean of pass@k for a question without success in 64 episodes, and the panel's posterior mean of "
        "pass@64 when rates follow the law of the base.",
        ("prior", "pass@64 after 0 of 64", "pass@256 after 0 of 64", "panel pass@64"),
        rows,
        f"A uniform prior turns a panel of {number(truth, 3)} into {number(uniform.panel, 3)}, "
        f"{number(100 * (uniform.panel - truth))} points too much, beside a published gain of "
        f"{published_number(KEY, 'net-expansion.C.RL-base').value:g} points: a prior has to be fitted to the panel.",
    )


def plug_in_table() -> AuditTable:
    """Trap 1: bias of pass@k drawn with replacement."""
    biases = plug_in_biases()
    rows = tuple(
        AuditRow(
            (
                str(item.k),
                number(item.with_replacement, 3),
                number(item.unbiased, 3),
                number(100 * (item.with_replacement - item.unbiased), 1, signed=True),
            ),
            DIGEST,
        )
        for item in biases
    )
    last = biases[-1]
    first = published_number(KEY, "pass.C.RL.k1.T5").value - published_number(KEY, "pass.C.base.k1.T5").value
    return AuditTable(
        "plug-in",
        "Bias of pass@k drawn with replacement",
        "Exact expectations of 1 − (1 − c/n)^k and of the unbiased estimator, n = 64, rates by the law of the base.",
        ("k", "with replacement", "unbiased", "bias, points"),
        rows,
        f"At k = n = {last.k} the estimator with replacement is "
        f"{number(100 * (last.unbiased - last.with_replacement))} points low, beside published differences of "
        f"{number(100 * first, 1, signed=True)} points at k = 1 and "
        f"{published_number(KEY, 'net-expansion.C.RL-base').value:+g} at k = 64.",
        (
            "The paper uses the unbiased estimator; the bias matters to whoever compares it with other tools' "
            "best-of-n.",
        ),
    )
