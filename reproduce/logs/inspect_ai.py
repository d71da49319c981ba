"""Logs of inspect_ai, `.json` or `.eval`: epochs are the episodes of a question.

An `.eval` file is a zip whose members are compressed by zstd. `summaries.json` holds the scores of all samples; logs
of runs that did not finish have only `samples/ID_epoch_N.json`. Members are read in memory, up to a limit, and nothing
is unpacked to disk. Layout: inspect_ai 0.3, log version 2, `log/_recorders/eval.py`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile, ZipInfo

import pyarrow as pa

from reproduce.core.files import UserError
from reproduce.logs.count_rows import CountRows, ScoredEpisodes, rows_of_one_policy
from reproduce.logs.log_files import LogFile, parsed_json
from reproduce.logs.scores import ScoreRule
from reproduce.logs.values import name_of, whole_or_real

GRADES = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0}
"""Correct, incorrect, partial, no answer: inspect_ai's own values, `scorer/_metric.py`."""
LARGEST_MEMBER, LARGEST_TOTAL, MOST_MEMBERS = 1 << 28, 1 << 32, 200_000
"""Bytes after decompression, and number of members, beyond which an archive is refused."""
ZSTANDARD = 93
LOCAL_HEADER = 30
"""Bytes of a member's header before its name and extra field, whose lengths stand at 26 and 28 (zip, 4.3.7)."""


def rows_of_json(file: LogFile, rule: ScoreRule) -> CountRows:
    """Read a `.json` log. Raises UserError for JSON that is none."""
    log = parsed_json(file.path.read_bytes(), str(file.path))
    if not isinstance(log, dict) or not isinstance(log.get("eval"), dict):
        raise UserError(f"{file.path}: no log of inspect_ai; tables are read as .jsonl, .csv or .parquet")
    samples = log.get("samples")
    return _rows(file, log, samples if isinstance(samples, list) else [], rule)


def rows_of_archive(file: LogFile, rule: ScoreRule) -> CountRows:
    """Read an `.eval` log. Raises UserError for an archive that is damaged, too large or none."""
    try:
        with ZipFile(file.path) as archive:
            members = _Members(file.path, archive)
            names = members.names
            header_name = "header.json" if "header.json" in names else "_journal/start.json"
            if header_name not in names:
                raise UserError(f"{file.path}: no log of inspect_ai (no header.json in it)")
            header = members.json(header_name)
            if "summaries.json" in names:
                samples = members.json("summaries.json")
            else:
                samples = [members.json(name) for name in names if name.startswith("samples/")]
    except (BadZipFile, NotImplementedError, EOFError, RuntimeError, ValueError, OSError, zlib.error) as error:
        raise UserError(f"{file.path}: no .eval archive that can be read ({error})") from None
    return _rows(file, header if isinstance(header, dict) else {}, samples if isinstance(samples, list) else [], rule)


class _Members:
    """Members of an archive as JSON, none larger than the limit and all together within theirs."""

    def __init__(self, path: Path, archive: ZipFile) -> None:
        self.path, self.archive = path, archive
        self.infos = {info.filename: info for info in archive.infolist()}
        self.names = tuple(self.infos)
        self.left = LARGEST_TOTAL
        if len(self.names) > MOST_MEMBERS:
            raise UserError(f"{path}: {len(self.names):,} members; at most {MOST_MEMBERS:,} are read")

    def json(self, name: str) -> Any:
        info = self.infos[name]
        limit = min(LARGEST_MEMBER, self.left)
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


def _rows(file: LogFile, log: dict[str, Any], samples: Iterable[Any], rule: ScoreRule) -> CountRows:
    described = log.get("eval")
    described = described if isinstance(described, dict) else {}
    model = described.get("model")
    model = model.strip() if isinstance(model, str) else ""
    policy = file.policy or model or file.path.stem
    episodes = _episodes(file, described.get("task"), samples, rule)
    named = bool(file.policy or model)
    return rows_of_one_policy(str(file.path), policy, file.depth, episodes, rule, policy_is_file_name=not named)


def _episodes(file: LogFile, task: Any, samples: Iterable[Any], rule: ScoreRule) -> ScoredEpisodes:
    scored: list[tuple[str, str, dict[str, Any]]] = []
    seen: set[tuple[str, str]] = set()
    failed = 0
    for sample in samples:
        if not isinstance(sample, dict):
            raise UserError(f"{file.path}: a sample is a {type(sample).__name__}, expected an object")
        try:
            identifier, epoch = name_of(sample.get("id")), name_of(sample.get("epoch", 1))
        except ValueError as error:
            raise UserError(f"{file.path}: id or epoch of a sample {error}") from None
        if (identifier, epoch) in seen:
            raise UserError(f"{file.path}: duplicate sample {identifier!r}, epoch {epoch}")
        seen.add((identifier, epoch))
        values = _flat(sample.get("scores"))
        if values:
            scored.append((identifier, epoch, values))
        else:
            failed += 1
    name = rule.choose(list(dict.fromkeys(each for *_, values in scored for each in values)), str(file.path))
    questions, scores = [], []
    for identifier, epoch, values in scored:
        if name not in values:
            failed += 1
            continue
        try:
            scores.append(_score(values[name]))
        except ValueError as error:
            raise UserError(f"{file.path}: score {name} of sample {identifier!r}, epoch {epoch}, {error}") from None
        questions.append(f"{task}/{identifier}" if isinstance(task, str) else identifier)
    notes: tuple[str, ...] = ()
    if failed:
        notes = (
            f"{file.path}: {failed:,} samples have no score {name} (they ended in an error or were not scored) and are "
            "left out; if hard questions fail more often, the values are too high",
        )
    return ScoredEpisodes(questions, scores, name, notes)


def _flat(scores: Any) -> dict[str, Any]:
    """Values by scorer; a scorer that gives several is taken apart, `SCORER/KEY`."""
    flat: dict[str, Any] = {}
    for name, score in scores.items() if isinstance(scores, dict) else ():
        value = score.get("value") if isinstance(score, dict) else score
        if isinstance(value, dict):
            flat |= {f"{name}/{key}": each for key, each in value.items()}
        else:
            flat[name] = value
    return flat


def _score(value: Any) -> float:
    if isinstance(value, str) and value in GRADES:
        return GRADES[value]
    return whole_or_real(value)
