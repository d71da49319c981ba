"""The scripts of `examples/`, run as a user runs them, on tiny random models."""

import ast
import runpy
import sys
from pathlib import Path

import pytest

from tests.reproduce.general_models import general_model, general_tokenizer

ROOT = Path(__file__).parents[1]
SMALL = (
    "--use_cpu true --bf16 false --gradient_checkpointing false --max_steps 1 --max_completion_length 12 "
    "--report_to none --per_device_train_batch_size 8 --save_strategy no --disable_tqdm true --logging_steps 1"
).split()


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    words, paths = general_tokenizer(), []
    for seed in range(2):
        paths.append(str(tmp_path_factory.mktemp(f"checkpoint-{seed}")))
        general_model("qwen3", words, seed).save_pretrained(paths[-1])
        words.save_pretrained(paths[-1])
    return paths


@pytest.mark.parametrize(
    ("script", "options", "logged"),
    [
        ("echorl", [], "echo/groups_with_clip"),
        ("reuserl", [], "reuse/success"),
        ("resets", ["--rule", "random"], "suffix/success"),
        ("resets", ["--rule", "asked"], "suffix/success"),
        ("resets", ["--rule", "least_confident"], "suffix/success"),
    ],
)
def test_a_method_in_a_script(
    script: str, options: list[str], logged: str, checkpoints: list[str], tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setattr("methods.continuation.LONGEST_REPLY", 8)
    arguments = ["--model_name_or_path", checkpoints[0], "--output_dir", str(tmp_path), *SMALL, *options]
    ran = run(script, arguments, monkeypatch)
    history = ran["trainer"].state.log_history
    assert ran["trainer"].state.global_step == 1 and any(logged in entry for entry in history)


def test_pass_kt_of_two_checkpoints(checkpoints: list[str], monkeypatch, capsys) -> None:
    run("pass_kt", checkpoints, monkeypatch)
    lines = capsys.readouterr().out.strip().splitlines()
    assert len(lines) == 4 * 4 and lines[0].startswith("T = 0, k = 1: ")


def run(script: str, arguments: list[str], monkeypatch) -> dict:
    path = ROOT / "examples" / f"{script}.py"
    monkeypatch.setattr(sys, "argv", [str(path), *arguments])
    monkeypatch.syspath_prepend(str(path.parent))
    return runpy.run_path(str(path), run_name="__main__")


def test_every_example_is_short_and_run_here() -> None:
    tested = ast.unparse(ast.parse(Path(__file__).read_text(encoding="utf-8")))
    for path in (ROOT / "examples").glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 40, path
        assert f"'{path.stem}'" in tested, path
