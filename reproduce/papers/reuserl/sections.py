"""What the report of ReuseRL tells besides its claims: bed, phrases, training, hacks, controls, the paper's numbers."""

from __future__ import annotations

import numpy as np

from reproduce.claims.evidence import Part
from reproduce.claims.ratios import seed_ratios
from reproduce.claims.records import MethodRecords
from reproduce.claims.tests import edges, superiority
from reproduce.papers.reuserl.experiment import HEADLINE_ARMS, IRREVERSIBLE_ENVIRONMENT, SWEPT_WEIGHTS
from reproduce.papers.reuserl.figures import arms, environments, named
from reproduce.papers.reuserl.hacks import hacks, weight_of
from reproduce.papers.reuserl.measures import FEWEST_STEPS, logged, strings_of, was_empty
from reproduce.papers.reuserl.published import beside_the_paper
from reproduce.papers.reuserl.statistics import (
    failures,
    gain,
    length_on_shared,
    shares,
)
from reproduce.report.appendix import policy_text, seeds_text, tasks_text
from reproduce.report.text import NOTHING, Section, effect_text, listed, number, over_seeds, plain, table

PHRASES_SHOWN = 8


def further_sections(records: MethodRecords) -> tuple[Section, ...]:
    """The sections that follow the claims."""
    return (
        bed(records),
        phrases(records),
        training(records),
        hacks(records),
        controls(records),
        beside_the_paper(records),
    )


def scope(records: MethodRecords) -> str:
    """Sizes of the experiment, for the report's first page."""
    parts = []
    for environment in environments(records):
        bed_config = records.experiment[environment]
        panels, evaluation = bed_config["panels"], bed_config["evaluation"]
        parts.append(
            f"{environment}, {len(arms(records, environment)) - 1} trained arms, {panels['test']} test tasks with "
            f"{evaluation['samples']} episodes each"
        )
    first = records.experiment[environments(records)[0]]
    policy = policy_text(records.experiment, first["policy"], environments(records)[0])
    return (
        f"{policy}, on {tasks_text(first['panels'], 'generated tasks')} ({'; '.join(parts)}); "
        f"{seeds_text(records.experiment, records.seeds)} in each environment."
    )


def positive_controls(records: MethodRecords) -> tuple[tuple[str, Part], ...]:
    """Each trained arm's gain of success over its base on the test panel: does training work at all?"""
    return tuple(
        (f"{environment}, {named(arm)} minus base", superiority(gain(records, environment, arm, "base"), 0.0))
        for environment in environments(records)
        for arm in arms(records, environment)
        if arm != "base"
    )


def bed(records: MethodRecords) -> Section:
    """What the base does before training: the bed on which the claims are tested."""
    rows = []
    for environment in environments(records):
        successes = strings_of(records, environment, "base")
        lengths = successes["skills"].str.split().str.len()
        distinct = successes.groupby("seed")["skills"].nunique().reindex(range(records.seeds), fill_value=0)
        per_success = shares(records, environment, "base", "rounds_of_successes", "successes")
        burned = 100 * failures(records, environment, "base", "burned").mean(axis=1)
        burned = burned / records.table(environment, "base", "n").mean(axis=1)
        rows.append(
            (
                environment,
                over_seeds(records.success(environment, "base").mean(axis=1), 1),
                over_seeds(records.success(environment, "base", "ood").mean(axis=1), 1),
                over_seeds(burned, 1),
                over_seeds(seed_ratios(per_success) / 100, 1),
                f"{lengths.min()}–{lengths.max()}" if len(lengths) else NOTHING,
                over_seeds(distinct.to_numpy(), 0),
            )
        )
    headings = (
        "Environment",
        "Success, %",
        "OOD success, %",
        "Burned, %",
        "Length of successes",
        "Shortest to longest",
        "Distinct successes",
    )
    body = [
        plain(
            "Of the base policies alone on the test panel (out of distribution where said), mean over seeds (least to "
            "most). Burned: share of all episodes that a step which cannot be undone ended. Distinct successes: "
            "different skill strings among a seed's successes."
        ),
        table(headings, rows),
    ]
    kinds = _by_category(records)
    if kinds:
        body += [
            plain(
                "Cooking by kind of game; with `cook-off` the ingredients are cooked already, and the recipe burns "
                "them."
            ),
            table(("Kind of game", *(named(arm) for arm in _headline(records, IRREVERSIBLE_ENVIRONMENT))), kinds),
        ]
    return Section("The base and the bed", "\n\n".join(body))


def _headline(records: MethodRecords, environment: str) -> tuple[str, ...]:
    return arms(records, environment, HEADLINE_ARMS)


def _by_category(records: MethodRecords) -> list[tuple[str, ...]]:
    """Success of the headline arms on each kind of game in cooking."""
    environment = IRREVERSIBLE_ENVIRONMENT
    if environment not in environments(records):
        return []
    found = records.counts[(records.counts["environment"] == environment) & (records.counts["panel"] == "test")]
    return [
        (
            category,
            *(
                over_seeds(records.success(environment, arm, category=category).mean(axis=1), 1)
                for arm in _headline(records, environment)
            ),
        )
        for category in sorted(found["category"].unique())
    ]


def phrases(records: MethodRecords) -> Section:
    """What SegCost learned, in words."""
    body = [
        plain(
            "Phrases of SegCost's dictionary at the end of training: in how many seeds each was learned, and how often "
            "the segmentation of a success on the test panel uses it."
        )
    ]
    learned = records.tables.get("phrases")
    for environment in (name for name in environments(records) if records.has(name, "segcost")):
        if learned is None:
            break
        own = learned[(learned["environment"] == environment) & (learned["arm"] == "segcost")]
        if own.empty:
            body.append(plain(f"In {environment} no seed learned a phrase: the cost stayed a length penalty."))
            continue
        found = own.groupby("phrase").agg(
            seeds=("seed", "nunique"), uses=("uses", "sum"), successes=("successes", "sum")
        )
        found = found.reset_index().sort_values(["seeds", "uses", "phrase"], ascending=[False, False, True])
        sizes = own.groupby("seed").size().reindex(range(records.seeds), fill_value=0)
        rows = [
            (
                row.phrase.replace(" ", " → "),
                f"{row.seeds} of {records.seeds}",
                number(row.uses / row.successes if row.successes else None, 2),
            )
            for row in found.head(PHRASES_SHOWN).itertuples()
        ]
        body += [
            plain(
                f"{environment.capitalize()}: {over_seeds(sizes.to_numpy(), 1)} phrases a seed, {len(found)} different "
                f"ones; the {min(len(found), PHRASES_SHOWN)} most shared:"
            ),
            table(("Phrase", "Seeds", "Uses a success"), rows, numbers=(2,)),
        ]
    return Section("Learned phrases", "\n\n".join(body), ("dictionary",))


def training(records: MethodRecords) -> Section:
    """Dictionary, cost and variety of successes at the start and the end of training."""
    measures = {
        "reuse/success": ("success of rollouts, share", 3),
        "reuse/success_length": ("length of successes, actions", 2),
        "reuse/success_segments": ("cost of successes, phrases", 2),
        "reuse/success_cost": ("cost of successes, seg/T", 3),
        "reuse/phrases": ("phrases of the dictionary", 1),
        "reuse/dictionary_bits": ("dictionary, bits", 0),
        "reuse/corpus": ("successes it was drawn from", 0),
        "reuse/distinct_successes": ("distinct successes in a batch", 1),
        "reuse/success_entropy": ("entropy of successes, bits", 2),
        "reuse/longest_run": ("longest run of one symbol", 2),
        "reuse/rank_correlation": ("Spearman of length and cost", 2),
        "groups/mixed": ("groups with some successes, share", 3),
        "groups/all_right": ("groups of successes only, share", 3),
    }
    rows = []
    for environment in environments(records):
        trained = [arm for arm in _headline(records, environment) if arm != "base"]
        for column, (label, digits) in measures.items():
            cells = [_start_and_end(records, environment, arm, column, digits) for arm in trained]
            rows.append((environment, label, *cells))
    names = [named(arm) for arm in HEADLINE_ARMS[1:]]
    body = [
        plain(
            "First and last tenth of the steps (3 at least), mean over seeds. Fewer distinct successes, less entropy "
            "and longer runs are the side effects to expect of a reward for repeating oneself; a dictionary that stays "
            "empty would make SegCost the length penalty. GRPO's dictionary is learned for the log only."
        ),
        table(("Environment", "Measure", *names), rows),
    ]
    empty = [was_empty(records, name) for name in environments(records) if records.has(name, "segcost")]
    for reason in filter(None, empty):
        body.append(plain(f"Not measured in {reason}. There SegCost is the length penalty, and no claim judges it."))
    return Section("Over training", "\n\n".join(body), ("learning", "cost"))


def _start_and_end(records: MethodRecords, environment: str, arm: str, column: str, digits: int) -> str:
    ends = [part[np.isfinite(part)] for part in edges(logged(records, environment, arm, column), FEWEST_STEPS)]
    return " → ".join(number(float(part.mean()) if part.size else None, digits) for part in ends)


def matched_length_arm(records: MethodRecords, environment: str) -> str:
    """Control 8d: of the length penalties, the one whose successes among the training rollouts are, in the last tenth
    of the steps and on average over seeds, as long as SegCost's; the test panel has no part in the choice."""

    def length(arm: str) -> float:
        log = logged(records, environment, arm, "reuse/success_length")
        last = edges(log, FEWEST_STEPS)[1]
        return float(last[np.isfinite(last)].mean()) if np.isfinite(last).any() else float("inf")

    candidates = arms(records, environment, ("length", *(f"length_weight_{weight}" for weight in SWEPT_WEIGHTS)))
    wanted = length("segcost")
    return min(candidates, key=lambda arm: (abs(length(arm) - wanted), candidates.index(arm)))


def controls(records: MethodRecords) -> Section:
    """SegCost against every other arm, and the length penalty that is as short."""
    rows = []
    for environment in (name for name in environments(records) if records.has(name, "segcost")):
        for arm in (name for name in arms(records, environment) if name != "segcost"):
            found = [
                effect_text(superiority(gain(records, environment, "segcost", arm, panel), 0.0))
                for panel in ("test", "ood")
            ]
            rows.append((environment, named(arm), *found))
    matched = []
    for environment in (name for name in environments(records) if records.has(name, "segcost", "length")):
        arm = matched_length_arm(records, environment)
        difference = seed_ratios(length_on_shared(records, environment, "segcost", arm)) / 100
        matched.append(
            f"in {environment} {named(arm)} (lambda = {weight_of(records, arm):g}; on tasks that both solve SegCost's "
            f"successes are {over_seeds(difference, 2)} actions longer)"
        )
    body = [
        plain(
            "SegCost minus each arm, success in points with 95 % intervals over seeds and tasks, on the test panel and "
            "out of distribution. No correction over the rows: claims are above. Arms without division by the standard "
            "deviation are compared with SegCost as it is trained, with the division, under which lambda cancels in "
            "groups of successes only. A dictionary from failures (8b) is no arm: the method learns from successes "
            "only."
        ),
        table(("Environment", "Arm", "Test", "Out of distribution"), rows),
    ]
    if matched:
        body.append(
            plain(
                f"Control 8d, the length penalty of the same mean length as SegCost, chosen on training rollouts alone "
                f"among the weights that ran: {listed(matched)}; its row above is the comparison at matched length."
            )
        )
    body += [plain(sentence) for sentence in _dictionary_controls(records)]
    return Section("Controls", "\n\n".join(body), ("controls", "compressibility", "operations", "failures", "bound"))


def _dictionary_controls(records: MethodRecords) -> list[str]:
    """How far the control dictionaries are matched to SegCost's, a sentence each."""
    sentences = []
    for environment in (name for name in environments(records) if records.has(name, "segcost")):
        if records.has(environment, "random_dictionary"):
            own, drawn = (_cost_of_a_symbol(records, environment, arm) for arm in ("segcost", "random_dictionary"))
            sentences.append(
                f"Control 8a in {environment}: the random dictionary has the number and the lengths of the phrases "
                f"that SegCost's has at the end, from the first step on, and its phrases are uniform over symbols, so "
                f"that most of them never occur. Mean phrases a symbol of successes on the test panel, each arm under "
                f"its own dictionary: SegCost {own}, random {drawn}; 1 is the length penalty."
            )
        if records.has(environment, "shuffled_order"):
            phrases = [
                _start_and_end(records, environment, arm, "reuse/phrases", 1) for arm in ("segcost", "shuffled_order")
            ]
            sentences.append(
                f"Control 8f in {environment} is not matched in size. Phrases in the first and last tenth of the "
                f"steps: SegCost {phrases[0]}, shuffled {phrases[1]}."
            )
        if records.has(environment, "frozen_after_warm_up"):
            sentences.append(
                f"Control 8c in {environment} counts every batch, also those that leave the corpus below min_corpus: "
                f"if the corpus is not there in time, its dictionary stays empty."
            )
    return sentences


def _cost_of_a_symbol(records: MethodRecords, environment: str, arm: str) -> str:
    """Mean seg/|s| of an arm's successes on the test panel under the dictionary each run ended with, over seeds."""
    found = strings_of(records, environment, arm)
    ratio = found["segments"] / found["skills"].str.split().str.len()
    sums = (ratio * found["count"]).groupby(found["seed"]).sum() / found["count"].groupby(found["seed"]).sum()
    return over_seeds(sums.to_numpy(dtype=np.float64), 2)
