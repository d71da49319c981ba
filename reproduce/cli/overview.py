"""Print papers, claims, fields that can be set, versions and hardware."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from reproduce.claims.verdicts import claims_tested, offered_by_plan
from reproduce.core.paper import load_paper, paper_keys


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for place, name in enumerate(columns):
        table.add_column(name, overflow="fold", no_wrap=place == 0)
    return table


def show_papers(console: Console, key: str | None) -> None:
    """Print one paper, or all, with claims, arms and profiles."""
    for name in [key] if key is not None else paper_keys():
        paper = load_paper(name)
        console.print(f"{paper.key}: {paper.title} (arXiv {paper.arxiv})", markup=False, highlight=False)
        claims = _table("Claims", "identifier", "statement")
        for claim in paper.claims:
            claims.add_row(claim.identifier, claim.statement)
        for identity in paper.identities:
            claims.add_row(identity.identifier, f"{identity.statement} (exact)")
        console.print(claims, markup=False)
        arms = _table("Arms", "name", "what it is")
        for name, arm in paper.arms.items():
            arms.add_row(name, arm.description)
        console.print(arms)
        profiles = _table("Profiles", "name", "seeds", "runs", "environments", "claims tested")
        for profile, config in paper.profiles.items():
            plan = paper.plan(config)
            environments = ", ".join(dict.fromkeys(run.environment for run in plan))
            tested = f"{len(claims_tested(paper.claims, offered_by_plan(plan, config)))} of {len(paper.claims)}"
            profiles.add_row(profile, str(config.seeds), str(len(plan)), environments, tested)
        console.print(profiles)


def show_fields(console: Console, arguments: Sequence[str]) -> None:
    """Print every field that `--set` changes, with the defaults of the paper and profile named in `arguments`."""
    paper = load_paper(next((name for name in arguments if name in paper_keys()), paper_keys()[0]))
    from reproduce.core.settings import field_table

    profile = next((name for name in arguments if name in paper.profiles), "laptop")
    table = _table(f"Fields for --set, with the values of {paper.key}, profile {profile}", "field", "value", "meaning")
    for row in field_table(paper.profiles[profile]):
        table.add_row(*row)
    console.print(table)


def show_environment(console: Console) -> None:
    """Print versions and hardware, as a manifest has them."""
    from reproduce.core.machine import describe_machine, describe_source, package_versions

    table = _table("Environment", "what", "value")
    for name, value in describe_source().items():
        table.add_row(name, str(value))
    for name, value in describe_machine().items():
        shown = f"{value / 2**30:.1f} GiB" if name == "memory_bytes" else value
        if isinstance(shown, list):
            shown = ", ".join(shown) or "none"
        table.add_row(name.removesuffix("_bytes"), str(shown))
    for name, value in package_versions().items():
        table.add_row(name, value)
    console.print(table)
