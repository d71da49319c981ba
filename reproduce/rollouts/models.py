"""Models made elsewhere: their place on this machine, a description of each, and references to them.

Nothing is downloaded here, no code that comes with a model is run, and weights are read from safetensors only.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reproduce.core.files import UserError, expanded, read_json, write_json
from reproduce.rollouts.gguf_files import ENDING, converted, gguf_of, packaged_file
from reproduce.rollouts.model_files import check_sizes, check_weights, from_files, missing_weights, open_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

REFERENCE = "reference.json"
"""In a checkpoint folder: which model it stands for, {"name": ..., "digest": ...}, in place of the weights."""
ADAPTER = "adapter_config.json"
"""In a checkpoint folder: a LoRA adapter of the model that it refers to."""
_SAMPLES, _BLOCK = 16, 1 << 16
"""Places of a weights file that its digest reads, and bytes at each."""


@dataclass(frozen=True)
class ModelDescription:
    """Architecture and sizes of a model, as far as its files tell without its weights."""

    architecture: str
    """`model_type` of its configuration, such as qwen2."""
    parameters: int
    """Weights, shared ones counted once."""
    layers: int
    width: int
    """Hidden size."""
    heads: int
    key_value_heads: int
    head_size: int
    context: int
    """Positions."""
    vocabulary: int
    has_chat_template: bool
    precision: str
    """In which the weights are stored, as the configuration says it; empty where it says nothing."""


def find_model(name: str) -> Path:
    """Folder of a model: a path as it is, else the snapshot of that name in the local Hugging Face cache.

    A GGUF file, a folder that holds one and no config.json, and a model that a package brings along
    (`gguf_files.PACKAGED`) are converted first; the folder is then that of the conversion. Raises UserError, saying how
    to get the model, where it is not there or not whole.
    """
    path = expanded(name)
    packed = path if path.suffix == ENDING else gguf_of(path) if path.is_dir() else packaged_file(name)
    if packed is not None:
        return converted(packed)
    if path.is_dir():
        folder = path.resolve()
        if not (folder / "config.json").is_file():
            raise UserError(f"{folder}: no model there (no config.json)")
        how = "copy it whole"
    else:
        folder, how = _find_in_cache(name), f"get it with: hf download {name}"
    for file in folder.iterdir():
        if file.exists() and not file.is_file() and not file.is_dir():
            raise UserError(f"{file}: not a file; copy the model whole")
    missing = missing_weights(folder)
    if missing:
        raise UserError(f"{folder}: {missing}; {how}")
    return folder


def _find_in_cache(name: str) -> Path:
    from transformers.utils import cached_file

    try:
        config = cached_file(name, "config.json", local_files_only=True)
    except OSError:
        if not is_repository_name(name):
            raise UserError(f"model {name}: no such folder") from None
        raise UserError(
            f"model {name}: neither a folder nor whole in the Hugging Face cache; get it with: hf download {name}"
        ) from None
    return Path(config).parent


def is_repository_name(name: str) -> bool:
    """Tell a name that the Hugging Face cache may hold from a path."""
    return re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", name) is not None


def describe_model(folder: Path) -> ModelDescription:
    """Describe a model from its configuration; needs no weights and little memory.

    Raises UserError for a configuration that is missing, damaged, or of an architecture that brings its own code.
    """
    config, model = _outline(folder)
    text = config.get_text_config()
    heads = int(text.num_attention_heads)
    for name in ("num_attention_heads", "num_hidden_layers", "hidden_size", "max_position_embeddings", "vocab_size"):
        if (size := getattr(text, name)) < 1:
            raise UserError(f"{folder}: {name} is {size}; copy it again")
    return ModelDescription(
        architecture=str(config.model_type),
        parameters=sum(weight.numel() for weight in model.parameters()),
        layers=int(text.num_hidden_layers),
        width=int(text.hidden_size),
        heads=heads,
        key_value_heads=int(getattr(text, "num_key_value_heads", None) or heads),
        head_size=int(getattr(text, "head_dim", None) or text.hidden_size // heads),
        context=int(text.max_position_embeddings),
        vocabulary=int(text.vocab_size),
        has_chat_template=_has_chat_template(folder),
        precision=str(config.dtype or "").removeprefix("torch."),
    )


def check_model(folder: Path) -> None:
    """Hold the files of a model against its configuration; no weight is read.

    Raises UserError as `describe_model`, and for files of weights that are damaged or hold another model, and for a
    tokenizer that cannot be used.
    """
    check_weights(folder, _outline(folder)[1])
    open_tokenizer(folder)


def _outline(folder: Path) -> tuple[PreTrainedConfig, PreTrainedModel]:
    """The configuration, and the model on the meta device, without weights."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    if not (folder / "config.json").is_file():
        raise UserError(f"{folder}: no model there (no config.json)")
    check_sizes(folder)
    try:
        config = from_files(AutoConfig.from_pretrained, folder, local_files_only=True)
        with torch.device("meta"):
            model = from_files(AutoModelForCausalLM.from_config, config)
    except Exception as error:  # Each architecture checks its sizes in its own way, or not at all.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        if "trust_remote_code" in str(error):
            reason = "it needs code of its own, which is never run"
        raise UserError(f"{folder}: no decoder that transformers knows ({reason})") from None
    return config, model


def _has_chat_template(folder: Path) -> bool:
    if (folder / "chat_template.jinja").is_file() or (folder / "chat_template.json").is_file():
        return True
    settings = folder / "tokenizer_config.json"
    return settings.is_file() and bool(read_json(settings).get("chat_template"))


def end_tokens(folder: Path) -> tuple[int, ...]:
    """The tokens that end a text, as a model's generation_config.json and config.json say; empty where they do not."""
    for name in ("generation_config.json", "config.json"):
        if (folder / name).is_file():
            ends = read_json(folder / name).get("eos_token_id")
            if ends is not None:
                return tuple(ends) if isinstance(ends, list) else (ends,)
    return ()


def model_digest(folder: Path) -> str:
    """sha256 that tells one model from another and a damaged copy from a whole one, in well under a second.

    It reads configuration and tokenizer whole, and of each file of weights the size, the beginning and blocks at even
    distances: another revision or fine-tune changes it, a single weight that is changed on purpose need not.
    """
    found = hashlib.sha256()
    for path in sorted([*folder.glob("*.safetensors"), *folder.glob("config.json"), *folder.glob("tokenizer*.json")]):
        size = path.stat().st_size
        found.update(f"{path.name} {size}\n".encode())
        with path.open("rb") as file:
            if path.suffix == ".json" or size <= _SAMPLES * _BLOCK:
                found.update(file.read())
                continue
            for place in range(_SAMPLES):
                file.seek((size - _BLOCK) * place // (_SAMPLES - 1))
                found.update(file.read(_BLOCK))
    return found.hexdigest()


def save_reference(name: str, folder: Path) -> None:
    """Write a checkpoint folder that stands for a model by name: nothing of its weights is copied.

    A path is kept as an absolute one. Raises UserError where the model is not there.
    """
    path = find_model(name)
    given = expanded(name)
    kept = str(given.resolve()) if given.exists() else name
    write_json(folder / REFERENCE, {"name": kept, "digest": model_digest(path)})


def follow_reference(folder: Path) -> Path:
    """The folder of a checkpoint's weights: the folder itself, or the model that it stands for.

    Raises UserError where that model is gone or has changed.
    """
    if not (folder / REFERENCE).is_file():
        return folder
    reference: Any = read_json(folder / REFERENCE)
    try:
        name, wanted = str(reference["name"]), str(reference["digest"])
    except (KeyError, TypeError):
        raise UserError(f"{folder / REFERENCE}: damaged (no name and digest); run again with --redo") from None
    path = find_model(name)
    found = model_digest(path)
    if found != wanted:
        raise UserError(
            f"{path}: has digest {found[:12]}, but {folder / REFERENCE} names {wanted[:12]}: "
            "the model has changed since the run began; bring it back or run again with --redo"
        )
    return path


def is_checkpoint(folder: Path) -> bool:
    """True for a folder that holds a policy: weights, or a reference to them."""
    return (folder / "config.json").is_file() or (folder / REFERENCE).is_file()
