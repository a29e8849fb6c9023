"""Read a table as text (CSV and the like) with polars, in the dialect that data/tables/dialect.py detects.

polars parses the file as it is where its dialect is one that polars knows, at first straight into the types that the
first rows show. Cells of other types are read as text and converted column by column. A file of another dialect, or
one whose quotes or lines look wrong, is split line by line, which gives its cells or the sentence that says what is
wrong with it.
"""

import csv
import mmap
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from lagvis.data.files import GZIP_MAGIC
from lagvis.data.messages import pluralize, shorten
from lagvis.data.tables.cells import ParsedColumn, Stray, check_decimal_marks, check_names_among_numbers, parse_column
from lagvis.data.tables.dialect import Dialect, detect_dialect, is_missing, split_cells, strip_trailing
from lagvis.data.tables.frame import TableFrame
from lagvis.data.tables.layout import Layout, scan_layout
from lagvis.data.tables.text import REMEDY, open_maybe_gzip, read_lines
from lagvis.errors import DataError

if TYPE_CHECKING:
    import polars as pl

INTEGER = re.compile(r"\s*[+-]?(0|[1-9][0-9]{0,17})")
POINT_NUMBER = re.compile(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
FRACTION = re.compile(r"[.eE]")
BLOCK_ROWS = 50_000  # of a table that is split line by line


def read_csv(
    path: Path,
    label: str = "",
    training: TableFrame | None = None,
    *,
    text: Collection[str] = (),
    verbatim: Collection[str] = (),
    classes: Collection[str] = (),
    allow_single_column: bool = False,
    display_name: str = "",
) -> TableFrame:
    """Read a table as text.

    label                name of a column: a first line that holds it is a header
    training             training table: a first line with the names of its columns is a header
    text                 columns to read as text, whatever they hold, by name or number from 1
    verbatim             columns of which the cells are kept as they are written (007, NA), likewise
    classes              texts that are values, even those that otherwise stand for a missing one, as NA
    allow_single_column  take text of one column as a table
    display_name         stands for the path in messages
    Raises DataError, with the line, for lines that are no rows of the table.
    """
    dialect = detect_dialect(path, label, training, allow_single_column=allow_single_column, display_name=display_name)
    return read_dialect(path, dialect, text=text, verbatim=verbatim, classes=classes)


def read_dialect(
    path: Path,
    dialect: Dialect,
    *,
    text: Collection[str] = (),
    verbatim: Collection[str] = (),
    classes: Collection[str] = (),
) -> TableFrame:
    """Read a table as text whose dialect is known; the other arguments are those of `read_csv`."""
    kept = text_columns(dialect, verbatim)
    texts = text_columns(dialect, text) | kept
    frame = read_directly(dialect, texts)
    if frame is None:
        frame = split_by_line(dialect)
    if not frame.height:
        raise DataError(f"{dialect.file.name} holds a header and no rows; expected a row a line")
    locate = RowLines(dialect)
    parsed = {
        c: ParsedColumn(empty_to_null(frame.get_column(str(c))))
        if c in kept
        else parse_column(frame.get_column(str(c)), dialect.separator, keep_text=c in texts, classes=classes)
        for c in range(len(dialect.names))
    }
    check_names_among_numbers(parsed, lambda row: row_cells(frame, row), dialect, locate)
    check_decimal_marks(parsed, dialect, locate)
    by_comma = any(column.decimal_comma is not None for column in parsed.values())
    strays = {c: StraySentence(dialect, locate, c, found.stray) for c, found in parsed.items() if found.stray}
    return TableFrame(
        frame.select([column.cells.alias(str(c)) for c, column in parsed.items()]),
        path,
        dialect.file.name,
        dialect.names,
        dialect.has_header,
        dialect.file.sha256,
        f"{dialect.describe()}, decimal {'comma' if by_comma else 'point'}",
        row_location=locate,
        strays=strays,
    )


def empty_to_null(cells: "pl.Series") -> "pl.Series":
    """Return cells of text, of which those that are empty are missing."""
    return cells.set(cells == "", None)


@dataclass
class RowLines:
    """Describe the line of a row; the lines are counted when a message needs one."""

    dialect: Dialect
    lines: list[int] = field(default_factory=list)
    _rest: Iterator[int] | None = None

    def __call__(self, row: int) -> str:
        """Return "line 17" for the row of this index."""
        if self._rest is None:
            self._rest = (line for line, _ in read_rows(self.dialect))
        self.lines.extend(islice(self._rest, max(0, row + 1 - len(self.lines))))
        return f"line {self.lines[row]}"


@dataclass(frozen=True)
class StraySentence:
    """Build the sentence about a cell that is no number in a column of numbers."""

    dialect: Dialect
    locate: RowLines
    c: int
    stray: Stray

    def __call__(self) -> str:
        """Return the sentence."""
        name = self.dialect.names[self.c] if self.dialect.has_header else str(self.c + 1)
        place = f"{self.dialect.file.name}, {self.locate(self.stray.row)}, {self.dialect.describe_column(self.c)}"
        remedy = f"correct it, or take the column as text with --category {shorten(name)}"
        return f"{place} is {shorten(self.stray.cell)!r}, {self.stray.reason}; {remedy}"


def text_columns(dialect: Dialect, given: Collection[str]) -> set[int]:
    """Return the indices of the columns that are to be read as text: given by name or number, also with commas."""
    wanted = {*given, *(part.strip() for name in given if name not in dialect.names for part in name.split(","))}
    folded = {name.casefold() for name in wanted}
    return {
        c
        for c, name in enumerate(dialect.names)
        if (dialect.has_header and name.casefold() in folded) or {str(c + 1), str(c - len(dialect.names))} & wanted
    }


def row_cells(frame: "pl.DataFrame", row: int) -> list[str]:
    """Return the cells of a row as texts without blanks at their ends; that of a missing cell is empty."""
    return ["" if cell is None else str(cell).strip() for cell in frame.row(row)]


def read_directly(dialect: Dialect, texts: Collection[int]) -> "pl.DataFrame | None":
    """Return the cells of a table as polars reads them; None where it would not read the file rightly."""
    if dialect.separator == " ":
        return None
    with utf8_content(dialect) as content:
        layout = scan_layout(memoryview(content)[row_offset(content, dialect) :], dialect.separator)
        if layout.has_stray_quotes or layout.has_lone_returns or layout.has_long_lines:
            return None
        for schema in schemas(dialect, texts):
            frame = parse_content(content, dialect, schema)
            if frame is not None and is_typed_rightly(frame, layout):
                return complete_rows(frame, layout, dialect)
    return None


@contextmanager
def utf8_content(dialect: Dialect) -> "Iterator[bytes | mmap.mmap]":
    """Yield the bytes of a file in UTF-8: those of the file itself where they are."""
    file = dialect.file
    with file.path.open("rb") as plain:
        packed = plain.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        if file.encoding.startswith("utf-8") and not packed:
            with mmap.mmap(plain.fileno(), 0, access=mmap.ACCESS_READ) as content:
                yield content
            return
    with open_maybe_gzip(file.path, file.name) as unpacked:
        decoded = unpacked.read()
    if not file.encoding.startswith("utf-8"):
        try:
            decoded = decoded.decode(file.encoding).encode()
        except UnicodeError as error:
            raise DataError(f"{file.name} is not text in {file.encoding} ({error}); {REMEDY}") from None
    yield decoded


def row_offset(content: "bytes | mmap.mmap", dialect: Dialect) -> int:
    """Return the index of the byte at which the first row begins."""
    offset = 0
    for _ in range(dialect.first_row_line - dialect.file.first_line):
        offset = content.find(b"\n", offset) + 1
    return offset


def schemas(dialect: Dialect, texts: Collection[int]) -> "Iterator[Mapping[str, pl.DataType]]":
    """Yield types of the columns to try: those of the first rows, then text."""
    import polars as pl

    extra = {f"empty {i}": pl.String() for i in range(dialect.trailing_delimiters)}
    columns = range(len(dialect.names))
    types = {str(c): pl.String() if c in texts else sample_type(dialect, c) for c in columns}
    yield types | extra
    if any(dtype != pl.String for dtype in types.values()):
        yield {str(c): pl.String() for c in columns} | extra


def sample_type(dialect: Dialect, c: int) -> "pl.DataType":
    """Return the type of a column by the first rows."""
    import polars as pl

    cells = [row[c] for row in dialect.sample if len(row) > c and not is_missing(row[c])]
    if not cells or not all(map(POINT_NUMBER.fullmatch, cells)):
        return pl.String()
    if all(map(INTEGER.fullmatch, cells)):
        return pl.Int64()
    return pl.Float64() if any(map(FRACTION.search, cells)) else pl.String()


def parse_content(
    content: "bytes | mmap.mmap", dialect: Dialect, schema: "Mapping[str, pl.DataType]"
) -> "pl.DataFrame | None":
    """Return the rows of a table parsed by polars; None where a cell does not fit its type or a row its columns."""
    import polars as pl

    try:
        return pl.read_csv(
            bytes(content) if isinstance(content, mmap.mmap) else content,
            has_header=False,
            skip_lines=dialect.first_row_line - dialect.file.first_line,
            separator=dialect.separator,
            schema=schema,
        )
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None


def is_typed_rightly(frame: "pl.DataFrame", layout: Layout) -> bool:
    """Tell whether numbers were read as they are meant: no code such as 007, and nothing infinite or not a number."""
    import polars.selectors as cs

    if layout.has_leading_zeros and frame.select(cs.integer()).width:
        return False
    return all(numbers.is_finite().all() for numbers in frame.select(cs.float()))


def complete_rows(frame: "pl.DataFrame", layout: Layout, dialect: Dialect) -> "pl.DataFrame | None":
    """Return the rows without those that are empty; None where a row may be too short, or has too many cells.

    polars fills the cells that a row lacks with null.
    """
    import polars as pl

    width = len(dialect.names)
    extra = frame.columns[width:]
    if extra:
        filled = frame.select(pl.col(extra).str.strip_chars().fill_null("").ne("").any())
        if any(filled.row(0)):
            return None
        frame = frame.select(frame.columns[:width])
    if not frame.get_column(str(width - 1)).null_count():
        return frame
    lacking = (frame.height - layout.blank_lines) * (width - 1 + len(extra)) - layout.separators
    if width > 1 and (lacking or layout.quotes):
        return None
    empty = [
        pl.col(name).str.strip_chars().fill_null("").eq("") if dtype == pl.String else pl.col(name).is_null()
        for name, dtype in frame.schema.items()
    ]
    return frame.filter(~pl.all_horizontal(empty))


def split_by_line(dialect: Dialect) -> "pl.DataFrame":
    """Return the cells of a table as text, split line by line; DataError for a line that is no row of it."""
    import polars as pl

    schema = {str(c): pl.String() for c in range(len(dialect.names))}
    blocks = [pl.DataFrame(schema=schema)]
    rows = (cells for _, cells in read_rows(dialect))
    while block := list(islice(rows, BLOCK_ROWS)):
        blocks.append(pl.DataFrame(block, schema=schema, orient="row"))
    return pl.concat(blocks)


def read_rows(dialect: Dialect) -> Iterator[tuple[int, list[str]]]:
    """Yield the line and the cells of each row; DataError for a line that is no row of the table.

    Rows without any text, as spreadsheets leave them, are left out.
    """
    name, width = dialect.file.name, len(dialect.names)
    lines = (line for line in read_lines(dialect.file) if line[0] >= dialect.first_row_line)
    for line, whole in lines:
        trailing = dialect.trailing_delimiters
        text = strip_trailing(whole, dialect.separator, trailing) if trailing else whole
        try:
            cells = split_cells(dialect.file, line, text, dialect.separator)
        except csv.Error as error:
            raise DataError(f"{name}, line {line} cannot be read ({error}); correct its quotes") from None
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != width:
            is_last = next(lines, None) is None and len(cells) < width
            cut = "; it is the last line, and the file may be cut off" if is_last else ""
            raise DataError(
                f"{name}, line {line} has {pluralize(len(cells), 'field')}, expected {width} as elsewhere{cut}; "
                "correct the line"
            )
        yield line, cells
