"""Token entropies of the policy that sampled, for the methods that read them.

Entropies are in nats of the full vocabulary at the sampling temperature. They are taken from the rollout column
`entropies` (one number per completion token) where there is one, else from TRL's own pass for old log-probabilities
where it makes one, else from one pass without gradients over the rows that are asked for.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
import trl

from methods.grpo import GRPOWithGroupMetrics, has_images

_TEXT = ("self", "model", "input_ids", "attention_mask", "logits_to_keep", "batch_size", "compute_entropy")
_SCORED = inspect.signature(trl.GRPOTrainer._get_per_token_logps_and_entropies).parameters
IMAGE_COLUMNS = tuple(name for name in _SCORED if name not in (*_TEXT, "compute_aux_loss"))
"""Columns that the forward pass reads of a batch beside its tokens."""


class GRPOWithEntropies(GRPOWithGroupMetrics):
    """`GRPOWithGroupMetrics` with `_rollout_entropies`, for subclasses that set `_wants_entropies`."""

    _wants_entropies = False
    _scoring = False
    _scored_entropies: torch.Tensor | None = None
    _address = (-1, -1)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        self._scored_entropies = None
        self._scoring = self._wants_entropies and self.model.training
        try:
            return super()._generate_and_score_completions(inputs)
        finally:
            self._scoring = False

    def _get_per_token_logps_and_entropies(self, model: Any, *args: Any, **kwargs: Any) -> Any:
        keep = self._scoring and model is self.model and self._scored_entropies is None
        if keep:
            kwargs["compute_entropy"] = True
        found = super()._get_per_token_logps_and_entropies(model, *args, **kwargs)
        if keep:
            self._scored_entropies = found[1]
        return found

    def _rollout_entropies(
        self, rows: list[dict[str, Any]], output: dict[str, Any], wanted: torch.Tensor
    ) -> torch.Tensor:
        """(rows, tokens) entropies, correct at least in the rows `wanted` (rows,); to be called right after scoring."""
        completion_mask = output["completion_mask"]
        if all(row.get("entropies") is not None for row in rows):
            return sampled_entropies([row["entropies"] for row in rows], completion_mask)
        scored, self._scored_entropies = self._scored_entropies, None
        # TRL's first pass is of the policy only if it kept old log-probabilities; it may be of the reference model.
        if scored is not None and "old_per_token_logps" in output:
            return scored
        if self.accelerator.num_processes > 1 or has_images(output):
            # Sharded models meet in every forward pass, and images are not counted in rows: every row is scored.
            wanted = torch.ones_like(wanted)
        found = torch.zeros(completion_mask.shape, device=completion_mask.device)
        if wanted.any():
            ids, mask = (
                torch.cat([output[f"prompt_{name}"], output[f"completion_{name}"]], dim=1)[wanted]
                for name in ("ids", "mask")
            )
            with torch.no_grad():
                _, entropies, _ = super()._get_per_token_logps_and_entropies(
                    self.model,
                    ids,
                    mask,
                    completion_mask.shape[1],
                    batch_size=self.args.per_device_train_batch_size,
                    compute_entropy=True,
                    **{name: output[name] for name in IMAGE_COLUMNS if has_images(output) and name in output},
                )
            found[wanted] = entropies.to(found.dtype)
        return found

    def _next_address(self) -> tuple[int, int]:
        """(optimiser step, number within it), never the same twice: what random choices of a batch are drawn by."""
        step = self.state.global_step
        self._address = (step, self._address[1] + 1 if self._address[0] == step else 0)
        return self._address


def sampled_entropies(entropies: list[Any], completion_mask: torch.Tensor) -> torch.Tensor:
    """The sampler's entropies as (rows, tokens); raises ValueError unless there is one per completion token."""
    found = torch.zeros(completion_mask.shape, device=completion_mask.device)
    for row, (values, length) in enumerate(zip(entropies, completion_mask.sum(dim=1).tolist(), strict=True)):
        # A row erased by `mask_truncated_completions` has length 0 and is never read.
        if length and len(values) != length:
            raise ValueError(f"row {row} has {len(values)} entropies for {length} completion tokens")
        found[row, : len(values)] = torch.as_tensor(values, dtype=found.dtype)
    return found
