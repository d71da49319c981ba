"""What the report on EchoRL shows besides its claims: arms, groups, gradients, clips, costs, the paper's numbers."""

from __future__ import annotations

import numpy as np

from reproduce.claims.published import load_published
from reproduce.claims.records import MethodRecords
from reproduce.claims.tests import edge_means, edge_of, interval_text
from reproduce.papers.echorl.accuracy import cumulative_cost, final_entropy
from reproduce.papers.echorl.experiment import ARMS, KEY, RIVALS
from reproduce.papers.echorl.frozen import picks
from reproduce.papers.echorl.measures import (
    ENVIRONMENTS,
    REASONING,
    all_success_share,
    control,
    gain,
    has_log,
    largest_k,
    logged,
    pass_points,
    trained_arms,
)
from reproduce.papers.echorl.signal import gradient_ratios
from reproduce.report.text import NOTHING, Section, count, interval, number, over_seeds, plain, table
from theory.inference import crossed_t_interval


def further_sections(records: MethodRecords) -> tuple[Section, ...]:
    """The sections after the claims, in order."""
    return (
        bed(records),
        arms(records),
        group_shares(records),
        gradients(records),
        clips(records),
        rivals(records),
        beside_the_paper(),
    )


def _crossed(values: np.ndarray) -> str:
    found = crossed_t_interval(values)
    return f"{number(float(found.estimate))} {interval(float(found.low), float(found.high))}"


def bed(records: MethodRecords) -> Section:
    """What the base can do, before training."""
    rows = []
    for environment in ENVIRONMENTS:
        if not records.has(environment, "base"):
            continue
        k = largest_k(records, environment)
        found = records.counts[(records.counts["environment"] == environment) & (records.counts["arm"] == "base")]
        for panel, category in found[["panel", "category"]].drop_duplicates().itertuples(index=False):
            own = records.success(environment, "base", panel, category).mean(axis=1)
            share = all_success_share(records, "base", environment, panel, category).mean(axis=1)
            n, successes = (records.table(environment, "base", name, panel, category) for name in ("n", "successes"))
            rows.append(
                (
                    f"{environment}, {panel}, {category}",
                    str(n.shape[1]),
                    over_seeds(own / 100, 2),
                    over_seeds(share, 2),
                    over_seeds((successes == 0).mean(axis=1), 2),
                    over_seeds((successes == n).mean(axis=1), 2),
                )
            )
    body = [
        plain(
            "Of the base policies alone, mean over seeds (least to most). All of G: the chance that every episode of a "
            "group succeeds, unbiased from the counts, so that spread among tasks counts (p^G of the mean would be too "
            f"small). PASS@k in this report is at k = {k} where not said otherwise."
        ),
        table(("Tasks", "Number", "Success", "All of G", "No success", "All successes"), rows, numbers=(1,)),
    ]
    return Section("The base and the bed", "\n\n".join(body))


def arms(records: MethodRecords) -> Section:
    """What each arm is, its success, and what it gains over its base and over the control."""
    parts = [
        plain(
            "Success on test tasks, %, and differences of the same seed in points: mean with 95 % interval over seeds "
            "and tasks. Control: the placebo, or GRPO, which equals it."
        )
    ]
    for environment in ENVIRONMENTS:
        names = trained_arms(records, environment)
        if not names:
            continue
        rows = [("base", _crossed(records.success(environment, "base")), NOTHING, NOTHING, NOTHING)]
        for arm in names:
            k = largest_k(records, environment)
            change = pass_points(records, arm, k, environment) - pass_points(records, "base", k, environment)
            own = _difference(gain(records, arm, environment=environment))
            rows.append(
                (
                    arm,
                    _crossed(records.success(environment, arm)),
                    _difference(gain(records, arm, "base", environment=environment)),
                    NOTHING if arm == control(records, environment) else own,
                    _difference(change),
                )
            )
        headings = (f"Arm, {environment}", "Success", "Minus base", "Minus control", f"PASS@{k} minus base")
        parts.append(table(headings, rows))
    described = {
        arm: ARMS[arm].description for environment in ENVIRONMENTS for arm in trained_arms(records, environment)
    }
    parts.append(table(("Arm", "What it is"), described.items()))
    return Section("The arms", "\n\n".join(parts), ("learning_curves",))


def _difference(values: np.ndarray) -> str:
    return interval_text(crossed_t_interval(values))


def group_shares(records: MethodRecords) -> Section:
    """Groups at the start and at the end of training."""
    rows = []
    for environment in ENVIRONMENTS:
        for arm in trained_arms(records, environment):
            whole, mixed = (
                edge_means(logged(records, environment, arm, f"groups/{name}")) for name in ("all_right", "mixed")
            )
            rows.append(
                (
                    f"{arm}, {environment}" if environment != REASONING else arm,
                    *(over_seeds(part, 2) for part in whole),
                    *(over_seeds(part, 2) for part in mixed),
                    over_seeds(final_entropy(records, arm, environment) / 100, 2),
                )
            )
    steps = logged(records, REASONING, "grpo", "reward").shape[1]
    body = [
        plain(
            f"Shares of groups in the first and in the last {edge_of(steps)} of {steps} steps, and the entropy of "
            "sampled tokens at the end in nats; mean over seeds (least to most). Only mixed groups have a policy "
            "gradient. Under dynamic sampling the shares are those of all batches drawn."
        ),
        table(("Arm", "All right, start", "End", "Mixed, start", "End", "Entropy"), rows),
    ]
    return Section("Group shares over training", "\n\n".join(body), ("group_shares", "dose"))


def gradients(records: MethodRecords) -> Section:
    """Norms of the two gradients."""
    rows = []
    for environment in ENVIRONMENTS:
        for arm in trained_arms(records, environment):
            if not has_log(records, environment, arm, "gradient/echo"):
                continue
            ratios = 1000 * gradient_ratios(records, environment, arm)
            known = np.isfinite(ratios).any(axis=1)
            start, end = edge_means(ratios[:, np.isfinite(ratios).any(axis=0)]) if known.any() else (ratios[:, 0],) * 2
            echo, alone = (logged(records, environment, arm, f"gradient/{name}") for name in ("echo", "echo_all_right"))
            measured = np.isfinite(alone)
            rows.append(
                (
                    f"{arm}, {environment}" if environment != REASONING else arm,
                    over_seeds(start, 1),
                    over_seeds(end, 1),
                    f"{np.nanmedian(echo):.2g}" if np.isfinite(echo).any() else NOTHING,
                    f"{np.median(alone[measured]):.2g}" if measured.any() else NOTHING,
                    str(int(measured.sum())),
                )
            )
    body = [
        plain(
            "Norm of the gradient of lambda times the echo over the norm of the policy gradient, in thousandths, at "
            "the start and the end of training: mean over seeds (least to most) where there was a policy gradient. The "
            "next columns are medians over measured steps of the echo's norm, and of that from clips of all-success "
            "groups alone, where the policy gradient is 0."
        ),
        table(("Arm", "Ratio, start", "Ratio, end", "Norm", "Of all-success groups", "Measured"), rows, numbers=(5,)),
    ]
    return Section("The two gradients", "\n\n".join(body), ("gradient_ratio",))


def clips(records: MethodRecords) -> Section:
    """Length, position and shortness of the clips."""
    rows = []
    for arm in (*trained_arms(records, REASONING), "frozen"):
        if not (records.has(REASONING, arm) and has_log(records, REASONING, arm, "echo/clip_tokens")):
            continue
        found = picks(records, arm)
        rows.append(
            (
                arm,
                over_seeds(found["clip_tokens"], 1),
                over_seeds(100 * found["clip_share"], 0),
                over_seeds(found["step_tokens"], 1),
                over_seeds(100 * found["short_steps"], 0),
                over_seeds(100 * found["short_steps_of_pool"], 0),
                over_seeds(100 * found["first_steps"], 0),
            )
        )
    headings = ("Arm", "Tokens", "% of episode", "Tokens of step", "% ≤ 3 tokens", "of pool", "% first step")
    body = [
        plain(
            "Clips over the whole training: tokens of the clip, where it ends as a share of its episode, tokens of the "
            "picked step, share of picked steps of 3 tokens or fewer beside that share among all steps of the pool, "
            "and share of clips whose step is the first of its episode. Mean over seeds (least to most)."
        ),
        table(headings, rows),
    ]
    return Section("Clips", "\n\n".join(body), ("clips",))


def rivals(records: MethodRecords) -> Section:
    """Accuracy beside rollouts and tokens, for every rival."""
    parts = [
        plain(
            "What a training sampled, batches that dynamic sampling threw away included, and what it reached. Tokens "
            "trained: of rows with an advantage or a clip. Means over seeds; success with its 95 % interval over seeds "
            "and tasks; success per million tokens is the gain over the base."
        )
    ]
    for environment in ENVIRONMENTS:
        rows = []
        for arm in ("grpo", "echo", "echo_strong", *RIVALS[1:], "dr_grpo", "dapo_echo"):
            if not records.has(environment, arm):
                continue
            rollouts, tokens = (
                float(cumulative_cost(records, environment, arm, column)[:, -1].mean())
                for column in ("episodes", "tokens/sampled")
            )
            gained = float(gain(records, arm, "base", environment=environment).mean())
            trained = float(np.nansum(logged(records, environment, arm, "tokens/trained"), axis=1).mean())
            cells = (count(rollouts), count(tokens), count(trained), _crossed(records.success(environment, arm)))
            rows.append((arm, *cells, number(1e6 * gained / tokens, 1, signed=True)))
        if rows:
            headings = (f"Arm, {environment}", "Rollouts", "Tokens sampled", "Tokens trained", "Success", "Per million")
            parts.append(table(headings, rows, numbers=(1, 2, 3, 5)))
    return Section("Accuracy against rollouts and tokens", "\n\n".join(parts), ("rivals", "costs"))


def beside_the_paper() -> Section:
    """The published averages, and which of them do not add up."""
    rows = []
    numbers = {item.id: item for item in load_published(KEY)}
    for method in ("base", "GRPO", "LUFFY", "LUFFY+EchoRL", "UFT", "UFT+EchoRL"):
        cells = [
            item.value
            for item in numbers.values()
            if item.quantity == "accuracy"
            and item.cell.get("method") == method
            and item.cell.get("benchmark") in ("AIME24", "AIME25", "AMC", "MATH500", "Minerva", "Olympiad")
        ]
        stated = [numbers.get(f"average-accuracy.{method}.{domain}") for domain in ("in-domain", "out-of-domain")]
        shown = [NOTHING if item is None else f"{item.value:g}" for item in stated]
        rows.append((method, shown[0], number(float(np.mean(cells)), 2) if cells else NOTHING, shown[1]))
    body = [
        plain(
            "The one excerpt of the paper's main table that is readable (Qwen2.5-Math-7B, in a digest): averages as "
            "stated, and the in-domain average of the excerpt's own cells. No number of ours estimates one of these: "
            "model, tasks and the base methods LUFFY and UFT differ. Neither seeds nor intervals are stated there."
        ),
        table(("Method", "In domain", "From its cells", "Out of domain"), rows, numbers=(1, 2, 3)),
    ]
    return Section("The paper's table", "\n\n".join(body))
