"""Read data frames of pandas and polars, and Arrow tables, with the meaning of the same table in a Parquet file.

Neither library is imported before a frame of it is given.
"""

import datetime
import decimal
import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lagvis.data.messages import list_names, shorten
from lagvis.data.read_options import ReadOptions
from lagvis.data.tables.cell_values import cells_as_text
from lagvis.data.tables.frame import TableFrame
from lagvis.data.tables.hints import NO_HINTS, TableHints
from lagvis.data.tables.typed_table import TableSource, column_of_values, plain_column, typed_table
from lagvis.errors import DataError, UsageError

if TYPE_CHECKING:
    import polars as pl

PANDAS, POLARS, ARROW = "pandas", "polars", "pyarrow"
FRAME_CLASSES = {PANDAS: {"DataFrame"}, POLARS: {"DataFrame", "LazyFrame"}, ARROW: {"Table", "RecordBatch"}}
DESCRIPTIONS = {PANDAS: "pandas data frame", POLARS: "polars data frame", ARROW: "Arrow table"}
DECIMAL, TIMESTAMP, DAY, TIME, DURATION = (
    decimal.Decimal,
    datetime.datetime,
    datetime.date,
    datetime.time,
    datetime.timedelta,
)
NESTED = (list, tuple, set, frozenset, dict, bytes, bytearray, memoryview, np.ndarray)


@dataclass(frozen=True)
class FrameColumns:
    """Columns of a data frame as polars has them.

    names         of the columns, as text
    description   the kind of the frame, for a notice
    row_location  describes a row by its position from 0, and its label in the index of pandas
    notices       on what of the frame is not read
    """

    columns: "list[pl.Series]"
    names: list[str]
    description: str
    row_location: Callable[[int], str]
    notices: tuple[str, ...] = ()


def frame_library(data: object) -> str:
    """Return the library of a data frame: PANDAS, POLARS or ARROW; empty for any other object."""
    for parent in type(data).__mro__:
        library = parent.__module__.partition(".")[0]
        if parent.__name__ in FRAME_CLASSES.get(library, ()):
            return library
    return ""


def check_frame(data: object, argument: str) -> None:
    """Raise UsageError unless what is given as an argument is a data frame."""
    if not is_frame(data):
        raise UsageError(
            f"{argument} is of the type {type(data).__name__}; expected a data frame of pandas or polars, or an Arrow "
            "table (Dataset.from_arrays takes arrays)"
        )


def is_frame(data: object) -> bool:
    """Tell whether an object is a data frame of pandas or polars, or an Arrow table; no library is imported for it."""
    return bool(frame_library(data))


def read_data_frame(
    frame: Any, options: ReadOptions, hints: TableHints = NO_HINTS, *, name: str = "frame", digest: bool = True
) -> TableFrame:
    """Return a data frame as a table; `name` stands for it in messages, where its rows are counted from 0.

    With `digest` the table has a SHA-256 of its cells and names. A lazy frame of polars is collected. Raises DataError
    for column names that are not unique or have several levels, and for what `typed_table` refuses.
    """
    read = read_columns(frame, name)
    check_unique(read.names, name)
    sha256 = cells_digest(read.columns, read.names) if digest else ""
    source = TableSource(Path(name), name, sha256, options, hints.with_text(options.category))
    return typed_table(
        source, read.columns, read.names, read.description, row_location=read.row_location, notices=read.notices
    )


def column_names(frame: Any) -> list[Any]:
    """Return the names of the columns of a data frame of any library, as the frame has them."""
    library = frame_library(frame)
    if library == PANDAS:
        return list(frame.columns)
    return list(frame.schema.names if library == ARROW else frame.collect_schema().names())


def check_unique(names: Sequence[str], name: str) -> None:
    """Raise DataError unless the columns of the frame `name` have a name each."""
    repeated = [repr(shorten(text)) for text, count in Counter(names).items() if count > 1]
    if repeated:
        raise DataError(
            f"{name} has several columns of the name {list_names(repeated)}; rename them, so that each column has a "
            "name of its own"
        )


def read_columns(frame: Any, name: str) -> FrameColumns:
    """Return the columns of a data frame of any library."""
    library = frame_library(frame)
    if library == PANDAS:
        return pandas_columns(frame, name)
    import polars as pl

    if library == ARROW:
        made = [pl.Series(frame.column(c)) for c in range(frame.num_columns)]
    else:
        made = (frame.collect() if isinstance(frame, pl.LazyFrame) else frame).get_columns()
    return FrameColumns(made, column_names(frame), DESCRIPTIONS[library], "row {}".format)


def pandas_columns(frame: Any, name: str) -> FrameColumns:
    """Return the columns of a pandas data frame. Its index is no column.

    DataError for column names of several levels.
    """
    import pandas as pd

    if isinstance(frame.columns, pd.MultiIndex):
        raise DataError(
            f"{name} has column names of {frame.columns.nlevels} levels; expected one name for each column, as "
            "frame.columns = ['_'.join(map(str, names)) for names in frame.columns] makes them"
        )
    index = frame.index
    named = [repr(shorten(str(level))) for level in index.names if level is not None]
    notice = (
        f"{name}: the index {list_names(named)} is not read; frame.reset_index() makes it a column." if named else ""
    )
    counts = isinstance(index, pd.RangeIndex) and index.start == 0 and index.step == 1

    def row_location(row: int) -> str:
        return f"row {row}" if counts else f"row {row} (index {shorten(str(index[row]))})"

    made = [pandas_column(frame.iloc[:, c]) for c in range(frame.shape[1])]
    names = [plain_text(str(column)) for column in frame.columns]
    return FrameColumns(made, names, DESCRIPTIONS[PANDAS], row_location, (notice,) if notice else ())


def pandas_column(cells: Any) -> "pl.Series":
    """Return a column of pandas (a Series) as polars has it, missing cells null.

    Categories become texts, whatever they are: a column of the dtype `category` is one of categories also where these
    are numbers. Times with a zone become those of UTC.
    """
    import pandas as pd
    import polars as pl

    cells = common_dtype(cells)
    dtype = cells.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        levels = level_texts(dtype.categories)
        codes = pl.Series(cells.cat.codes.to_numpy().astype(np.int64))
        texts = levels.gather(codes.set(codes < 0, None)) if len(levels) else pl.Series([None] * len(cells))
        return texts.cast(pl.Categorical)
    if isinstance(dtype, pd.ArrowDtype):
        return pl.Series(cells)
    if isinstance(dtype, np.dtype) and dtype.kind != "O":
        return numpy_column(cells.to_numpy())
    missing = cells.isna().to_numpy()
    numpy_dtype = getattr(dtype, "numpy_dtype", None)  # of a nullable integer, float or boolean
    if isinstance(numpy_dtype, np.dtype) and numpy_dtype.kind in "biuf":
        values = numpy_column(cells.to_numpy(dtype=numpy_dtype, na_value=numpy_dtype.type(0)))
        return values.set(pl.Series(missing), None)
    return object_column([None if lacks else value for value, lacks in zip(cells.tolist(), missing, strict=True)])


def common_dtype(cells: Any) -> Any:
    """Return a column of pandas with a common dtype: a sparse one dense, periods as their start, intervals as text."""
    import pandas as pd

    if isinstance(cells.dtype, pd.SparseDtype):
        cells = cells.sparse.to_dense()
    if isinstance(cells.dtype, pd.IntervalDtype):
        return cells.astype(object).map(str, na_action="ignore").astype("category")
    if isinstance(cells.dtype, pd.PeriodDtype):
        return cells.dt.to_timestamp()
    if isinstance(cells.dtype, pd.DatetimeTZDtype):
        return cells.dt.tz_convert("UTC").dt.tz_localize(None)
    return cells


def level_texts(categories: Any) -> "pl.Series":
    """Return the values of a categorical column (an Index of pandas) as texts."""
    import polars as pl

    levels = pandas_column(categories.to_series())
    if (plain := plain_column(levels)) is None:  # intervals, tuples
        return pl.Series([str(value) for value in categories], dtype=pl.String)
    return cells_as_text(plain)


def numpy_column(values: np.ndarray) -> "pl.Series":
    """Return an array (N,) of any type but objects as a column; a type that holds no numbers or times gives objects."""
    import polars as pl

    kind = values.dtype.kind
    if kind == "f" and values.dtype.itemsize not in (4, 8):
        values = values.astype(np.float64)
    elif kind in "mM" and np.datetime_data(values.dtype)[0] not in ("ms", "us", "ns"):
        values = values.astype(f"{kind}8[ms]")
    elif kind not in "biufmM":
        return object_column(values.tolist())
    return pl.Series(np.ascontiguousarray(values))


def object_column(values: list[Any]) -> "pl.Series":
    """Return Python objects, None where a cell is missing, as a column of their common type, mixed ones as text.

    Lists, bytes and objects that are neither numbers, texts nor dates give a column that cannot be learned from.
    """
    import polars as pl

    values = [plain_value(value) for value in values]
    kinds = {type(value) for value in values} - {type(None)}
    if kinds <= {bool, int, float, str}:
        return column_of_values(values)
    if kinds & {*NESTED}:
        nested = kinds & {bytes, bytearray, memoryview}
        return column_of_values([None if value is None else b"" if nested else [] for value in values])
    if kinds <= {int, float, DECIMAL}:
        return column_of_values([None if value is None else float(value) for value in values])
    for same in (TIMESTAMP, DAY, TIME, DURATION):
        if kinds == {same}:
            return pl.Series(values)
    if kinds <= {bool, int, float, str, DECIMAL, TIMESTAMP, DAY, TIME}:
        return pl.Series([None if value is None else str(value) for value in values], dtype=pl.String)
    return pl.Series(values, dtype=pl.Object)


def plain_value(value: Any) -> Any:
    """Return scalars of NumPy and pandas, and subclasses of str, as values of Python; times with a zone are in UTC."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str):
        return plain_text(value)
    if isinstance(value, TIMESTAMP):
        in_utc = value.astimezone(datetime.UTC).replace(tzinfo=None) if value.tzinfo else value
        return in_utc.to_pydatetime(warn=False) if hasattr(in_utc, "to_pydatetime") else in_utc
    return value.to_pytimedelta() if hasattr(value, "to_pytimedelta") else value


def numbers_of_frame(frame: Any, name: str, columns: Sequence[str] = ()) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return a data frame of numbers, or true and false, as an array (N, n), and the names of its columns.

    `columns` are the names of those to take, in this order; empty: all. DataError for one that is absent, that holds
    other cells, or that lacks some.
    """
    import polars as pl

    read = read_columns(frame, name)
    check_unique(read.names, name)
    found = dict(zip(read.names, read.columns, strict=True))
    if absent := [repr(shorten(column)) for column in columns if column not in found]:
        raise DataError(f"{name} lacks the columns {list_names(absent)}; add them")
    taken = {column: plain_column(found[column]) for column in columns or read.names}
    others = [
        repr(shorten(column))
        for column, cells in taken.items()
        if cells is None or cells.null_count() or not (cells.dtype.is_numeric() or cells.dtype == pl.Boolean)
    ]
    if others:
        raise DataError(
            f"{name} has other cells than numbers, or missing ones, in {list_names(others)}; Dataset.from_frame takes "
            f'such columns, with the label as a column of the frame: Dataset.from_frame({name}.assign(y=y), "y")'
        )
    arrays = [cells.to_numpy() for cells in taken.values() if cells is not None]
    return np.column_stack(arrays) if arrays else np.zeros((0, 0)), tuple(taken)


def plain_text(text: str) -> str:
    """Return text that can be written as UTF-8: half a character of UTF-16 becomes a question mark."""
    return str(text) if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def cells_digest(columns: "Sequence[pl.Series]", names: Sequence[str]) -> str:
    """Return the SHA-256 of columns: their names, types and cells.

    It is the same in every process, and for frames of any library whose cells are the same.
    """
    import polars as pl

    sha256 = hashlib.sha256()

    def add(content: bytes) -> None:
        sha256.update(len(content).to_bytes(8, "little"))
        sha256.update(content)

    for name, cells in zip(names, columns, strict=True):
        plain = plain_column(cells)
        add(name.encode())
        add(str(cells.dtype if plain is None else plain.dtype).encode())
        if plain is None:
            continue
        add(plain.is_null().to_numpy().tobytes())
        if plain.dtype == pl.String:
            plain = plain.fill_null("")
            add(plain.str.len_bytes().to_numpy().tobytes())
            add("".join(plain.to_list()).encode())
        else:
            add(np.ascontiguousarray(plain.to_physical().fill_null(0).to_numpy()).tobytes())
    return sha256.hexdigest()
