"""Logs of inspect_ai, `.json` or `.eval`: epochs are the episodes of a question.

An `.eval` file is a zip whose members are compressed by zstd. `summaries.json` holds the scores of all samples; logs
of runs that did not finish have only `samples/ID_epoch_N.json`. Members are read in memory, up to a limit, and nothing
is unpacked to disk. A retried run repeats the samples that were finished, under their uuid. Layout: inspect_ai 0.3, log
version 2, `log/_log.py` and `log/_recorders/eval.py`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from lzma import LZMAError
from pathlib import Path, PureWindowsPath
from typing import Any
from zipfile import BadZipFile, ZipFile, ZipInfo

import numpy as np
import pyarrow as pa

from reproduce.core.files import UserError
from reproduce.logs.episodes import Column, Log
from reproduce.logs.log_files import LogFile, mapping, parsed_json
from reproduce.logs.settings import described, settings_of
from reproduce.logs.values import name_of

GRADES = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0}
"""Correct, incorrect, partial, no answer: inspect_ai's own values, `scorer/_metric.py`."""
LIMITS = ("message_limit", "token_limit", "turn_limit", "time_limit", "working_limit", "cost_limit")
OF_SAMPLE = ("id", "epoch", "uuid", "scores", "error", "invalidation", "metadata")
UNREADABLE = (BadZipFile, LZMAError, NotImplementedError, EOFError, RuntimeError, ValueError, OSError, zlib.error)
"""Errors of a damaged archive."""
LARGEST_MEMBER, LARGEST_TOTAL, MOST_MEMBERS = 1 << 28, 1 << 30, 200_000
"""Bytes after decompression, and number of members, beyond which an archive is refused."""
ZSTANDARD = 93
LOCAL_HEADER = 30
"""Bytes of a member's header before its name and extra field, whose lengths stand at 26 and 28 (zip, 4.3.7)."""


def is_log(content: Any) -> bool:
    """Whether a JSON value is such a log."""
    return isinstance(content, dict) and isinstance(content.get("eval"), dict) and "model" in content["eval"]


def log_of_json(file: LogFile, content: dict[str, Any], cluster: str | None) -> Log:
    """Read a `.json` log."""
    samples = content.get("samples")
    return _log(file, content, samples if isinstance(samples, list) else [], "keys eval, samples", cluster)


def log_of_archive(file: LogFile, cluster: str | None) -> Log:
    """Read an `.eval` log. Raises UserError for an archive that is damaged, too large or none."""
    try:
        with ZipFile(file.path) as archive:
            members = _Members(file.path, archive)
            names = members.names
            header_name = "header.json" if "header.json" in names else "_journal/start.json"
            if header_name not in names:
                raise UserError(f"{file.path}: no log of inspect_ai (no header.json in it)")
            header = members.json(header_name)
            # Summaries hold neither metadata nor what was declared invalid later.
            marked = mapping(header).get("invalidated")
            if "summaries.json" in names and not cluster and not marked:
                samples = members.json("summaries.json")
            else:
                wanted = [name for name in names if name.startswith("samples/")]
                members.check_total(wanted)
                samples = [_trimmed(members.json(name)) for name in wanted]
    except UNREADABLE as error:
        raise UserError(f"{file.path}: no .eval archive that can be read ({error})") from None
    return _log(
        file, mapping(header), samples if isinstance(samples, list) else [], f"{header_name} in the archive", cluster
    )


def _trimmed(sample: Any) -> Any:
    """A sample without its transcript."""
    return {key: sample.get(key) for key in OF_SAMPLE} if isinstance(sample, dict) else sample


class _Members:
    """Members of an archive as JSON, none larger than the limit and all together within theirs."""

    def __init__(self, path: Path, archive: ZipFile) -> None:
        self.path, self.archive = path, archive
        self.infos = {info.filename: info for info in archive.infolist()}
        self.names = tuple(self.infos)
        self.left = LARGEST_TOTAL
        if len(self.names) > MOST_MEMBERS:
            raise UserError(f"{path}: {len(self.names):,} members; at most {MOST_MEMBERS:,} are read")
        for name in self.names:
            member = PureWindowsPath(name)  # Both kinds of slashes part names for it.
            if member.drive or member.root or ".." in member.parts:
                raise UserError(f"{path}: member {name!r} climbs out of the archive; refused")

    def check_total(self, names: Iterable[str]) -> None:
        """Refuse before anything is unpacked what is too much by its own account."""
        if sum(self.infos[name].file_size for name in names) > self.left:
            raise UserError(f"{self.path}: more than {self.left >> 20} MiB when unpacked; refused")

    def json(self, name: str) -> Any:
        info = self.infos[name]
        limit = min(LARGEST_MEMBER, self.left)
        if info.file_size > limit:
            raise UserError(f"{self.path}: {name} is larger than {limit >> 20} MiB when unpacked; refused")
        content = self._zstandard(info, limit) if info.compress_type == ZSTANDARD else self._standard(info, limit)
        if len(content) > limit:
            raise UserError(f"{self.path}: {name} is larger than {limit >> 20} MiB when unpacked; refused")
        self.left -= len(content)
        return parsed_json(content, f"{self.path}, {name}")

    def _standard(self, info: ZipInfo, limit: int) -> bytes:
        with self.archive.open(info) as member:
            return member.read(limit + 1)

    def _zstandard(self, info: ZipInfo, limit: int) -> bytes:
        """zipfile knows zstd from Python 3.14 on; before, its place in the file is all that is needed."""
        with self.path.open("rb") as file:
            file.seek(info.header_offset)
            header = file.read(LOCAL_HEADER)
            if header[:4] != b"PK\x03\x04" or len(header) < LOCAL_HEADER:
                raise BadZipFile(f"{info.filename}: no member where one should be")
            skipped = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
            file.seek(skipped, 1)
            packed = file.read(info.compress_size)
        with pa.CompressedInputStream(pa.BufferReader(packed), "zstd") as stream:
            content = bytes(stream.read(limit + 1))
        if len(content) <= limit and zlib.crc32(content) != info.CRC:
            raise BadZipFile(f"{info.filename}: wrong checksum")
        return content


def _log(file: LogFile, log: dict[str, Any], samples: Iterable[Any], sign: str, cluster: str | None) -> Log:
    spec = mapping(log.get("eval"))
    model, task = (value.strip() if isinstance(value, str) else "" for value in (spec.get("model"), spec.get("task")))
    run = f"{spec.get('task_id') or spec.get('run_id') or file.path}/{task}/{model}"
    questions, slots, episodes, places, failed, groups = [], [], [], [], [], []
    values: list[dict[str, Any]] = []
    for sample in samples:
        if not isinstance(sample, dict):
            raise UserError(f"{file.path}: a sample is a {type(sample).__name__}, expected an object")
        try:
            identifier, epoch = name_of(sample.get("id")), name_of(sample.get("epoch", 1))
        except ValueError as error:
            raise UserError(f"{file.path}: id or epoch of a sample {error}") from None
        questions.append(f"{task}/{identifier}" if task else identifier)
        slots.append(f"{run}/{identifier}/{epoch}")
        episodes.append(str(sample["uuid"]) if sample.get("uuid") else slots[-1])
        places.append(f"sample {identifier!r}, epoch {epoch}")
        failed.append(bool(sample.get("error")) or bool(sample.get("invalidation")))
        values.append(_flat(sample.get("scores")))
        groups.append(described(sample, cluster, "metadata") if cluster else None)
    names = dict.fromkeys(name for each in values for name in each)
    return Log(
        source=str(file.path),
        format=f"log of inspect_ai ({sign})",
        place=lambda row: f"{file.path}, {places[row]}",
        question=Column.of(questions),
        scores={name: Column.of([each.get(name) for each in values]) for name in names},
        user_policy=file.policy,
        file_stem=file.stem,
        model=model,
        settings=_settings(spec, log.get("plan")),
        task=task,
        depth=file.depth,
        episode=Column.of(episodes),
        slot=Column.of(slots),
        failed=np.array(failed, dtype=bool),
        cluster=Column.of(groups) if cluster else None,
    )


def _settings(spec: dict[str, Any], plan: Any) -> dict[str, str]:
    """What makes a policy of a model: its arguments, how it generates, the solver, the limits of an episode."""
    config, plan = mapping(spec.get("config")), mapping(plan)
    return (
        settings_of(spec.get("model_args"))
        | settings_of(spec.get("model_generate_config"))
        | settings_of(plan.get("config"))
        | settings_of({"model_roles": spec.get("model_roles") or {}})
        | settings_of({key: config.get(key) for key in LIMITS}, "task:")
        | settings_of({key: spec.get(key) for key in ("solver", "solver_args", "task_args")}, "task:")
        | settings_of({"steps": _steps(plan.get("steps"))}, "task:")
    )


def _steps(steps: Any) -> str:
    """The solvers in their order, each with its parameters: "react(attempts=2), generate"."""
    said = []
    for step in map(mapping, steps if isinstance(steps, list) else []):
        params = ", ".join(f"{key}={value}" for key, value in settings_of(step.get("params")).items())
        said.append(f"{step.get('solver')}({params})" if params else str(step.get("solver")))
    return ", ".join(said)


def _flat(scores: Any) -> dict[str, Any]:
    """Values by scorer; a scorer that gives several is taken apart, `SCORER/KEY`."""
    flat: dict[str, Any] = {}
    for name, score in mapping(scores).items():
        value = score.get("value") if isinstance(score, dict) else score
        if isinstance(value, dict):
            flat |= {f"{name}/{key}": _graded(each) for key, each in value.items()}
        elif value is not None and value == value:
            # A scorer of several values that did not score a sample logs one NaN: no score of that name.
            flat[name] = _graded(value)
    return flat


def _graded(value: Any) -> Any:
    return GRADES.get(value, value) if isinstance(value, str) else value
