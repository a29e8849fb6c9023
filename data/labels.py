"""Encode labels of any kind as class names and indices, and targets as float64 columns."""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lagvis.arrays import MAX_EXACT_INT
from lagvis.data.messages import join_names, shorten
from lagvis.data.source import Source
from lagvis.errors import DataError
from lagvis.option_text import join_options, option, targets_option

MIN_SINGLE_ROW_CLASSES = 30  # classes of a single row, from which on labels are checked for numbers to predict
BLANKS_WITHOUT_WIDTH = "\u200b\u2060\ufeff"
OTHER_BLANKS = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")  # that look like a blank


@dataclass(frozen=True)
class EncodedLabels:
    """Labels as text: row i has the label names[inverse[i]].

    `columns` are the classes of all columns of one-hot rows, else empty.
    """

    names: list[str]
    inverse: np.ndarray
    columns: tuple[str, ...] = ()


def encode_labels(source: Source, part: str, y: np.ndarray) -> EncodedLabels:
    """Encode labels (N,) or (N, 1) of whole numbers or text, or one-hot rows (N, K), of a part of `source`.

    Floats are taken if each is a whole number. DataError names the first row whose label is not valid.
    """
    if y.ndim == 2 and y.shape[1] > 1:
        return encode_one_hot(source, part, y)
    if y.size != len(y):
        raise DataError(
            f"{source.name}: the {part} labels have the shape {y.shape}, expected ({len(y)},): one class a row"
        )
    y = y.reshape(-1)
    if y.dtype.kind == "S":
        y = decode_bytes(source, part, y)
    elif y.dtype.kind == "f":
        y = float_to_int(source, part, y)
    if y.dtype.kind not in "biuU":
        raise DataError(f"{source.name}: the {part} labels are of type {y.dtype}, expected whole numbers or text")
    values, inverse = np.unique(y, return_inverse=True)
    names = [clean_label(str(value)) for value in values]
    inverse = inverse.reshape(-1)
    for i, name in enumerate(names):
        # Control characters would act on a terminal, and no file takes a lone surrogate.
        if not name or not name.isprintable():
            row = int(np.flatnonzero(inverse == i)[0])
            raise DataError(
                f"{source.locate_row(part, row)} has the label {shorten(ascii(name))}; expected printable text"
            )
    if len({*names}) < len(names):
        names, indices = unique_names(names)
        inverse = indices[inverse]
    return EncodedLabels(names, inverse)


def clean_label(text: str) -> str:
    """Return a label without blanks at its ends, those within it plain, and its letters composed (NFC)."""
    return OTHER_BLANKS.sub(" ", unicodedata.normalize("NFC", text)).strip().strip(BLANKS_WITHOUT_WIDTH).strip()


def fold_label(text: str) -> str:
    """Return a label without the differences that an eye may miss: case, kinds and numbers of blanks."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def unique_names(names: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Return names each once, and the index of each of the given ones among them (n,)."""
    index = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return [*index], np.array([index[name] for name in names])


def rename_labels(labels: EncodedLabels, names: Mapping[str, str]) -> EncodedLabels:
    """Return labels of which some have another name; classes of one name become one."""
    renamed, indices = unique_names([names.get(name, name) for name in labels.names])
    return replace(labels, names=renamed, inverse=indices[labels.inverse])


def match_final_dots(labels: EncodedLabels, known: Sequence[str]) -> tuple[EncodedLabels, str]:
    """Return labels with the `known` names, where only the dot at the end keeps them apart, and a notice or "".

    The labels of adult.test end in a dot, those of adult.data do not.
    """
    without_dot = {strip_dot(name): name for name in known}
    names = {
        name: without_dot[strip_dot(name)]
        for name in labels.names
        if name not in known and strip_dot(name) in without_dot
    }
    if not names or len(without_dot) < len(known):
        return labels, ""
    first = next(iter(names))
    return rename_labels(labels, names), f"the label {shorten(first)!r} is taken as {shorten(names[first])!r}"


def strip_dot(name: str) -> str:
    """Return a name without a dot at its end."""
    return name.removesuffix(".").rstrip()


def check_numbers_as_classes(source: Source, parts: Collection[EncodedLabels]) -> None:
    """Raise DataError if the labels of numbers of a source are hardly classes: most of them have a single row."""
    if source.y_train.dtype.kind not in "biuf" or any(labels.columns for labels in parts):
        return
    rows: Counter[str] = Counter()
    for labels in parts:
        rows.update(dict(zip(labels.names, np.bincount(labels.inverse).tolist(), strict=True)))
    if not are_hardly_classes(rows.values()):
        return
    single = sum(count == 1 for count in rows.values())
    where = f" (column {source.label_columns[0]})" if source.label_columns else ""
    as_classes = "store them as text"
    if source.label_columns:
        name = source.label_names[0] if source.label_names else str(source.label_columns[0])
        as_classes = f"add {option('category', name)}"
    raise DataError(
        f"{source.name}: the labels{where} are {len(rows):,} different numbers in {sum(rows.values()):,} rows, and "
        f"{single:,} of them have a single row; expected several rows of each class: numbers are predicted with "
        f"{targets_option('numbers')} (to learn them as classes, {as_classes})"
    )


def are_hardly_classes(counts: Iterable[int]) -> bool:
    """Return whether so many of the classes with these numbers of rows have a single row that they may be numbers."""
    counts = list(counts)
    single = sum(count == 1 for count in counts)
    return single >= MIN_SINGLE_ROW_CLASSES and 2 * single > len(counts)


def float_to_int(source: Source, part: str, y: np.ndarray) -> np.ndarray:
    """Convert float labels (N,) of any width to int64; DataError if one is not a whole number."""
    with np.errstate(over="ignore", invalid="ignore"):  # what float64 cannot hold becomes infinite, not whole
        wide = y.astype(np.float64)
    bad = np.flatnonzero(~((wide == np.floor(wide)) & (np.abs(wide) < MAX_EXACT_INT)))
    if bad.size:
        row = int(bad[0])
        raise DataError(
            f"{source.locate_row(part, row)} has the label {y[row]}, expected a whole number; "
            f"to predict numbers use {targets_option('numbers')}"
        )
    return wide.astype(np.int64)


def decode_bytes(source: Source, part: str, y: np.ndarray) -> np.ndarray:
    """Decode labels (N,) of bytes as UTF-8."""
    try:
        return np.char.decode(y, "utf-8")
    except UnicodeDecodeError as error:
        row = int(np.flatnonzero(y == error.object)[0])
        raise DataError(
            f"{source.locate_row(part, row)} has the label {shorten(repr(error.object))}, which is not UTF-8; "
            "store the labels as text"
        ) from None


def encode_one_hot(source: Source, part: str, y: np.ndarray) -> EncodedLabels:
    """Encode rows (N, K) of exactly one 1 and otherwise 0 by the classes of their columns."""
    rows = source.held_out.rows if source.held_out else len(y)  # those of the file
    expected = (
        f"labels of shape {(rows, y.shape[1])} must be one-hot rows, one 1 and otherwise 0; expected ({rows},), one "
        f"class a row: argmax(axis=1) gives it from scores, and {targets_option('numbers')} predicts numbers"
    )
    if y.dtype.kind not in "biuf":
        raise DataError(f"{source.name}: the {part} labels are of type {y.dtype}; {expected}")
    ones = y == 1
    allowed = ones | (y == 0)
    bad = np.flatnonzero((ones.sum(axis=1) != 1) | ~allowed.all(axis=1))
    if bad.size:
        row = int(bad[0])
        invalid = y[row][~allowed[row]]
        value = f"the value {invalid[0]}" if invalid.size else f"{int(ones[row].sum())} ones"
        if allowed.all():
            named = option("label", ",".join(source.label_names)) if source.label_columns else ""
            remedy = join_options(named, targets_option("labels"))
            expected += f"; labels of which a row may have several are learned with {remedy}"
        raise DataError(f"{source.locate_row(part, row)} has {value} in its label; {expected}")
    columns = source.label_names if len(source.label_names) > 1 else default_names(y.shape[1])
    if len(columns) != y.shape[1]:
        raise DataError(f"{source.name}: {len(columns)} names for the {y.shape[1]} columns of the {part} labels")
    values, inverse = np.unique(ones.argmax(axis=1), return_inverse=True)
    return EncodedLabels([columns[value] for value in values], inverse, columns)


def check_known_labels(
    source: Source,
    part: str,
    found: EncodedLabels,
    names: Sequence[str],
    reason: str = "the network does not know",
    remedy: str = "train on them",
) -> None:
    """Raise DataError at the first row whose label is not in `names`.

    Its message is "... has the label x, which `reason` (known: `names`); remove such rows, or `remedy`".
    """
    known = {*names}
    unknown = np.array([name not in known for name in found.names])
    if unknown.any():
        row = int(np.flatnonzero(unknown[found.inverse])[0])
        label = found.names[found.inverse[row]]
        near = next((name for name in names if fold_label(name) == fold_label(label)), "")
        raise DataError(
            f"{source.locate_row(part, row)} has the label {shorten(label)}, which {reason} (known: "
            f"{join_names(names)}); {f'write it as {shorten(near)!r}, ' if near else ''}remove such rows, or {remedy}"
        )


def default_names(count: int) -> tuple[str, ...]:
    """Return the class names 0..count - 1."""
    return tuple(map(str, range(count)))


def natural_order(names: Iterable[str]) -> tuple[str, ...]:
    """Sort whole numbers by value, other text with the numbers inside it by value: "item2" precedes "item10"."""
    names = tuple(names)
    if all(re.fullmatch(r"[+-]?[0-9]{1,20}", name) for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))

    def key(name: str) -> tuple[list[str | tuple[int, str]], str]:
        pieces: list[str | tuple[int, str]] = list(re.split(r"([0-9]+)", name.casefold()))
        # Digits by their count and then as text sort by value, however many there are.
        pieces[1::2] = [(len(digits), digits) for digits in (str(piece).lstrip("0") for piece in pieces[1::2])]
        return pieces, name

    return tuple(sorted(names, key=key))


def encode_targets(source: Source, part: str, y: np.ndarray) -> np.ndarray:
    """Return targets (N,) or (N, n_out) as float64 (N, n_out); DataError at the first that is not finite."""
    if y.ndim > 2 or y.size == 0 or y.dtype.kind not in "biuf":
        raise DataError(
            f"{source.name}: the {part} targets have the shape {y.shape} and the type {y.dtype}; "
            "expected numbers (rows,) or (rows, targets)"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        columns = y.reshape(len(y), -1).astype(np.float64)
    finite = np.isfinite(columns).all(axis=1)
    if not finite.all():
        row = int(np.flatnonzero(~finite)[0])
        raise DataError(
            f"{source.locate_row(part, row)} has a NaN or an infinity as target; remove or fill such values"
        )
    return columns
