"""The result of every stage, and the JSON file that is replaced after each of them."""

import importlib.metadata
import json
import os
import platform
import sys
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from lagvis.cli.streams import write_stderr

FILE_NAME = "gpu-check.json"
NOT_REACHED = "not reached"
PASSED, FAILED, SKIPPED, RUNNING, INTERRUPTED = "passed", "FAILED", "skipped", "running", "interrupted"
# What decides a result on a GPU: the array libraries, the packages of CUDA that they load, and the tools of the tests
LIBRARIES = (
    "numpy", "array-api-compat", "cupy-cuda13x", "cupy-cuda12x", "torch", "jax", "jaxlib", "jax-cuda13-plugin",
    "jax-cuda12-plugin", "nvidia-cublas", "nvidia-cublas-cu12", "nvidia-cuda-nvrtc", "nvidia-cuda-runtime", "pytest",
    "hypothesis", "safetensors",
)  # fmt: skip


@dataclass
class StageResult:
    """What one stage found. The stage adds to `faults`, `notes` and `measured` while it runs, so that a cut keeps them.

    status    passed, FAILED, cut at N s, cut by a signal, not reached, skipped, running
    faults    a sentence for everything that is wrong; without one the stage has passed
    notes     short facts for the table
    commands  the commands that have ended, as `Finished.record` returns them
    """

    name: str
    status: str = NOT_REACHED
    seconds: float = 0.0
    limit: float = 0.0
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    measured: dict[str, Any] = field(default_factory=dict)
    commands: list[dict[str, Any]] = field(default_factory=list)

    @property
    def succeeded(self) -> bool:
        """Whether nothing is wrong with the stage: it has passed or needs not run here."""
        return self.status in (PASSED, SKIPPED)


class Record:
    """The facts of one check and the results of its stages, in the JSON file of the folder `output`.

    `unwritten` is the path of the file and the reason if the newest results could not be written, else None.
    """

    def __init__(self, device: str, minutes: float, output: Path, stages: list[str]) -> None:
        self.path = output / FILE_NAME
        self.stages = [StageResult(name) for name in stages]
        self.unwritten: str | None = None
        self.facts: dict[str, Any] = {
            "date": datetime.now().astimezone().isoformat(timespec="seconds"),
            "command": " ".join(["scripts/gpu-check", *sys.argv[1:]]),
            "device": device,
            "minutes": minutes,
            "machine": machine(),
            "versions": versions(),
        }

    def write(self) -> None:
        """Replace the file; at every moment it is complete. If it cannot be written, print why; the stages go on."""
        beside = self.path.with_suffix(".json.writing")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with beside.open("w", encoding="utf-8") as file:
                json.dump(self.facts | {"stages": [vars(stage) for stage in self.stages]}, file, indent=1, default=str)
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self.path)
        except OSError as error:
            if self.unwritten is None:
                write_stderr(f"error: {self.path} cannot be written ({error.strerror}); the check goes on\n")
            self.unwritten = f"{self.path} ({error.strerror})"
        else:
            self.unwritten = None

    def table(self) -> str:
        """Return one line a stage, with its first faults below it."""
        lines = []
        for stage in self.stages:
            text = "; ".join(stage.notes)
            lines.append(f"{stage.status:14} {stage.name:9} {stage.seconds:6.1f} s  {text}".rstrip())
            lines += [f"{'':27}{fault}" for fault in stage.faults[:5]]
            if len(stage.faults) > 5:
                lines.append(f"{'':27}and {len(stage.faults) - 5} more faults, in {self.path.name}")
        return "\n".join(lines)


def machine() -> dict[str, Any]:
    """Return system, processor, cores and memory."""
    processor = platform.processor() or platform.machine()
    facts = Path("/proc/cpuinfo")
    if facts.exists():
        lines = facts.read_text(encoding="utf-8").splitlines()
        processor = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), processor)
    return {
        "system": platform.platform(),
        "processor": processor,
        "cores": cores(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "python": platform.python_version(),
    }


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0))


def versions() -> dict[str, str]:
    """Return the versions of the installed libraries."""
    found = {}
    for library in LIBRARIES:
        try:
            found[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
