"""What a file or folder is, by its content, and the reader for it."""

import difflib
import zipfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from data.dataset import Source
from data.errors import DataError
from data.folder import MOST_FILES, entries, is_junk, read_folder
from data.idx import axes_of
from data.layout import sniff
from data.lines import unpacked
from data.npz import read_npz
from data.pictures import is_picture_file, looks_like_picture, picture_folders, read_pictures
from data.strangers import LONGEST, stranger
from data.table import read_table, read_tables

TAKES = (
    "a folder of IDX files, an .npz file, a table as text (CSV), a folder with a training and a test table, "
    "or a folder of pictures with a folder for each class"
)
TABLE_ENDINGS = (".csv", ".tsv", ".csv.gz", ".tsv.gz")


class Found(NamedTuple):
    """What is at a path: its kind in words, and the files that are tables."""

    kind: str
    tables: tuple[Path, ...] = ()


IDX, NPZ, TABLE, TABLES, PICTURES = (
    "a folder of IDX files",
    "an NPZ file",
    "a table",
    "a training and a test table",
    "a folder of pictures",
)


def read(path: Path, *, regression: bool, label: str) -> Source:
    """What is at `path`, by the reader for its kind; `label` is for tables."""
    found = recognise(path)
    if found.kind == TABLE:
        return read_table(found.tables[0], regression=regression, label=label)
    if found.kind == TABLES:
        return read_tables(*found.tables, regression=regression, label=label)
    if label:
        raise DataError(f"{path} is {found.kind} and has no columns for --label {label}; leave that flag out")
    if found.kind == NPZ:
        return read_npz(path, regression=regression)
    if found.kind == PICTURES:
        return read_pictures(path, regression=regression)
    return read_folder(path)


def recognise(path: Path) -> Found:
    """The kind of what is at `path`, or DataError."""
    if path.is_dir():
        return recognise_folder(path)
    if not path.exists():
        beside = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, beside, n=1)
        raise DataError(
            f"there is nothing at {path}{f'; did you mean {path.parent / near[0]}?' if near else ''}; "
            f"--data takes mnist, jump, {TAKES}"
        )
    if not path.is_file():
        raise DataError(f"{path} is neither a file nor a folder; --data takes {TAKES}")
    return recognise_file(path)


def recognise_file(path: Path) -> Found:
    """A single file by its first bytes."""
    with unpacked(path) as file:
        start = file.read(LONGEST)
    if start.startswith(b"PK"):
        refuse_workbook(path)
        return Found(NPZ)
    if axes_of(path):
        raise DataError(
            f"{path} is a single IDX file; --data takes the folder that holds images and labels: {path.parent}"
        )
    if is_picture_file(path):
        raise DataError(f"{path} is a single picture; --data takes the folder above the class folders of many")
    if words := stranger(start):
        raise DataError(f"{path} is {words}; --data takes {TAKES}")
    return Found(NPZ if path.suffix.lower() == ".npz" else TABLE, (path,))


def refuse_workbook(path: Path) -> None:
    """DataError for a zip archive that is an Excel or OpenDocument file."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return
    if "[Content_Types].xml" in names or {"content.xml", "mimetype"} <= names:
        raise DataError(f"{path} is a spreadsheet; save it as CSV in UTF-8")


def recognise_folder(folder: Path) -> Found:
    """A folder by what it holds; where two kinds could be meant, a DataError that names both."""
    idx = next((path for path in islice(entries(folder), MOST_FILES) if axes_of(path)), None)
    # A file of words about a set of IDX files is none to learn from.
    tables = [path for path in tables_in(folder) if not idx or is_table(path)]
    holds = {IDX: idx.relative_to(folder).as_posix()} if idx else {}
    if tables:
        holds[TABLES] = tables[0].name
    if (classes := next(picture_folders(folder), None)) is not None:
        holds[PICTURES] = f"{classes.name}/"
    if len(holds) > 1:
        both = " and ".join(f"{kind} ({name})" for kind, name in holds.items())
        raise DataError(f"{folder} could be {both}; which is meant? Put one into a folder of its own")
    if tables:
        return choose_tables(folder, tables)
    if PICTURES in holds:
        return Found(PICTURES)
    if not idx and (proposal := near_by(folder)):
        raise DataError(f"{folder} holds no data set; {proposal}")
    return Found(IDX)


def visible(folder: Path) -> Iterator[Path]:
    """What is in a folder and was put there on purpose, in order."""
    return (path for path in sorted(folder.iterdir()) if not is_junk(path.name))


def tables_in(folder: Path) -> list[Path]:
    """The files of a folder that are tables by their names."""
    return [path for path in visible(folder) if path.name.lower().endswith(TABLE_ENDINGS) and path.is_file()]


def is_table(path: Path) -> bool:
    """Whether a file reads as a table."""
    try:
        return bool(sniff(path))
    except DataError:
        return False


def choose_tables(folder: Path, tables: list[Path]) -> Found:
    """The one table of a folder, or the training and the test table."""
    if len(tables) == 1:
        return Found(TABLE, (tables[0],))
    train = [path for path in tables if "train" in path.name.lower()]
    test = [path for path in tables if "test" in path.name.lower() and path not in train]
    if len(train) == 1 and len(test) == 1:
        return Found(TABLES, (train[0], test[0]))
    names = ", ".join(path.name for path in tables[:6]) + (", ..." if len(tables) > 6 else "")
    raise DataError(
        f"{folder} holds the tables {names}; expected one, or one with train and one with test in its name; "
        "give the file itself to --data"
    )


def near_by(folder: Path) -> str:
    """What may be meant instead, in words: data inside, or the folder above that of one class."""
    arrays = next((path for path in visible(folder) if path.suffix.lower() == ".npz"), None)
    if arrays:
        return f"{arrays.name} in it does; use --data {arrays}"
    for child in islice((path for path in visible(folder) if path.is_dir()), MOST_FILES):
        try:
            if tables_in(child) or next(picture_folders(child), None) is not None:
                return f"{child.name} in it does; use --data {child}"
        except OSError:
            continue
    if any(looks_like_picture(path) for path in islice(visible(folder), 20)):
        return (
            f"it holds pictures without class folders; expected a folder for each class ({folder.name}/cat/*.png, "
            f"{folder.name}/dog/*.png); if it is the folder of one class, use --data {folder.parent}"
        )
    return ""
