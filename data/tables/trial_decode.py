"""Decode a Parquet or Arrow file in another process first: damaged bytes can make polars abort its process.

A damaged length becomes a request for more memory than there is, which ends a program written in Rust. Such lengths are
in the headers of pages, in pages of deltas and in compressed buffers: a check of the headers would not find them all.
The process serves all files of a command, starts while this one imports polars, and costs about 0.2 seconds.
"""

import atexit
import json
import subprocess
import sys
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path

MAX_CHECKED_BYTES = 2**26  # of a file; a larger one would take seconds more
MAX_SECONDS = 60.0  # to decode one file
EXIT_SECONDS = 10
READY, DONE = "ready\n", "done\n"  # what the process prints
WORKER = """
import json, sys
import polars as pl

print("ready", flush=True)
for line in sys.stdin:
    path, kind = json.loads(line)
    try:
        if kind == "a Parquet file":
            pl.read_parquet(path, glob=False, hive_partitioning=False)
        else:
            with open(path, "rb") as file:
                (pl.read_ipc if kind == "an Arrow file" else pl.read_ipc_stream)(file)
    except BaseException:
        pass
    print("done", flush=True)
"""
LOCK = threading.Lock()


class TrialProcess:
    """A process that decodes files; it starts without being waited for."""

    def __init__(self) -> None:
        """Start the process; OSError or ValueError where it cannot be started."""
        self._process = subprocess.Popen(
            [sys.executable, "-c", WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )
        assert self._process.stdin is not None, "it is a pipe"
        assert self._process.stdout is not None, "it is a pipe"
        self._input, self._output = self._process.stdin, self._process.stdout
        self._is_ready = False

    def is_ready(self) -> bool:
        """Wait until the process has imported polars, and tell whether it could."""
        self._is_ready = self._is_ready or self._output.readline() == READY
        return self._is_ready

    def decode(self, path: Path, kind: str) -> bool:
        """Decode a file and tell whether the process survives it."""
        try:
            self._input.write(json.dumps([str(path.absolute()), kind]) + "\n")
            self._input.flush()
        except OSError:
            return False
        return self._output.readline() == DONE

    def kill(self) -> None:
        """End the process at once, so that nothing waits for its answer any more."""
        self._process.kill()

    def stop(self) -> None:
        """End the process and wait for it."""
        for stream in (self._input, self._output):
            with suppress(OSError):  # it has ended, with something left to write
                stream.close()
        try:
            self._process.wait(EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@cache
def trial_process() -> TrialProcess | None:
    """Return the process that decodes, started once; None where it cannot be started."""
    try:
        process = TrialProcess()
    except (OSError, ValueError):
        return None
    atexit.register(process.stop)
    return process


def stop_trial_process() -> None:
    """End the process if there is one; the next file starts another."""
    if trial_process.cache_info().currsize and (process := trial_process()):
        atexit.unregister(process.stop)
        process.stop()
    trial_process.cache_clear()


def survives_decoding(path: Path, kind: str) -> bool:
    """Tell whether a process that decodes a file survives; `kind` is PARQUET, ARROW or ARROW_STREAM.

    True for a file of more than MAX_CHECKED_BYTES, and where no process can be started; False where decoding takes
    longer than MAX_SECONDS.
    """
    if path.stat().st_size > MAX_CHECKED_BYTES:
        return True
    with LOCK:
        if (process := trial_process()) is None:
            return True
        import polars  # noqa: F401  (the process imports it meanwhile)

        timer = threading.Timer(MAX_SECONDS, process.kill)
        timer.start()
        survived = False
        try:
            survived = not process.is_ready() or process.decode(path, kind)
        finally:
            timer.cancel()
            if not survived:  # or it was interrupted, and its answer would be taken for that to the next file
                stop_trial_process()
        return survived
