"""What is given to a trained network to predict: pictures, and rows of tables, NPZ and IDX files."""

import math
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lagvis.data.detect import reject_spreadsheet
from lagvis.data.formats.idx import idx_axes, read_idx
from lagvis.data.formats.npz import read_npz_rows
from lagvis.data.images.image_folder import is_image_file, looks_like_image, sorted_entries
from lagvis.data.images.image_io import MAX_IMAGE_BYTES, read_greyscale, read_image_bytes
from lagvis.data.images.mnist_style import SIDE, PreparedImage, resize, to_mnist_style
from lagvis.data.labels import check_known_labels, encode_labels, encode_targets
from lagvis.data.messages import shorten
from lagvis.data.signatures import SIGNATURE_BYTES, identify_format
from lagvis.data.source import Source
from lagvis.data.tables.dialect import (
    Dialect,
    detect_dialect,
    is_missing,
    is_text_label,
    label_columns,
    list_columns,
    parse_label_option,
)
from lagvis.data.tables.reader import are_bytes, label_texts, parse
from lagvis.data.tables.text import open_maybe_gzip
from lagvis.errors import DataError

STANDARD_INPUT = "-"
TAKES = "expected a picture, a folder of pictures, a table as text (CSV), an .npz file or IDX images"
Label = str | list[float] | None  # a class, or a number for each target
MNIST_STYLE, RESIZE, RAW = "as digits", "to size", "raw"  # what is done to pictures


@dataclass(frozen=True)
class InputSpec:
    """What a network takes: rows of `shape`, bytes or real numbers; pictures are made so by one of the three ways.

    `classes` are the labels that it knows, or `targets` the names of the numbers that it predicts. In a table with a
    header its columns are found by `features` and `labels`, the names of those that it learned from; `told` names or
    numbers another label, and `label` is that of the recipe, for columns without names.
    """

    shape: tuple[int, ...]
    is_bytes: bool
    pictures: str
    classes: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    told: str = ""
    label: str = ""


@dataclass(frozen=True)
class InputBatch:
    """The rows of one file, x (N, n_in) uint8 or float64.

    `labels` has one for each row, or None, where the file has any; `seen` where the file is a picture; `notices` are
    what to say of the file.
    """

    file: str
    x: np.ndarray
    labels: Sequence[Label] | None = None
    seen: PreparedImage | None = None
    notices: tuple[str, ...] = ()


def read_inputs(words: Sequence[str], wanted: InputSpec) -> tuple[list[InputBatch], list[str]]:
    """All that is given, in order, and what to say of it; DataError at the first file that is not what it should be."""
    given, notices = [], []
    for word in words:
        path = Path(word).expanduser() if word.startswith("~/") else Path(word)
        try:
            if word == STANDARD_INPUT:
                given.append(read_input(wanted))
            elif word and path.is_dir():
                paths, others = pictures_in(path)
                given += [read_picture(path, str(path), wanted) for path in paths]
                notices += others
            else:
                given.append(read_file(path, word, wanted))
        except OSError as error:
            raise DataError(
                f"{word} cannot be read ({error.strerror or error}); check the path and its permissions"
            ) from None
    return given, notices + [notice for one in given for notice in one.notices]


def pictures_in(folder: Path) -> tuple[list[Path], list[str]]:
    """The pictures right in a folder, in natural order, and a line on what else there is."""
    found = sorted_entries(folder)
    paths = [path for path in found if not path.is_dir() and looks_like_image(path)]
    if not paths:
        names = ", ".join(path.name for path in found[:5]) + (", ..." if len(found) > 5 else "")
        raise DataError(
            f"{folder} holds no picture; it holds {names or 'nothing'}; give a folder of pictures, or files"
        )
    others = [path.name for path in found if path not in set(paths)]
    more = ", ..." if len(others) > 5 else ""
    return paths, [f"Not read in {folder}: {', '.join(others[:5])}{more}."] if others else []


def read_input(wanted: InputSpec) -> InputBatch:
    """Standard input: the bytes of any file that can be given by its name."""
    content = sys.stdin.buffer.read(MAX_IMAGE_BYTES + 1) if sys.stdin else b""
    if not content:
        raise DataError(f"standard input is empty; {TAKES}")
    if len(content) > MAX_IMAGE_BYTES:
        raise DataError(f"standard input has more than {MAX_IMAGE_BYTES:,} bytes; give a file")
    with tempfile.TemporaryDirectory() as folder:  # readers of tables go through a file twice
        path = Path(folder, "standard input")
        path.write_bytes(content)
        try:
            return read_file(path, STANDARD_INPUT, wanted)
        except DataError as error:
            raise DataError(str(error).replace(str(path), "standard input")) from None


def read_file(path: Path, name: str, wanted: InputSpec) -> InputBatch:
    """A file by its content, or as a picture where its name says so; `name` is what its rows are called."""
    if not name or not path.exists():
        raise DataError(f"there is nothing at {name or repr(name)}; {TAKES}")
    if not path.is_file():
        raise DataError(f"{path} is neither a file nor a folder; {TAKES}")
    if is_image_file(path) or looks_like_image(path):
        return read_picture(path, name, wanted)
    if idx_axes(path):
        return InputBatch(name, checked(read_idx(path)[0], path, wanted))
    with open_maybe_gzip(path) as file:
        start = file.read(SIGNATURE_BYTES)
    if start.startswith(b"PK"):
        reject_spreadsheet(path)
    if start.startswith(b"PK") or path.suffix.lower() == ".npz":
        x, y, notices = read_npz_rows(path)
        rows = checked(x, path, wanted)
        if y is None:
            return InputBatch(name, rows, notices=notices)
        source = source_of(path, rows, y, lambda row: f"row {row + 1}")
        return InputBatch(name, rows, labels_beside(source, wanted), notices=notices)
    if words := identify_format(start):
        raise DataError(f"{path} is {words}; {TAKES}")
    return read_rows_of_table(path, name, wanted)


def read_picture(path: Path, name: str, wanted: InputSpec) -> InputBatch:
    """A picture as the network is to be shown it."""
    if len(wanted.shape) != 2 or not wanted.is_bytes:
        shape = "x".join(map(str, wanted.shape))
        if len(wanted.shape) == 3 and {wanted.shape[0], wanted.shape[-1]} & {3, 4}:
            raise DataError(
                f"{path} is a picture, the network learned from arrays of {shape} numbers, as of pictures in colour; "
                "give such arrays (.npz): picture files are taken in grey alone"
            )
        kind = "bytes" if wanted.is_bytes else "real numbers"
        raise DataError(f"{path} is a picture; the network takes rows of {shape} {kind}: give a table or an .npz")
    grey, notes = read_greyscale(read_image_bytes(path), path)
    h, w = wanted.shape
    if wanted.pictures == MNIST_STYLE:
        if (h, w) != (SIDE, SIDE):
            raise DataError(
                f"digits are centred in {SIDE}x{SIDE} pixels, the network takes {w}x{h}; leave --centre out"
            )
        seen = to_mnist_style(grey)
    elif wanted.pictures == RAW and grey.shape != (h, w):
        raise DataError(
            f"{path} has {grey.shape[1]}x{grey.shape[0]} pixels, the network takes {w}x{h}; leave --raw out"
        )
    else:
        seen = resize(grey, (h, w))
    return InputBatch(name, seen.pixels.reshape(1, -1), seen=replace(seen, notes=(*notes, *seen.notes)))


def checked(x: np.ndarray, path: Path, wanted: InputSpec) -> np.ndarray:
    """Rows (N, ...) of an array as x (N, n_in); DataError where the network cannot take them."""
    width = math.prod(wanted.shape)
    if x.ndim < 1 or x.size == 0 or x.dtype.kind not in "biuf":
        raise DataError(
            f"{path} holds an array of shape {x.shape} and type {x.dtype}; expected rows of {width} numbers"
        )
    rows = x.reshape(len(x), -1)
    if rows.shape[1] != width:
        raise DataError(f"{path} has rows of {rows.shape[1]} numbers, the network takes {width}")
    if not wanted.is_bytes and rows.dtype == np.uint8:
        raise DataError(f"{path} holds bytes (0..255), the network was trained on real numbers")
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        raise DataError(f"{path}, row {int(np.argmin(finite)) + 1} holds a NaN or an infinity; fill or remove it")
    if not wanted.is_bytes:
        return rows.astype(np.float64)
    if not are_bytes(rows):
        raise DataError(f"{path} holds real numbers, the network was trained on bytes (0..255)")
    return rows.astype(np.uint8)


def source_of(path: Path, x: np.ndarray, y: np.ndarray, where: Callable[[int], str]) -> Source:
    """Rows and their labels as a data set would hold them; `where` says which row of the file."""
    return Source(str(path), x, y, x, y, {}, row_location=lambda _, row: f"{path}, {where(row)}")


def labels_beside(source: Source, wanted: InputSpec, cure: str = "leave out the labels") -> list[Label]:
    """Labels of any kind, the test part's of `source`, as the network calls them, one a row."""
    x, y = source.x_test, source.y_test
    if y.ndim < 1 or len(y) != len(x):
        raise DataError(f"{source.name} holds x of {len(x):,} rows and y {y.shape}; expected a label a row, or x alone")
    if y.ndim > 1 and y.shape[1:] == (len(wanted.labels),):
        source = replace(source, label_names=wanted.labels)
    if wanted.targets:
        numbers = encode_targets(source, "test", y)
        if numbers.shape[1] != len(wanted.targets):
            raise DataError(
                f"{source.name} has {numbers.shape[1]} targets a row, the network predicts {len(wanted.targets)}; give "
                "those, or the rows alone"
            )
        return list(numbers.tolist())
    coded = encode_labels(source, "test", y)
    check_known_labels(source, "test", coded, wanted.classes, remedy=cure)
    return [coded.names[i] for i in coded.inverse]


def read_rows_of_table(path: Path, name: str, wanted: InputSpec) -> InputBatch:
    """The rows of a table that holds the features alone, or the label too."""
    narrow = math.prod(wanted.shape) == 1 and not wanted.told
    layout = detect_dialect(path, wanted.told or wanted.label, narrow=narrow)
    by_name = layout.header and bool(wanted.features)
    features, labels, notices = columns_by_name(layout, wanted) if by_name else columns_by_place(layout, wanted)
    by_text = is_text_label(labels, bool(wanted.targets))
    rows = parse(layout, features, labels, by_text, unlabelled=True)
    x = rows.numbers[:, : len(features)]
    if wanted.is_bytes and not are_bytes(x):
        odd = np.flatnonzero(((x < 0) | (x > 255) | (x != np.floor(x))).any(axis=1))[0]
        raise DataError(
            f"{path}, line {rows.lines[odd]} has other numbers than 0..255, whole, which the network was trained on"
        )
    x = x.astype(np.uint8 if wanted.is_bytes else np.float64)
    y = label_texts(rows.texts[0]) if by_text else rows.numbers[:, len(features) :]
    known = (
        [text in wanted.classes or not is_missing(text) for text in rows.texts[0]]
        if by_text
        else ~np.isnan(y).any(axis=1)
    )
    labelled = np.flatnonzero(known) if labels else ()
    if not len(labelled):
        return InputBatch(name, x, notices=notices)
    lines = rows.lines[labelled]
    found: list[Label] = [None] * len(x)
    cure = f"leave out the labels (the label is {', '.join(map(layout.column, labels))} unless --label names another)"
    source = source_of(path, x[labelled], y[labelled], lambda row: f"line {lines[row]}")
    for row, label in zip(labelled, labels_beside(source, wanted, cure), strict=True):
        found[row] = label
    return InputBatch(name, x, found, notices=notices)


def columns_by_name(layout: Dialect, wanted: InputSpec) -> tuple[list[int], list[int], tuple[str, ...]]:
    """The columns of the features in the network's order, those of the labels, and what to say of the others."""
    path, names = layout.file.path, layout.names
    places: dict[str, list[int]] = {}
    for c, name in enumerate(names):
        places.setdefault(name, []).append(c)
    for name, count in Counter(wanted.features).items():
        there = len(places.get(name, ()))
        if there != count:
            raise DataError(
                f"{path} has {there or 'no'} column{'s' * (there > 1)} {shorten(name)!r}, of which the network takes "
                f"{count}; it has the columns {list_columns(names)}: "
                f"{'add what is missing' if there < count else 'rename or remove what is no feature'}"
            )
    features = [places[name].pop(0) for name in wanted.features]
    if wanted.told:
        labels = parse_label_option(layout, wanted.told)
        if taken := [names[c] for c in labels if c in features]:
            raise DataError(f"{path}: --label names {shorten(taken[0])!r}, which the network takes as a feature")
    else:
        known = wanted.targets or wanted.labels
        labels = [names.index(name) for name in known] if {*known} <= {*names} - {*wanted.features} else []
    others = [names[c] for c in range(len(names)) if c not in features and c not in labels]
    notices = (f"{path.name}: not used: {list_columns(others)}.",) if others else ()
    return features, labels, notices


def columns_by_place(layout: Dialect, wanted: InputSpec) -> tuple[list[int], list[int], tuple[str, ...]]:
    """As `columns_by_name`, where columns have no names: all of them, or all but those of the label."""
    width, n_in, label = len(layout.names), math.prod(wanted.shape), wanted.told or wanted.label
    counts = (len(wanted.targets),) if wanted.targets else (1, max(1, len(wanted.labels), len(wanted.classes)))
    labels: list[int] = []
    if width - n_in in counts and width > n_in:
        known = wanted.targets or wanted.labels
        by_name = len(known) > 1 and not label and {*known} <= {*layout.names}
        labels = label_columns(layout, ",".join(known) if by_name else label, bool(wanted.targets))
    if width - len(labels) != n_in:
        beside = f"{len(wanted.targets)} targets" if len(wanted.targets) > 1 else "label"
        raise DataError(
            f"{layout.file.path}, line {layout.body} has {width:,} columns; expected the {n_in:,} numbers that the "
            f"network takes, or those and the {beside}"
        )
    taken = ", ".join(map(layout.column, labels))
    told = (f"{layout.file.path.name}: the label is {taken} (--label says otherwise).",) if labels else ()
    return [c for c in range(width) if c not in labels], labels, told
