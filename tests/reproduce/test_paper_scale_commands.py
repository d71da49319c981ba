"""How to get each data set: commands that can be run, one after another, then what is to be done with the files."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from reproduce.core.paper import PACKAGED
from reproduce.cost.paper_scale import load_paper_scale
from reproduce.plan.open import open_experiment
from reproduce.plan.requirement_checks import missing

WITHOUT_A_COMMAND = ("not needed: ", "generated here ")
PROGRAMS = {"hf", "pip", "mv", "alfworld-download"}


@pytest.mark.parametrize("key", PACKAGED)
def test_every_way_to_get_data_begins_with_commands(key: str) -> None:
    for entry in load_paper_scale(key).data:
        if entry.get.startswith(WITHOUT_A_COMMAND):
            continue
        commands, _, rest = entry.get.partition(", then ")
        assert "hf download" not in rest, entry.name
        for command in map(shlex.split, commands.split(" && ")):
            assert command[0] in PROGRAMS, command
            if command[0] == "hf":
                # One repository a command; what follows it before the options are files of it.
                assert command[1] == "download" and re.fullmatch(r"[\w.-]+/[\w.-]+", command[2]), command
                files = command[3 : next(place for place, word in enumerate(command) if word.startswith("--"))]
                assert all("/" not in word and "," not in word for word in files), command
                assert "--repo-type" in command and "--local-dir" in command


@pytest.mark.parametrize("key", ["echorl", "resets"])
def test_absent_data_is_missing_with_the_command_that_gets_it(key: str) -> None:
    found = missing(open_experiment(key, "paper", (), Path("nowhere")), devices=False)
    scale = load_paper_scale(key)
    wanted = [entry for entry in scale.data if entry.setting and not entry.get.startswith(WITHOUT_A_COMMAND)]
    assert any("such folder" in line or "no such file" in line for line in found), found
    assert any(wanted[0].get.split(", then ")[0] in line for line in found), found
    assert all("\n" not in line and "()" not in line for line in found)
