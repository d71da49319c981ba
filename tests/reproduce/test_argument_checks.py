"""Bad values of known arguments are refused before anything starts."""

from __future__ import annotations

import inspect
import re

import pytest
from accelerate.state import PartialState
from trl import GRPOConfig, GRPOTrainer

from reproduce.core.files import UserError
from reproduce.training.argument_checks import CHOICES, check_arguments
from reproduce.training.checks import check_training
from tests.reproduce.small_training import small_run


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("optim=adamw_torhc", "did you mean 'adamw_torch'"),
        ("optim=foo", "foo is not a valid OptimizerNames"),
        ("lr_scheduler_type=cosin", "did you mean 'cosine'"),
        ("loss_type=dr_grp", "did you mean 'dr_grpo'"),
        ("scale_rewards=nun", "did you mean 'none'"),
        ("importance_sampling_level=tokens", "did you mean 'token'"),
        ("num_iterations=0", "must be at least 1"),
    ],
)
def test_what_is_refused(argument: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        check_training(small_run("pass_kt", "grpo", arguments=(argument,)))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 320


def test_what_is_not() -> None:
    for argument in ("optim=sgd", "lr_scheduler_type=cosine", "loss_type=dapo", "scale_rewards=none", "tf32=true"):
        check_arguments(small_run("pass_kt", "grpo", arguments=(argument,)))


def test_the_check_leaves_no_device_behind() -> None:
    PartialState._reset_state()
    check_arguments(small_run("pass_kt", "grpo", arguments=("optim=sgd",)))
    assert not PartialState._shared_state


def test_the_choices_are_those_of_the_trainer() -> None:
    source = inspect.getsource(GRPOTrainer) + inspect.getsource(GRPOConfig)
    for name, choices in CHOICES.items():
        compared = re.findall(rf'\.{name} (?:==|!=|in|not in) (\[[^]]*\]|"[a-z_]+")', source)
        named = {word for words in compared for word in re.findall(r'"([a-z_]+)"', words)}
        assert named and named <= set(choices)
        assert all(f'"{choice}"' in source for choice in choices)
    assert set(CHOICES["loss_type"]) == {
        word
        for words in re.findall(r'self\.loss_type (?:==|in) (\[[^]]*\]|"[a-z_]+")', source)
        for word in re.findall(r'"([a-z_]+)"', words)
    }
