"""Warm start: supervised training of a policy made here on the demonstrations of a bed."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

from reproduce.beds.sequences import Batch
from reproduce.configuration import PolicyConfig
from reproduce.policies import build_model


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
) -> Qwen3ForCausalLM:
    """Train one base from scratch for `steps` optimiser steps.

    batches: for each step, the parts of its batch; their losses are weighted by their sizes. learning_rate: AdamW's at
    its peak; linear warm-up over 5 % of the steps, then linear decay to a tenth. `report` is called with (steps done,
    loss) after every step. device: cpu or cuda, where the model stays; its first weights are the same on both. Raises
    KeyError for a word that is not in the vocabulary.
    """
    model = build_model(policy, tokenizer, seed).to(device).train()
    vocabulary, pad = tokenizer.get_vocab(), int(tokenizer.pad_token_id)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.01, betas=(0.9, 0.98))
    warm_up = max(1, steps // 20)

    def schedule(step: int) -> float:
        rise, fall = (step + 1) / warm_up, 1 - 0.9 * (step - warm_up) / max(1, steps - warm_up)
        return min(1.0, rise, fall)

    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)
    for step, parts in enumerate(batches, start=1):
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
    return model.eval()
