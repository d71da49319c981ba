"""Damaged models are refused before anything is begun with them, and never filled up with random weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, Qwen3MoeConfig

from reproduce.core.files import UserError, read_json
from reproduce.rollouts.model_files import loading_differences
from reproduce.rollouts.models import check_model, find_model
from reproduce.rollouts.policies import load_policy
from tests.reproduce.general_models import ARCHITECTURES, general_model, general_tokenizer


def save(folder: Path, model: torch.nn.Module, shard: str = "5GB") -> Path:
    model.save_pretrained(folder, max_shard_size=shard)
    general_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save(tmp_path / "model", general_model("qwen3", general_tokenizer()))


def configure(folder: Path, **changes: object) -> None:
    config = read_json(folder / "config.json")
    config.pop("layer_types", None)
    (folder / "config.json").write_text(json.dumps(config | changes))


def weights(folder: Path) -> Path:
    return folder / "model.safetensors"


def cut(folder: Path) -> None:
    weights(folder).write_bytes(weights(folder).read_bytes()[:50_000])


def zero(folder: Path) -> None:
    weights(folder).write_bytes(bytes(weights(folder).stat().st_size))


def without_tokenizer(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut": (cut, r"model\.safetensors: damaged or cut short"),
    "zeroed": (zero, r"model\.safetensors: damaged or cut short"),
    "empty": (lambda folder: weights(folder).write_bytes(b""), r"model\.safetensors: damaged or cut short"),
    "layer missing": (
        lambda folder: configure(folder, num_hidden_layers=4),
        r"11 are missing, such as model\.layers\.3",
    ),
    "layer too many": (lambda folder: configure(folder, num_hidden_layers=2), r"11 are of layers beyond it"),
    "width": (lambda folder: configure(folder, hidden_size=64), "have another shape"),
    "vocabulary": (lambda folder: configure(folder, vocab_size=64), r"in the file and \(64, 32\) wanted"),
    "no tokenizer": (without_tokenizer, "its tokenizer"),
    "no tokens": (lambda folder: (folder / "tokenizer.json").write_text("{}"), "its tokenizer cannot be read"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_refused_in_one_line(model: Path, name: str) -> None:
    damage, message = DAMAGES[name]
    check_model(find_model(str(model)))
    damage(model)
    with pytest.raises(UserError, match=message) as caught:
        check_model(find_model(str(model)))
    assert "\n" not in str(caught.value) and str(model) in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize("name", ["layer missing", "layer too many", "width"])
def test_what_is_loaded_all_the_same_is_no_random_policy(model: Path, name: str) -> None:
    load_policy(model)
    DAMAGES[name][0](model)
    with pytest.raises(UserError, match="not those of its config"):
        load_policy(model)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_whole_models_pass(tmp_path: Path, architecture: str) -> None:
    check_model(save(tmp_path, general_model(architecture, general_tokenizer()), shard="20KB"))


def test_names_that_are_changed_at_loading_pass(tmp_path: Path) -> None:
    """GPT-2's file may leave out the prefix of the decoder, experts are stored one by one and held together."""
    small = {"vocab_size": len(general_tokenizer())}
    plain = AutoModelForCausalLM.from_config(GPT2Config(n_embd=16, n_layer=2, n_head=2, **small))
    save(tmp_path / "whole", plain)
    save(tmp_path / "decoder", plain.transformer)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1}
    experts = Qwen3MoeConfig(num_experts=4, moe_intermediate_size=16, intermediate_size=32, **sizes, **small)
    save(tmp_path / "experts", AutoModelForCausalLM.from_config(experts))
    for name in ("whole", "decoder", "experts"):
        check_model(tmp_path / name)


def test_a_shard_that_lost_weights_is_found(tmp_path: Path) -> None:
    folder = save(tmp_path / "model", general_model("llama", general_tokenizer()), shard="20KB")
    shards = sorted(folder.glob("model-*.safetensors"))
    shutil.copyfile(shards[0], shards[1])
    with pytest.raises(UserError, match="are missing, such as"):
        check_model(folder)


def test_what_a_model_has_no_use_for_is_harmless() -> None:
    known = {"model.layers.0.weight"}
    assert not loading_differences({"unexpected_keys": {"rotary.inv_freq"}}, known)
    assert "layers.1" in loading_differences({"unexpected_keys": {"model.layers.1.weight"}}, known)
