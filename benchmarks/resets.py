"""Savings and cost of resets: generated tokens and seconds of a training step, beside GRPO at equal trained rollouts.

    python -m benchmarks.resets

One small model, chains of `steps` steps of `tokens` tokens, half of which fail by chance; RRPO, whose mean reset
position is (H + 1) / 2H, and GRPO with the same loss on eight fresh chains take turns. Generated tokens count the seed
and the chains thrown away, and leave out prefixes, which are read and not generated. They are set beside two things:
the same chains generated in full (the target of 0.8), and the eight chains of GRPO, which needs no seed. Seconds are
those of `generate` in two or more waves; it has no cache of prefixes, so that each suffix reads its prefix anew.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, PrinterCallback, Qwen3Config, Qwen3ForCausalLM
from trl import GRPOConfig

from benchmarks import _kit
from methods.resets import (
    BufferSettings,
    Chain,
    GRPOWithResets,
    Request,
    ResetRollouts,
    chain_reward,
    uniform_step,
)

TARGET = 0.8
"""Largest share of the tokens of full rollouts that a reset step may generate."""
VOCABULARY = 64


@dataclass(frozen=True)
class Options(_kit.Options):
    """Sizes of the measurement."""

    prompts: int = _kit.size(8)
    """Prompts of a training step, eight chains each."""
    steps: int = _kit.size(20)
    """Steps H of a chain."""
    tokens: int = _kit.size(4)
    """Tokens of a step."""
    updates: int = _kit.size(21, least=2)
    """Training steps of a repeat; the first is dropped."""
    repeats: int = _kit.size(3)
    """Repeats of each method, taken in turns."""
    threads: int = _kit.size(1)
    """Threads of torch."""


class Generation:
    """Chains by `generate`, all requests in one batch padded on the left."""

    def __init__(self, model: Qwen3ForCausalLM, options: Options) -> None:
        self.model, self.options = model, options
        self.length = options.steps * options.tokens

    def __call__(self, requests: Sequence[Request]) -> list[Chain]:
        given = [(*one.prompt_ids, *one.prefix_ids) for one in requests]
        longest = max(map(len, given))
        ids = torch.tensor([[0] * (longest - len(one)) + list(one) for one in given])
        mask = torch.tensor([[0] * (longest - len(one)) + [1] * len(one) for one in given])
        new = self.length - min(len(one.prefix_ids) for one in requests)
        written = self.model.generate(
            ids, attention_mask=mask, do_sample=True, max_new_tokens=new, min_new_tokens=new, pad_token_id=0
        )[:, longest:].tolist()
        return [self._chain((*one.prefix_ids, *row)[: self.length]) for one, row in zip(requests, written, strict=True)]

    def _chain(self, tokens: tuple[int, ...]) -> Chain:
        right = tokens[-1] % 2 == 0
        ends = tuple(range(self.options.tokens, self.length + 1, self.options.tokens))
        return Chain(tokens, ends, float(right), right)


def encode(prompt: str) -> list[int]:
    """Prompts are numbers; every one is a single token."""
    return [2 + int(prompt) % (VOCABULARY - 2)]


def train(method: str, options: Options, seed: int) -> list[dict[str, float]]:
    """The log of one training run of `rrpo` or `grpo`, one entry per step."""
    words = {"<pad>": 0, "<eos>": 1} | {f"w{place}": place for place in range(2, VOCABULARY)}
    inner = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", eos_token="<eos>")
    torch.manual_seed(seed)
    shape = {"hidden_size": 64, "intermediate_size": 192, "num_hidden_layers": 2, "num_attention_heads": 4}
    places = {"num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 256}
    model = Qwen3ForCausalLM(Qwen3Config(vocab_size=VOCABULARY, **shape, **places, pad_token_id=0, eos_token_id=1))
    rule = uniform_step if method == "rrpo" else None
    with tempfile.TemporaryDirectory() as folder:
        trainer = GRPOWithResets(
            model=model,
            reward_funcs=chain_reward,
            args=GRPOConfig(
                **_kit.grpo_arguments(folder),
                per_device_train_batch_size=8 * options.prompts,
                num_generations=8,
                max_steps=options.updates,
                learning_rate=1e-5,
                loss_type="grpo",
                max_completion_length=options.steps * options.tokens,
                seed=seed,
            ),
            train_dataset=Dataset.from_list([{"prompt": str(place)} for place in range(options.prompts)]),
            processing_class=tokenizer,
            rollout_func=ResetRollouts(
                rule, Generation(model, options), encode, BufferSettings(longest=options.steps), seed
            ),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return [entry for entry in trainer.state.log_history if "reward" in entry]


def measure(options: Options) -> dict[str, Any]:
    """All numbers, ready for the file."""
    torch.set_num_threads(options.threads)
    entries: dict[str, list[dict[str, float]]] = {"rrpo": [], "grpo": []}
    for repeat in range(options.repeats):
        for method, log in entries.items():
            log += train(method, options, seed=repeat)[1:]

    def mean(method: str, name: str) -> float:
        return float(np.mean([entry[name] for entry in entries[method] if entry[name] is not None]))

    tokens = mean("rrpo", "tokens/generated")
    in_full = mean("rrpo", "chains/generated") * options.steps * options.tokens
    return {
        "seconds": {method: [entry["step_time"] for entry in log] for method, log in entries.items()},
        "mean_reset_position": mean("rrpo", "resets/position"),
        "tokens_to_the_same_chains_in_full": tokens / in_full,
        "tokens_to_grpo": tokens / mean("grpo", "tokens/generated"),
        "target": TARGET,
    }


def blocks(result: dict[str, Any]) -> list[_kit.Block | str]:
    """The numbers in words."""
    share = result["tokens_to_the_same_chains_in_full"]
    return [
        f"mean reset position h*/H: {result['mean_reset_position']:.3f}",
        f"tokens generated, to the same chains in full: {share:.3f} ({_kit.verdict(share <= TARGET, f'<= {TARGET}')})",
        f"tokens generated, to GRPO at equal trained rollouts: {result['tokens_to_grpo']:.3f}",
        _kit.comparison("A training step", result["seconds"], "grpo"),
    ]


main = _kit.Benchmark("resets", __doc__, Options, measure, blocks)

if __name__ == "__main__":
    sys.exit(main())
