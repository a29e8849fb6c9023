"""The public API of Lagvis, as `import lagvis` exports it.

>>> import lagvis as lv
>>> from sklearn.datasets import load_digits
>>> X, y = load_digits(return_X_y=True)
>>> data = lv.Dataset.from_arrays(X, y, test=0.2)
>>> result = lv.train(data, hidden=(64, 64), epochs=10)
>>> result.test.accuracy > 0.9
True
>>> result.model.predict(X[:5])
array([0, 1, 2, 3, 4])

`lv.MLPClassifier` and `lv.MLPRegressor` are the same training as estimators of scikit-learn.

Nothing is printed and nothing is written unless it is asked for. Arrays of NumPy, CuPy, PyTorch and JAX are taken, and
results come in the library and on the device of what was given.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from inspect import signature
from typing import TYPE_CHECKING, Any

from lagvis.api.result import TrainingResult
from lagvis.api.setup import DEFAULT, as_dataset, check_keywords, check_options, prepare_run, resolve_recipe
from lagvis.api.trained_model import TrainedModel
from lagvis.api.training import run_training
from lagvis.arguments import names_of, path_text
from lagvis.backends.registry import select_several
from lagvis.backends.status import BackendStatus, backend_statuses
from lagvis.data.array_source import AUTO, CLASSES, LABELS, NUMBERS, check_targets
from lagvis.data.dataset import Dataset
from lagvis.data.datasets import REGRESSION_SETS
from lagvis.data.datasets import load_dataset as read_dataset
from lagvis.data.split import TEST_SHARE
from lagvis.data.tables.data_frame import is_frame
from lagvis.errors import LagvisError, UsageError
from lagvis.inference.comparison import Comparison
from lagvis.inference.comparison import compare as compare_backends
from lagvis.option_text import messages_for_python, python_events
from lagvis.run_warning import RunWarning
from lagvis.storage.lookup import load_network
from lagvis.training.evaluation import Metrics
from lagvis.training.events import EpochEnded, Event, Finished, Progress, Started
from lagvis.training.loop import fit as fit_events
from lagvis.training.plan import make_plan
from lagvis.training.recipe import Recipe

if TYPE_CHECKING:
    from lagvis.api.estimators import MLPClassifier as MLPClassifier
    from lagvis.api.estimators import MLPRegressor as MLPRegressor

__all__ = [
    "BackendStatus", "Comparison", "Dataset", "EpochEnded", "Event", "Finished", "LagvisError", "Metrics", "Progress",
    "Recipe", "RunWarning", "Started", "TrainedModel", "TrainingResult", "backends", "compare", "fit", "load",
    "load_dataset", "train",
]  # fmt: skip

Path = str | os.PathLike[str]
FRAME_OPTIONS = tuple(signature(Dataset.from_frame).parameters)[1:]


def __getattr__(name: str) -> Any:
    """Import an estimator, with scikit-learn, when it is first used; ImportError where that is missing or too old."""
    if name not in ("MLPClassifier", "MLPRegressor"):
        raise AttributeError(f"module 'lagvis.api' has no attribute {name!r}")
    try:
        return getattr(import_module("lagvis.api.estimators"), name)
    except ImportError as error:
        if not str(error.name).startswith("sklearn"):
            raise
        raise ImportError(
            f"{name} needs scikit-learn 1.6 or newer ({error}); pip install -U scikit-learn", name=error.name
        ) from None


@messages_for_python()
def load_dataset(name: Any, *, targets: str = AUTO, **options: Any) -> Dataset:
    """Read a data set that ships ("mnist", "jump"), or a file or folder: IDX, NPZ, NPY, tables, pictures in folders.

    A data frame of pandas or polars is taken as well, with the options of `Dataset.from_frame`.

    targets  what is learned: "classes", "numbers", or "labels", of which a row may have several; "auto": the numbers
             of "jump", else classes
    options  how a table is read, as in a recipe: label="price", features=["age", "sex"], drop, category, number, log,
             id, weight_column, sheet, table, feature_type, transpose
    Data without a test part have a fifth of their rows held out. Raises DataError for data that cannot be used.

    >>> import lagvis as lv
    >>> lv.load_dataset("mnist").x_train.shape
    (60000, 784)
    """
    check_targets(targets)
    if targets == AUTO:
        targets = NUMBERS if isinstance(name, str) and name in REGRESSION_SETS else CLASSES
    if is_frame(name):
        check_keywords("load_dataset", options, FRAME_OPTIONS)
        return Dataset.from_frame(name, targets=targets, **{"test": TEST_SHARE} | options)
    path = path_text(name, "name")
    return read_dataset(path, regression=targets == NUMBERS, multi_label=targets == LABELS, **check_options(options))


@messages_for_python()
def train(
    data: Dataset | Path,
    recipe: Recipe | Path | Mapping[str, Any] = DEFAULT,
    *,
    device: str = "auto",
    backend: str | None = None,
    threads: int | None = None,
    verbose: bool = False,
    **settings: Any,
) -> TrainingResult:
    """Train a dense network and return it with its history and its metrics.

    data      a Dataset, or the name or path of one, which is read as train.py reads it (label="price", loss="mse", ...)
    recipe    a Recipe, the name of one that ships ("default", "table", "mnist-800", ...), a TOML file or a dict
    device    "auto", "cpu", "cuda", "cuda:1", ...; a device that is named never falls back to another
    backend   "numpy", "cupy", "torch" or "jax"; None: by the device
    threads   CPU threads of NumPy and PyTorch; None: by the size of the network
    verbose   whether to show progress and notices on stderr, or in a notebook below its cell
    settings  keys of the recipe that take other values: hidden=(64, 64), epochs=20, optimizer="adamw", lr=0.003, ...

    The loss follows from the data unless it is given. Raises RecipeError for invalid settings, DeviceError for a device
    that cannot compute, OutOfMemoryError, and NotFiniteError if the training diverges or gives no result. After
    KeyboardInterrupt the result is that of the last whole epoch, with the reason "interrupted".

    >>> import numpy as np
    >>> import lagvis as lv
    >>> x = np.linspace(-1, 1, 300)[:, None]
    >>> data = lv.Dataset.from_arrays(x, np.sin(3 * x[:, 0]), test=0.2)
    >>> result = lv.train(data, recipe="table")
    >>> result.test.loss < 0.2  # as a share of the variance
    True
    """
    return run_training(prepare_run(data, recipe, settings, device, backend, threads), verbose=verbose)


@messages_for_python()
def fit(
    data: Dataset | Path,
    recipe: Recipe | Path | Mapping[str, Any] = DEFAULT,
    *,
    device: str = "auto",
    backend: str | None = None,
    threads: int | None = None,
    stop: Callable[[], bool] = lambda: False,
    **settings: Any,
) -> Iterator[Event]:
    """Train like `train`, and yield the events of the run: Started, Progress, EpochEnded, ..., at last Finished.

    The loop is that of the caller, who may leave it at any time; `stop`, called between groups of steps, ends the run
    as "interrupted". `EpochEnded.checkpoint` and `Finished.checkpoint` are the network at that time, which
    `TrainedModel` takes.

    >>> import numpy as np
    >>> import lagvis as lv
    >>> rows = np.eye(4).repeat(25, axis=0)
    >>> data = lv.Dataset.from_arrays(rows, rows.argmax(axis=1))
    >>> losses = [event.train.loss for event in lv.fit(data, epochs=3) if isinstance(event, lv.EpochEnded)]
    >>> len(losses), losses[0] > losses[2]
    (3, True)
    """
    if not callable(stop):
        raise UsageError(f"stop is {stop!r}; expected a function that returns whether to stop")
    run = prepare_run(data, recipe, settings, device, backend, threads)
    return python_events(fit_events(run.recipe, run.dataset, run.plan, run.backend, model=run.model, stop=stop))


@messages_for_python()
def load(run: Path) -> TrainedModel:
    """Read a trained network: a run folder, its name below runs/, or a .safetensors file of `save` or of a run.

    Raises CheckpointError if there is none, or if it is damaged.
    """
    return TrainedModel(load_network(path_text(run, "run")).checkpoint)


@messages_for_python()
def compare(
    data: Dataset | Path = "mnist",
    recipe: Recipe | Path | Mapping[str, Any] = DEFAULT,
    *,
    backends: str | Sequence[str] | None = None,
    device: str = "auto",
    steps: int = 10,
    **settings: Any,
) -> Comparison:
    """Take steps of a training on every backend, from the same states, and compare all tensors with NumPy in float64.

    backends  names of those to compare; None: all that can run
    steps     how many steps to take

    `Comparison.passed` tells whether they agree, `differences` how far each tensor differs and may differ. Raises
    DeviceError if a backend that is named cannot run, or if NumPy is the only one that can.
    """
    dataset, settings = as_dataset(data, recipe, settings)
    resolved = resolve_recipe(dataset, recipe, settings)
    if not isinstance(steps, int) or steps < 1:
        raise UsageError(f"steps is {steps!r}; expected a whole number from 1")
    plan = make_plan(resolved, dataset, strict_validation="validation" in settings)
    names = names_of(backends, "backends")
    opened = select_several(names, device, resolved.dtype)
    return compare_backends(resolved, dataset, plan, opened, steps)


@messages_for_python()
def backends() -> list[BackendStatus]:
    """Test every array library on every device; return which compute, and why and how to fix those that do not.

    >>> import lagvis as lv
    >>> [status.computes for status in lv.backends() if status.backend == "numpy"]
    [True]
    """
    return [*backend_statuses()]
