"""Evaluate a network on given rows, in chunks, by the same backend interface as training."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lagvis.backends.backend import Backend
from lagvis.network.activations import ACTIVATIONS
from lagvis.network.normalization import NORMALIZATIONS
from lagvis.network.step import make_evaluation
from lagvis.training.model import Model
from lagvis.tree import tree_map

LABEL_COUNTS = ("positives", "predicted_positives", "true_positives")
# The activations of a layer for one chunk have at most this many numbers (16 MB of float32).
CHUNK_ROWS = 1000
CHUNK_VALUES = 4_000_000


class StopRequestedError(Exception):
    """Raised when the caller requested a stop."""


@dataclass(frozen=True)
class Metrics:
    """How well a network does on some rows.

    loss       mean over rows; for classes the cross-entropy, without label smoothing and class weights; for regression
               the mean over targets of the loss in standardised units (with mse, 1: always predicting the mean)
    accuracy   share of rows, or of the labels of all rows, 0..1; classes and labels only
    errors     root mean square error of each target, in the user's unit; regression only
    absolute_errors  mean absolute error of each target, in the user's unit; regression only, if measured
    confusion  counts (K, K), target classes by row and predicted classes by column; classes only, if counted
    exact_match      share of rows whose labels are all right, 0..1; labels only
    label_confusion  counts (L, 2, 2) of each label, target by row and prediction by column; labels only, if counted
    objective  what training minimises, with label smoothing and weights; None where it is the loss
    """

    loss: float
    accuracy: float | None = None
    errors: tuple[float, ...] = ()
    absolute_errors: tuple[float, ...] = ()
    confusion: np.ndarray | None = None
    exact_match: float | None = None
    label_confusion: np.ndarray | None = None
    objective: float | None = None

    @classmethod
    def of(cls, totals: dict[str, np.ndarray], model: Model) -> "Metrics":
        """Return the means of the totals of a step (network/step.py)."""
        rows = float(totals["rows"] if "rows" in totals else totals["weight"])
        loss = float(totals["loss"]) / rows
        objective = float(totals["objective"]) / rows if "objective" in totals else None
        if model.y_scaling is not None:
            deviation = model.y_scaling.deviation
            errors = np.sqrt(totals["squared_error"] / rows) * deviation
            absolute = totals["absolute_error"] / rows * deviation if "absolute_error" in totals else ()
            return cls(
                loss,
                errors=tuple(map(float, errors)),
                absolute_errors=tuple(map(float, absolute)),
                objective=objective,
            )
        return cls(
            loss,
            accuracy=float(totals["correct"]) / rows,
            confusion=totals.get("confusion"),
            exact_match=float(totals["exact"]) / rows if "exact" in totals else None,
            label_confusion=count_labels(totals, rows) if "positives" in totals else None,
            objective=objective,
        )

    @property
    def finite(self) -> bool:
        """Whether loss and objective are finite numbers."""
        return math.isfinite(self.loss) and (self.objective is None or math.isfinite(self.objective))

    @property
    def judged(self) -> bool:
        """Whether the metrics are a result: loss, objective and the errors of all targets are finite numbers."""
        return self.finite and all(map(math.isfinite, self.errors))


def zero_totals(
    model: Model, dtype: str, *, details: bool = False, weighted: bool = False, objective: bool = False
) -> dict[str, np.ndarray]:
    """Return the totals before the first row, on the host, with those that are asked for.

    Where rows are `weighted` they are also counted; `objective` adds the total that is minimised, `details` the
    absolute errors of numbers and the counts of labels.
    """
    totals: dict[str, np.ndarray] = {"loss": np.zeros((), dtype), "weight": np.zeros((), dtype)}
    if objective:
        totals["objective"] = np.zeros((), dtype)
    if weighted:
        totals["rows"] = np.zeros((), dtype)
    if model.y_scaling is not None:
        names = ("squared_error", "absolute_error") if details else ("squared_error",)
        return totals | {name: np.zeros(model.widths[-1], dtype) for name in names}
    totals["correct"] = np.zeros((), dtype)
    if model.multi_label:
        totals["exact"] = np.zeros((), dtype)
        if details:
            totals |= {name: np.zeros(model.widths[-1], dtype) for name in LABEL_COUNTS}
    return totals


def count_labels(totals: dict[str, np.ndarray], rows: float) -> np.ndarray:
    """Return the counts (L, 2, 2) of each label, target by row and prediction by column: 0, then 1."""
    positives, predicted, true = (totals[name] for name in LABEL_COUNTS)
    negatives = np.stack([rows - positives - predicted + true, predicted - true], axis=-1)
    return np.rint(np.stack([negatives, np.stack([positives - true, true], axis=-1)], axis=-2)).astype(np.int64)


def rows_per_chunk(widths: tuple[int, ...]) -> int:
    """Return the rows that an evaluation of a network with these widths takes at a time."""
    return max(1, min(CHUNK_ROWS, CHUNK_VALUES // max(widths)))


class Evaluator:
    """Evaluates parameters on rows that are on the device; the evaluation is compiled once for the whole run."""

    def __init__(self, model: Model, backend: Backend) -> None:
        self._model = model
        self._backend = backend
        step = make_evaluation(
            activation=ACTIVATIONS[model.activation],
            loss=model.loss_function,
            normalization=NORMALIZATIONS[model.normalization],
            xp=backend.xp,
        )
        self._run = backend.scan(step)
        self._chunk = rows_per_chunk(model.widths)

    def evaluate(
        self,
        layers: Any,
        data: Any,
        rows: np.ndarray,
        *,
        details: bool = False,
        stop: Callable[[], bool] = lambda: False,
    ) -> Metrics:
        """Return the metrics of `layers` (network/step.py, `evaluated_layers`) on `rows` (integer indices) of `data`.

        Totals are added in float64, and the memory does not grow with the number of rows. StopRequestedError is raised
        if `stop`, called before each chunk, returns true.
        """
        confusion = details and self._model.y_scaling is None and not self._model.multi_label
        zero = zero_totals(self._model, self._backend.dtype, details=details)
        totals = {name: value.astype(np.float64) for name, value in zero.items()}
        targets = self._backend.to_numpy(data["y"]) if confusion else None
        # On the host, where counting costs the same for any number of classes; a page of zeros takes no memory.
        counts = np.zeros((self._model.widths[-1],) * 2 if confusion else (0, 0), np.int64)
        for first in range(0, len(rows), self._chunk):
            if stop():
                raise StopRequestedError
            chunk = rows[first : first + self._chunk]
            start = zero | ({"predicted": np.zeros(len(chunk), np.int32)} if confusion else {})
            indices = self._backend.asarray(chunk[None].astype(np.int32))
            added = self._run(tree_map(self._backend.asarray, start), (indices,), (layers, data))
            totals = {name: total + self._backend.to_numpy(added[name]) for name, total in totals.items()}
            if targets is not None:
                np.add.at(counts, (targets[chunk], self._backend.to_numpy(added["predicted"])), 1)
        return Metrics.of(totals | ({"confusion": counts} if confusion else {}), self._model)
