"""Markdown becomes a PDF, and text stays text."""

import io

import matplotlib
import pypdf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reproduce.report.document import DocumentError, _widths, markdown_text, markdown_to_pdf, markdown_to_pictures

matplotlib.use("Agg")

from matplotlib import pyplot

SPECIAL = '# $ _ * < > @ \\ | ~ ^ & % { } [ ] ` " // /* */ -- ... <<x>> #panic("no") $x$ = - + 1. \\u{41}'
REPORT = """# A report

| claim | effect [95 % interval] | p | Holm p | minimum detectable effect | verdict |
| --- | --- | ---: | ---: | ---: | --- |
| pass_kt.gap-widens | +0.081 [+0.052, +0.110] | 0.0001 | 0.0008 | 0.040 | supported |
| pass_kt.endpoint-gain | +0.013 [−0.020, +0.046] | 0.42 | 1.00 | 0.047 | inconclusive |

## pass_kt.gap-widens

> The gap grows with k.

![PASS over k.](figures/curve.png)

![Gain.](figures/curve.svg)

A note[^1], a list and a transcript.

- one
- two

```
<answer>Boran</answer> #panic("no")
```

[^1]: In the footnote.
"""


def write(folder, markdown):
    path = folder / "report.md"
    path.write_text(markdown, encoding="utf-8")
    return path


def text_of(folder, markdown):
    target = folder / "report.pdf"
    markdown_to_pdf(write(folder, markdown), target)
    pages = pypdf.PdfReader(target).pages
    return " ".join(" ".join(page.extract_text() for page in pages).replace("\u200b", "").split())


@pytest.fixture
def report(tmp_path):
    (tmp_path / "figures").mkdir()
    figure, axes = pyplot.subplots(figsize=(4, 2))
    axes.plot([1, 2, 4], [0.2, 0.4, 0.5])
    for kind in ("png", "svg"):
        figure.savefig(tmp_path / "figures" / f"curve.{kind}")
    pyplot.close(figure)
    return write(tmp_path, REPORT)


def test_a_report_becomes_a_pdf(report):
    target = report.with_name("deeper") / "report.pdf"
    markdown_to_pdf(report, target)
    document = pypdf.PdfReader(target)
    assert len(document.pages) > 0
    assert document.metadata.title == "A report"
    text = " ".join(page.extract_text() for page in document.pages)
    for expected in ("pass_kt.gap-widens", "+0.081", "inconclusive", "Figure 1", '#panic("no")', "In the footnote."):
        assert expected in text
    assert [path.name for path in target.parent.iterdir()] == ["report.pdf"]


def test_the_same_markdown_gives_the_same_bytes(report, tmp_path):
    first, second = tmp_path / "first.pdf", tmp_path / "second.pdf"
    markdown_to_pdf(report, first)
    markdown_to_pdf(report, second)
    assert first.read_bytes() == second.read_bytes()


def test_pages_can_be_looked_at(report):
    pages = markdown_to_pictures(report, pixels_per_inch=50)
    image = pyplot.imread(io.BytesIO(pages[0]))
    assert image.shape[0] == pytest.approx(50 * 297 / 25.4, abs=2)


@pytest.mark.parametrize(("verdict", "green"), [("supported", True), ("holds", True), ("refuted", False)])
def test_a_verdict_in_a_cell_is_coloured(tmp_path, verdict, green):
    page = pyplot.imread(io.BytesIO(markdown_to_pictures(write(tmp_path, f"| verdict |\n| --- |\n| {verdict} |\n"))[0]))
    red_part, green_part = page[..., 0].astype(float), page[..., 1].astype(float)
    assert ((green_part - red_part) > 0.2).any() == green
    assert ((red_part - green_part) > 0.2).any() == (not green)


def test_a_verdict_word_in_running_text_is_not_coloured(tmp_path):
    page = pyplot.imread(
        io.BytesIO(markdown_to_pictures(write(tmp_path, "It was refuted.\n\n| a |\n| - |\n| so it holds |"))[0])
    )
    assert abs(page[..., 0].astype(float) - page[..., 1].astype(float)).max() < 0.1


def test_special_characters_come_through_as_text(tmp_path):
    escaped = markdown_text(SPECIAL)
    assert SPECIAL in text_of(tmp_path, f"x {escaped}\n")
    assert SPECIAL in text_of(tmp_path, f"| a | b |\n| --- | --- |\n| x {escaped} | end |\n")


def test_text_that_nobody_escaped_is_text_all_the_same(tmp_path):
    written = 'It cost $5 to $6 for a_b_c, @name, #import "x", <answer>x</answer>, -- and a \\ backslash; x < y.'
    assert written in text_of(tmp_path, written)


@settings(max_examples=25, deadline=None)
@given(st.text(alphabet=st.sampled_from(list("ab1 #$_*<>@\\|~^&%{}[]()`\"'/=+-.:;!?")), min_size=1, max_size=40))
def test_no_cell_can_break_the_table(tmp_path_factory, content):
    shown = text_of(
        tmp_path_factory.mktemp("cell"), f"| a | b |\n| --- | --- |\n| x{markdown_text(content)}x | end |\n"
    )
    # A line may break inside the cell, so white space is not compared.
    assert "x" + "".join(content.split()) + "xend" in "".join(shown.split())


def test_comments_are_left_out(tmp_path):
    text = text_of(tmp_path, "<!-- made by a program -->\n\n# Title\n\nWords <!-- hidden --> here.\n")
    assert "hidden" not in text
    assert "program" not in text


def test_long_words_stay_on_the_page(tmp_path):
    digest = "3f79bb7b435b05321651daefd374cdc681dc06faa65e374e38337b88ca046dea" * 3
    assert digest in text_of(tmp_path, f"| a | b |\n| --- | --- |\n| {digest} | {'word ' * 60} |\n").replace(" ", "")


def test_widths_fill_the_line_only_when_they_must():
    assert {width["t"] for width in _widths([["claim", "p"], ["short", "0.1"]])} == {"ColWidthDefault"}
    shares = [width["c"] for width in _widths([["id", "note"], ["a", "many words " * 40]])]
    assert sum(shares) == pytest.approx(1)
    assert shares[0] < 0.1


@pytest.mark.parametrize(
    ("markdown", "message"),
    [
        ("![Curve](figures/none.png)", "the picture 'figures/none.png' is missing"),
        ("![Curve](https://example.org/x.png)", "is not a local file"),
        ("![Curve](report.md)", "is none of .png, .jpg, .jpeg, .svg"),
    ],
)
def test_a_picture_that_cannot_be_set_is_one_clear_error(tmp_path, markdown, message):
    path = write(tmp_path, markdown)
    with pytest.raises(DocumentError) as caught:
        markdown_to_pdf(path, tmp_path / "report.pdf")
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "report.pdf").exists()


def test_a_damaged_picture_is_one_clear_error(tmp_path):
    (tmp_path / "bad.png").write_bytes(b"not a picture")
    with pytest.raises(DocumentError, match="could not set the document") as caught:
        markdown_to_pdf(write(tmp_path, "![Bad](bad.png)"), tmp_path / "report.pdf")
    assert "\n" not in str(caught.value)


def test_a_missing_markdown_file_is_one_clear_error(tmp_path):
    with pytest.raises(DocumentError, match="no such Markdown file"):
        markdown_to_pdf(tmp_path / "none.md", tmp_path / "report.pdf")
