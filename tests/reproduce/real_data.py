"""Where files of public data sets lie on a machine that has them: `shared/data`, beside the checkout or above it."""

from __future__ import annotations

from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]


def real(name: str) -> Path:
    """A file or folder of real data; the test is skipped where it is not there."""
    found = [path for folder in CHECKOUT.parents if (path := folder / "shared" / "data" / name).exists()]
    if not found:
        pytest.skip(f"no shared/data/{name} beside the checkout")
    return found[0]
