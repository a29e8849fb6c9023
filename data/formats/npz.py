"""Read NPZ files: x_train, y_train, x_test, y_test; or x and y, or the training part, of which a test part is held out.

Beside them w_train, or w beside x, has the weights of the rows.

The names that other programs use for them are known too, in upper or lower case: train_images, X_train, data, target.
"""

import math
import sys
import warnings
import zipfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from lagvis.data.files import MAX_GZIP_RATIO, file_digest
from lagvis.data.images.transposed import BY_NAME, Upright, turn_upright
from lagvis.data.messages import shorten
from lagvis.data.source import Source
from lagvis.errors import DataError
from lagvis.option_text import predict_command

FOUR_ARRAYS = ("x_train", "y_train", "x_test", "y_test")
PAIRS = (("x", "y"), ("x_train", "y_train"), ("x_test", "y_test"))  # of which one alone is a data set
X_NAMES = ("x", "data", "images", "features")
Y_NAMES = ("y", "target", "targets", "label", "labels")
W_NAMES = ("w", "sample_weight")
ALIASES = {
    **dict.fromkeys(X_NAMES, "x"),
    **dict.fromkeys(Y_NAMES, "y"),
    **dict.fromkeys(W_NAMES, "w"),
    **{
        name: f"{array}_{part}"
        for array, words in (("x", X_NAMES), ("y", Y_NAMES), ("w", W_NAMES))
        for part in ("train", "test")
        for word in words
        for name in (f"{word}_{part}", f"{part}_{word}")
    },
    "target_names": "target_names",
    "unit": "unit",
}
NPY_MAGIC = b"\x93NUMPY"
HEADER_READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_npz(path: Path, *, by_class: bool, transpose: str = BY_NAME, test_only: bool = False) -> Source:
    """Return the arrays of an NPZ (never pickled objects), with `target_names` and `unit` if the file has them.

    by_class   whether a test part is held out class by class
    transpose  one of TRANSPOSE, see `turn_upright`
    test_only  take a file of x_test and y_test alone, to evaluate a network on
    """
    arrays = read_arrays(path, test_only=test_only)
    sha256 = {path.name: file_digest(path)}
    return source_of_arrays(path, arrays, sha256, by_class=by_class, transpose=transpose, test_only=test_only)


def source_of_arrays(
    path: Path,
    arrays: dict[str, np.ndarray],
    sha256: dict[str, str],
    *,
    by_class: bool,
    transpose: str,
    test_only: bool,
) -> Source:
    """Return arrays by their standard names as a data set, pictures upright; a test part is held out if there is none.

    `path` is the file or folder that holds them; the other arguments are those of `read_npz`.
    """
    target_names, unit = read_names(path, arrays)
    notices: tuple[str, ...] = ()
    transposed = False
    for name in ("x", "x_train", "x_test"):
        if name in arrays:
            arrays[name], transposed, notices = turn_upright(arrays[name], path.name, transpose, path)
    if not {"x_train", "x_test"} <= arrays.keys():
        x_name, y_name = next(pair for pair in PAIRS if pair[0] in arrays)
        x, y = arrays[x_name], arrays[y_name]
        if x.size == 0 or y.size == 0 or x.ndim < 1 or y.ndim < 1 or len(x) != len(y):
            raise DataError(
                f"{path} holds {x_name} {x.shape} and {y_name} {y.shape}; expected equally many rows, two at least"
            )
        return Source.hold_out(
            path.stem,
            x,
            y,
            sha256,
            path=path,
            by_class=by_class,
            allow_single_row=test_only,
            row_location=lambda row: f"{path.name}: row {row + 1}",
            target_names=target_names,
            unit=unit,
            notices=notices,
            transposed=transposed,
            w=arrays.get(x_name.replace("x", "w", 1)),
            weights_name=x_name.replace("x", "w", 1),
        )
    return Source(
        path.stem,
        x_train=arrays["x_train"],
        y_train=arrays["y_train"],
        x_test=arrays["x_test"],
        y_test=arrays["y_test"],
        sha256=sha256,
        target_names=target_names,
        unit=unit,
        notices=notices,
        transposed=transposed,
        w_train=arrays.get("w_train"),
        w_test=arrays.get("w_test"),
        weights_name="w_train",
        row_location=lambda part, row: f"{path.name}: {part} row {row + 1}",
    )


def read_names(path: Path, arrays: dict[str, np.ndarray]) -> tuple[tuple[str, ...], str]:
    """Return the target names and their unit, empty if the file has none; DataError unless they can be printed."""
    if "unit" in arrays and arrays["unit"].size != 1:
        raise DataError(f"{path} holds unit of shape {arrays['unit'].shape}; expected one text")
    names = tuple(str(name) for name in np.atleast_1d(arrays.get("target_names", np.array([], dtype=str))))
    unit = str(arrays["unit"].item()) if "unit" in arrays else ""
    for text in (*names, unit):
        if not text.isprintable():
            raise DataError(f"{path} has the name or unit {shorten(ascii(text))}; expected printable text")
    return names, unit


class NpzRows(NamedTuple):
    """Rows of an NPZ to predict, pictures upright, and their labels or None."""

    upright: Upright
    y: np.ndarray | None
    notices: tuple[str, ...]


def read_npz_rows(path: Path, display_name: str = "", transpose: str = BY_NAME) -> NpzRows:
    """Return the rows to predict, x, else x_test, else x_train, and their labels.

    `display_name` stands for the path in messages; `transpose` is one of TRANSPOSE, see `turn_upright`.
    """
    name = display_name or str(path)
    with open_archive(path, name) as (archive, members):
        found = [key for key in ("x", "x_test", "x_train") if key in members]
        if not found:
            raise DataError(f"{name} holds {list_members(archive.namelist())}; expected x, rows of features")
        used, *others = [members[key].filename.removesuffix(".npy") for key in found]
        notices = (f"{Path(name).name}: the rows are {used}; not used: {', '.join(others)}.",) if others else ()
        label = members.get(found[0].replace("x", "y"))
        x = read_member(archive, members[found[0]], name)
        upright = turn_upright(x, Path(name).name, transpose, path)
        y = None if label is None else read_member(archive, label, name)
        return NpzRows(upright, y, (*notices, *upright.notices))


def read_arrays(path: Path, *, test_only: bool) -> dict[str, np.ndarray]:
    """Return the arrays of a data set by their standard names; DataError if one is missing, repeated or invalid."""
    with open_archive(path, str(path)) as (archive, members):
        expected = expected_arrays({*members}, test_only=test_only)
        check_complete(path, expected, members, archive.namelist())
        return {
            name: read_member(archive, members[name], str(path))
            for name in (*expected, *optional_arrays(expected, test_only=test_only))
            if name in members
        }


def check_complete(path: Path, expected: Collection[str], found: Collection[str], listed: list[str]) -> None:
    """Raise DataError if one of the `expected` arrays is not `found` among the files or members `listed`."""
    missing = [name for name in expected if name not in found]
    if missing:
        unlabelled = all(name.startswith("y") for name in missing)
        raise DataError(
            f"{path} holds {list_members(listed)}; expected {', '.join(FOUR_ARRAYS)}, or x and y, or "
            f"x_train and y_train (missing: {', '.join(missing)}"
            f"{f'; {predict_command()} takes rows without labels' if unlabelled else ''})"
        )


def expected_arrays(found: set[str], *, test_only: bool) -> tuple[str, ...]:
    """Return the standard names of the arrays that a file must hold which holds those of `found`."""
    if not found & {*FOUR_ARRAYS}:
        return ("x", "y")
    if not found & {"x_test", "y_test"}:
        return ("x_train", "y_train")
    if test_only and not found & {"x_train", "y_train", "x", "y"}:
        return ("x_test", "y_test")
    return FOUR_ARRAYS


def optional_arrays(expected: Iterable[str], *, test_only: bool) -> tuple[str, ...]:
    """Return the standard names of the arrays that are read beside the `expected` ones; no weights with `test_only`."""
    weights = [] if test_only else [name.replace("x", "w", 1) for name in expected if name.startswith("x")]
    return (*weights, "target_names", "unit")


@contextmanager
def open_archive(path: Path, file_name: str) -> Iterator[tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]]:
    """Open an NPZ and list its arrays by their standard names; DataError names the file for every error inside."""
    with path.open("rb") as file:
        if file.read(len(NPY_MAGIC)) == NPY_MAGIC:
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
    except Exception as error:  # zipfile, zlib and NumPy each raise their own types for broken bytes
        raise DataError(f"{file_name} cannot be read as NPZ ({error}); write it with numpy.savez") from None


def list_members(members: list[str]) -> str:
    """Join the names of a file's members for a message, ten at most."""
    names = [name.removesuffix(".npy")[:40] for name in members[:10]]
    return ", ".join(names + ["..."] * (len(members) > 10)) or "nothing"


def read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, file_name: str) -> np.ndarray:
    """Read one array after checking its header against the size of the file."""
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # LZMA may take any amount of memory
        raise DataError(f"{file_name}: {info.filename} is not compressed as NumPy does it; write it with numpy.savez")
    if info.file_size > info.compress_size * MAX_GZIP_RATIO:
        raise DataError(
            f"{file_name}: {info.filename} claims {info.file_size:,} bytes unpacked from {info.compress_size:,}; "
            "write it with numpy.savez"
        )
    with archive.open(info) as file:
        try:
            return read_npy(file, info.file_size)  # type: ignore[arg-type]
        except NpyError as error:
            raise DataError(f"{file_name}: {info.filename} {error}") from None


class NpyError(Exception):
    """Invalid NPY file; the text follows the name of the file in a message."""


def read_npy(file: BinaryIO, size: int) -> np.ndarray:
    """Read the array of an open NPY file of `size` bytes; NpyError if its header does not agree with them.

    Broken bytes raise what NumPy raises for them.
    """
    version = np.lib.format.read_magic(file)
    if version not in HEADER_READERS:
        raise NpyError(f"is of NPY version {version}; write it with numpy.savez")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy evaluates the header as Python, which warns programmers
        try:
            shape, _, dtype = HEADER_READERS[version](file)
        except (MemoryError, RecursionError):
            raise NpyError("has a header nested too deeply; write it with numpy.savez") from None
    needed, available = math.prod(shape) * dtype.itemsize, size - file.tell()
    if dtype.hasobject:
        raise NpyError("holds pickled objects, which are never executed; store plain numbers")
    if dtype.kind not in "biufSU" or not dtype.itemsize:  # NumPy allocates text of zero characters as if it had one
        raise NpyError(f"holds {dtype}; expected numbers, or text for labels")
    if needed != available or any(length < 0 for length in shape):
        raise NpyError(f"of shape {shape} needs {needed:,} bytes, {available:,} found")
    file.seek(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
    if dtype.kind == "U" and array.size and (code_points(array) > sys.maxunicode).any():
        raise NpyError("holds text with invalid characters; write it with numpy.savez")
    return array


def code_points(array: np.ndarray) -> np.ndarray:
    """Return the code points of text of any shape and byte order (n,)."""
    native = array.astype(array.dtype.newbyteorder("="))
    return np.ascontiguousarray(native).reshape(-1).view(np.uint32)
