"""Make a TableFrame of columns that have types already: those of Parquet, a database, a workbook or JSON."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lagvis.data.files import stderr_to_null
from lagvis.data.messages import list_names, shorten
from lagvis.data.read_options import ReadOptions
from lagvis.data.tables.cell_values import cells_as_text
from lagvis.data.tables.cells import StraySentence, clean_text, parse_column
from lagvis.data.tables.frame import TableFrame
from lagvis.data.tables.hints import TableHints
from lagvis.errors import DataError
from lagvis.option_text import option

if TYPE_CHECKING:
    import polars as pl

MAX_INT64 = 2**63 - 1
# Columns of one value shrink to nothing; a small file of more bytes than this was made to fill the memory.
MAX_UNPACKED_RATIO, MIN_UNPACKED_LIMIT = 1000, 2**26
NO_SEPARATOR = ""  # of cells that do not come from a line of text
PANDAS_INDEX = "__index_level_"  # begins the name of an index that pandas writes as a column


@dataclass(frozen=True)
class TableSource:
    """Where a typed table comes from, and how it is to be read.

    path, name  of the file, and its name in messages
    sha256      digest of the file
    options     the user's
    hints       what is known about the table before it is read
    """

    path: Path
    name: str
    sha256: str
    options: ReadOptions
    hints: TableHints

    @property
    def short_name(self) -> str:
        """Return the name without its folder."""
        return Path(self.name).name


@contextmanager
def decode_errors(name: str, kind: str, remedy: str) -> Iterator[None]:
    """Turn whatever a library raises for broken bytes into a DataError: "`name` cannot be read as `kind`; `remedy`"."""
    try:
        with stderr_to_null():
            yield
    except (DataError, MemoryError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # a panic of polars is no Exception
        if isinstance(error, OSError) and error.errno:
            raise
        reason = shorten(next(iter(str(error).splitlines()), type(error).__name__), 160)
        raise DataError(f"{name} cannot be read as {kind} ({reason}); {remedy}") from None


def typed_table(
    source: TableSource,
    columns: "list[pl.Series]",
    names: Sequence[str],
    description: str,
    *,
    row_location: Callable[[int], str] = lambda index: f"row {index + 1}",
    has_header: bool = True,
    notices: Sequence[str] = (),
    label: int | None = None,
    sha256: str = "",
) -> TableFrame:
    """Return columns of any types as a table, with clean text and the types of a TableFrame.

    names         of the columns, empty for one without a name
    description   how the table is written, for the notice
    row_location  describes a row by its index, has_header tells whether the names are the user's
    notices       on how the file was read
    label         index of the column that the format declares as the label; None without one
    sha256        digest of the file (unpacked, if it is packed with gzip); empty: that of `source`
    Raises DataError for infinite numbers, for no rows, and for a single column unless allowed.
    """
    import polars as pl

    if not columns or (len(columns) < 2 and not source.hints.allow_single_column):
        width = "a single column" if columns else "no columns"
        raise DataError(f"{source.name} has {width}; expected a label and at least one feature")
    if not len(columns[0]):
        raise DataError(f"{source.name} has columns and no rows; expected a row for each example")
    names = [f"column {c + 1}" if not name or name.startswith(PANDAS_INDEX) else name for c, name in enumerate(names)]
    hints = source.hints
    unreadable: dict[int, str] = {}
    notices = list(notices)
    made: list[pl.Series] = []
    strays: dict[int, StraySentence] = {}
    stored_as_text: list[str] = []  # and read as numbers
    for c, cells in enumerate(columns):
        named = f"column {c + 1} ({shorten(names[c])!r})"
        plain = plain_column(cells)
        if plain is None:
            unreadable[c] = describe_nested(cells.dtype)
            plain = pl.Series([None] * len(cells), dtype=pl.Float64)
        if is_chosen(hints.text, c, names[c]):
            plain = clean_text(cells_as_text(plain), hints.classes)
        elif is_chosen(hints.verbatim, c, names[c]):
            pass
        elif plain.dtype == pl.String:
            keep_text = isinstance(cells.dtype, (pl.Categorical, pl.Enum))
            parsed = parse_column(plain, NO_SEPARATOR, keep_text=keep_text, classes=hints.classes)
            plain = parsed.cells
            if plain.dtype.is_numeric() and plain.null_count() < len(plain):
                stored_as_text.append(names[c])
            if parsed.stray:
                strays[c] = StraySentence(source.name, row_location, named, parsed.stray)
        if plain.dtype.is_float() and (infinite := plain.is_infinite().fill_null(False)).any():
            at = int(infinite.arg_max() or 0)
            raise DataError(
                f"{source.name}, {row_location(at)}: {named} is {plain[at]}; expected a finite number; correct it or "
                "leave it empty"
            )
        made.append(plain.alias(str(c)))
    if stored_as_text:
        notices.append(
            f"{source.short_name}: cells of text that are numbers are read as numbers in {list_names(stored_as_text)} "
            f"({option('category')} keeps text)."
        )
    return TableFrame(
        pl.DataFrame(made),
        source.path,
        source.name,
        tuple(names),
        has_header,
        sha256 or source.sha256,
        description,
        row_location,
        strays=strays,
        notices=tuple(notices),
        unreadable=unreadable,
        label=label,
    )


def is_chosen(chosen: Collection[str], c: int, name: str) -> bool:
    """Tell whether a column is among those that are given by name or by number from 1."""
    return name in chosen or str(c + 1) in chosen


def plain_column(cells: "pl.Series") -> "pl.Series | None":
    """Return a column as one of the types of a TableFrame; None where it holds nothing that can be learned from."""
    import polars as pl

    dtype = cells.dtype
    if isinstance(dtype, (pl.Categorical, pl.Enum, pl.String)):
        return cells.cast(pl.String)
    if isinstance(dtype, pl.Duration):
        seconds = cells.dt.total_nanoseconds().cast(pl.Float64).to_numpy() / 1e9  # polars would round the quotient
        return pl.Series(seconds).fill_nan(None)
    if isinstance(dtype, pl.Datetime):
        in_utc = cells.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if dtype.time_zone else cells
        return in_utc.dt.cast_time_unit("us")
    if dtype.is_decimal() or dtype.is_float() or dtype == pl.Null:
        return cells.cast(pl.Float64).fill_nan(None)
    if dtype.is_integer():
        return cells.cast(pl.Float64) if "128" in str(dtype) else cells
    return cells if dtype in (pl.Boolean, pl.Date, pl.Time) else None


def describe_nested(dtype: "pl.DataType") -> str:
    """Return what a column holds that cannot be learned from: lists, records, bytes."""
    import polars as pl

    if isinstance(dtype, (pl.List, pl.Array)):
        return "lists"
    return {pl.Struct: "records", pl.Binary: "bytes", pl.Object: "objects"}.get(
        type(dtype), f"values of the type {dtype}"
    )


def column_of_values(values: list[Any]) -> "pl.Series":
    """Return Python values as a column: numbers, true and false, text, or a mixture of them as text.

    Lists, dictionaries and bytes give a column of that type, which cannot be learned from.
    """
    import polars as pl

    kinds = {type(value) for value in values} - {type(None)}
    if list in kinds or dict in kinds:
        nested = pl.List(pl.Null) if list in kinds else pl.Struct({"key": pl.Null})
        return pl.Series([None] * len(values), dtype=nested)
    if bytes in kinds:
        return pl.Series([b""] * len(values), dtype=pl.Binary)
    if kinds == {bool}:
        return pl.Series(values, dtype=pl.Boolean)
    if kinds == {int} and all(value is None or abs(value) <= MAX_INT64 for value in values):
        return pl.Series(values, dtype=pl.Int64)
    is_text = str in kinds
    convert: Callable[[Any], Any] = value_text if is_text else to_float
    converted = [None if value is None else convert(value) for value in values]
    return pl.Series(converted, dtype=pl.String if is_text else pl.Float64)


def to_float(value: float) -> float:
    """Return a number as float64; infinite where it is too large."""
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def value_text(value: Any) -> str:
    """Return a value as text: 1.0 is 1, True is true."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else str(value)
