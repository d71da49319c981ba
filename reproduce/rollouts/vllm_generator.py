"""Generation by vLLM in the process that calls it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from reproduce.core.config import SamplingConfig
from reproduce.rollouts.vllm_sampler import Generated


class VllmGenerator:
    """A `TokenGenerator` over a `vllm.LLM` of this process.

    vLLM tells no entropies: it would have to return the whole vocabulary for every token.
    """

    def __init__(self, llm: Any, config: SamplingConfig, ends: Sequence[int]) -> None:
        """ends: tokens that close an action."""
        self.llm, self.config, self.ends = llm, config, list(ends)

    def generate(
        self, prompts: Sequence[Sequence[int]], seeds: Sequence[int], longest: Sequence[int]
    ) -> list[Generated]:
        """One completion a prompt. On CPUs torch's generator reads the low 32 bits of a seed only."""
        requests = [{"prompt_token_ids": list(prompt)} for prompt in prompts]
        parameters = [self._parameters(seed, most) for seed, most in zip(seeds, longest, strict=True)]
        outputs = self.llm.generate(requests, parameters, use_tqdm=False)
        return [
            Generated(
                np.array(output.outputs[0].token_ids, dtype=np.int32),
                np.array(output.outputs[0].logprobs.logprobs, dtype=np.float32),
                cached_tokens=output.num_cached_tokens or 0,
            )
            for output in outputs
        ]

    def _parameters(self, seed: int, longest: int) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        return SamplingParams(
            temperature=self.config.temperature,
            top_p=self.config.top_p,
            seed=seed,
            max_tokens=longest,
            # The format says what ends an action, not the checkpoint's generation_config.
            stop_token_ids=self.ends,
            ignore_eos=True,
            logprobs=0,
            flat_logprobs=True,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
