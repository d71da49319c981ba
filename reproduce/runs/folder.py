"""The folder of one run. Loads no model code."""

from __future__ import annotations

import shutil
from pathlib import Path

from reproduce.core.config import RunConfig, result_digest
from reproduce.core.files import UserError, read_json


class RunFolder:
    """The files of one run. Raises UserError when the folder holds a run whose configuration gives other results."""

    def __init__(self, path: Path, config: RunConfig) -> None:
        self.path, self.config = path, config
        self.checkpoint, self.episodes = path / "checkpoint", path / "episodes.parquet"
        self.metrics, self.manifest = path / "metrics.jsonl", path / "manifest.json"
        if (path / "config.json").exists():
            content = read_json(path / "config.json")
            if not isinstance(content, dict):
                raise UserError(f"{path / 'config.json'}: damaged (no JSON object); run again with --redo")
            written = result_digest(content)
            if written != config.digest:
                raise UserError(
                    f"{path} holds a run with config digest {written[:12]}, this one has {config.digest[:12]}: "
                    "choose another --runs folder, or discard it with --redo"
                )

    @property
    def complete(self) -> bool:
        """Whether the run has been carried out to its end."""
        return self.manifest.exists() and bool(read_json(self.manifest)["exit_state"] == "complete")

    def discard(self) -> None:
        """Remove everything the run wrote."""
        shutil.rmtree(self.path, ignore_errors=True)
