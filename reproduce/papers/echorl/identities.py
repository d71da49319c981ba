"""Claims about EchoRL that are exact, tried anew whenever a report is written, on a tiny policy in seconds."""

from __future__ import annotations

import itertools
import math
import os
from dataclasses import dataclass
from functools import cache
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from reproduce.claims.verdicts import Check, Identity

GROUP, GROUPS = 4, 3
WORDS = ("<newline>", *"abcdefgh")
ALL_RIGHT, MIXED, ALL_WRONG = ("1111",) * GROUPS, ("1111", "0110", "0000"), ("0000",) * GROUPS
"""Successes of each group's episodes."""
TOLERANCE = 1e-6
STEPS = 20
ROLLOUTS = 8
"""Episodes of a group in the toy of two branches."""
CLOSED_FORM = 253 / 1024


@dataclass(frozen=True)
class Trained:
    """What a few steps of a tiny policy left behind."""

    gradients: tuple[dict[str, Any], ...]
    """Of each parameter, for every optimiser step."""
    weights: dict[str, Any]
    """Of each parameter after the last step."""


def _episode(group: int, member: int, success: str) -> dict[str, Any]:
    """A fixed completion: words and newlines."""
    generator = np.random.default_rng([group, member])
    # The tokenizer puts five markers before the words; END, the third of them, closes an action.
    words = 5 + generator.integers(0, len(WORDS), int(generator.integers(6, 14)))
    return {
        "prompt_ids": [1, 6 + group],
        "completion_ids": [*words.tolist(), 3],
        "env_mask": [1] * (len(words) + 1),
        "success": success[member] == "1",
    }


def _tiny_policy() -> Any:
    from reproduce.core.config import PolicyConfig
    from reproduce.rollouts.policies import build_model, build_tokenizer

    tokenizer = build_tokenizer(WORDS)
    size = PolicyConfig(layers=2, width=16, heads=2, feed_forward=32, window=3, longest=64, initial_deviation=0.3)
    return build_model(size, tokenizer, seed=0).double(), tokenizer


@cache
def _train(kind: str, success: tuple[str, ...], weight: float = 0.0, bonus: float = 0.0, steps: int = 1) -> Trained:
    """Train on fixed episodes with GRPO or EchoRL, through the trainers that the experiment uses."""
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    from datasets import Dataset
    from transformers import PrinterCallback, TrainerCallback
    from trl import GRPOConfig

    from methods.echorl import EchoConfig, EchoTrainer
    from methods.grpo import GRPOWithGroupMetrics

    model, tokenizer = _tiny_policy()
    gradients: list[dict[str, Any]] = []

    class Keep(TrainerCallback):
        def on_pre_optimizer_step(self, *arguments: Any, **named: Any) -> None:
            gradients.append({name: value.grad.clone() for name, value in model.named_parameters()})

    def rollout(prompts: list[str], trainer: Any) -> dict[str, Any]:
        rows = [_episode(int(prompt), place % GROUP, success[int(prompt)]) for place, prompt in enumerate(prompts)]
        return {name: [row[name] for row in rows] for name in rows[0]} | {"logprobs": None}

    def outcome(completions: list[Any], success: list[bool], **columns: Any) -> list[float]:
        return [float(value) for value in success]

    newline = tokenizer.convert_tokens_to_ids(WORDS[0])
    with TemporaryDirectory() as folder:
        arguments = GRPOConfig(
            output_dir=folder,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            per_device_train_batch_size=GROUP * GROUPS,
            num_generations=GROUP,
            max_steps=steps,
            learning_rate=1e-3,
            max_grad_norm=0.0,
            max_completion_length=32,
            loss_type="grpo",
            beta=0.0,
            shuffle_dataset=False,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            dataloader_pin_memory=False,
            **({"entropy_coef": bonus} if bonus else {}),
        )
        method: dict[str, Any] = {}
        if kind == "echo":
            method["echo"] = EchoConfig(weight=weight, newline_token_ids=(newline,))
        trainer = (GRPOWithGroupMetrics if kind == "grpo" else EchoTrainer)(
            model=model,
            reward_funcs=outcome,
            args=arguments,
            train_dataset=Dataset.from_list([{"prompt": str(group)} for group in range(GROUPS)] * steps),
            processing_class=tokenizer,
            rollout_func=rollout,
            callbacks=[Keep()],
            **method,
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return Trained(tuple(gradients), {name: value.detach().clone() for name, value in model.named_parameters()})


def _largest(gradients: dict[str, Any]) -> float:
    return max(float(value.abs().max()) for value in gradients.values())


def vanishing_signal() -> Check:
    """GRPO on groups that are all right, or all wrong: every entry of every gradient; and with the entropy bonus."""
    cases = failures = 0
    for success in (ALL_RIGHT, ALL_WRONG):
        gradient = _train("grpo", success).gradients[0]
        cases += sum(value.numel() for value in gradient.values())
        failures += sum(int(value.ne(0).sum()) for value in gradient.values())
    mixed, bonus = (
        _largest(_train("grpo", MIXED).gradients[0]),
        _largest(_train("grpo", ALL_RIGHT, bonus=1e-3).gradients[0]),
    )
    # Were the gradient zero for mixed groups too, this would show nothing.
    failures += mixed == 0
    details = (
        ("largest entry with a mixed group among them", f"{mixed:.1e}"),
        ("largest entry on all-success groups with an entropy bonus of 0.001", f"{bonus:.1e}"),
    )
    return Check(cases, failures, details)


def restored_gradient() -> Check:
    """The echo's gradient on all-success groups, against the NLL of clips that are found and scored by hand."""
    import torch

    weight = 1e-3
    found = _train("echo", ALL_RIGHT, weight).gradients[0]
    model, tokenizer = _tiny_policy()
    newline = tokenizer.convert_tokens_to_ids(WORDS[0])
    total = torch.zeros((), dtype=torch.float64)
    for group in range(GROUPS):
        pool = []
        for member in range(GROUP):
            row = _episode(group, member, "1111")
            ids, start = torch.tensor([row["prompt_ids"] + row["completion_ids"]]), len(row["prompt_ids"])
            logarithms = model(ids).logits[0, start - 1 : -1].log_softmax(dim=-1)
            entropies = -(logarithms.exp() * logarithms).sum(dim=-1)
            scores = logarithms.gather(1, ids[0, start:, None])[:, 0]
            pool += [
                (float(entropies.detach()[first:last].mean()), -member, -last, scores[:last])
                for first, last in _lines(row["completion_ids"], newline)
            ]
        total = total - max(pool, key=lambda item: item[:3])[3].mean() / GROUPS
    total.backward()
    gaps = [float((found[name] / weight - value.grad).abs().max()) for name, value in model.named_parameters()]
    largest = _largest(found)
    failures = sum(gap > TOLERANCE for gap in gaps) + (largest == 0)
    details = (
        ("largest difference of an entry, lambda divided out", f"{max(gaps):.1e}"),
        ("largest entry, lambda divided out", f"{largest / weight:.1e}"),
    )
    return Check(len(gaps), failures, details)


def _lines(tokens: list[int], newline: int) -> list[tuple[int, int]]:
    """Lines, token by token: newlines belong to the line they end, and none is blank."""
    lines, first, content = [], 0, False
    for place, token in enumerate(tokens):
        if content and token != newline and tokens[place - 1] == newline:
            lines.append((first, place))
            first = place
        content = content or token != newline
    return [*lines, (first, len(tokens))]


def no_success_no_echo() -> Check:
    """The echo on groups in which every episode fails: every entry of every gradient."""
    gradient = _train("echo", ALL_WRONG, 1e-3).gradients[0]
    return Check(
        sum(value.numel() for value in gradient.values()),
        sum(int(value.ne(0).sum()) for value in gradient.values()),
    )


def placebo_is_grpo() -> Check:
    """Weights after twenty steps of EchoRL with lambda = 0 and of GRPO, bit for bit."""
    placebo, grpo = (_train(kind, MIXED, steps=STEPS) for kind in ("echo", "grpo"))
    start, _ = _tiny_policy()
    moved = max(float((grpo.weights[name] - value.detach()).abs().max()) for name, value in start.named_parameters())
    different = sum(int(placebo.weights[name].ne(value).sum()) for name, value in grpo.weights.items())
    cases = sum(value.numel() for value in grpo.weights.values())
    details = (
        ("optimiser steps", str(len(grpo.gradients))),
        ("largest change of a weight in training", f"{moved:.1e}"),
    )
    return Check(cases, different + (moved == 0) + (len(grpo.gradients) != STEPS), details)


def two_branches() -> Check:
    """The mean direction of each choice of clip in the toy of two branches, over all 2^8 groups and all picks.

    Each episode takes branch A or B (score of the branch token +1/2 or -1/2, entropy ln 2); its second step has entropy
    ln 8 in A and 0.1 in B. Only the branch token's score depends on the branch logit.
    """
    branches = np.array(list(itertools.product((True, False), repeat=ROLLOUTS)))
    expected = {
        ("highest_entropy", "prefix"): CLOSED_FORM,
        ("lowest_entropy", "prefix"): -CLOSED_FORM,
        ("random", "prefix"): 0.0,
        ("random", "rollout"): 0.0,
    }
    found = {choice: _direction(branches, *choice) for choice in expected}
    failures = sum(abs(found[choice] - value) > 1e-12 for choice, value in expected.items())
    details = tuple(
        (f"{selection.replace('_', ' ')}, {extent}", f"{value:+.6f}; closed form {expected[selection, extent]:+.6f}")
        for (selection, extent), value in found.items()
    )
    return Check(len(expected), failures, details)


def _direction(branches: np.ndarray, selection: Any, extent: Any) -> float:
    """Mean over groups (and, for a random choice, over every pick) of the clip's ascent direction on the branch
    logit."""
    import torch

    from methods.echo_clips import best_steps, find_steps, token_weights
    from reproduce.papers.echorl.clips import ClipConfig, clips_of

    picks = 2 * ROLLOUTS if selection == "random" else 1
    groups = len(branches) * picks
    branch = torch.from_numpy(np.repeat(branches, picks, axis=0).ravel())
    second = torch.where(branch, math.log(8), 0.1).double()
    entropies = torch.stack([torch.full_like(second, math.log(2)), torch.zeros_like(second), second], dim=1)
    policy = torch.tensor([[True, False, True]]).expand(len(second), 3)
    steps = find_steps(torch.zeros_like(policy), policy, torch.zeros_like(policy), entropies)
    # A random choice takes the highest key: each of the pool's steps has it in one of the copies of a group.
    keys = torch.zeros(len(branches), picks, ROLLOUTS, 3, dtype=torch.float64)
    for pick in range(picks):
        keys[:, pick, pick // 2, pick % 2] = 0.5
    rows = torch.arange(len(second))
    scores = {"highest_entropy": steps.mean_entropy, "lowest_entropy": -steps.mean_entropy}
    candidates = best_steps(steps, scores.get(selection, keys.reshape(len(second), 3)))
    config = ClipConfig(selection=selection, extent=extent)
    clips = clips_of(candidates, torch.ones(len(rows)).bool(), rows // ROLLOUTS, groups, config, (0,))
    score = torch.where(branch, 0.5, -0.5).double()
    return float((token_weights(clips, policy)[:, 0] * score).sum())


OURS = "none: the identity is ours"
SPECIFICATION = "specification of this package"
DIGEST = "arXiv abstract (read directly)"

IDENTITIES = (
    Identity(
        "echorl.vanishing-signal-exact",
        "Without an entropy bonus, GRPO's gradient on groups of equal rewards is exactly zero.",
        "stated: such groups give no policy gradient",
        DIGEST,
        "one step of GRPO on groups that are all right and on groups that are all wrong; no entry may differ from 0",
        vanishing_signal,
    ),
    Identity(
        "echorl.restored-gradient-exact",
        "On all-success groups the echo's gradient is lambda times that of the clip's mean negative log-likelihood.",
        "stated: the clip gives supervision where the policy gradient is silent",
        DIGEST,
        "one step of EchoRL against clips found and scored line by line without its code, to 1e-6 with lambda divided "
        "out; one case a parameter",
        restored_gradient,
    ),
    Identity(
        "echorl.no-success-no-echo",
        "Groups without a success have no clip and no gradient.",
        OURS,
        SPECIFICATION,
        "one step of EchoRL on groups that are all wrong; no entry may differ from 0",
        no_success_no_echo,
    ),
    Identity(
        "echorl.placebo-is-grpo",
        "EchoRL with lambda = 0 is GRPO.",
        OURS,
        SPECIFICATION,
        f"{STEPS} optimiser steps on mixed, all-right and all-wrong groups; every weight bit for bit",
        placebo_is_grpo,
    ),
    Identity(
        "echorl.unselected-null-toy",
        "Between two branches, the argmax pushes towards the uncertain one by 253/1024, the argmin away from it by as "
        "much, a random prefix or rollout nowhere.",
        OURS,
        SPECIFICATION,
        "all 2^8 groups of eight episodes, and for random choices every pick, through the package's choice of clips",
        two_branches,
    ),
)
