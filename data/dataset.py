"""A data set as host arrays, checked, with the user's own names for what its numbers mean."""

import math
from dataclasses import dataclass

import numpy as np

from data.errors import DataError

# Beyond this, floating-point numbers are farther apart than whole ones.
LARGEST_WHOLE = 2.0**53


@dataclass(frozen=True)
class Source:
    """What a reader found, before it is known what is to be learned from it; x (N, ...), y (N,) or (N, n_out)."""

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    sha256: dict[str, str]
    target_names: tuple[str, ...] = ()
    unit: str = ""
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dataset:
    """Rows to learn from and rows to be judged by.

    x_*           (N, n_in) uint8 (bytes, scaled by 1/255 in the step) or float64 (to be standardised)
    y_*           (N,) class indices, uint8 up to 256 classes and int32 beyond, or (N, n_out) float64
    shape         of one row as it came: (28, 28)
    class_names   of index 0..K-1, the user's own labels; empty where numbers are predicted
    target_names  of the n_out numbers, `unit` what they are measured in; empty for classes
    notices       what the user should be told in a line each
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    shape: tuple[int, ...]
    class_names: tuple[str, ...]
    target_names: tuple[str, ...]
    unit: str
    sha256: dict[str, str]
    notices: tuple[str, ...]

    @property
    def n_out(self) -> int:
        """Width of the last layer: classes, or numbers to predict."""
        return len(self.class_names) or self.y_train.shape[1]


def as_classification(source: Source) -> Dataset:
    """Labels of any integer values become indices 0..K-1 in the order of their values, kept as class names."""
    x_train, x_test = rows_of(source)
    y_train, y_test = labels(source, "training", source.y_train), labels(source, "test", source.y_test)
    values, indices = np.unique(y_train, return_inverse=True)
    if len(values) < 2:
        raise DataError(f"{source.name}: every training label is {values[0]}; a classifier needs at least two classes")
    unknown = np.flatnonzero(~np.isin(y_test, values))
    if unknown.size:
        row = int(unknown[0])
        raise DataError(
            f"{source.name}: test row {row} has the label {y_test[row]}, which no training row has "
            f"({len(values)} labels from {values[0]} to {values[-1]}); remove such rows or add training rows for them"
        )
    notices = source.notices
    if not np.array_equal(values, np.arange(len(values))):
        notices += (
            f"Labels are {values[0]}..{values[-1]}: outputs 0..{len(values) - 1} stand for them in that order.",
        )
    smallest = np.uint8 if len(values) <= 256 else np.int32  # PyTorch gathers no uint16 or uint32
    return Dataset(
        source.name,
        x_train,
        indices.reshape(-1).astype(smallest),
        x_test,
        np.searchsorted(values, y_test).astype(smallest),
        shape=source.x_train.shape[1:],
        class_names=tuple(str(value) for value in values),
        target_names=(),
        unit="",
        sha256=source.sha256,
        notices=notices,
    )


def as_regression(source: Source) -> Dataset:
    """Targets (N,) or (N, n_out) become float64 (N, n_out), named."""
    x_train, x_test = rows_of(source)
    y_train, y_test = targets(source, source.y_train), targets(source, source.y_test)
    if y_train.shape[1] != y_test.shape[1]:
        raise DataError(
            f"{source.name}: {y_train.shape[1]} targets a training row, {y_test.shape[1]} a test row; make them equal"
        )
    names = source.target_names or tuple(f"target {i}" for i in range(y_train.shape[1]))
    if len(names) != y_train.shape[1]:
        raise DataError(
            f"{source.name}: {len(names)} target names for {y_train.shape[1]} targets a row; give one name each"
        )
    if len(set(names)) < len(names):
        raise DataError(f"{source.name}: two targets have one name ({', '.join(names)}); give each its own")
    return Dataset(
        source.name,
        x_train,
        y_train,
        x_test,
        y_test,
        shape=source.x_train.shape[1:],
        class_names=(),
        target_names=names,
        unit=source.unit,
        sha256=source.sha256,
        notices=source.notices,
    )


def rows_of(source: Source) -> tuple[np.ndarray, np.ndarray]:
    """Both x as (N, n_in), bytes kept as bytes and everything else as float64; row counts and widths checked."""
    for part, x, y in (("training", source.x_train, source.y_train), ("test", source.x_test, source.y_test)):
        if x.ndim < 2 or y.ndim < 1 or len(x) != len(y) or len(x) == 0:
            raise DataError(
                f"{source.name}: the {part} part has x of shape {x.shape} and y of shape {y.shape}; "
                "expected x (rows, ...) and y (rows,) or (rows, targets), at least one row, equally many in both"
            )
        if x.dtype.kind not in "biuf":
            raise DataError(f"{source.name}: the {part} part has x of type {x.dtype}; expected numbers")
    if source.x_train.shape[1:] != source.x_test.shape[1:]:
        raise DataError(
            f"{source.name}: a training row has the shape {source.x_train.shape[1:]}, "
            f"a test row {source.x_test.shape[1:]}; both must be equal"
        )
    width = math.prod(source.x_train.shape[1:])
    keep = source.x_train.dtype == source.x_test.dtype == np.uint8
    if width == 0:
        raise DataError(f"{source.name}: x has the shape {source.x_train.shape}, whose rows hold no numbers")
    x_train, x_test = source.x_train.reshape(-1, width), source.x_test.reshape(-1, width)
    if keep:
        return x_train, x_test
    return finite_rows(source, "training", x_train), finite_rows(source, "test", x_test)


def finite_rows(source: Source, part: str, x: np.ndarray) -> np.ndarray:
    """Rows as float64, every number of them finite."""
    with np.errstate(over="ignore"):
        rows = x.astype(np.float64, copy=False)
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        row = int(np.flatnonzero(~finite)[0])
        raise DataError(f"{source.name}: x has a NaN or an infinity in {part} row {row}; remove or fill such values")
    return rows


def labels(source: Source, part: str, y: np.ndarray) -> np.ndarray:
    """Labels as integers (N,); floats are taken where each is a whole number."""
    if y.ndim != 1:
        raise DataError(
            f"{source.name}: the {part} labels have the shape {y.shape}, expected ({len(y)},): one class number a row"
        )
    if y.dtype.kind == "f":
        bad = np.flatnonzero(~((y == np.floor(y)) & (np.abs(y) < LARGEST_WHOLE)))
        if bad.size:
            row = int(bad[0])
            raise DataError(
                f"{source.name}: {part} row {row} has the label {y[row]}, expected a whole number; "
                "to predict numbers use --loss mse"
            )
        y = y.astype(np.int64)
    if y.dtype.kind not in "iu":
        raise DataError(f"{source.name}: the {part} labels are of type {y.dtype}, expected whole numbers")
    return y


def targets(source: Source, y: np.ndarray) -> np.ndarray:
    """Targets as float64 (N, n_out), every one finite."""
    if y.ndim > 2 or y.size == 0 or y.dtype.kind not in "biuf" or not np.isfinite(y).all():
        raise DataError(
            f"{source.name}: y of shape {y.shape} and type {y.dtype}; "
            "expected finite numbers (rows,) or (rows, targets)"
        )
    return y.reshape(len(y), -1).astype(np.float64)
