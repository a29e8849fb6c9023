"""Read .npy files: a folder of the arrays that an NPZ would hold (X.npy and y.npy, ...), or one file of rows."""

from pathlib import Path

import numpy as np

from lagvis.data.files import file_digest, is_junk
from lagvis.data.formats.npz import (
    ALIASES,
    NPY_MAGIC,
    NpyError,
    check_complete,
    expected_arrays,
    optional_arrays,
    read_npy,
    source_of_arrays,
)
from lagvis.data.source import Source
from lagvis.errors import DataError


def find_arrays(folder: Path) -> list[Path]:
    """Return the .npy files of a folder that have the name of an array of a data set; none where all are weights."""
    paths = [
        path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() == ".npy" and path.stem.lower() in ALIASES and not is_junk(path.name) and path.is_file()
    ]
    only_weights = all(ALIASES[path.stem.lower()].startswith("w") for path in paths)
    return [] if only_weights else paths


def read_npy_folder(folder: Path, *, by_class: bool, transpose: str, test_only: bool = False) -> Source:
    """Return the arrays of the .npy files of a folder as a data set; the arguments are those of `read_npz`."""
    paths: dict[str, Path] = {}
    for path in find_arrays(folder):
        name = ALIASES[path.stem.lower()]
        if name in paths:
            raise DataError(f"{folder} holds both {paths[name].name} and {path.name}; which is meant? Keep one")
        paths[name] = path
    expected = expected_arrays({*paths}, test_only=test_only)
    check_complete(folder, expected, paths, [path.name for path in find_arrays(folder)])
    read_names = (*expected, *optional_arrays(expected, test_only=test_only))
    used = {name: path for name, path in paths.items() if name in read_names}
    return source_of_arrays(
        folder,
        {name: read_npy_file(path, str(path)) for name, path in used.items()},
        {path.name: file_digest(path) for path in used.values()},
        by_class=by_class,
        transpose=transpose,
        test_only=test_only,
    )


def read_npy_file(path: Path, name: str) -> np.ndarray:
    """Return the array of a .npy file; `name` stands for its path in messages. DataError for damaged files."""
    try:
        with path.open("rb") as file:
            return read_npy(file, path.stat().st_size)
    except NpyError as error:
        raise DataError(f"{name} {error}") from None
    except (OSError, MemoryError):
        raise
    except Exception as error:  # NumPy raises many types for broken bytes
        raise DataError(f"{name} cannot be read as a NumPy array ({error}); write it with numpy.save") from None


def is_npy(path: Path) -> bool:
    """Tell whether a file begins as .npy files do."""
    with path.open("rb") as file:
        return file.read(len(NPY_MAGIC)) == NPY_MAGIC
