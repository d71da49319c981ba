"""Reading the files of a model: never its code, and not before they are known to hold what its configuration says.

transformers fills weights that a file lacks with random numbers and goes on; here such a file is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reproduce.core.files import UserError, read_json
from reproduce.core.limited import GIB, limited

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SAMPLE = "The kitchen has 2 doors."
"""A tokenizer that makes no token of it is empty."""
PROBES = (SAMPLE * 20, *(sign * 200 + "!" for sign in "aA0 .\n"))
"""Texts on which a regular expression with nested repetitions takes years."""
LARGEST_SIZE, MOST_LAYERS = 10**12, 1000
"""No number in the configuration of a decoder is larger, and none has more layers."""


def from_files(make: Callable[..., Any], source: Any, **options: Any) -> Any:
    """Call `from_pretrained` or `from_config` of a class of transformers, which never runs code that the model brings.

    Every such call of this package passes here: left to itself, transformers asks whether to run the code, and a pipe
    may say yes.
    """
    return make(source, trust_remote_code=False, **options)


def missing_weights(folder: Path) -> str:
    """Name the files of weights that a folder lacks, in words; empty where all are there."""
    try:
        lacking = [path.name for path in weight_files(folder) if not path.is_file()]
    except ValueError as error:
        return str(error)
    if not lacking:
        return ""
    return f"{len(lacking)} of {len(weight_files(folder))} files of weights are missing, such as {lacking[0]}"


def weight_files(folder: Path) -> list[Path]:
    """The files that hold a model's weights. Raises ValueError where none are named."""
    whole, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if whole.is_file():
        return [whole]
    if not index.is_file():
        raise ValueError("no weights in safetensors")
    try:
        return [folder / name for name in sorted(set(read_json(index)["weight_map"].values()))]
    except (AttributeError, KeyError, TypeError, UserError):
        raise ValueError(f"{index.name} is damaged") from None


def check_weights(folder: Path, model: PreTrainedModel) -> None:
    """Hold names and shapes in the files against the model, without reading a weight.

    model: as built from the configuration, on the meta device. Raises UserError where a file is damaged, or lacks
    weights of the model, has them in another shape, or has layers beyond the model's.
    """
    found = _shapes(folder)
    if getattr(model.config, "quantization_config", None):
        # Names and shapes are those of packed weights, which only the package that packed them can tell.
        return
    lacking = loading_differences(_loaded(model, found), set(model.state_dict()))
    if lacking:
        raise UserError(f"{folder}: the weights are not those of its config.json: {lacking}; copy it whole")


def _shapes(folder: Path) -> dict[str, Any]:
    """Name of each weight in the files, and an empty tensor of its shape."""
    import torch
    from safetensors import SafetensorError, safe_open

    found = {}
    for path in weight_files(folder):
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118
                    found[name] = torch.empty(file.get_slice(name).get_shape(), device="meta")
        except (SafetensorError, OSError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(f"{path}: damaged or cut short ({reason}); copy it again") from None
    return found


def _loaded(model: PreTrainedModel, shapes: dict[str, Any]) -> dict[str, Any]:
    """The report of transformers on loading tensors of these shapes; renaming and tying are as for real."""
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    try:
        _, report = from_files(
            type(model).from_pretrained,
            None,
            config=model.config,
            state_dict=shapes,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            device_map={"": "meta"},
        )
    except (RuntimeError, ValueError) as error:
        return {"error_msgs": [str(error).splitlines()[0]]}
    finally:
        logging.set_verbosity(verbosity)
    return report


def loading_differences(report: dict[str, Any], known: set[str]) -> str:
    """Sum up, in words, all that `output_loading_info` reports which makes it another model; empty where nothing.

    known: names of the model's weights. Weights in a file that the model has no use for are harmless, unless they are
    of layers like its own.
    """
    return "; ".join(_differences(report, known))


def _differences(report: dict[str, Any], known: set[str]) -> Iterator[str]:
    if missing := sorted(report.get("missing_keys", ())):
        yield f"{len(missing)} are missing, such as {missing[0]}"
    if odd := sorted(report.get("mismatched_keys", ())):
        name, stored, wanted = odd[0]
        yield f"{len(odd)} have another shape, such as {name}, {tuple(stored)} in the file and {tuple(wanted)} wanted"
    layers = {_of_any_layer(name) for name in known}
    if further := sorted(n for n in report.get("unexpected_keys", ()) if n not in known and _of_any_layer(n) in layers):
        yield f"{len(further)} are of layers beyond it, such as {further[0]}"
    yield from report.get("error_msgs", ())


def _of_any_layer(name: str) -> str:
    """The name without its numbers."""
    return re.sub(r"\.\d+\.", ".*.", name)


def open_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a model. Raises UserError where it is missing, damaged or empty."""
    from transformers import AutoTokenizer

    def tokens(*texts: str) -> list[list[int]]:
        tokenizer = from_files(AutoTokenizer.from_pretrained, folder, local_files_only=True, padding_side="left")
        return [tokenizer(text, add_special_tokens=False).input_ids[:2] for text in texts]

    try:
        first = limited(tokens, SAMPLE, *PROBES, memory=2 * GIB)[0]
        tokenizer = from_files(AutoTokenizer.from_pretrained, folder, local_files_only=True, padding_side="left")
    except Exception as error:  # The library for tokenizers raises what it likes, down to bare Exception.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{folder}: its tokenizer cannot be read ({reason[:120]}); copy it whole") from None
    if not first or len(tokenizer) < 2:
        raise UserError(f"{folder}: its tokenizer is empty, files of it are missing or damaged; copy it whole")
    return tokenizer


def check_sizes(folder: Path, content: Any = None, name: str = "") -> None:
    """Raise UserError where the config.json of a model holds a number that no decoder has: NaN, or larger ones than
    `LARGEST_SIZE` and `MOST_LAYERS`, with which transformers would build layers until the memory is full."""
    if not name:
        content = read_json(folder / "config.json")
        if not isinstance(content, dict):
            raise UserError(f"{folder / 'config.json'}: damaged (no JSON object); copy it again")
    if isinstance(content, dict):
        for key, value in content.items():
            check_sizes(folder, value, f"{name}.{key}" if name else key)
    elif isinstance(content, list):
        for value in content:
            check_sizes(folder, value, f"{name}[]")
    elif isinstance(content, (int, float)) and not isinstance(content, bool):
        key = name.rpartition(".")[2]
        layers = re.search(r"layers?$|blocks$|depth$|experts$", key) is not None
        if math.isnan(content) or abs(content) > (MOST_LAYERS if layers else LARGEST_SIZE):
            shown = str(content) if isinstance(content, float) else f"{content:.3g}"
            raise UserError(f"{folder / 'config.json'}: {name} is {shown}; copy it again")
