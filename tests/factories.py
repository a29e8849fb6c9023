"""Small data sets, recipes and runs."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lagvis.backends.backend import Backend, Run, Step
from lagvis.backends.registry import select
from lagvis.data.dataset import Dataset, as_classification, as_regression
from lagvis.data.source import Source
from lagvis.training.checkpoint import Checkpoint
from lagvis.training.events import EpochEnded, Event, Finished, Progress
from lagvis.training.loop import fit
from lagvis.training.plan import make_plan
from lagvis.training.recipe import Recipe

# Settings of plain gradient descent on pixels from 0 to 1: no momentum, no schedule, no smoothing.
PLAIN = {"pixel_scaling": "unit", "label_smoothing": 0.0, "momentum": 0.0, "nesterov": False, "schedule": "constant"}
IDX_CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
STANDARD = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def idx_bytes(array: np.ndarray, kind: str = "u1") -> bytes:
    """Return an array as an IDX file, written according to the description of the format."""
    head = bytes([0, 0, IDX_CODES[kind], array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return head + array.astype(f">{kind}").tobytes()


def bands(rows: int, classes: int = 4, seed: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Return uint8 images (rows, 6, 6) and cyclic classes; the pixel row of the class is bright."""
    rng = np.random.default_rng(seed)
    y = np.arange(rows) % classes
    x = rng.integers(0, 60, (rows, 6, 6))
    x[np.arange(rows), y] = 250
    return x.astype(np.uint8), y


def write_folder(
    folder: Path, names: tuple[str, ...] = STANDARD, *, packed: bool = False, labels_from: int = 0, kind: str = "u1"
) -> Path:
    """Write four IDX files of 40 and 12 bands; labels have the IDX type `kind` and begin with `labels_from`."""
    (x_train, y_train), (x_test, y_test) = bands(40), bands(12, seed=8)
    contents = (
        idx_bytes(x_train),
        idx_bytes(y_train + labels_from, kind),
        idx_bytes(x_test),
        idx_bytes(y_test + labels_from, kind),
    )
    for name, content in zip(names, contents, strict=True):
        path = folder / (f"{name}.gz" if packed else name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(content) if packed else content)
    return folder


def classes(rows: int = 120, classes: int = 4, test_rows: int = 30) -> Dataset:
    """Return the bands as a data set for classification."""
    (x, y), (x_test, y_test) = bands(rows, classes), bands(test_rows, classes, seed=8)
    return as_classification(Source("bands", x, y, x_test, y_test, {}))


def numbers(rows: int = 120, test_rows: int = 30) -> Dataset:
    """Return a data set for regression: two targets on very different scales, linear in three features, with noise."""
    rng = np.random.default_rng(3)
    x = rng.normal(5.0, 2.0, (rows + test_rows, 3))
    slopes = np.array([[1.0, 200.0], [-2.0, 100.0], [0.5, -300.0]])
    y = x @ slopes + [3.0, 1000.0] + rng.normal(0.0, 0.1, (rows + test_rows, 2))
    source = Source("line", x[:rows], y[:rows], x[rows:], y[rows:], {}, target_names=("near", "far"), unit="m")
    return as_regression(source)


def quick(**keys: Any) -> Recipe:
    """Return a recipe for small data: two epochs of plain gradient descent on a small network, nothing held out."""
    small = {"data": "small", "hidden": (8,), "epochs": 2, "batch_size": 20, "validation": 0, "lr": 0.1}
    return Recipe(**(PLAIN | small | keys))


def run(
    recipe: Recipe,
    dataset: Dataset,
    *,
    stop_at: Callable[[Event], bool] = lambda event: False,
    start: Checkpoint | None = None,
    backend: Backend | None = None,
) -> list[Event]:
    """Return all events of a run, on NumPy and from its beginning by default.

    The run is stopped at the first event for which `stop_at` is true. A validation part that is too large raises, as it
    does when the user sets it.
    """
    plan = make_plan(recipe, dataset, strict_validation=True)
    backend = backend or select("cpu", dtype=recipe.dtype)
    events: list[Event] = []
    for event in fit(recipe, dataset, plan, backend, start=start, stop=lambda: any(map(stop_at, events))):
        events.append(event)
    return events


def compile_once(backend: Backend) -> Backend:
    """Make a backend of JAX use the compiled training and evaluation step again for every run of one recipe."""
    scan, known = backend.scan, {}

    def scan_once(step: Step) -> Run:
        if step.__qualname__ not in known:
            known[step.__qualname__] = scan(step)
        return known[step.__qualname__]

    backend.scan = scan_once
    return backend


def last(events: list[Event]) -> Finished:
    """Return the last event of a run."""
    assert isinstance(events[-1], Finished)
    return events[-1]


def epochs(events: list[Event]) -> list[EpochEnded]:
    """Return the EpochEnded events."""
    return [event for event in events if isinstance(event, EpochEnded)]


def at_step(step: int) -> Callable[[Event], bool]:
    """Return a predicate: the event is the Progress of this step."""
    return lambda event: isinstance(event, Progress) and event.step == step


def logits(params: list[dict[str, np.ndarray]], x: np.ndarray) -> np.ndarray:
    """Return the logits of a ReLU network in float64, computed with plain NumPy."""
    for layer in params[:-1]:
        x = np.maximum(x @ layer["W"].astype(np.float64) + layer["b"], 0.0)
    return x @ params[-1]["W"].astype(np.float64) + params[-1]["b"]
