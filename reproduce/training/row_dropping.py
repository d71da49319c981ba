"""Rows that no loss reads are left out of the forward pass: speed alone, for any trainer of `methods`.

Only mixed groups carry a gradient in GRPO. Rows that neither it nor another term reads (`_trained_rows`) are left out
where that changes no gradient: loss type `grpo` without KL term, entropy bonus, entropy quantile or router loss, on
text, in one process. TRL's loss is then a mean over fewer rows, which comes back as a factor.

TRL's own metrics stay those of all rows: clip ratios, which are 0 in the rows left out, and `entropy`, which is taken
from the sampler's column `entropies` where the policy is still the one that sampled, and is not logged otherwise.
"""

from __future__ import annotations

from typing import Any

import torch

from methods.entropies import sampled_entropies
from methods.grpo import GRPOWithGroupMetrics, has_images, policy_tokens, take_rows

CLIP_MEANS = ("clip_ratio/low_mean", "clip_ratio/high_mean", "clip_ratio/region_mean")


def without_idle_rows(kind: type[GRPOWithGroupMetrics]) -> type[GRPOWithGroupMetrics]:
    """The same trainer, which leaves idle rows out."""

    class WithoutIdleRows(kind):  # type: ignore[valid-type, misc]
        _share_of_rows = 1.0

        def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
            output: dict[str, Any] = super()._generate_and_score_completions(inputs)
            if self._keeps_rows and all(row.get("entropies") is not None for row in inputs):
                entropies = sampled_entropies([row["entropies"] for row in inputs], output["completion_mask"])
                output["entropy_of_row"] = (entropies * policy_tokens(output)).sum(dim=1)
            return output

        def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
            rows = self._trained_rows(inputs)
            if bool(rows.all()) or not is_exact(self, inputs):
                return super()._compute_loss(model, inputs)
            kept = trimmed(inputs, rows)
            self._share_of_rows = len(kept["advantages"]) / len(rows)
            try:
                loss = super()._compute_loss(model, kept)
            finally:
                self._share_of_rows = 1.0
            bring_to_all_rows(self._metrics["train"], inputs, kept)
            return loss

        def _policy_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
            return super()._policy_loss(model, inputs) * self._share_of_rows

    WithoutIdleRows.__name__ = WithoutIdleRows.__qualname__ = kind.__name__
    return WithoutIdleRows


def is_exact(trainer: GRPOWithGroupMetrics, inputs: dict[str, Any]) -> bool:
    """True where leaving out rows changes no gradient."""
    every_row_is_read = trainer.beta != 0 or trainer._entropy_bonus_enabled or trainer.aux_loss_enabled
    every_row_is_read = every_row_is_read or trainer.top_entropy_quantile < 1 or trainer.loss_type != "grpo"
    # TRL gathers one clip ratio per row, so all processes must hold equally many.
    every_row_is_read = every_row_is_read or trainer.accelerator.num_processes > 1 or has_images(inputs)
    return not every_row_is_read and bool(trainer.model.training)


def trimmed(inputs: dict[str, Any], rows: torch.Tensor) -> dict[str, Any]:
    """The rows marked in `rows` (rows,), cut to the longest of them; the first row where none is marked.

    inputs: a batch as TRL hands it to its loss, prompts padded on the left and completions on the right.
    """
    kept = take_rows(inputs, rows if rows.any() else torch.zeros(1, dtype=torch.long, device=rows.device))
    prompt = int(kept["prompt_mask"].sum(dim=1).max())
    completion = max(1, int(kept["completion_mask"].sum(dim=1).max()))
    width = inputs["completion_mask"].shape[1]
    for name, value in kept.items():
        if name.startswith("prompt_") and torch.is_tensor(value):
            kept[name] = value[:, value.shape[1] - prompt :]
        elif torch.is_tensor(value) and value.ndim == 2 and value.shape[1] == width:
            kept[name] = value[:, :completion]
    return kept


def bring_to_all_rows(metrics: dict[str, list[float]], inputs: dict[str, Any], kept: dict[str, Any]) -> None:
    """Change the last values of TRL's metrics, which are of the rows kept, to those of all rows of the batch."""
    tokens = policy_tokens(inputs).sum().clamp(min=1)
    for name in CLIP_MEANS:
        metrics[name][-1] *= float(policy_tokens(kept).sum() / tokens)
    metrics["clip_ratio/low_min"][-1] = 0.0
    if "entropy_of_row" in inputs and "old_per_token_logps" not in inputs:
        metrics["entropy"][-1] = float(inputs["entropy_of_row"].sum() / tokens)
        return
    metrics["entropy"].pop()
    if not metrics["entropy"]:
        del metrics["entropy"]
