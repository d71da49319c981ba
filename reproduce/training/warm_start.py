"""Warm start: supervised training of a policy made here on the demonstrations of a bed.

It continues where it was stopped, bit for bit: weights and moments of AdamW are kept, batches and learning rates are
functions of the step, and nothing else is random.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

from reproduce.core.config import PolicyConfig
from reproduce.core.hashes import is_marked, mark
from reproduce.core.slices import SliceOver, time_is_up
from reproduce.environments.sequences import Batch
from reproduce.rollouts.policies import build_model

STEPS_BETWEEN_STATES = 50
MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""What AdamW keeps of each parameter."""


def _loss(model: Qwen3ForCausalLM, sequences: Batch, vocabulary: dict[str, int], pad: int) -> torch.Tensor:
    """Mean next-token loss. Padding is on the right, out of the causal mask's sight, so no attention mask is needed."""
    longest = max(len(sequence) for sequence in sequences)
    # Filled on the CPU, a row at a time, and moved whole.
    ids = torch.full((len(sequences), longest), pad, device="cpu")
    labels = torch.full((len(sequences), longest), -100, device="cpu")
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.tensor([vocabulary[word] for word, _ in sequence])
        labels[row, : len(sequence)] = torch.tensor(
            [vocabulary[word] if trained else -100 for word, trained in sequence]
        )
    return model(input_ids=ids.to(model.device), labels=labels.to(model.device)).loss


def warm_start(
    batches: Iterable[list[Batch]],
    steps: int,
    learning_rate: float,
    policy: PolicyConfig,
    tokenizer: PreTrainedTokenizerFast,
    seed: int,
    report: Callable[[int, float], None] = lambda step, loss: None,
    device: str = "cpu",
    state: Path | None = None,
) -> Qwen3ForCausalLM:
    """Train one base from scratch for `steps` optimiser steps.

    batches: for each step, the parts of its batch; their losses are weighted by their sizes. learning_rate: AdamW's at
    its peak; linear warm-up over 5 % of the steps, then linear decay to a tenth. `report` is called with (steps done,
    loss) after every step. device: cpu or cuda, where the model stays; its first weights are the same on both. state:
    file from which an interrupted call is continued; None keeps none. Raises KeyError for a word that is not in the
    vocabulary, and with a state SliceOver where the slice ends first.
    """
    model = build_model(policy, tokenizer, seed).to(device).train()
    vocabulary, pad = tokenizer.get_vocab(), int(tokenizer.pad_token_id)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.01, betas=(0.9, 0.98))
    warm_up = max(1, steps // 20)

    def schedule(step: int) -> float:
        rise, fall = (step + 1) / warm_up, 1 - 0.9 * (step - warm_up) / max(1, steps - warm_up)
        return min(1.0, rise, fall)

    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)
    done = 0
    if state is not None and is_marked(state):
        done = scheduler.last_epoch = _load_state(state, model, optimizer)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * schedule(done)
    for step, parts in enumerate(islice(batches, done, None), start=done + 1):
        optimizer.zero_grad()
        loss, size = 0.0, sum(len(part) for part in parts)
        for part in parts:
            weighted = _loss(model, part, vocabulary, pad) * len(part) / size
            weighted.backward()
            loss += float(weighted.detach())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        report(step, loss)
        if state is not None and step < steps:
            over = time_is_up()
            if over or step % STEPS_BETWEEN_STATES == 0:
                _save_state(state, model, optimizer, step)
            if over:
                raise SliceOver
    return model.eval()


def _save_state(path: Path, model: Qwen3ForCausalLM, optimizer: torch.optim.Optimizer, done: int) -> None:
    """Keep weights and moments; the file appears whole."""
    tensors = {}
    for name, weight in model.named_parameters():
        tensors[f"weight {name}"] = weight.detach()
        for moment in MOMENTS:
            tensors[f"{moment} {name}"] = optimizer.state[weight][moment]
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(".half")
    save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, half, {"done": str(done)})
    os.replace(half, path)
    mark(path)


def _load_state(path: Path, model: Qwen3ForCausalLM, optimizer: torch.optim.Optimizer) -> int:
    """Put back what `_save_state` kept; the steps done."""
    with safe_open(path, "pt") as kept, torch.no_grad():
        for name, weight in model.named_parameters():
            weight.copy_(kept.get_tensor(f"weight {name}"))
            # AdamW counts its steps on the CPU.
            optimizer.state[weight] = {
                moment: kept.get_tensor(f"{moment} {name}").to("cpu" if moment == "step" else weight.device)
                for moment in MOMENTS
            }
        return int(kept.metadata()["done"])
