"""What resets save and cost: generated tokens and seconds of a training step, beside GRPO at equal trained rollouts.

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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from datasets import Dataset
from rich.console import Console
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, PrinterCallback, Qwen3Config, Qwen3ForCausalLM
from trl import GRPOConfig

from methods.resets import (
    BufferSettings,
    Chain,
    GRPOWithResets,
    Request,
    ResetRollouts,
    chain_reward,
    uniform_step,
)
from reproduce.core.files import write_json
from reproduce.core.machine import describe_machine, describe_source, package_versions

TARGET = 0.8
"""Largest share of the tokens of full rollouts that a reset step may generate."""
VOCABULARY = 64


@dataclass(frozen=True)
class Options:
    """Sizes of the measurement."""

    prompts: int = 8
    """Prompts of a training step, eight chains each."""
    steps: int = 20
    """Steps H of a chain."""
    tokens: int = 4
    """Tokens of a step."""
    updates: int = 21
    """Training steps of a repeat; the first is dropped."""
    repeats: int = 3
    """Repeats of each method, taken in turns."""
    threads: int = 1
    """Threads of torch."""
    out: Path = Path("reports/benchmarks/resets.json")
    """Where the numbers go."""


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
    """The log of one training run of `rrpo` or `grpo`, an entry a step."""
    words = {"<pad>": 0, "<eos>": 1} | {f"w{place}": place for place in range(2, VOCABULARY)}
    inner = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", eos_token="<eos>")
    torch.manual_seed(seed)
    shape = {"hidden_size": 64, "intermediate_size": 192, "num_hidden_layers": 2, "num_attention_heads": 4}
    places = {"num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 256}
    model = Qwen3ForCausalLM(Qwen3Config(vocab_size=VOCABULARY, **shape, **places, pad_token_id=0, eos_token_id=1))
    rule = uniform_step if method == "rrpo" else None
    rollouts = ResetRollouts(Generation(model, options), rule, encode, BufferSettings(longest=options.steps), seed)
    with tempfile.TemporaryDirectory() as folder:
        arguments = GRPOConfig(
            output_dir=folder,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            per_device_train_batch_size=8 * options.prompts,
            num_generations=8,
            max_steps=options.updates,
            learning_rate=1e-5,
            beta=0.0,
            loss_type="grpo",
            max_completion_length=options.steps * options.tokens,
            logging_steps=1,
            report_to="none",
            disable_tqdm=True,
            save_strategy="no",
            seed=seed,
        )
        trainer = GRPOWithResets(
            model=model,
            reward_funcs=chain_reward,
            args=arguments,
            train_dataset=Dataset.from_list([{"prompt": str(place)} for place in range(options.prompts)]),
            processing_class=tokenizer,
            rollout_func=rollouts,
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
    chain = options.steps * options.tokens
    found: dict[str, Any] = {
        method: {
            "seconds": [entry["step_time"] for entry in log],
            "generated_tokens_per_step": float(np.mean([entry["tokens/generated"] for entry in log])),
            "generated_chains_per_step": float(np.mean([entry["chains/generated"] for entry in log])),
        }
        for method, log in entries.items()
    }
    rrpo, grpo = found["rrpo"], found["grpo"]
    located = [entry["resets/position"] for entry in entries["rrpo"] if entry["resets/position"] is not None]
    return {
        "machine": describe_machine(),
        "source": describe_source(),
        "versions": package_versions(),
        "sizes": {name: value for name, value in asdict(options).items() if name != "out"},
        "methods": found,
        "mean_reset_position": float(np.mean(located)),
        "tokens_to_the_same_chains_in_full": rrpo["generated_tokens_per_step"]
        / (rrpo["generated_chains_per_step"] * chain),
        "tokens_to_grpo": rrpo["generated_tokens_per_step"] / grpo["generated_tokens_per_step"],
        "seconds_to_grpo_fastest": min(rrpo["seconds"]) / min(grpo["seconds"]),
        "seconds_to_grpo_median": float(np.median(rrpo["seconds"]) / np.median(grpo["seconds"])),
        "target": TARGET,
    }


def show(result: dict[str, Any], console: Console) -> None:
    """The numbers in words."""
    share = result["tokens_to_the_same_chains_in_full"]
    verdict = "reached" if share <= result["target"] else "missed"
    console.print(f"mean reset position h*/H: {result['mean_reset_position']:.3f}")
    console.print(f"tokens generated, to the same chains in full: {share:.3f} (<= {result['target']} {verdict})")
    console.print(f"tokens generated, to GRPO at equal trained rollouts: {result['tokens_to_grpo']:.3f}")
    seconds = f"{result['seconds_to_grpo_fastest']:.2f} (median {result['seconds_to_grpo_median']:.2f})"
    console.print(f"seconds of a step, to GRPO: {seconds}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write. Exit code 2 where the options do not fit."""
    options = tyro.cli(Options, args=arguments, prog="python -m benchmarks.resets", description=__doc__)
    if min(options.prompts, options.steps, options.tokens, options.repeats, options.threads) < 1 or options.updates < 2:
        print("--updates must be at least 2 and every other size at least 1", file=sys.stderr)
        return 2
    result = measure(options)
    show(result, Console(width=110))
    write_json(options.out, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
