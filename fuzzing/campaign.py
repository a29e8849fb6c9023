"""Read one case after another and record the outcome of each."""

import contextlib
import hashlib
import os
import resource
import shutil
import time
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from fuzzing.case import unpack, write
from fuzzing.readers import READERS
from lagvis.errors import CheckpointError, DataError, DeviceError, DeviceUsageError, RecipeError

ROOT = Path(__file__).resolve().parent.parent
# An OutOfMemoryError for a small file is a fault, like any other error.
REFUSALS = (DataError, CheckpointError, RecipeError, DeviceError, DeviceUsageError)
MAX_MEMORY = 2**28  # bytes of address space that a reader may take for an input of a few kilobytes
pl.read_csv(b"a\n1\n")  # starts the threads of polars, whose stacks and buffers do not count


@dataclass
class Campaign:
    """Runs cases of one reader in `place` and counts; stores in `kept` the first case of each kind of fault."""

    name: str
    place: Path
    kept: Path
    accepted: int = 0
    refused: int = 0
    slowest: float = 0.0
    faults: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def inputs(self) -> int:
        """The number of cases so far."""
        return self.accepted + self.refused + sum(fault["times"] for fault in self.faults.values())

    def run_case(self, case: bytes) -> None:
        """Read one case; only KeyboardInterrupt leaves this method."""
        files = unpack(case) or [("nothing", b"")]
        folder = self.place / "case"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        write(files, folder)
        warned: list[str] = []
        start, stderr_size = time.perf_counter(), os.fstat(2).st_size
        fault, refused = "", 0
        with limited_memory(), warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = lambda message, category, file, line, *_: warned.append(
                f"{category.__name__} at {file}:{line}: {message}"
            )
            try:
                READERS[self.name].read(folder, files, case[0] if case else 0)
            except REFUSALS:
                refused = 1
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                inside = [frame for frame in traceback.extract_tb(error.__traceback__) if str(ROOT) in frame.filename]
                last = inside[-1]
                where = f"{Path(last.filename).relative_to(ROOT)}:{last.lineno}"
                fault = f"{type(error).__name__} at {where}: {str(error)[:200]}"
        self.slowest = max(self.slowest, time.perf_counter() - start)
        if not fault and (warned or os.fstat(2).st_size > stderr_size):
            fault = warned[0] if warned else "output on stderr"
        if fault:
            self.record_fault(case, fault)
        else:
            self.refused += refused
            self.accepted += 1 - refused

    def record_fault(self, case: bytes, fault: str) -> None:
        """Count a fault by its kind and place in the source, and store the first case of it."""
        kind = fault.partition(": ")[0]
        if kind not in self.faults:
            path = self.kept / f"{self.name}-{hashlib.sha256(case).hexdigest()[:12]}"
            path.write_bytes(case)
            self.faults[kind] = {"case": str(path), "fault": fault, "times": 0}
        self.faults[kind]["times"] += 1

    def result(self) -> dict[str, Any]:
        """Return the counts, the seconds of the slowest case and the faults."""
        return {
            "inputs": self.inputs, "accepted": self.accepted, "refused": self.refused,
            "slowest": round(self.slowest, 3), "faults": list(self.faults.values()),
        }  # fmt: skip


@contextlib.contextmanager
def limited_memory() -> Iterator[None]:
    """Allow MAX_MEMORY of address space beyond the current size, on systems that report it in /proc."""
    old = resource.getrlimit(resource.RLIMIT_AS)
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except OSError:
        yield
        return
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MAX_MEMORY, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, old)
