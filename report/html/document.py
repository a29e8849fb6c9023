"""A document as a list of blocks, written as Markdown or as one HTML page that needs no network."""

import base64
import html
import re
from dataclasses import dataclass

from lagvis.report.text import escape_control

MAX_UNBROKEN_CELL = 20  # characters of a cell that stay on one line
STYLE = """
:root { color-scheme: light dark; --text: #1b1b1b; --muted: #5a5a5a; --line: #d5d5d5; --page: #ffffff; --code: #f3f3f3 }
@media screen and (prefers-color-scheme: dark) {
  :root { --text: #e8e8e8; --muted: #a8a8a8; --line: #444444; --page: #161616; --code: #242424 }
}
body { margin: 0 auto; max-width: 62rem; padding: 1rem 1.2rem 4rem; color: var(--text); background: var(--page);
  font: 1rem/1.5 system-ui, sans-serif }
h1 { font-size: 1.6rem; overflow-wrap: anywhere } h2 { font-size: 1.2rem; margin-top: 2.2rem }
figure { margin: 1rem 0 } img { max-width: 100%; height: auto; background: #ffffff; border-radius: 6px }
figcaption, caption { color: var(--muted); font-size: .9rem; text-align: left }
caption span { display: block; position: sticky; left: 0; max-width: calc(min(62rem, 100vw) - 3.6rem) }
.wide { overflow-x: auto } table { border-collapse: collapse; margin: .8rem 0; font-variant-numeric: tabular-nums }
th, td { padding: .2rem .9rem .2rem 0; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap;
  vertical-align: top }
th:first-child, td:first-child, thead th:first-child { text-align: left } th { font-weight: 600 }
.long { white-space: normal; overflow-wrap: anywhere; min-width: 10rem }
thead .long { overflow-wrap: break-word } td.text, th.text { text-align: left } p { overflow-wrap: anywhere }
pre { background: var(--code); padding: .8rem; white-space: pre-wrap; overflow-wrap: anywhere;
  border-radius: 6px; font-size: .85rem }
@media print {
  body { padding: 0 } .wide { overflow: visible } th, td { white-space: normal }
  .long { min-width: 0 } h2, caption, thead { break-after: avoid } figure, tr { break-inside: avoid }
  img { max-height: 22cm }
}
"""


@dataclass(frozen=True)
class Heading:
    """The heading of a section."""

    text: str


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of plain text."""

    text: str


@dataclass(frozen=True)
class Table:
    """A header and rows of cells; the first column names the row, the first `left` columns are text.

    A document leaves out columns that are empty in every row.
    """

    caption: str
    head: tuple[str, ...]
    rows: list[tuple[str, ...]]
    left: int = 1

    def without_empty_columns(self) -> "Table":
        """Return the table without the columns that are empty in every row; a table without rows keeps its header."""
        kept = [i for i in range(len(self.head)) if i == 0 or not self.rows or any(row[i] for row in self.rows)]
        head, *rows = (tuple(row[i] for i in kept) for row in (self.head, *self.rows))
        return Table(self.caption, head, rows, sum(i < self.left for i in kept))


@dataclass(frozen=True)
class Figure:
    """A PNG file beside the document, with its description for readers who cannot see it, and a caption."""

    name: str
    png: bytes
    alt: str
    caption: str


@dataclass(frozen=True)
class Code:
    """Preformatted lines."""

    text: str

    @property
    def escaped(self) -> str:
        """The lines with an escape for each character that is not printable."""
        return "\n".join(map(escape_control, self.text.rstrip().split("\n")))


Block = Heading | Paragraph | Table | Figure | Code


def to_markdown(title: str, blocks: list[Block]) -> str:
    """Return the document as Markdown that links its figures."""
    return "\n\n".join([f"# {escape_markdown(title)}", *map(markdown_block, blocks)]) + "\n"


def escape_markdown(text: str) -> str:
    """Return text with a backslash before each character that has a meaning in Markdown."""
    return re.sub(r"([\\`*_\[\]<>|~#&$!])", r"\\\1", escape_control(text))


def markdown_block(block: Block) -> str:
    """Return one block as Markdown."""
    match block:
        case Heading():
            return f"## {escape_markdown(block.text)}"
        case Paragraph():
            return escape_markdown(block.text)
        case Figure():
            return f"![{escape_markdown(block.alt)}]({block.name})\n\n{escape_markdown(block.caption)}"
        case Code():
            fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", block.text)), default=0))
            return f"{fence}\n{block.escaped}\n{fence}"
        case Table():
            return markdown_table(block.without_empty_columns())


def markdown_table(table: Table) -> str:
    """Return a table as Markdown, below its caption."""
    rule = ["---" if i < table.left else "---:" for i in range(len(table.head))]
    head, *rows = ([escape_markdown(cell) for cell in row] for row in (table.head, *table.rows))
    lines = "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *rows))
    return f"{escape_markdown(table.caption)}\n\n{lines}"


def to_html(title: str, blocks: list[Block]) -> str:
    """Return the document as one HTML page with its figures inside.

    The page requests nothing, and its Content-Security-Policy forbids every request.
    """
    name = escape_html(title)
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
    """Return one block as HTML."""
    match block:
        case Heading():
            return f"<h2>{escape_html(block.text)}</h2>"
        case Paragraph():
            return f"<p>{escape_html(block.text)}</p>"
        case Figure():
            source = f"data:image/png;base64,{base64.b64encode(block.png).decode()}"
            caption = f"<figcaption>{escape_html(block.caption)}</figcaption>"
            return f'<figure><img src="{source}" alt="{escape_html(block.alt)}">{caption}</figure>'
        case Code():
            return f"<pre>{html.escape(block.escaped)}</pre>"
        case Table():
            return html_table(block.without_empty_columns())


def html_table(table: Table) -> str:
    """Return a table as HTML, in a region that scrolls where the table is wider than the page."""
    head = "".join(html_cell("th", cell, i, table.left, ' scope="col"') for i, cell in enumerate(table.head))
    rows = "\n".join(
        "<tr>"
        + html_cell("th", row[0], 0, table.left, ' scope="row"')
        + "".join(html_cell("td", cell, i, table.left) for i, cell in enumerate(row[1:], start=1))
        + "</tr>"
        for row in table.rows
    )
    name = escape_html(table.caption)
    inside = f"<caption><span>{name}</span></caption><thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody>"
    return f'<div class="wide" role="region" aria-label="{name}" tabindex="0"><table>{inside}</table></div>'


def html_cell(tag: str, text: str, column: int, left: int, scope: str = "") -> str:
    """Return one cell of a table whose first `left` columns are text; long text may break."""
    classes = [name for name, holds in (("text", 0 < column < left), ("long", len(text) > MAX_UNBROKEN_CELL)) if holds]
    kind = f' class="{" ".join(classes)}"' if classes else ""
    return f"<{tag}{scope}{kind}>{escape_html(text)}</{tag}>"


def escape_html(text: str) -> str:
    """Return text for HTML, with an escape for each character that is not printable."""
    return html.escape(escape_control(text))
