"""Read a table as text (CSV and the like) with polars, in the dialect that data/tables/dialect.py detects.

polars parses the file as it is where its dialect is one that polars knows, at first straight into the types that the
first rows show. Cells of other types are read as text and converted column by column. A file of another dialect, or
one whose quotes or lines look wrong, is split line by line, which gives its cells or the sentence that says what is
wrong with it.
"""

import csv
import io
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from lagvis.data.messages import pluralize
from lagvis.data.tables.cells import (
    ParsedColumn,
    StraySentence,
    check_decimal_marks,
    check_names_among_numbers,
    parse_column,
)
from lagvis.data.tables.dialect import Dialect, dialect_of, is_missing, split_cells, strip_trailing
from lagvis.data.tables.feature_type import MIN_PIXELS
from lagvis.data.tables.frame import TableFrame
from lagvis.data.tables.hints import NO_HINTS, TableHints
from lagvis.data.tables.layout import Layout, LayoutScanner, count_separators
from lagvis.data.tables.text import (
    CHUNK_BYTES,
    REMEDY,
    TextFile,
    inspect_start,
    inspect_text,
    open_maybe_gzip,
    read_lines,
    text_checker,
)
from lagvis.errors import DataError

if TYPE_CHECKING:
    import polars as pl

# Cells that polars parses as numbers, with a decimal point or comma.
INTEGER = re.compile(r" *[+-]?(0|[1-9][0-9]{0,17})")
NUMBER = re.compile(r" *[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
NUMBER_WITH_COMMA = re.compile(r" *[+-]?([0-9]+,?[0-9]*|,[0-9]+)([eE][+-]?[0-9]+)?")
FRACTION = re.compile(r"[.,eE]")
BLOCK_ROWS = 50_000  # of a table that is split line by line


def read_csv(
    path: Path,
    label: str = "",
    hints: TableHints = NO_HINTS,
    *,
    display_name: str = "",
) -> TableFrame:
    """Read a table as text.

    label         name of a column: a first line that holds it is a header
    display_name  stands for the path in messages
    Raises DataError, with the line, for lines that are no rows of the table.
    """

    def detect(file: TextFile) -> Dialect:
        return dialect_of(file, label, hints.training, allow_single_column=hints.allow_single_column)

    dialect, frame = read_cells(path, display_name, detect, {*hints.text, *hints.verbatim})
    return table_frame(path, dialect, frame, hints)


def read_dialect(path: Path, dialect: Dialect, hints: TableHints) -> TableFrame:
    """Read a table as text whose dialect is known; the other arguments are those of `read_csv`."""
    frame = parse_decoded(dialect, text_columns(dialect, {*hints.text, *hints.verbatim}))
    if frame is None:
        frame = split_by_line(dialect)
    return table_frame(path, dialect, frame, hints)


def table_frame(path: Path, dialect: Dialect, frame: "pl.DataFrame", hints: TableHints) -> TableFrame:
    """Return a table of cells, those of text columns parsed by what they hold."""
    import polars as pl

    kept = text_columns(dialect, hints.verbatim)
    texts = text_columns(dialect, hints.text) | kept
    if not frame.height:
        raise DataError(f"{dialect.file.name} holds a header and no rows; expected a row a line")
    locate = RowLines(dialect)
    parsed: dict[int, ParsedColumn] = {}
    for c in range(len(dialect.names)):
        cells = frame.get_column(str(c))
        if c in kept:
            parsed[c] = ParsedColumn(empty_to_null(cells))
        elif cells.dtype == pl.String:
            parsed[c] = parse_column(cells, dialect.separator, keep_text=c in texts, classes=hints.classes)
        else:
            row = 0 if cells.dtype.is_float() else None
            by_comma = dialect.has_decimal_comma
            parsed[c] = ParsedColumn(
                cells, decimal_comma=row if by_comma else None, decimal_point=None if by_comma else row
            )
    check_names_among_numbers(parsed, lambda row: row_cells(frame, row), dialect, locate)
    check_decimal_marks(parsed, dialect, locate)
    by_comma = any(column.decimal_comma is not None for column in parsed.values())
    strays = {
        c: StraySentence(
            dialect.file.name,
            locate,
            dialect.describe_column(c),
            found.stray,
        )
        for c, found in parsed.items()
        if found.stray
    }
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
    """Return cells of text with the empty ones as missing."""
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


def read_cells(
    path: Path, display_name: str, detect: Callable[[TextFile], Dialect], text: Collection[str]
) -> "tuple[Dialect, pl.DataFrame]":
    """Return the dialect of a table and its cells, those of the columns `text` as text; the others may have types.

    A file that begins as UTF-8 is checked in a thread while polars parses it.
    """
    if start := inspect_start(path, display_name):
        try:
            dialect = detect(start)
        except DataError:  # the check of the whole file comes first
            pass
        else:
            file, frame = parse_file(dialect, text_columns(dialect, text))
            if file.encoding == start.encoding:
                dialect = replace(dialect, file=file)
                return dialect, split_by_line(dialect) if frame is None else frame
    dialect = detect(inspect_text(path, display_name))
    frame = parse_decoded(dialect, text_columns(dialect, text))
    return dialect, split_by_line(dialect) if frame is None else frame


def parse_file(dialect: Dialect, texts: Collection[int]) -> "tuple[TextFile, pl.DataFrame | None]":
    """Parse a plain file in UTF-8 with polars, and check its bytes; None for a table that polars cannot read rightly.

    DataError for a file that is no text.
    """
    path = dialect.file.path
    schema = sample_schema(dialect, texts)
    with ThreadPoolExecutor(1) as pool:
        check = pool.submit(check_file, dialect, layout_scanner(dialect, schema))
        typed = None if dialect.separator == " " else parse_typed(path, dialect, schema)
        file, layout = check.result()
    return file, choose_frame(path, dialect, layout, typed)


def parse_decoded(dialect: Dialect, texts: Collection[int]) -> "pl.DataFrame | None":
    """Parse a file in another encoding, or a packed one, with polars; None where it cannot read it rightly."""
    if dialect.separator == " ":
        return None
    with open_maybe_gzip(dialect.file.path, dialect.file.name) as file:
        content = file.read()
    if not dialect.file.encoding.startswith("utf-8"):
        try:
            content = content.decode(dialect.file.encoding).encode()
        except UnicodeError as error:
            raise DataError(f"{dialect.file.name} is not text in {dialect.file.encoding} ({error}); {REMEDY}") from None
    schema = sample_schema(dialect, texts)
    scanner = layout_scanner(dialect, schema)
    for chunk in read_chunks(content):
        scanner.feed(chunk)
    return choose_frame(content, dialect, scanner.finish(), parse_typed(content, dialect, schema))


def check_file(dialect: Dialect, scanner: LayoutScanner) -> tuple[TextFile, Layout]:
    """Read a plain file once: check that it is text, and scan its layout."""
    checker = text_checker(dialect.file.path, dialect.file.name)
    for chunk in read_chunks(dialect.file.path):
        checker.feed(chunk)
        scanner.feed(chunk)
    return checker.finish(dialect.file.path), scanner.finish()


def read_chunks(content: Path | bytes) -> Iterator[bytes]:
    """Yield the bytes of a plain file, or bytes, in chunks."""
    with content.open("rb") if isinstance(content, Path) else io.BytesIO(content) as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def layout_scanner(dialect: Dialect, schema: "Mapping[str, pl.DataType]") -> LayoutScanner:
    """Return a scanner of what matters for columns of these types."""
    return LayoutScanner(
        dialect.separator,
        dialect.lines_above,
        find_zeros=any(dtype.is_integer() for dtype in schema.values()),
        find_points=dialect.has_decimal_comma,
        find_controls=not dialect.file.encoding.startswith("utf-8"),
    )


def choose_frame(
    content: Path | bytes, dialect: Dialect, layout: Layout, typed: "pl.DataFrame | None"
) -> "pl.DataFrame | None":
    """Return the cells as they were parsed by type, if rightly so, else as text; None where neither is right."""
    if dialect.separator == " " or not layout.is_regular:
        return None
    if typed is not None and is_typed_rightly(typed, layout):
        complete = complete_rows(typed, layout, content, dialect)
        # A row of missing cells, as NA, is a row; an empty line is not.
        if complete is not None and (complete.height == typed.height or not missing_words(dialect)):
            return complete
    schema = sample_schema(dialect, range(len(dialect.names)))
    as_text = parse_with_polars(content, dialect, schema)
    return None if as_text is None else complete_rows(as_text, layout, content, dialect)


def sample_schema(dialect: Dialect, texts: Collection[int]) -> "dict[str, pl.DataType]":
    """Return the type of each column by the first rows; text for the columns `texts`, and for empty ones at the end."""
    import polars as pl

    columns = range(len(dialect.names))
    types = {str(c): pl.String() if c in texts else sample_type(dialect, c) for c in columns}
    if len(types) > MIN_PIXELS and all(are_byte_cells(dialect, c) for c in columns if c not in texts):
        types = {name: pl.UInt8() if dtype == pl.Int64 else dtype for name, dtype in types.items()}
    return types | {f"empty {i}": pl.String() for i in range(dialect.trailing_delimiters)}


def sample_cells(dialect: Dialect, c: int) -> set[str]:
    """Return the texts of a column in the first rows that stand for a value."""
    return {row[c] for row in dialect.sample if len(row) > c and not is_missing(row[c])}


def sample_type(dialect: Dialect, c: int) -> "pl.DataType":
    """Return the type of a column by the first rows."""
    import polars as pl

    cells = sample_cells(dialect, c)
    if not cells or not all(map(NUMBER_WITH_COMMA.fullmatch if dialect.has_decimal_comma else NUMBER.fullmatch, cells)):
        return pl.String()
    if all(map(INTEGER.fullmatch, cells)):
        return pl.Int64()
    return pl.Float64() if any(map(FRACTION.search, cells)) else pl.String()


def are_byte_cells(dialect: Dialect, c: int) -> bool:
    """Tell whether the first cells of a column are whole numbers 0..255."""
    return all(cell.isdecimal() and int(cell) < 256 for cell in sample_cells(dialect, c))


def parse_typed(content: Path | bytes, dialect: Dialect, schema: "Mapping[str, pl.DataType]") -> "pl.DataFrame | None":
    """Return the rows of a table with columns of these types, or of wider whole numbers; None where they do not fit."""
    import polars as pl

    frame = parse_with_polars(content, dialect, schema)
    if frame is not None or pl.UInt8 not in schema.values():
        return frame
    wider = {name: pl.Int64() if dtype == pl.UInt8 else dtype for name, dtype in schema.items()}
    return parse_with_polars(content, dialect, wider)


def missing_words(dialect: Dialect) -> set[str]:
    """Return how the first rows write a missing cell that is not empty."""
    return {cell.strip() for row in dialect.sample for cell in row if is_missing(cell)} - {""}


def parse_with_polars(
    content: Path | bytes, dialect: Dialect, schema: "Mapping[str, pl.DataType]"
) -> "pl.DataFrame | None":
    """Return the rows of a table parsed by polars; None where a cell does not fit its type or a row its columns."""
    import polars as pl

    words = missing_words(dialect)
    numbers = [str(c) for c in range(len(dialect.names)) if schema[str(c)] != pl.String]
    try:
        return pl.read_csv(
            content,
            has_header=False,
            skip_lines=dialect.lines_above,
            separator=dialect.separator,
            schema=schema,
            null_values={c: word for c in numbers for word in words} if len(words) == 1 else None,
            decimal_comma=dialect.has_decimal_comma,
            glob=False,
        )
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None


def is_typed_rightly(frame: "pl.DataFrame", layout: Layout) -> bool:
    """Tell whether numbers were read correctly: no code such as 007, nothing infinite, one decimal mark."""
    import polars.selectors as cs

    if layout.has_points or (layout.has_leading_zeros and frame.select(cs.integer()).width):
        return False
    numbers = frame.select(cs.float())
    # The sum is quick, but may overflow.
    if not numbers.width or all(map(math.isfinite, numbers.sum().row(0))):
        return True
    return all(column.is_finite().all() for column in numbers)


def complete_rows(
    frame: "pl.DataFrame", layout: Layout, content: Path | bytes, dialect: Dialect
) -> "pl.DataFrame | None":
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
    if width > 1:
        separators, blank_lines = count_separators(read_chunks(content), dialect.separator, dialect.lines_above)
        if layout.quotes or separators != (frame.height - blank_lines) * (width - 1 + len(extra)):
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
