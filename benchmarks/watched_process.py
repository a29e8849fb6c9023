"""Run a command and watch it from outside: its time, when each line came, and the memory and energy that it took."""

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SECONDS_BETWEEN_SAMPLES = 0.05
POWER_FOLDER = Path("/sys/class/powercap")
POWER_DOMAINS = "intel-rapl:[0-9]*"  # also those of AMD
BLOCK = 1 << 16


class ProcessError(Exception):
    """A command failed or did not end in time."""


@dataclass
class WatchedProcess:
    """What was seen of a process.

    started     time.time() before it was started
    seconds     from then to its end
    lines       (seconds from the start, text) of stdout and stderr, in the order in which they came
    peak_bytes  the most that it and its descendants had resident at the same time; shared pages count in each of them.
                None where the system does not tell (Linux does)
    joules      that the processors took meanwhile; None where the machine does not tell
    """

    started: float
    seconds: float = 0.0
    stdout: list[tuple[float, str]] = field(default_factory=list)
    stderr: list[tuple[float, str]] = field(default_factory=list)
    peak_bytes: int | None = None
    joules: float | None = None


def user_environment() -> dict[str, str]:
    """Return the variables of this process without the one by which Python compiles its modules at every start."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def watch(command: Sequence[str], folder: Path, environment: Mapping[str, str], max_seconds: float) -> WatchedProcess:
    """Run a command in a folder, with variables added to the environment, and return what was seen of it.

    Raise ProcessError if it fails, or if it has not ended after `max_seconds`: it is killed then, with its descendants.
    """
    before, found = energy_counters(), WatchedProcess(time.time())
    with subprocess.Popen(
        command, cwd=folder, env=user_environment() | dict(environment), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            for now in samples(process, found):
                if now > max_seconds:
                    raise ProcessError(f"did not end within {max_seconds:.0f} s")
                found.peak_bytes = max_known(found.peak_bytes, resident_bytes(process.pid))
            found.seconds = time.time() - found.started
        finally:
            with contextlib.suppress(ProcessLookupError):  # the whole session: also what it left behind
                os.killpg(process.pid, signal.SIGKILL)
    found.joules = joules_between(before, energy_counters())
    if process.returncode:
        last = found.stderr[-1][1] if found.stderr else "nothing on stderr"
        raise ProcessError(f"exit code {process.returncode}: {last}")
    return found


def samples(process: subprocess.Popen[bytes], found: WatchedProcess) -> Iterator[float]:
    """Collect the lines of a process until it has ended, and yield the seconds from its start again and again."""
    assert process.stdout is not None
    assert process.stderr is not None
    with selectors.DefaultSelector() as selector:
        for stream, lines in ((process.stdout, found.stdout), (process.stderr, found.stderr)):
            selector.register(stream, selectors.EVENT_READ, LineCollector(lines))
        sampled = 0.0
        while process.poll() is None or selector.get_map():
            if selector.get_map():
                ready = selector.select(SECONDS_BETWEEN_SAMPLES)  # returns at once when the process ends: pipes close
            else:  # they are closed, and the process is about to end
                ready = []
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(SECONDS_BETWEEN_SAMPLES)
            now = time.time() - found.started
            for key, _ in ready:
                if not key.data.read(key.fd, now):
                    selector.unregister(key.fileobj)
            if not ready and process.poll() is not None:  # a descendant that lives on holds the pipes
                return
            if now - sampled >= SECONDS_BETWEEN_SAMPLES:
                sampled = now
                yield now


class LineCollector:
    """Collects what a pipe brings as lines with their time."""

    def __init__(self, lines: list[tuple[float, str]]) -> None:
        self.lines, self.rest = lines, b""

    def read(self, descriptor: int, now: float) -> bool:
        """Read what has come by now; return False at the end of the pipe."""
        block = os.read(descriptor, BLOCK)
        *whole, self.rest = (self.rest + block).split(b"\n")
        if not block and self.rest:
            whole, self.rest = [self.rest], b""
        self.lines += [(now, line.decode(errors="replace")) for line in whole]
        return bool(block)


def max_known(first: int | None, second: int | None) -> int | None:
    """Return the greater number of those that are known."""
    known = [number for number in (first, second) if number is not None]
    return max(known, default=None)


def resident_bytes(process: int) -> int | None:
    """Return the resident memory of a process and its descendants; None if it has ended or the system does not tell."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
        children = [
            int(child)
            for thread in os.listdir(f"/proc/{process}/task")
            for child in Path(f"/proc/{process}/task/{thread}/children").read_text().split()
        ]
    except (OSError, ValueError, IndexError):  # it ends just now, or there is no /proc
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") + sum(resident_bytes(child) or 0 for child in children)


def energy_counters() -> dict[str, tuple[int, int]]:
    """Return {domain: (microjoules, largest value of the counter)} of each processor that tells its energy."""
    counters = {}
    for domain in sorted(POWER_FOLDER.glob(POWER_DOMAINS)):
        if domain.name.count(":") > 1:  # a part of a processor
            continue
        with contextlib.suppress(OSError, ValueError):  # only an administrator may read it
            texts = [(domain / name).read_text() for name in ("energy_uj", "max_energy_range_uj")]
            counters[domain.name] = (int(texts[0]), int(texts[1]))
    return counters


def joules_between(before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]]) -> float | None:
    """Return the energy between two readings of the counters, which begin again at 0; None without any."""
    if not before or before.keys() != after.keys():
        return None
    return sum((after[name][0] - first) % (largest + 1) for name, (first, largest) in before.items()) / 1e6
