"""Read how much memory this process has and may still take, from the small files of Linux."""

from lagvis.training import system_files
from lagvis.training.system_files import control_groups, read_lines, read_numbers


def free_memory() -> tuple[int, str] | None:
    """Return the bytes that this process may still take, with swap, and the limit's name; None if unknown."""
    limits = [limit for limit in (machine_limit(), group_limit(), process_limit()) if limit is not None]
    return min(limits, default=None)


def resident_memory() -> tuple[int, int]:
    """Return the bytes of this process in memory, now and at their peak; 0 if unknown."""
    fields = read_numbers(system_files.PROCESS / "self/status")
    return 1024 * fields.get("VmRSS", 0), 1024 * fields.get("VmHWM", 0)


def machine_limit() -> tuple[int, str] | None:
    """Return what Linux can give without pushing out other programs, and the free swap."""
    fields = read_numbers(system_files.PROCESS / "meminfo")
    if "MemAvailable" not in fields:
        return None
    return 1024 * (fields["MemAvailable"] + fields.get("SwapFree", 0)), "free on this machine"


def group_limit() -> tuple[int, str] | None:
    """Return what the control groups of containers and clusters leave; pages of files do not count as used."""
    left = []
    swap = 1024 * read_numbers(system_files.PROCESS / "meminfo").get("SwapFree", 0)
    for version, folder in control_groups("memory"):
        limit, held = ("memory.max", "anon") if version == 2 else ("memory.limit_in_bytes", "total_rss")
        most = "".join(read_lines(folder / limit))
        if most.isdigit():
            left.append(max(0, int(most) - read_numbers(folder / "memory.stat").get(held, 0)) + swap)
    return (min(left), "left of what this container or job may use") if left else None


def process_limit() -> tuple[int, str] | None:
    """Return what `ulimit -v` leaves."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    held = read_lines(system_files.PROCESS / "self/statm")
    if most == resource.RLIM_INFINITY or not held:
        return None
    return max(0, most - int(held[0].split()[0]) * resource.getpagesize()), "left under ulimit -v"
