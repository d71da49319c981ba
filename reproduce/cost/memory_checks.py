"""Memory that a machine must have free before runs of a named model start on it. The policies made here, of 85 M
parameters at the most, are not checked: they need little."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from reproduce.cost.estimate import evaluated_at_once, longest_episode, mean_episode, rows_at_once, run_memory
from reproduce.cost.model import BYTES_OF, SAMPLED_BYTES, cache_bytes, parameters

if TYPE_CHECKING:
    from reproduce.core.config import RunConfig
    from reproduce.cost.model import Architecture

HOST_OVERHEAD = 1e9
"""Bytes of Python, torch and trl in one process, where no GPU is used."""
LOGIT_COPIES = 3
"""Of the logits of what follows the prompt, in float32: they, their logarithms and their gradients. A forward
and backward pass over 16 rows of 80 tokens of SmolLM2-135M took 3.7 GB, where the parts of the estimate make 4.4."""
SECONDS = 60
"""Until a driver that does not answer is left alone."""
_ASK = "import torch; print(*(m for n in range(torch.cuda.device_count()) for m in torch.cuda.mem_get_info(n)))"


def gpu_memory() -> tuple[float, float] | None:
    """Bytes free on the fullest GPU, and those it has; None where they cannot be told. Asked in a process of its own,
    for whoever asks holds some of each GPU as long as it lives."""
    try:
        asked = subprocess.run(
            [sys.executable, "-c", _ASK], capture_output=True, text=True, check=True, timeout=SECONDS
        )
    except (subprocess.SubprocessError, OSError):
        return None
    numbers = [float(word) for word in asked.stdout.split()]
    return min(zip(numbers[::2], numbers[1::2], strict=True), default=None)


def host_bytes(run: RunConfig, model: Architecture, context: int | None) -> float:
    """Memory of a run on the CPU: the weights and the histories of the episodes that are evaluated at once; while it
    trains also gradients, optimiser, and activations or the histories of a step's rollouts, of each process."""
    longest = longest_episode(run, context)
    evaluated = BYTES_OF["float32"] * parameters(model) + history_bytes(model, evaluated_at_once(run), longest)
    if run.training is None:
        return evaluated + HOST_OVERHEAD
    needed, processes = run_memory(run, model, context), run.hardware.processes
    tokens = rows_at_once(run) * max(longest - mean_episode(run).prompt_tokens, 0)
    logits = LOGIT_COPIES * BYTES_OF["float32"] * model.vocabulary * tokens
    sampled = history_bytes(model, run.training.questions_per_step * run.training.group_size // processes, longest)
    fixed = needed.weights + needed.gradients + needed.optimiser + needed.reference
    trained = fixed + max(needed.activations + logits, sampled)
    return max(evaluated + HOST_OVERHEAD, processes * (trained + HOST_OVERHEAD))


def history_bytes(model: Architecture, episodes: int, longest: int) -> float:
    """Keys and values in float32 of so many episodes, twice: those of this turn and of the next. An upper bound, for
    episodes share what they have in common."""
    return 2.0 * episodes * longest * cache_bytes(model) * BYTES_OF["float32"] / SAMPLED_BYTES


def too_little_host_memory(
    runs: Sequence[RunConfig], model: Architecture, context: int | None, at_once: int
) -> Iterator[str]:
    """A line where the most demanding runs, `at_once` of them at one time, do not fit into this machine's memory."""
    import psutil

    together = min(at_once, len({(run.environment, run.seed) for run in runs}))
    each = max((host_bytes(run, model, context) for run in runs), default=0.0)
    available = psutil.virtual_memory().available
    if together * each > available:
        workers = f", {together} at one time {together * each / 1e9:.1f} GB" if together > 1 else ""
        yield (
            f"memory: a run of {runs[0].model.name} needs about {each / 1e9:.1f} GB{workers}, {available / 1e9:.1f} GB "
            f"are free; set fewer {'--workers, ' if together > 1 else ''}hardware.rows_at_once, or model.lora_rank"
        )
