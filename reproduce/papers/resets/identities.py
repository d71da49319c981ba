"""Claims about RRPO and SRPO that are exact, tried anew whenever a report is written."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from reproduce.claims.published import setting_values
from reproduce.claims.verdicts import Check, Identity
from reproduce.papers.resets.coverage import STUDIES, coverage_laws
from theory.advantage_estimate_law import failure_probability, samples_for_failure, simulate_estimates
from theory.base_group import base_group_law, independent_group_mixed
from theory.decisive_chain import coverage_exponent
from theory.inference import mean_interval
from theory.reset_lower_bound import TwoStateConstruction, centred_failure_probability, failure_window

TRIALS = 20_000
COVERAGES, SIZES = (0.5, 0.2, 0.1, 0.05), (50, 200, 800, 3200, 12800, 51200)
RATES = (0.05, 0.10, 0.25, 0.50, 0.75, 0.90)
BASE, LIMIT = 4, 12
"""Chains of the base group, and most fresh chains of a prompt, in algorithm 2."""
TOLERANCE = 1e-6
EXPONENT_MARGIN = 0.1
"""Of the exponents of the coverage law; ours."""


def proposition_ten() -> Check:
    """The failure table by simulation against exact probabilities; P >= .18 up to sigma²/(4 E[A]²); centred form."""
    cases = failures = 0
    generator = np.random.default_rng(0)
    least = 1.0
    for p in COVERAGES:
        construction = TwoStateConstruction(p)
        for with_oracle in (False, True):
            law = construction.terms(with_oracle)
            for size in SIZES:
                exact = failure_probability(law, size)
                share = float((simulate_estimates(law, size, TRIALS, generator) <= 0).mean())
                cases += 1
                failures += abs(share - exact) > 4 * (exact * (1 - exact) / TRIALS) ** 0.5 + 2 / TRIALS
        law, high = construction.terms(with_oracle=False), failure_window(construction)[1]
        for size in np.unique(np.geomspace(1, high, 20).astype(int)).tolist():
            chance = failure_probability(law, size)
            least = min(least, chance)
            cases += 1
            failures += chance < _stated_failure()
        centred = construction.terms(with_oracle=False, centred=True)
        for size in (1, 7, 40, 300):
            cases += 1
            failures += abs(failure_probability(centred, size) - centred_failure_probability(construction, size)) > 1e-9
    ratios = [samples_for_failure(TwoStateConstruction(p).terms(False)) for p in COVERAGES]
    windows = {p: failure_window(TwoStateConstruction(p)) for p in (0.1, 0.05, 0.01, 0.008)}
    details = (
        ("least failure probability up to sigma²/(4 E[A]²)", f"{least:.3f}"),
        ("exponent of 1/p in samples to 5 % failure", f"{coverage_exponent(COVERAGES, ratios).mean:.2f}"),
        (
            "stated window of n, lower and upper end",
            "; ".join(
                f"p = {p:g}: {low:,.0f} to {high:,.0f}{' (empty)' * (low > high)}" for p, (low, high) in windows.items()
            ),
        ),
    )
    return Check(cases, int(failures), details)


def _stated_failure() -> float:
    value = setting_values("resets")["proposition-10.failure"]
    assert isinstance(value, float)
    return value


def group_bias() -> Check:
    """Success and mixed share of algorithm 2's base group: closed forms against its sampling loop, carried out on every
    sequence of outcomes up to the limit of fresh chains."""
    outcomes = (np.arange(2**LIMIT)[:, None] >> np.arange(LIMIT)) & 1
    failed = outcomes == 0
    first = np.where(failed.any(axis=1), failed.argmax(axis=1), LIMIT)
    # The group: the first four chains other than the seed, which is the first failure.
    order = np.argsort(np.arange(LIMIT) == first[:, None], axis=1, kind="stable")[:, :BASE]
    group = np.take_along_axis(outcomes, order, axis=1).sum(axis=1)
    rows, failures = [], 0
    for p in RATES:
        weight = p ** outcomes.sum(axis=1) * (1 - p) ** failed.sum(axis=1)
        rate, mixed = float(weight @ group / BASE), float(weight @ ((group > 0) & (group < BASE)))
        law = base_group_law(p, BASE, LIMIT)
        failures += abs(rate - float(law.success_rate)) > 1e-9
        failures += abs(mixed - float(law.mixed)) > 1e-9
        independent = float(independent_group_mixed(p, BASE))
        rows.append((f"p = {p:g}", f"success {rate:.3f}; with signal {mixed:.3f}, independent {independent:.3f}"))
    return Check(2 * len(RATES), failures, tuple(rows))


@dataclass(frozen=True)
class Update:
    """One update of a tiny policy through the trainer."""

    gradients: dict[str, Any]
    """Of each parameter."""
    rows: tuple[tuple[tuple[int, ...], Any], ...]
    """Of each chain: its tokens with the prompt's, padding left out, and for each whether there is a gradient of the
    state that gives its logits."""


PROMPT = 3
"""Tokens of the prompt."""
PREFIXES, LENGTHS = (0, 0, 0, 0, 6, 6, 6, 6), (14, 20, 9, 17, 15, 20, 11, 18)
"""Given tokens, and all tokens, of the chains of one block."""


def _chains() -> list[list[int]]:
    chains = np.random.default_rng(0).integers(4, 24, (len(LENGTHS), max(LENGTHS)))
    chains[4:, : PREFIXES[-1]] = chains[4, : PREFIXES[-1]]
    return [row[:length].tolist() for row, length in zip(chains, LENGTHS, strict=True)]


def _columns(in_prompt: bool) -> dict[str, list[Any]]:
    """A base group and a suffix group as the rollouts hand them to the trainer; the prefixes masked, or moved into the
    prompts."""
    from methods.resets import Block, Chain, Row, rollout_columns

    rows = []
    for place, (chain, prefix) in enumerate(zip(_chains(), PREFIXES, strict=True)):
        right = place % 4 == 0
        told = Chain(tuple(chain), (len(chain),), float(right), right, columns={"success": right})
        rows.append(Row(tuple(range(1, PROMPT + 1)), told, int(prefix > 0), prefix))
    columns = rollout_columns([Block(tuple(rows), (), len(rows), sum(LENGTHS))])
    if in_prompt:
        for row, prefix in enumerate(PREFIXES):
            columns["prompt_ids"][row] += columns["completion_ids"][row][:prefix]
            for name in ("completion_ids", "env_mask"):
                columns[name][row] = columns[name][row][prefix:]
    return columns


@cache
def _update(in_prompt: bool) -> Update:
    """One step of `GRPOWithResets` on these chains."""
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    import torch
    from datasets import Dataset
    from transformers import PrinterCallback, Qwen3Config, Qwen3ForCausalLM, TrainerCallback
    from trl import GRPOConfig

    from methods.resets import GRPOWithResets, chain_reward
    from reproduce.rollouts.policies import build_tokenizer

    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    tokens = {"vocab_size": 24, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 3}
    shape = Qwen3Config(num_key_value_heads=2, head_dim=16, max_position_embeddings=64, **sizes, **tokens)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Qwen3ForCausalLM(shape).double()
    gradients, seen = dict[str, Any](), dict[str, Any]()

    class Keep(TrainerCallback):
        def on_pre_optimizer_step(self, *arguments: Any, **named: Any) -> None:
            gradients.update({name: value.grad.clone() for name, value in model.named_parameters()})

    def keep_ids(module: Any, arguments: Any, named: dict[str, Any]) -> None:
        seen.update(ids=named["input_ids"].clone(), mask=named["attention_mask"].bool())

    def keep_states(module: Any, arguments: Any, output: Any) -> None:
        output.retain_grad()
        seen["states"] = output

    model.register_forward_pre_hook(keep_ids, with_kwargs=True)
    # The last state at a place enters nothing but the logits of the token after it.
    model.model.norm.register_forward_hook(keep_states)
    with TemporaryDirectory() as folder:
        trainer = GRPOWithResets(
            model=model,
            reward_funcs=chain_reward,
            args=GRPOConfig(
                output_dir=folder,
                use_cpu=True,
                bf16=False,
                gradient_checkpointing=False,
                per_device_train_batch_size=len(LENGTHS),
                num_generations=len(LENGTHS),
                max_steps=1,
                max_grad_norm=0.0,
                max_completion_length=max(LENGTHS),
                loss_type="grpo",
                beta=0.0,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                dataloader_pin_memory=False,
            ),
            train_dataset=Dataset.from_list([{"prompt": "one"}] * len(LENGTHS)),
            processing_class=build_tokenizer(tuple(f"word{number}" for number in range(19))),
            rollout_func=lambda prompts, trainer: _columns(in_prompt),
            callbacks=[Keep()],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    rows = []
    for ids, mask, gradient in zip(seen["ids"], seen["mask"], seen["states"].grad, strict=True):
        own = torch.zeros(len(ids), dtype=torch.bool)
        own[1:] = gradient.ne(0).any(dim=-1)[:-1]
        rows.append((tuple(ids[mask].tolist()), own[mask].tolist()))
    return Update(gradients, tuple(rows))


def prefix_encoding() -> Check:
    """Each parameter's gradient with the prefix masked, against that with the prefix in the prompt."""
    masked, in_prompt = _update(False).gradients, _update(True).gradients
    gaps = {name: float((masked[name] - in_prompt[name]).abs().max()) for name in masked}
    largest = max(float(value.abs().max()) for value in masked.values())
    details = (
        ("largest difference of a gradient's entry", f"{max(gaps.values()):.1e}"),
        ("largest entry", f"{largest:.1e}"),
    )
    # A gradient of nothing would pass any comparison.
    return Check(len(gaps), sum(gap > TOLERANCE for gap in gaps.values()) + (largest < 1e-4), details)


def prefix_gradient() -> Check:
    """Whether a token's logits get a gradient, for every token of the chains of a block."""
    where = {tuple(range(1, PROMPT + 1)) + tuple(chain): place for place, chain in enumerate(_chains())}
    cases = failures = 0
    given = 0
    for ids, heard in _update(False).rows:
        prefix = PREFIXES[where[ids]]
        expected = [place >= PROMPT + prefix for place in range(len(ids))]
        given += prefix
        cases += len(ids) - PROMPT
        failures += sum(one != other for one, other in zip(heard, expected, strict=True))
    return Check(cases, failures, (("tokens of prefixes among them", str(given)),))


def coverage_law() -> Check:
    """Simulated exponents of 1/p against their exact finite-p prediction, by TOST over studies."""
    laws, failures, details = coverage_laws(), 0, []
    for name, law in laws.items():
        found = mean_interval(law.fitted, confidence=0.9)
        failures += not (abs(found.low - law.predicted) < EXPONENT_MARGIN > abs(found.high - law.predicted))
        told = f"{found.mean:.3f} [{found.low:.3f}, {found.high:.3f}], finite-p prediction {law.predicted:.3f}"
        details.append((f"exponent of 1/p, {name} [90 %]", told))
    return Check(len(laws), failures, tuple(details))


READ = "paper {} (read directly)"
IDENTITIES = (
    Identity(
        "resets.prop10",
        "The two-state construction fails with probability at least .18 for n up to sigma²/(4 E[A]²) under random "
        "resets.",
        "Proposition 10",
        READ.format("A.3"),
        "|Y| = 4, R = 1, tau = .25, p = .5 to .05: 20,000 simulated estimates a cell within 4 Monte Carlo standard "
        "errors of the exact probability, with and without oracle; the bound on a grid of n; the centred closed form",
        proposition_ten,
    ),
    Identity(
        "resets.coverage-law",
        "Targeted resets gain on random ones as coverage p falls: as 1/p in gain and 1/p² in samples, 1/p if centred.",
        "Theorem 1; no experiment",
        READ.format("§3.1, A.2"),
        f"exponents of 1/p on chains with 8, 4, 2 and 1 decisive of 16 steps, {STUDIES} simulated studies: samples to "
        "a 5 % failure, uncentred and centred, and gain of a step; 90 % interval of each within "
        f"{EXPONENT_MARGIN:g} of the exact finite-p prediction",
        coverage_law,
    ),
    Identity(
        "resets.g1-bias-table",
        "The base group of algorithm 2 overstates success by (1 - p)(p + p² + p³ + p⁴)/4 (ours).",
        "the paper calls the group independent",
        "own derivation",
        f"closed forms against the sampling loop on all {2**LIMIT:,} sequences of {LIMIT} outcomes, six success rates",
        group_bias,
    ),
    Identity(
        "resets.prefix-encoding",
        "A masked prefix gives the same update as a prefix that stands in the prompt.",
        "stated in words",
        READ.format("§4.3"),
        "one step of the trainer on a tiny random policy in double precision; gradients differ by at most "
        f"{TOLERANCE:g}",
        prefix_encoding,
    ),
    Identity(
        "resets.prefix-gradient",
        "No token of the prefix gets a gradient, and every token of the suffix does.",
        "stated in words",
        READ.format("§4.3"),
        "gradient of the last hidden state before each token in that step: exactly zero, or not",
        prefix_gradient,
    ),
)
