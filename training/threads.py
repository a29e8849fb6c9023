"""How many threads the products on the host take: by their size, never by a clock, the same for a whole run.

Sums are split by thread, so the number is part of what "same seed, same bytes" means. Small products gain little from
a second thread and lose everything when something else wants its core: the threads wait for each other by spinning,
and a product of 0.2 ms then takes 4.
"""

import os
from itertools import pairwise

# Largest product of a step, in multiplications and additions, that one thread does alone.
OPERATIONS_FOR_ONE_THREAD = 4e7


def threads_for(widths: tuple[int, ...], batch_size: int) -> int:
    """1 for small networks and batches, else a thread a core that this process may use."""
    largest = max(2 * batch_size * n_in * n_out for n_in, n_out in pairwise(widths))
    return 1 if largest <= OPERATIONS_FOR_ONE_THREAD else usable_cores()


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
