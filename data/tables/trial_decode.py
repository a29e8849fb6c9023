"""Decode a Parquet or Arrow file in another process first: damaged bytes can make polars abort its process.

A length that is damaged becomes a request for more memory than there is, which ends a program written in Rust.
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
EXIT_SECONDS = 10
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


def survives_decoding(path: Path, kind: str) -> bool:
    """Tell whether a process that decodes a file survives; `kind` is PARQUET, ARROW or ARROW_STREAM.

    True for a file that is too large to be tried, and where no process can be started.
    """
    if path.stat().st_size > MAX_CHECKED_BYTES:
        return True
    with LOCK:
        worker = start_worker()
        if worker is None or worker.stdin is None or worker.stdout is None:
            return True
        try:
            worker.stdin.write(json.dumps([str(path.absolute()), kind]) + "\n")
            worker.stdin.flush()
            survived = worker.stdout.readline() == "done\n"
        except OSError:
            survived = False
        if not survived:
            stop_worker(worker)
            start_worker.cache_clear()
        return survived


@cache
def start_worker() -> "subprocess.Popen[str] | None":
    """Return the process that decodes, started once; None where it cannot be started."""
    try:
        worker = subprocess.Popen(
            [sys.executable, "-c", WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )
    except (OSError, ValueError):
        return None
    atexit.register(stop_worker, worker)
    if worker.stdout is None or worker.stdout.readline() != "ready\n":
        stop_worker(worker)
        return None
    return worker


def stop_worker(worker: "subprocess.Popen[str]") -> None:
    """End the process and wait for it."""
    atexit.unregister(stop_worker)
    for stream in (worker.stdin, worker.stdout):
        if stream is not None:
            with suppress(OSError):  # it has ended, with something left to write
                stream.close()
    try:
        worker.wait(EXIT_SECONDS)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()
