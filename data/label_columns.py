"""Encode label columns, each of which holds two values, as 0 and 1: a row may have several labels, or none."""

from collections.abc import Collection, Sequence

import numpy as np

from lagvis.data.labels import clean_label, decode_bytes
from lagvis.data.messages import join_names, shorten
from lagvis.data.source import Source
from lagvis.errors import DataError
from lagvis.option_text import targets_option

# Values of a label column, upper and lower case alike: that of a row without the label, and that of one with it.
VALUE_PAIRS = (
    ("0", "1"), ("-1", "1"), ("false", "true"), ("f", "t"), ("no", "yes"), ("n", "y"), ("off", "on"),
    ("absent", "present"), ("negative", "positive"),
)  # fmt: skip
UNNAMED = "label "  # with the number of the label, from 0, where the data have no name for it
EXPECTED = "expected 0 and 1, false and true, or no and yes"
MAX_LISTED_VALUES = 5


def encode_label_columns(source: Source, names: Sequence[str]) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Return the labels of both parts, {part: (N, L) uint8 of 0 and 1}, and notices on what counts as 1.

    Columns of both parts hold the values of one of VALUE_PAIRS. DataError names the first row with another value.
    """
    texts = {part: label_texts(source, part, y) for part, y in (("training", source.y_train), ("test", source.y_test))}
    widths = {part: values.shape[1] for part, values in texts.items()}
    if {*widths.values()} != {len(names)}:
        raise DataError(
            f"{source.name}: {widths['training']} labels a training row, {widths['test']} a test row and "
            f"{len(names)} names of labels; make them equal"
        )
    encoded = {part: np.zeros(values.shape, np.uint8) for part, values in texts.items()}
    pairs: dict[tuple[str, str], list[str]] = {}
    for k, name in enumerate(names):
        columns = {part: values[:, k] for part, values in texts.items()}
        pair = find_pair(source, columns, name, single=len(names) == 1)
        pairs.setdefault(pair, []).append(name)
        for part, column in columns.items():
            encoded[part][:, k] = column == pair[1]
    notices = [
        f"{join_names(found)}: {pair[1]} counts as 1 and {pair[0]} as 0."
        for pair, found in pairs.items()
        if pair != VALUE_PAIRS[0]
    ]
    return encoded, tuple(notices)


def label_texts(source: Source, part: str, y: np.ndarray) -> np.ndarray:
    """Return labels (N,) or (N, L) as texts (N, L), in lower case; that of a whole number has no fraction."""
    if y.ndim > 2 or y.size == 0 or y.dtype.kind not in "biufSU":
        raise DataError(
            f"{source.name}: the {part} labels have the shape {y.shape} and the type {y.dtype}; expected (rows, "
            "labels) of 0 and 1"
        )
    columns = y.reshape(len(y), -1)
    if columns.dtype.kind == "S":
        columns = np.stack([decode_bytes(source, part, column) for column in columns.T], axis=1)
    values, inverse = np.unique(columns, return_inverse=True)
    texts = [clean_label(str(value)).casefold().removesuffix(".0") for value in values]
    return np.array(texts)[inverse.reshape(columns.shape)]


def find_pair(source: Source, columns: dict[str, np.ndarray], name: str, *, single: bool) -> tuple[str, str]:
    """Return the pair of VALUE_PAIRS that the columns (N,) of a label hold; `single` if there is no other label."""
    found = sorted({str(value) for column in columns.values() for value in np.unique(column)})
    for pair in VALUE_PAIRS:
        if {*found} <= {*pair}:
            return pair
    known = max(VALUE_PAIRS, key=lambda pair: sum(int(np.isin(column, pair).sum()) for column in columns.values()))
    part, row = next(
        (part, int(rows[0])) for part, column in columns.items() if len(rows := np.flatnonzero(~np.isin(column, known)))
    )
    value = str(columns[part][row])
    if value in ("", "nan"):
        raise DataError(
            f"{source.locate_row(part, row)} has no value for {describe_label(name)}; {EXPECTED}: fill it, or remove "
            "the row"
        )
    remedy = "write them as 0 and 1"
    if single:
        remedy = f"learn them as classes with {targets_option('classes')}"
    elif len(found) > 2:
        remedy = f"leave them out of the labels, or predict numbers with {targets_option('numbers')}"
    listed = ", ".join(map(shorten, found[:MAX_LISTED_VALUES])) + (", ..." if len(found) > MAX_LISTED_VALUES else "")
    raise DataError(
        f"{source.locate_row(part, row)} has the value {shorten(value)} for {describe_label(name)}, whose values are "
        f"{listed}; with {targets_option('labels')} {EXPECTED}: {remedy}"
    )


def describe_label(name: str) -> str:
    """Return a label for a sentence: "the label urgent", and "label 0" where it has no name."""
    return name if name.startswith(UNNAMED) else f"the label {shorten(name)}"


def holds_pair(values: Collection[str]) -> bool:
    """Return whether the texts of a column are those of one of VALUE_PAIRS."""
    return any({value.casefold() for value in values} <= {*pair} for pair in VALUE_PAIRS)


def label_names(source: Source, width: int) -> tuple[str, ...]:
    """Return the names of the labels of a source: those of its columns, else numbers: "label 0"."""
    names = source.label_names or source.target_names or tuple(f"{UNNAMED}{k}" for k in range(width))
    if len(names) != width:
        raise DataError(f"{source.name}: {len(names)} names for {width} labels a row; give one name each")
    if len({*names}) < len(names):
        raise DataError(f"{source.name}: two labels have one name ({', '.join(names)}); give each its own")
    return names


def exclusive_notice(encoded: dict[str, np.ndarray]) -> str:
    """Return the notice on labels of which every row has exactly one; "" for others, and for a single label."""
    if next(iter(encoded.values())).shape[1] < 2 or any((y.sum(axis=1) != 1).any() for y in encoded.values()):
        return ""
    return (
        f"Every row has exactly one of the labels: they are one-hot rows. {targets_option('classes')} learns them as "
        "classes, whose probabilities sum to 1."
    )
