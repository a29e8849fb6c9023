"""Load data sets by name or path: those that ship, and the user's own files."""

import os
from pathlib import Path

from lagvis.data.dataset import Dataset, as_classification, as_regression
from lagvis.data.detect import read
from lagvis.data.images.transposed import BY_NAME
from lagvis.data.input_spec import InputSpec
from lagvis.data.tables.feature_type import AUTO
from lagvis.errors import DataError

HERE = Path(__file__).resolve().parent
SHIPPED = {"mnist": HERE / "mnist", "jump": HERE / "jump" / "jump.npz"}


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
    label: str = "",
    feature_type: str = AUTO,
    transpose: str = BY_NAME,
    class_names: tuple[str, ...] = (),
    spec: InputSpec | None = None,
) -> Dataset:
    """Read a data set that ships, or a file or folder (see `locate`).

    regression    read numbers to predict instead of classes
    label         label column of a table, by name or number; several for numbers, separated by commas
    feature_type  what the feature columns of a table hold: auto, pixels or numbers
    transpose     whether pictures are stored with rows and columns exchanged: auto (by name), yes or no
    class_names   of a trained network, every label must be one of them; empty: those of the training labels
    spec          a trained network whose columns are looked up in a table, by name where both have names
    Raises DataError for data that cannot be used.
    """
    path = locate(name)
    try:
        source = read(
            path, regression=regression, label=label, feature_type=feature_type, transpose=transpose, spec=spec
        )
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror or error}); check the path and its permissions"
        ) from None
    return as_regression(source) if regression else as_classification(source, class_names)
