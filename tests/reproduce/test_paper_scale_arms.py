"""The arms of EchoRL and resets as the profile `paper` runs them, on a data set and with a general tokenizer.

The policy is a random decoder whose vocabulary holds whole answers, so that some of its episodes are right.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from trl import GRPOTrainer

from methods.localizers import localization_prompt
from methods.steps import newline_tokens
from reproduce.core.config import RunConfig, SamplingConfig
from reproduce.core.files import UserError, read_parquet
from reproduce.core.paper import PACKAGED, load_paper
from reproduce.core.settings import with_settings
from reproduce.cost.paper_scale import load_paper_scale
from reproduce.environments.reasoning import MathTask
from reproduce.papers.echorl.paper import PAPER as echorl
from reproduce.papers.echorl.training import build as build_echorl_arm
from reproduce.papers.echorl.training import echo_config, expert_tokens, newline_token_ids
from reproduce.papers.resets.arms import PUBLISHED
from reproduce.papers.resets.chains import RESETS, STEPS, UNKNOWN, read_tables
from reproduce.papers.resets.coverage_probe import PROBE, write_probe
from reproduce.papers.resets.localizer import PolicyReplies, asking_sampler
from reproduce.papers.resets.paper import PAPER as resets
from reproduce.papers.resets.training import RecordedRollouts
from reproduce.papers.resets.training import build as build_resets_arm
from reproduce.rollouts import EpisodeSampler
from reproduce.rollouts.formats import open_episodes
from reproduce.rollouts.policies import load_policy
from reproduce.rollouts.room import check_room
from reproduce.rollouts.text import ChatText
from reproduce.rollouts.vllm_sampler import VllmSampler
from reproduce.training.arguments import resolved, shared_arguments
from reproduce.training.engines import SyncedGenerator
from reproduce.training.train import Recipe, Setting, build_recipe, train
from tests.reproduce.small_training import base_of, small_run, tasks_of
from tests.reproduce.tiny_checkpoint import save_checkpoint, write_math_set

SMALL = (
    "model.precision=float32",
    "model.lora_rank=0",
    "hardware.device=cpu",
    "hardware.engine=transformers",
    "hardware.training_engine=transformers",
    "hardware.processes=1",
    "hardware.accelerate_config=",
    "hardware.rows_at_once=0",
    "hardware.gradient_checkpointing=False",
    "reasoning.panels.train=8",
    "reasoning.panels.test=2",
    "reasoning.panels.categories=",
    "reasoning.panels.ood_categories=",
    "reasoning.training.questions_per_step=4",
    "reasoning.training.epochs=1",
    "reasoning.sampling.longest_action=48",
    "seeds=1",
)
"""Sizes at which a CPU runs the profile."""
ARMS_OF = {"echorl": ("newline_token_ids=", "reasoning_arms=grpo,echo,dapo,dapo_echo")}
ECHORL = ("newline_token_ids=", "reasoning_arms=grpo,echo,dapo,dapo_echo")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint `model` and a math set `math.jsonl`."""
    found = tmp_path_factory.mktemp("paper_scale")
    save_checkpoint(found / "model")
    write_math_set(found / "math.jsonl")
    return found


def settings_of(folder: Path) -> list[str]:
    return [*SMALL, f"model.name={folder / 'model'}", f"reasoning.panels.source={folder / 'math.jsonl'}"]


def run_of(paper: Any, folder: Path, arm: str, *settings: str) -> RunConfig:
    config = with_settings(paper.profiles["paper"], [*settings_of(folder), *settings])
    return next(run for run in paper.plan(config) if run.arm == arm)


def setting_of(run: RunConfig, folder: Path) -> Setting:
    """What `train` builds an arm from."""
    from reproduce.environments.beds import load_bed

    model, tokenizer = load_policy(folder / "model")
    environment, text = open_episodes(run, tokenizer)
    tasks = load_bed("reasoning").panels(run.panels)["train"].tasks
    assert run.training is not None
    return Setting(
        config=run,
        training=run.training,
        tasks=tasks,
        place_of_prompt={task.identifier: place for place, task in enumerate(tasks)},
        sampler=EpisodeSampler(model, tokenizer, environment, run.sampling, text),
        model=model,
        tokenizer=tokenizer,
        base=folder / "model",
        siblings=folder / "runs",
    )


def roll(setting: Setting, build: Callable[[Setting], Any], tasks: int = 2) -> tuple[Any, dict[str, list[Any]]]:
    """The arm, and what its rollouts give for so many tasks in the first step."""
    (setting.siblings / setting.config.arm / "seed-0").mkdir(parents=True, exist_ok=True)
    arm = build(setting)
    prompts = [task.identifier for task in setting.tasks[:tasks] for _ in range(8)]
    model = setting.model.train()
    trainer = SimpleNamespace(
        state=SimpleNamespace(global_step=0),
        accelerator=Accelerator(cpu=True),
        model=model,
        model_wrapped=model,
        num_generations=8,
    )
    return arm, arm.rollout(prompts, trainer)


def trained_arms(key: str, *settings: str) -> list[RunConfig]:
    """A run of each arm that the profile trains in each environment, a base before what needs it."""
    plan = load_paper(key).plan(with_settings(load_paper(key).profiles["paper"], settings))
    return list({(run.environment, run.arm): run for run in reversed(plan) if run.training is not None}.values())[::-1]


def built_arm(run: RunConfig, folder: Path, siblings: Path) -> Recipe:
    """The arm of a run of the profile, built around a small policy and small tasks."""
    if run.environment == "reasoning":
        small = setting_of(run_of(load_paper(run.paper), folder, run.arm, *ARMS_OF.get(run.paper, ())), folder)
        method = replace(run.method, newline_token_ids=()) if hasattr(run.method, "newline_token_ids") else run.method
        setting: Any = replace(small, config=replace(run, method=method), training=run.training, siblings=siblings)
    else:
        setting = SimpleNamespace(config=run, training=run.training, siblings=siblings)
    own = siblings / run.arm / f"seed-{run.seed}"
    own.mkdir(parents=True, exist_ok=True)
    arm = build_recipe(setting)
    if run.paper == "reuserl":
        arm.finish(own)  # The dictionary that another arm is matched with.
    return arm


def compared_with(attribute: str) -> set[str]:
    """What TRL's trainer compares one of its attributes with."""
    found = set()
    for node in ast.walk(ast.parse(inspect.getsource(inspect.getmodule(GRPOTrainer)))):
        if isinstance(node, ast.Compare) and isinstance(node.left, ast.Attribute) and node.left.attr == attribute:
            for constant in ast.walk(node.comparators[0]):
                if isinstance(constant, ast.Constant) and isinstance(constant.value, str):
                    found.add(constant.value)
    return found


@pytest.mark.parametrize(
    ("key", "settings"),
    [
        *((key, ()) for key in PACKAGED),
        ("echorl", ("reasoning_arms=grpo,echo,dapo,dapo_echo", "hardware.processes=1")),
    ],
)
def test_trl_takes_the_arguments_of_each_arm(key: str, settings: tuple[str, ...], folder: Path, tmp_path: Path) -> None:
    """With the profile's own processes, rows at once and optimiser steps a batch, and what the arm sets itself."""
    values = [value for value in load_paper_scale(key).values if value.argument]
    losses, scales = compared_with("loss_type"), compared_with("scale_rewards")
    assert {"grpo", "dr_grpo", "dapo"} <= losses and {"group", "none"} <= scales
    runs = trained_arms(key, *settings)
    assert len(runs) >= 1
    for run in runs:
        arm, training, hardware = built_arm(run, folder, tmp_path / run.environment), run.training, run.hardware
        assert training is not None and arm.updates == getattr(run.method, "updates", 1)
        arguments = shared_arguments(run, 32_768, tmp_path, arm.updates) | dict(arm.arguments)
        # GRPOConfig refuses bfloat16 where there is no GPU.
        made = resolved(arguments | {"use_cpu": True, "bf16": False})
        for value in values:
            found, expected = getattr(made, value.argument), dict(arm.arguments).get(value.argument, value.effective)
            assert getattr(found, "value", found) == expected, (run.arm, value.argument)
        assert made.loss_type in losses and made.scale_rewards in scales
        assert made.learning_rate == training.learning_rate and made.num_generations == training.group_size
        step = made.per_device_train_batch_size * made.gradient_accumulation_steps * hardware.processes
        assert step * arm.updates == training.questions_per_step * training.group_size
        assert made.per_device_train_batch_size == hardware.rows_at_once


@pytest.mark.parametrize("name", PUBLISHED)
def test_resets_arms_sample_a_data_set(folder: Path, name: str) -> None:
    run = run_of(resets, folder, name, "localizer.longest_action=24")
    setting = setting_of(run, folder)
    arm, columns = roll(setting, build_resets_arm)
    assert arm.updates == 4 and len(columns["completion_ids"]) == 16
    groups = np.array(columns["reset_group"]).reshape(2, 8)
    assert isinstance(arm.rollout, RecordedRollouts)
    arm.rollout.finish(folder)
    tables = read_tables(setting.siblings / name / "seed-0")
    located, steps = tables[RESETS], tables[STEPS]
    if name == "grpo":
        assert not groups.any() and located.empty
        return
    sizes = {"srpo_asked_2x4": (0, 4, 4), "srpo_asked_1x8": (0, 8)}.get(name, (4, 4))
    # Some prompt has a chain that failed; its suffixes begin with its own first steps, which are not trained.
    assert any(tuple(np.bincount(row)) == sizes for row in groups)
    assert (located["truth"] == UNKNOWN).all() and located["chosen"].between(1, located["steps"]).all()
    for ids, mask, group in zip(columns["completion_ids"], columns["env_mask"], columns["reset_group"], strict=True):
        trained = np.flatnonzero(mask)
        assert len(ids) == len(mask) and (group > 0 or trained[0] == 0) and (np.diff(trained) == 1).all()
    assert (steps["localization_tokens"].sum() > 0) == name.startswith("srpo")
    assert steps["generated_tokens"].sum() >= steps["localization_tokens"].sum() + sum(map(sum, columns["env_mask"]))


def test_suffixes_begin_with_whole_lines_of_the_failed_chain(folder: Path) -> None:
    setting = setting_of(run_of(resets, folder, "rrpo"), folder)
    _, columns = roll(setting, build_resets_arm)
    kept = []
    for ids, mask, group in zip(columns["completion_ids"], columns["env_mask"], columns["reset_group"], strict=True):
        if group and not mask[0]:
            kept.append(setting.tokenizer.decode(ids[: mask.index(1)]))
    assert kept and all(text.endswith("\n") or "\n" in text for text in kept)


def test_the_base_is_probed_before_an_engine_beside_it_has_a_trainer(folder: Path, tmp_path: Path) -> None:
    """The probe comes out as that of a model that samples for itself."""
    run = small_run("resets", "rrpo")
    base, tasks = base_of(run, tmp_path / "base"), tasks_of(run)
    model, tokenizer = load_policy(base)
    environment, text = open_episodes(run, tokenizer)
    method = replace(run.method, probe_tasks=1)
    engine = SyncedGenerator(lambda trainer: pytest.fail("there is no trainer"), run.sampling, 0.05)
    positions = int(model.config.max_position_embeddings)
    samplers = {
        "in process": EpisodeSampler(model, tokenizer, environment, run.sampling, text),
        "beside": VllmSampler(engine, tokenizer, text, environment, run.sampling, positions),
    }
    found = []
    for name, sampler in samplers.items():
        setting = replace(
            setting_of(run_of(resets, folder, "rrpo"), folder),
            config=run,
            tasks=tasks,
            sampler=sampler,
            model=model,
            tokenizer=tokenizer,
            engine=engine if name == "beside" else None,
        )
        (tmp_path / name).mkdir()
        write_probe(setting, method, tmp_path / name)
        found.append(read_parquet(tmp_path / name / f"{PROBE}.parquet"))
    assert found[0].num_rows > 0 and found[0].equals(found[1])


def test_the_policy_is_asked_in_its_chat_template(folder: Path) -> None:
    """Replies are short enough, the same when asked again under the same name, and others under another."""
    setting = setting_of(run_of(resets, folder, "srpo"), folder)
    assert setting.sampler.text.prompt("which step?") != ChatText(setting.tokenizer, "", (0,)).prompt("which step?")
    tokenizer = setting.tokenizer
    replies = PolicyReplies(asking_sampler(setting, SamplingConfig(temperature=0.3, top_p=0.95, longest_action=20)))
    texts = [localization_prompt("add one and four", ["so it is", "add three"]), "which step?"]
    replies.begin("first")
    once = replies(texts)
    again = replies(texts)
    replies.begin("first")
    assert replies(texts) == once != again
    assert all(0 < tokens <= 20 for _, tokens in once)
    question = replies.sampler.prompt_ids(SimpleNamespace(text=texts[1]))
    assert tokenizer.decode(question).endswith("which step?<|im_end|>\n<|im_start|>assistant\n")


def test_a_question_that_fills_the_model_gets_no_reply(folder: Path, tmp_path: Path) -> None:
    """And one that nearly does gets as many tokens as are left."""
    save_checkpoint(tmp_path / "model", positions=64)
    setting = setting_of(run_of(resets, folder, "srpo"), tmp_path)
    replies = PolicyReplies(asking_sampler(setting, SamplingConfig(longest_action=500)))
    overhead = len(replies.sampler.prompt_ids(SimpleNamespace(text="")))
    short, long = "q" * (61 - overhead), "q" * 64
    assert len(replies.sampler.prompt_ids(SimpleNamespace(text=short))) == 61
    (reply, tokens), nothing = replies([short, long])
    assert nothing == ("", 0) and 1 <= tokens <= 3 and reply is not None


def test_replies_do_not_depend_on_how_questions_are_divided(folder: Path, tmp_path: Path) -> None:
    """A question that nearly fills the model shortens no reply but its own."""
    save_checkpoint(tmp_path / "model", positions=96)
    setting = setting_of(run_of(resets, folder, "srpo"), tmp_path)
    replies = PolicyReplies(asking_sampler(setting, SamplingConfig(longest_action=30)))
    overhead = len(replies.sampler.prompt_ids(SimpleNamespace(text="")))
    texts = ["q" * length for length in (3, 91 - overhead, 5, 94 - overhead)]
    found = dict(enumerate(replies._replies(texts, range(4))))
    divided = {
        place: reply for own in ([0, 2], [1, 3]) for place, reply in zip(own, replies._replies(texts, own), strict=True)
    }
    assert divided == found
    assert found[1][1] <= 5 and found[3][1] <= 2 and max(found[0][1], found[2][1]) > 5


def test_a_task_that_leaves_no_room_is_named_beforehand(folder: Path, tmp_path: Path) -> None:
    run = run_of(resets, folder, "srpo")
    setting = setting_of(run, folder)
    lengths = [len(setting.sampler.prompt_ids(task)) for task in setting.tasks]
    setting.sampler.limit = max(lengths) + run.sampling.longest_action
    check_room(setting.sampler, setting.tasks)
    setting.sampler.limit -= 1
    longest = setting.tasks[int(np.argmax(lengths))].identifier
    with pytest.raises(UserError, match=f"task {longest}: its prompt has {max(lengths)} tokens") as refused:
        check_room(setting.sampler, setting.tasks)
    assert "\n" not in str(refused.value)
    endless = replace(run, sampling=replace(run.sampling, longest_action=10**6))
    with pytest.raises(UserError, match="leave no room for an action"):
        train(endless, folder / "model", setting.tasks, tmp_path / "scratch", tmp_path / "e" / "srpo" / "seed-0")


@pytest.mark.parametrize("name", ["grpo", "echo", "dapo", "dapo_echo", "echo_demonstrations", "frozen"])
def test_echorl_arms_sample_a_data_set(folder: Path, name: str) -> None:
    run = run_of(
        echorl, folder, name, "newline_token_ids=", f"reasoning_arms=grpo{'' if name == 'grpo' else ',' + name}"
    )
    setting = setting_of(run, folder)
    arm, columns = roll(setting, build_echorl_arm, tasks=4)
    assert arm.updates == 2 and len(columns["completion_ids"]) == 32
    shown = [row for row, demonstrated in enumerate(columns["demonstration"]) if demonstrated]
    assert shown == (list(range(0, 32, 8)) if name == "echo_demonstrations" else [])
    for row in shown:
        task = setting.tasks[row // 8]
        assert setting.tokenizer.decode(columns["completion_ids"][row]) == f"{task.solution}<|im_end|>"
    assert any(columns["success"]) and not all(columns["success"])
    assert arm.reward([], log_metric=lambda name, value: None, **columns) == [float(one) for one in columns["success"]]


def test_steps_of_the_echo_end_at_the_tokens_with_a_line_break(folder: Path) -> None:
    run = run_of(echorl, folder, "echo", "newline_token_ids=")
    setting = setting_of(run, folder)
    config = echo_config(run.method, setting)
    assert config.newline_token_ids is None and config.weight == 1e-3
    found = newline_tokens(setting.tokenizer, len(setting.tokenizer), config.newline_token_ids)
    texts = [setting.tokenizer.decode([token]) for token in found.nonzero()[:, 0].tolist()]
    assert "\n" in texts and ".\n" in texts and all("\n" in text for text in texts)
    alone = int(setting.tokenizer.convert_tokens_to_ids("Ċ"))
    by_id = replace(run.method, newline_token_ids=(alone,))
    assert newline_token_ids(by_id, setting) == (alone,)
    with pytest.raises(UserError, match=r"newline_token_ids=198,271: 198 is .* no line break") as refused:
        newline_token_ids(replace(run.method, newline_token_ids=(198, 271)), setting)
    assert "\n" not in str(refused.value)


def test_a_question_without_a_solution_cannot_be_demonstrated(folder: Path) -> None:
    run = run_of(echorl, folder, "echo_demonstrations", "newline_token_ids=", "reasoning_arms=grpo,echo_demonstrations")
    setting = setting_of(run, folder)
    bare = replace(setting, tasks=[replace(setting.tasks[0], solution=""), *setting.tasks[1:]])
    with pytest.raises(UserError, match=r"1 of 8 questions of .*math.jsonl have no column solution"):
        build_echorl_arm(bare)
    task = MathTask("a", "math", "question", "1", "so it is\n\\boxed{1}")
    ids = expert_tokens(task, setting.sampler.text)
    assert setting.tokenizer.decode(ids) == "so it is\n\\boxed{1}<|im_end|>"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("paper", "further"), [("echorl", ECHORL), ("resets", ("localizer.longest_action=24", "seeds=2"))]
)
def test_the_profile_runs_end_to_end_on_a_cpu(
    folder: Path,
    tmp_path: Path,
    reproduce_in_process: Callable[..., Any],
    paper: str,
    further: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    torch.set_num_threads(1)
    settings = [part for setting in (*settings_of(folder), *further) for part in ("--set", setting)]
    done = reproduce_in_process(tmp_path, "run", paper, "--profile", "paper", *settings, "--workers", "1")
    assert done.code == 0, done.err
    planned = reproduce_in_process(tmp_path, "plan", paper, "--profile", "paper", *settings)
    assert planned.code == 0 and "0 of" in planned.out and "nothing is missing" in planned.out
