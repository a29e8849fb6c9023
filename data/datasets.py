"""Load data sets by name or path: those that ship, and the user's own files."""

import os
from pathlib import Path
from typing import Any

from lagvis.data.array_source import CLASSES, LABELS, NUMBERS
from lagvis.data.dataset import Dataset, make_dataset
from lagvis.data.detect import read
from lagvis.data.input_spec import InputSpec
from lagvis.data.read_options import ReadOptions
from lagvis.data.tables.encoding import TableEncoding
from lagvis.errors import DataError

HERE = Path(__file__).resolve().parent
SHIPPED = {"mnist": HERE / "mnist", "jump": HERE / "jump" / "jump.npz"}
REGRESSION_SETS = ("jump",)  # of those that ship: numbers are predicted


def locate(name: str) -> Path:
    """Return the path of a data set that ships, or the absolute path of the user's own."""
    return SHIPPED.get(name) or Path(os.path.expanduser(name)).absolute()


def absolute_name(name: str) -> str:
    """Return the name of a data set that ships, else an absolute path, which means the same from any folder."""
    return name if name in SHIPPED else str(locate(name))


def load_dataset(
    name: str,
    *,
    regression: bool = False,
    class_names: tuple[str, ...] = (),
    spec: InputSpec | None = None,
    encoding: TableEncoding | None = None,
    **options: Any,
) -> Dataset:
    """Read a data set that ships, or a file or folder (see `locate`).

    regression   read numbers to predict instead of classes
    class_names  of a trained network, every label must be one of them; empty: those of the training labels
    spec         a trained network whose columns are looked up in a table, by name where both have names
    encoding     of the columns of a table, as a network has it that goes on learning; None: by the training rows
    options      how the files are read: fields of ReadOptions, as label="price"
    Raises DataError for data that cannot be used.
    """
    path = locate(name)
    try:
        source = read(path, regression=regression, options=ReadOptions(**options), spec=spec, encoding=encoding)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror or error}); check the path and its permissions"
        ) from None
    targets = NUMBERS if regression else LABELS if options.get("multi_label") else CLASSES
    return make_dataset(source, targets, class_names)
