"""What `plan` says before anything starts, and what `run` refuses, at the papers' own scale."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from reproduce.cli.requirements import cost_lines, destination
from reproduce.core.files import UserError
from reproduce.core.paper import PACKAGED
from reproduce.cost.architecture import architecture_of, known_model, planned_counts, presence
from reproduce.cost.estimate import run_cost
from reproduce.cost.machines import machine_for
from reproduce.cost.paper_scale import DataEntry, load_paper_scale
from reproduce.cost.time import rollouts, stage_seconds
from reproduce.plan.experiment import Experiment
from reproduce.plan.open import open_experiment
from reproduce.plan.requirement_checks import check_requirements, missing
from tests.reproduce.official_files import sums, write_hotpot, write_lines
from tests.reproduce.tiny_checkpoint import save_checkpoint

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="about machines without a GPU")
TINY = ("hardware.device=cpu", "hardware.engine=transformers", "hardware.training_engine=transformers")
"""Settings with which a profile of large models runs on a CPU."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("model"), positions=2048)


def opened(key: str, *settings: str) -> Experiment:
    return open_experiment(key, "paper", settings, Path("nowhere"))


@pytest.mark.parametrize("key", tuple(PACKAGED))
def test_plan_prints_everything_and_what_is_missing(
    key: str,
    reproduce_in_process: Callable[..., SimpleNamespace],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    done = reproduce_in_process(tmp_path, "plan", key, "--profile", "paper", "--workers", "1")
    assert done.code == 0, done.err
    words, lines = " ".join(done.out.replace("│", " ").split()), done.out.splitlines()
    for title in ("Models", "Data", "Values", "GPU memory: about", "cost: about", "disk: ", "hardware of the paper: "):
        assert title in words, title
    lacking = [line for line in lines if line.startswith("missing: ")]
    policy = load_paper_scale(key).policy.name
    assert sum("no GPU: torch finds none" in line for line in lacking) == 1
    assert sum(f"hf download {policy}" in line for line in lacking) == 1
    assert lines[-1] == lacking[-1]
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("key", tuple(PACKAGED))
def test_run_stops_in_one_line_and_starts_nothing(
    key: str, reproduce_in_process: Callable[..., SimpleNamespace], tmp_path: Path
) -> None:
    done = reproduce_in_process(tmp_path, "run", key, "--profile", "paper", "--workers", "1", "--redo")
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert "hf download" in done.err and f"plan {key} --profile paper` and the same settings list all)" in done.err
    assert len(done.err) < 400
    assert not (tmp_path / "runs").exists()


def test_nothing_more_is_said_of_policies_made_here(
    reproduce_in_process: Callable[..., SimpleNamespace], tmp_path: Path
) -> None:
    done = reproduce_in_process(tmp_path, "plan", "pass_kt", "--profile", "smoke")
    assert done.code == 0
    assert "missing" not in done.out and "Models" not in done.out and "GPU" not in done.out


def test_a_gpu_is_missed_by_the_profile_gpu(
    reproduce_in_process: Callable[..., SimpleNamespace], tmp_path: Path
) -> None:
    planned = reproduce_in_process(tmp_path, "plan", "reuserl", "--profile", "gpu")
    assert planned.code == 0
    assert planned.out.splitlines()[-1].startswith("missing: no GPU")
    assert reproduce_in_process(tmp_path, "run", "reuserl", "--profile", "gpu").code == 2


# ---- Single lacks


def test_with_a_model_here_on_the_cpu_only_the_data_is_missing(checkpoint: Path, tmp_path: Path) -> None:
    experiment = opened("pass_kt", f"model.name={checkpoint}", f"panels.source={tmp_path / 'none'}", *TINY)
    (line,) = missing(experiment)
    assert "none: no such folder" in line and "HotpotQA" in line
    assert cost_lines(experiment)[0].startswith("cost: about ")
    assert " of one core: " in cost_lines(experiment)[0]


def test_the_cost_of_little_is_told_in_minutes_and_megabytes(checkpoint: Path) -> None:
    experiment = open_experiment("pass_kt", "smoke", (f"model.name={checkpoint}",), Path("nowhere"))
    cost, disk = cost_lines(experiment)
    assert re.fullmatch(r"cost: about [1-9]\d* (s|min) of one core: rollouts .* evaluation .*", cost), cost
    assert re.fullmatch(r"disk: [1-9]\d* MB of results, \d+ MB more while a run trains", disk), disk


def test_nothing_is_missing_where_all_is_here(
    checkpoint: Path, tmp_path: Path, reproduce_in_process: Callable[..., SimpleNamespace]
) -> None:
    settings = (f"model.name={checkpoint}", *TINY, "household_arms=", "seeds=1")
    done = reproduce_in_process(tmp_path, "plan", "reuserl", "--profile", "paper", "--set", *settings)
    assert done.code == 0, done.err
    assert done.out.splitlines()[-1] == "nothing is missing: models, data, devices and disk are there"


def test_a_folder_without_one_of_the_data_sets(checkpoint: Path, tmp_path: Path) -> None:
    write_hotpot(tmp_path)
    sizes = ("panels.train_per_category=4", "panels.test_per_category=4", "training.questions_per_step=4")
    settings = (f"model.name={checkpoint}", f"panels.source={tmp_path}", *TINY, *sizes)
    (line,) = missing(opened("pass_kt", *settings))
    assert line.startswith(
        f"{tmp_path}: HuggingFaceH4/MATH-500 is not there (static.jsonl or static.parquet); get it with: hf download"
    )
    write_lines(tmp_path / "static.jsonl", sums(4))
    assert missing(opened("pass_kt", *settings)) == []


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (("hardware.training_engine=colocate",), "hardware.training_engine=colocate needs a GPU"),
        (("hardware.report_to=nowhere",), "hardware.report_to=nowhere"),
        (("model.name=someone/nothing",), "hf download someone/nothing"),
        (("model.name=",), "no chat template"),
    ],
)
def test_each_lack_is_a_line(settings: Sequence[str], says: str, checkpoint: Path) -> None:
    experiment = opened("reuserl", f"model.name={checkpoint}", *TINY, "household_arms=", *settings)
    found = missing(experiment)
    assert any(says in line for line in found), found
    assert all("\n" not in line for line in found)
    with pytest.raises(UserError, match=re.escape(found[0])) as refused:
        check_requirements(experiment)
    more = len(found) - 1
    assert (f"({more} more missing: " in str(refused.value)) == (more > 0)


def test_a_model_without_a_chat_template(checkpoint: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    for file in checkpoint.iterdir():
        if file.name == "tokenizer_config.json":
            kept = json.loads(file.read_text())
            kept.pop("chat_template", None)
            (plain / file.name).write_text(json.dumps(kept))
        elif file.name != "chat_template.jinja":
            (plain / file.name).write_bytes(file.read_bytes())
    settings = (f"model.name={plain}", *TINY, "household_arms=")
    (line,) = missing(opened("reuserl", *settings))
    assert "no chat template" in line and "model.format=text" in line
    assert missing(opened("reuserl", *settings, "model.format=text")) == []


def test_devices_of_other_machines_are_not_looked_for(checkpoint: Path) -> None:
    experiment = opened("reuserl", f"model.name={checkpoint}", "household_arms=")
    assert any("no GPU" in line for line in missing(experiment))
    assert missing(experiment, devices=False) == []


def test_too_little_memory_is_found(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = opened("reuserl", f"model.name={checkpoint}", *TINY, "household_arms=")
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=1000))
    (line,) = missing(experiment)
    assert line.startswith("memory: ") and "0.0 GB are free" in line


@pytest.mark.parametrize(
    ("memory", "settings", "lacks"),
    [
        (24, (), ["training needs", "vLLM needs"]),
        (40, (), ["training needs"]),
        (48, (), []),
        (48, ("hardware.vllm_memory=0.6",), ["training needs"]),
        (48, ("hardware.vllm_memory=0.2",), ["vLLM needs"]),
        (48, ("hardware.rows_at_once=40",), ["training needs"]),
        (24, ("hardware.training_engine=transformers",), ["training needs"]),
        (40, ("hardware.training_engine=transformers",), []),
        (12, ("hardware.training_engine=transformers",), ["training needs", "evaluation needs"]),
    ],
)
def test_too_little_memory_of_a_gpu_is_found(memory: int, settings: Sequence[str], lacks: list[str]) -> None:
    """PASS@(k,T) with adapters needs 25 GB by the estimate, vLLM beside it 15 GB at the least."""
    from reproduce.plan.requirement_checks import _too_little_memory

    experiment = opened("pass_kt", *settings)
    found = list(_too_little_memory(experiment.config, experiment.plan, memory * 1e9, memory * 1e9))
    assert all(part in line for line, part in zip(found, lacks, strict=True)), found


@pytest.mark.slow
def test_the_profile_runs_on_a_cpu_with_a_small_model_and_small_sizes(
    checkpoint: Path, reproduce_in_process: Callable[..., SimpleNamespace], tmp_path: Path
) -> None:
    """Training with adapters, the grid, records and report, with HotpotQA's and MATH-500's formats."""
    write_lines(write_hotpot(tmp_path / "data") / "static.jsonl", sums(4))
    settings = [
        f"model.name={checkpoint}",
        *TINY,
        "model.precision=float32",
        f"panels.source={tmp_path / 'data'}",
        *"seeds=2 panels.train_per_category=4 panels.test_per_category=2 training.epochs=1".split(),
        *"training.questions_per_step=4 training.group_size=2 sampling.longest_action=4".split(),
        *"evaluation.samples=4 evaluation.largest_k=2 evaluation.ood_samples=4".split(),
    ]
    done = reproduce_in_process(tmp_path, "run", "pass_kt", "--profile", "paper", "--workers", "1", "--set", *settings)
    assert done.code == 0, done.err
    checkpoint_folder = tmp_path / "runs/paper/pass_kt/retrieval/grpo/seed-1/checkpoint"
    assert (checkpoint_folder / "adapter_model.safetensors").exists()
    assert json.loads((checkpoint_folder / "reference.json").read_text())["name"] == str(checkpoint)
    records = ("--records", str(tmp_path / "runs/paper/pass_kt/records"), "--out", str(tmp_path / "report"))
    reported = reproduce_in_process(tmp_path, "report", "pass_kt", "--profile", "paper", *records)
    assert reported.code == 0, reported.err
    assert "pass_kt.gap-widens" in (tmp_path / "report" / "report.md").read_text()


# ---- Parts


def test_architecture_of_a_model_here_is_read_from_its_files(checkpoint: Path) -> None:
    found = architecture_of(opened("reuserl", f"model.name={checkpoint}", *TINY).config)
    assert found is not None
    shape = (found.layers, found.width, found.heads, found.key_value_heads, found.head_width, found.feed_forward)
    assert shape == (2, 32, 2, 1, 16, 64) and found.tied


def test_architecture_of_a_model_that_is_not_here_is_that_of_the_file() -> None:
    found = architecture_of(opened("pass_kt").config)
    assert found == load_paper_scale("pass_kt").policy == known_model("Qwen/Qwen2.5-7B-Instruct")
    assert architecture_of(opened("pass_kt", "model.name=someone/nothing").config) is None
    assert "not estimated" in cost_lines(opened("pass_kt", "model.name=someone/nothing"))[0]


def test_tasks_of_data_that_is_missing_are_counted_by_their_sizes() -> None:
    config = opened("pass_kt").config
    assert planned_counts("retrieval", config.panels) == {"train": 200, "test": 300, "ood": 0}
    experiment = opened("pass_kt")
    # 100 static questions at T = 0, 200 at five caps by both estimators, and the base's second sample of bridge.
    each = 128 * (100 + 200 * 5 * 2)
    assert set(experiment.episodes.values()) == {each, each + 128 * 100}


@pytest.mark.parametrize(("key", "train", "trained"), [("resets", 384, 384 * 2 * 8), ("echorl", 45_056, 45_056 * 8)])
def test_a_math_source_that_is_missing_has_one_set_to_train_on(key: str, train: int, trained: int) -> None:
    experiment = opened(key)
    runs = [run for run in experiment.plan if run.training is not None]
    assert {planned_counts(run.environment, run.panels)["train"] for run in runs} == {train}
    assert {rollouts(run) for run in runs} == {trained}


def test_rollouts_are_as_many_with_the_data_as_without_it(tmp_path: Path) -> None:
    lines = [json.dumps({"question": f"What is {number} + 1?", "answer": str(number + 1)}) for number in range(24)]
    for place, name in enumerate(("train", "test/oly", "test/hmmt", "ood/stra")):
        path = tmp_path / "data" / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines[6 * place : 6 * place + 6]), encoding="utf-8")
    counted = []
    for source in (tmp_path / "data", tmp_path / "none"):
        experiment = opened(
            "resets",
            f"reasoning.panels.source={source}",
            "reasoning.panels.categories=oly,hmmt",
            "reasoning.panels.ood_categories=stra",
            *"reasoning.panels.train=4 reasoning.panels.test=6 reasoning.panels.ood=6".split(),
            "reasoning.training.questions_per_step=4",
        )
        counted.append([(run.name, rollouts(run), experiment.episodes[run.name]) for run in experiment.plan])
    assert counted[0] == counted[1] and max(trained for _, trained, _ in counted[0]) == 4 * 2 * 8


def test_processes_share_the_time_of_a_training_but_not_of_an_evaluation() -> None:
    """EchoRL trains on eight GPUs. GPU-seconds are those of the estimate; the clock runs an eighth of them."""
    experiment = opened("echorl")
    run = next(run for run in experiment.plan if run.training is not None)
    model = architecture_of(run)
    assert model is not None and run.hardware.processes == 8
    cost = run_cost(run, model, machine_for(run), rollouts(run), experiment.episodes[run.name])
    stages = stage_seconds(run, experiment.episodes[run.name])
    assert stages["train"] == pytest.approx((cost.sampling + cost.training) / 8)
    assert stages["evaluate"] == cost.evaluation


@pytest.mark.parametrize(
    ("key", "workers", "says"), [("echorl", 2, "2 workers on 2 x 8 GPUs"), ("resets", 2, "2 workers on as many GPUs")]
)
def test_plan_says_how_many_gpus_it_means(
    key: str, workers: int, says: str, reproduce_in_process: Callable[..., SimpleNamespace], tmp_path: Path
) -> None:
    done = reproduce_in_process(tmp_path, "plan", key, "--profile", "paper", "--workers", str(workers))
    assert says in " ".join(done.out.split())


def test_presence_of_data(tmp_path: Path) -> None:
    entry = DataEntry("a", "retrieval", "b", "c", 1.0, "d", "ours", "panels.source", "e", ("*/x-*.parquet", "y.json"))

    def seen(source: Path | str) -> str:
        return presence(entry, SimpleNamespace(panels=SimpleNamespace(source=str(source))))

    assert seen(tmp_path / "none") == seen("") == seen(tmp_path) == "no"
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "x-0.parquet").touch()
    assert seen(tmp_path) == "yes"


def test_destinations_of_values() -> None:
    values = {value.name: value for value in load_paper_scale("pass_kt").values}
    config = opened("pass_kt", "seeds=8").config
    assert destination(values["group size G"], config) == "training.group_size"
    assert destination(values["training questions"], config).startswith("panels.train_per_category = 100; ")
    assert destination(values["seeds"], config).startswith("seeds = 8; ")
    assert destination(values["weight decay"], config) == "weight_decay of GRPOConfig"
    assert destination(values["reward"], config).startswith("part of the environment")
