"""Mistyped settings of model and hardware are refused for every paper when its experiment is opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from reproduce.core.files import UserError
from reproduce.core.paper import PACKAGED, load_paper
from reproduce.plan.open import open_experiment

REFUSED = {
    "hardware.processes=0": "must be at least 1",
    "hardware.rows_at_once=-1": "must be at least 0",
    "hardware.device=gpu": "did you mean 'cuda'",
    "hardware.device=quantum": "known: cpu, cuda",
    "hardware.device=cdua": "did you mean 'cuda'",
    "hardware.engine=vlm": "did you mean 'vllm'",
    "hardware.engine=colocate": "did you mean|known: transformers, vllm",
    "hardware.training_engine=colocated": "did you mean 'colocate'",
    "hardware.agreement=-1": "above 0",
    "hardware.agreement=nan": "finite",
    "hardware.vllm_memory=2": "below 1",
    "hardware.vllm_memory=0": "above 0",
    "model.precision=float16": "did you mean 'bfloat16'",
    "model.format=chatt": "did you mean 'chat'",
    "model.format=text": "name a model",
    "model.lora_rank=-1": "must be at least 0",
    "model.lora_alpha=0": "must be at least 1",
}


@pytest.mark.parametrize("key", PACKAGED)
def test_what_is_refused(key: str) -> None:
    for setting, message in REFUSED.items():
        with pytest.raises(UserError, match=message) as caught:
            open_experiment(key, "smoke", (setting,), Path("nowhere"))
        assert str(caught.value).startswith(f"--set {setting.partition('=')[0]}=") and "\n" not in str(caught.value)


@pytest.mark.parametrize("key", PACKAGED)
def test_every_profile_passes(key: str) -> None:
    for profile in load_paper(key).profiles:
        open_experiment(key, profile, (), Path("nowhere"))


def test_parts_of_environments_and_the_server() -> None:
    for key, prefix in (("pass_kt", ""), ("reuserl", "countdown.")):
        for setting in (
            f"{prefix}sampling.top_p=0",
            f"{prefix}sampling.top_p=1.5",
            f"{prefix}training.kl_coefficient=-1",
        ):
            with pytest.raises(UserError, match=setting.partition("=")[0]):
                open_experiment(key, "smoke", (setting,), Path("nowhere"))
    server = ("hardware.training_engine=server", "hardware.vllm_server=localhost:8000")
    with pytest.raises(UserError, match="must begin with http"):
        open_experiment("pass_kt", "smoke", server, Path("nowhere"))
