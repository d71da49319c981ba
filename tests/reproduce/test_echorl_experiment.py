"""EchoRL's experiment: its plan, and its claims on records with planted effects, without any, and of the wrong sign."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from reproduce.claims.records import MethodRecords
from reproduce.claims.verdicts import Verdict, claims_tested, decide, offered_by_plan
from reproduce.core.files import UserError
from reproduce.papers.echorl.accuracy import cumulative_cost, equal_cost, omnibus, prefix_form, vs_remedies
from reproduce.papers.echorl.claims import CLAIMS
from reproduce.papers.echorl.controls import positive_controls
from reproduce.papers.echorl.experiment import (
    ARMS,
    EVERY_ARM,
    LAPTOP_ARMS,
    LAPTOP_NEEDS,
    PROFILES,
    SELECTIONS,
)
from reproduce.papers.echorl.figures import spread
from reproduce.papers.echorl.frozen import _artefact, unselected_null
from reproduce.papers.echorl.identities import IDENTITIES
from reproduce.papers.echorl.plan import plan
from reproduce.papers.echorl.power import planned_effects
from tests.reproduce.simulated_echorl import Planted, simulated_records

SECTION_7 = (
    "degeneration-grows vanishing-signal restored-gradient final-accuracy peak-selection unselected-null "
    "entropy-side-effect prefix-form step-deletion golden-entropy ood-transfer demo-complement overhead vs-remedies "
    "late-dose robustness short-step-bias"
).split()
TESTED_ARMS = tuple(name for name in EVERY_ARM if name == "echo" or name.endswith("_strong") or name not in SELECTIONS)
"""What the claims read; the controls at the published weight are details."""
STRONG = [name for name in EVERY_ARM if name.endswith("_strong")]
HELD = Planted(
    success={
        "echo": 6.0,
        "echo_strong": 12.0,
        "echo_moderate": 6.0,
        "full_rollout_strong": 4.0,
        "echo_demonstrations": 8.0,
        **{name: 6.0 for name in EVERY_ARM if name.startswith("echo_strong_")},
    },
    ood={"echo": 4.0},
    dose=40.0,
    rise=30.0,
    slope=-2.0,
    entropy={"echo_strong": 4.0, "lowest_entropy_prefix_strong": -4.0},
    short=2.0,
    selection=20.0,
    deletion={"high_first": -20.0, "low_first": 5.0},
    golden=5.0,
)
REVERSED = Planted(
    success={"echo": -6.0, "echo_strong": -8.0, "full_rollout_strong": 4.0, "echo_demonstrations": -8.0},
    ood={"echo": -8.0},
    dose=-20.0,
    rise=-20.0,
    slope=2.0,
    entropy={"echo_strong": -4.0, "lowest_entropy_prefix_strong": 4.0},
    ratio=0.01,
    slower=20.0,
    short=0.5,
    unselected=9.0,
    deletion={"high_first": 10.0},
    golden=-5.0,
)
TRUE_ANYWAY = {"restored-gradient", "overhead", "entropy-side-effect"}
"""Claims that hold where nothing is planted: the echo has a gradient and costs nothing."""
LAPTOP = claims_tested(CLAIMS, offered_by_plan(plan(PROFILES["laptop"]), PROFILES["laptop"]))


def verdicts(records: MethodRecords) -> Mapping[str, Verdict]:
    return {verdict.claim.identifier.partition(".")[2]: verdict for verdict in decide(CLAIMS, records)}


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> MethodRecords:
    folder = tmp_path_factory.mktemp("held")
    return simulated_records(
        folder, np.random.default_rng(1), HELD, "full", seeds=10, tasks=12, samples=32, steps=20, arms=TESTED_ARMS
    )


@pytest.fixture(scope="module")
def reversed_records(tmp_path_factory: pytest.TempPathFactory) -> MethodRecords:
    folder = tmp_path_factory.mktemp("reversed")
    return simulated_records(
        folder, np.random.default_rng(2), REVERSED, "full", seeds=10, tasks=12, samples=32, steps=20, arms=TESTED_ARMS
    )


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> MethodRecords:
    """Of every arm and environment."""
    folder = tmp_path_factory.mktemp("tiny")
    return simulated_records(folder, np.random.default_rng(5), HELD, "smoke", 2, 4, 4, 12)


def test_claims_are_those_of_the_specification() -> None:
    assert [claim.identifier for claim in CLAIMS] == [f"echorl.{name}" for name in SECTION_7]


def test_planted_effects_are_found(held: MethodRecords) -> None:
    found = verdicts(held)
    decisions = {name: verdict.decision for name, verdict in found.items()}
    # No tier of these records has many all-success groups at the start.
    assert decisions.pop("late-dose") == "not testable" and found["late-dose"].evidence.in_favour
    assert set(decisions.values()) == {"supported"}, decisions
    assert {name for name, verdict in found.items() if verdict.evidence.p_value is None} == {"unselected-null"}


def test_the_wrong_sign_refutes(reversed_records: MethodRecords) -> None:
    found = verdicts(reversed_records)
    decisions = {name: verdict.decision for name, verdict in found.items()}
    assert decisions.pop("late-dose") == "not testable" and found["late-dose"].evidence.parts[0].effect < 0
    assert decisions.pop("robustness") in ("inconclusive", "refuted")
    assert decisions.pop("peak-selection") == "no premise"
    assert set(decisions.values()) == {"refuted"}, decisions


def false_support(folder: Path, simulations: int) -> int:
    count = 0
    for seed in range(simulations):
        records = simulated_records(folder / str(seed), np.random.default_rng(seed), tasks=6, steps=15)
        found = verdicts(records)
        count += any(verdict.decision == "supported" for name, verdict in found.items() if name not in TRUE_ANYWAY)
    return count


def test_a_a_experiments_keep_the_family_wise_error(tmp_path: Path) -> None:
    assert false_support(tmp_path, 4) == 0


@pytest.mark.slow
def test_a_a_experiments_keep_the_family_wise_error_at_length(tmp_path: Path) -> None:
    assert false_support(tmp_path, 200) / 200 <= 0.05


def test_a_null_at_the_published_weight_alone_does_not_refute(tmp_path: Path) -> None:
    planted = Planted(success={"echo_strong": 10.0, "random_prefix_strong": 5.0})
    found = verdicts(simulated_records(tmp_path, np.random.default_rng(3), planted, tasks=16, samples=128))
    remedies = vs_remedies(simulated_records(tmp_path, np.random.default_rng(3), planted, tasks=16, samples=128))
    accuracy = found["final-accuracy"]
    assert accuracy.evidence.deciding.high < 5
    assert accuracy.decision == "inconclusive"
    assert found["peak-selection"].decision == "supported"
    assert not remedies.in_favour
    assert not any(all(remedies.parts[place].against for place in group) for group in remedies.groups)


def test_smoke_verdicts_are_withheld(tiny: MethodRecords) -> None:
    found = verdicts(tiny)
    assert len(found) == len(SECTION_7)
    assert {verdict.decision for verdict in found.values()} == {"withheld"}


def test_the_omnibus_test_sees_one_arm_that_differs(tmp_path: Path) -> None:
    arms = ["echo_strong", "random_prefix_strong", "lowest_entropy_prefix_strong", "full_rollout_strong"]
    planted = Planted(success={"echo_strong": 8.0})
    differs = simulated_records(tmp_path / "1", np.random.default_rng(6), planted)
    alike = simulated_records(tmp_path / "2", np.random.default_rng(7))
    assert omnibus(differs, arms) < 0.01 < omnibus(alike, arms)


def test_costs_count_extra_rollouts(held: MethodRecords) -> None:
    usual = cumulative_cost(held, "reasoning", "grpo", "episodes")
    dynamic = cumulative_cost(held, "reasoning", "dapo", "episodes")
    np.testing.assert_allclose(dynamic, 3 * usual)
    tokens = cumulative_cost(held, "reasoning", "dapo", "tokens/sampled")
    assert (np.diff(tokens, axis=1) > 0).all()
    training = held.training.copy()
    # DAPO learns steadily: at GRPO's cost it is a third of the way, where its reward is about 0.3.
    rows = training["arm"] == "dapo"
    training.loc[rows, "reward"] = training.loc[rows, "step"] / 20
    difference = equal_cost(replace(held, training=training), "grpo", "dapo", "episodes")
    assert np.abs(difference - 100 * (0.5 - 5.5 / 20)).max() < 5


def test_a_full_rollout_that_is_no_better_than_a_step_keeps_the_prefix_from_support(tmp_path: Path) -> None:
    planted = {"echo_strong": 12.0, "full_rollout_strong": 0.0, "isolated_peak_strong": 6.0}
    records = simulated_records(tmp_path / "1", np.random.default_rng(9), Planted(success=planted), samples=64)
    found = prefix_form(records)
    assert found.parts[0].in_favour and not found.in_favour and found.groups == ((0,),)


def test_an_echo_below_a_thousandth_is_not_large_enough(tmp_path: Path) -> None:
    small = simulated_records(tmp_path / "1", np.random.default_rng(11), Planted(ratio=0.5), tasks=4, arms=LAPTOP_NEEDS)
    large = simulated_records(tmp_path / "2", np.random.default_rng(11), Planted(ratio=2.0), tasks=4, arms=LAPTOP_NEEDS)
    assert verdicts(small)["restored-gradient"].decision == "refuted"
    assert verdicts(large)["restored-gradient"].decision == "supported"


@pytest.mark.parametrize(
    ("selection", "groups", "in_favour"), [(20.0, 2000, True), (0.7, 2000, False), (20.0, 100, False)]
)
def test_the_null_needs_opposite_signs_beyond_noise_and_enough_groups(
    tiny: MethodRecords, selection: float, groups: int, in_favour: bool
) -> None:
    means = {"highest_entropy": selection, "lowest_entropy": -selection, "fixed_length": 0.5}
    rows = [
        {"environment": "reasoning", "arm": "frozen", "seed": 0, "selection": name, "groups": groups, "mean": mean}
        for name, mean in means.items()
    ]
    table = pd.DataFrame(rows).assign(standard_error=1.0)
    found = unselected_null(replace(tiny, tables={"projections": table}))
    assert found.in_favour == in_favour and not found.parts[0].against


def test_alike_is_an_interval_inside_the_margin() -> None:
    wobble = np.linspace(-0.3, 0.3, 8)
    assert [_artefact(wobble + shift) for shift in (0.0, 1.0, 3.0)] == ["yes", "not settled", "no"]
    assert _artefact(10 * wobble) == "not settled"


def test_labels_are_spread_without_leaving_the_axis() -> None:
    assert spread([0.0, 2.0, 4.0], 14.0) == [0.0, 14.0, 28.0]
    assert spread([10.0, 60.0], 14.0) == [10.0, 60.0]
    assert spread([50.0, 95.0, 97.0], 14.0) == pytest.approx([41.0, 86.0, 100.0])


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_plans_are_runs_after_their_base(profile: str) -> None:
    config = PROFILES[profile]
    runs = plan(config)
    assert len({run.name for run in runs}) == len(runs)
    bases = set()
    for run in runs:
        place = (run.environment, run.seed)
        if run.arm == "base":
            assert run.training is None and run.method is None
            bases.add(place)
        else:
            assert place in bases and run.training is not None and run.method is not None
            categories = max(1, len(run.panels.categories))
            tasks = run.panels.train * categories
            assert tasks * run.training.epochs % run.training.questions_per_step == 0, run.name
    assert {run.arm for run in runs} <= set(ARMS)


def test_smoke_and_full_have_every_arm_and_both_environments() -> None:
    for profile in ("smoke", "full"):
        runs = plan(PROFILES[profile])
        assert {run.arm for run in runs if run.environment == "reasoning"} == set(ARMS)
        assert {run.environment for run in runs} == {"reasoning", "countdown"}


def test_other_group_sizes_sample_as_many_episodes() -> None:
    runs = {run.arm: run.training for run in plan(PROFILES["full"]) if run.seed == 0 and run.environment == "reasoning"}
    sizes = {training.questions_per_step * training.group_size for training in runs.values() if training is not None}
    assert len(sizes) == 1
    assert {runs["grpo_group_4"].group_size, runs["grpo_group_16"].group_size} == {4, 16}
    assert runs["echo_strong_group_4"] == runs["grpo_group_4"]


@pytest.mark.parametrize(
    ("profile", "changes", "message"),
    [
        ("paper", {"analysis_solutions": 4}, r"analysis_groups=0 analysis_solutions=0: these analyses read generated"),
        ("paper", {"reasoning_arms": ("echo",)}, r"the profile paper need grpo$"),
        ("paper", {"reasoning_arms": ("grpo", "dapo")}, r"processes=8: dapo draws more until a batch is full"),
        ("paper", {"updates": 3}, r"updates=3: must divide a batch of 1024 episodes"),
        ("paper", {"newline_token_ids": (-1,)}, r"newline_token_ids=-1: must not be negative"),
        ("laptop", {"reasoning_arms": ("echos",)}, r"reasoning_arms=echos: unknown arm 'echos'.*echo"),
        ("laptop", {"reasoning_arms": ("echo",)}, r"reasoning_arms=echo: the claims .* need grpo, .*frozen$"),
        ("laptop", {"reasoning_arms": ("",)}, "reasoning_arms=: the claims .* need grpo"),
        ("laptop", {"reasoning_arms": (*LAPTOP_ARMS, "grpo")}, "grpo is there twice"),
        ("laptop", {"countdown_arms": ("grpo_demonstrations", "grpo")}, "grpo_demonstrations runs in reasoning only"),
        ("laptop", {"countdown_arms": ("frozen", "grpo")}, "frozen runs in reasoning only"),
        ("laptop", {"countdown_arms": ("echo",)}, "need grpo$"),
        ("laptop", {"frozen_epochs": 0}, "frozen_epochs=0: must be at least 1"),
        ("laptop", {"analysis_groups": -5}, "analysis_groups=-5: must be at least 4, or 0"),
        ("laptop", {"analysis_groups": 1}, "analysis_groups=1: must be at least 4, or 0"),
        ("laptop", {"analysis_solutions": -1}, "analysis_solutions=-1: must be at least 1, or 0"),
        ("full", {"analysis_groups": 0}, "analysis_groups=0: must be at least 4 in the profile full"),
        ("full", {"analysis_solutions": 0}, "analysis_solutions=0: must be at least 1 in the profile full"),
        ("full", {"reasoning_arms": LAPTOP_ARMS}, "the profile full need dapo, sign_advantage"),
    ],
)
def test_settings_that_no_claim_could_be_examined_with_are_refused(
    profile: str, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message) as found:
        plan(replace(PROFILES[profile], **changes))
    assert "\n" not in str(found.value)


def test_the_fewest_arms_that_are_not_refused_give_every_verdict_of_the_laptop(tmp_path: Path) -> None:
    records = simulated_records(tmp_path, np.random.default_rng(0), tasks=4, steps=12, arms=LAPTOP_NEEDS)
    assert len(verdicts(records)) == len(LAPTOP)
    assert plan(replace(PROFILES["laptop"], countdown_arms=("",))) == plan(PROFILES["laptop"])


# Controls ----------------------------------------------------------------------------------------------------------


def test_every_trained_arm_is_a_positive_control(held: MethodRecords) -> None:
    controls = positive_controls(held)
    labels = {label.removesuffix(" minus base, reasoning") for label, _ in controls}
    assert labels == {ARMS[arm].label for arm in TESTED_ARMS if arm != "frozen"}


def test_controls_differ_from_the_echo_in_what_they_say() -> None:
    echo = ARMS["echo_strong"].settings
    assert echo is not None
    for name, changed in {
        "random_prefix_strong": {"selection"},
        "lowest_entropy_prefix_strong": {"selection"},
        "full_rollout_strong": {"extent"},
        "isolated_peak_strong": {"extent"},
        "last_step_strong": {"selection", "extent"},
        "length_matched_random_strong": {"selection"},
        "echo": {"weight"},
        "placebo": {"weight"},
    }.items():
        settings = ARMS[name].settings
        assert settings is not None
        assert {field for field, value in vars(settings).items() if value != vars(echo)[field]} == changed, name


# Arms and probes ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What arms are built from, at smoke size, with an untrained policy."""
    from reproduce.environments.beds import load_bed
    from reproduce.rollouts import EpisodeSampler
    from reproduce.rollouts.policies import build_model, build_tokenizer
    from reproduce.training.train import Setting

    config = next(run for run in plan(PROFILES["smoke"]) if run.arm == "frozen")
    bed = load_bed("reasoning")
    tokenizer = build_tokenizer(bed.words())
    model = build_model(replace(config.policy, initial_deviation=0.2), tokenizer, 0).eval()
    tasks = bed.panels(config.panels)["train"].tasks
    assert config.training is not None
    return Setting(
        config=config,
        training=config.training,
        tasks=tasks,
        place_of_prompt={task.identifier: place for place, task in enumerate(tasks)},
        sampler=EpisodeSampler(model, tokenizer, bed.environment(), config.sampling),
        model=model,
        tokenizer=tokenizer,
        base=tmp_path_factory.mktemp("base"),
        siblings=tmp_path_factory.mktemp("siblings"),
    )


class _Step:
    """As much of a trainer as a rollout asks for."""

    def __init__(self, model: Any, step: int) -> None:
        from accelerate import Accelerator

        self.model_wrapped, self.accelerator = model, Accelerator(cpu=True)
        self.state = type("State", (), {"global_step": step})()


def test_arms_of_a_seed_draw_the_same_episodes_and_calls_of_a_step_others(setting: Any) -> None:
    from reproduce.papers.echorl.training import rollouts

    prompts = [task.identifier for task in setting.tasks[:2] for _ in range(4)]
    other = replace(setting, config=replace(setting.config, arm="grpo"))
    one, two = rollouts(setting), rollouts(other)
    first = one(prompts, _Step(setting.model, 3))
    assert first == two(prompts, _Step(setting.model, 3))
    again = one(prompts, _Step(setting.model, 3))
    assert again["completion_ids"] != first["completion_ids"]
    assert one(prompts, _Step(setting.model, 4))["completion_ids"] != first["completion_ids"]
    assert all(sum(mask) == count for mask, count in zip(first["env_mask"], first["policy_tokens"], strict=True))


def test_demonstrations_are_right_and_take_the_first_places_of_a_group(setting: Any) -> None:
    from reproduce.environments.reasoning import ReasoningEnvironment
    from reproduce.papers.echorl.training import outcome, rollouts

    prompts = [task.identifier for task in setting.tasks[:2] for _ in range(4)]
    columns = rollouts(setting, demonstrations=1)(prompts, _Step(setting.model, 0))
    assert columns["demonstration"] == [True, False, False, False] * 2
    for row in (0, 4):
        text = setting.tokenizer.decode(columns["completion_ids"][row]).removesuffix(" <end>")
        assert ReasoningEnvironment().step(setting.tasks[row // 4], (), text).success
        assert len(columns["entropies"][row]) == len(columns["completion_ids"][row])
    logged: dict[str, float] = {}
    rewards = outcome(completions=[], log_metric=logged.__setitem__, **columns)
    assert rewards[0] == rewards[4] == 1.0
    own = [row for row in range(8) if row % 4]
    total = sum(sum(columns["entropies"][row]) for row in own)
    assert logged["policy/entropy"] == pytest.approx(total / sum(sum(columns["env_mask"][row]) for row in own))


def test_every_arm_can_be_built(setting: Any) -> None:
    from reproduce.papers.echorl.training import build as build_recipe

    for name, design in ARMS.items():
        if design.settings is not None:
            arm = build_recipe(replace(setting, config=replace(setting.config, arm=name, method=design.settings)))
            assert arm.rollout is not None
            assert (arm.arguments.get("learning_rate") == 0.0) == (name == "frozen")
    demanding = replace(setting.config, environment="countdown", method=ARMS["echo_demonstrations"].settings)
    with pytest.raises(ValueError, match="only reasoning"):
        build_recipe(replace(setting, config=demanding))


def test_measured_gradients_leave_the_training_alone_and_are_zero_where_they_must(tmp_path: Path) -> None:
    from methods.echorl import EchoTrainer
    from reproduce.papers.echorl.training import MeasuredEcho

    plain, _ = _train_echo(tmp_path / "plain", EchoTrainer, "1111")
    weights, log = _train_echo(tmp_path / "measured", MeasuredEcho, "1111", measure_every=2)
    assert all(bool(weights[name].eq(value).all()) for name, value in plain.items())
    assert ["gradient/echo" in entry for entry in log] == [True, False, True]
    assert log[0]["gradient/policy"] == 0.0
    assert log[0]["gradient/echo"] == log[0]["gradient/echo_all_right"] > 0
    # The echo is all there is, so its norm is that of the whole gradient.
    assert log[0]["gradient/echo"] == pytest.approx(log[0]["grad_norm"], rel=1e-5)
    _, mixed = _train_echo(tmp_path / "mixed", MeasuredEcho, "1101", measure_every=2)
    assert mixed[0]["gradient/policy"] > 0 and mixed[0]["gradient/echo"] > 0
    assert "gradient/echo_all_right" not in mixed[0]


def _train_echo(folder: Path, kind: Any, success: str, **options: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Three steps on fixed episodes; the weights and the log."""
    from datasets import Dataset
    from trl import GRPOConfig

    from reproduce.core.config import PolicyConfig
    from reproduce.papers.echorl.clips import ClipConfig
    from reproduce.rollouts.policies import build_model, build_tokenizer

    tokenizer = build_tokenizer(("<newline>", *"abcdefgh"))
    model = build_model(PolicyConfig(2, 16, 2, 32, 3, 64, 0.3), tokenizer, 0)

    def rollout(prompts: list[str], trainer: Any) -> dict[str, list[Any]]:
        ids = [np.random.default_rng([len(prompts), row]).integers(5, 14, 8).tolist() for row in range(len(prompts))]
        right = [success[row % 4] == "1" for row in range(len(prompts))]
        return {
            "prompt_ids": [[1, 6]] * len(prompts),
            "completion_ids": ids,
            "logprobs": None,  # type: ignore[dict-item]
            "entropies": [np.random.default_rng(row).random(8).tolist() for row in range(len(prompts))],
            "success": right,
        }

    arguments = GRPOConfig(
        output_dir=str(folder),
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        per_device_train_batch_size=8,
        num_generations=4,
        max_steps=3,
        learning_rate=1e-3,
        max_grad_norm=100.0,
        max_completion_length=16,
        loss_type="grpo",
        beta=0.0,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    trainer = kind(
        model=model,
        reward_funcs=lambda completions, success, **columns: [float(value) for value in success],
        args=arguments,
        train_dataset=Dataset.from_list([{"prompt": "a"}] * 6),
        processing_class=tokenizer,
        rollout_func=rollout,
        echo=ClipConfig(weight=0.1, newline_token_ids=(5,)),
        **options,
    )
    trainer.train()
    weights = {name: value.detach().clone() for name, value in model.named_parameters()}
    return weights, [entry for entry in trainer.state.log_history if "reward" in entry]


def test_directional_derivatives_are_the_gradients(setting: Any) -> None:
    import torch

    from reproduce.papers.echorl.probes import _directional_derivatives, _log_probabilities

    ids = torch.tensor([[1, 7, 8, 9, 12, 10, 6], [1, 9, 9, 6, 5, 14, 8]])
    weights = [value for value in setting.model.parameters() if value.requires_grad]
    generator = torch.Generator().manual_seed(0)
    direction = [torch.randn(value.shape, generator=generator) for value in weights]
    length = float(torch.stack([value.square().sum() for value in direction]).sum().sqrt())
    before = [value.clone() for value in weights]
    found = _directional_derivatives(setting, ids, direction)
    assert all(bool(value.eq(start).all()) for value, start in zip(weights, before, strict=True))
    for row, place in ((0, 3), (1, 6)):
        gradients = torch.autograd.grad(_log_probabilities(setting, ids)[row, place], weights)
        exact = sum(float((one * two).sum()) for one, two in zip(gradients, direction, strict=True)) / length
        assert float(found[row, place]) == pytest.approx(exact, abs=2e-3)


def test_solutions_are_cut_into_lines_and_matched_by_position() -> None:
    from reproduce.papers.echorl.probes import _orders, _solution, comparable
    from reproduce.rollouts import Trajectory

    newline, answer, end = 5, 6, 3
    tokens = np.array([1, 9, 4, 10, 11, newline, 12, newline, 13, 13, 13, newline, answer, 8, end], dtype=np.int32)
    own = np.arange(len(tokens)) >= 3
    entropies = np.linspace(0, 1.4, len(tokens)).astype(np.float32)
    episode = Trajectory(0, tokens, own, np.zeros(len(tokens), np.float32), entropies, 3, 1, False, True, ("answer",))
    found = _solution(episode, newline, answer)
    assert found is not None
    assert found.lines == ((10, 11, newline), (12, newline), (13, 13, 13, newline)) and found.answer == 8
    assert found.entropies == pytest.approx([0.4, 0.65, 0.95])
    assert _solution(replace(episode, token_ids=tokens[:-2], entropies=entropies[:-2]), newline, answer) is None
    short, alone = replace(found, lines=found.lines[:2]), replace(found, lines=(*found.lines, (9, newline)))
    assert comparable([found, short, short, alone, found]) == [found, found]
    others = [replace(found, entropies=values) for values in ((0.9, 0.1, 0.5), (0.2, 0.8, 0.3))]
    orders = _orders([found, *others], np.random.default_rng(0))
    assert orders["high_first"] == [[2, 1, 0], [0, 2, 1], [1, 2, 0]]
    assert orders["low_first"] == [order[::-1] for order in orders["high_first"]]
    assert sorted(orders["matched"]) == sorted(orders["high_first"])
    assert all(one != two for one, two in zip(orders["matched"], orders["high_first"], strict=True))


def test_tables_of_the_frozen_base_are_those_that_the_claims_read(setting: Any, tmp_path: Path) -> None:
    from reproduce.papers.echorl.paper import TABLES, further_records
    from reproduce.papers.echorl.probes import write_tables

    write_tables(setting, tmp_path)
    found = further_records(setting.config, tmp_path, None)  # type: ignore[arg-type]
    assert set(found) == set(TABLES)
    assert {"fixed_length", "highest_entropy", "lowest_entropy"} < set(found["projections"]["selection"])
    assert set(found["deletion"]["order"]) == {"high_first", "low_first", "random", "matched"}
    assert set(found["golden"]) == {"prompts", "golden", "own", "other"}


def test_identities_hold() -> None:
    for identity in IDENTITIES:
        check = identity.examine()
        assert check.cases > 0 and check.failures == 0, identity.identifier


def test_figures_and_sections_are_drawn_from_records(tiny: MethodRecords, tmp_path: Path) -> None:
    from reproduce.papers.echorl.reporting import REPORTING

    figures = REPORTING.draw_figures(tiny, tmp_path)
    wanted = {name for claim in CLAIMS for name in claim.figures}
    wanted |= {name for section in REPORTING.further_sections(tiny) for name in section.figures}
    assert wanted <= set(figures)
    assert all(figure.path.stat().st_size > 5_000 for figure in figures.values())
    assert "2 seeds" in REPORTING.scope(tiny)
    assert any("echo" in label for label, _ in positive_controls(tiny))
    assert {row.claim for row in planned_effects(PROFILES["full"])} <= {claim.identifier for claim in CLAIMS}
