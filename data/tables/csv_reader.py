"""Read a table as text (CSV and the like) with polars, in the dialect that data/tables/dialect.py detects."""

import io
from collections.abc import Collection
from pathlib import Path

from lagvis.data.tables.dialect import detect_dialect
from lagvis.data.tables.frame import TableFrame
from lagvis.data.tables.text import open_maybe_gzip
from lagvis.errors import DataError

NULL_VALUES = ["", "na", "NA", "n/a", "N/A", "#N/A", "#NA", "<NA>", "nan", "NaN", "NAN", "null", "NULL", "Null", "?"]


def read_csv(
    path: Path,
    label: str = "",
    training: TableFrame | None = None,
    *,
    text: Collection[str] = (),
    allow_single_column: bool = False,
    display_name: str = "",
) -> TableFrame:
    """Read a table as text.

    label                name of a column: a first line that holds it is a header
    training             training table: a first line with the names of its columns is a header
    text                 columns to read as text, whatever they hold, by name or number from 1
    allow_single_column  take text of one column as a table
    display_name         stands for the path in messages
    Raises DataError, with the line, for a cell that is not what its column holds.
    """
    import polars as pl

    dialect = detect_dialect(path, label, training, allow_single_column=allow_single_column, display_name=display_name)
    with open_maybe_gzip(path, dialect.file.name) as file:
        content = file.read().decode(dialect.file.encoding).encode()
    kinds = {
        str(c): pl.Float64 if numeric and dialect.names[c] not in text and str(c + 1) not in text else pl.String
        for c, numeric in enumerate(dialect.numeric)
    }
    try:
        frame = pl.read_csv(
            io.BytesIO(content),
            has_header=False,
            skip_lines=dialect.first_row_line - 1,
            separator=dialect.separator,
            schema=kinds,
            null_values=NULL_VALUES,
        )
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{dialect.file.name} cannot be read ({str(error).splitlines()[0]})") from None
    return TableFrame(
        frame.with_columns(pl.col(pl.String).str.strip_chars().str.normalize("NFC")),
        path,
        dialect.file.name,
        dialect.names,
        dialect.has_header,
        dialect.file.sha256,
        dialect.describe(),
        row_location=lambda row: f"line {row + dialect.first_row_line}",
    )
