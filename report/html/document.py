"""A document as data, and as what a person opens: Markdown, and one HTML page that needs no network."""

import base64
import html
import re
from dataclasses import dataclass

from lagvis.report.text import escape_control

STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1b; --quiet: #5a5a5a; --line: #d5d5d5; --paper: #ffffff; --code: #f3f3f3 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8e8; --quiet: #a8a8a8; --line: #444444; --paper: #161616; --code: #242424 }
}
body { margin: 0 auto; max-width: 62rem; padding: 1rem 1.2rem 4rem; color: var(--ink); background: var(--paper);
  font: 1rem/1.5 system-ui, sans-serif }
h1 { font-size: 1.6rem; overflow-wrap: anywhere } h2 { font-size: 1.2rem; margin-top: 2.2rem }
figure { margin: 1rem 0 } img { max-width: 100%; height: auto; background: #ffffff; border-radius: 6px }
@media (max-width: 45rem) { figure { overflow-x: auto } img { max-width: 45rem } }
figcaption, caption { color: var(--quiet); font-size: .9rem; text-align: left }
.wide { overflow-x: auto } table { border-collapse: collapse; margin: .8rem 0; font-variant-numeric: tabular-nums }
th, td { padding: .2rem .9rem .2rem 0; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap }
th:first-child, td:first-child, thead th:first-child { text-align: left } th { font-weight: 600 }
th[scope=row] { white-space: normal; overflow-wrap: anywhere; min-width: 4rem }
td.text, th.text { text-align: left } p { overflow-wrap: anywhere }
pre { background: var(--code); padding: .8rem; white-space: pre-wrap; overflow-wrap: anywhere;
  border-radius: 6px; font-size: .85rem }
"""


@dataclass(frozen=True)
class Heading:
    """Of a section."""

    text: str


@dataclass(frozen=True)
class Paragraph:
    """A few sentences."""

    text: str


@dataclass(frozen=True)
class Table:
    """A head and rows of cells; the first column names the row, the first `left` columns are text.

    A document leaves out the columns that hold nothing in any row.
    """

    caption: str
    head: tuple[str, ...]
    rows: list[tuple[str, ...]]
    left: int = 1

    def filled(self) -> "Table":
        """Without its empty columns."""
        kept = [i for i in range(len(self.head)) if i == 0 or not self.rows or any(row[i] for row in self.rows)]
        head, *rows = (tuple(row[i] for i in kept) for row in (self.head, *self.rows))
        return Table(self.caption, head, rows, sum(i < self.left for i in kept))


@dataclass(frozen=True)
class Picture:
    """A PNG file beside the document, what it shows in words, and a caption."""

    name: str
    png: bytes
    alt: str
    caption: str


@dataclass(frozen=True)
class Code:
    """Lines as they stand, but for what is not to be seen."""

    text: str

    @property
    def lines(self) -> str:
        """As a document has them."""
        return "\n".join(map(escape_control, self.text.rstrip().split("\n")))


Block = Heading | Paragraph | Table | Picture | Code


def markdown(title: str, blocks: list[Block]) -> str:
    """The document as Markdown, its pictures linked."""
    return "\n\n".join([f"# {marked(title)}", *map(markdown_block, blocks)]) + "\n"


def marked(text: str) -> str:
    """Text that means in Markdown what it says."""
    return re.sub(r"([\\`*_\[\]<>|~#&$!])", r"\\\1", escape_control(text))


def markdown_block(block: Block) -> str:
    """One block."""
    match block:
        case Heading():
            return f"## {marked(block.text)}"
        case Paragraph():
            return marked(block.text)
        case Picture():
            return f"![{marked(block.alt)}]({block.name})\n\n{marked(block.caption)}"
        case Code():
            fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", block.text)), default=0))
            return f"{fence}\n{block.lines}\n{fence}"
        case Table():
            block = block.filled()
            rule = ["---" if i < block.left else "---:" for i in range(len(block.head))]
            lines = [[marked(cell) for cell in row] for row in (block.head, *block.rows)]
            table = "\n".join("| " + " | ".join(line) + " |" for line in (lines[0], rule, *lines[1:]))
            return f"{marked(block.caption)}\n\n{table}"


def page(title: str, blocks: list[Block]) -> str:
    """The document as one HTML page, its pictures inside; it asks for nothing, and a browser is told so."""
    name = said(title)
    body = "\n".join(map(html_block, blocks))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{name}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>{name}</h1>
{body}
</main>
</body>
</html>
"""


def html_block(block: Block) -> str:
    """One block."""
    match block:
        case Heading():
            return f"<h2>{said(block.text)}</h2>"
        case Paragraph():
            return f"<p>{said(block.text)}</p>"
        case Picture():
            source = f"data:image/png;base64,{base64.b64encode(block.png).decode()}"
            caption = f"<figcaption>{said(block.caption)}</figcaption>"
            return f'<figure><img src="{source}" alt="{said(block.alt)}">{caption}</figure>'
        case Code():
            return f"<pre>{html.escape(block.lines)}</pre>"
        case Table():
            block = block.filled()
            kinds = [' class="text"' if 0 < i < block.left else "" for i in range(len(block.head))]
            head = "".join(f'<th scope="col"{k}>{said(c)}</th>' for k, c in zip(kinds, block.head, strict=True))
            rows = "\n".join(
                f'<tr><th scope="row">{said(row[0])}</th>'
                + "".join(f"<td{kind}>{said(cell)}</td>" for kind, cell in zip(kinds[1:], row[1:], strict=True))
                + "</tr>"
                for row in block.rows
            )
            name = said(block.caption)
            inside = f"<caption>{name}</caption><thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody>"
            return f'<div class="wide" role="region" aria-label="{name}" tabindex="0"><table>{inside}</table></div>'


def said(text: str) -> str:
    """Text for a page."""
    return html.escape(escape_control(text))
