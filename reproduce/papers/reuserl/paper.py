"""ReuseRL: skill reuse as compression in agentic RL (arXiv 2605.31509).

The experiment: from the same warm-started base GRPO trains on the outcome alone, on the outcome minus a round-length
penalty, and on the outcome minus the segmentation cost of the episode's skill string under a dictionary of phrases
that is extracted from the successes at each step. Three environments: countdown and the household fail by running out
of rounds; in cooking a step that cannot be undone ends half of the games for whoever follows the recipe to the letter.
The controls ask whether it is structure that matters, or just a cheaper length.
"""

from __future__ import annotations

from reproduce.papers.reuserl.claims import CLAIMS
from reproduce.papers.reuserl.figures import draw_figures
from reproduce.papers.reuserl.identities import IDENTITIES
from reproduce.papers.reuserl.measures import TRAINING_COLUMNS, further_records, measure_tasks, read_records
from reproduce.papers.reuserl.power import planned_effects
from reproduce.papers.reuserl.sections import further_sections, positive_controls, scope
from reproduce.papers.reuserl.settings import DESCRIPTIONS as ARMS
from reproduce.papers.reuserl.settings import KEY, PROFILES, plan

__all__ = [
    "ARMS",
    "ARXIV",
    "CLAIMS",
    "DEVIATIONS",
    "IDENTITIES",
    "KEY",
    "PROFILES",
    "SUMMARY",
    "TITLE",
    "TRAINING_COLUMNS",
    "draw_figures",
    "further_records",
    "further_sections",
    "measure_tasks",
    "plan",
    "planned_effects",
    "positive_controls",
    "read_records",
    "scope",
]

TITLE = "Skill Reuse as Compression in Agentic RL"
ARXIV = "2605.31509"
SUMMARY = (
    "ReuseRL charges a successful episode for the number of dictionary phrases that its string of abstract skills "
    "takes, with a dictionary compressed from recent successes, in the place of the number of its rounds. The paper "
    "claims that the length penalty drops the careful step that guards an irreversible one, and that this cost does "
    "not, because a routine that successes share is cheap however long it is. Here both are trained from the same "
    "bases for several seeds, beside controls with random and shuffled dictionaries, with an interval for every number."
)
DEVIATIONS = (
    "The policy is a small decoder trained from scratch on generated tasks, not a model of 1.5 to 1.7 billion "
    "parameters on ALFWorld, TextWorld-Cooking and Countdown; verdicts are about the mechanism at this size.",
    "The body of the paper was not read: method, numbers and theorem come from third-party digests. The code length "
    "(bits, summed over strings), the weight lambda, the size of the buffer, the horizon as denominator, one "
    "extraction a step and scoring with the dictionary of the same step are our reading or our defaults.",
    "A dictionary is extracted from far fewer successes than the 50 strings of a generic recipe in one digest: the "
    "batches are small. The profile's `min_corpus` says how few.",
    "GRPO's arm runs the same code with lambda = 0, so that its reward is the outcome; its dictionary is for the log.",
    "The household stands for ALFWorld, with the engine's own grammar and generated scenes, and its evaluation is the "
    "success rate over sampled episodes, not SC@7, whose meaning is not public.",
    "The bound is our reconstruction of Theorem 3 (Occam-Hoeffding, with one nat so that the code satisfies Kraft's "
    "inequality). It is about description length under a frozen policy: the law is the empirical law of the base's "
    "recorded successes, pooled over seeds. It says nothing on success or on training.",
    "A dictionary from failures (control 8b) is left out: the method takes in successes only.",
    "The length penalty of matched length (8d) is chosen among the weights 0.1, 0.3, 0.5 and 0.9 by the length of "
    "training successes; profiles that run one weight can only choose that one.",
    "Superiority is tested by sign flips over seeds; claims with several parts need all of them, so that the largest p "
    "is valid and Holm's correction over parts, which the specification asks for, is shown beside each part.",
    "Where the specification names no environment: in distribution against out of distribution and the length of "
    "successes are tested in every environment of the profile, actions in the household, structure in cooking.",
    "Compressibility is measured under a dictionary extracted from successes of each run, as many for every run of an "
    "environment, not under the run's own: arms without a dictionary take part, and the number of successes, which "
    "pays "
    "for phrases, has no influence.",
    "Where SegCost's dictionary was empty in more than half of the steps, SegCost is the length penalty and is not "
    "judged: that part of a claim is not measured, and the claim cannot be supported.",
    "lambda is fixed at 0.3 in the laptop profile and swept in `full` only, so that control 8d can there choose only "
    "`length` itself. In cooking an action costs lambda / T, about 0.03, while careless play loses about half of the "
    "games: only groups of successes, where lambda cancels, push towards carelessness. Their share is shown beside "
    "length-harms-guarded, over all kinds of game, as training does not log it by kind.",
    "The random dictionary (8a) is matched to the dictionary SegCost ends with, from the first step on, and uniform "
    "over symbols, so that most of its phrases never occur; the shuffled one (8f) is not matched in size. The warm-up "
    "of the frozen one (8c) counts batches that leave the corpus below `min_corpus`.",
    "starts-as-length: the buffer grows while training goes on, and below `min_corpus` the correlation is 1 by "
    "construction, so that a fall may be the growth of the corpus. Environments with an empty dictionary are left out, "
    "and each end has three steps at least.",
    "structure-matters is refuted where both 95 % intervals end below +3 points; the specification asks that they lie "
    "inside +-3. A control that is clearly better refutes the claim too.",
    "The laptop profile has 8 seeds where some claims ask for 10, and no profile has the 1,000 test tasks that the "
    "specification asks for.",
    "A second look: two laptop runs were seen on the test tasks of panel seed 0 before the rules above on empty "
    "dictionaries were set. The run that counts has test tasks of panel seed 1; its sizes were cut to fit eight "
    "minutes.",
    "easy-env-equivalence cannot be powered at a margin of 3 points by the 10 seeds of `full`; the plan shows the "
    "margin that they could show.",
    "Refutation is judged for each part of a claim without correction over parts: a claim with many parts is refuted "
    "by chance more often than one with a single part.",
    "Compressibility is ranked among the seeds of each arm, in estimate, interval and permutation alike, so that "
    "differences between arms have no part in it; the correlation across arms is shown beside it.",
)
