"""Turn the columns of a table into features, by what the training rows hold; kept in the checkpoint of the network.

numbers      one feature, the number or its logarithm; a missing cell is the training mean
booleans     one feature, 0 or 1; a missing cell is the training mean
categories   one feature a level, 1 for the row's own level and otherwise 0; rare levels share one, "other"; a level
             that training did not have is 0 in all of them
dates        seconds since the first date in training; month, weekday and hour as sine and cosine, where they vary

A column that lacks more than MIN_MISSING_SHARE of its training cells has one more feature, 1 where a cell is missing.
For categories that is a level of its own, however few such cells training had.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lagvis.data.json_fields import (
    require_bool,
    require_float,
    require_int,
    require_list,
    require_optional_float,
    require_string,
    require_strings,
    take_fields,
)
from lagvis.data.tables.cell_values import CellError, booleans, cells_as_text, date_seconds, numbers
from lagvis.data.tables.dates import FORMS, SECONDS_OF_DAY, format_date

if TYPE_CHECKING:
    import polars as pl

MIN_MISSING_SHARE = 0.01
BLOCK_BYTES = 2**24  # of features that are written at a time
MAX_COUNT = 2**31  # of the columns of a table, and of its missing cells
MONTH, WEEKDAY, HOUR = PARTS = ("month", "weekday", "hour")
# Why a column is left out: by the user, as its cells name the rows, or as they say nothing that can be learned.
ID, OPTION, WEIGHT = USER_CAUSES = ("id", "option", "weight")
ROW_NUMBER, ROW_TEXT, EMPTY, CONSTANT, RARE_LEVELS, AMBIGUOUS_DATES = CELL_CAUSES = (
    "row number", "row text", "empty", "constant", "rare levels", "ambiguous dates",
)  # fmt: skip
CAUSES = (*USER_CAUSES, *CELL_CAUSES)
VALUE, INDICATOR, DATE, CYCLE = FEATURE_KINDS = ("number", "indicator", "date", "cycle")


@dataclass(frozen=True)
class NumberEncoding:
    """A column of numbers.

    name, position  of the column in the training table, the position from 0
    fill            for a missing cell, before the logarithm
    missing         whether a feature tells that the cell is missing
    log_offset      added before the logarithm is taken; None where the number itself is learned from
    log_floor       smallest value (with the offset) whose logarithm is taken: smaller ones are raised to it
    missing_cells   number of missing cells in training
    """

    kind: ClassVar[str] = "number"
    name: str
    position: int
    fill: float
    missing: bool = False
    log_offset: float | None = None
    log_floor: float = 0.0
    missing_cells: int = 0

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Return the names of the features."""
        value = self.name if self.log_offset is None else f"log {self.name}"
        return (value, f"{self.name} is missing") if self.missing else (value,)

    @property
    def feature_kinds(self) -> tuple[str, ...]:
        """Return the kind of each feature, one of FEATURE_KINDS."""
        return (VALUE, INDICATOR) if self.missing else (VALUE,)

    def write(self, cells: "pl.Series", out: np.ndarray) -> None:
        """Write the features of cells (N,) into `out` (N, width); CellError for a cell that is no number."""
        values = numbers(cells)
        write_missing(self.missing, values, out)
        values = np.where(np.isnan(values), self.fill, values)
        if self.log_offset is not None:
            values = np.log(np.maximum(values + self.log_offset, self.log_floor))
        out[:, 0] = values

    def check(self) -> None:
        """Raise ValueError unless the logarithm is one of positive numbers."""
        if self.log_offset is not None:
            largest = max(self.fill + self.log_offset, self.log_floor)
            if not (self.log_offset >= 0 and self.log_floor > 0 and math.isfinite(largest)):
                raise ValueError("the logarithm of numbers that are not positive or not finite")


@dataclass(frozen=True)
class BooleanEncoding:
    """A column of true and false; `fill`, the share of true in training, for a missing cell."""

    kind: ClassVar[str] = "boolean"
    name: str
    position: int
    fill: float
    missing: bool = False
    missing_cells: int = 0

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Return the names of the features."""
        return (self.name, f"{self.name} is missing") if self.missing else (self.name,)

    @property
    def feature_kinds(self) -> tuple[str, ...]:
        """Return the kind of each feature, one of FEATURE_KINDS."""
        return (INDICATOR, INDICATOR) if self.missing else (INDICATOR,)

    def write(self, cells: "pl.Series", out: np.ndarray) -> None:
        """Write the features of cells (N,) into `out` (N, width); CellError for a cell that is not true or false."""
        values = booleans(cells)
        write_missing(self.missing, values, out)
        out[:, 0] = np.where(np.isnan(values), self.fill, values)

    def check(self) -> None:
        """Raise ValueError unless `fill` is a share."""
        if not 0 <= self.fill <= 1:
            raise ValueError(f"{self.fill} as a share")


@dataclass(frozen=True)
class CategoryEncoding:
    """A column of categories.

    levels   texts that have a feature each, in natural order
    other    levels that training had and that share one feature, "other"; empty: there is none
    missing  whether a missing cell is a level of its own, the last feature
    """

    kind: ClassVar[str] = "category"
    name: str
    position: int
    levels: tuple[str, ...]
    other: tuple[str, ...] = ()
    missing: bool = False
    missing_cells: int = 0

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Return the names of the features."""
        names = [f"{self.name}={level}" for level in self.levels]
        return (*names, *[f"{self.name}=other"] * bool(self.other), *[f"{self.name} is missing"] * self.missing)

    @property
    def feature_kinds(self) -> tuple[str, ...]:
        """Return the kind of each feature, one of FEATURE_KINDS."""
        return (INDICATOR,) * len(self.feature_names)

    def codes(self, cells: "pl.Series") -> np.ndarray:
        """Return the index (N,) of the feature that is 1 for each of cells (N,); for an unknown level their number."""
        import polars as pl

        known = [*self.levels, *self.other]
        codes = (
            cells_as_text(cells).cast(pl.Enum(known), strict=False).to_physical().cast(pl.Int32).fill_null(len(known))
        )
        width = len(self.feature_names)  # stands for a level that training did not have
        feature = np.minimum(np.arange(len(known) + 1, dtype=np.int32), len(self.levels))
        feature[-1] = width
        chosen = feature[codes.to_numpy()]
        if self.missing:
            chosen[cells.is_null().to_numpy()] = width - 1
        return chosen

    def unseen(self, cells: "pl.Series") -> "pl.Series":
        """Return the texts (M,) among cells (N,) that training did not have, in every row that holds one."""
        import polars as pl

        known = pl.Enum([*self.levels, *self.other])
        texts = cells_as_text(cells)
        return texts.filter(texts.is_not_null() & texts.cast(known, strict=False).is_null())

    def check(self) -> None:
        """Raise ValueError unless there are levels, all of them different."""
        if not self.levels or len({*self.levels, *self.other}) < len(self.levels) + len(self.other):
            raise ValueError("levels of a category that are missing or occur twice")


@dataclass(frozen=True)
class DateEncoding:
    """A column of dates, times of day, or both.

    origin   seconds since 1970 of the earliest in training
    fill     seconds since `origin` for a missing cell
    parts    which of PARTS vary in training: each gives a sine and a cosine, 0 for a missing cell
    form     in which they are written, one of FORMS (data/tables/dates.py)
    """

    kind: ClassVar[str] = "date"
    name: str
    position: int
    origin: float
    fill: float
    parts: tuple[str, ...] = ()
    missing: bool = False
    form: str = "yyyy-mm-dd"
    missing_cells: int = 0

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Return the names of the features."""
        waves = [f"{self.name} {part} ({wave})" for part in self.parts for wave in ("sine", "cosine")]
        return (self.name, *waves, *[f"{self.name} is missing"] * self.missing)

    @property
    def feature_kinds(self) -> tuple[str, ...]:
        """Return the kind of each feature, one of FEATURE_KINDS."""
        return (DATE, *[CYCLE] * (2 * len(self.parts)), *[INDICATOR] * self.missing)

    def write(self, cells: "pl.Series", out: np.ndarray) -> None:
        """Write the features of cells (N,) into `out` (N, width); CellError for a cell that is no such date."""
        seconds = date_seconds(cells, self.form)
        write_missing(self.missing, seconds, out)
        is_missing = np.isnan(seconds)
        out[:, 0] = np.where(is_missing, self.fill, seconds - self.origin)
        for i, part in enumerate(self.parts):
            angle = 2 * np.pi * cycle_position(np.where(is_missing, 0.0, seconds), part)
            out[:, 1 + 2 * i] = np.where(is_missing, 0.0, np.sin(angle))
            out[:, 2 + 2 * i] = np.where(is_missing, 0.0, np.cos(angle))

    def describe_value(self, seconds: float) -> str:
        """Return the value of the first feature as a date."""
        return format_date(seconds + self.origin, self.form)

    def check(self) -> None:
        """Raise ValueError unless form and parts are known."""
        if self.form not in FORMS or not {*self.parts} <= {*PARTS} or len({*self.parts}) < len(self.parts):
            raise ValueError(f"dates in the form {self.form!r} with the parts {self.parts!r}")


ColumnEncoding = NumberEncoding | BooleanEncoding | CategoryEncoding | DateEncoding
ENCODINGS: dict[str, Any] = {
    kind.kind: kind for kind in (NumberEncoding, BooleanEncoding, CategoryEncoding, DateEncoding)
}


@dataclass(frozen=True)
class LeftOut:
    """A column that is not learned from.

    cause   why, one of CAUSES
    reason  the same in words, behind the name of the column: "holds another text in every row"
    """

    name: str
    position: int
    cause: str
    reason: str

    @property
    def is_id(self) -> bool:
        """Tell whether it names a row (--id), and is copied to predictions."""
        return self.cause == ID

    def check(self) -> None:
        """Raise ValueError unless the cause is known."""
        if self.cause not in CAUSES:
            raise ValueError(f"{self.cause!r} as the cause why a column is left out")


@dataclass(frozen=True)
class TableEncoding:
    """How the columns of a table become the features of a network.

    columns   in the order of the features; none for ALL_NUMBERS
    left_out  columns of the training table, beside the labels, that are not learned from
    """

    columns: tuple[ColumnEncoding, ...]
    left_out: tuple[LeftOut, ...] = ()

    @property
    def column_names(self) -> tuple[str, ...]:
        """Return the names of the columns that are learned from."""
        return tuple(column.name for column in self.columns)

    @property
    def positions(self) -> tuple[int, ...]:
        """Return the indices of all columns of the training table beside the labels, ascending."""
        return tuple(sorted(column.position for column in (*self.columns, *self.left_out)))

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Return the names of the features."""
        return tuple(name for column in self.columns for name in column.feature_names)

    @property
    def feature_kinds(self) -> tuple[str, ...]:
        """Return the kind of each feature, one of FEATURE_KINDS."""
        return tuple(kind for column in self.columns for kind in column.feature_kinds)

    @property
    def feature_columns(self) -> tuple[int, ...]:
        """Return the column of each feature in the training table, from 1."""
        return tuple(column.position + 1 for column in self.columns for _ in column.feature_names)

    @property
    def is_plain(self) -> bool:
        """Whether every column is a number that is learned from as it is, and no cell may be missing."""
        return all(isinstance(c, NumberEncoding) and not c.missing and c.log_offset is None for c in self.columns)

    def slices(self) -> Iterator[tuple[ColumnEncoding, slice]]:
        """Yield each column with the place of its features among all."""
        start = 0
        for column in self.columns:
            end = start + len(column.feature_names)
            yield column, slice(start, end)
            start = end

    def describe_value(self, feature: int, value: float) -> str | None:
        """Return the value of a feature as the user knows it, a date as such; None for other numbers."""
        for column, place in self.slices():
            if isinstance(column, DateEncoding) and place.start == feature:
                return column.describe_value(value)
        return None

    def apply(self, cells: "list[pl.Series]") -> np.ndarray:
        """Return the features (N, n_features) float64 of the columns, given in the order of `columns`.

        CellError for a cell that its column does not take.
        """
        rows, width = len(cells[0]), len(self.feature_names)
        out = np.zeros((rows, width))
        columns = list(self.slices())
        codes = {i: c.codes(cells[i]) for i, (c, _) in enumerate(columns) if isinstance(c, CategoryEncoding)}
        step = max(1, BLOCK_BYTES // (out.itemsize * width))  # a column at a time would go through `out` many times
        for start in range(0, rows, step):
            block = out[start : start + step]
            for i, (column, place) in enumerate(columns):
                if isinstance(column, CategoryEncoding):
                    write_indicators(codes[i][start : start + step], block[:, place])
                    continue
                try:
                    column.write(cells[i].slice(start, step), block[:, place])
                except CellError as error:
                    raise CellError(error.row + start, error.text, error.expected, i) from None
        return out

    def as_json(self) -> dict[str, Any]:
        """Return the encoding as JSON, for the checkpoint; `from_json` reads it."""
        return {
            "columns": [{"kind": column.kind, **asdict(column)} for column in self.columns],
            "left_out": [asdict(column) for column in self.left_out],
        }

    @classmethod
    def from_json(cls, value: Any) -> "TableEncoding":
        """Return the encoding that `as_json` wrote; ValueError for anything else."""
        columns, left_out = take_fields(value, {"columns": require_list, "left_out": require_list})
        encoding = cls(
            tuple(column_from_json(column) for column in columns),
            tuple(fields_from_json(LeftOut, column) for column in left_out),
        )
        if not encoding.columns or len({*encoding.positions}) < len(encoding.positions):
            raise ValueError("columns that are missing or occur twice")
        return encoding


ALL_NUMBERS = TableEncoding(())  # every column beside the label is a number, and none may be missing


def write_indicators(codes: np.ndarray, out: np.ndarray) -> None:
    """Write 1 into the feature of each row of `out` (N, width), which holds zeros, that `codes` (N,) give."""
    rows = np.flatnonzero(codes < out.shape[1])
    out[rows, codes[rows]] = 1.0


def write_missing(is_wanted: bool, values: np.ndarray, out: np.ndarray) -> None:
    """Write the last feature of `out` (N, width), 1 where values (N,) are missing (NaN), if it is wanted."""
    if is_wanted:
        out[:, -1] = np.isnan(values)


def cycle_position(seconds: np.ndarray, part: str) -> np.ndarray:
    """Return where seconds since 1970 (N,) are in the year, the week or the day, from 0 to 1.

    Month and weekday count in whole ones; the time of day does not.
    """
    days = np.floor(seconds / SECONDS_OF_DAY)
    if part == HOUR:
        return seconds / SECONDS_OF_DAY - days
    if part == WEEKDAY:
        return np.mod(days + 3, 7) / 7  # the first day of 1970 was a Thursday
    months = days.astype(np.int64).astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    return np.mod(months, 12) / 12


def column_from_json(value: Any) -> ColumnEncoding:
    """Return the encoding of a column; ValueError for anything else."""
    if not isinstance(value, dict) or value.get("kind") not in [*ENCODINGS]:
        raise ValueError("a column of unknown kind")
    column: ColumnEncoding = fields_from_json(ENCODINGS[value["kind"]], {k: v for k, v in value.items() if k != "kind"})
    return column


def fields_from_json(kind: Any, value: Any) -> Any:
    """Return a dataclass of some JSON; ValueError unless every field is there and has its type."""
    checks = {field.name: FIELD_CHECKS[str(field.type)] for field in fields(kind)}
    made = kind(*take_fields(value, checks))
    made.check()
    return made


FIELD_CHECKS: dict[str, Callable[[Any], Any]] = {
    str(str): require_string,
    str(int): partial(require_int, maximum=MAX_COUNT),
    str(float): require_float,
    str(bool): require_bool,
    str(float | None): require_optional_float,
    str(tuple[str, ...]): require_strings,
}
