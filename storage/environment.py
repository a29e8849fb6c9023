"""Record what the result of a run depends on beside its recipe."""

import hashlib
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lagvis.backends.backend import Backend
from lagvis.backends.precision import overrides_in_force
from lagvis.data.dataset import Dataset
from lagvis.data.datasets import locate
from lagvis.run_warning import RunWarning, is_warning
from lagvis.training import system_files
from lagvis.training.plan import Plan
from lagvis.training.recipe import Recipe
from lagvis.training.system_files import read_lines


def describe_environment(
    recipe: Recipe,
    dataset: Dataset,
    plan: Plan,
    backend: Backend,
    *,
    version: str,
    data: str = "",
    command: list[str] | None = None,
) -> dict[str, Any]:
    """Return the content of environment.json: versions, device and its settings, command line, digests of the data.

    `version` is the version of Lagvis, "cpu" the model of the processor, "float32_products" how precise they are on the
    device, "overrides" the environment variables that can change results. `data` names the data, by default by the path
    of the recipe. "threads" are those of the training, "blas_threads" those of BLAS within a product, which alone
    decide its last bits. `command` is the program and its arguments; a training from Python has none, and no such key.
    """
    return {
        "lagvis": version,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": cpu_model(),
        "numpy": np.__version__,
        "backend": backend.name,
        "device": backend.device,
        "compiled": backend.compiled,
        "steps_per_call": plan.steps_per_call,
        "threads": plan.threads if backend.sets_threads else None,
        "blas_threads": backend.blas_threads(plan.threads) if backend.sets_threads else None,
        **backend.versions(),
        "float32_products": backend.float32_products,
        "overrides": overrides_in_force(backend.name, backend.device),
        **({} if command is None else {"command": command}),
        "seed": recipe.seed,
        "data": data or str(locate(recipe.data)),
        "sha256": dataset.sha256,
        "rows": {"training": len(dataset.x_train), "test": len(dataset.x_test)},
    }


def cpu_model() -> str:
    """Return the model of the processor as the system names it, on Linux from /proc/cpuinfo."""
    facts = dict(line.partition(":")[::2] for line in reversed(read_lines(system_files.PROCESS / "cpuinfo")))
    facts = {key.strip(): value.strip() for key, value in facts.items()}
    if facts.get("model name"):
        return facts["model name"]
    numbers = [facts[key] for key in ("CPU implementer", "CPU part") if facts.get(key)]  # ARM has no names there
    return " ".join([platform.processor() or platform.machine(), *numbers])


def describe_init_from(path: Path, warnings: Sequence[RunWarning] = ()) -> dict[str, Any]:
    """Return a network that a run begins with, for environment.json: its absolute path and the sha256 of its files.

    `path` is a .safetensors file, or a folder of the paper's program. `warnings` are those about the network and the
    data of the run; a resumed run repeats them.
    """
    files = sorted([*path.glob("weightlayer*.npy"), *path.glob("biaslayer*.npy")]) if path.is_dir() else [path]
    digests = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    return {"path": str(path), "sha256": digests, "warnings": [warning.as_json() for warning in warnings]}


def is_valid_init_from(value: Any) -> bool:
    """Return whether the entry `init_from` of a file has the form that `describe_init_from` gives it."""
    if not isinstance(value, dict) or not isinstance(value.get("path"), str):
        return False
    digests = value.get("sha256")
    warnings = value.get("warnings", [])  # earlier versions wrote none
    return (
        isinstance(digests, dict)
        and all(isinstance(digest, str) for digest in digests.values())
        and isinstance(warnings, list)
        and all(map(is_warning, warnings))
    )


def is_valid_rate_search(value: Any) -> bool:
    """Return whether the entry `rate_search` of a file has the form that `RateSearch.as_json` gives it."""
    if not isinstance(value, dict) or not all(is_positive(value.get(key)) for key in ("rate", "fallen")):
        return False
    curves: list[Any] = [value.get(name) for name in ("rates", "losses", "smoothed")]
    return (
        all(isinstance(curve, list) and all(map(is_finite, curve)) for curve in curves)
        and len({len(curve) for curve in curves}) == 1
        and bool(curves[0])
        and all(map(is_positive, curves[0]))
    )


def is_finite(value: Any) -> bool:
    """Return whether a value of a file is a finite number."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def is_positive(value: Any) -> bool:
    """Return whether a value of a file is a finite number above 0."""
    return is_finite(value) and value > 0


def is_valid_resumed(value: Any) -> bool:
    """Return whether the entry `resumed` of a file has the form that `resume_record` gives it."""
    return isinstance(value, list) and all(
        isinstance(part, dict)
        and type(part.get("step")) is int
        and isinstance(part.get("changed"), dict)
        and all(isinstance(pair, list) and len(pair) == 2 for pair in part["changed"].values())
        for part in value
    )
