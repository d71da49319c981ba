"""Markdown to PDF: pandoc reads the Markdown, Typst sets the page. Two wheels, no system package, no network.

The same Markdown and pictures give the same bytes: the fonts are Typst's own, and the document carries no date.

Text is data. Pandoc parses the Markdown, and every piece of text then reaches Typst as a quoted string, which Typst
cannot run; raw HTML is printed as the text it is. A cell of a Markdown table needs `markdown_text` for that to hold
from the start, since a bare `|` ends the cell before pandoc can tell that it was meant as text.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pypandoc
import typst

# CommonMark only: the richer Markdown of pandoc would read `$5 and $6` as mathematics and `@name` as a citation.
MARKDOWN = "commonmark+pipe_tables+implicit_figures+strikeout+footnotes"
VERDICTS = ("supported", "refuted", "inconclusive", "not testable", "no premise", "holds", "fails", "withheld")
PICTURES = (".png", ".jpg", ".jpeg", ".svg")
LONGEST_UNBROKEN = 32
"""Longer words, such as hashes and paths, get places where a line may break."""
CHARACTERS_A_LINE = 130
"""About what fits across the page in the type of a table; wider tables get column widths."""
CHARACTERS_OF_PADDING = 3.2
"""What the white space around a cell takes, in the same measure."""

Node = dict[str, Any]


class DocumentError(ValueError):
    """The Markdown cannot become a PDF; the message is one line."""


def markdown_to_pdf(markdown_path: str | os.PathLike[str], pdf_path: str | os.PathLike[str]) -> None:
    """Set the Markdown file as a PDF; the PDF appears whole or not at all."""
    target = Path(pdf_path)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    partial.write_bytes(_typeset(Path(markdown_path), "pdf")[0])
    partial.replace(target)


def markdown_to_pictures(markdown_path: str | os.PathLike[str], pixels_per_inch: float = 100) -> list[bytes]:
    """The pages of the same document as PNG, to be looked at."""
    return _typeset(Path(markdown_path), "png", pixels_per_inch)


def markdown_text(text: str) -> str:
    """Plain text as Markdown that shows exactly that text, in a paragraph as in a table cell."""
    one_line = " ".join(text.split())
    # An underscore inside a word is literal in CommonMark, so claim names stay readable in the source.
    return re.sub(r"[\\`*\[\]<>|~$&#]|(?<!\w)_|_(?!\w)", r"\\\g<0>", one_line)


def _typeset(markdown_path: Path, output: Any, pixels_per_inch: float | None = None) -> list[bytes]:
    try:
        markdown = markdown_path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DocumentError(f"{markdown_path}: there is no such Markdown file") from None
    except UnicodeDecodeError as error:
        raise DocumentError(f"{markdown_path}: not UTF-8 at byte {error.start}") from None

    with tempfile.TemporaryDirectory(prefix="document-") as name:
        folder = Path(name)
        tree = json.loads(_pandoc(markdown, MARKDOWN, "json"))
        title, blocks = _split_title([block for block in tree["blocks"] if not _is_comment(block)])
        tree["blocks"] = _Translation(markdown_path, folder).of(blocks)
        body = _pandoc(json.dumps(tree), "json", "typst")
        (folder / "document.typ").write_text(files(__package__).joinpath("document.typ").read_text(encoding="utf-8"))
        source = folder / "main.typ"
        source.write_text(
            '#import "document.typ": picture, report, rule, verdict\n'
            f"#show: report.with(title: {_string(title) if title else 'none'})\n\n{body}",
            encoding="utf-8",
        )
        try:
            made = typst.compile(
                source,
                root=folder,
                format=output,
                ppi=pixels_per_inch,
                ignore_system_fonts=True,
                timestamp=0,
            )
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise DocumentError(f"{markdown_path}: Typst could not set the document: {reason}") from error
    return made if isinstance(made, list) else [made]


def _pandoc(text: str, source: str, target: str) -> str:
    # The program inside the wheel, not one that happens to be installed: another version may set another page.
    folder = Path(pypandoc.__file__).parent / "files"
    bundled = [path for path in (folder / "pandoc", folder / "pandoc.exe") if path.exists()]
    program = str(bundled[0]) if bundled else pypandoc.get_pandoc_path()
    done = subprocess.run(
        [program, "--sandbox", "--wrap=none", f"--from={source}", f"--to={target}"],
        input=text,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode != 0:
        raise DocumentError(f"pandoc failed: {' '.join(done.stderr.split())}")
    return done.stdout


def _split_title(blocks: list[Node]) -> tuple[str, list[Node]]:
    """The first heading, if the document opens with it, is the title and not a section."""
    if blocks and blocks[0]["t"] == "Header" and blocks[0]["c"][0] == 1:
        return _plain(blocks[0]), blocks[1:]
    return "", blocks


class _Translation:
    """Pandoc's tree with every text turned into a Typst string and every picture copied beside the source."""

    def __init__(self, markdown_path: Path, folder: Path) -> None:
        self.markdown_path = markdown_path
        self.folder = folder
        self.pictures: dict[Path, str] = {}

    def of(self, node: Any) -> Any:
        if isinstance(node, list):
            return [part for child in node for part in self._parts(child)]
        if isinstance(node, dict):
            return {key: self.of(value) for key, value in node.items()}
        return node

    def _parts(self, node: Any) -> list[Any]:
        """What stands in the place of one child: usually one node, for a comment none, for a link several."""
        if not isinstance(node, dict) or "t" not in node:
            return [self.of(node)]
        if _is_comment(node):
            return []
        content: Any = node.get("c")
        match node["t"]:
            case "Str":
                return [_typst(f"#{_string(_breakable(content))};")]
            case "Code":
                return [_typst(f"#raw({_string(_breakable(content[1]))});")]
            case "CodeBlock":
                return [_typst_block(f"#raw(block: true, {_string(content[1])})")]
            case "RawInline" if content[0] == "html":
                return [_typst(f"#{_string(_breakable(content[1]))};")]
            case "RawBlock":
                return [_typst_block(f"#raw(block: true, {_string(content[1])})")]
            case "HorizontalRule":
                return [_typst_block("#rule()")]
            case "Link":
                return self._link(content)
            case "Image":
                return [self._image(content)]
            case "Table":
                return [self._table(content)]
        return [self.of(node)]

    def _link(self, content: list[Any]) -> list[Node]:
        _, inlines, (address, _) = content
        text = self.of(inlines)
        # On paper a link into the document or into a neighbouring folder leads nowhere; its text stays.
        if not address.startswith(("https://", "http://", "mailto:")):
            return text
        return [_typst(f"#link({_string(address)})["), *text, _typst("];")]

    def _image(self, content: list[Any]) -> Node:
        _, alternative, (address, _) = content
        if re.match(r"[a-z]+://|data:", address):
            raise DocumentError(f"{self.markdown_path}: the picture {address!r} is not a local file")
        path = self.markdown_path.parent / unquote(address)
        if not path.is_file():
            raise DocumentError(f"{self.markdown_path}: the picture {address!r} is missing")
        if path.suffix.lower() not in PICTURES:
            raise DocumentError(f"{self.markdown_path}: the picture {address!r} is none of {', '.join(PICTURES)}")
        if path not in self.pictures:
            self.pictures[path] = f"picture-{len(self.pictures) + 1}{path.suffix.lower()}"
            shutil.copyfile(path, self.folder / self.pictures[path])
        caption = _string(" ".join(_plain(alternative).split()))
        return _typst(f"#picture({_string(self.pictures[path])}, alt: {caption});")

    def _table(self, content: list[Any]) -> Node:
        attributes, caption, columns, head, bodies, foot = content
        headings = [_plain(cell).strip().lower() for row in head[1] for cell in row[1]]
        rows = [row for body in bodies for row in body[3]]
        widths = _widths([[_plain(cell[4]) for cell in row[1]] for row in [*head[1], *rows]])
        columns = [[alignment, width] for (alignment, _), width in zip(columns, widths, strict=True)]
        for row in rows:
            for heading, cell in zip(headings, row[1], strict=True):
                cell[4] = [_coloured(block, heading) for block in cell[4]]
        return {"t": "Table", "c": self.of([attributes, caption, columns, head, bodies, foot])}


def _widths(rows: list[list[str]]) -> list[Node]:
    """Widths of the columns as shares of the line; where all fits on one line, each column takes what it needs."""
    columns = list(zip(*rows, strict=True))
    needed = [max(map(len, cells)) + CHARACTERS_OF_PADDING for cells in columns]
    if sum(needed) <= CHARACTERS_A_LINE:
        return [{"t": "ColWidthDefault"} for _ in columns]
    # Columns below their fair share stay on one line. The others share the rest by the amount of their text, damped, so
    # that one column of long notes does not squeeze its neighbours to a word a line.
    fair = CHARACTERS_A_LINE / len(columns)
    narrow = [width if width <= fair else 0.0 for width in needed]
    rest = max(CHARACTERS_A_LINE - sum(narrow), 0.0)
    weights = [0.0 if fixed else sum(map(len, cells)) ** 0.5 for fixed, cells in zip(narrow, columns, strict=True)]
    shares = [fixed or rest * weight / sum(weights) for fixed, weight in zip(narrow, weights, strict=True)]
    floors = [
        max((min(len(word), LONGEST_UNBROKEN) for text in cells for word in text.split()), default=1)
        + CHARACTERS_OF_PADDING
        for cells in columns
    ]
    widths = [max(share, floor) for share, floor in zip(shares, floors, strict=True)]
    return [{"t": "ColWidth", "c": width / sum(widths)} for width in widths]


def _is_comment(node: Node) -> bool:
    return node["t"] in ("RawInline", "RawBlock") and node["c"][0] == "html" and node["c"][1].startswith("<!--")


def _coloured(block: Node, heading: str) -> Node:
    """A cell that is a verdict, or that opens with one in a column of verdicts, in the colour of the verdict."""
    words = _plain(block).strip().lower().split()
    whole = " ".join(words)
    word = whole if whole in VERDICTS else words[0].rstrip(".,;:") if words else ""
    if whole not in VERDICTS and len(words) > 1 and heading != "verdict":
        return block
    if block["t"] not in ("Plain", "Para") or word not in VERDICTS:
        return block
    return {"t": block["t"], "c": [_typst(f"#verdict({_string(word)})["), *block["c"], _typst("];")]}


def _plain(node: Any) -> str:
    """The words of a node without their marks."""
    if isinstance(node, list):
        return "".join(_plain(child) for child in node)
    if not isinstance(node, dict):
        return ""
    match node["t"]:
        case "Str":
            return str(node["c"])
        case "Code" | "RawInline":
            return str(node["c"][1])
        case "Space" | "SoftBreak" | "LineBreak":
            return " "
    return _plain(node.get("c"))


def _breakable(text: str) -> str:
    """Zero-width spaces in words that are longer than a narrow column, after a separator where there is one."""

    def divide(match: re.Match[str]) -> str:
        parts = re.findall(rf"[^/_.:=,-]{{1,{LONGEST_UNBROKEN}}}[/_.:=,-]*|[/_.:=,-]+", match.group())
        return "\u200b".join(parts)

    return re.sub(rf"\S{{{LONGEST_UNBROKEN + 1},}}", divide, text)


def _string(text: str) -> str:
    """A Typst string literal. Between the quotes only these characters mean anything to Typst."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\r\n", "\n").replace("\n", "\\n")
    return '"' + "".join(character if character >= " " else " " for character in escaped) + '"'


def _typst(code: str) -> Node:
    return {"t": "RawInline", "c": ["typst", code]}


def _typst_block(code: str) -> Node:
    return {"t": "RawBlock", "c": ["typst", code]}
