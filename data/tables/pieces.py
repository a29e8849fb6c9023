"""Read tables in pieces of consecutive rows, so that a table may be larger than the memory."""

import io
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from lagvis.data.tables.columnar import REMEDY, check_parquet_size, describe_kind
from lagvis.data.tables.csv_reader import RowLines, read_dialect, read_rows
from lagvis.data.tables.dialect import detect_dialect
from lagvis.data.tables.frame import TableFrame
from lagvis.data.tables.hints import TableHints
from lagvis.data.tables.json_tables import columns_of_records, parse_line
from lagvis.data.tables.table_format import ARROW, PARQUET
from lagvis.data.tables.text import TextFile, inspect_text, read_lines
from lagvis.data.tables.typed_table import TableSource, decode_errors, typed_table
from lagvis.errors import DataError

if TYPE_CHECKING:
    import polars as pl


def iter_csv(path: Path, label: str, rows: int, hints: TableHints) -> Iterator[TableFrame]:
    """Yield a table as text in pieces; the other arguments are those of `read_csv`.

    The lines of a piece are copied into a temporary file, which is there as long as the piece is used.
    """
    dialect = detect_dialect(path, label, hints.training, allow_single_column=hints.allow_single_column)
    lines = (line for line in read_lines(dialect.file) if line[0] >= dialect.first_row_line)
    is_empty = True
    while block := list(islice(lines, rows)):
        is_empty = False
        with tempfile.TemporaryDirectory() as folder:
            part = Path(folder, "rows")
            write_lines(part, block)
            first = block[0][0]
            file = replace(dialect.file, path=part, encoding="utf-8", first_line=first)
            piece = replace(dialect, file=file, first_row_line=first)
            table = read_dialect(path, piece, hints)
            numbers = [line for line, _ in block]
            if table.frame.height != len(numbers):  # rows without any text are left out
                numbers = [line for line, _ in read_rows(piece)]
            if isinstance(table.row_location, RowLines):
                table.row_location.lines[:] = numbers
            yield table
    if is_empty:
        raise DataError(f"{dialect.file.name} holds a header and no rows; expected a row a line")


def write_lines(path: Path, lines: list[tuple[int, str]]) -> None:
    """Write lines, each given with its number, so that those between them are blank."""
    with path.open("w", encoding="utf-8", newline="") as file:
        number = lines[0][0]
        for line, text in lines:
            file.write("\n" * (line - number) + text + "\n")
            number = line + 1 + text.count("\n")


def iter_columnar(source: TableSource, kind: str, rows: int) -> Iterator[TableFrame]:
    """Yield a Parquet or Arrow file (`kind`) in pieces."""
    import polars as pl

    with decode_errors(source.name, kind, REMEDY):
        if kind == PARQUET:
            check_parquet_size(source.path, source.name)
            scan = pl.scan_parquet(source.path, glob=False, hive_partitioning=False)
        else:
            scan = pl.scan_ipc(source.path)
        height = int(scan.select(pl.len()).collect().item())
    for start in range(0, max(1, height), rows):
        with decode_errors(source.name, kind, REMEDY):
            frame = scan.slice(start, rows).collect()
        yield typed_table(
            source,
            frame.get_columns(),
            frame.columns,
            describe_kind(kind),
            row_location=row_counter(start),
        )


def iter_ndjson(source: TableSource, rows: int) -> Iterator[TableFrame]:
    """Yield a file with a JSON object in each line in pieces, all with the columns of the whole file."""
    file = inspect_text(source.path, source.name)
    names: dict[str, None] = {}
    for frame in ndjson_frames(file, rows):
        names.update(dict.fromkeys(frame.columns))
    start = 0
    for frame in ndjson_frames(file, rows):
        missing = [column_of_nothing(frame.height).alias(name) for name in names if name not in frame.columns]
        whole = frame.with_columns(missing).select(list(names))
        yield typed_table(
            source,
            whole.get_columns(),
            whole.columns,
            "NDJSON",
            row_location=row_counter(start),
            sha256=file.sha256,
        )
        start += frame.height


def ndjson_frames(file: TextFile, rows: int) -> "Iterator[pl.DataFrame]":
    """Yield the objects of blocks of lines as columns."""
    import polars as pl

    lines = read_lines(file, join_quoted=False)
    while block := list(islice(lines, rows)):
        content = "\n".join(text for _, text in block).removeprefix("\ufeff").encode()
        with suppress(pl.exceptions.PolarsError, pl.exceptions.PanicException):
            yield pl.read_ndjson(io.BytesIO(content), infer_schema_length=None)
            continue
        names, columns = columns_of_records(file.name, [parse_line(file.name, line, text) for line, text in block])
        yield pl.DataFrame([column.alias(name) for name, column in zip(names, columns, strict=True)])


def column_of_nothing(height: int) -> "pl.Series":
    """Return a column of missing cells."""
    import polars as pl

    return pl.Series([None] * height, dtype=pl.Null)


def row_counter(start: int) -> Callable[[int], str]:
    """Return the description of a row by its index in a piece that begins at the row of index `start`."""
    return lambda row: f"row {row + start + 1}"


def can_be_scanned(path: Path, kind: str) -> bool:
    """Tell whether polars reads parts of a file: not if it would take its name for a pattern."""
    return kind == PARQUET or (kind == ARROW and not {*str(path)} & {*"*?[]"})
