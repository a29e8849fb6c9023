"""Data sets by name or path: the ones that ship, and the user's own files."""

import os
from pathlib import Path

from lagvis.data.dataset import Dataset, as_classification, as_regression
from lagvis.data.detect import read
from lagvis.errors import DataError

HERE = Path(__file__).resolve().parent
SHIPPED = {"mnist": HERE / "mnist", "jump": HERE / "jump" / "jump.npz"}


def locate(name: str) -> Path:
    """A data set that ships, by its name, or the absolute path of the user's own."""
    return SHIPPED.get(name) or Path(os.path.expanduser(name)).absolute()


def absolute_name(name: str) -> str:
    """`name` so that it means the same from any folder."""
    return name if name in SHIPPED else str(locate(name))


def load_dataset(name: str, *, regression: bool = False, label: str = "", class_names: tuple[str, ...] = ()) -> Dataset:
    """Read `name` (see `locate`) to learn its classes, or, with `regression`, its numbers; or raise DataError.

    `label` says which column of a table is the label, by name or number; several, for numbers, with commas between.
    With `class_names`, those of a network that is there already, every label must be one of them.
    """
    path = locate(name)
    try:
        source = read(path, regression=regression, label=label)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror or error}); check the path and its permissions"
        ) from None
    return as_regression(source) if regression else as_classification(source, class_names)
