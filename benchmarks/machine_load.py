"""How busy other programs keep the machine while something is measured."""

import os
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
# Fields of the first line of /proc/stat in which a core is busy: user, nice, system, irq, softirq, steal.
BUSY_FIELDS = (1, 2, 3, 6, 7, 8)

MAX_IDLE_WAIT = 0.5  # seconds
IDLE_INTERVAL, IDLE_SHARE = 0.005, 0.1  # a process that runs for less than this share of an interval is idle


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


def running_seconds(pid: int) -> float:
    """Return the seconds that the present threads of a process have run, to the microsecond; 0 as above."""
    total = 0
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            total += int(path.read_text().split()[0])
        except (OSError, IndexError):  # the thread has ended
            continue
    return total / 1e9


def wait_until_idle(pid: int) -> None:
    """Wait until a process no longer computes: threads of OpenBLAS spin for 0.1 s after their last product."""
    deadline = time.monotonic() + MAX_IDLE_WAIT
    before = running_seconds(pid)
    while time.monotonic() < deadline:
        time.sleep(IDLE_INTERVAL)
        now = running_seconds(pid)
        if now - before < IDLE_SHARE * IDLE_INTERVAL:
            return
        before = now


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
