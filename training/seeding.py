"""Random numbers of a run, drawn on the host: a generator for each (seed, purpose, epoch), so none has to be stored."""

import numpy as np

# A purpose's number is part of what a seed means: never renumber, only add.
PURPOSES = {"weights": 0, "validation": 1, "order": 2, "findings": 3}


def generator(seed: int, purpose: str, epoch: int = 0) -> np.random.Generator:
    """The generator of one purpose; the same for every backend and element type."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, PURPOSES[purpose], epoch])))
