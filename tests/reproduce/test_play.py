"""Playing tasks in the terminal: the expert wins, a person's lines are actions, mistakes get one line."""

from __future__ import annotations

import io
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from reproduce.cli.command_line import main
from reproduce.environments.retrieval import (
    SKILLS,
    RetrievalEnvironment,
    build_panels,
    explain,
    random_action,
    solve,
)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["play", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize("environment", ["retrieval", "countdown", "reasoning", "household"])
@pytest.mark.parametrize("texts", ["full", "terse"])
def test_the_expert_wins(environment: str, texts: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, environment, "--expert", "--texts", texts, "--panel", "ood")
    assert code == 0 and "success after" in out and "> " in out


def test_a_person_plays(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    task = build_panels(1, 1, 1)["test"].select("bridge")[0]
    lines = [*solve(task)[:-1], "no\x1b[31mnsense", f"answer {task.answer}"]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(lines) + "\n"))
    code, out, _ = run(capsys, "retrieval", "--category", "bridge", "--rounds", "3")
    assert code == 0 and "success after 4 actions" in out
    assert "closed" in out and "invalid" in out and "\x1b[31m" not in out


def test_the_rounds_run_out_and_input_ends(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("reset\nreset\nreset\n"))
    assert "failure (timeout) after 2 actions" in run(capsys, "countdown", "--rounds", "2")[1]
    monkeypatch.setattr(sys, "stdin", io.StringIO("reset\n"))
    assert "stopped after 1 action" in run(capsys, "countdown")[1]


def test_an_answer_of_several_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    solution = run(capsys, "reasoning", "--expert")[1].split("> ")[1].split("success")[0]
    steps = [line.strip() for line in solution.strip().splitlines()]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(steps) + "\n\n"))
    assert len(steps) > 2 and "success after 1 action" in run(capsys, "reasoning")[1]


def test_a_later_task_of_a_category(capsys: pytest.CaptureFixture[str]) -> None:
    shown = {run(capsys, "countdown", "--category", "numbers-3", "--number", str(n), "--explain")[1] for n in range(4)}
    assert len(shown) == 4 and all(shown)


def test_the_explanation_holds_a_solution(capsys: pytest.CaptureFixture[str]) -> None:
    for environment in ("retrieval", "countdown", "reasoning"):
        code, out, _ = run(capsys, environment, "--explain")
        assert code == 0 and "success after" not in out and "solution" in out.lower()


def test_a_data_set_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "sums.jsonl"
    file.write_text('{"question": "What is 1/2 + 1/4?", "answer": "\\\\frac{3}{4}"}\n')
    monkeypatch.setattr(sys, "stdin", io.StringIO("The sum is \\boxed{0.75}\n\n"))
    assert "success" in run(capsys, "reasoning", "--dataset", str(file))[1]
    code, _, error = run(capsys, "reasoning", "--dataset", str(file), "--expert")
    assert code == 2 and "no expert" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["coking"], "unknown environment 'coking'; did you mean 'cooking'?"),
        (["countdown", "--panel", "tset"], "unknown panel 'tset'; did you mean 'test'?"),
        (["countdown", "--texts", "short"], "unknown texts 'short'"),
        (["retrieval", "--category", "brige"], "no task of category 'brige' in test; did you mean 'bridge'?"),
        (["countdown", "--number", "-1"], "must not be negative"),
        (["countdown", "--rounds", "0"], "--rounds 0: must be at least 1"),
        (["countdown", "--dataset", "x.jsonl"], "--dataset belongs to reasoning"),
        (["countdown", "--alfworld-data", "x"], "--alfworld-data belongs to household"),
        (["reasoning", "--dataset", "nowhere.jsonl"], "nowhere.jsonl"),
        (["household", "--alfworld-data", "nowhere"], "nowhere"),
    ],
)
def test_mistakes_get_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, error = run(capsys, *arguments)
    assert code == 2 and message in error and len(error.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("environment", "engine"), [("countdown", "reasoning_gym"), ("cooking", "textworld"), ("household", "alfworld")]
)
def test_a_missing_engine_is_named(environment: str, engine: str, tmp_path: Path) -> None:
    """In a process of its own: what other tests have imported must not help."""
    program = (
        f"import sys; sys.modules[{engine!r}] = None; "
        f"from reproduce.cli.command_line import main; sys.exit(main(['play', {environment!r}, '--expert']))"
    )
    finished = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
        env=os.environ | {"RL_CLAIMS_CACHE": str(tmp_path)},
    )
    assert finished.returncode == 2, finished.stderr
    assert f"rl-claims[{environment}]" in finished.stderr and len(finished.stderr.strip().splitlines()) == 1


def test_retrieval_explains_and_solves_every_question() -> None:
    environment, generator = RetrievalEnvironment(), random.Random(0)
    tasks = [task for panel in build_panels(5, 5, 5).values() for task in panel.tasks]
    for task in tasks:
        history: tuple[str, ...] = ()
        for action in solve(task):
            observation = environment.step(task, history, action)
            assert observation.skill in SKILLS
            history += (action,)
        assert observation.success and len(history) == task.hops + 1
        assert task.question in explain(task) and task.answer in explain(task)
        assert environment.step(task, (), random_action(task, (), generator)).skill in SKILLS[:-1]
    assert 5 <= len(SKILLS) <= 26


PAGE = (Path(__file__).resolve().parents[2] / "docs" / "environments.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", re.findall(r"^\$ python -m reproduce play (.*--expert)$", PAGE, re.MULTILINE))
def test_the_transcripts_of_the_readme_are_what_is_printed(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, *command.split())
    assert code == 0 and f"$ python -m reproduce play {command}\n{out.strip()}\n" in PAGE
