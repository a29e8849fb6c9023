"""Read a table of any format."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from lagvis.data.files import file_digest, is_gzip
from lagvis.data.read_options import ReadOptions
from lagvis.data.tables.arff import read_arff
from lagvis.data.tables.columnar import read_columnar
from lagvis.data.tables.csv_reader import read_csv
from lagvis.data.tables.frame import TableFrame
from lagvis.data.tables.hints import NO_HINTS, TableHints
from lagvis.data.tables.json_tables import read_json, read_ndjson
from lagvis.data.tables.libsvm import read_libsvm
from lagvis.data.tables.pieces import can_be_scanned, iter_columnar, iter_csv, iter_ndjson
from lagvis.data.tables.sqlite_reader import read_sqlite
from lagvis.data.tables.table_format import (
    ARFF,
    ARROW,
    ARROW_STREAM,
    CSV,
    JSON,
    LIBSVM,
    NDJSON,
    PARQUET,
    SQLITE,
    WORKBOOK,
    table_format,
)
from lagvis.data.tables.typed_table import TableSource
from lagvis.data.tables.workbook import read_workbook
from lagvis.errors import DataError
from lagvis.option_text import option

MAX_WHOLE_BYTES = 2**26  # of a file whose pieces are cut from the whole table
GZIP_RATIO = 10  # of text to its gzip, about


def read_frame(path: Path, options: ReadOptions, hints: TableHints = NO_HINTS, *, display_name: str = "") -> TableFrame:
    """Read a table in the format that its bytes show; `display_name` stands for the path in messages.

    Raises DataError, with the line or row, for what cannot be read.
    """
    name = display_name or str(path)
    kind = table_format(path, name)
    check_options(name, kind, options)
    hints = hints.with_text(options.category)
    if kind == CSV:
        return read_csv(path, options.label, hints, display_name=display_name)
    source = TableSource(path, name, file_digest(path), options, hints)
    if kind in (PARQUET, ARROW, ARROW_STREAM):
        return read_columnar(source, kind)
    readers = {
        JSON: read_json, NDJSON: read_ndjson, LIBSVM: read_libsvm, ARFF: read_arff, WORKBOOK: read_workbook,
        SQLITE: read_sqlite,
    }  # fmt: skip
    return readers[kind](source)


def check_options(name: str, kind: str, options: ReadOptions) -> None:
    """Raise DataError for an option of another format."""
    for key, value, needed in (("sheet", options.sheet, WORKBOOK), ("table", options.table, SQLITE)):
        if value and kind != needed:
            raise DataError(f"{name} is {kind}, and {option(key, value)} is for {needed}; leave that out")


def iter_frames(
    path: Path,
    options: ReadOptions,
    rows: int,
    hints: TableHints = NO_HINTS,
    *,
    max_whole_bytes: int = MAX_WHOLE_BYTES,
) -> Iterator[TableFrame]:
    """Yield a table in pieces of at most `rows` consecutive rows.

    Text, Parquet, Arrow files and NDJSON of more than `max_whole_bytes` are read piece by piece. What a column holds
    is then decided in each piece, so that the hints must name the columns of text. A row is located by its place in the
    whole file.
    """
    kind = table_format(path)
    check_options(str(path), kind, options)
    hints = hints.with_text(options.category)
    if path.stat().st_size * (GZIP_RATIO if is_gzip(path) else 1) > max_whole_bytes:
        if kind == CSV:
            yield from iter_csv(path, options.label, rows, hints)
            return
        if kind == NDJSON or can_be_scanned(path, kind):
            source = TableSource(path, str(path), file_digest(path), options, hints)
            yield from iter_ndjson(source, rows) if kind == NDJSON else iter_columnar(source, kind, rows)
            return
    table = read_frame(path, options, hints)
    for start in range(0, table.frame.height, rows):
        yield slice_rows(table, start, rows)


def slice_rows(table: TableFrame, start: int, count: int) -> TableFrame:
    """Return `count` rows of a table from the index `start` on, or as many as there are."""
    return replace(
        table,
        frame=table.frame.slice(start, count),
        row_location=lambda row: table.row_location(row + start),
    )
