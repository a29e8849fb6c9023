"""Random generators of a run, on the host: one for each (seed, purpose, epoch), so that none has to be stored."""

import numpy as np

# The numbers decide what a seed draws: never renumber, only add.
PURPOSES = {
    "weights": 0, "validation": 1, "order": 2, "diagnostics": 3, "trials": 4, "curves": 5, "mixup": 6, "rate search": 7,
}  # fmt: skip


def generator(seed: int, purpose: str, epoch: int = 0) -> np.random.Generator:
    """Return the generator of one purpose; it is the same for every backend and dtype."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, PURPOSES[purpose], epoch])))
