"""Write predictions as a table, a row of the input a row: CSV, TSV, Parquet, JSON, NDJSON, Arrow or Excel.

The rows are taken in pieces. What exceeds MAX_BYTES_IN_MEMORY waits in a temporary folder, so that memory does not grow
with them.
"""

import importlib
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lagvis.arrays import MAX_EXACT_INT
from lagvis.data.messages import pluralize, shorten
from lagvis.errors import ExportError, UsageError
from lagvis.training.model import LABEL_THRESHOLD, Model

if TYPE_CHECKING:
    import polars as pl

CSV, TSV, PARQUET, JSON, NDJSON, ARROW, EXCEL = ("csv", "tsv", "parquet", "json", "ndjson", "arrow", "xlsx")
SUFFIXES = {
    ".csv": CSV,
    ".tsv": TSV,
    ".parquet": PARQUET,
    ".json": JSON,
    ".ndjson": NDJSON,
    ".jsonl": NDJSON,
    ".arrow": ARROW,
    ".feather": ARROW,
    ".xlsx": EXCEL,
}
FILE, ROW, ANSWER = "file", "row", "answer"
MAX_BYTES_IN_MEMORY = 2**25  # of rows that wait to be written
MAX_EXCEL_ROWS, MAX_EXCEL_COLUMNS, MAX_EXCEL_TEXT = 2**20 - 1, 2**14, 32767  # rows without the header


def output_format(path: Path) -> str:
    """Return the format of a file of predictions by its ending; UsageError for another ending.

    Raise ExportError where the library that writes it is missing.
    """
    kind = SUFFIXES.get(path.suffix.lower())
    if kind is None and path.is_dir():
        raise UsageError(f"--output {path} is a folder; name a file, and the folder of runs with --runs-dir")
    if kind is None:
        raise UsageError(f"--output {path} does not end in one of {', '.join(SUFFIXES)}; choose one of these formats")
    if kind == EXCEL:
        try:
            importlib.import_module("xlsxwriter")
        except ImportError:
            raise ExportError(
                f"--output {path} needs xlsxwriter, which is not installed; pip install 'lagvis[excel]', or choose .csv"
            ) from None
    return kind


def column_names(model: Model, keys: Sequence[str], columns: Sequence[str], *, probabilities: bool) -> list[str]:
    """Return the names of the columns of the file.

    keys           columns that say which row it is: those of the ids, or FILE and ROW
    columns        names that the user chose, in order; empty: none
    probabilities  whether there is one column a class, or one more a label
    Raise UsageError where they are not as many as the columns, or two are equal.
    """
    if model.multi_label:
        names = [*keys, *model.class_names]
        names += [f"{name} probability" for name in model.class_names] if probabilities else []
    else:
        names = [*keys, *([ANSWER] if model.y_scaling is None else model.target_names)]
        names += model.class_names if probabilities else []
    if columns and len(columns) != len(names):
        raise UsageError(
            f"--columns gives {pluralize(len(columns), 'name')}, the predictions have "
            f"{pluralize(len(names), 'column')}: "
            f"{', '.join(map(shorten, names))}; give a name for each, in this order"
        )
    called = list(columns or names)
    twice = next((name for name, count in Counter(called).items() if count > 1), None)
    if twice is not None:
        raise UsageError(
            f"two columns of the predictions would be called {twice!r}, of {', '.join(map(shorten, called))}; "
            "give each its own name with --columns"
        )
    return called


def prediction_columns(model: Model, outputs: np.ndarray, answered: np.ndarray, *, probabilities: bool) -> list[Any]:
    """Return the columns of predictions, in the order of `column_names`, without the keys: polars Series.

    outputs   (N, n_out), as the network gives them
    answered  (N,) bool; the cells of the other rows are null
    """
    import polars as pl

    def series(values: Any) -> "pl.Series":
        column = pl.Series(values)
        return column if answered.all() else pl.select(pl.when(pl.Series(answered)).then(column)).to_series()

    if model.y_scaling is not None:
        return [series(column) for column in outputs.T.copy()]
    if model.multi_label:
        labels = [series(column) for column in (outputs > LABEL_THRESHOLD).T.astype(np.int64)]
        return labels + ([series(column) for column in outputs.T.copy()] if probabilities else [])
    answers = class_values(model.class_names).gather(outputs.argmax(axis=1).astype(np.uint32))
    columns = [series(answers)]
    if probabilities:
        columns += [series(column) for column in outputs.T.copy()]
    return columns


def class_values(names: Sequence[str]) -> "pl.Series":
    """Return the names of classes as a column: of numbers where each is a number as it is written, else of text."""
    import polars as pl

    text = pl.Series(names, dtype=pl.String)
    for dtype in (pl.Int64, pl.Float64):
        numbers = text.cast(dtype, strict=False)
        if (numbers.cast(pl.String) == text).fill_null(value=False).all() and numbers.abs().lt(MAX_EXACT_INT).all():
            return numbers
    return text


class PredictionFile:
    """Rows of predictions that are written to one file."""

    def __init__(self, kind: str, folder: Path) -> None:
        """Make a file of a format, one of SUFFIXES; `folder` is for temporary files."""
        self.kind = kind
        self.rows = 0
        self._folder = folder
        self._parts: list[Path | pl.DataFrame] = []
        self._bytes = 0  # of the rows in memory

    def new_part(self) -> "PredictionFile":
        """Return a file without rows, for `extend`."""
        return PredictionFile(self.kind, self._folder)

    def append(self, frame: "pl.DataFrame") -> None:
        """Add rows; every frame has the same columns. Raise OSError where the disk is full."""
        self.rows += frame.height
        self._parts.append(frame)
        self._bytes += int(frame.estimated_size())
        self._store()

    def extend(self, other: "PredictionFile") -> None:
        """Add the rows of another file, which is not used any more."""
        self.rows += other.rows
        self._parts += other._parts
        self._bytes += other._bytes
        self._store()

    def _store(self) -> None:
        """Store the rows in memory where they exceed MAX_BYTES_IN_MEMORY; OSError where the disk is full."""
        import polars as pl

        if self._bytes <= MAX_BYTES_IN_MEMORY:
            return
        self._bytes = 0
        for i, part in enumerate(self._parts):
            if isinstance(part, pl.DataFrame):
                handle, name = tempfile.mkstemp(".arrow", dir=self._folder)
                with open(handle, "wb") as file:
                    part.write_ipc(file)
                self._parts[i] = Path(name)

    def write(self, path: Path, ids: Sequence[str]) -> None:
        """Write all rows to a file; `ids` are the columns that are copied from the input.

        Raise OSError where it cannot be written, ExportError where the format cannot hold so many rows.
        """
        import polars as pl

        parts = [pl.scan_ipc(part) if isinstance(part, Path) else part.lazy() for part in self._parts]
        rows = pl.concat(parts, how="vertical_relaxed")
        schema = rows.collect_schema()
        # Cells of a text file are text until here, so that 007 stays; numbers as they are written become numbers.
        for name in ids if self.kind not in (CSV, TSV) else ():
            if schema[name] == pl.String and rows.select(is_written_number(name)).collect(engine="streaming").item():
                schema[name] = pl.Int64()
        rows = rows.cast(schema)
        try:
            if self.kind == PARQUET:
                rows.sink_parquet(path)
            elif self.kind == ARROW:
                rows.sink_ipc(path)
            else:
                if self.kind == EXCEL:
                    check_sheet_size(self.rows, len(schema))
                write = {CSV: write_csv, TSV: write_tsv, JSON: write_json, NDJSON: write_ndjson, EXCEL: write_excel}
                write[self.kind](path, self._frames(schema))
        except pl.exceptions.ComputeError as error:  # of the disk, in the words of the writer
            raise OSError(str(error)) from None

    def _frames(self, schema: "pl.Schema") -> "Iterator[pl.DataFrame]":
        """Yield all rows in pieces, with the types of `schema`."""
        import polars as pl

        for part in self._parts:
            frame = pl.read_ipc(part) if isinstance(part, Path) else part
            yield frame.cast(schema)


def is_written_number(name: str) -> "pl.Expr":
    """Return whether every text of a column is a whole number as a number is written: 7, but neither 007 nor 7.0."""
    import polars as pl

    numbers = pl.col(name).cast(pl.Int64, strict=False)
    exact = (numbers.cast(pl.String) == pl.col(name)) & (numbers.abs() < MAX_EXACT_INT)
    return (exact.fill_null(value=False) | pl.col(name).is_null()).all() & pl.col(name).is_not_null().any()


def write_csv(path: Path, frames: "Iterator[pl.DataFrame]", separator: str = ",") -> None:
    """Write rows as CSV: UTF-8, text quoted where needed, missing cells empty."""
    with path.open("wb") as file:
        for i, frame in enumerate(frames):
            frame.write_csv(file, separator=separator, include_header=i == 0)


def write_tsv(path: Path, frames: "Iterator[pl.DataFrame]") -> None:
    """Write rows as TSV."""
    write_csv(path, frames, "\t")


def write_ndjson(path: Path, frames: "Iterator[pl.DataFrame]") -> None:
    """Write rows as JSON, an object a line."""
    with path.open("wb") as file:
        for frame in frames:
            frame.write_ndjson(file)


def write_json(path: Path, frames: "Iterator[pl.DataFrame]") -> None:
    """Write rows as one JSON array of objects, an object a line."""
    with path.open("wb") as file:
        file.write(b"[\n")
        for i, frame in enumerate(frames):
            lines = frame.write_ndjson().rstrip("\n").replace("\n", ",\n")
            file.write((",\n" if i else "").encode() + lines.encode())
        file.write(b"\n]\n")


def check_sheet_size(rows: int, columns: int) -> None:
    """Raise ExportError where a sheet of a workbook has no room for so many rows or columns."""
    if rows > MAX_EXCEL_ROWS or columns > MAX_EXCEL_COLUMNS:
        raise ExportError(
            f"a workbook holds {MAX_EXCEL_ROWS:,} rows of {MAX_EXCEL_COLUMNS:,} columns at most, the predictions have "
            f"{rows:,} of {columns:,}; choose an --output that ends in .csv or .parquet"
        )


def write_excel(path: Path, frames: "Iterator[pl.DataFrame]") -> None:
    """Write rows as a workbook of one sheet, text as text whatever it begins with."""
    xlsxwriter = importlib.import_module("xlsxwriter")
    first = next(frames)
    options = {"constant_memory": True, "tmpdir": str(path.parent)}
    row_number = 0
    with xlsxwriter.Workbook(os.fspath(path), options) as book:
        sheet = book.add_worksheet("predictions")
        for column, name in enumerate(first.columns):
            sheet.write_string(0, column, name)
        for frame in (first, *frames):
            for row in frame.iter_rows():
                row_number += 1
                for column, value in enumerate(row):
                    write_cell(sheet, row_number, column, value)


def write_cell(sheet: Any, row: int, column: int, value: Any) -> None:
    """Write a cell of a sheet; ExportError for a text that is too long for it."""
    if value is None:
        return
    if isinstance(value, bool):
        sheet.write_boolean(row, column, value)
    elif isinstance(value, float) or (isinstance(value, int) and abs(value) < MAX_EXACT_INT):
        sheet.write_number(row, column, value)
    else:
        text = str(value)
        if len(text) > MAX_EXCEL_TEXT:
            raise ExportError(
                f"row {row:,} holds a text of {len(text):,} characters, a cell of a workbook {MAX_EXCEL_TEXT:,}; "
                "choose an --output that ends in .csv or .parquet"
            )
        sheet.write_string(row, column, text)
