"""Weights of the rows of a data set, as its owner gives them: read, checked and described."""

import numpy as np

from lagvis.data.source import Source
from lagvis.errors import DataError


def check_weights(source: Source) -> np.ndarray | None:
    """Return the weights of the training rows (N,) float64, None if the data have none.

    DataError names the first weight that is not a finite number from 0. Weights of test rows are checked too and not
    used: a result counts every test row once.
    """
    w_train = check_part(source, "training", source.w_train, len(source.x_train))
    check_part(source, "test", source.w_test, len(source.x_test))
    if w_train is not None and not w_train.any():
        raise DataError(
            f"{source.name}: the weights of all training rows are 0 ({source.weights_name}), so there is nothing to "
            "learn from; give some rows a weight above 0"
        )
    return w_train


def check_part(source: Source, part: str, w: np.ndarray | None, rows: int) -> np.ndarray | None:
    """Return the weights of a part of the data as float64; DataError for another shape, type or value."""
    if w is None:
        return None
    name = source.weights_name
    if w.shape != (rows,) or w.dtype.kind not in "biuf":
        raise DataError(
            f"{source.name}: the weights of the {part} part ({name}) are {w.dtype} of shape {w.shape}; expected "
            f"{rows:,} numbers, shape ({rows},), one for each row"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        w = w.astype(np.float64)
    bad = ~(np.isfinite(w) & (w >= 0))
    if bad.any():
        row = int(bad.argmax())
        found = "missing or not a number" if np.isnan(w[row]) else f"{w[row]:g}"
        raise DataError(
            f"{source.locate_row(part, row)}: its weight ({name}) is {found}; expected a finite number from 0; correct "
            "it, or give 0 to a row that shall not be learned from"
        )
    return w


def describe_weights(w: np.ndarray, name: str) -> str:
    """Return one sentence about the weights of the training rows (N,), read from `name`."""
    zeros = int(np.count_nonzero(w == 0))
    least, most = w[w > 0].min(), w.max()
    spread = f"all {most:g}" if least == most else f"{least:g} to {most:g}"
    sentence = f"Training rows have weights {spread} from {name}; results count every row once"
    if zeros:
        rows = "1 row of weight 0 is" if zeros == 1 else f"{zeros:,} rows of weight 0 are"
        sentence += f"; {rows} neither learned from nor held out for validation"
    return f"{sentence}."
