"""Hold a folder of official games against the panels that are known by digest."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.text import Text

from reproduce.core.files import UserError
from reproduce.core.names import nearest
from reproduce.environments.household.official_panels import check_official_panels

PANELS = ("alfworld",)


def show_panels(console: Console, name: str, directory: Path) -> None:
    """Print how many games are there and as listed. Raises UserError for an unknown name, and where the folder is not
    the whole of both panels and nothing else."""
    if name not in PANELS:
        raise UserError(f"no panels of {name!r}; {nearest(name, PANELS)}")
    checks = check_official_panels(directory)
    for one in checks:
        release = f" ({', '.join(one.releases)})" if one.releases else ""
        console.print(
            Text(f"{one.folder}: {one.same} of {one.known} games as listed{release}; panel {one.sha256}"),
            soft_wrap=True,
        )
    if wrong := [
        f"{one.folder}: {len(games)} {word}, such as {games[0]}"
        for one in checks
        for word, games in (
            ("refused", one.refused),
            ("different", one.different),
            ("not listed", one.unlisted),
            ("missing", one.missing),
        )
        if games
    ]:
        raise UserError(f"{directory}: {'; '.join(wrong)}")
