"""The tiny policy: an ordinary `transformers` decoder with a word-level tokenizer, built in code, saved as a
checkpoint."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from reproduce.configuration import PolicyConfig

PAD, BEGIN, TURN, END, UNKNOWN = "<pad>", "<begin>", "<turn>", "<end>", "<unknown>"
"""`<turn>` hands the word to the policy (written by the environment); `<end>` closes an action (written by the
policy)."""


def build_tokenizer(words: tuple[str, ...]) -> PreTrainedTokenizerFast:
    """A word-level tokenizer: one id a word, split at white space, so text and ids map one to one."""
    vocabulary = {word: place for place, word in enumerate((PAD, BEGIN, TURN, END, UNKNOWN, *words))}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = WhitespaceSplit()  # type: ignore[assignment]
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BEGIN,
        eos_token=END,
        pad_token=PAD,
        unk_token=UNKNOWN,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def build_model(config: PolicyConfig, tokenizer: PreTrainedTokenizerFast, seed: int) -> Qwen3ForCausalLM:
    """A randomly initialised Qwen3 decoder; the same seed gives the same weights."""
    architecture = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=config.width,
        intermediate_size=config.feed_forward,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.heads,
        head_dim=config.width // config.heads,
        layer_types=["sliding_attention"] + ["full_attention"] * (config.layers - 1),
        use_sliding_window=True,
        sliding_window=config.window,
        max_position_embeddings=config.longest,
        initializer_range=config.initial_deviation,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Qwen3ForCausalLM(architecture)


def save_policy(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write an ordinary checkpoint: config, safetensors, tokenizer."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def load_policy(folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Load a checkpoint from disk in float32; never runs code that comes with it. Raises FileNotFoundError."""
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"no checkpoint in {folder}")
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, use_safetensors=True, local_files_only=True
    )
    return model, PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
