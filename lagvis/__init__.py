"""Lagvis: dense neural networks, written once against the Array API standard, trained on any array library.

The public API is that of `lagvis.api`, which documents it; its names are imported when they are first used.

In a checkout the packages (`network/`, `backends/`, ...) stand beside this folder; in an installation they stand inside
it. They are imported as `lagvis.network`, `lagvis.backends`, ... in both.
"""

from __future__ import annotations  # so that an older Python reads on to the line that names the one it needs

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lagvis.api import (
        BackendStatus,
        Comparison,
        Dataset,
        EpochEnded,
        Event,
        Finished,
        LagvisError,
        Metrics,
        Progress,
        Recipe,
        RunWarning,
        Started,
        TrainedModel,
        TrainingResult,
        backends,
        compare,
        fit,
        load,
        load_dataset,
        train,
    )
    from lagvis.api.estimators import MLPClassifier as MLPClassifier
    from lagvis.api.estimators import MLPRegressor as MLPRegressor

__version__ = "0.1.0"
__all__ = [
    "BackendStatus",
    "Comparison",
    "Dataset",
    "EpochEnded",
    "Event",
    "Finished",
    "LagvisError",
    "Metrics",
    "Progress",
    "Recipe",
    "RunWarning",
    "Started",
    "TrainedModel",
    "TrainingResult",
    "backends",
    "compare",
    "fit",
    "load",
    "load_dataset",
    "train",
]
# These need scikit-learn (extra `sklearn`), without which `from lagvis import *` works too.
_ESTIMATORS = ["MLPClassifier", "MLPRegressor"]

_checkout = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if os.path.isfile(os.path.join(_checkout, "network", "step.py")):
    __path__.append(_checkout)


def __getattr__(name: str) -> Any:
    """Import a name of the public API."""
    if name not in __all__ and name not in _ESTIMATORS:
        raise AttributeError(f"module 'lagvis' has no attribute {name!r}")
    if name == "backends":  # a package that can be called
        return import_module("lagvis.backends")
    value = getattr(import_module("lagvis.api"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, *_ESTIMATORS, "__version__"]
