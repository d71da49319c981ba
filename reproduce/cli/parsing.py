"""From words to a command, and from whatever does not fit to one line."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, get_type_hints

import tyro

from reproduce.core.files import UserError
from reproduce.core.names import nearest

PROGRAM = "python -m reproduce"
DESCRIPTION = "Does the claim hold, and how sure are we? Train, evaluate, test and report the claims of a paper."
SETTINGS = "settings"
"""The field whose option is `--set`."""


def parse(commands: Mapping[str, Any], arguments: Sequence[str]) -> Any:
    """The command, as an instance of its dataclass. Raises UserError with one line for anything that does not fit."""
    check_names(commands, arguments)
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint), contextlib.redirect_stdout(complaint):
            return parse_with_tyro(commands, _joined_settings(arguments))
    except SystemExit:
        raise UserError(_one_line(complaint.getvalue())) from None


def parse_with_tyro(commands: Mapping[str, Any], arguments: Sequence[str]) -> Any:
    """As tyro does it: errors and help are printed, then SystemExit is raised."""
    return tyro.extras.subcommand_cli_from_dict(
        commands,
        prog=PROGRAM,
        description=DESCRIPTION,
        args=list(arguments),
        config=(tyro.conf.FlagCreatePairsOff,),
    )


def check_names(commands: Mapping[str, Any], arguments: Sequence[str]) -> None:
    """Name the nearest command or option for one that does not exist."""
    command, *rest = arguments
    if command not in commands:
        raise UserError(f"unknown command {command!r}; {nearest(command, tuple(commands))}")
    hints = get_type_hints(commands[command], include_extras=True)
    options = [
        "--set" if item.name == SETTINGS else f"--{item.name.replace('_', '-')}"
        for item in fields(commands[command])
        if tyro.conf.Positional not in getattr(hints[item.name], "__metadata__", ())
    ]
    for argument in rest:
        name = argument.partition("=")[0].replace("_", "-")
        if name.startswith("--") and name not in options:
            raise UserError(f"{command}: unknown option {name!r}; {nearest(name, options)}")


def _joined_settings(arguments: Sequence[str]) -> list[str]:
    """Gather `--set a=1 --set b=2` into one option: of several options of one name, the parser would keep the last."""
    kept: list[str] = []
    settings: list[str] = []
    last_was_option, inside = False, False
    for argument in arguments:
        if last_was_option and argument.startswith("-"):
            raise UserError("--set: expected field=value")
        if argument.startswith("--set="):
            settings.append(argument.partition("=")[2])
            last_was_option, inside = False, True
        elif argument.startswith("-"):
            last_was_option = inside = argument == "--set"
            if not inside:
                kept.append(argument)
        elif inside and (last_was_option or "=" in argument):
            settings.append(argument)
            last_was_option = False
        else:
            inside = False
            kept.append(argument)
    if last_was_option:
        raise UserError("--set: expected field=value")
    return [*kept, "--set", *settings] if settings else kept


def _one_line(complaint: str) -> str:
    """The parser's message without its title, its advice and its line breaks.

    Title, message and advice are parted by rules. On a terminal that draws boxes the title is part of the frame.
    """
    sections: list[list[str]] = [[]]
    for line in complaint.splitlines():
        bare = line.strip(" │╭╮╰╯")
        if bare.endswith(("──", "---")):
            sections.append([])
        elif bare:
            sections[-1].append(bare)
    message = sections[1] if len(sections) > 1 else sections[0]
    return re.sub(r"\s+", " ", " ".join(message)) or "the arguments do not fit; --help shows them"
