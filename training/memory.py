"""Estimate the memory of a run before it allocates any: a minimum that every run needs, and the expected peak.

The minimum counts what every backend holds at one time, and nothing that a library adds for itself. A run is refused by
this minimum alone, so a run that fits is never refused. The peak is that of the whole process, as `ps` and `top` show
it, with the libraries; if it exceeds the free memory, there is a notice. Both are of the host. The memory of a GPU is
left to the library's own error. docs/memory.md compares the peak with measured ones.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from lagvis.data.dataset import Dataset
from lagvis.errors import OutOfMemoryError
from lagvis.network.optimizers import StateShape
from lagvis.option_text import setting
from lagvis.training.evaluation import rows_per_chunk
from lagvis.training.factory import make_optimizer, make_regularization
from lagvis.training.plan import Plan
from lagvis.training.recipe import Recipe
from lagvis.training.system_memory import free_memory, resident_memory

DRAW_BYTES = np.dtype(np.float64).itemsize  # weights are drawn in float64, whatever the dtype of the run


class LibraryMemory(NamedTuple):
    """Memory of a process on the CPU.

    imported, running  bytes without data and network: after the imports, and with its code compiled and plots drawn
    states             copies of the state (parameters and optimizer state) while the checkpoint of an epoch is written
    gradients          further arrays like the parameters: the gradients
    moved              further arrays like each tree of the optimizer: results of its update
    drawn              bytes to compile the code of each kind of random numbers: masks of inputs, of units, noise
    """

    imported: int
    running: int
    states: int
    gradients: int
    moved: int
    drawn: int = 0


# Fitted to the measurements of docs/memory.md. NumPy and PyTorch hold a state on the device and one in the recorded
# step, the newest checkpoint and the next, and two while it is encoded. The copies of JAX are fewer than that.
LIBRARIES = {
    "numpy": LibraryMemory(62_000_000, 85_000_000, states=6, gradients=1, moved=3),
    "torch": LibraryMemory(256_000_000, 287_000_000, states=6, gradients=1, moved=3),
    "jax": LibraryMemory(180_000_000, 312_000_000, states=3, gradients=1, moved=0, drawn=40_000_000),
}
ARRAYS_OF_BATCH = 3  # z, activations and delta of a layer
MASK_ARRAYS = 8  # masks or noise, and the 64-bit integers that they are made of


@dataclass(frozen=True)
class MemoryEstimate:
    """Estimated bytes of a run.

    network        the network and its batch size, for messages
    host, device   the minimum beside the data set: state, gradients, a batch in every layer, the rows; on the CPU
                   everything is in `host` and `device` is 0
    peak           expected peak of the whole process, on the CPU; None for a GPU or a library that was not measured
    suggestion     what to make smaller
    """

    network: str
    host: int
    device: int
    peak: int | None
    suggestion: str

    def facts(self) -> dict[str, int | None]:
        """Return the figures for a dry run, in megabytes (10^6 bytes)."""
        free = free_memory()
        return {
            "host_mb": self.host // 10**6,
            "host_peak_mb": None if self.peak is None else self.peak // 10**6,
            "host_free_mb": None if free is None else free[0] // 10**6,
            "device_mb": self.device // 10**6,
        }

    def check(self) -> "MemoryEstimate":
        """Return the estimate itself; OutOfMemoryError if the host has less than the minimum."""
        free = free_memory()
        if free is not None and self.host > free[0]:
            raise OutOfMemoryError(
                f"{self.network} takes at least {gigabytes(self.host)} of memory, "
                f"and {gigabytes(free[0])} are {free[1]}; use {self.suggestion}"
            )
        return self

    def notice(self) -> str:
        """Return a warning if the peak may exceed the free memory; empty if it fits or is unknown."""
        free, (resident, _) = free_memory(), resident_memory()
        if free is None or self.peak is None or self.peak - resident <= free[0]:
            return ""
        return (
            f"{self.network} will probably take {gigabytes(self.peak - resident)} of memory more, "
            f"and {gigabytes(free[0])} are {free[1]}; if it runs out of memory, use {self.suggestion}."
        )


def gigabytes(size: int) -> str:
    """1234567890 -> 1.2 GB."""
    return f"{size / 1e9:,.1f} GB"


def estimate_memory(
    recipe: Recipe, dataset: Dataset, plan: Plan, *, on_host: bool, backend: str = ""
) -> MemoryEstimate:
    """Estimate the memory of training on this data set; `on_host` if the arrays of `backend` are in host memory."""
    widths = (dataset.x_train.shape[1], *recipe.hidden, dataset.n_out)
    layers = [(n_in + 1) * n_out for n_in, n_out in pairwise(widths)]
    number = np.dtype(recipe.dtype).itemsize
    kept = [*make_optimizer(recipe).states.values()].count(StateShape.LIKE_PARAMS)
    trees = 1 + kept + (recipe.ema > 0)  # parameters, optimizer states, average; running statistics are small
    params = sum(layers) * number
    state = trees * params
    rows = len(dataset.x_train) * widths[0] * (1 if dataset.x_train.dtype == np.uint8 else number)
    if backend == "numpy" and dataset.x_train.dtype == np.uint8:
        rows = 0  # the steps read the rows of the data set where they are
    steps = bool(plan.epochs)
    gradient = steps * max(layers) * number  # a compiler may use up each layer's before it makes the next
    batch = steps * plan.batch_size * sum(widths) * number
    device = state + gradient + batch + rows
    at_first = state + sum(layers) * DRAW_BYTES
    # the newest checkpoint stays on the host until the next one is complete
    host = max(at_first, (1 + steps) * state + device * on_host)
    parts = {
        f"a smaller {setting('hidden')}": 2 * state + gradient,
        f"a smaller {setting('batch_size')}": batch,
        "fewer rows": rows,
    }
    peak = None
    if on_host and backend in LIBRARIES:
        chunk = rows_per_chunk(widths) * sum(widths) * number
        library = LIBRARIES[backend]
        like_params = library.gradients * (1 + (recipe.accumulate > 1)) + library.moved * (trees - 1)
        arrays = ARRAYS_OF_BATCH + MASK_ARRAYS * make_regularization(recipe).is_random
        training = library.states * state + like_params * params + arrays * batch
        training += state * (recipe.patience > 0)  # of the best epoch
        shares = (recipe.dropout, recipe.input_dropout, recipe.input_noise)
        training += library.drawn * sum(share > 0 for share in shares)
        peak = peak_of_process(library, dataset, rows, (training if steps else at_first) + chunk)
    return MemoryEstimate(
        f"{'-'.join(map(str, widths))} in batches of {plan.batch_size:,} rows",
        host,
        0 if on_host else device,
        peak,
        max(parts, key=lambda part: parts[part]),
    )


def peak_of_process(library: LibraryMemory, dataset: Dataset, rows: int, training: int) -> int:
    """Return the peak of a process: while the rows are standardised, or in training, or so far."""
    arrays = (dataset.x_train, dataset.y_train, dataset.x_test, dataset.y_test)
    data = sum(array.nbytes for array in arrays)
    # the scaled rows and their copy in the dtype of the run, two float64 arrays at most; bytes are scaled in the step
    standardising = 0 if dataset.x_train.dtype == np.uint8 else 2 * dataset.x_train.nbytes
    test_rows = rows * len(dataset.x_test) // len(dataset.x_train)
    _, so_far = resident_memory()
    return max(so_far, library.imported + data + standardising, library.running + data + rows + test_rows + training)
