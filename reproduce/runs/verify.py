"""Checks of evidence from end to end: bases, runs, records, and the reports that rest on them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reproduce.claims.verdicts import claims_tested, examined, offered_by_records
from reproduce.core.files import UserError, read_jsonl, write_json
from reproduce.core.hashes import check_files, check_seal, describe_files, read_sealed, sealed
from reproduce.core.paper import load_paper, paper_keys
from reproduce.environments.bases import DESCRIPTION

FILES = "files"
"""Key of experiment.json: size and sha256 of every table of the records."""
TABLES = ("counts", "training")
VERDICTS = "verdicts.json"
INTACT, UNVERIFIED, DAMAGED = "intact", "unverified", "damaged"


@dataclass(frozen=True)
class Finding:
    """The result of checking one piece of evidence."""

    path: Path
    kind: str
    """base, run, records or report."""
    state: str
    """intact, unverified (written by a version that kept no sha256) or damaged."""
    text: str = ""
    """Details, such as the file that has changed."""


@dataclass(frozen=True)
class Source:
    """The files that a number of a report is computed from."""

    claim: str
    effect: float | None
    files: tuple[str, ...]
    """Names of files of the records."""


def seal_records(folder: Path) -> None:
    """Write size and sha256 of every table of the records into their experiment.json, and a digest of that."""
    tables = {name: found for name, found in describe_files(folder).items() if name.endswith(".parquet")}
    write_json(folder / "experiment.json", sealed({**read_sealed(folder / "experiment.json"), FILES: tables}))


def check_records(folder: Path) -> bool:
    """Hold records against their digests: every table, every manifest and the configuration.

    Returns False for records of an earlier version, which have none. Raises UserError naming the file that has changed.
    """
    experiment = read_sealed(folder / "experiment.json")
    manifests = read_jsonl(folder / "runs.jsonl")
    seals = [
        check_seal(manifest, f"{folder / 'runs.jsonl'}, row {row}") for row, manifest in enumerate(manifests, start=1)
    ]
    if FILES not in experiment:
        return False
    check_files(folder, experiment[FILES])
    return all(seals)


def verify(folder: Path) -> Iterator[Finding]:
    """Check every base, run folder, set of records and report below a folder; reports are written anew and compared.

    A link to a folder is followed where it is `folder` itself, and nowhere below. Raises UserError where there is no
    such folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    for path in sorted(folder.rglob("*.json")):
        check = _CHECKS.get(path.name)
        if check is None:
            continue
        kind, examine = check
        try:
            found = examine(path)
        except UserError as error:
            found = Finding(path.parent, kind, DAMAGED, str(error))
        if found is not None:
            yield found
        report = path.parents[1] / "report.md"
        if path.name == "experiment.json" and report.is_file():
            damaged = found is not None and found.state == DAMAGED
            rests = Finding(report, "report", DAMAGED, f"{report} rests on damaged records")
            yield rests if damaged else _check_report(path.parent, report)


def _check_base(path: Path) -> Finding | None:
    if "files" not in (description := read_sealed(path)):
        return Finding(path.parent, "base", UNVERIFIED, "no sha256 of its files")
    return Finding(path.parent, "base", INTACT, f"{check_files(path.parent, description['files'])} files")


def _check_run(path: Path) -> Finding | None:
    manifest = read_sealed(path)
    if "exit_state" not in manifest:
        return None  # Of a generated game.
    if manifest["exit_state"] != "complete" or "products" not in manifest:
        return Finding(path.parent, "run", UNVERIFIED, f"{manifest['exit_state']}, no sha256 of its files")
    return Finding(path.parent, "run", INTACT, f"{check_files(path.parent, manifest['products'])} files")


def _check_records(path: Path) -> Finding | None:
    intact, runs = check_records(path.parent), len(read_jsonl(path.parent / "runs.jsonl"))
    if not intact:
        return Finding(path.parent, "records", UNVERIFIED, f"of {runs} runs, without sha256")
    return Finding(path.parent, "records", INTACT, f"of {runs} runs")


_CHECKS = {
    DESCRIPTION: ("base", _check_base),
    "manifest.json": ("run", _check_run),
    "experiment.json": ("records", _check_records),
}


def _check_report(records: Path, report: Path) -> Finding:
    from reproduce.report.pages import write_markdown

    if not (report.parent / VERDICTS).is_file():
        return Finding(report, "report", UNVERIFIED, f"{report} is of a version that wrote no {VERDICTS}")
    try:
        paper = load_paper(_paper_of(records))
        with tempfile.TemporaryDirectory() as scratch:
            copy = shutil.copytree(records, Path(scratch) / "records")  # Nothing is written beside the records.
            write_markdown(paper, copy, Path(scratch))
            pairs = [(Path(scratch) / name, report.parent / name) for name in (report.name, VERDICTS)]
            changed = [kept.name for anew, kept in pairs if anew.read_bytes() != kept.read_bytes()]
    except Exception as error:  # Records without sha256 may hold anything.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        return Finding(report, "report", DAMAGED, f"{report}: cannot be written from {records} ({reason})")
    if not changed:
        return Finding(report, "report", INTACT, f"with {VERDICTS} as {records} give them, byte for byte")
    return Finding(
        report, "report", DAMAGED, f"{report.parent / changed[0]} is not what {records} give; `report` writes it anew"
    )


def _paper_of(records: Path) -> str:
    runs = read_jsonl(records / "runs.jsonl")
    key = str(runs[0].get("paper")) if runs else ""
    if key not in paper_keys():
        raise UserError(f"{records / 'runs.jsonl'}: of no known paper; run again with --redo")
    return key


def sources(records: Path) -> Iterator[Source]:
    """The files that the evidence of each claim reads. Raises UserError for records that cannot be read."""
    paper = load_paper(_paper_of(records))
    content = paper.read_records(records)
    for claim in claims_tested(paper.claims, offered_by_records(content)):
        traced, seen = _traced(content)
        try:
            evidence = examined(claim, traced)
            effect = evidence.deciding.effect if evidence.parts else None
        except ValueError as error:
            raise UserError(f"{records}: cannot be evaluated ({' '.join(str(error).split())})") from None
        yield Source(claim.identifier, effect, tuple(sorted(seen)))


def _traced(content: Any) -> tuple[Any, set[str]]:
    """A copy of records that notes the tables which are read."""
    seen: set[str] = set()

    class Tables(dict[str, Any]):
        def __getitem__(self, name: str) -> Any:
            seen.add(f"{name}.parquet")
            return super().__getitem__(name)

    class Traced(type(content)):  # type: ignore[misc]
        def __getattribute__(self, name: str) -> Any:
            if name in TABLES:
                seen.add(f"{name}.parquet")
            elif name == "runs":
                seen.add("runs.jsonl")
            return super().__getattribute__(name)

    fields = {name: getattr(content, name) for name in content.__dataclass_fields__}
    if "tables" in fields:
        fields["tables"] = Tables(fields["tables"])
    return Traced(**fields), seen
