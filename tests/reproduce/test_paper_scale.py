"""The files of the papers' own scale: complete, with sources, resolved against configuration and trainer."""

from __future__ import annotations

import ast
import subprocess
import sys
from typing import Any

import pytest

from reproduce.claims.published import load_settings
from reproduce.claims.verdicts import claims_tested, offered_by_plan, untested
from reproduce.core.config import ModelConfig
from reproduce.core.paper import PACKAGED, load_paper
from reproduce.core.settings import field_paths
from reproduce.core.validation import with_value
from reproduce.cost.machines import GPUS
from reproduce.cost.model import parameters
from reproduce.cost.paper_scale import (
    UNSTATED,
    PaperScaleError,
    load_paper_scale,
    parse_paper_scale,
)
from reproduce.cost.profile import PAPER, paper_profile, training_arguments
from reproduce.environments.beds import ENVIRONMENTS
from reproduce.plan.checks import check_config
from reproduce.training.arguments import adapters, named_arguments

KEYS = tuple(PACKAGED)


def profile_of(key: str) -> Any:
    return load_paper(key).profiles[PAPER]


def field(config: Any, path: str) -> Any:
    for name in path.split("."):
        config = getattr(config, name)
    return config


# ---- What the files hold


@pytest.mark.parametrize("key", KEYS)
def test_every_entry_has_a_source_and_every_value_a_place(key: str) -> None:
    scale, paths = load_paper_scale(key), set(field_paths(profile_of(key)))
    assert len(scale.values) > 30
    for entry in (*scale.models, *scale.data, *scale.values, *scale.episodes, scale.hardware):
        assert entry.source == UNSTATED or any(entry.source.startswith(label) for label in scale.sources)
    for value in scale.values:
        assert value.setting or value.argument or value.note
        assert set(value.setting) <= paths
    assert scale.hardware.gpu in GPUS


UNSOURCED = {
    "training.arguments": "made of the values that go to an argument",
    "policy.": "of policies made here; a model by name has its own",
    "warm_start.": "of policies made here; a model by name is not warmed up",
    "hardware.vllm_server": "address of an engine that runs elsewhere; the profiles' engines do not",
    "hardware.report_to": "where is logged besides",
    "freeze_after": "of an arm of ReuseRL that the profile leaves out",
    "frozen_epochs": "of an arm of EchoRL that the profile leaves out",
    "analysis_groups": "of an analysis of EchoRL that reads generated solutions",
    "analysis_solutions": "of an analysis of EchoRL that reads generated solutions",
    "probe_tasks": "of a probe of resets on generated chains",
    "labelled_steps": "of an arm of resets that the profile leaves out",
}
"""Fields without an entry in a paper's file, by their last names; with a dot at the end all fields in there."""


def belongs(path: str, name: str) -> bool:
    """Whether a field is one of those that a name of `UNSOURCED` means."""
    return f".{name}" in f".{path}" if name.endswith(".") else f".{path}".endswith(f".{name}")


def unsourced(key: str) -> set[str]:
    """Fields of the profile that no entry sets, but for those of `UNSOURCED` and those that nothing reads: of
    environments without a run, of adapters where there are none, and sources of what is generated here."""
    scale, config = load_paper_scale(key), profile_of(key)
    entered = {path for value in scale.values for path in value.setting} | {"model.name"}
    entered |= {entry.setting for entry in scale.data}
    run_here = {run.environment for run in load_paper(key).plan(config)}
    generated = {entry.environment for entry in scale.data if not entry.setting}
    found = set()
    for path in set(field_paths(config)) - entered:
        first = path.partition(".")[0]
        excused = any(belongs(path, name) for name in UNSOURCED)
        excused |= first in ENVIRONMENTS and first not in run_here
        excused |= path == "model.lora_alpha" and config.model.lora_rank == 0
        excused |= path.endswith(".panels.source") and first in generated
        if not excused:
            found.add(path)
    return found


@pytest.mark.parametrize("key", KEYS)
def test_every_hyper_parameter_has_a_source(key: str) -> None:
    assert unsourced(key) == set()


def test_every_field_without_a_source_is_one_of_some_profile() -> None:
    paths = [path for key in KEYS for path in field_paths(profile_of(key))]
    for name in UNSOURCED:
        assert any(belongs(path, name) for path in paths), name


@pytest.mark.parametrize("key", KEYS)
def test_what_the_trainer_fixes_has_a_source(key: str) -> None:
    """What TRL would have otherwise, or nobody can set: the engine's correction and the adapters' dropout."""
    scale, rank = load_paper_scale(key), profile_of(key).model.lora_rank
    named = {value.argument: value.effective for value in scale.values if value.argument}
    assert named["vllm_importance_sampling_correction"] is False
    assert {"optim", "adam_beta1", "adam_beta2", "weight_decay", "max_grad_norm"} <= set(named)
    assert {"lr_scheduler_type", "warmup_steps", "num_iterations", "epsilon"} <= set(named)
    dropouts = [value.value for value in scale.values if value.name == "LoRA dropout"]
    assert dropouts == ([adapters(ModelConfig(lora_rank=rank)).lora_dropout] if rank else [])


@pytest.mark.parametrize("key", KEYS)
def test_the_profile_is_what_the_file_says(key: str) -> None:
    scale, config = load_paper_scale(key), profile_of(key)
    assert config.profile == PAPER
    assert config.model.name == scale.policy.name
    for value in scale.values:
        for path in value.setting:
            assert field(config, path) == value.effective, path
    for entry in scale.data:
        if entry.setting:
            assert field(config, entry.setting) == entry.folder
    check_config(config)
    runs = load_paper(key).plan(config)
    environments = {run.environment for run in runs}
    assert {entry.environment for entry in scale.episodes} >= environments
    assert {entry.environment for entry in scale.data} >= environments
    for run in runs:
        assert run.model == config.model
        if run.training is not None:
            assert set(training_arguments(scale)) <= set(run.training.arguments)


# Read again, by hand, from the specifications of the papers.
CENTRAL = {
    "pass_kt": {
        "model.name": "Qwen/Qwen2.5-7B-Instruct",
        "training.group_size": 8,
        "training.rounds": 5,
        "training.epochs": 10,
        "training.questions_per_step": 10,
        "training.learning_rate": 5e-5,
        "model.lora_rank": 16,
        "model.lora_alpha": 32,
        "panels.train_per_category": 100,
        "panels.test_per_category": 100,
        "sampling.temperature": 0.7,
        "evaluation.caps": (0, 1, 2, 3, 5),
        "evaluation.largest_k": 64,
    },
    "reuserl": {
        "model.name": "Qwen/Qwen2.5-1.5B-Instruct",
        "household.training.group_size": 8,
        "household.training.questions_per_step": 16,
        "household.training.learning_rate": 1e-6,
        "household.training.kl_coefficient": 0.01,
        "household.training.rounds": 50,
        "household.evaluation.temperature": 0.4,
        "household.evaluation.samples": 7,
        "cooking.panels.test": 1000,
        "countdown.panels.test": 1024,
        "min_corpus": 50,
    },
    "echorl": {
        "reasoning.training.group_size": 8,
        "reasoning.training.questions_per_step": 128,
        "reasoning.training.learning_rate": 1e-6,
        "reasoning.training.kl_coefficient": 0.0,
        "reasoning.sampling.temperature": 1.0,
        "reasoning.evaluation.temperature": 0.6,
        "updates": 2,
        "newline_token_ids": (198, 271),
    },
    "resets": {
        "model.name": "Qwen/Qwen2.5-14B-Instruct",
        "model.lora_rank": 64,
        "model.lora_alpha": 64,
        "reasoning.training.group_size": 8,
        "reasoning.training.questions_per_step": 32,
        "reasoning.training.learning_rate": 5e-5,
        "reasoning.sampling.temperature": 0.7,
        "reasoning.sampling.top_p": 0.95,
        "reasoning.evaluation.temperature": 0.0,
        "updates": 4,
        "seeds": 3,
    },
}


@pytest.mark.parametrize(("key", "path"), [(key, path) for key in KEYS for path in CENTRAL[key]])
def test_central_values(key: str, path: str) -> None:
    assert field(profile_of(key), path) == CENTRAL[key][path]


# Likewise, arguments of TRL's GRPOConfig; those that are not there are not set.
CENTRAL_ARGUMENTS: dict[str, dict[str, Any]] = {
    "pass_kt": {"loss_type": "grpo", "scale_rewards": "group", "epsilon": 0.2, "weight_decay": 0.0},
    "reuserl": {"loss_type": "grpo", "epsilon": 0.2, "weight_decay": 0.0},
    "echorl": {
        "loss_type": "dr_grpo",
        "scale_rewards": "none",
        "entropy_coef": 0.001,
        "epsilon": 0.2,
        "weight_decay": 0.01,
        "max_completion_length": 8192,
    },
    "resets": {"epsilon": 0.2, "weight_decay": 0.01},
}


@pytest.mark.parametrize("key", KEYS)
def test_central_arguments(key: str) -> None:
    watched = {name for arguments in CENTRAL_ARGUMENTS.values() for name in arguments}
    for run in load_paper(key).plan(profile_of(key)):
        if run.training is not None:
            set_here = named_arguments(run.training.arguments)
            assert {name: set_here[name] for name in watched & set(set_here)} == CENTRAL_ARGUMENTS[key]


def test_steps_of_training() -> None:
    """150 steps on each environment of ReuseRL; 20 an epoch of PASS@(k,T)."""
    reuserl = profile_of("reuserl")
    assert 150 * reuserl.household.training.questions_per_step == 2 * 6 * reuserl.household.panels.train
    for bed in (reuserl.cooking, reuserl.countdown):
        assert bed.training.epochs * bed.panels.train == 150 * bed.training.questions_per_step
    pass_kt = profile_of("pass_kt")
    assert 2 * pass_kt.panels.train_per_category == 20 * pass_kt.training.questions_per_step == 200


def test_values_agree_with_the_published_settings() -> None:
    published = {setting.id: setting.value for setting in load_settings("pass_kt")}
    values = {value.name: value.value for value in load_paper_scale("pass_kt").values}
    same = {
        "rl.group-size": "group size G",
        "rl.T": "training cap T on rounds",
        "rl.epochs": "epochs",
        "rl.questions": "training questions",
        "rl.reward": "reward",
        "evaluation.questions": "evaluation questions a category",
        "evaluation.episodes": "episodes a policy, question and T",
        "evaluation.T": "caps T of the evaluation",
        "evaluation.temperature": "temperature",
    }
    for setting, name in same.items():
        assert published[setting] == values[name]
    assert max(published["evaluation.k"]) == values["largest k"]
    assert load_paper_scale("pass_kt").policy.name.endswith(published["backbone"])


@pytest.mark.parametrize("key", KEYS)
def test_weights_follow_from_the_shapes(key: str) -> None:
    for model in load_paper_scale(key).models:
        assert parameters(model) == pytest.approx(model.parameters, rel=2e-3), model.name


@pytest.mark.parametrize("key", KEYS)
def test_claims_left_out_are_claims_and_say_why(key: str) -> None:
    paper = load_paper(key)
    for profile in (PAPER, "full", "laptop"):
        config = paper.profiles[profile]
        offer = offered_by_plan(paper.plan(config), config)
        left_out = untested(paper.claims, offer)
        assert all(len(reason) > 10 for reason in left_out.values())
        assert set(left_out) | {claim.identifier for claim in claims_tested(paper.claims, offer)} == {
            claim.identifier for claim in paper.claims
        }
        assert len(left_out) < len(paper.claims) and (left_out == {} or profile != "full")


# ---- Files that are damaged

VALID = """
paper = "pass_kt"
[sources]
"digest" = "a digest"
[[model]]
name = "a/b"
role = "policy"
parameters = 10
layers = 1
width = 1
heads = 1
key_value_heads = 1
head_width = 1
feed_forward = 1
vocabulary = 1
tied = true
source = "digest"
provenance = "digest"
[[value]]
name = "seeds"
value = 3
setting = "seeds"
source = "digest 4.1"
provenance = "digest"
[hardware]
gpu = "H100 80GB"
count = 1
source = "unstated, ours"
provenance = "ours"
"""


def test_a_small_file() -> None:
    scale = parse_paper_scale("pass_kt", VALID)
    assert scale.policy.name == "a/b"
    assert scale.values[0].setting == ("seeds",)
    assert scale.values[0].effective == 3


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('setting = "seeds"', "", "neither setting nor argument"),
        ('setting = "seeds"', 'setting = "seeds"\nargument = "optim"', "both setting and argument"),
        ('setting = "seeds"', 'setting = ["seeds", "seeds"]', "is set by 'seeds' already"),
        ('setting = "seeds"', 'setting = "seeds"\napplied = 4', "no note says why"),
        ('setting = "seeds"', 'setting = "model.name"', "is set by 'policy model' already"),
        ('setting = "seeds"', 'seting = "seeds"', "did you mean 'setting'"),
        ('source = "digest 4.1"', 'source = "rumour"', "not defined under [sources]"),
        ('source = "digest 4.1"', 'source = "digested"', "not defined under [sources]"),
        ('source = "digest 4.1"', 'source = "unstated, ours"', "go together"),
        ('source = "digest 4.1"\n', "", "missing field value[0].source"),
        ('provenance = "ours"', 'provenance = "our"', "did you mean 'ours'"),
        ('role = "policy"', 'role = "other"', "no [[model]] of role 'policy'"),
        ("parameters = 10", 'parameters = "10"', "model[0].parameters = '10' must be a whole number"),
        ("tied = true", "tied = 1", "model[0].tied = 1 must be true or false"),
        ("[[value]]", "[[values]]", "unknown field 'values'; did you mean 'value'"),
        ("[hardware]", "[[value]]", "missing field hardware"),
        ('paper = "pass_kt"', 'paper = "echorl"', "paper = 'echorl'"),
        ("value = 3", "value =", "cannot be read"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(old: str, new: str, says: str) -> None:
    assert old in VALID
    with pytest.raises(PaperScaleError) as error:
        parse_paper_scale("pass_kt", VALID.replace(old, new))
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_paper() -> None:
    with pytest.raises(PaperScaleError, match="no file of paper scale"):
        paper_profile("nothing", profile_of("pass_kt"))


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("trainin.epochs", 1, "did you mean 'training'"),
        ("training.epoch", 1, "did you mean 'epochs'"),
        ("training.epochs", 1.5, "training.epochs = 1.5 must be a whole number"),
        ("training.epochs", 0, "training.epochs = 0 must be at least 1"),
        ("training.epochs", True, "must be a whole number"),
        ("training.epochs.more", 1, "has no fields"),
        ("training", 1, "training = 1 must be a table"),
        ("evaluation.caps", 1, "must be a list"),
    ],
)
def test_fields_that_do_not_fit(path: str, value: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        with_value(profile_of("pass_kt"), path, value)


def test_whole_numbers_become_floats() -> None:
    config = with_value(profile_of("pass_kt"), "training.learning_rate", 1)
    assert config.training.learning_rate == 1.0
    assert isinstance(config.training.learning_rate, float)


def test_loading_profiles_loads_no_model_code() -> None:
    code = (
        "import sys, reproduce.papers.reuserl.paper, reproduce.plan.requirement_checks, reproduce.cli.requirements;"
        "print([name for name in ('torch', 'transformers', 'trl', 'vllm') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ast.literal_eval(done.stdout) == []
