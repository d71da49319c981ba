"""What the report of ReuseRL tells besides its claims: bed, phrases, training, hacks, controls, the paper's numbers."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from reproduce.claims import Evidence
from reproduce.evidence import superiority
from reproduce.method_records import MethodRecords
from reproduce.papers.reuserl_evidence import ratio_table
from reproduce.papers.reuserl_figures import arms, environments, named
from reproduce.papers.reuserl_measures import ALPHABETS, dictionary_of, drawn_law, encoded, strings_of
from reproduce.papers.reuserl_settings import HEADLINE_ARMS, IRREVERSIBLE_ENVIRONMENT, KEY, SWEPT_WEIGHTS
from reproduce.papers.reuserl_statistics import (
    Ratio,
    burned_of_all,
    burned_of_failures,
    failures,
    gain,
    length_on_shared,
    shares,
)
from reproduce.published import PublishedNumber, load_published
from reproduce.report_appendix import policy_text
from reproduce.report_text import NOTHING, Section, effect_text, listed, number, over_seeds, plain, table
from theory.segmentation import phrase_counts

PHRASES_SHOWN = 8
REPETITIONS = 8
"""Symbols of the strings on which the price of repetition is measured."""
PAPER_ARMS = {"GRPO": "grpo", "length": "length", "SegCost-buf": "segcost", "SegCost-no-buf": "segcost_no_buffer"}
PAPER_BENCHMARKS = {
    "ALFWorld-IID": ("household", "test"),
    "ALFWorld-OOD": ("household", "ood"),
    "TextWorld-Cooking": ("cooking", "test"),
    "Countdown": ("countdown", "test"),
}
"""The paper's words, and ours."""


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
    policy = policy_text(records.experiment[environments(records)[0]]["policy"], environments(records)[0])
    return (
        f"a {policy} policy, trained from scratch, on generated tasks ({'; '.join(parts)}); {records.seeds} seeds, "
        f"each "
        f"with its own base in each environment."
    )


def positive_controls(records: MethodRecords) -> tuple[tuple[str, Evidence], ...]:
    """Each trained arm's gain of success over its base on the test panel: does training work at all?"""
    return tuple(
        (f"{environment}, {named(arm)} minus base", superiority(gain(records, environment, arm, "base"), 0.0))
        for environment in environments(records)
        for arm in arms(records, environment)
        if arm != "base"
    )


def _percent(of: Ratio) -> np.ndarray:
    """A ratio of sums in points, one value a seed, NaN where the denominator is 0."""
    return np.asarray(ratio_table(*of).mean(axis=1))


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
                over_seeds(_percent(per_success) / 100, 1),
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
            "First and last tenth of the steps, mean over seeds. Fewer distinct successes, less entropy and longer "
            "runs are the side effects to expect of a reward for repeating oneself; a dictionary that stays empty "
            "would make SegCost the length penalty. GRPO's dictionary is learned for the log only."
        ),
        table(("Environment", "Measure", *names), rows),
    ]
    return Section("Over training", "\n\n".join(body), ("learning", "cost"))


def _start_and_end(records: MethodRecords, environment: str, arm: str, column: str, digits: int) -> str:
    log = records.log(environment, arm, column)
    edge = max(1, log.shape[1] // 10)
    ends = [part[np.isfinite(part)] for part in (log[:, :edge], log[:, -edge:])]
    return " → ".join(number(float(part.mean()) if part.size else None, digits) for part in ends)


def repetition_price(records: MethodRecords, environment: str, arm: str, period: int) -> list[float]:
    """Cheapest cost of a repeated symbol in phrases, one value a seed: the least seg over strings of REPETITIONS
    symbols with this period, divided by REPETITIONS. Period 1 repeats one symbol, period 2 loops over two."""
    alphabet = len(ALPHABETS[environment])
    loops = [bytes(loop) * (REPETITIONS // period) for loop in itertools.permutations(range(alphabet), period)]
    return [
        float(phrase_counts(loops, dictionary_of(records, environment, arm, seed)).min()) / REPETITIONS
        for seed in range(records.seeds)
    ]


def cheaper_with_one_more(records: MethodRecords, environment: str, arm: str, repeat: bool) -> np.ndarray:
    """Share of an arm's successes on the test panel that one action more would make cheaper under the run's final
    dictionary, in points, one value a seed (NaN without a success). repeat: only an action given twice in a row."""
    alphabet, shares_of_seeds = len(ALPHABETS[environment]), []
    for seed in range(records.seeds):
        found = strings_of(records, environment, arm, seed=seed)
        strings = encoded(found["skills"], environment)
        longer, owner = [], []
        for place, string in enumerate(strings):
            for position, symbol in enumerate(string):
                for added in (symbol,) if repeat else range(alphabet):
                    longer.append(string[:position] + bytes([added]) + string[position:])
                    owner.append(place)
        if not longer:
            shares_of_seeds.append(np.nan)
            continue
        dictionary = dictionary_of(records, environment, arm, seed)
        cheapest = np.full(len(strings), np.iinfo(np.int64).max)
        np.minimum.at(cheapest, np.array(owner), phrase_counts(longer, dictionary))
        shares_of_seeds.append(100 * float(drawn_law(found) @ (cheapest < phrase_counts(strings, dictionary))))
    return np.array(shares_of_seeds)


def hacks(records: MethodRecords) -> Section:
    """What repetition and looping would gain under each arm's final dictionary, and whether policies do it."""
    rows = []
    for environment in environments(records):
        horizon = int(records.experiment[environment]["training"]["rounds"])
        for arm in (name for name in arms(records, environment) if name != "base"):
            weight = _weight(records, arm)
            prices = [repetition_price(records, environment, arm, period) for period in (1, 2)]
            saved = weight * REPETITIONS * (1 - float(np.mean(prices[0]))) / horizon
            padded = [cheaper_with_one_more(records, environment, arm, repeat) for repeat in (True, False)]
            repeated = _percent(shares(records, environment, arm, "repeated", "rounds"))
            runs = _percent(shares(records, environment, arm, "longest_run", "n")) / 100
            solved = _percent(shares(records, environment, arm, "longest_run_of_successes", "successes")) / 100
            rows.append(
                (
                    environment,
                    named(arm),
                    *(number(float(np.mean(price)), 2) for price in prices),
                    number(saved, 3),
                    *(number(_known_mean(values), 1) for values in (*padded, repeated)),
                    *(number(_known_mean(values), 2) for values in (runs, solved)),
                )
            )
    headings = (
        "Environment",
        "Arm",
        "Price, repeat",
        "Price, loop",
        "Saved",
        "Cheaper, repeat, %",
        "Cheaper, any, %",
        "Repeated, %",
        "Longest run",
        "of successes",
    )
    body = [
        plain(
            f"Two ways to game the cost. To fill an episode: price is what each symbol of the cheapest string of "
            f"{REPETITIONS} symbols costs in phrases, one symbol repeated or two in a loop, under the dictionary a run "
            f"ended with. The length penalty charges 1, the least possible is 1/L. Saved: reward that such a "
            f"repetition "
            f"saves in a success against a length penalty of the same lambda. To complete a phrase: cheaper is the "
            f"share of successes on the test panel that would cost fewer phrases with one action more, a repeated one "
            f"or any, which the length penalty never rewards. GRPO has a dictionary but pays for nothing (lambda = 0)."
        ),
        plain(
            "Whether policies do so: actions that their episode had given before word for word, as share of actions, "
            "and the longest run of one symbol, in all episodes and in successes, on the test panel. Means over seeds."
        ),
        table(headings, rows, numbers=range(2, 10)),
    ]
    return Section("What repetition and looping gain", "\n\n".join(body), ("actions",))


def _known_mean(values: np.ndarray) -> float | None:
    """Mean over the seeds that have a value; None without one."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else None


def _weight(records: MethodRecords, arm: str) -> float:
    """lambda of an arm."""
    if arm in ("base", "grpo", "grpo_no_std"):
        return 0.0
    suffix = arm.rpartition("_")[2]
    return float(suffix) if "_weight_" in arm else float(records.experiment["weight"])


def matched_length_arm(records: MethodRecords, environment: str) -> str:
    """Control 8d: of the length penalties, the one whose successes among the training rollouts are, in the last tenth
    of the steps and on average over seeds, as long as SegCost's; the test panel has no part in the choice."""

    def length(arm: str) -> float:
        log = records.log(environment, arm, "reuse/success_length")
        last = log[:, -max(1, log.shape[1] // 10) :]
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
        difference = _percent(length_on_shared(records, environment, "segcost", arm)) / 100
        matched.append(
            f"in {environment} {named(arm)} (lambda = {_weight(records, arm):g}; on tasks that both solve SegCost's "
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
    return Section("Controls", "\n\n".join(body), ("controls", "compressibility", "operations", "failures", "bound"))


def beside_the_paper(records: MethodRecords) -> Section:
    """Every published number that this experiment measures too."""
    rows, left_out = [], []
    for published in load_published(KEY):
        value = _ours(records, published)
        cell = published.cell
        what = published.quantity.replace("-", " ")
        kind = str(cell.get("kind", ""))
        if value is None:
            left_out.append(f"{what} of {cell.get('arm', 'the best method')} on {cell.get('benchmark', '?')}")
            continue
        against = f" - {cell['against']}" if "against" in cell else ""
        rows.append(
            (
                f"{what} {kind}".strip(),
                str(cell["benchmark"]),
                f"{cell['arm']}{against}",
                f"{published.value:g}",
                value,
                ", ".join(published.sources),
            )
        )
    body = [
        plain(
            "The paper's benchmarks correspond to our environments (ALFWorld: household; TextWorld-Cooking: cooking; "
            "Countdown: countdown); model, tasks and metric differ, so that no number of ours estimates one of theirs. "
            "All of its numbers were read in digests of it. Ours: mean over seeds (least to most), in the same unit."
        )
    ]
    if rows:
        headings = ("Quantity", "Benchmark", "Arm", "Paper", "Ours", "Read in")
        body.append(table(headings, rows, numbers=(3,)))
    body.append(plain(f"Published but not measured in this profile: {len(left_out)} numbers."))
    return Section("Published numbers beside ours", "\n\n".join(body), ("success",))


def _ours(records: MethodRecords, published: PublishedNumber) -> str | None:
    """Our measurement of a published number, mean over seeds; None where this profile has none."""
    cell = published.cell
    arm = PAPER_ARMS.get(str(cell.get("arm")))
    environment, panel = PAPER_BENCHMARKS.get(str(cell.get("benchmark")), ("", ""))
    if arm is None or not records.has(environment, arm):
        return None

    def difference() -> str | None:
        other = PAPER_ARMS[str(cell["against"])]
        if not records.has(environment, other):
            return None
        return over_seeds(gain(records, environment, arm, other, panel).mean(axis=1), 1)

    measures: dict[str, Callable[[], str | None]] = {
        "success": lambda: over_seeds(records.success(environment, arm, panel).mean(axis=1), 1),
        "success-difference": difference,
        "steps-of-successes": lambda: over_seeds(
            _percent(shares(records, environment, arm, "rounds_of_successes", "successes")) / 100, 1
        ),
        "action-share": lambda: over_seeds(_percent(shares(records, environment, arm, str(cell["kind"]), "rounds")), 1),
        "failure-share": lambda: (
            over_seeds(_percent(burned_of_failures(records, arm)), 1)
            + f"; of all episodes {over_seeds(_percent(burned_of_all(records, arm)), 1)}"
        ),
        "success-share": lambda: over_seeds(
            _percent(shares(records, environment, arm, "successes_without_reset", "successes")), 1
        ),
        "operation-share": lambda: over_seeds(
            _percent(shares(records, environment, arm, "multiplicative", "operations")), 1
        ),
    }
    measure = measures.get(published.quantity)
    return measure() if measure else None
