"""Find the rows for which a network has no finite loss: the cause of a result that is not finite."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lagvis.backends.backend import Backend
from lagvis.training.evaluation import Evaluator
from lagvis.training.model import Model
from lagvis.tree import tree_map

BLOCK_ROWS = 1000
SAMPLE_ROWS = 20


@dataclass(frozen=True)
class RowWithoutLoss:
    """The first row (index in its part) without a finite loss, and whether most rows of the part have none."""

    row: int
    in_most_rows: bool


def find_row_without_loss(
    model: Model, backend: Backend, params: Any, x: np.ndarray, y: np.ndarray, rows: np.ndarray,
    stop: Callable[[], bool] = lambda: False,
) -> RowWithoutLoss | None:  # fmt: skip
    """Return the first of `rows` (integer indices) of x and y whose loss is not finite for host arrays `params`.

    None if each row has a finite loss, or if `stop`, called before each evaluation of a block, returned true.
    """
    evaluator = Evaluator(model, backend)
    on_device = tree_map(backend.asarray, params)

    def has_loss(part: np.ndarray) -> bool:
        data = tree_map(backend.asarray, model.prepare(x[part], y[part], backend.dtype))
        return evaluator.evaluate(on_device, data, np.arange(len(part))).finite

    for first in range(0, len(rows), BLOCK_ROWS):
        block = rows[first : first + BLOCK_ROWS]
        if stop():
            return None
        if has_loss(block):
            continue
        while len(block) > 1:  # one of the halves has a row without a loss, unless only the sum of the losses overflows
            half = block[: len(block) // 2]
            block = block[len(half) :] if has_loss(half) else half
        if not has_loss(block):
            sample = rows[:: max(1, len(rows) // SAMPLE_ROWS)]
            without = sum(not has_loss(sample[i : i + 1]) for i in range(len(sample)))
            return RowWithoutLoss(int(block[0]), 2 * without > len(sample))
    return None
