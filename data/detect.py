"""Detect the format of a file or folder by its content, and choose its reader."""

import zipfile
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lagvis.data.files import is_gzip, is_junk
from lagvis.data.formats.idx import idx_axes
from lagvis.data.formats.idx_folder import MAX_FILES, read_idx_folder, walk_files
from lagvis.data.formats.npy import find_arrays, is_npy, read_npy_folder
from lagvis.data.formats.npz import read_npz
from lagvis.data.images.image_folder import (
    TEST_NAMES,
    TRAINING_NAMES,
    class_folders,
    is_image_file,
    looks_like_image,
    read_image_folder,
)
from lagvis.data.images.image_io import has_image_signature
from lagvis.data.images.transposed import YES
from lagvis.data.input_spec import InputSpec
from lagvis.data.messages import nearest_name
from lagvis.data.read_options import ReadOptions
from lagvis.data.signatures import SIGNATURE_BYTES, identify_format, identify_picture
from lagvis.data.source import Source
from lagvis.data.tables.dialect import detect_dialect
from lagvis.data.tables.encoding import TableEncoding
from lagvis.data.tables.feature_type import MIN_BRIGHTEST
from lagvis.data.tables.folder import PART_ENDINGS, TEXT_ENDINGS, choose_tables
from lagvis.data.tables.table_format import CSV, TABLE_ENDINGS, WEAK_ENDINGS, is_workbook, table_format
from lagvis.data.tables.text import open_maybe_gzip
from lagvis.errors import DataError
from lagvis.option_text import data_option, option

TAKES = (
    "a table (CSV, Parquet, Arrow, JSON, a workbook, SQLite, LIBSVM or ARFF), a folder with a training and a test "
    "table, a folder of IDX files, an .npz file, a folder of .npy files, or a folder of pictures with a folder for "
    "each class"
)


class Detected(NamedTuple):
    """Format of what is at a path, in words, the files that are tables, and tables beside them that are not used."""

    kind: str
    tables: tuple[Path, ...] = ()
    unused: tuple[Path, ...] = ()

    def describe_choice(self, folder: Path) -> str:
        """Return the notice on which tables of a folder are read; empty for the only table there is."""
        if len(self.tables) == 1 and not self.unused:
            return ""
        training, *test = (path.relative_to(folder).as_posix() for path in self.tables)
        text = f"{folder.name}: {training} is the training table"
        if test:
            text += f", {test[0]} the test table"
        return f"{text}; not used: {', '.join(path.name for path in self.unused)}." if self.unused else f"{text}."


IDX, NPZ, NPY_FOLDER, TABLE, TABLES, PICTURES = (
    "a folder of IDX files",
    "an NPZ file",
    "a folder of NumPy arrays",
    "a table",
    "a training and a test table",
    "a folder of pictures",
)
IDX_FILE, NPY, PICTURE = "an IDX file", "a NumPy array", "a picture"  # single files, which predict.py takes


def read(
    path: Path,
    *,
    regression: bool,
    options: ReadOptions,
    spec: InputSpec | None = None,
    encoding: TableEncoding | None = None,
) -> Source:
    """Read what is at `path` with the reader for its format; the other arguments are those of `read_table`.

    DataError where an option of tables is set and it is not a table, or `transpose` and it is picture files.
    """
    detected = detect_format(path)
    transpose = spec.transpose if spec else options.transpose
    if detected.tables:
        # Imported only where there is a table: the readers of all formats cost other runs 18 ms.
        from lagvis.data.tables.reader import read_table, read_tables

        read_rows = read_table if detected.kind == TABLE else read_tables
        source = read_rows(*detected.tables, regression=regression, options=options, spec=spec, encoding=encoding)
        notice = detected.describe_choice(path)
        return replace(source, name=path.name, notices=(notice, *source.notices)) if notice else source
    of_tables = ReadOptions(sheet=spec.sheet, table=spec.table).table_options if spec else options.table_options
    for key, value in of_tables.items():
        raise DataError(f"{path} is {detected.kind}, and {option(key, value)} is for tables; leave that out")
    if detected.kind == PICTURES:
        if transpose == YES and not spec:
            raise DataError(
                f"{path} is {detected.kind}, and {option('transpose', YES)} is for arrays and tables; leave it out"
            )
        return read_image_folder(path, regression=regression, spec=spec)
    by_class = not (regression or options.multi_label)
    if detected.kind == NPZ:
        source = read_npz(path, by_class=by_class, transpose=transpose, test_only=spec is not None)
    elif detected.kind == NPY_FOLDER:
        source = read_npy_folder(path, by_class=by_class, transpose=transpose, test_only=spec is not None)
    else:
        source = read_idx_folder(path, transpose, test_only=spec is not None)
    return source if spec else small_bytes_as_numbers(source)


def small_bytes_as_numbers(source: Source) -> Source:
    """Return bytes that are all small as numbers, which are standardised: divided by 255 they would hardly vary."""
    parts = source.x_train, source.x_test
    if any(x.dtype != np.uint8 or x.size == 0 or x.max() >= MIN_BRIGHTEST for x in parts):
        return source
    notice = (
        f"{source.name}: the bytes end at {max(x.max() for x in parts)}, and those of pictures at 255; they are taken "
        "as numbers and standardised."
    )
    x_train, x_test = source.x_train.astype(np.float64), source.x_test.astype(np.float64)
    return replace(source, x_train=x_train, x_test=x_test, notices=(*source.notices, notice))


def detect_format(path: Path) -> Detected:
    """Return the format of what is at `path`; DataError where nothing usable is there."""
    if path.is_dir():
        return detect_folder(path)
    if not path.exists():
        siblings = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        near = nearest_name(path.name, siblings)
        raise DataError(
            f"{path} does not exist{f'; did you mean {path.parent / near}?' if near else ''}; "
            f"{data_option()} takes mnist, jump, {TAKES}"
        )
    if not path.is_file():
        raise DataError(f"{path} is neither a file nor a folder; {data_option()} takes {TAKES}")
    return detect_file(path)


def detect_file(path: Path) -> Detected:
    """Return the format of a file that is a data set; DataError for others."""
    kind = file_format(path, str(path), f"{data_option()} takes {TAKES}")
    if kind == IDX_FILE:
        raise DataError(
            f"{path} is a single IDX file; {data_option()} takes the folder that holds images and labels: {path.parent}"
        )
    if kind == NPY:
        pair = f"the folder {path.parent}, if it holds x and y" if find_arrays(path.parent) else "a folder"
        raise DataError(
            f"{path} is a single NumPy array; {data_option()} takes {pair} (X.npy and y.npy, or x_train.npy, "
            "y_train.npy, x_test.npy and y_test.npy)"
        )
    if kind == PICTURE:
        raise DataError(
            f"{path} is a single picture; {data_option()} takes the folder that holds a folder of pictures for "
            "each class"
        )
    return Detected(NPZ) if kind == NPZ else Detected(TABLE, (path,))


def file_format(path: Path, name: str, expected: str) -> str:
    """Return the format of a file by its first bytes: PICTURE, IDX_FILE, NPY, NPZ or TABLE.

    Text that is none of the others is a TABLE. DataError for another format; `name` stands for the path in its
    message, `expected` is its end.
    """
    if is_image_file(path) or looks_like_image(path):
        return PICTURE
    if idx_axes(path):
        return IDX_FILE
    if is_npy(path):
        return NPY
    with open_maybe_gzip(path, name) as file:
        start = file.read(SIGNATURE_BYTES)
    if (start.startswith(b"PK") or has_image_signature(start)) and is_gzip(path):
        what = "an NPZ file" if start.startswith(b"PK") else "a picture"
        raise DataError(f"{name} is {what} within a gzip file; unpack it")
    if start.startswith(b"PK"):
        if is_workbook(path):
            return TABLE
        reject_document(path, name)
        return NPZ
    if other_picture := identify_picture(start):
        raise DataError(f"{name} is {other_picture}")
    if other_format := identify_format(start):
        raise DataError(f"{name} is {other_format}; {expected}")
    return NPZ if path.suffix.lower() == ".npz" and table_format(path, name) == CSV else TABLE


def reject_document(path: Path, name: str) -> None:
    """Raise DataError for a zip archive that is a text document or slides; `name` stands for the path in it."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return
    if "[Content_Types].xml" in names or {"content.xml", "mimetype"} <= names:
        raise DataError(f"{name} is a document; copy its table into a spreadsheet and save that as CSV in UTF-8")


def detect_folder(folder: Path) -> Detected:
    """Return the format of a folder by its files; DataError that names both where two formats are possible."""
    idx = next((path for path in islice(walk_files(folder), MAX_FILES) if idx_axes(path)), None)
    classes, arrays = next(class_folders(folder), None), find_arrays(folder)
    tables = find_tables(folder) or ([] if idx or classes or arrays else find_text_tables(folder))
    if (idx or classes) and tables and tables[0].name.lower().endswith(WEAK_ENDINGS):
        tables = []  # a list of the pictures
    # Beside IDX files there may be a list of them that is called .csv and is not a table.
    tables = [path for path in tables if not idx or is_table(path)]
    found = {IDX: idx.relative_to(folder).as_posix()} if idx else {}
    if tables:
        found[TABLES] = tables[0].name
    if arrays:
        found[NPY_FOLDER] = arrays[0].name
    if classes is not None:
        found[PICTURES] = f"{classes.name}/"
    if len(found) > 1:
        both = " and ".join(f"{kind} ({name})" for kind, name in found.items())
        raise DataError(f"{folder} could be {both}; move one of them into a folder of its own")
    for kind in (PICTURES, NPY_FOLDER):
        if kind in found:
            return Detected(kind)
    if tables:
        choice = choose_tables(folder, tables)
        return Detected(TABLE if len(choice.tables) == 1 else TABLES, choice.tables, choice.unused)
    if not idx and (pair := tables_of_part_folders(folder)):
        return Detected(TABLES, pair)
    if not idx and (proposal := suggest_path(folder)):
        raise DataError(f"{folder} holds no data set; {proposal}")
    return Detected(IDX)


def visible_entries(folder: Path) -> Iterator[Path]:
    """Yield the entries of a folder in order, without those that operating systems leave there."""
    return (path for path in sorted(folder.iterdir()) if not is_junk(path.name))


def find_tables(folder: Path) -> list[Path]:
    """Return the files of a folder whose names end as tables do; JSON files only where there are no others."""
    files = [(path, path.name.lower().removesuffix(".gz")) for path in visible_entries(folder)]
    tables = (
        [path for path, name in files if name.endswith(endings) and path.is_file()]
        for endings in ((*TABLE_ENDINGS, *PART_ENDINGS), WEAK_ENDINGS)
    )
    return next(filter(None, tables), [])


def find_text_tables(folder: Path) -> list[Path]:
    """Return the text files of a folder that read as tables; each is opened."""
    files = [(path, path.name.lower().removesuffix(".gz")) for path in visible_entries(folder)]
    return [path for path, name in files if name.endswith(TEXT_ENDINGS) and path.is_file() and is_table(path)]


def is_table(path: Path) -> bool:
    """Tell whether a file reads as a table."""
    try:
        return table_format(path) != CSV or bool(detect_dialect(path))
    except DataError:
        return False


def tables_of_part_folders(folder: Path) -> tuple[Path, ...]:
    """Return the only table in the training folder of a folder, and that in its test folder; else an empty tuple."""
    found = []
    for names in (TRAINING_NAMES, TEST_NAMES):
        parts = [path for path in visible_entries(folder) if path.is_dir() and path.name.lower() in names]
        tables = [table for part in parts for table in find_tables(part) or find_text_tables(part)]
        found += tables if len(tables) == 1 else []
    return tuple(found) if len(found) == 2 else ()


def suggest_path(folder: Path) -> str:
    """Return a hint at a path that holds data, in the folder or above it; empty where there is none."""
    arrays = next((path for path in visible_entries(folder) if path.suffix.lower() == ".npz"), None)
    if arrays:
        return f"{arrays.name} in it does; use {data_option(arrays)}"
    for child in islice((path for path in visible_entries(folder) if path.is_dir()), MAX_FILES):
        try:
            if find_tables(child) or next(class_folders(child), None) is not None:
                return f"{child.name} in it does; use {data_option(child)}"
        except OSError:
            continue
    if any(looks_like_image(path) for path in islice(visible_entries(folder), 20)):
        return (
            f"it holds pictures without class folders; expected a folder for each class ({folder.name}/cat/*.png, "
            f"{folder.name}/dog/*.png); if it is the folder of one class, use {data_option(folder.parent)}"
        )
    return ""
