"""Make a `Source` of arrays in memory, and find out what their targets are."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lagvis.arguments import names_of
from lagvis.data.labels import are_hardly_classes
from lagvis.data.source import Source
from lagvis.errors import DataError, UsageError
from lagvis.interchange import to_numpy

# What the targets of a data set can be: one class a row, several labels a row, or numbers.
CLASSES, LABELS, NUMBERS = TARGETS = ("classes", "labels", "numbers")
AUTO = "auto"
MAX_FLOAT_CLASSES = 30  # whole numbers of a real type that may be classes; more of them are numbers


def check_targets(targets: str, *, allow_auto: bool = True) -> None:
    """Raise UsageError for another kind of targets."""
    allowed = (AUTO, *TARGETS) if allow_auto else TARGETS
    if not isinstance(targets, str) or targets not in allowed:
        raise UsageError(f"targets is {targets!r}; expected {' or '.join(map(repr, allowed))}")


def check_share(test: Any) -> None:
    """Raise UsageError unless a share of test rows is from 0 and below 1."""
    if isinstance(test, bool) or not isinstance(test, int | float | np.floating) or not 0.0 <= test < 1.0:
        raise UsageError(f"test is {test!r}; expected the share of rows to test by, from 0 and below 1")


def check_name(name: str) -> None:
    """Raise UsageError for a name of a data set that is no text."""
    if not isinstance(name, str):
        raise UsageError(f"name is of the type {type(name).__name__}; expected text")


def array_source(
    X: Any,  # noqa: N803
    y: Any,
    *,
    test: float = 0.0,
    X_test: Any = None,  # noqa: N803
    y_test: Any = None,
    sample_weight: Any = None,
    targets: str = AUTO,
    feature_names: Sequence[str] = (),
    target_names: Sequence[str] = (),
    name: str = "arrays",
) -> tuple[Source, str, bool]:
    """Return the source of a data set in arrays, what its targets are, and whether it has a test part.

    The arguments are those of `Dataset.from_arrays`. Without a test part, the first row stands in its place.
    """
    check_targets(targets)
    check_share(test)
    check_name(name)
    if (X_test is None) != (y_test is None):
        missing = "y_test" if y_test is None else "X_test"
        raise UsageError(f"{missing} is missing; give X_test and y_test together, or neither")
    if test and X_test is not None:
        raise UsageError(f"test is {test!r} and X_test is given; use one of them for the test part")
    (x, columns), labels = features_of(X, "X"), to_numpy(y, "y")
    if x.ndim < 2 or labels.ndim < 1 or len(x) != len(labels) or len(x) == 0:
        raise DataError(
            f"X has the shape {x.shape} and y the shape {labels.shape}; expected X (rows, ...) and y (rows,) or "
            "(rows, targets), at least one row, equally many in both"
        )
    kind = infer_targets(labels) if targets == AUTO else targets
    if kind == NUMBERS and labels.dtype.kind not in "biuf":
        raise DataError(f"y is of type {labels.dtype}, and targets is 'numbers'; expected numbers")
    named = names_of(feature_names, "feature_names") or columns
    fields: dict[str, Any] = {"feature_names": check_names("feature_names", named, x)}
    names = names_of(target_names, "target_names")
    fields |= {"target_names" if kind == NUMBERS else "label_names": names} if names else {}
    sha256 = {"X": digest(x), "y": digest(labels)}
    if sample_weight is not None:
        fields["weights_name"] = "sample_weight"
        w = to_numpy(sample_weight, "sample_weight")
        sha256["sample_weight"] = digest(w)
    if X_test is None:
        source = Source.hold_out(
            name, x, labels, sha256, path=Path(name), by_class=kind == CLASSES,
            row_location=lambda row: f"row {row} of X", w=None if sample_weight is None else w, share=test, **fields,
        )  # fmt: skip
        return source, kind, test > 0
    if sample_weight is not None:
        fields["w_train"] = w
    x_test, labels_test = features_of(X_test, "X_test", columns)[0], to_numpy(y_test, "y_test")
    sha256 |= {"X_test": digest(x_test), "y_test": digest(labels_test)}
    # The data set has copies: what the caller writes into the arrays later shall not change it.
    source = Source(
        name, x.copy(), labels, x_test.copy(), labels_test, sha256,
        row_location=lambda part, row: f"row {row} of {'X' if part == 'training' else 'X_test'}", **fields,
    )  # fmt: skip
    return source, kind, True


def features_of(values: Any, name: str, columns: Sequence[str] = ()) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return features as an array (N, ...), and the names of the columns of a data frame; () for arrays.

    `columns` are those that a data frame must have: they are taken in this order.
    """
    if not isinstance(values, np.ndarray):
        from lagvis.data.tables.data_frame import is_frame, numbers_of_frame  # readers of tables, which arrays need not

        if is_frame(values):
            return numbers_of_frame(values, name, columns)
    return to_numpy(values, name), ()


def check_names(argument: str, names: Sequence[str], x: np.ndarray) -> tuple[str, ...]:
    """Return the names of the numbers of a row; UsageError unless there is one for each, and all differ."""
    found, width = tuple(names), int(np.prod(x.shape[1:]))
    if found and (len(found) != width or len({*found}) != width):
        raise UsageError(
            f"{argument} has {len(found)} names, {len({*found})} of them different; expected {width}, one for each "
            "number of a row"
        )
    return found


def infer_targets(y: np.ndarray) -> str:
    """Return what targets y (N,) or (N, n) are: "classes", "labels" or "numbers"; DataError if that is not clear.

    Text, truth values and whole numbers of an integer type are classes, real numbers are numbers. Several columns of
    0 and 1 are labels, or classes if each row has exactly one 1.
    """
    if y.ndim == 2 and y.shape[1] > 1:
        if y.dtype.kind not in "biuf":
            return LABELS
        ones = y == 1
        if not (ones | (y == 0)).all():
            return NUMBERS
        return CLASSES if (ones.sum(axis=1) == 1).all() else LABELS
    if y.dtype.kind not in "iuf":
        return CLASSES
    values, counts = np.unique(y, return_counts=True)
    if y.dtype.kind == "f" and (len(values) > MAX_FLOAT_CLASSES or not (values == np.floor(values)).all()):
        return NUMBERS
    if y.dtype.kind in "iu" and not are_hardly_classes(counts.tolist()):
        return CLASSES
    raise DataError(
        f"y holds {len(values):,} different whole numbers of type {y.dtype} in {len(y):,} rows, which may be classes "
        "or numbers; say targets='classes' or targets='numbers'"
    )


def digest(array: np.ndarray) -> str:
    """Return the SHA-256 of the type, shape and values of an array."""
    found = hashlib.sha256(f"{array.dtype.str} {array.shape}".encode())
    found.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return found.hexdigest()
