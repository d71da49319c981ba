"""Models by name: found on this machine, described without their weights, referred to instead of copied."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import GenerationConfig

from reproduce.core.config import ModelConfig, PolicyConfig, RunConfig, SamplingConfig
from reproduce.core.files import UserError, read_json
from reproduce.environments.bases import committed_folder
from reproduce.environments.beds import load_bed
from reproduce.rollouts import UniformStreams, stream_length
from reproduce.rollouts.model_files import open_tokenizer
from reproduce.rollouts.models import (
    REFERENCE,
    describe_model,
    end_tokens,
    find_model,
    follow_reference,
    is_checkpoint,
    model_digest,
    save_reference,
)
from reproduce.rollouts.opening import open_sampler
from reproduce.rollouts.policies import build_model, build_tokenizer, load_policy, save_policy
from reproduce.rollouts.text import ChatText, WordText
from reproduce.training.bases import obtain_base
from tests.reproduce.general_models import ARCHITECTURES, QWEN, general_model, general_tokenizer

NAME = "someone/small-model"
CHECKOUT = Path(__file__).parents[2]


def save_model(folder: Path, architecture: str = "qwen3", shards: bool = False, template: str | None = QWEN) -> Path:
    tokenizer = general_tokenizer(template)
    model = general_model(architecture, tokenizer)
    ends = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    model.generation_config = GenerationConfig(eos_token_id=ends, pad_token_id=tokenizer.pad_token_id)
    model.save_pretrained(folder, max_shard_size="20KB" if shards else "5GB")
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_model(tmp_path / "model")


@pytest.fixture
def cache(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Hugging Face cache that holds the model, laid out as the hub's client does it; its snapshot."""
    root = tmp_path / "hub" / f"models--{NAME.replace('/', '--')}"
    snapshot = root / "snapshots" / "0123abc"
    shutil.copytree(model, snapshot)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text("0123abc")
    for place in ("transformers.utils.hub.constants.HF_HUB_CACHE", "huggingface_hub.constants.HF_HUB_CACHE"):
        monkeypatch.setattr(place, str(root.parent))
    return snapshot


def one_line(caught: pytest.ExceptionInfo[UserError]) -> str:
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_is_found(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_model(str(model)) == model
    monkeypatch.chdir(model.parent)
    assert find_model("model") == model


@pytest.mark.parametrize("offline", ["0", "1"])
def test_a_name_is_found_in_the_cache_and_nothing_is_downloaded(
    cache: Path, offline: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", offline)

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("a request to the network")

    monkeypatch.setattr("socket.socket.connect", refuse)
    assert find_model(NAME) == cache
    with pytest.raises(UserError) as caught:
        find_model("someone/other-model")
    assert "hf download someone/other-model" in one_line(caught)


def test_what_is_not_whole_is_refused(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(UserError, match=r"config\.json"):
        find_model(str(tmp_path))
    for name in ("a place", "a/b/c", "../x", "/nonexistent/x", "./x", "~/x"):
        with pytest.raises(UserError) as caught:
            find_model(name)
        assert name in one_line(caught) and "no such folder" in str(caught.value) and "hf" not in str(caught.value)
    (cache / "model.safetensors").unlink()
    with pytest.raises(UserError) as caught:
        find_model(NAME)
    assert "safetensors" in one_line(caught) and f"hf download {NAME}" in str(caught.value)
    # Weights in a format that can run code do not count.
    (cache / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(UserError, match="safetensors"):
        find_model(NAME)


def test_missing_parts_of_the_weights_are_named(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "model", shards=True)
    assert find_model(str(folder)) == folder
    shards = sorted(folder.glob("model-*.safetensors"))
    shards[1].unlink()
    with pytest.raises(UserError, match=f"1 of {len(shards)} files of weights are missing, such as {shards[1].name}"):
        find_model(str(folder))
    (folder / "model.safetensors.index.json").write_text("[]")
    with pytest.raises(UserError, match="damaged"):
        find_model(str(folder))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_description_agrees_with_the_model(tmp_path: Path, architecture: str) -> None:
    folder = save_model(tmp_path / "model", architecture, template=None if architecture == "llama" else QWEN)
    (folder / "model.safetensors").unlink()
    found = describe_model(folder)
    loaded = general_model(architecture, general_tokenizer())
    assert found.parameters == sum(weight.numel() for weight in loaded.parameters())
    assert (found.layers, found.width, found.heads, found.key_value_heads) == (3, 32, 4, 2)
    assert found.context == 1 << 17 and found.vocabulary == loaded.config.vocab_size
    assert found.has_chat_template == (architecture != "llama")
    assert (found.architecture, found.precision) == (architecture, "float32")
    assert found.head_size == (16 if architecture == "qwen3" else 8)


def test_no_code_of_a_model_is_run_whatever_standard_input_says(model: Path, tmp_path: Path) -> None:
    """A known architecture is read with the code of transformers, an unknown one is refused; `yes` is piped in."""
    marker, folders = tmp_path / "ran", []
    for model_type, automatic in (("never_heard_of", "AutoConfig"), ("qwen3", "AutoModelForCausalLM")):
        folders.append(shutil.copytree(model, tmp_path / model_type))
        (folders[-1] / "own.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
        own = {"auto_map": {automatic: "own.Own", "AutoTokenizer": ["own.Own", None]}}
        for name, further in (("config.json", {"model_type": model_type}), ("tokenizer_config.json", {})):
            (folders[-1] / name).write_text(json.dumps(read_json(model / name) | own | further))
    plans = f"for name in {[*map(str, folders)]}: main(['plan', 'pass_kt', '--profile', 'smoke', '--model', name])"
    command = f"yes | '{sys.executable}' -c \"from reproduce.cli.command_line import main\n{plans}\""
    done = subprocess.run(command, shell=True, cwd=CHECKOUT, capture_output=True, text=True, timeout=200)
    assert not marker.exists() and "[y/N]" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr and done.stdout.count("code of its own, which is never run") == 1, done


def test_every_call_that_could_run_code_of_a_model_passes_through_one_function() -> None:
    calls = re.compile(r"(?<!PeftModel)\.from_(pretrained|config)\(|trust_remote_code=(?!False)|\btorch\.load\(")
    for path in [*CHECKOUT.glob("reproduce/**/*.py"), *CHECKOUT.glob("methods/**/*.py")]:
        assert not calls.search(path.read_text(encoding="utf-8")), path


@pytest.mark.parametrize(
    "change",
    [
        {"model_type": 3},
        {"model_type": "never_heard_of"},
        {"num_hidden_layers": 10**18},
        {"num_hidden_layers": "twelve"},
        {"hidden_size": float("nan")},
        {"hidden_size": 10**18},
        {"hidden_size": 0},
        {"num_attention_heads": -4},
        {"vocab_size": [1, 2]},
        {"max_position_embeddings": None},
        {"rope_parameters": {"factor": float("inf")}},
    ],
)
def test_a_configuration_that_no_decoder_has_is_one_line(model: Path, change: dict[str, object]) -> None:
    config = read_json(model / "config.json")
    (model / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(UserError, match=str(model)) as caught:
        describe_model(model)
    one_line(caught)


def test_a_tokenizer_that_explodes_is_one_line(model: Path) -> None:
    written = read_json(model / "tokenizer.json")
    doubling = {"type": "Replace", "pattern": {"Regex": "[a-zA-Z]"}, "content": "aaaa"}
    nested = {"type": "Split", "pattern": {"Regex": "((a+)+)+$"}, "behavior": "Isolated", "invert": False}
    for change in (
        {"normalizer": {"type": "Sequence", "normalizers": [doubling] * 20}},
        {"pre_tokenizer": nested},
    ):
        (model / "tokenizer.json").write_text(json.dumps(written | change))
        with pytest.raises(UserError, match="tokenizer cannot be read") as caught:
            open_tokenizer(model)
        one_line(caught)


def test_every_end_of_text_is_read(model: Path) -> None:
    tokenizer = general_tokenizer()
    assert end_tokens(model) == tuple(tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"]))
    (model / "generation_config.json").unlink()
    assert end_tokens(model) == (tokenizer.eos_token_id,)


def test_a_reference_stands_for_the_model(model: Path, tmp_path: Path) -> None:
    save_reference(str(model), tmp_path / "base")
    assert [path.name for path in (tmp_path / "base").iterdir()] == [REFERENCE]
    assert is_checkpoint(tmp_path / "base") and is_checkpoint(model) and not is_checkpoint(tmp_path)
    assert follow_reference(tmp_path / "base") == model == follow_reference(model)
    ours, theirs = load_policy(tmp_path / "base"), load_policy(model)
    assert all(map(torch.equal, ours[0].parameters(), theirs[0].parameters()))
    assert ours[1].get_vocab() == theirs[1].get_vocab() and ours[1].padding_side == "left"


def test_a_name_is_kept_as_a_name(cache: Path, tmp_path: Path) -> None:
    save_reference(NAME, tmp_path / "base")
    assert read_json(tmp_path / "base" / REFERENCE)["name"] == NAME
    assert follow_reference(tmp_path / "base") == cache


def test_a_model_that_has_changed_is_refused(model: Path, tmp_path: Path) -> None:
    save_reference(str(model), tmp_path / "base")
    digest = model_digest(model)
    weights = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
    assert model_digest(model) != digest
    with pytest.raises(UserError, match=digest[:12]) as caught:
        load_policy(tmp_path / "base")
    one_line(caught)
    (model / "model.safetensors").write_bytes(weights)
    assert model_digest(model) == digest
    (tmp_path / "base" / REFERENCE).write_text("[]")
    with pytest.raises(UserError, match="damaged"):
        load_policy(tmp_path / "base")
    shutil.rmtree(tmp_path / "base")
    with pytest.raises(FileNotFoundError):
        load_policy(tmp_path / "base")


def test_large_weights_are_told_apart_by_parts_of_them(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    content = bytearray(3 << 20)
    (tmp_path / "model.safetensors").write_bytes(content)
    digests = {model_digest(tmp_path)}
    for place in (0, len(content) // 15 * 7, len(content) - 1):
        content[place] = 1
        (tmp_path / "model.safetensors").write_bytes(content)
        digests.add(model_digest(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(content + b"\0")
    assert len(digests | {model_digest(tmp_path)}) == 5


def test_precision_and_device(model: Path) -> None:
    assert load_policy(model, precision="bfloat16")[0].dtype == torch.bfloat16
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="cuda") as caught:
            load_policy(model, device="cuda")
        one_line(caught)


def adapted(base: Path, precision: str = "float32") -> torch.nn.Module:
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    settings = peft.LoraConfig(r=2, lora_alpha=8, target_modules="all-linear", init_lora_weights=False)
    return peft.get_peft_model(load_policy(base, precision=precision)[0], settings).eval()


def logits(policy: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return policy(input_ids=torch.arange(40)[None]).logits


def test_an_adapter_is_saved_beside_the_reference_and_merged_at_loading(model: Path, tmp_path: Path) -> None:
    base, trained = tmp_path / "base", tmp_path / "trained"
    save_reference(str(model), base)
    policy = adapted(base)
    expected = logits(policy)
    assert (expected - logits(load_policy(base)[0])).abs().max() > 0.1
    save_policy(policy, load_policy(base)[1], trained, base)
    assert (trained / REFERENCE).is_file() and not (trained / "model.safetensors").exists()
    loaded, _ = load_policy(trained)
    assert type(loaded) is type(load_policy(base)[0])
    assert torch.allclose(logits(loaded), expected, atol=1e-4)


def test_a_small_adapter_is_evaluated_as_it_was_trained_in_bfloat16(model: Path, tmp_path: Path) -> None:
    """Merged, most of what it changes is less than half the distance of two weights and gone."""
    base, trained = tmp_path / "base", tmp_path / "trained"
    save_reference(str(model), base)
    start, tokenizer = load_policy(base, precision="bfloat16")
    policy = adapted(base, "bfloat16")
    with torch.no_grad():
        for name, weight in policy.named_parameters():
            if "lora_B" in name:
                weight.uniform_(-1e-4, 1e-4)
    save_policy(policy, tokenizer, trained, base)
    expected, unadapted = logits(policy), logits(start.eval())
    sampler = open_sampler(trained, run_config("retrieval", name=str(model), precision="bfloat16"))
    assert sampler.model.dtype == torch.bfloat16 and not sampler.model.training
    assert (logits(sampler.model) - expected).abs().max() <= 1e-6
    assert not torch.equal(expected, unadapted)
    merged = load_policy(trained, precision="bfloat16")[0].state_dict()
    exact = {name: weight.float() for name, weight in start.state_dict().items()}
    for name, layer in policy.named_modules():
        if hasattr(layer, "get_delta_weight"):
            exact[f"{name.removeprefix('base_model.model.')}.weight"] += layer.get_delta_weight("default").float()
    assert all(torch.equal(merged[name], exact[name].to(torch.bfloat16)) for name in merged)
    layers = [name for name in merged if name.endswith("proj.weight")]
    same = [float(merged[name].eq(start.state_dict()[name]).float().mean()) for name in layers]
    assert min(same) > 0.5


def test_weights_that_were_gathered_are_saved_in_the_place_of_the_models_own(model: Path, tmp_path: Path) -> None:
    """As FSDP and ZeRO-3 leave it: each process holds a part of the weights, the main one is handed all."""
    spread, tokenizer = load_policy(model)
    whole = {name: values.clone() for name, values in spread.state_dict().items()}
    with torch.no_grad():
        for values in spread.parameters():
            values.zero_()
    save_policy(spread, tokenizer, tmp_path / "saved", None, whole)
    found = load_policy(tmp_path / "saved")[0].state_dict()
    assert whole.keys() == found.keys() and all(torch.equal(found[name], whole[name]) for name in whole)


def test_an_adapter_without_peft_is_refused_in_one_line(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_reference(str(model), tmp_path / "base")
    save_policy(adapted(tmp_path / "base"), general_tokenizer(), tmp_path / "trained", tmp_path / "base")
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UserError, match="peft") as caught:
        load_policy(tmp_path / "trained")
    one_line(caught)


def test_an_adapter_of_a_base_made_here_becomes_whole_weights(tmp_path: Path) -> None:
    base = committed_folder(0)
    policy = adapted(base)
    expected = logits(policy)
    save_policy(policy, load_policy(base)[1], tmp_path / "trained", base)
    assert not (tmp_path / "trained" / REFERENCE).exists()
    assert torch.allclose(logits(load_policy(tmp_path / "trained")[0]), expected, atol=1e-4)


def run_config(environment: str, **model: str) -> RunConfig:
    from reproduce.core.config import EvaluationConfig, PanelConfig, PanelSizes, WarmStartConfig

    return RunConfig(
        paper="pass_kt",
        profile="gpu",
        environment=environment,
        arm="base",
        seed=0,
        panels=PanelConfig(2, 2, 1) if environment == "retrieval" else PanelSizes(2, 2, 2),
        policy=PolicyConfig(),
        warm_start=WarmStartConfig(),
        training=None,
        sampling=SamplingConfig(temperature=1.0, longest_action=8),
        evaluation=EvaluationConfig(samples=2, largest_k=1),
        model=ModelConfig(**model),
    )


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_general_model_is_evaluated_with_full_texts_and_instructions(
    model: Path, tmp_path: Path, precision: str
) -> None:
    save_reference(str(model), tmp_path / "base")
    config = run_config("retrieval", name=str(model), precision=precision)
    sampler = open_sampler(tmp_path / "base", config)
    assert isinstance(sampler.text, ChatText)
    assert set(end_tokens(model)) <= set(sampler.text.ends)
    task = load_bed("retrieval").panels(config.panels)["test"].tasks[0]
    prompt = sampler.tokenizer.decode(sampler.prompt_ids(task))
    assert load_bed("retrieval").INSTRUCTIONS.strip() in prompt and sampler.environment.reset(task).strip() in prompt
    streams = UniformStreams(("evaluation",), 4, stream_length(2, 8))
    batch = sampler.sample([task], [0] * 4, [2] * 4, range(4), streams)
    assert len(batch.trajectories) == 4 and not batch.successes.any()


def test_a_policy_made_here_is_evaluated_as_before_also_by_name() -> None:
    for config in (run_config("retrieval"), run_config("retrieval", name=str(committed_folder(0)))):
        sampler = open_sampler(committed_folder(0), config)
        assert isinstance(sampler.text, WordText)
        assert type(sampler.environment).__name__ == "RetrievalEnvironment"


def test_actions_of_several_lines_end_with_the_text(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "lines", template=None)
    sampler = open_sampler(folder, run_config("reasoning", name=str(folder)))
    assert set(sampler.text.ends) == set(end_tokens(folder))
    assert len(open_sampler(folder, run_config("countdown", name=str(folder))).text.ends) > len(sampler.text.ends)


def test_a_format_that_is_not_there_stops_in_one_line(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "lines", template=None)
    with pytest.raises(UserError, match=r"model\.format=chat") as caught:
        open_sampler(folder, run_config("countdown", name=str(folder), format="chat"))
    one_line(caught)


@pytest.mark.gpu
def test_a_base_is_made_on_a_gpu(tmp_path: Path) -> None:
    """From the same first weights on the same batches, so it learns the same up to rounding."""
    from reproduce.core.config import WarmStartConfig

    policy = PolicyConfig(width=32, heads=2, feed_forward=64)
    config = replace(WarmStartConfig(), steps=20, drill_steps=5, batch_size=16)
    for device in ("cpu", "cuda"):
        obtain_base("retrieval", policy, config, 0, tmp_path / device, lambda done, total: None, device=device)
    cpu, gpu = (load_policy(tmp_path / device)[0] for device in ("cpu", "cuda"))
    first = build_model(policy, build_tokenizer(load_bed("retrieval").words()), 0)
    moved = (next(cpu.parameters()) - next(first.parameters())).abs().mean()
    apart = (next(cpu.parameters()) - next(gpu.parameters())).abs().mean()
    assert apart < 0.05 * moved
