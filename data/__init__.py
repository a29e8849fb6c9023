"""What is learned from: readers that check every byte, data sets as host arrays, and the split."""

import os
from pathlib import Path

from data.dataset import Dataset, Source, as_classification, as_regression
from data.errors import DataError
from data.folder import read_folder
from data.npz import read_npz
from data.split import split_off

__all__ = ["SHIPPED", "DataError", "Dataset", "absolute", "load", "locate", "split_off"]

HERE = Path(__file__).resolve().parent
SHIPPED = {"mnist": HERE / "mnist", "jump": HERE / "jump" / "jump.npz"}


def locate(name: str) -> Path:
    """A data set that ships, by its name, or the absolute path of the user's own."""
    return SHIPPED.get(name) or Path(os.path.expanduser(name)).absolute()


def absolute(name: str) -> str:
    """`name` so that it means the same from any folder."""
    return name if name in SHIPPED else str(locate(name))


def load(name: str, *, regression: bool = False) -> Dataset:
    """Read `name` (see `locate`) to learn its classes, or, with `regression`, its numbers; or raise DataError."""
    path = locate(name)
    try:
        source = read(path, regression)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror or error}); check the path and its permissions"
        ) from None
    return as_regression(source) if regression else as_classification(source)


def read(path: Path, regression: bool) -> Source:
    """What is at `path`, by the reader for its kind."""
    if path.is_dir():
        return read_folder(path)
    if path.suffix == ".npz" and path.is_file():
        return read_npz(path, regression=regression)
    if path.exists():
        raise DataError(f"{path} is neither a folder of IDX files nor an .npz file; --data takes one of the two")
    raise DataError(f"there is nothing at {path}; --data takes a folder, an .npz file, or {' or '.join(SHIPPED)}")
