"""How good a network is on given rows: in pieces, through the same seam as training."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from lagvis.backends.backend import Backend
from lagvis.network.activations import ACTIVATIONS
from lagvis.network.losses import LOSSES
from lagvis.network.step import make_evaluation
from lagvis.training.model import Model
from lagvis.tree import tree_map

# One layer of activations of a piece stays under this many numbers (16 MB of float32), however many rows there are.
CHUNK_ROWS = 1000
CHUNK_VALUES = 4_000_000


class StopRequestedError(Exception):
    """Whoever asked for it wants it no longer."""


@dataclass(frozen=True)
class Metrics:
    """Of classes: mean cross-entropy, accuracy (0..1) and confusion counts (K, K), true by row, said by column.

    Of weighted rows the loss is the weighted mean; accuracy counts rows, whatever they weigh.

    Of numbers: the mean squared error over rows and targets in the user's unit squared, and per target its root.
    """

    loss: float
    accuracy: float | None = None
    errors: tuple[float, ...] = ()
    confusion: np.ndarray | None = None

    @classmethod
    def of(cls, totals: dict[str, np.ndarray], model: Model) -> "Metrics":
        """Totals of the step (network/step.py) as means, with standardised targets taken back to the user's unit."""
        weight = float(totals["weight"])
        if model.y_scaling is not None:
            squared = totals["squared_error"] * model.y_scaling.deviation**2 / weight
            return cls(loss=float(squared.mean()), errors=tuple(float(root) for root in np.sqrt(squared)))
        confusion = totals["confusion"].astype(np.int64) if "confusion" in totals else None
        accuracy = float(totals["correct"]) / float(totals.get("rows", weight))
        return cls(float(totals["loss"]) / weight, accuracy, confusion=confusion)

    @property
    def finite(self) -> bool:
        """Whether the loss is a number."""
        return math.isfinite(self.loss)


def zero_totals(model: Model, dtype: str, *, confusion: bool = False, weighted: bool = False) -> dict[str, np.ndarray]:
    """Empty running totals for the step, on the host; of weighted rows their number is counted too."""
    totals = {"loss": np.zeros((), dtype), "weight": np.zeros((), dtype)}
    if model.y_scaling is not None:
        return totals | {"squared_error": np.zeros(model.widths[-1], dtype)}
    totals["correct"] = np.zeros((), dtype)
    if weighted:
        totals["rows"] = np.zeros((), dtype)
    if confusion:
        totals["confusion"] = np.zeros((model.widths[-1], model.widths[-1]), dtype)
    return totals


class Evaluator:
    """Scores of parameters on rows that are on the device; one compiled evaluation for the whole run."""

    def __init__(self, model: Model, backend: Backend) -> None:
        self._model = model
        self._backend = backend
        step = make_evaluation(activation=ACTIVATIONS[model.activation], loss=LOSSES[model.loss], xp=backend.xp)
        self._run = backend.scan(step)
        self._piece = max(1, min(CHUNK_ROWS, CHUNK_VALUES // max(model.widths)))

    def evaluate(
        self,
        params: Any,
        data: Any,
        rows: np.ndarray,
        *,
        confusion: bool = False,
        stop: Callable[[], bool] = lambda: False,
    ) -> Metrics:
        """Of `rows` (int indices) of `data`; memory does not grow with their number, totals are added in float64.

        StoppedError once `stop`, asked before each piece, is true.
        """
        zero = zero_totals(self._model, self._backend.dtype, confusion=confusion)
        totals = {name: value.astype(np.float64) for name, value in zero.items()}
        for first in range(0, len(rows), self._piece):
            if stop():
                raise StopRequestedError("an evaluation was asked to stop")
            indices = self._backend.asarray(rows[None, first : first + self._piece].astype(np.int32))
            added = self._run(tree_map(self._backend.asarray, zero), (indices,), (params, data))
            totals = tree_map(partial(self._add, self._backend), totals, added)
        return Metrics.of(totals, self._model)

    @staticmethod
    def _add(backend: Backend, total: np.ndarray, part: Any) -> np.ndarray:
        return total + backend.to_numpy(part)
