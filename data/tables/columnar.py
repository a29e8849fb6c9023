"""Read Parquet files, Arrow files (Feather) and Arrow streams."""

from pathlib import Path
from typing import TYPE_CHECKING

from lagvis.data.tables.frame import TableFrame
from lagvis.data.tables.table_format import ARROW, PARQUET
from lagvis.data.tables.trial_decode import survives_decoding
from lagvis.data.tables.typed_table import (
    MAX_UNPACKED_RATIO,
    MIN_UNPACKED_LIMIT,
    TableSource,
    decode_errors,
    typed_table,
)
from lagvis.errors import DataError

if TYPE_CHECKING:
    import polars as pl

REMEDY = "it may be cut off or damaged: write it again"


def read_columnar(source: TableSource, kind: str) -> TableFrame:
    """Read a file of columns; `kind` is PARQUET, ARROW or ARROW_STREAM. DataError for damaged files."""
    with decode_errors(source.name, kind, REMEDY):
        frame = load_frame(source.path, source.name, kind)
    return typed_table(source, frame.get_columns(), frame.columns, describe_kind(kind))


def describe_kind(kind: str) -> str:
    """Return the format of a file for the notice about it, without an article: "Arrow file"."""
    return kind.partition(" ")[2]


def load_frame(path: Path, name: str, kind: str) -> "pl.DataFrame":
    """Return the columns of a file as polars reads them; `name` stands for its path in messages."""
    if not survives_decoding(path, kind):
        raise DataError(f"{name} cannot be read as {kind} (a damaged length); {REMEDY}")
    import polars as pl

    if kind == PARQUET:
        check_parquet_size(path, name)
        return pl.read_parquet(path, glob=False, hive_partitioning=False)
    with path.open("rb") as file:  # a file that is mapped into memory may not change meanwhile
        return pl.read_ipc(file) if kind == ARROW else pl.read_ipc_stream(file)


def check_parquet_size(path: Path, name: str) -> None:
    """Raise DataError for a Parquet file that claims more cells than its bytes can reasonably hold."""
    import polars as pl

    scan = pl.scan_parquet(path, glob=False, hive_partitioning=False)
    width, rows = len(scan.collect_schema()), int(scan.select(pl.len()).collect().item())
    size = path.stat().st_size
    if rows * width * 8 > max(MIN_UNPACKED_LIMIT, size * MAX_UNPACKED_RATIO):
        raise DataError(f"{name} claims {rows:,} rows of {width:,} columns in {size:,} bytes; {REMEDY}")
