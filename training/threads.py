"""Choose the number of threads for matrix products on the host, by their size and never by a clock.

Sums are split by thread, so the same seed gives the same bytes only with the same number of threads. Small products
gain little from a second thread, and they become slow when another program uses its core: the threads wait for each
other by spinning, and a product of 0.2 ms then takes 4 ms.
"""

import os
from itertools import pairwise

# Largest product of a step, in multiplications and additions, that a single thread computes.
OPERATIONS_FOR_ONE_THREAD = 4e7


def threads_for(widths: tuple[int, ...], batch_size: int) -> int:
    """Return 1 for small networks and batches, else the number of usable cores."""
    largest = max(2 * batch_size * n_in * n_out for n_in, n_out in pairwise(widths))
    return 1 if largest <= OPERATIONS_FOR_ONE_THREAD else usable_cores()


def usable_cores() -> int:
    """Return the number of cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
