"""The small files in which Linux tells what this process may use; elsewhere they are missing and read as empty."""

from collections.abc import Iterator
from pathlib import Path

PROCESS = Path("/proc")
GROUPS = Path("/sys/fs/cgroup")


def control_groups(controller: str) -> Iterator[tuple[int, Path]]:
    """Yield (version, folder) of the control groups of this process that can limit `controller`, innermost first.

    Version 1 has a tree of groups for each controller (memory, cpu), version 2 one tree for all.
    """
    for line in read_lines(PROCESS / "self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            version, root = 2, GROUPS
        elif controller in controllers.split(","):
            version, root = 1, GROUPS / controller
        else:
            continue
        group = root / path.lstrip("/")
        for folder in (group, *group.parents):
            yield version, folder
            if folder == root:
                break


def read_lines(path: Path) -> list[str]:
    """Return the lines of a file of the system; none if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def read_numbers(path: Path) -> dict[str, int]:
    """Parse lines such as `MemFree:  123 kB` or `anon 123` into names and numbers."""
    words = [line.replace(":", " ").split() for line in read_lines(path)]
    return {row[0]: int(row[1]) for row in words if len(row) > 1 and row[1].isdigit()}
