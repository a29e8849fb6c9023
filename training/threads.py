"""Choose the number of threads for matrix products on the host, by their size and never by a clock.

On PyTorch, and on NumPy with a BLAS whose products have no blocks of rows (backends/row_blocks.py), sums are split by
thread, so the same seed gives the same bytes only with the same number of threads. Small products gain little from a
second thread, and with PyTorch's they become slow when another program uses its core.
"""

import os
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from lagvis.data.messages import pluralize
from lagvis.training.system_files import control_groups, read_lines

# Largest product of a step, in multiplications and additions, that a single thread computes.
OPERATIONS_FOR_ONE_THREAD = 4e7
# Environment variables by which users and batch queues limit the threads of BLAS libraries and of OpenMP.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "OMP_THREAD_LIMIT", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)  # fmt: skip


class ThreadLimit(NamedTuple):
    """Number of threads that this process should not exceed, and what sets it."""

    threads: int
    reason: str


def threads_for(widths: tuple[int, ...], batch_size: int) -> int:
    """Return 1 for small networks and batches, else as many threads as this process may have."""
    return 1 if largest_product(widths, batch_size) <= OPERATIONS_FOR_ONE_THREAD else thread_limit().threads


def largest_product(widths: tuple[int, ...], rows: int) -> int:
    """Return the multiplications and additions of the largest matrix product of a step of so many rows."""
    return max(2 * rows * n_in * n_out for n_in, n_out in pairwise(widths))


def thread_limit() -> ThreadLimit:
    """Return the tightest of the limits: usable cores, the share of a container or job, environment variables."""
    cores = usable_cores()
    named = f"this process may use {pluralize(cores, 'core')}"
    return min((ThreadLimit(cores, named), *group_limits(), *variable_limits()), key=lambda limit: limit.threads)


def usable_cores() -> int:
    """Return the number of cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def group_limits() -> Iterator[ThreadLimit]:
    """Yield the share of CPU time that each control group of containers and clusters leaves, in whole cores."""
    for version, folder in control_groups("cpu"):
        if version == 2:
            words = " ".join(read_lines(folder / "cpu.max")).split()
        else:
            files = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            words = " ".join(line for name in files for line in read_lines(folder / name)).split()
        if len(words) == 2 and all(word.isdigit() for word in words) and int(words[1]) > 0:  # no limit: max or -1
            share = int(words[0]) / int(words[1])
            yield ThreadLimit(max(1, int(share)), f"this container or job may use {share:g} of the CPUs")


def variable_limits() -> Iterator[ThreadLimit]:
    """Yield the limit of each environment variable that is set; OpenMP takes a list, one number for each level."""
    for name in THREAD_VARIABLES:
        value = os.environ.get(name, "").partition(",")[0].strip()
        if value.isdecimal() and int(value) > 0:
            yield ThreadLimit(int(value), f"{name} is {value}")
