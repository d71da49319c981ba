"""PASS@(k,T): how much of the published boundary difference is the noise of 64 episodes per question.

Everything rests on the Beta law of success rates over the questions of category C that passes through the two published
points of a curve, pass@1 and pass@64 (section 5.5 of the specification).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy

from reproduce.claims.published import setting_values, whole_setting
from reproduce.papers.pass_kt.audit.counts import KEY, boundary_pairs, evaluation_questions, pair_of, value
from reproduce.report.audit_tables import Analysis, numbers, probabilities, texts
from reproduce.report.text import listed, number
from theory.inference import holm
from theory.pass_kt import (
    SelfNull,
    beta_from_pass_values,
    beta_pass_at_k,
    beta_self_null,
    boundary_membership,
    crossing_k,
    expected_self_null_discordants,
    pass_at_k,
    posterior_pass_at_k,
)

EXTRAPOLATED = (256, 1024)
EPISODES = (16, 32, 64, 128, 256, 512)
PLUG_IN_K = (4, 16, 32, 64)


def evaluation_episodes() -> int:
    """Episodes per policy, question and T; also the largest k."""
    return whole_setting(KEY, "evaluation.episodes")


def rate_law(arm: str) -> tuple[float, float]:
    """Parameters of the Beta law of success rates through pass@1 and pass@64 of an arm on category C."""
    return beta_from_pass_values(value(f"pass.C.{arm}.k1.T5"), value(f"pass.C.{arm}.k64.T5"), 64)


def fitted_curves() -> pd.DataFrame:
    """Pass@k of base and RL under their laws, at the k of the paper's curves and at two extrapolated ones."""
    published = setting_values(KEY)["evaluation.k"]
    grid = [int(k) for k in (*published, *EXTRAPOLATED)] if isinstance(published, tuple) else list(EXTRAPOLATED)
    return pd.DataFrame({"k": grid, **{arm: beta_pass_at_k(*rate_law(arm), grid) for arm in ("base", "RL")}})


def fitted_crossing() -> float:
    """The k at which the two laws cross, linear in log2 k between the grid points."""
    curves = fitted_curves()
    return float(crossing_k(curves.k.to_numpy(), (curves.RL - curves.base).to_numpy()))


def self_null_law() -> SelfNull:
    """Law of the boundary difference when the base meets itself, in the published design."""
    return beta_self_null(*rate_law("base"), evaluation_episodes(), evaluation_questions())


def detection_rate(share: float, episodes: int) -> float:
    """Success rate at which a question enters the boundary of n episodes with probability `share`."""
    return float(-np.expm1(np.log1p(-share) / episodes))


def _count_law() -> tuple[np.ndarray, np.ndarray]:
    """Successes of one question, shape (n + 1,), and their probabilities under the law of the base."""
    counts = np.arange(evaluation_episodes() + 1)
    return counts, scipy.stats.betabinom.pmf(counts, evaluation_episodes(), *rate_law("base"))


def curves() -> Analysis:
    """Section 5.5: the laws through the published points, their curves and where they cross."""
    found, base, trained = fitted_curves(), rate_law("base"), rate_law("RL")
    return Analysis(
        "curves",
        "The curves that two published points imply",
        "Beta laws of the success rate over the questions of category C through pass@1 and pass@64, and the whole "
        f"curve they give; k above {found.k.iloc[-len(EXTRAPOLATED) - 1]} is extrapolated.",
        found,
        {
            "k": texts(found.k),
            "base": numbers(found.base, 3),
            "RL": numbers(found.RL, 3),
            "RL minus base, points": numbers(100 * (found.RL - found.base), signed=True),
        },
        f"Base Beta({', '.join(numbers(base, 3))}) and RL Beta({', '.join(numbers(trained, 3))}) cross at k = "
        f"{number(fitted_crossing())}, beside the published k ≈ {value('crossing.C.RL-base'):g}, with no further "
        f"freedom. RL's rates are less polarised (α + β = {number(sum(trained), 2)} against {number(sum(base), 2)}), "
        "which a flatter base distribution would also give.",
        ("The crossing is interpolated on the grid of k, linear in log2 k.",),
    )


def self_null() -> Analysis:
    """Section 5.5: the pairs of category C beside the base against itself, Holm over them.

    `pair`: P(at least as many changed in the observed direction and at most as many in the other); `one_sided`: P(net
    change in that direction at least as large); `two_sided` doubles it: the law is symmetric.
    """
    null, found = self_null_law(), boundary_pairs()
    found = found[found.category == "C"].reset_index(drop=True)
    more, fewer = found[["gained", "lost"]].max(axis=1), found[["gained", "lost"]].min(axis=1)
    changes = zip(more, fewer, strict=True)
    found["pair"] = [null.probability(gained_at_least=most, lost_at_most=least) for most, least in changes]
    found["one_sided"] = [null.probability(net_at_least=abs(net)) for net in found.net]
    found["two_sided"] = np.minimum(1.0, 2 * found.one_sided)
    found["adjusted"] = holm(found.two_sided)
    labels = found.arm + " against " + found.against
    low, high = null.discordant_range(0.95)
    headline = pair_of(found, "C", "RL", "base")
    observed = headline.gained + headline.lost
    relation = "fewer than" if observed < null.expected_discordants else "no fewer than"
    return Analysis(
        "self-null",
        "The base against itself",
        "The same base sampled twice in the published design also gains and loses questions. Probability of a pair at "
        "least as uneven as the published one (as many or more in its direction, as many or fewer against it), and of "
        "its net change, one-sided and two-sided; Holm over the three two-sided values.",
        found,
        {
            "comparison on C": labels,
            "gained : lost": found.counts,
            "discordant": texts(found.gained + found.lost),
            "P(pair)": probabilities(found.pair),
            "P(net)": probabilities(found.one_sided),
            "two-sided": probabilities(found.two_sided),
            "Holm": probabilities(found.adjusted),
        },
        f"Two samples of the base differ in {number(null.expected_discordants)} of {null.questions} questions on "
        f"average (95 % range {low}–{high}, SD of the net {number(null.standard_deviation_of_net)}): the {observed} "
        f"discordant questions of the headline are {relation} that, and its net of +{headline.net} or more arises with "
        f"probability {number(headline.one_sided, 3)}. Beyond the self-null after Holm: "
        f"{listed(list(labels[found.adjusted <= 0.05])) or 'none'}.",
        (
            "The probability of the pair is a description chosen after seeing it, not a p-value; the test is that of "
            "the net.",
            "The law of the base serves as null for RL against SFT too, for which neither of the two arms is the base.",
        ),
    )


def self_null_episodes() -> Analysis:
    """Section 5.5: expected discordant questions by number of episodes."""
    questions, published = evaluation_questions(), evaluation_episodes()
    laws = {arm: expected_self_null_discordants(*rate_law(arm), EPISODES, questions) for arm in ("base", "RL")}
    found = pd.DataFrame({"episodes": EPISODES, **laws})
    shown = dict(zip(EPISODES, numbers(found.base), strict=True))
    return Analysis(
        "self-null-episodes",
        "Discordant questions without any change, by episodes",
        "Expected number of questions of 100 solved by one of two samples of the same policy and not by the other.",
        found,
        {"episodes a question": texts(found.episodes), "base": numbers(found.base), "RL": numbers(found.RL)},
        f"More episodes help slowly: from {shown[published]} discordant questions at n = {published} to "
        f"{shown[EPISODES[-1]]} at n = {EPISODES[-1]} for the base.",
    )


def no_success() -> Analysis:
    """Section 5.5 and trap 8: exact (Clopper-Pearson) upper 95 % bounds after 0 of n.

    One-sided 1 - .05^(1/n), two-sided 1 - .025^(1/n); `pass_at_bound`: pass@64 of a question at the one-sided bound;
    `membership`: P(true pass@64 > .5) under the law of the base.
    """
    episodes = np.array([64, 128, 256])
    one_sided, two_sided = (-np.expm1(np.log(tail) / episodes) for tail in (0.05, 0.025))
    members = [float(boundary_membership(*rate_law("base"), int(n), 0, 64, 0.5)) for n in episodes]
    found = pd.DataFrame(
        {
            "episodes": episodes,
            "one_sided": one_sided,
            "two_sided": two_sided,
            "pass_at_bound": -np.expm1(64 * np.log1p(-one_sided)),
            "membership": members,
        }
    )
    first = next(found.itertuples())
    half, nearly = (number(detection_rate(share, first.episodes), 3) for share in (0.5, 0.95))
    return Analysis(
        "no-success",
        "What a question outside the boundary may still be",
        "Exact upper 95 % bounds of the success rate after no success, the pass@64 at the one-sided bound, and the "
        "probability that the true pass@64 exceeds 1/2 if rates follow the law of the base.",
        found,
        {
            "successes": [f"0 of {episodes}" for episodes in found.episodes],
            "one-sided bound": numbers(found.one_sided, 4),
            "two-sided bound": numbers(found.two_sided, 4),
            "pass@64 at the bound": numbers(found.pass_at_bound, 2),
            "P(pass@64 > 1/2)": numbers(found.membership, 2),
        },
        f"A question with no success in {first.episodes} episodes may have a pass@64 of "
        f"{number(first.pass_at_bound, 2)}. The boundary is a soft threshold: a question enters it with probability "
        f"1/2 at a success rate of {half} and .95 at {nearly}.",
        ("The bounds need no published number; the last column uses the law of the base.",),
    )


def priors() -> Analysis:
    """Section 3.4, the prior trap: a question without success in 64, and a panel by the law of the base."""
    episodes, (counts, law) = evaluation_episodes(), _count_law()
    laws = {
        "uniform, Beta(1, 1)": (1.0, 1.0),
        "Jeffreys, Beta(1/2, 1/2)": (0.5, 0.5),
        "law of the base": rate_law("base"),
    }
    rows = [
        (
            name,
            *(float(posterior_pass_at_k(*prior, episodes, 0, k)) for k in (64, 256)),
            law @ posterior_pass_at_k(*prior, episodes, counts, 64),
        )
        for name, prior in laws.items()
    ]
    found = pd.DataFrame(rows, columns=["prior", "at_64", "at_256", "panel"])
    truth = value("pass.C.base.k64.T5")
    uniform = float(found.panel[0])
    return Analysis(
        "priors",
        "What a prior adds to the boundary",
        "Posterior mean of pass@k for a question without success in 64 episodes, and the panel's posterior mean of "
        "pass@64 when rates follow the law of the base.",
        found,
        {
            "prior": found.prior,
            "pass@64 after 0 of 64": numbers(found.at_64, 3),
            "pass@256 after 0 of 64": numbers(found.at_256, 2),
            "panel pass@64": numbers(found.panel, 3),
        },
        f"A uniform prior turns a panel of {number(truth, 3)} into {number(uniform, 3)}, "
        f"{number(100 * (uniform - truth))} points too much, beside a published gain of "
        f"{value('net-expansion.C.RL-base'):g} points: a prior has to be fitted to the panel.",
    )


def plug_in() -> Analysis:
    """Trap 1 of section 9: exact expectations under the law of the base, with and without replacement."""
    episodes, (counts, law) = evaluation_episodes(), _count_law()
    rows = [(k, law @ (1 - (1 - counts / episodes) ** k), law @ pass_at_k(episodes, counts, k)) for k in PLUG_IN_K]
    found = pd.DataFrame(rows, columns=["k", "with_replacement", "unbiased"])
    bias = 100 * (found.with_replacement - found.unbiased)
    first = value("pass.C.RL.k1.T5") - value("pass.C.base.k1.T5")
    return Analysis(
        "plug-in",
        "Bias of pass@k drawn with replacement",
        "Exact expectations of 1 − (1 − c/n)^k and of the unbiased estimator, n = 64, rates by the law of the base.",
        found,
        {
            "k": texts(found.k),
            "with replacement": numbers(found.with_replacement, 3),
            "unbiased": numbers(found.unbiased, 3),
            "bias, points": numbers(bias, signed=True),
        },
        f"At k = n = {PLUG_IN_K[-1]} the estimator with replacement is {number(-float(bias.iloc[-1]))} points low, "
        f"beside published differences of {number(100 * first, 1, signed=True)} points at k = 1 and "
        f"{value('net-expansion.C.RL-base'):+g} at k = 64.",
        (
            "The paper uses the unbiased estimator; the bias matters to whoever compares it with other tools' "
            "best-of-n.",
        ),
    )
