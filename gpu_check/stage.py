"""What every stage gets, and helpers that several stages share."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu_check.processes import Finished, Runner
from gpu_check.record import StageResult

DEFAULT_BACKENDS = {"cuda": "cupy", "cpu": "numpy"}  # what a command chooses on a device where no backend is named


@dataclass
class Context:
    """What a stage may use.

    device    "cuda", or "cpu" for the rehearsal without a GPU
    backends  the backends that compute on it, the default of the device first; filled by the first stage
    work      temporary folder
    output    folder of the results
    """

    device: str
    backends: list[str]
    runner: Runner
    work: Path
    output: Path
    cores: int


@dataclass(frozen=True)
class Stage:
    """A part of the check.

    limit  seconds that it may take in a check of up to five minutes
    share  share of the remaining time that it may take, if that is more than the limit
    run    runs it until the deadline (by time.monotonic) and fills the result
    """

    name: str
    limit: float
    run: Callable[[Context, float, StageResult], None]
    share: float = 0.0


def read_json(finished: Finished, result: StageResult) -> dict[str, Any] | None:
    """Return the JSON object that a command printed last; without one, or after a failure, note a fault.

    A command that failed may have printed its object, which is then returned.
    """
    if finished.exit != 0:
        result.faults.append(f"{finished.command}: {finished.reason()}")
    lines = finished.stdout.strip().splitlines()
    try:
        found = json.loads(lines[-1]) if lines else None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        if finished.exit == 0:
            result.faults.append(f"{finished.command}: printed no JSON object")
        return None
    return found
