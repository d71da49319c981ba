"""Expected time of a policy made here on one GPU. Nothing of it has been measured on one: an order of magnitude.

A policy of this size keeps no GPU busy. What takes time is that PyTorch launches the kernels of each layer one after
another, as often as tokens are sampled in turn, however many episodes are sampled at once.
"""

from __future__ import annotations

from reproduce.core.config import EvaluationConfig, RunConfig

SECONDS_A_LAYER = 1e-3
"""For one layer's forward pass over a new token of each episode: some twenty kernels of about 50 microseconds. Ours."""
PASSES_OF_AN_UPDATE = 4
"""Forward, twice that backward, and the optimiser, in forward passes."""
OPERATIONS_A_SECOND = 2e13
"""In float32, of one GPU; a third of what the data sheet of an H100 says."""
TOKENS_OF_A_DEMONSTRATION = 100


def gpu_stage_seconds(
    run: RunConfig, matrix_parameters: int, training_steps: int, rollouts: int, episodes: int
) -> dict[str, float]:
    """Expected seconds of each stage, at most: every episode takes all its rounds and fills every action.

    training_steps, rollouts: of training, 0 for a base. episodes: of the evaluation.
    """
    layer_seconds = SECONDS_A_LAYER * run.policy.layers
    stages, evaluation = {}, run.evaluation
    if run.training is not None:
        tokens = (run.training.rounds + 1) * run.sampling.longest_action
        sampling = training_steps * tokens * layer_seconds
        update = training_steps * PASSES_OF_AN_UPDATE * layer_seconds
        stages["train"] = sampling + update + _operations(rollouts * tokens, matrix_parameters)
    else:
        sequences = run.warm_start.steps * run.warm_start.batch_size
        update = run.warm_start.steps * PASSES_OF_AN_UPDATE * layer_seconds
        stages["warm start"] = update + _operations(sequences * TOKENS_OF_A_DEMONSTRATION, matrix_parameters)
    if isinstance(evaluation, EvaluationConfig):
        rounds, each = max(evaluation.caps), evaluation.samples * len(evaluation.caps)
    else:
        rounds, each = run.rounds, evaluation.samples
    batches = -(-episodes // (each * evaluation.at_once))
    stages["evaluate"] = batches * (rounds + 1) * run.sampling.longest_action * layer_seconds
    return stages


def _operations(tokens: int, matrix_parameters: int) -> float:
    """Seconds of forward and backward passes over so many tokens, six operations a weight and token."""
    return 6 * matrix_parameters * tokens / OPERATIONS_A_SECOND
