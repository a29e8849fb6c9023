"""Folders of IDX files, under any of the names that archives leave behind.

A file is what its first bytes say. Whether it holds training or test rows, images or labels, its name says, and the
name of its folder where the file's own does not; the number of axes must agree. Subfolders are looked into where their
name speaks of one of the four: the paper's program lays its files so, and some unpackers make a folder for each file.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from lagvis.data.dataset import Source
from lagvis.data.formats.idx import idx_axes, read_idx
from lagvis.data.split import hold_out_test
from lagvis.errors import DataError

STANDARD = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}
PAPER = {
    "x_train": "train_images/train-images.idx3-ubyte",
    "y_train": "train_images/train-labels.idx1-ubyte",
    "x_test": "test_images/test-images.idx3-ubyte",
    "y_test": "test_images/test-labels.idx1-ubyte",
}
PARTS = {"train": "train", "t10k": "test", "test": "test", "valid": "valid", "val": "valid"}
KINDS = {"image": "x", "img": "x", "label": "y", "target": "y"}
# Of a name, what tells neither one set from another nor what a file holds.
FORMAT = re.compile(r"idx\d*|u?byte|data|int|float|double|gz|gzip|bin|copy|kopi|of|raw")
JUNK = {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "$recycle.bin", "@eadir", "lost+found"}
MAX_FILES = 1000  # that are looked into, of a folder that may hold a picture a file


def is_junk(name: str) -> bool:
    """Whether a system left this file or folder behind: .DS_Store, ._name, Thumbs.db, __MACOSX."""
    return name.startswith(".") or name.lower() in JUNK


@dataclass(frozen=True)
class File:
    """What a file says of itself: `part` and `kind` by its name ("" where silent), `axes` by its content."""

    path: Path
    relative: str
    part: str
    kind: str
    label: str
    axes: int | None

    @property
    def role(self) -> str:
        """The array that this file is meant to be; a part that is not named is the training part."""
        kind = self.kind or ("" if self.axes is None else "y" if self.axes == 1 else "x")
        return f"{kind}_{self.part or 'train'}"

    @property
    def named(self) -> bool:
        """Whether the name alone says that this is one of the four files."""
        format_ = "idx" in self.relative.lower() or "ubyte" in self.relative.lower()
        return bool(self.part and self.kind) and (format_ or self.path.suffix.lower() in {"", ".gz", ".gzip"})


def words_of(name: str) -> list[str]:
    """The words of a name: trainImages-idx3 is train, images, idx3."""
    parted = re.sub(r"([a-z])([A-Z])", r"\1 \2", re.sub(r"\(\d+\)", "", name))
    return re.findall(r"[^\W_]+", parted.lower())


def keyword_role(words: list[str], table: dict[str, str]) -> str:
    """What the words say by a table of beginnings, "" where they say nothing or two things."""
    found = {value for word in words for start, value in table.items() if word.startswith(start)}
    return found.pop() if len(found) == 1 else ""


def part_of_path(path: Path) -> str:
    """The part that a file holds by its name, or else by that of its folder."""
    return keyword_role(words_of(path.name), PARTS) or keyword_role(words_of(path.parent.name), PARTS)


def describe(path: Path, folder: Path) -> File:
    """A file by its name and first bytes."""
    relative = path.relative_to(folder).as_posix()
    own, above = words_of(path.name), words_of(path.parent.name if path.parent != folder else "")
    part = part_of_path(path.relative_to(folder))
    kind = keyword_role(own, KINDS) or keyword_role(above, KINDS)
    roles = tuple(PARTS) + tuple(KINDS)
    rest = [word for word in dict.fromkeys(above + own) if not word.startswith(roles) and not FORMAT.fullmatch(word)]
    return File(path, relative, part, kind, "-".join(rest), idx_axes(path))


def walk_files(folder: Path) -> Iterator[Path]:
    """The files of a folder, and those in its subfolders that are named after one of the four."""
    # Those that speak of a part come first, should there be more than are looked into.
    for path in sorted(folder.iterdir(), key=lambda path: (not keyword_role(words_of(path.name), PARTS), path.name)):
        if is_junk(path.name):
            continue
        if path.is_file():
            yield path
        elif path.is_dir() and (keyword_role(words_of(path.name), PARTS) or keyword_role(words_of(path.name), KINDS)):
            yield from (inner for inner in sorted(path.iterdir()) if not is_junk(inner.name) and inner.is_file())


def read_idx_folder(folder: Path) -> Source:
    """The four files of a folder as arrays, or two of training alone; DataError names what is missing or doubled."""
    files = [describe(path, folder) for path in islice(walk_files(folder), MAX_FILES)]
    chosen, notices = assign_roles(folder, files), []
    arrays, sha256 = {}, {}
    for role, file in chosen.items():
        arrays[role], sha256[re.sub(r"\.gz$", "", file.relative)] = read_idx(file.path)
        check_axes(role, file.path, arrays[role].shape)
    for part in ("train", "test"):
        images, labels = chosen.get(f"x_{part}"), chosen.get(f"y_{part}")
        if images and labels and len(arrays[f"x_{part}"]) != len(arrays[f"y_{part}"]):
            raise DataError(
                f"{images.path} holds {len(arrays[f'x_{part}']):,} images, {labels.path} {len(arrays[f'y_{part}']):,} "
                f"labels: the {'training' if part == 'train' else part} part needs equally many; "
                "do the two files belong together?"
            )
    for role in ("x_train", "x_test"):
        # EMNIST's own reader turns its pictures when it shows them: in the files, rows and columns are exchanged.
        if role in arrays and chosen[role].path.name.lower().startswith("emnist") and arrays[role].ndim == 3:
            arrays[role] = np.ascontiguousarray(arrays[role].swapaxes(1, 2))
            notices.append(f"{chosen[role].path.name}: EMNIST stores its pictures transposed; they are turned upright.")
    notices += [f"{file.relative} is not used." for file in files if file.part == "valid" and file.axes]
    rows = None
    if "x_test" not in arrays:
        x, y = arrays["x_train"], arrays["y_train"]
        if len(y) < 2:
            raise DataError(f"{folder} holds one row alone; a training and a test part need one each at least")
        rows = dict(zip(("training", "test"), hold_out_test(y, by_class=True), strict=True))
        arrays = {f"{kind}_train": a[rows["training"]] for kind, a in (("x", x), ("y", y))} | {
            f"{kind}_test": a[rows["test"]] for kind, a in (("x", x), ("y", y))
        }
    return Source(
        folder.name,
        x_train=arrays["x_train"],
        y_train=arrays["y_train"],
        x_test=arrays["x_test"],
        y_test=arrays["y_test"],
        sha256=sha256,
        notices=tuple(notices),
        undivided=folder.name if rows else "",
        where=place_in(folder, chosen, rows),
    )


def place_in(folder: Path, chosen: dict[str, File], rows: dict[str, np.ndarray] | None) -> Callable[[str, int], str]:
    """How a row of these files is named; `rows` where one pair of files was cut into both parts."""

    def where(part: str, row: int) -> str:
        files = "train" if rows or part == "training" else "test"
        row = int(rows[part][row]) if rows else row
        return f"{folder}: {part} row {row} ({chosen[f'x_{files}'].relative}, {chosen[f'y_{files}'].relative})"

    return where


def check_axes(role: str, path: Path, shape: tuple[int, ...]) -> None:
    """DataError where the axes are not those of images or of labels; labels of two axes are judged as one-hot rows."""
    if role.startswith("x") and len(shape) < 2:
        raise DataError(
            f"{path} has the shape {shape}, expected three axes (images, rows, columns); "
            "are images and labels exchanged?"
        )
    if role.startswith("y") and len(shape) > 2:
        raise DataError(f"{path} has the shape {shape}, expected one axis of labels; are images and labels exchanged?")


def assign_roles(folder: Path, files: list[File]) -> dict[str, File]:
    """One file for each array; DataError where a file is missing, or two could be meant."""
    found = [file for file in files if file.axes and file.role in STANDARD]
    if any(file.part in ("train", "test") for file in found):
        found = [file for file in found if file.part]
    sets: dict[str, list[File]] = {}
    for file in found:
        sets.setdefault(file.label, []).append(file)
    if len({file.role for file in found}) < len(found) and len(sets) > 1:
        complete = {label: s for label, s in sets.items() if {"x_train", "y_train"} <= {file.role for file in s}}
        if len(complete) > 1:
            names = ", ".join(label or complete[label][0].relative for label in sorted(complete))
            raise DataError(
                f"{folder} holds {len(complete)} data sets ({names}); put the files of one into a folder of its own "
                "and give that to --data"
            )
        found = next(iter(complete.values()), found)
    chosen: dict[str, File] = {}
    for file in found:
        chosen[file.role] = same_content(folder, chosen[file.role], file) if file.role in chosen else file
    needed = ["x_train", "y_train"]
    # A test part that is there by name only is no test part left out on purpose.
    if any(file.role in ("x_test", "y_test") and (file.axes or file.named) for file in files):
        needed += ["x_test", "y_test"]
    absent = [role for role in needed if role not in chosen]
    for role in absent:
        for file in files:
            if file.role == role and file.named and not file.axes:
                read_idx(file.path)  # says what the file is instead
    if absent:
        raise DataError(missing(folder, chosen, absent))
    return {role: chosen[role] for role in STANDARD if role in chosen}


def same_content(folder: Path, first: File, second: File) -> File:
    """The first of two files for one array if both hold the same, as where an archive was unpacked beside itself."""
    if read_idx(first.path)[1] == read_idx(second.path)[1]:
        return first
    raise DataError(
        f"{folder} holds both {first.relative} and {second.relative}, and they differ; which is meant? Keep one of them"
    )


def missing(folder: Path, chosen: dict[str, File], absent: list[str]) -> str:
    """The sentence for a folder without a complete set of files."""
    if chosen:
        stored = {file.relative.removesuffix(".gz") for file in chosen.values()}
        layout = PAPER if stored & set(PAPER.values()) else STANDARD
        return (
            f"{folder} lacks {' and '.join(layout[role] for role in absent)}, plain or .gz "
            "(other names will do that say train or test, and images or labels)"
        )
    for child in walk_entries(folder, levels=2):
        return f"{folder} holds no data set, but {child.relative_to(folder)} in it does; use --data {child}"
    holds = [path.name for path in sorted(folder.iterdir()) if not is_junk(path.name)]
    return (
        f"{folder} holds no data set; expected the four files {', '.join(STANDARD.values())} (plain or .gz), or names "
        f"like them; it holds {', '.join(holds[:5]) + (', ...' if len(holds) > 5 else '') or 'nothing'}"
    )


def walk_entries(folder: Path, levels: int) -> Iterator[Path]:
    """The folders below that hold a training part."""
    for child in sorted(islice((path for path in folder.iterdir() if path.is_dir()), MAX_FILES)):
        if is_junk(child.name):
            continue
        try:
            # Strangers' files are opened only where a name calls for it: this may be a whole home folder.
            named = (path for path in walk_files(child) if part_of_path(path))
            files = [describe(path, child) for path in islice(named, MAX_FILES)]
            if {"x_train", "y_train"} <= {file.role for file in files if file.axes}:
                yield child
            elif levels > 1:
                yield from walk_entries(child, levels - 1)
        except OSError:  # not ours to read, so not what is looked for
            continue
