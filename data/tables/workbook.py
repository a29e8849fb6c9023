"""Read a sheet of a workbook, Excel (.xlsx, .xlsm, .xlsb, .xls) or OpenDocument (.ods), with calamine.

The table of a sheet may stand anywhere in it, with remarks above its header. Cells with an error, such as #N/A, are
missing; formulas have the value that the program which wrote the file computed.
"""

import datetime
import io
import re
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from lagvis.arrays import MAX_EXACT_INT
from lagvis.data.messages import list_names, nearest_name, pluralize, shorten
from lagvis.data.tables.frame import TableFrame
from lagvis.data.tables.typed_table import TableSource, decode_errors, typed_table
from lagvis.errors import DataError
from lagvis.option_text import option

if TYPE_CHECKING:
    import polars as pl

MAX_UNPACKED_RATIO, MIN_UNPACKED_LIMIT = 200, 2**26  # of the parts of a workbook that is a zip archive
BYTES_PER_CELL = 32  # that calamine keeps of each cell between the first and the last
MAX_CELL_RATIO, MIN_CELL_LIMIT = 1000, 2**26
CELL_IN_ROW = re.compile(rb'<(?:\w+:)?c\b[^>]*?\br="([A-Z]{1,3})([0-9]{1,7})"')
REPEATED = re.compile(rb'number-(?:rows|columns)-repeated="([0-9]+)"')
ENCRYPTED = "EncryptedPackage".encode("utf-16-le")
NUMBER_TEXT = re.compile(r"[+-]?[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]{4}-[0-9]{2}-[0-9]{2}.*|true|false")
YEAR = re.compile(r"(19|20)[0-9]{2}")
HEADER_SAMPLE = 100  # rows below a row that may be a header
UNNAMED = re.compile(r"__UNNAMED__([0-9]+)")
FIRST_YEAR = 1900  # of Excel's calendar: a time of day is a fraction of the day before it
REMEDY = "open it in a spreadsheet program and save it again"


def read_workbook(source: TableSource) -> TableFrame:
    """Read the sheet that the options name, else that of the hints if the workbook has it, else the only filled one."""
    try:
        import fastexcel
    except ImportError as error:
        raise DataError(
            f"{source.name} is a workbook, and reading it needs the package fastexcel ({error}); pip install -e "
            "'.[excel]', or save the sheet as CSV in UTF-8"
        ) from None
    content = source.path.read_bytes()
    check_content(source.name, content)
    with decode_errors(source.name, "a workbook", REMEDY):
        reader = fastexcel.read_excel(content)
        sheet, cells = choose_sheet(source, reader)
        layout = SheetLayout(source, sheet, cells)
        columns = load_columns(reader, sheet, layout)
    names = layout.names
    return typed_table(
        source,
        columns,
        names,
        f"sheet {shorten(sheet)}, {layout.describe()}",
        row_location=lambda index: f"sheet {shorten(sheet)}, row {layout.rows[index] + 1}",
        has_header=layout.header is not None,
        notices=layout.notices,
    )


def check_content(name: str, content: bytes) -> None:
    """Raise DataError for a workbook with a password, and for one that would fill the memory."""
    if ENCRYPTED in content[: 2**20] or ENCRYPTED in content[-(2**20) :]:
        raise DataError(f"{name} is protected with a password; save it without one")
    if not content.startswith(b"PK"):
        return
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            parts = archive.infolist()
            unpacked = sum(part.file_size for part in parts)
            if unpacked > max(MIN_UNPACKED_LIMIT, len(content) * MAX_UNPACKED_RATIO):
                raise DataError(f"{name} claims {unpacked:,} bytes unpacked from {len(content):,}; {REMEDY}")
            for part in parts:
                if part.filename.lower().startswith("xl/worksheets/") and part.filename.lower().endswith(".xml"):
                    check_extent(name, archive, part, len(content))
                elif part.filename == "content.xml":
                    check_repeats(name, archive, part, len(content))
    except (DataError, MemoryError):
        raise
    except Exception as error:  # zipfile raises many types for broken bytes
        raise DataError(f"{name} cannot be read as a workbook ({error}); {REMEDY}") from None


def check_extent(name: str, archive: zipfile.ZipFile, part: zipfile.ZipInfo, size: int) -> None:
    """Raise DataError for a sheet with a cell so far out that all cells up to it would not fit into the memory."""
    n_rows = n_columns = 0
    rest = b""
    with archive.open(part) as file:
        while chunk := file.read(2**20):
            *rows, rest = (rest + chunk).split(b"</row>")
            for row in (*rows, rest):
                for cell in CELL_IN_ROW.finditer(row, max(0, row.rfind(b"<", 0, row.rfind(b' r="')))):
                    n_rows, n_columns = max(n_rows, int(cell[2])), max(n_columns, column_number(cell[1]))
    if n_rows * n_columns * BYTES_PER_CELL > max(MIN_CELL_LIMIT, size * MAX_CELL_RATIO):
        raise DataError(
            f"{name} has a sheet ({part.filename}) of {n_rows:,} rows and {n_columns:,} columns in {size:,} bytes; "
            "delete the cells far from the table"
        )


def check_repeats(name: str, archive: zipfile.ZipFile, part: zipfile.ZipInfo, size: int) -> None:
    """Raise DataError for a sheet of OpenDocument that repeats cells with content too often."""
    with archive.open(part) as file:
        content = file.read()
    # The empty rows and columns behind a table are repeated up to the end of the sheet, and cost nothing.
    most = 1
    for row in content.split(b"</table:table-row>"):
        for cell in row.split(b"</table:table-cell>"):
            start = cell.rfind(b"<table:table-cell")
            if start >= 0 and cell.endswith(b"</text:p>"):
                repeats = REPEATED.search(cell, start)
                most = max(most, int(repeats[1][:18]) if repeats else 1)
    if most * BYTES_PER_CELL > max(MIN_CELL_LIMIT, size * MAX_CELL_RATIO):
        raise DataError(f"{name} repeats a cell {most:,} times; delete the cells far from the table")


def column_number(letters: bytes) -> int:
    """Return the number of a column, from 1: A is 1, AA is 27."""
    number = 0
    for letter in letters:
        number = 26 * number + letter - 64
    return number


def choose_sheet(source: TableSource, reader: Any) -> "tuple[str, pl.DataFrame]":
    """Return the name of a sheet, by name or number or the only one with content, and its cells as text."""
    names = list(reader.sheet_names)
    default_sheet = source.hints.default_sheet
    wanted = source.options.sheet or (default_sheet if default_sheet in names else "")
    if wanted:
        if wanted not in names:
            folded = [name for name in names if name.strip().casefold() == wanted.strip().casefold()]
            number = int(wanted) if re.fullmatch(r"[0-9]{1,4}", wanted) else 0
            if len(folded) != 1 and not 1 <= number <= len(names):
                near = nearest_name(wanted, names)
                raise DataError(
                    f"{source.name} has no sheet {shorten(wanted)!r}; it has {list_names(names)}"
                    f"{f': did you mean {near}?' if near else '; name one of them'}"
                )
            wanted = folded[0] if len(folded) == 1 else names[number - 1]
        cells = text_cells(reader, wanted)
        if not cells.height:
            raise DataError(
                f"{source.name}: the sheet {shorten(wanted)!r} is empty; choose another with {option('sheet')}"
            )
        return wanted, cells
    sheets = {name: reader.load_sheet(name, header_row=None, n_rows=1, dtypes="string") for name in names}
    filled = [name for name, sheet in sheets.items() if sheet.total_height]
    filled = [name for name in filled if sheets[name].visible == "visible"] or filled
    if not filled:
        raise DataError(f"{source.name} has no sheet with content; expected a table")
    if len(filled) > 1:
        raise DataError(
            f"{source.name} has several sheets with content: {list_names(filled)}; choose one with "
            f"{option('sheet', filled[0])}"
        )
    return filled[0], text_cells(reader, filled[0])


def text_cells(reader: Any, sheet: str) -> "pl.DataFrame":
    """Return the cells of a sheet from its first row on as text; null where one is empty or blank."""
    import polars as pl

    frame: pl.DataFrame = reader.load_sheet(
        sheet, header_row=None, skip_rows=0, dtypes="string", whitespace_as_null=True
    ).to_polars()
    return frame


class SheetLayout:
    """Where the table of a sheet stands.

    header   index of the row with the names, None without one
    columns  indices of the columns that belong to the table
    rows     indices of its rows in the sheet
    notices  on rows that are left out
    """

    def __init__(self, source: TableSource, sheet: str, cells: "pl.DataFrame") -> None:
        """Find the table; DataError where rows below an empty one do not belong to it."""
        filled = cells.select(column.is_not_null() for column in cells).to_numpy()
        counts = filled.sum(axis=1)
        wide = np.flatnonzero(counts >= max(1, counts.max() / 2))
        first = int(wide[0])
        self.notices: list[str] = []
        above = np.flatnonzero(counts[:first])
        if len(above):
            text = next(cell for cell in cells.row(int(above[0])) if cell is not None)
            self.notices.append(
                f"{source.short_name}: {pluralize(len(above), 'row')} of remarks above the table left out, the first "
                f"in row {above[0] + 1} ({shorten(text)!r})."
            )
        self.reject_rows_below(source, sheet, cells, counts, first)
        self.columns = [int(c) for c in np.flatnonzero(filled[first:].any(axis=0))]
        is_header = looks_like_header(source, cells, first, self.columns)
        self.header = first if is_header else None
        self.names = [cells[first, c] or "" if is_header else "" for c in self.columns]
        start = first + 1 if is_header else first
        self.rows = start + np.flatnonzero(filled[start:].any(axis=1))

    def reject_rows_below(
        self, source: TableSource, sheet: str, cells: "pl.DataFrame", counts: np.ndarray, first: int
    ) -> None:
        """Raise DataError for a row below an empty one that has less than half of the cells of the others."""
        below_empty = np.concatenate([[False], np.cumsum(counts[first:] == 0)[:-1] > 0])
        narrow = np.flatnonzero(below_empty & (counts[first:] > 0) & (counts[first:] < counts.max() / 2))
        if len(narrow):
            row = first + int(narrow[0])
            text = next(cell for cell in cells.row(row) if cell is not None)
            raise DataError(
                f"{source.name}, sheet {shorten(sheet)}, row {row + 1} ({shorten(text)!r}) stands below an empty row "
                "and does not look like a row of the table; remove it, or move it to another sheet"
            )

    def describe(self) -> str:
        """Return the place of the header in words."""
        return "no header" if self.header is None else f"a header in row {self.header + 1}"


def looks_like_header(source: TableSource, cells: "pl.DataFrame", row: int, columns: list[int]) -> bool:
    """Tell whether a row holds names: text above numbers, nothing but text, years, or a name that is looked for."""
    names = [(cells[row, c] or "").strip() for c in columns]
    if {*source.hints.column_names, source.options.label} & {*filter(None, names)}:
        return True
    is_text = [bool(name) and not NUMBER_TEXT.fullmatch(name) for name in names]
    if all(text or not name for text, name in zip(is_text, names, strict=True)):
        return True
    below = cells[row + 1 : row + 1 + HEADER_SAMPLE]
    values = [[value.strip() for value in below.to_series(c).drop_nulls().to_list()] for c in columns]
    if any(
        text and found and all(map(NUMBER_TEXT.fullmatch, found)) for text, found in zip(is_text, values, strict=True)
    ):
        return True
    numbers = [name for name, text in zip(names, is_text, strict=True) if name and not text]
    years = all(map(YEAR.fullmatch, numbers)) and len({*numbers}) == len(numbers) > 1
    return years and any(is_text) and not any(map(YEAR.fullmatch, (value for found in values for value in found)))


def load_columns(reader: Any, sheet: str, layout: SheetLayout) -> "list[pl.Series]":
    """Return the columns of the table with the types of their cells; a column of several types is text."""
    if not len(layout.rows):
        return [empty_column() for _ in layout.columns]
    first, last = int(layout.rows[0]), int(layout.rows[-1])
    as_text: dict[int, str] = {}
    while True:
        try:
            loaded = reader.load_sheet(
                sheet,
                header_row=None,
                skip_rows=first,
                n_rows=last - first + 1,
                schema_sample_rows=None,
                whitespace_as_null=True,
                dtypes=as_text or None,
            )
            break
        except Exception as error:  # numbers and dates in one column
            found = UNNAMED.search(str(error))
            if "type combination" not in str(error) or not found or int(found[1]) in as_text:
                raise
            as_text[int(found[1])] = "string"
    frame = loaded.to_polars()[(layout.rows - first).tolist()]
    return [simplify_numbers(simplify_dates(frame.to_series(c))) for c in layout.columns]


def empty_column() -> "pl.Series":
    """Return a column without rows."""
    import polars as pl

    return pl.Series([], dtype=pl.Float64)


def simplify_numbers(cells: "pl.Series") -> "pl.Series":
    """Return numbers as whole ones where all are: the cells of a workbook have no type for them."""
    import polars as pl

    if not cells.dtype.is_float():
        return cells
    whole = bool(((cells == cells.floor()) & (cells.abs() < MAX_EXACT_INT)).all())
    return cells.cast(pl.Int64) if whole and cells.null_count() < len(cells) else cells


def simplify_dates(cells: "pl.Series") -> "pl.Series":
    """Return times as dates where all are midnight, and as times of day where all are of the calendar's first day."""
    import polars as pl

    if not isinstance(cells.dtype, pl.Datetime) or cells.null_count() == len(cells):
        return cells
    present = cells.drop_nulls()
    if bool((present.dt.year() < FIRST_YEAR).all()):
        return cells.dt.time()
    is_date = set(present.dt.time().unique()) == {datetime.time(0)}
    return cells.dt.date() if is_date else cells
