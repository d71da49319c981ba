"""Chains for the methods with resets, sampled by several processes that all plan alike.

Which chains are asked for depends on all that came before: on whether earlier ones failed, and on random steps drawn in
turn. So every process goes through the whole plan of the batch; only the sampling is divided, by prompt, and each
process tells the others what it sampled. The batch is then the same for any number of processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from accelerate import PartialState
from accelerate.utils import gather_object

from methods.reset_buffer import Chain, Request
from reproduce.rollouts.continuation import EpisodeChains


class DividedChains:
    """A `Sampler` of `methods.reset_buffer` from `EpisodeChains`: every process asks for the same and gets all chains.

    A prompt belongs to one process from one `begin` to the next, which so holds the episodes that prefixes come from.
    """

    def __init__(self, chains: EpisodeChains[Any]) -> None:
        self.chains = chains
        self.task_of, self.steps_of = chains.task_of, chains.steps_of
        self.owner: dict[tuple[int, ...], int] = {}

    def begin(self, name: str) -> None:
        """Forget the episodes so far; the chains of the next calls are drawn from streams of this name."""
        self.chains.begin(name)
        self.owner = {}

    def __call__(self, requests: Sequence[Request]) -> list[Chain]:
        """One chain a request, in order."""
        state = PartialState()
        if state.num_processes == 1 or not requests:
            return self.chains(requests)
        for request in requests:
            self.owner.setdefault(request.prompt_ids, len(self.owner) % state.num_processes)
        own = [place for place, one in enumerate(requests) if self.owner[one.prompt_ids] == state.process_index]
        sampled = self.chains([requests[place] for place in own])
        if not own:
            # A call counts in the names of streams, whoever has part in it.
            self.chains.calls += 1
        found = dict(gather_object(list(zip(own, sampled, strict=True))))
        return [found[place] for place in range(len(requests))]
