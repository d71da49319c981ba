"""The folder of one run. Loads no model code."""

from __future__ import annotations

from pathlib import Path

from reproduce.core.config import RunConfig, result_digest
from reproduce.core.files import UserError, read_json
from reproduce.core.hashes import check_files, read_sealed

PRODUCTS = "products"
"""Key of the manifest: every file that the run wrote, with size and sha256."""


class RunFolder:
    """The files of one run. Raises UserError when the folder holds a run whose configuration gives other results."""

    def __init__(self, path: Path, config: RunConfig) -> None:
        self.path, self.config = path, config
        self.checkpoint, self.episodes = path / "checkpoint", path / "episodes.parquet"
        self.metrics, self.manifest = path / "metrics.jsonl", path / "manifest.json"
        self.partial, self.training = path / "checkpoint.partial", path / "training"
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
        """True once the run has been carried out to its end. Raises UserError for a damaged manifest."""
        if not self.manifest.exists():
            return False
        state = read_sealed(self.manifest).get("exit_state")
        if state is None:
            raise UserError(f"{self.manifest}: damaged (no exit state); run again with --redo")
        return bool(state == "complete")

    def check_products(self, thorough: bool = True) -> bool:
        """Hold the products against the manifest; False where it lists none, as those of earlier versions.

        thorough: also read large ones. Raises UserError naming the file that has changed.
        """
        products = read_sealed(self.manifest).get(PRODUCTS) if self.manifest.exists() else None
        return products is not None and check_files(self.path, products, thorough=thorough) > 0
