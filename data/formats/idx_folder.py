"""Read folders of IDX files, under any of the names that archives use.

The content of a file says whether it is IDX. Its name, or else the name of its folder, says whether it holds training
or test rows, images or labels; the number of axes must agree. Subfolders are searched if their name mentions one of the
four: the paper's program stores its files so, and some unpackers make a folder for each file.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from lagvis.data.files import is_junk, split_words
from lagvis.data.formats.idx import idx_axes, read_idx
from lagvis.data.images.transposed import BY_NAME, turn_upright
from lagvis.data.source import Source
from lagvis.errors import DataError
from lagvis.option_text import data_option, predict_command

STANDARD_NAMES = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}
PAPER_NAMES = {
    "x_train": "train_images/train-images.idx3-ubyte",
    "y_train": "train_images/train-labels.idx1-ubyte",
    "x_test": "test_images/test-images.idx3-ubyte",
    "y_test": "test_images/test-labels.idx1-ubyte",
}
PART_KEYWORDS = {"train": "train", "t10k": "test", "test": "test", "valid": "valid", "val": "valid"}
KIND_KEYWORDS = {"image": "x", "img": "x", "label": "y", "target": "y"}
# Words of a name that neither tell one data set from another nor what a file holds.
FORMAT_WORDS = re.compile(r"idx\d*|u?byte|data|int|float|double|gz|gzip|bin|copy|kopi|of|raw")
MAX_FILES = 1000  # inspected in a folder, which may hold a file for each image
MAX_LISTED = 5  # names in a message


@dataclass(frozen=True)
class IdxFile:
    """A file as its name and content describe it.

    relative  its path inside the data set's folder
    part      "train", "test" or "valid" by its name, else empty
    kind      "x" or "y" by its name, else empty
    set_name  words of its name that tell one data set from another: "emnist-letters"
    axes      the number of its axes, None if it is not IDX
    """

    path: Path
    relative: str
    part: str
    kind: str
    set_name: str
    axes: int | None

    @property
    def role(self) -> str:
        """The array that this file holds, such as x_train; without a part in its name it is the training part."""
        kind = self.kind
        if not kind and self.axes is not None:
            kind = "y" if self.axes == 1 else "x"
        return f"{kind}_{self.part or 'train'}"

    @property
    def is_named_as_idx(self) -> bool:
        """Whether the name alone says that this is one of the four files."""
        mentions_idx = "idx" in self.relative.lower() or "ubyte" in self.relative.lower()
        return bool(self.part and self.kind) and (mentions_idx or self.path.suffix.lower() in {"", ".gz", ".gzip"})


def match_keyword(words: list[str], keywords: dict[str, str]) -> str:
    """Return the value of the keyword that a word begins with; empty if no keyword or several values match."""
    found = {value for word in words for start, value in keywords.items() if word.startswith(start)}
    return found.pop() if len(found) == 1 else ""


def part_from_path(path: Path) -> str:
    """Return the part of the data set by the name of the file, or else by that of its folder; empty if unknown."""
    return match_keyword(split_words(path.name), PART_KEYWORDS) or match_keyword(
        split_words(path.parent.name), PART_KEYWORDS
    )


def inspect_file(path: Path, folder: Path) -> IdxFile:
    """Describe a file of a data set's folder by its name and first bytes."""
    relative = path.relative_to(folder)
    own, above = split_words(path.name), split_words(path.parent.name if path.parent != folder else "")
    kind = match_keyword(own, KIND_KEYWORDS) or match_keyword(above, KIND_KEYWORDS)
    keywords = (*PART_KEYWORDS, *KIND_KEYWORDS)
    set_words = [word for word in above + own if not word.startswith(keywords) and not FORMAT_WORDS.fullmatch(word)]
    set_name = "-".join(dict.fromkeys(set_words))
    return IdxFile(path, relative.as_posix(), part_from_path(relative), kind, set_name, idx_axes(path))


def walk_files(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder, and those in subfolders named after one of the four."""

    def mentions_no_part(path: Path) -> bool:
        return not match_keyword(split_words(path.name), PART_KEYWORDS)

    # Files that mention a part come first, as only MAX_FILES are inspected.
    for path in sorted(folder.iterdir(), key=lambda path: (mentions_no_part(path), path.name)):
        if is_junk(path.name):
            continue
        words = split_words(path.name)
        if path.is_file():
            yield path
        elif path.is_dir() and (match_keyword(words, PART_KEYWORDS) or match_keyword(words, KIND_KEYWORDS)):
            yield from (inner for inner in sorted(path.iterdir()) if not is_junk(inner.name) and inner.is_file())


def read_idx_folder(folder: Path, transpose: str = BY_NAME, *, test_only: bool = False) -> Source:
    """Return the four files of a folder as arrays, or the two training files, of which a test part is held out.

    transpose  one of TRANSPOSE, see `turn_upright`
    test_only  take a folder of the two test files, to evaluate a network on
    DataError names what is missing, repeated or does not fit.
    """
    files = [inspect_file(path, folder) for path in islice(walk_files(folder), MAX_FILES)]
    chosen = assign_roles(folder, files, test_only=test_only)
    arrays, sha256 = {}, {}
    for role, file in chosen.items():
        arrays[role], sha256[re.sub(r"\.gz$", "", file.relative)] = read_idx(file.path)
        check_axes(role, file.path, arrays[role].shape)
    check_counts(chosen, arrays)
    notices: list[str] = []
    transposed = False
    pictures = {role: chosen[role].path for role in ("x_train", "x_test") if role in chosen}
    for role, path in pictures.items():
        arrays[role], transposed, turned = turn_upright(arrays[role], path.name, transpose, *pictures.values())
        notices += turned
    notices += [f"{file.relative} is not used." for file in files if file.part == "valid" and file.axes]
    if {"x_train", "x_test"} <= chosen.keys():
        return Source(
            folder.name,
            x_train=arrays["x_train"],
            y_train=arrays["y_train"],
            x_test=arrays["x_test"],
            y_test=arrays["y_test"],
            sha256=sha256,
            notices=tuple(notices),
            transposed=transposed,
            row_location=locate_in_files(folder, chosen),
        )
    x, y = ("x_train", "y_train") if "x_train" in chosen else ("x_test", "y_test")
    names = f"{chosen[x].relative}, {chosen[y].relative}"
    return Source.hold_out(
        folder.name,
        arrays[x],
        arrays[y],
        sha256,
        path=folder,
        by_class=True,
        allow_single_row=test_only,
        row_location=lambda row: f"{folder}: row {row + 1} ({names})",
        notices=tuple(notices),
        transposed=transposed,
    )


def locate_in_files(folder: Path, chosen: dict[str, IdxFile]) -> Callable[[str, int], str]:
    """Return the function that describes a row of a part by the two files that hold it."""

    def row_location(part: str, row: int) -> str:
        suffix = "train" if part == "training" else "test"
        images, labels = chosen[f"x_{suffix}"].relative, chosen[f"y_{suffix}"].relative
        return f"{folder}: {part} row {row + 1} ({images}, {labels})"

    return row_location


def check_counts(chosen: dict[str, IdxFile], arrays: dict[str, np.ndarray]) -> None:
    """Raise DataError unless each part has as many images as labels."""
    for part, words in (("train", "training"), ("test", "test")):
        x, y = f"x_{part}", f"y_{part}"
        if x in chosen and y in chosen and len(arrays[x]) != len(arrays[y]):
            raise DataError(
                f"{chosen[x].path} holds {len(arrays[x]):,} images, {chosen[y].path} {len(arrays[y]):,} labels: the "
                f"{words} part needs equally many; do the two files belong together?"
            )


def check_axes(role: str, path: Path, shape: tuple[int, ...]) -> None:
    """Raise DataError unless the shape is one of images or of labels; labels of two axes may be one-hot rows."""
    if role.startswith("x") and len(shape) < 2:
        raise DataError(
            f"{path} has the shape {shape}, expected three axes (images, rows, columns); "
            "are images and labels exchanged?"
        )
    if role.startswith("y") and len(shape) > 2:
        raise DataError(f"{path} has the shape {shape}, expected one axis of labels; are images and labels exchanged?")


def assign_roles(folder: Path, files: list[IdxFile], *, test_only: bool) -> dict[str, IdxFile]:
    """Return one file for each role; DataError if one is missing or ambiguous."""
    chosen: dict[str, IdxFile] = {}
    for file in select_set(folder, find_candidates(files)):
        chosen[file.role] = same_content(folder, chosen[file.role], file) if file.role in chosen else file
    missing = [role for role in required_roles(files, test_only=test_only) if role not in chosen]
    if missing:
        reject_damaged(files, missing)
        raise DataError(describe_missing(folder, chosen, missing))
    return {role: chosen[role] for role in STANDARD_NAMES if role in chosen}


def find_candidates(files: list[IdxFile]) -> list[IdxFile]:
    """Return the IDX files of training and test parts, except unnamed parts beside named ones."""
    candidates = [file for file in files if file.axes and file.role in STANDARD_NAMES]
    if any(file.part in ("train", "test") for file in candidates):
        return [file for file in candidates if file.part]
    return candidates


def select_set(folder: Path, candidates: list[IdxFile]) -> list[IdxFile]:
    """Return the files of the one complete data set, if two files compete for a role; DataError if several are."""
    sets: dict[str, list[IdxFile]] = {}
    for file in candidates:
        sets.setdefault(file.set_name, []).append(file)
    roles = {file.role for file in candidates}
    if len(sets) == 1 or len(roles) == len(candidates):
        return candidates
    complete = {
        name: members for name, members in sets.items() if {"x_train", "y_train"} <= {file.role for file in members}
    }
    if len(complete) > 1:
        names = ", ".join(name or complete[name][0].relative for name in sorted(complete))
        raise DataError(
            f"{folder} holds {len(complete)} data sets ({names}); put the files of one into a folder of its own "
            f"and give that to {data_option()}"
        )
    return next(iter(complete.values()), candidates)


def required_roles(files: list[IdxFile], *, test_only: bool) -> list[str]:
    """Return the roles that a file is needed for: the training part, and the test part if any file is named so.

    With `test_only`, a test part needs no training part.
    """
    roles = ["x_train", "y_train"]
    found = {file.role for file in files if file.axes or file.is_named_as_idx}
    if test_only and found and found <= {"x_test", "y_test"}:
        roles = []
    # A test file that is not IDX must be reported; it does not mean that there is no test part.
    if found & {"x_test", "y_test"}:
        roles += ["x_test", "y_test"]
    return roles


def reject_damaged(files: list[IdxFile], missing: list[str]) -> None:
    """Raise the DataError of the first file that is named for a missing role and is not IDX."""
    for role in missing:
        for file in files:
            if file.role == role and file.is_named_as_idx and not file.axes:
                read_idx(file.path)  # its error says what the file is instead


def same_content(folder: Path, first: IdxFile, second: IdxFile) -> IdxFile:
    """Return the first of two files for one role if both hold the same, as an archive and its unpacked copy do."""
    if read_idx(first.path)[1] == read_idx(second.path)[1]:
        return first
    raise DataError(
        f"{folder} holds both {first.relative} and {second.relative}, and they differ; which is meant? Keep one of them"
    )


def describe_missing(folder: Path, chosen: dict[str, IdxFile], missing: list[str]) -> str:
    """Return the error message for a folder without a complete set of files."""
    if chosen:
        found = {file.relative.removesuffix(".gz") for file in chosen.values()}
        names = PAPER_NAMES if found & set(PAPER_NAMES.values()) else STANDARD_NAMES
        for_predict = (
            ""
            if any(role.startswith("x") for role in missing)
            else f"; {predict_command()} takes images without labels"
        )
        return (
            f"{folder} lacks {' and '.join(names[role] for role in missing)}, plain or .gz "
            f"(other names work if they say train or test, and images or labels){for_predict}"
        )
    for child in find_idx_folders(folder, levels=2):
        return f"{folder} holds no data set, but {child.relative_to(folder)} in it does; use {data_option(child)}"
    holds = [path.name for path in sorted(folder.iterdir()) if not is_junk(path.name)]
    listed = ", ".join(holds[:MAX_LISTED]) + (", ..." if len(holds) > MAX_LISTED else "")
    return (
        f"{folder} holds no data set; expected the four files {', '.join(STANDARD_NAMES.values())} (plain or .gz), or "
        f"names like them; it holds {listed or 'nothing'}"
    )


def find_idx_folders(folder: Path, levels: int) -> Iterator[Path]:
    """Yield the folders at most `levels` below that hold the files of a training part."""
    for child in sorted(islice((path for path in folder.iterdir() if path.is_dir()), MAX_FILES)):
        if is_junk(child.name):
            continue
        try:
            # Only files whose name mentions a part are opened: this may be a whole home folder.
            paths = (path for path in walk_files(child) if part_from_path(path))
            files = [inspect_file(path, child) for path in islice(paths, MAX_FILES)]
            if {"x_train", "y_train"} <= {file.role for file in files if file.axes}:
                yield child
            elif levels > 1:
                yield from find_idx_folders(child, levels - 1)
        except OSError:  # a folder without read permission is not what is meant
            continue
