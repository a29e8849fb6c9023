"""NPZ files: x_train, y_train, x_test, y_test; or x and y alone, where the split is ours.

The names that other programs give to the four are known too, in any case: train_images, X_train, data and target.
"""

import hashlib
import math
import sys
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from lagvis.data.dataset import Source, shorten
from lagvis.data.formats.idx import MAX_GZIP_RATIO
from lagvis.data.split import hold_out_test
from lagvis.errors import DataError

FOUR = ("x_train", "y_train", "x_test", "y_test")
X = ("x", "data", "images", "features")
Y = ("y", "target", "targets", "label", "labels")
ALIASES = {
    **dict.fromkeys(X, "x"),
    **dict.fromkeys(Y, "y"),
    **{name: f"x_{part}" for part in ("train", "test") for word in X for name in (f"{word}_{part}", f"{part}_{word}")},
    **{name: f"y_{part}" for part in ("train", "test") for word in Y for name in (f"{word}_{part}", f"{part}_{word}")},
    "target_names": "target_names",
    "unit": "unit",
}
NPY = b"\x93NUMPY"
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_npz(path: Path, *, regression: bool) -> Source:
    """The arrays of an NPZ (never pickled objects), with `target_names` and `unit` where the file gives them.

    x and y alone are split by `hold_out_test`.
    """
    arrays = read_arrays(path)
    if "unit" in arrays and arrays["unit"].size != 1:
        raise DataError(f"{path} holds unit of shape {arrays['unit'].shape}; expected one text")
    names = tuple(str(name) for name in np.atleast_1d(arrays.get("target_names", np.array([], dtype=str))))
    unit = str(arrays["unit"].item()) if "unit" in arrays else ""
    strange = next((text for text in (*names, unit) if not text.isprintable()), None)
    if strange is not None:
        raise DataError(f"{path} has the name or unit {shorten(ascii(strange))}; expected text that can be printed")
    rows: dict[str, np.ndarray] = {}
    if "x" in arrays:
        x, y = arrays["x"], arrays["y"]
        if x.size == 0 or y.size == 0 or x.ndim < 1 or y.ndim < 1 or len(x) != len(y) or len(x) < 2:
            raise DataError(f"{path} holds x {x.shape} and y {y.shape}; expected equally many rows, two at least")
        train, test = hold_out_test(y, by_class=not regression)
        rows = {"training": train, "test": test}
        arrays |= {"x_train": x[train], "y_train": y[train], "x_test": x[test], "y_test": y[test]}

    def where(part: str, row: int) -> str:
        return f"{path.name}: {part} row {row}" + (f", row {rows[part][row]} of the file," if rows else "")

    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Source(
        path.stem,
        x_train=arrays["x_train"],
        y_train=arrays["y_train"],
        x_test=arrays["x_test"],
        y_test=arrays["y_test"],
        sha256={path.name: digest},
        target_names=names,
        unit=unit,
        undivided=path.name if rows else "",
        where=where,
    )


def read_npz_rows(path: Path, display_name: str = "") -> tuple[np.ndarray, np.ndarray | None, tuple[str, ...]]:
    """The rows to predict in an NPZ, x, else x_test, else x_train; their labels where it has them; what to say.

    `display_name` stands for the path in messages.
    """
    file_name = display_name or str(path)
    with open_archive(path, file_name) as (archive, members):
        found = [name for name in ("x", "x_test", "x_train") if name in members]
        if not found:
            raise DataError(f"{file_name} holds {list_members(archive.namelist())}; expected x, rows of features")
        taken, *others = [members[name].filename.removesuffix(".npy") for name in found]
        notices = (f"{Path(file_name).name}: the rows are {taken}; not used: {', '.join(others)}.",) if others else ()
        label = members.get(found[0].replace("x", "y"))
        x = read_member(archive, members[found[0]], file_name)
        return x, None if label is None else read_member(archive, label, file_name), notices


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a data set by our names for them; DataError where one is missing, doubled or no array."""
    with open_archive(path, str(path)) as (archive, members):
        wanted = FOUR if any(name in members for name in FOUR) else ("x", "y")
        absent = [name for name in wanted if name not in members]
        if absent:
            raise DataError(
                f"{path} holds {list_members(archive.namelist())}; expected {', '.join(FOUR)}, or x and y"
                f" (missing: {', '.join(absent)})"
            )
        return {
            name: read_member(archive, members[name], str(path))
            for name in (*wanted, "target_names", "unit")
            if name in members
        }


@contextmanager
def open_archive(path: Path, file_name: str) -> Iterator[tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]]:
    """An NPZ and its arrays by our names for them; errors inside name the file."""
    with path.open("rb") as file:
        if file.read(len(NPY)) == NPY:
            raise DataError(f"{file_name} is a single array (.npy); save x and y together with numpy.savez")
    try:
        with zipfile.ZipFile(path) as archive:
            members: dict[str, zipfile.ZipInfo] = {}
            for info in archive.infolist():
                name = ALIASES.get(info.filename.removesuffix(".npy").lower(), "")
                if name in members:
                    raise DataError(
                        f"{file_name} holds both {members[name].filename} and {info.filename}; which is meant? Keep one"
                    )
                if name:
                    members[name] = info
            yield archive, members
    except (DataError, MemoryError):
        raise
    except Exception as error:  # zipfile, zlib and NumPy each raise kinds of their own for broken bytes
        raise DataError(f"{file_name} cannot be read as NPZ ({error}); write it with numpy.savez") from None


def list_members(members: list[str]) -> str:
    """The names of a file's members, ten at most."""
    names = [name.removesuffix(".npy")[:40] for name in members[:10]]
    return ", ".join(names + ["..."] * (len(members) > 10)) or "nothing"


def read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, file_name: str) -> np.ndarray:
    """One array, once its header agrees with the bytes that are there."""
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # LZMA takes what memory it likes
        raise DataError(
            f"{file_name}: {info.filename} is packed by another method than NumPy's; write it with numpy.savez"
        )
    if info.file_size > info.compress_size * MAX_GZIP_RATIO:
        raise DataError(
            f"{file_name}: {info.filename} promises {info.file_size:,} bytes out of {info.compress_size:,} packed"
        )
    with archive.open(info) as file:
        try:
            return read_npy(file, info.file_size)  # type: ignore[arg-type]
        except NpyError as error:
            raise DataError(f"{file_name}: {info.filename} {error}") from None


class NpyError(Exception):
    """What an NPY file has or does, to be said after its name."""


def read_npy(file: BinaryIO, size: int) -> np.ndarray:
    """The array of an open NPY file of `size` bytes, once its header agrees with them; NpyError where it does not.

    Broken bytes give what NumPy raises for them.
    """
    version = np.lib.format.read_magic(file)
    if version not in HEADERS:
        raise NpyError(f"is of NPY version {version}; write it with numpy.savez")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy has the header evaluated as Python, whose words are for programmers
        try:
            shape, _, dtype = HEADERS[version](file)
        except (MemoryError, RecursionError):
            raise NpyError("has a header of brackets or signs without end; write it with numpy.savez") from None
    needed, there = math.prod(shape) * dtype.itemsize, size - file.tell()
    if dtype.hasobject:
        raise NpyError("holds pickled objects, which are never executed; store plain numbers")
    if dtype.kind not in "biufSU" or not dtype.itemsize:  # NumPy makes room for texts of no characters
        raise NpyError(f"holds {dtype}; expected numbers, or text for labels")
    if needed != there or any(length < 0 for length in shape):
        raise NpyError(f"of shape {shape} needs {needed:,} bytes, {there:,} are there")
    file.seek(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
    if dtype.kind == "U" and array.size and (characters_of(array) > sys.maxunicode).any():
        raise NpyError("holds text with characters that do not exist; write it with numpy.savez")
    return array


def characters_of(array: np.ndarray) -> np.ndarray:
    """The code points of text of any shape and byte order, in one row."""
    native = array.astype(array.dtype.newbyteorder("="))
    return np.ascontiguousarray(native).reshape(-1).view(np.uint32)
