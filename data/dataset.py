"""A data set as host arrays, checked, with the user's own names for what its numbers mean."""

import hashlib
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lagvis.data.split import no_test_part
from lagvis.errors import DataError

# Beyond this, floating-point numbers are farther apart than whole ones.
LARGEST_WHOLE = 2.0**53


@dataclass(frozen=True)
class Source:
    """What a reader found, before it is known what is to be learned from it.

    x_*            (N, ...)
    y_*            labels (N,) or (N, 1): whole numbers or text; or one-hot rows (N, K); or numbers (N,) or (N, n_out)
    label_names    of the column of the label, or of the K columns of one-hot rows, where they have names
    feature_names  of the numbers of a row, where they have names
    feature_columns  of a table: the number of each one's column in its file, from 1
    undivided      the file or folder that came without a test part, so that one was held out from it; else empty
    where          says from the part ("training" or "test") and the row in it which row of the user's own that is
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    sha256: dict[str, str]
    target_names: tuple[str, ...] = ()
    unit: str = ""
    notices: tuple[str, ...] = ()
    label_names: tuple[str, ...] = ()
    feature_names: tuple[str, ...] = ()
    feature_columns: tuple[int, ...] = ()
    undivided: str = ""
    where: Callable[[str, int], str] | None = None

    def place(self, part: str, row: int) -> str:
        """A row in words that its owner understands."""
        return self.where(part, row) if self.where else f"{self.name}: {part} row {row}"

    @property
    def told(self) -> tuple[str, ...]:
        """The notices, and what was held out."""
        count = len(self.y_test)
        return self.notices + no_test_part(self.undivided, count, len(self.y_train) + count)


@dataclass(frozen=True)
class Dataset:
    """Rows to learn from and rows to be judged by.

    x_*           (N, n_in) uint8 (bytes, scaled by 1/255 in the step) or float64 (to be standardised)
    y_*           (N,) class indices, uint8 up to 256 classes and int32 beyond, or (N, n_out) float64
    shape         of one row as it came: (28, 28)
    class_names   of index 0..K-1, the user's own labels; empty where numbers are predicted
    target_names  of the n_out numbers, `unit` what they are measured in; empty for classes
    notices       what the user should be told in a line each
    feature_names of the numbers of a row, where they have names; else empty
    feature_columns  their columns in the user's table, from 1; empty where there is none
    label_names   of the column or the columns that classes were read from, where they have names; else empty
    undivided     what came without a test part, so that one was held out from it; else empty
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    shape: tuple[int, ...]
    class_names: tuple[str, ...]
    target_names: tuple[str, ...]
    unit: str
    sha256: dict[str, str]
    notices: tuple[str, ...]
    feature_names: tuple[str, ...] = ()
    feature_columns: tuple[int, ...] = ()
    label_names: tuple[str, ...] = ()
    undivided: str = ""

    @property
    def digest(self) -> str:
        """SHA-256 over the digests of its files, whatever they are called."""
        return hashlib.sha256("\n".join(sorted(self.sha256.values())).encode()).hexdigest()

    @property
    def n_out(self) -> int:
        """Width of the last layer: classes, or numbers to predict."""
        return len(self.class_names) or self.y_train.shape[1]

    def all_as_test(self) -> "Dataset":
        """With every row in the test part, of what came without one."""
        x, y = np.concatenate([self.x_train, self.x_test]), np.concatenate([self.y_train, self.y_test])
        split = no_test_part(self.undivided, len(self.x_test), len(x))
        kept = tuple(notice for notice in self.notices if notice not in split)
        told = f"{self.undivided} holds no test part: all its rows count, also such as the network has learned from."
        return replace(self, x_test=x, y_test=y, notices=(*kept, told))


def as_classification(source: Source, class_names: tuple[str, ...] = ()) -> Dataset:
    """Labels of any kind become indices into the labels of the training part in natural order, kept as class names.

    With `class_names`, the map of a trained network, both parts are looked up in it instead.
    """
    x_train, x_test = rows_of(source)
    coded = {
        "training": encode_labels(source, "training", source.y_train),
        "test": encode_labels(source, "test", source.y_test),
    }
    names = class_names or natural_order(coded["training"].names)
    if len(names) < 2:
        raise DataError(f"{source.name}: every training label is {names[0]}; a classifier needs at least two classes")
    index = {name: i for i, name in enumerate(names)}
    for part, found in coded.items():
        if class_names:
            check_known_labels(source, part, found, names)
        elif source.undivided and not {*found.names} <= {*names}:
            raise DataError(
                f"{source.undivided}: no class has two rows; expected several, to learn from and to be judged by"
                f"{'' if source.y_train.dtype.kind in 'SU' else ' (to predict numbers use --loss mse)'}"
            )
        else:
            check_known_labels(source, part, found, names, "no training row has", "add training rows for them")
        if found.columns and not set(names) <= set(found.columns):
            raise DataError(
                f"{source.name}: the {part} labels are one-hot rows for {join_names(found.columns)}, the classes are "
                f"{join_names(names)}; which column is which class? Give the labels themselves in both"
            )
    notices = source.told
    one_hot = [part for part, found in coded.items() if found.columns]
    if one_hot:
        notices += (f"The {' and '.join(one_hot)} labels are one-hot rows: the column with the 1 is the class.",)
    if not class_names and names != numbered(len(names)):
        notices += (f"Labels are {join_names(names)}: outputs 0..{len(names) - 1} stand for them in that order.",)
    smallest = np.uint8 if len(names) <= 256 else np.int32  # PyTorch gathers no uint16 or uint32
    y = {
        part: np.array([index[name] for name in found.names], dtype=smallest)[found.inverse]
        for part, found in coded.items()
    }
    return Dataset(
        source.name,
        x_train,
        y["training"],
        x_test,
        y["test"],
        shape=source.x_train.shape[1:],
        class_names=names,
        target_names=(),
        unit="",
        sha256=source.sha256,
        notices=notices,
        feature_names=source.feature_names,
        feature_columns=source.feature_columns,
        label_names=source.label_names,
        undivided=source.undivided,
    )


def check_known_labels(
    source: Source,
    part: str,
    found: "EncodedLabels",
    names: Sequence[str],
    stranger: str = "the network does not know",
    cure: str = "train on them",
) -> None:
    """DataError at the first row whose label is none of `names`."""
    known = {*names}
    unknown = np.array([name not in known for name in found.names])
    if unknown.any():
        row = int(np.flatnonzero(unknown[found.inverse])[0])
        raise DataError(
            f"{source.place(part, row)} has the label {shorten(found.names[found.inverse[row]])}, which {stranger} "
            f"(known: {join_names(names)}); remove such rows, or {cure}"
        )


def as_regression(source: Source) -> Dataset:
    """Targets (N,) or (N, n_out) become float64 (N, n_out), named."""
    x_train, x_test = rows_of(source)
    y_train, y_test = targets(source, "training", source.y_train), targets(source, "test", source.y_test)
    if y_train.shape[1] != y_test.shape[1]:
        raise DataError(
            f"{source.name}: {y_train.shape[1]} targets a training row, {y_test.shape[1]} a test row; make them equal"
        )
    names = source.target_names or tuple(f"target {i}" for i in range(y_train.shape[1]))
    if len(names) != y_train.shape[1]:
        raise DataError(
            f"{source.name}: {len(names)} target names for {y_train.shape[1]} targets a row; give one name each"
        )
    if len(set(names)) < len(names):
        raise DataError(f"{source.name}: two targets have one name ({', '.join(names)}); give each its own")
    return Dataset(
        source.name,
        x_train,
        y_train,
        x_test,
        y_test,
        shape=source.x_train.shape[1:],
        class_names=(),
        target_names=names,
        unit=source.unit,
        sha256=source.sha256,
        notices=source.told,
        feature_names=source.feature_names,
        feature_columns=source.feature_columns,
        undivided=source.undivided,
    )


def rows_of(source: Source) -> tuple[np.ndarray, np.ndarray]:
    """Both x as (N, n_in), bytes kept as bytes and everything else as float64; row counts and widths checked."""
    for part, x, y in (("training", source.x_train, source.y_train), ("test", source.x_test, source.y_test)):
        if x.ndim < 2 or y.ndim < 1 or len(x) != len(y) or len(x) == 0:
            raise DataError(
                f"{source.name}: the {part} part has x of shape {x.shape} and y of shape {y.shape}; "
                "expected x (rows, ...) and y (rows,) or (rows, targets), at least one row, equally many in both"
            )
        if x.dtype.kind not in "biuf":
            raise DataError(f"{source.name}: the {part} part has x of type {x.dtype}; expected numbers")
    if source.x_train.shape[1:] != source.x_test.shape[1:]:
        raise DataError(
            f"{source.name}: a training row has the shape {source.x_train.shape[1:]}, "
            f"a test row {source.x_test.shape[1:]}; both must be equal"
        )
    width = math.prod(source.x_train.shape[1:])
    keep = source.x_train.dtype == source.x_test.dtype == np.uint8
    if width == 0:
        raise DataError(f"{source.name}: x has the shape {source.x_train.shape}, whose rows hold no numbers")
    x_train = np.ascontiguousarray(source.x_train.reshape(-1, width))
    x_test = np.ascontiguousarray(source.x_test.reshape(-1, width))
    if keep:
        return x_train, x_test
    return finite_rows(source, "training", x_train), finite_rows(source, "test", x_test)


def finite_rows(source: Source, part: str, x: np.ndarray) -> np.ndarray:
    """Rows as float64, every number of them finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        rows = x.astype(np.float64, copy=False)
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        row = int(np.flatnonzero(~finite)[0])
        raise DataError(f"{source.place(part, row)} has a NaN or an infinity in x; remove or fill such values")
    return rows


@dataclass(frozen=True)
class EncodedLabels:
    """Labels as text: row i is names[inverse[i]]; `columns` are the classes of one-hot rows, else empty."""

    names: list[str]
    inverse: np.ndarray
    columns: tuple[str, ...] = ()


def encode_labels(source: Source, part: str, y: np.ndarray) -> EncodedLabels:
    """Labels (N,) or (N, 1), or one-hot rows (N, K); floats are taken where each is a whole number."""
    if y.ndim == 2 and y.shape[1] > 1:
        return one_hot_labels(source, part, y)
    if y.size != len(y):
        raise DataError(
            f"{source.name}: the {part} labels have the shape {y.shape}, expected ({len(y)},): one class a row"
        )
    y = y.reshape(-1)
    if y.dtype.kind == "S":
        y = decoded(source, part, y)
    elif y.dtype.kind == "f":
        with np.errstate(
            over="ignore", invalid="ignore"
        ):  # types that hold more than float64, and what they hold is not whole then
            wide = y.astype(np.float64)
        bad = np.flatnonzero(~((wide == np.floor(wide)) & (np.abs(wide) < LARGEST_WHOLE)))
        if bad.size:
            row = int(bad[0])
            raise DataError(
                f"{source.place(part, row)} has the label {y[row]}, expected a whole number; "
                "to predict numbers use --loss mse"
            )
        y = wide.astype(np.int64)
    if y.dtype.kind not in "biuU":
        raise DataError(f"{source.name}: the {part} labels are of type {y.dtype}, expected whole numbers or text")
    values, inverse = np.unique(y, return_inverse=True)
    names = [str(value) for value in values]
    inverse = inverse.reshape(-1)
    for i, name in enumerate(names):
        # Not printable are control codes, which would act on a terminal, and halves of characters, which no file takes.
        if not name.strip() or not name.isprintable():
            row = int(np.flatnonzero(inverse == i)[0])
            raise DataError(
                f"{source.place(part, row)} has the label {shorten(ascii(name))}; expected text that can be printed"
            )
    return EncodedLabels(names, inverse)


def decoded(source: Source, part: str, y: np.ndarray) -> np.ndarray:
    """Labels of bytes (N,) as text."""
    try:
        return np.char.decode(y, "utf-8")
    except UnicodeDecodeError as error:
        row = int(np.flatnonzero(y == error.object)[0])
        raise DataError(
            f"{source.place(part, row)} has the label {shorten(repr(error.object))}, which is not UTF-8; "
            "store the labels as text"
        ) from None


def one_hot_labels(source: Source, part: str, y: np.ndarray) -> EncodedLabels:
    """Rows (N, K) of exactly one 1 and otherwise 0, as the classes of their columns."""
    expected = (
        f"labels of shape {y.shape} are taken only as one-hot rows, one 1 and otherwise 0; expected ({len(y)},), one "
        "class a row: argmax(axis=1) gives it from scores, and --loss mse predicts numbers"
    )
    if y.dtype.kind not in "biuf":
        raise DataError(f"{source.name}: the {part} labels are of type {y.dtype}; {expected}")
    ones = y == 1
    allowed = ones | (y == 0)
    bad = np.flatnonzero((ones.sum(axis=1) != 1) | ~allowed.all(axis=1))
    if bad.size:
        row = int(bad[0])
        strange = y[row][~allowed[row]]
        value = f"the value {strange[0]}" if strange.size else f"{int(ones[row].sum())} ones"
        raise DataError(f"{source.place(part, row)} has {value} in its label; {expected}")
    columns = source.label_names if len(source.label_names) > 1 else numbered(y.shape[1])
    if len(columns) != y.shape[1]:
        raise DataError(f"{source.name}: {len(columns)} names for the {y.shape[1]} columns of the {part} labels")
    values, inverse = np.unique(ones.argmax(axis=1), return_inverse=True)
    return EncodedLabels([columns[value] for value in values], inverse, columns)


def numbered(count: int) -> tuple[str, ...]:
    """The names of classes that are 0..count - 1."""
    return tuple(map(str, range(count)))


def natural_order(names: Iterable[str]) -> tuple[str, ...]:
    """Whole numbers by value; other text with the numbers inside it by value, so that "item2" precedes "item10"."""
    names = tuple(names)
    if all(re.fullmatch(r"[+-]?[0-9]{1,20}", name) for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))

    def key(name: str) -> tuple[list[str | tuple[int, str]], str]:
        pieces: list[str | tuple[int, str]] = list(re.split(r"([0-9]+)", name.casefold()))
        # Digits by their count and then as text: by value, however many they are.
        pieces[1::2] = [(len(digits), digits) for digits in (str(piece).lstrip("0") for piece in pieces[1::2])]
        return pieces, name

    return tuple(sorted(names, key=key))


def shorten(text: str) -> str:
    """Text cut to what a sentence can hold."""
    return text if len(text) <= 40 else text[:37] + "..."


def join_names(names: Sequence[str]) -> str:
    """Class names in a few words: 1..4, or cat, dog, or the first, the last and the count."""
    first, last = shorten(names[0]), shorten(names[-1])
    if len(names) > 1 and re.fullmatch(r"-?[0-9]{1,20}", names[0]):
        start = int(names[0])
        if all(name == str(start + i) for i, name in enumerate(names)):
            return f"{first}..{last}"
    return ", ".join(map(shorten, names)) if len(names) <= 6 else f"{first} to {last} ({len(names)} of them)"


def targets(source: Source, part: str, y: np.ndarray) -> np.ndarray:
    """Targets as float64 (N, n_out), every one finite."""
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
        raise DataError(f"{source.place(part, row)} has a NaN or an infinity as target; remove or fill such values")
    return columns
