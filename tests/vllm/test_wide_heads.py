"""A model with widened heads is the same model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

from reproduce.environments.bases import committed_folder
from reproduce.rollouts.policies import load_policy
from reproduce.rollouts.wide_heads import widen_heads


@pytest.mark.parametrize(("environment", "size"), [("countdown", 32), ("reasoning", 32), ("cooking", 80)])
def test_logits_stay_what_they_were(environment: str, size: int) -> None:
    """Over sequences longer than the windows; trained bases, whose norms have weights of their own."""
    model = load_policy(committed_folder(0, environment))[0].eval()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    ids = torch.randint(model.config.vocab_size, (6, 120), generator=torch.Generator().manual_seed(0))
    state = torch.get_rng_state()
    wide = widen_heads(model, size)
    assert torch.equal(torch.get_rng_state(), state), "the global generator was used"
    assert wide.config.head_dim == size != model.config.head_dim
    with torch.no_grad():
        found, wanted = wide(ids).logits, model(ids).logits
    np.testing.assert_allclose(found.numpy(), wanted.numpy(), atol=2e-4 * float(wanted.abs().max()))
    assert (found.argmax(-1) == wanted.argmax(-1)).float().mean() > 0.999
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


def test_keys_and_values_shared_by_heads_are_widened_too() -> None:
    config = Qwen3Config(
        vocab_size=50, hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, initializer_range=0.3, pad_token_id=0,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Qwen3ForCausalLM(config).eval()
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if "norm" in name:
                    weight.uniform_(0.5, 2.0)
    ids = torch.arange(50)[None]
    with torch.no_grad():
        np.testing.assert_allclose(widen_heads(model, 32)(ids).logits, model(ids).logits, atol=1e-4)


def test_what_cannot_be_widened_is_refused() -> None:
    small = {"vocab_size": 9, "hidden_size": 16, "intermediate_size": 8, "num_hidden_layers": 1, "head_dim": 8}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    with pytest.raises(ValueError, match="cannot be widened"):
        widen_heads(Qwen2ForCausalLM(Qwen2Config(**small, **heads)), 32)
    with pytest.raises(ValueError, match="heads of 8 numbers in qwen3 cannot be widened to 4"):
        widen_heads(Qwen3ForCausalLM(Qwen3Config(**small, **heads)), 4)
    with pytest.raises(ValueError, match="cannot be widened"):
        widen_heads(Qwen3ForCausalLM(Qwen3Config(**small, **heads, attention_bias=True)), 32)
