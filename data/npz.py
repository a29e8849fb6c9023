"""NPZ files: x_train, y_train, x_test, y_test; or x and y alone, where the split is ours."""

import hashlib
import math
import zipfile
from pathlib import Path

import numpy as np

from data.dataset import Source
from data.errors import DataError
from data.idx import MOST_UNPACKED_PER_PACKED
from data.split import hold_out_test, no_test_part

FOUR = ("x_train", "y_train", "x_test", "y_test")
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_npz(path: Path, *, regression: bool) -> Source:
    """The arrays of an NPZ (never pickled objects), with `target_names` and `unit` where the file gives them.

    x and y alone are split by `hold_out_test`.
    """
    arrays = read_arrays(path)
    names = tuple(str(name) for name in np.atleast_1d(arrays.get("target_names", np.array([], dtype=str))))
    unit = str(arrays.get("unit", ""))
    notices: tuple[str, ...] = ()
    if not all(name in arrays for name in FOUR):
        if not ("x" in arrays and "y" in arrays):
            raise DataError(f"{path} holds {', '.join(arrays) or 'nothing'}; expected {', '.join(FOUR)}, or x and y")
        x, y = arrays["x"], arrays["y"]
        if x.ndim < 1 or y.ndim < 1 or len(x) != len(y) or len(x) < 2:
            raise DataError(f"{path} holds x {x.shape} and y {y.shape}; expected equally many rows, two at least")
        train, test = hold_out_test(y, by_class=not regression)
        arrays |= {"x_train": x[train], "y_train": y[train], "x_test": x[test], "y_test": y[test]}
        notices = (no_test_part(path.name, len(test), len(x)),)
    return Source(
        path.stem,
        x_train=arrays["x_train"],
        y_train=arrays["y_train"],
        x_test=arrays["x_test"],
        y_test=arrays["y_test"],
        sha256={path.name: hashlib.sha256(path.read_bytes()).hexdigest()},
        target_names=names,
        unit=unit,
        notices=notices,
    )


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Every array of the file by its name; DataError for whatever is not one."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {info.filename.removesuffix(".npy"): read_member(archive, info, path) for info in archive.infolist()}
    except (DataError, MemoryError):
        raise
    except Exception as error:  # zipfile, zlib and NumPy each raise kinds of their own for broken bytes
        raise DataError(f"{path} cannot be read as NPZ ({error}); write it with numpy.savez") from None


def read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> np.ndarray:
    """One array, once its header agrees with the bytes that are there."""
    if info.file_size > info.compress_size * MOST_UNPACKED_PER_PACKED:
        raise DataError(
            f"{path}: {info.filename} promises {info.file_size:,} bytes out of {info.compress_size:,} packed"
        )
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        if version not in HEADERS:
            raise DataError(f"{path}: {info.filename} is of NPY version {version}; write it with numpy.savez")
        shape, _, dtype = HEADERS[version](file)
        size, there = math.prod(shape) * dtype.itemsize, info.file_size - file.tell()
    if dtype.hasobject:
        raise DataError(f"{path}: {info.filename} holds pickled objects, which are never executed; store plain numbers")
    if size != there:
        raise DataError(f"{path}: {info.filename} of shape {shape} needs {size:,} bytes, {there:,} are there")
    with archive.open(info) as file:
        return np.lib.format.read_array(file, allow_pickle=False)
