"""The trainer scripts of the README and of docs/trainers.md run as they stand there, with a tiny policy, two steps."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = "\n".join((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/trainers.md"))
SCRIPTS = list(
    dict.fromkeys(text for text in re.findall(r"```python\n(.*?)```", PAGES, re.DOTALL) if "path/or/name" in text)
)


def test_there_is_a_script_for_each_trainer():
    trainers = {"EchoTrainer(": 10, "SkillReuseReward(": 20, "GRPOWithResets(": 12}
    assert len(SCRIPTS) == len(trainers)
    for name, most in trainers.items():
        (script,) = (script for script in SCRIPTS if name in script)
        assert len([line for line in script.splitlines() if line.strip()]) <= most, name


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: re.findall(r"from methods\.(\w+)", script)[-1])
def test_script_trains(script, tmp_path):
    from reproduce.core.config import PolicyConfig
    from reproduce.rollouts.policies import build_model, build_tokenizer, save_policy

    words = tuple("2 + 3 = 5 bring the mug look take deliver".split())
    tokenizer = build_tokenizer(words)
    policy = PolicyConfig(layers=1, width=16, heads=2, feed_forward=16, longest=128)
    save_policy(build_model(policy, tokenizer, 0), tokenizer, tmp_path / "policy")
    changed = script.replace("path/or/name", str(tmp_path / "policy")).replace(
        "max_steps=100", "max_steps=2, use_cpu=True"
    )
    (tmp_path / "script.py").write_text(changed)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[1]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "train_loss" in done.stdout
