"""What a reader returns: arrays of a training and a test part, before labels or targets are made of them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lagvis.data.split import TEST_SHARE, HeldOut, hold_out_test
from lagvis.data.tables.encoding import TableEncoding
from lagvis.errors import DataError
from lagvis.run_warning import RunWarning


@dataclass(frozen=True)
class Source:
    """Arrays of a data set as its reader found them.

    x_*              (N, ...) numbers
    y_*              labels (N,) or (N, 1), whole numbers or text; one-hot rows (N, K); or targets (N,) or (N, n_out)
    sha256           digest of each file by its name
    target_names     of the n_out targets, `unit` their unit
    notices          for the user, one line each
    label_names      of the label column, or of the K columns of one-hot rows; empty if they have no names
    feature_names    of the numbers of a row; empty if they have no names
    feature_columns  of a table: column number of each feature in its file, from 1
    label_columns    of a table: column number of each label in its file, from 1
    held_out         the test part that was held out, for data that has none
    transposed       whether the files store the pictures transposed, which stand upright here
    encoding         of the columns of a table; None if there is none
    w_*              weights of the rows (N,), numbers; None if there are none
    weights_name     where the weights were read, for messages: "column 7 ('weight')"; empty if there are none
    warnings         about what the test part, or a table for a network, holds and training did not
    row_location     describes a row, given its part ("training" or "test") and its index in it, as its owner knows it
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    sha256: dict[str, str]
    target_names: tuple[str, ...] = ()
    unit: str = ""
    notices: tuple[str, ...] = ()
    label_names: tuple[str, ...] = ()
    feature_names: tuple[str, ...] = ()
    feature_columns: tuple[int, ...] = ()
    label_columns: tuple[int, ...] = ()
    held_out: HeldOut | None = None
    transposed: bool = False
    encoding: TableEncoding | None = None
    w_train: np.ndarray | None = None
    w_test: np.ndarray | None = None
    weights_name: str = ""
    warnings: tuple[RunWarning, ...] = ()
    row_location: Callable[[str, int], str] | None = None

    @classmethod
    def hold_out(
        cls,
        name: str,
        x: np.ndarray,
        y: np.ndarray,
        sha256: dict[str, str],
        *,
        path: Path,
        by_class: bool,
        row_location: Callable[[int], str],
        w: np.ndarray | None = None,
        allow_single_row: bool = False,
        share: float = TEST_SHARE,
        **fields: Any,
    ) -> "Source":
        """Hold out the test part of rows x (N, ...) with labels or targets y (N, ...) that have none.

        `path` is where they were read, `row_location` describes a row by its index in x, `w` are weights of the rows,
        `share` is that of the test part, below 1, `fields` are other fields of Source. With a share of 0 nothing is
        held out, and the first row stands in for a test part. DataError for fewer than two rows; with
        `allow_single_row`, to evaluate a network, a single row is in both parts.
        """
        if share == 0:
            train, test = np.arange(len(x)), np.zeros(1, np.int64)
        elif len(x) == 1 and allow_single_row:
            train = test = np.zeros(1, np.int64)
        elif len(x) < 2:
            raise DataError(f"{path} holds a single row; expected at least two, one to train on and one for the test")
        else:
            train, test = hold_out_test(y, by_class=by_class, share=share)
        indices = {"training": train, "test": test}
        if w is not None:
            if w.shape != (len(x),):
                raise DataError(f"{path} holds weights of shape {w.shape}; expected one for each row, ({len(x)},)")
            fields |= {"w_train": w[train], "w_test": w[test]}
        return cls(
            name,
            x_train=x[train],
            y_train=y[train],
            x_test=x[test],
            y_test=y[test],
            sha256=sha256,
            held_out=HeldOut(path.name, train, test) if share else None,
            row_location=lambda part, row: row_location(int(indices[part][row])),
            **fields,
        )

    def locate_row(self, part: str, row: int) -> str:
        """Describe a row of a part, given its index from 0, for an error message, where rows are counted from 1."""
        return self.row_location(part, row) if self.row_location else f"{self.name}: {part} row {row + 1}"
