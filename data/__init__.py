"""What is learned from: readers that check every byte, data sets as host arrays, and the split."""

from pathlib import Path

from data.dataset import Dataset, as_classification, as_regression
from data.errors import DataError
from data.folder import read_folder
from data.npz import read_npz
from data.split import split_off

__all__ = ["SHIPPED", "DataError", "Dataset", "load", "locate", "split_off"]

HERE = Path(__file__).resolve().parent
SHIPPED = {"mnist": HERE / "mnist", "jump": HERE / "jump" / "jump.npz"}


def locate(name: str) -> Path:
    """A data set that ships, by its name, or the absolute path of the user's own."""
    return SHIPPED.get(name) or Path(name).expanduser().absolute()


def load(name: str, *, regression: bool = False) -> Dataset:
    """Read `name` (see `locate`) to learn its classes, or, with `regression`, its numbers; DataError if it cannot be."""
    path = locate(name)
    if path.is_dir():
        source = read_folder(path)
    elif path.suffix == ".npz" and path.is_file():
        source = read_npz(path)
    elif path.exists():
        raise DataError(f"{path} is neither a folder of IDX files nor an .npz file; --data takes one of the two")
    else:
        raise DataError(
            f"there is nothing at {path}; --data takes a folder, an .npz file, or one of {', '.join(SHIPPED)}"
        )
    return as_regression(source) if regression else as_classification(source)
