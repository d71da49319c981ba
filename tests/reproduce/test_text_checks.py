"""A model that cannot read the tasks is refused before anything starts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reproduce.core.config import ModelConfig, PanelConfig, PanelSizes, RunConfig, SamplingConfig
from reproduce.core.files import UserError
from reproduce.environments.beds import ENVIRONMENTS
from reproduce.plan.text_checks import check_texts
from tests.reproduce.general_models import QWEN, general_tokenizer
from tests.reproduce.small_training import small_run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    general_tokenizer(QWEN).save_pretrained(tmp_path)
    return tmp_path


def run_of(environment: str, folder: Path, **changes: object) -> RunConfig:
    panels = PanelConfig() if environment == "retrieval" else PanelSizes()
    run = replace(small_run("pass_kt", "grpo"), environment=environment, panels=panels)
    return replace(run, model=ModelConfig(name=str(folder)), sampling=SamplingConfig(longest_action=64), **changes)


def refusal(run: RunConfig, folder: Path, vocabulary: int, context: int) -> str:
    with pytest.raises(UserError) as caught:
        check_texts(run, folder, vocabulary, context)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_environment_can_be_shown(folder: Path, environment: str) -> None:
    run, vocabulary = run_of(environment, folder), len(general_tokenizer())
    check_texts(run, folder, vocabulary, 1 << 15)
    assert (
        environment in (said := refusal(run, folder, vocabulary, 128)) and "more than its context length of 128" in said
    )


def test_an_action_needs_room_too(folder: Path) -> None:
    run, vocabulary = run_of("reasoning", folder), len(general_tokenizer())
    tokens = int(refusal(run, folder, vocabulary, 1).split(" has ")[1].split()[0])
    check_texts(run, folder, vocabulary, tokens + 64)
    assert f"more than its context length of {tokens + 63}" in refusal(run, folder, vocabulary, tokens + 63)


def test_a_broken_template_and_anothers_tokenizer(folder: Path) -> None:
    run = run_of("reasoning", folder)
    assert "its tokenizer is of another model" in refusal(run, folder, 300, 1 << 15)
    for template in ("{% for m in messages %}{{ m.content ", "{{ messages[7].content.no }}", "nothing"):
        (folder / "chat_template.jinja").write_text(template)
        assert "chat template" in refusal(run, folder, 1 << 15, 1 << 15)
