"""vLLM as the engine of training: the generators over what TRL's `GRPOTrainer` holds in `vllm_generation` (trl 1.16).

TRL pushes the trained weights to vLLM before it calls a `rollout_func`, and its own `generate` takes neither a seed nor
a token limit for each prompt. These ask the engine itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np

from reproduce.core.config import SamplingConfig
from reproduce.core.files import UserError
from reproduce.rollouts.vllm_generator import VllmGenerator
from reproduce.rollouts.vllm_sampler import Generated

_REQUESTS_AT_ONCE = 64
"""As many connections as TRL's client keeps open."""


class ColocateGenerator:
    """A `TokenGenerator` over the engine that shares the trainer's GPUs.

    Each process asks its own engine for its own episodes, so engines must not span processes. An engine that sleeps
    between steps has to be `awake` while episodes are sampled.
    """

    def __init__(self, trainer: Any, config: SamplingConfig, ends: Sequence[int]) -> None:
        """ends: tokens that close an action. Raises UserError for an engine that spans several GPUs."""
        self.generation = trainer.vllm_generation
        if self.generation.tensor_parallel_size > 1:
            raise UserError(
                "vllm_tensor_parallel_size must be 1 with colocate: episodes end at different turns in each process; "
                "spread a larger model with hardware.training_engine=server"
            )
        self.generator = VllmGenerator(self.generation.llm, config, ends)

    @contextmanager
    def awake(self) -> Iterator[None]:
        """Keep a sleeping engine awake, with the trained weights; sleep level 2 forgets them."""
        generation = self.generation
        if not generation.enable_sleep_mode:
            yield
            return
        if generation._llm_weights_sleeping:
            generation.sync_weights()
        generation.llm.wake_up(tags=["kv_cache"])
        try:
            yield
        finally:
            generation.llm.sleep(level=2)
            generation._llm_weights_sleeping = True

    def generate(
        self, prompts: Sequence[Sequence[int]], seeds: Sequence[int], longest: Sequence[int]
    ) -> list[Generated]:
        """One completion a prompt."""
        return self.generator.generate(prompts, seeds, longest)


class ServerGenerator:
    """A `TokenGenerator` over a running server (`vllm serve`, started as `HardwareConfig.vllm_server` says).

    Every prompt is a request of its own, for a request has one seed; the server batches what arrives together. Each
    process asks for its own episodes. The server does not say what it had in its cache.
    """

    def __init__(self, trainer: Any, config: SamplingConfig, ends: Sequence[int]) -> None:
        """ends: tokens that close an action."""
        self.client = _client(trainer.vllm_generation)
        self.config, self.ends = config, list(ends)

    def generate(
        self, prompts: Sequence[Sequence[int]], seeds: Sequence[int], longest: Sequence[int]
    ) -> list[Generated]:
        """One completion a prompt."""
        with ThreadPoolExecutor(min(_REQUESTS_AT_ONCE, len(prompts))) as executor:
            return list(executor.map(self._ask, prompts, seeds, longest))

    def _ask(self, prompt: Sequence[int], seed: int, longest: int) -> Generated:
        answer = self.client.generate(
            prompts=[list(prompt)],
            temperature=self.config.temperature,
            top_p=self.config.top_p,
            max_tokens=longest,
            logprobs=0,
            generation_kwargs={"seed": seed, "stop_token_ids": self.ends, "ignore_eos": True},
        )
        return Generated(
            np.array(answer["completion_ids"][0], dtype=np.int32),
            np.array([token[0] for token in answer["logprobs"][0]], dtype=np.float32),
        )


def _client(generation: Any) -> Any:
    """The trainer's client, which the main process alone has; another one of the same server elsewhere."""
    client = getattr(generation, "vllm_client", None)
    if client is None:
        from trl.generation.vllm_client import VLLMClient

        address = generation.server_base_url or f"http://{generation.server_host}:{generation.server_port}"
        client = VLLMClient(base_url=address, connection_timeout=generation.server_timeout)
    return client
