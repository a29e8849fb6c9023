"""Fuzz one reader in a child process; a child that hangs or dies is a fault, and its case is kept."""

import json
import os
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from fuzzing.campaign import ROOT, Campaign

TIMEOUT = 20.0  # seconds for one input, which takes milliseconds
STARTUP_TIMEOUT = 200.0  # seconds until the first input: the imports are instrumented


def run(name: str, inputs: int, seed: int, kept: Path) -> dict[str, Any]:
    """Fuzz one reader and return its result; faulty cases are stored in `kept`."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as work:  # noqa: S108
        place = Path(work)
        with (place / "output").open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "fuzzing.child", name, str(inputs), str(seed), str(place), str(kept)],
                cwd=ROOT, stdout=output, stderr=output,
                env=os.environ | {"MALLOC_ARENA_MAX": "2"},  # each arena of a thread takes 64 MiB of address space
            )  # fmt: skip
            runs, since = 0, time.monotonic()
            while process.poll() is None:
                time.sleep(0.2)
                found, case = current_case(place)
                if found != runs:
                    runs, since = found, time.monotonic()
                elif time.monotonic() - since > (TIMEOUT if runs else STARTUP_TIMEOUT):
                    process.kill()
                    process.wait()
        if (place / "result").exists():
            result = json.loads((place / "result").read_text(encoding="utf-8"))
        else:
            runs, case = current_case(place)
            tail = (place / "output").read_text(encoding="utf-8", errors="replace")[-2000:]
            campaign = Campaign(name, place, kept)
            campaign.record_fault(case, f"ended with {process.returncode}: {tail}")
            result = campaign.result() | {"inputs": runs}
    return {"reader": name, **result, "seconds": round(time.perf_counter() - started, 1)}


def current_case(place: Path) -> tuple[int, bytes]:
    """Return how many cases the child has begun, and the newest of them."""
    try:
        content = (place / "now").read_bytes()
    except OSError:
        return 0, b""
    if len(content) < 16:
        return 0, b""
    runs, length = struct.unpack_from("<QQ", content)
    return runs, content[16 : 16 + length]
