"""Turn the columns of a table into features, by what the training rows hold; kept in the checkpoint of the network.

numbers      one feature, the number or its logarithm; a missing cell is the training mean
booleans     one feature, 0 or 1
categories   one feature a level, 1 for the row's own level and otherwise 0; rare levels share one; a level that
             training did not have is 0 in all of them
dates        seconds since the first date in training; month, weekday and hour as sine and cosine, where they vary

A column of which more than MIN_MISSING_SHARE is missing in training has one more feature, 1 where its cell is missing.
"""

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

if TYPE_CHECKING:
    import polars as pl

MIN_MISSING_SHARE = 0.01


@dataclass(frozen=True)
class NumberEncoding:
    """A column of numbers.

    name, position  of the column in the training table, the position from 0
    fill            for a missing cell, before the logarithm
    missing         whether a feature tells that the cell is missing
    log_offset      added before the logarithm is taken; None where the number itself is learned from
    log_floor       smallest value (with the offset) whose logarithm is taken: smaller ones are raised to it
    """

    kind: ClassVar[str] = "number"
    name: str
    position: int
    fill: float
    missing: bool = False
    log_offset: float | None = None
    log_floor: float = 0.0

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Return the names of the features."""
        value = self.name if self.log_offset is None else f"log {self.name}"
        return (value, f"{self.name} is missing") if self.missing else (value,)

    def apply(self, cells: "pl.Series") -> np.ndarray:
        """Return the features (N, width) of cells (N,) of numbers."""
        import polars as pl

        values = cells.cast(pl.Float64).fill_null(self.fill).to_numpy()
        if self.log_offset is not None:
            values = np.log(np.maximum(values + self.log_offset, self.log_floor))
        return np.column_stack([values, cells.is_null().to_numpy()]) if self.missing else values[:, None]


@dataclass(frozen=True)
class BooleanEncoding:
    """A column of true and false; `fill`, the share of true in training, for a missing cell."""

    kind: ClassVar[str] = "boolean"
    name: str
    position: int
    fill: float
    missing: bool = False

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Return the names of the features."""
        return (self.name, f"{self.name} is missing") if self.missing else (self.name,)

    def apply(self, cells: "pl.Series") -> np.ndarray:
        """Return the features (N, width) of cells (N,) of true and false."""
        import polars as pl

        values = cells.cast(pl.Float64).fill_null(self.fill).to_numpy()
        return np.column_stack([values, cells.is_null().to_numpy()]) if self.missing else values[:, None]


@dataclass(frozen=True)
class CategoryEncoding:
    """A column of categories.

    levels   texts that have a feature each, in natural order
    other    levels that training had and that share one feature, "other"; empty: there is none
    missing  whether a missing cell is a level of its own
    """

    kind: ClassVar[str] = "category"
    name: str
    position: int
    levels: tuple[str, ...]
    other: tuple[str, ...] = ()
    missing: bool = False

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Return the names of the features."""
        names = [f"{self.name}={level}" for level in self.levels]
        return (*names, *[f"{self.name}=other"] * bool(self.other), *[f"{self.name} is missing"] * self.missing)

    def apply(self, cells: "pl.Series") -> np.ndarray:
        """Return the features (N, width) of cells (N,) of text, numbers or truth values."""
        import polars as pl

        index = {level: i for i, level in enumerate(self.levels)}
        index |= dict.fromkeys(self.other, len(self.levels))
        width = len(self.feature_names)
        codes = cells.cast(pl.String).replace_strict(index, default=width, return_dtype=pl.Int64).to_numpy()
        if self.missing:
            codes = np.where(cells.is_null().to_numpy(), width - 1, codes)
        return np.eye(width + 1)[codes][:, :width]

    def unseen(self, cells: "pl.Series") -> "pl.Series":
        """Return the texts among cells that training did not have, each once; a missing cell is none."""
        import polars as pl

        found = cells.cast(pl.String).drop_nulls().unique(maintain_order=True)
        return found.filter(~found.is_in([*self.levels, *self.other]))


@dataclass(frozen=True)
class DateEncoding:
    """A column of dates, times of day, or both.

    origin   seconds since 1970 of the earliest in training
    fill     seconds since `origin` for a missing cell
    parts    which of PARTS vary in training: each gives a sine and a cosine
    """

    kind: ClassVar[str] = "date"
    name: str
    position: int
    origin: float
    fill: float
    parts: tuple[str, ...] = ()
    missing: bool = False

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Return the names of the features."""
        waves = [f"{self.name} {part} ({wave})" for part in self.parts for wave in ("sine", "cosine")]
        return (self.name, *waves, *[f"{self.name} is missing"] * self.missing)

    def apply(self, cells: "pl.Series") -> np.ndarray:
        """Return the features (N, width) of cells (N,) of dates."""
        raise NotImplementedError


ColumnEncoding = NumberEncoding | BooleanEncoding | CategoryEncoding | DateEncoding
ENCODINGS: dict[str, Any] = {
    kind.kind: kind for kind in (NumberEncoding, BooleanEncoding, CategoryEncoding, DateEncoding)
}


@dataclass(frozen=True)
class LeftOut:
    """A column that is not learned from, and why: "numbers the rows", "is another text in every row".

    is_id  whether it names a row (--id), and is copied to predictions
    """

    name: str
    position: int
    reason: str
    is_id: bool = False


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
    def feature_columns(self) -> tuple[int, ...]:
        """Return the column of each feature in the training table, from 1."""
        return tuple(column.position + 1 for column in self.columns for _ in column.feature_names)

    @property
    def is_plain(self) -> bool:
        """Whether every column is a number that is learned from as it is, and no cell may be missing."""
        return all(isinstance(c, NumberEncoding) and not c.missing and c.log_offset is None for c in self.columns)

    def apply(self, cells: "list[pl.Series]") -> np.ndarray:
        """Return the features (N, n_features) float64 of the columns, given in the order of `columns`."""
        parts = [column.apply(series) for column, series in zip(self.columns, cells, strict=True)]
        return np.ascontiguousarray(np.concatenate(parts, axis=1), np.float64)

    def as_json(self) -> dict[str, Any]:
        """Return the encoding as JSON, for the checkpoint; `from_json` reads it."""
        return {
            "columns": [{"kind": column.kind, **asdict(column)} for column in self.columns],
            "left_out": [asdict(column) for column in self.left_out],
        }

    @classmethod
    def from_json(cls, value: Any) -> "TableEncoding":
        """Return the encoding that `as_json` wrote; ValueError for anything else."""
        try:
            columns = [dict(column) for column in value["columns"]]
            encodings = tuple(ENCODINGS[column.pop("kind")](**with_tuples(column)) for column in columns)
            left_out = tuple(LeftOut(**column) for column in value["left_out"])
            encoding = cls(encodings, left_out)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"an encoding of columns that cannot be read ({error})") from None
        if not all(math.isfinite(getattr(column, "fill", 0.0)) for column in encoding.columns):
            raise ValueError("an encoding of columns with a number that is not finite")
        return encoding


ALL_NUMBERS = TableEncoding(())  # every column beside the label is a number, and none may be missing


def with_tuples(values: dict[str, Any]) -> dict[str, Any]:
    """Return JSON values with tuples for lists."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
