"""The committed laptop reports are what the committed records give, byte for byte."""

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from reproduce.core.paper import PACKAGED, load_paper
from reproduce.report.pages import write_markdown

REPORTS = Path(__file__).resolve().parents[2] / "reports" / "laptop"


@pytest.mark.parametrize("key", PACKAGED)
def test_a_laptop_report_is_rebuilt_byte_for_byte(key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Figures are drawn, which their captions come from; writing them takes most of the time and changes no text.
    monkeypatch.setattr(Figure, "savefig", lambda *arguments, **options: None)
    written = write_markdown(load_paper(key), REPORTS / key / "records", tmp_path)
    for name in ("report.md", "verdicts.json"):
        assert (written.parent / name).read_text(encoding="utf-8") == (REPORTS / key / name).read_text(encoding="utf-8")
