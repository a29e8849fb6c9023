"""The memory that a run cannot do without, held against what there is, before any of it is asked for.

A lower bound: what every backend holds at one time, and nothing that a library adds for itself. Whatever is refused
here could not have been done; what is let through may still end in the library's own error. A GPU's memory is left to
that error altogether.
"""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from lagvis.data.dataset import Dataset
from lagvis.errors import OutOfMemoryError
from lagvis.network.optimizers import StateShape
from lagvis.training.factory import make_optimizer
from lagvis.training.plan import Plan
from lagvis.training.recipe import Recipe

PROCESS = Path("/proc")
GROUPS = Path("/sys/fs/cgroup")
WIDEST_DRAW = np.dtype(np.float64).itemsize  # weights are drawn in float64, whatever they become


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes that a run holds at least, beside the data set: state and gradients, a batch in every layer, its rows.

    network        whose, in words
    host, device   where; on the CPU everything is in `host` and `device` is 0
    cure           what to make smaller
    """

    network: str
    host: int
    device: int
    cure: str

    def facts(self) -> dict[str, int | None]:
        """For a dry run: whole megabytes."""
        there = free_memory()
        return {
            "host_mb": self.host // 10**6,
            "host_free_mb": None if there is None else there[0] // 10**6,
            "device_mb": self.device // 10**6,
        }

    def check(self) -> "MemoryEstimate":
        """The need itself; OutOfMemoryError where the host has less."""
        there = free_memory()
        if there is not None and self.host > there[0]:
            raise OutOfMemoryError(
                f"{self.network} takes at least {gigabytes(self.host)} of memory, "
                f"and {gigabytes(there[0])} are {there[1]}; use {self.cure}"
            )
        return self


def gigabytes(size: int) -> str:
    """1234567890 -> 1.2 GB."""
    return f"{size / 1e9:,.1f} GB"


def estimate_memory(recipe: Recipe, dataset: Dataset, plan: Plan, *, on_host: bool) -> MemoryEstimate:
    """What training by a recipe and its plan holds beside the data set; `on_host` where it computes on the CPU too."""
    widths = (dataset.x_train.shape[1], *recipe.hidden, dataset.n_out)
    layers = [(n_in + 1) * n_out for n_in, n_out in pairwise(widths)]
    number = np.dtype(recipe.dtype).itemsize
    trees = 1 + [*make_optimizer(recipe).states.values()].count(StateShape.LIKE_PARAMS)
    state = trees * sum(layers) * number
    rows = len(dataset.x_train) * widths[0] * (1 if dataset.x_train.dtype == np.uint8 else number)
    steps = bool(plan.epochs)
    gradient = steps * max(layers) * number  # a compiler may use up each layer's before it makes the next
    batch = steps * plan.batch_size * sum(widths) * number
    device = state + gradient + batch + rows
    at_first = state + sum(layers) * WIDEST_DRAW
    # the newest checkpoint stays on the host until the next is whole beside it
    host = max(at_first, (1 + steps) * state + device * on_host)
    parts = {"a smaller --hidden": 2 * state + gradient, "a smaller --batch-size": batch, "fewer rows": rows}
    return MemoryEstimate(
        f"{'-'.join(map(str, widths))} in batches of {plan.batch_size:,} rows",
        host,
        0 if on_host else device,
        max(parts, key=lambda part: parts[part]),
    )


def free_memory() -> tuple[int, str] | None:
    """Bytes that this process may still take, swap and all, and whose limit that is; None where it cannot be known."""
    limits = [limit for limit in (of_the_machine(), of_the_group(), of_the_process()) if limit is not None]
    return min(limits, default=None)


def of_the_machine() -> tuple[int, str] | None:
    """What Linux believes can be had without pushing out other programs, and the free swap."""
    fields = table(PROCESS / "meminfo")
    if "MemAvailable" not in fields:
        return None
    return 1024 * (fields["MemAvailable"] + fields.get("SwapFree", 0)), "free on this machine"


def of_the_group() -> tuple[int, str] | None:
    """What the control groups of Linux, as containers and clusters set them, leave; of their pages, only files' go."""
    left = []
    swap = 1024 * table(PROCESS / "meminfo").get("SwapFree", 0)
    for line in lines(PROCESS / "self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, limit, held = GROUPS, "memory.max", "anon"
        elif "memory" in controllers.split(","):
            root, limit, held = GROUPS / "memory", "memory.limit_in_bytes", "total_rss"
        else:
            continue
        group = root / path.lstrip("/")
        for folder in (group, *group.parents):
            most = "".join(lines(folder / limit))
            if most.isdigit():
                left.append(max(0, int(most) - table(folder / "memory.stat").get(held, 0)) + swap)
            if folder == root:
                break
    return (min(left), "left of what this container or job may use") if left else None


def of_the_process() -> tuple[int, str] | None:
    """What `ulimit -v` leaves."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    held = lines(PROCESS / "self/statm")
    if most == resource.RLIM_INFINITY or not held:
        return None
    return max(0, most - int(held[0].split()[0]) * resource.getpagesize()), "left under ulimit -v"


def lines(path: Path) -> list[str]:
    """The lines of one of the system's small files; none where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def table(path: Path) -> dict[str, int]:
    """Lines such as `MemFree:  123 kB` or `anon 123` as names and numbers."""
    words = [line.replace(":", " ").split() for line in lines(path)]
    return {row[0]: int(row[1]) for row in words if len(row) > 1 and row[1].isdigit()}
