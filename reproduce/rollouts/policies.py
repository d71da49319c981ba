"""Policies: the tiny one, an ordinary `transformers` decoder with a word-level tokenizer built in code, and any
checkpoint, saved and loaded."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from reproduce.core.config import PolicyConfig
from reproduce.core.files import UserError
from reproduce.environments.sequences import BEGIN, END, MARKERS, PAD, UNKNOWN
from reproduce.rollouts.model_files import from_files, loading_differences
from reproduce.rollouts.models import ADAPTER, REFERENCE, follow_reference, is_checkpoint


def build_tokenizer(words: tuple[str, ...]) -> PreTrainedTokenizerFast:
    """A word-level tokenizer: one id a word, split at white space, so text and ids map one to one."""
    vocabulary = {word: place for place, word in enumerate((*MARKERS, *words))}
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


def save_policy(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    base: Path | None = None,
    weights: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Write an ordinary checkpoint: config, safetensors, tokenizer.

    base: the checkpoint that the model was trained from. A LoRA adapter of a model that `base` refers to is saved as
    adapter and reference; one of a base made here is merged into its weights, which are small. weights: all of the
    model's, where it does not hold them itself because they are spread over processes.
    """
    if not _is_adapted(model):
        model.save_pretrained(folder, state_dict=weights)
    elif base is not None and (base / REFERENCE).is_file():
        model.save_pretrained(folder, state_dict=weights)
        shutil.copyfile(base / REFERENCE, folder / REFERENCE)
    else:
        model.merge_and_unload().save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def load_policy(
    folder: Path, device: str = "cpu", precision: str = "float32", merged: bool = True
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a checkpoint from disk; never runs code that comes with it.

    The folder may refer to a model elsewhere (`reproduce.rollouts.models.save_reference`) and hold a LoRA adapter of
    it. merged: whether the adapter is added to the weights, in float32, and the sum rounded to their precision. In
    bfloat16, whose numbers lie 0.4 to 0.8 % apart, the rounding takes from each weight all that the adapter changes in
    it by less than half of that, most of a small adapter; so what is only evaluated in process is left unmerged, as it
    was trained: the adapter is then computed beside the weights, in float32. device: cpu or cuda. precision: float32 or
    bfloat16. Raises FileNotFoundError where there is no checkpoint, UserError where what it refers to is not there or
    the device is not.
    """
    if not is_checkpoint(folder):
        raise FileNotFoundError(f"no checkpoint in {folder}")
    check_device(device)
    weights = follow_reference(folder)
    model, report = from_files(
        AutoModelForCausalLM.from_pretrained,
        weights,
        dtype=getattr(torch, precision),
        use_safetensors=True,
        local_files_only=True,
        # What is missing or of another shape is filled at random, and reported here.
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    if differences := loading_differences(report, set(model.state_dict())):
        raise UserError(f"{weights}: the weights are not those of its config.json: {differences}")
    if (folder / ADAPTER).is_file():
        model = _with_adapter(model, folder, merged)
    tokenizer = from_files(AutoTokenizer.from_pretrained, weights, local_files_only=True, padding_side="left")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model.to(device), tokenizer


def check_device(device: str) -> None:
    """Raises UserError where there is no such device."""
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"device {device}: no GPU here, or no torch that can use one; set hardware.device=cpu")


def _is_adapted(model: torch.nn.Module) -> bool:
    """Whether it is a model of peft, which need not be installed."""
    return type(model).__module__.partition(".")[0] == "peft"


def _with_adapter(model: PreTrainedModel, folder: Path, merged: bool) -> PreTrainedModel:
    try:
        from peft import PeftModel
    except ImportError:
        raise UserError(f"{folder}: holds a LoRA adapter, which needs peft: pip install 'rl-claims[lora]'") from None
    if not (folder / "adapter_model.safetensors").is_file():
        raise UserError(f"{folder}: no adapter in safetensors; run again with --redo")
    adapted = PeftModel.from_pretrained(model, folder, local_files_only=True)
    # peft puts its layers into the model itself, which stays what samplers expect.
    return adapted.merge_and_unload() if merged else model
