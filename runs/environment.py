"""Record what the result of a run depends on beside its recipe."""

import platform
from typing import Any

import numpy as np

from lagvis.backends.backend import Backend
from lagvis.data.dataset import Dataset
from lagvis.data.datasets import locate
from lagvis.training.plan import Plan
from lagvis.training.recipe import Recipe


def describe_environment(
    recipe: Recipe, dataset: Dataset, plan: Plan, backend: Backend, *, version: str, command: list[str]
) -> dict[str, Any]:
    """Return the content of environment.json: versions, device and its settings, command line, digests of the data.

    `version` is the version of Lagvis; `command` is the program and its arguments.
    """
    return {
        "lagvis": version,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "numpy": np.__version__,
        "backend": backend.name,
        "device": backend.device,
        "compiled": backend.compiled,
        "steps_per_call": plan.steps_per_call,
        "threads": plan.threads if backend.sets_threads else None,
        **backend.versions(),
        "command": command,
        "seed": recipe.seed,
        "data": str(locate(recipe.data)),
        "sha256": dataset.sha256,
    }
