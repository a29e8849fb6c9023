"""How busy other programs keep the machine while something is measured."""

import os
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
# Fields of the first line of /proc/stat in which a core is busy: user, nice, system, irq, softirq, steal.
BUSY_FIELDS = (1, 2, 3, 6, 7, 8)


def machine_seconds() -> float:
    """Return the seconds that all cores have been busy since the system started; 0 where /proc does not tell."""
    try:
        fields = Path("/proc/stat").read_text().splitlines()[0].split()
    except OSError:
        return 0.0
    return sum(int(fields[i]) for i in BUSY_FIELDS if i < len(fields)) / TICKS


def process_seconds(pid: int) -> float:
    """Return the seconds of CPU that a process has used; 0 if it has ended, or where /proc does not tell."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(after_name[11]) + int(after_name[12])) / TICKS  # utime and stime


class OtherPrograms:
    """The cores that programs other than this process and its `children` keep busy from now on."""

    def __init__(self, children: list[int]) -> None:
        self.own = {pid: process_seconds(pid) for pid in (os.getpid(), *children)}
        self.started, self.before = time.monotonic(), machine_seconds() - sum(self.own.values())

    def add(self, child: int) -> None:
        """Count a new process as an own one."""
        self.own[child] = 0.0

    def update(self) -> None:
        """Take down what the own processes have used; call it before one of them is ended."""
        for pid, seconds in self.own.items():
            self.own[pid] = max(seconds, process_seconds(pid))

    def cores(self) -> float:
        """Return how many cores the other programs kept busy on average."""
        self.update()
        used = machine_seconds() - sum(self.own.values()) - self.before
        return max(0.0, used) / (time.monotonic() - self.started)
