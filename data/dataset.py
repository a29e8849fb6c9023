"""A data set as host arrays, checked, with the user's own names for classes, targets and features."""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from lagvis.data.array_source import AUTO as AUTO_TARGETS
from lagvis.data.array_source import (
    CLASSES,
    LABELS,
    NUMBERS,
    array_source,
    check_name,
    check_share,
    check_targets,
)
from lagvis.data.feature_ranges import FeatureRanges, to_bytes
from lagvis.data.images.mnist_style import background_shade, is_mnist_style
from lagvis.data.label_columns import describe_label, encode_label_columns, exclusive_notice, label_names
from lagvis.data.labels import (
    EncodedLabels,
    check_known_labels,
    check_numbers_as_classes,
    default_names,
    encode_labels,
    encode_targets,
    match_final_dots,
    natural_order,
)
from lagvis.data.messages import MAX_NAME_LENGTH, join_names, shorten
from lagvis.data.read_options import ReadOptions
from lagvis.data.source import Source
from lagvis.data.split import HeldOut
from lagvis.data.tables.encoding import TableEncoding
from lagvis.data.tables.feature_type import AUTO, FEATURE_TYPES
from lagvis.data.weights import check_weights
from lagvis.errors import DataError, UsageError
from lagvis.option_text import messages_for_python, option, targets_option
from lagvis.run_warning import RunWarning

ColumnNames = str | int | Sequence[str | int]  # of a data frame
MAX_SAMPLE = 1000  # training images by which their style and background are measured


@dataclass(frozen=True, repr=False)
class Dataset:
    """Training and test rows.

    x_*              (N, n_in) uint8 (bytes, scaled by 1/255 in the step) or float64 (to be standardised)
    y_*              (N,) class indices, uint8 up to 256 classes and int32 beyond; (N, L) uint8 of 0 and 1 for labels of
                     which a row may have several; or (N, n_out) float64
    shape            of one row as it was read: (28, 28)
    class_names      of index 0..K-1, or of the L labels, as the user calls them; empty for targets
    target_names     of the n_out targets, `unit` their unit; empty for classes
    sha256           digest of each file by its name
    notices          for the user, one line each; `all_notices` also says what was held out
    feature_names    of the numbers of a row; empty if they have no names
    feature_columns  their columns in the user's table, from 1; empty if there is no table
    label_columns    columns of the classes or targets in the user's table, from 1; empty if there is no table
    label_names      of the columns that classes were read from; empty if they have no names
    held_out         the test part that was held out, for data that has none
    locate_row       describes a row, given its part ("training" or "test") and its index in it, as its owner knows it
    transposed       whether the files store the pictures transposed, which stand upright here
    encoding         of the columns of a table; None if there is none
    w_train          weights of the training rows (N,) float64, from 0; None: every row counts once
    weights_name     where the weights were read, for messages; empty if there are none
    warnings         found by the reader: what the table of a test part holds and training did not
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
    label_columns: tuple[int, ...] = ()
    label_names: tuple[str, ...] = ()
    held_out: HeldOut | None = None
    locate_row: Callable[[str, int], str] = field(default="{} row {}".format, compare=False)
    transposed: bool = False
    encoding: TableEncoding | None = None
    w_train: np.ndarray | None = None
    weights_name: str = ""
    warnings: tuple[RunWarning, ...] = ()

    @classmethod
    @messages_for_python()
    def from_arrays(
        cls,
        X: Any,  # noqa: N803
        y: Any,
        *,
        test: float = 0.0,
        X_test: Any = None,  # noqa: N803
        y_test: Any = None,
        sample_weight: Any = None,
        targets: str = AUTO_TARGETS,
        feature_names: Sequence[str] = (),
        target_names: Sequence[str] = (),
        name: str = "arrays",
    ) -> "Dataset":
        """Make a data set of arrays of any library (NumPy, PyTorch, JAX, CuPy, lists).

        X              (rows, ...) numbers; uint8 are pixels 0..255, all others are standardised
        y              (rows,) classes (text, truth values, whole numbers) or numbers; (rows, n) one-hot rows, labels
                       of 0 and 1 of which a row may have several, or several numbers
        test           share of the rows held out to test by, stratified by class; 0: no test part
        X_test, y_test the test part, if there is one of its own
        sample_weight  (rows,) how much each row counts in training, from 0
        targets        "classes", "labels" or "numbers"; "auto": by the type of y
        feature_names  of the numbers of a row; target_names of the columns of y
        name           of the data set, for messages

        Raises DataError for arrays that cannot be learned from, and where y may be classes or numbers.

        >>> import numpy as np
        >>> import lagvis as lv
        >>> data = lv.Dataset.from_arrays(np.arange(40.0).reshape(20, 2), ["low"] * 10 + ["high"] * 10, test=0.2)
        >>> data.class_names, data.x_train.shape, data.x_test.shape
        (('high', 'low'), (16, 2), (4, 2))
        """
        source, kind, has_test = array_source(
            X, y, test=test, X_test=X_test, y_test=y_test, sample_weight=sample_weight, targets=targets,
            feature_names=feature_names, target_names=target_names, name=name,
        )  # fmt: skip
        dataset = make_dataset(source, kind)
        return dataset if has_test else dataset.without_test()

    def without_test(self) -> "Dataset":
        """Return the data set with a test part of 0 rows."""
        return replace(self, x_test=self.x_test[:0], y_test=self.y_test[:0], held_out=None)

    def __repr__(self) -> str:
        learned = self.class_names or self.target_names
        what = f"{len(learned)} {self.targets}: {join_names(learned)}"
        rows = f"{len(self.x_train):,} training and {len(self.x_test):,} test rows"
        return f"Dataset({self.name}, {rows} of {'x'.join(map(str, self.shape))} numbers, {what})"

    def __getstate__(self) -> dict[str, Any]:
        """Return the fields for a pickle; rows are then described by their part and index."""
        return self.__dict__ | {"locate_row": type(self).locate_row}

    @property
    def targets(self) -> str:
        """What the targets are: "classes", "labels" or "numbers"."""
        return (LABELS if self.multi_label else CLASSES) if self.class_names else NUMBERS

    @classmethod
    @messages_for_python()
    def from_frame(
        cls,
        frame: Any,
        label: ColumnNames = "",
        *,
        test: float = 0.0,
        test_frame: Any = None,
        targets: str = CLASSES,
        name: str = "frame",
        features: ColumnNames = (),
        drop: ColumnNames = (),
        category: ColumnNames = (),
        number: ColumnNames = (),
        log: ColumnNames = (),
        id: ColumnNames = (),
        weight_column: str = "",
        feature_type: str = AUTO,
    ) -> "Dataset":
        """Make a data set of a data frame of pandas or polars, or an Arrow table.

        It means what the same table in a Parquet file does (docs/data.md): categories, dates, true and false and
        missing cells become numbers, by the training rows alone. Options that name columns take one name or several.

        label          column to predict, several for numbers or one-hot classes; empty: found by its name and content
        test           share of the rows to hold out as the test part, always the same ones; 0: there is no test part
        test_frame     rows of the test part, with labels; columns are matched by their names
        targets        "classes", "numbers" (to predict), or "labels" (of which a row may have several)
        name           of the frame in messages
        features       columns to learn from; empty: all that remain
        drop           columns to leave out
        category       columns to take as categories, whatever they hold
        number         columns to take as numbers, whatever they hold
        log            columns of numbers whose logarithm is learned from
        id             columns that name a row and are never learned from
        weight_column  column of the weights of the rows; empty: every row counts once
        feature_type   "auto", "numbers" or "pixels" (of square pictures)
        Raises DataError for a frame that cannot be used, and UsageError for arguments that it does not take.

        >>> import polars as pl
        >>> frame = pl.DataFrame({"size": [1.0, 2.0, 8.0, 9.0], "kind": ["a", "b", "a", "b"], "y": [0, 0, 1, 1]})
        >>> data = Dataset.from_frame(frame, "y")
        >>> data.feature_names, data.class_names, data.x_train.shape, data.x_test.shape
        (('size', 'kind=a', 'kind=b'), ('0', '1'), (4, 3), (0, 3))
        """
        from lagvis.data.tables.data_frame import check_frame
        from lagvis.data.tables.frame_source import TEST_FRAME, column_options, read_source

        check_frame(frame, "frame")
        check_name(name)
        if test_frame is not None:
            check_frame(test_frame, TEST_FRAME)
        check_targets(targets, allow_auto=False)
        if not isinstance(feature_type, str) or feature_type not in FEATURE_TYPES:
            raise UsageError(f"feature_type is {feature_type!r}; expected {', '.join(map(repr, FEATURE_TYPES))}")
        check_share(test)
        if test and test_frame is not None:
            raise UsageError(f"test is {test!r} and test_frame is given; use one of them for the test part")
        named = column_options(
            frame, label=label, features=features, drop=drop, category=category, number=number, log=log, id=id,
            weight_column=weight_column,
        )  # fmt: skip
        options = ReadOptions(feature_type=feature_type, multi_label=targets == LABELS, **named)
        source = read_source(frame, test_frame, regression=targets == NUMBERS, options=options, test=test, name=name)
        dataset = make_dataset(source, targets)
        return dataset if test or test_frame is not None else dataset.without_test()

    @property
    def digest(self) -> str:
        """SHA-256 over the digests of the files, whatever their names."""
        return hashlib.sha256("\n".join(sorted(self.sha256.values())).encode()).hexdigest()

    @property
    def feature_kinds(self) -> tuple[str, ...]:
        """What each feature is, one of FEATURE_KINDS of data/tables/encoding.py; empty unless columns were encoded."""
        return () if self.encoding is None or self.encoding.is_plain else self.encoding.feature_kinds

    @property
    def n_out(self) -> int:
        """Width of the last layer: the number of classes or of targets."""
        return len(self.class_names) or self.y_train.shape[1]

    @property
    def multi_label(self) -> bool:
        """Whether a row may have several labels: y is (N, L) of 0 and 1."""
        return bool(self.class_names) and self.y_train.ndim == 2

    @property
    def all_notices(self) -> tuple[str, ...]:
        """The notices, and the one on the held-out test part."""
        return (*self.notices, self.held_out.notice) if self.held_out else self.notices

    def describe_feature(self, i: int) -> str:
        """Return the number of a feature, from 1, and its name or place.

        "column 3 ('age')" of a table, "pixel 30 (row 2, column 2)" of an image, else "feature 3".
        """
        if self.feature_columns:
            number = f"column {self.feature_columns[i]}"
            name = self.feature_names[i] if self.feature_names else number
            # In all MAX_NAME_LENGTH characters, so that no sentence cuts it again.
            shown = shorten(name, MAX_NAME_LENGTH - len(f"{number} ('')"))
            return number if name == number else f"{number} ({shown!r})"
        if len(self.shape) == 2 and self.x_train.dtype == np.uint8:
            row, column = divmod(i, self.shape[1])
            return f"pixel {i + 1} (row {row + 1}, column {column + 1})"
        return f"feature {i + 1}"

    def describe_target(self, i: int) -> str:
        """Return a target by its name: "target price", and "target 0" where it has none."""
        name = self.target_names[i]
        return name if name == default_target_name(i) else f"target {shorten(name)}"

    @cached_property
    def mnist_style(self) -> bool:
        """Whether the training rows are images made as MNIST's, by a sample of them."""
        images = self._sample_images()
        return images is not None and is_mnist_style(images)

    @cached_property
    def background(self) -> int:
        """Shade of the background of the training images, 0..255, by a sample of them; 0 for other rows."""
        images = self._sample_images()
        return 0 if images is None else background_shade(images)

    def _sample_images(self) -> np.ndarray | None:
        """Return about MAX_SAMPLE training images (N, H, W) uint8, evenly spaced; None if rows are not images.

        Images of another usual range, as 0..1, are converted to 0..255.
        """
        if len(self.shape) != 2:
            return None
        sample = self.x_train[:: max(1, len(self.x_train) // MAX_SAMPLE)]
        if self.x_train.dtype != np.uint8:
            picture_range = FeatureRanges.of(sample, np.arange(len(sample)), self.shape).picture_range
            if picture_range is None:
                return None
            sample = to_bytes(sample, picture_range)
        return sample.reshape(-1, *self.shape)

    def all_as_test(self) -> "Dataset":
        """Return the data set with all rows in the test part, in their order, for data whose test part was held out."""
        held_out, locate_row = self.held_out, self.locate_row
        if held_out is None:
            raise ValueError(f"{self.name} has a test part of its own")
        notice = (
            f"{held_out.name} has no test part: all its rows are evaluated, including any that the network was "
            "trained on."
        )
        return replace(
            self,
            x_test=held_out.in_file_order(self.x_train, self.x_test),
            y_test=held_out.in_file_order(self.y_train, self.y_test),
            notices=(*self.notices, notice),
            held_out=None,
            locate_row=lambda part, row: locate_row(*(held_out.part_of(row) if part == "test" else (part, row))),
        )


def as_classification(source: Source, class_names: tuple[str, ...] = ()) -> Dataset:
    """Make a data set of classes; labels become indices into the training labels in natural order.

    With `class_names`, those of a trained network, labels are looked up there instead. DataError names the first row
    whose label is not known.
    """
    x_train, x_test = check_rows(source)
    encoded = {
        "training": encode_labels(source, "training", source.y_train),
        "test": encode_labels(source, "test", source.y_test),
    }
    names = class_names or natural_order(encoded["training"].names)
    if not class_names:
        check_numbers_as_classes(source, encoded.values())
    dots = {part: match_final_dots(labels, names) for part, labels in encoded.items()}
    encoded = {part: labels for part, (labels, _) in dots.items()}
    notices = dict.fromkeys(f"{source.name}: {notice}." for _, notice in dots.values() if notice)
    check_classes(source, encoded, names, are_given=bool(class_names))
    smallest = np.uint8 if len(names) <= 256 else np.int32  # PyTorch gathers no uint16 or uint32
    index = {name: i for i, name in enumerate(names)}
    y = {
        part: np.array([index[name] for name in labels.names], dtype=smallest)[labels.inverse]
        for part, labels in encoded.items()
    }
    return Dataset(
        source.name,
        x_train,
        y["training"],
        x_test,
        y["test"],
        class_names=names,
        target_names=(),
        unit="",
        notices=(*source.notices, *notices, *label_notices(encoded, names, are_given=bool(class_names))),
        label_names=source.label_names,
        **source_fields(source),
    )


def source_fields(source: Source) -> dict[str, Any]:
    """Return the fields of a data set that are those of its source, whatever its labels are; weights are checked."""
    return {
        "shape": source.x_train.shape[1:],
        "sha256": source.sha256,
        "feature_names": source.feature_names,
        "feature_columns": source.feature_columns,
        "label_columns": source.label_columns,
        "held_out": source.held_out,
        "locate_row": source.locate_row,
        "transposed": source.transposed,
        "encoding": source.encoding,
        "w_train": check_weights(source),
        "weights_name": source.weights_name,
        "warnings": source.warnings,
    }


def check_classes(source: Source, encoded: dict[str, EncodedLabels], names: Sequence[str], *, are_given: bool) -> None:
    """Raise DataError unless the labels of both parts can be classes `names`, which `are_given` by a network or not."""
    if len(names) < 2:
        raise DataError(
            f"{source.name}: every training label is {names[0]}{label_hint(source)}; a classifier needs at least two "
            "classes"
        )
    for part, labels in encoded.items():
        if are_given:
            check_known_labels(source, part, labels, names, remedy=f"train on them{label_hint(source)}")
        elif source.held_out and not {*labels.names} <= {*names}:
            raise DataError(
                f"{source.held_out.name}: every class has a single row{label_hint(source)}; expected two or more "
                f"of a class, to train on and for the test"
                f"{'' if source.y_train.dtype.kind in 'SU' else f' (to predict numbers use {targets_option(NUMBERS)})'}"
            )
        else:
            check_known_labels(source, part, labels, names, "no training row has", "add training rows for them")
        if labels.columns and not {*names} <= {*labels.columns}:
            raise DataError(
                f"{source.name}: the {part} labels are one-hot rows for {join_names(labels.columns)}, the classes are "
                f"{join_names(names)}; which column is which class? Give the labels themselves in both parts"
            )


def label_hint(source: Source) -> str:
    """Return which columns of a table are read as the label, for the end of a message; empty for other data."""
    columns = ", ".join(f"column {c}" for c in source.label_columns)
    return f" (the label is {columns}; {option('label')} names another)" if columns else ""


def label_notices(encoded: dict[str, EncodedLabels], names: Sequence[str], *, are_given: bool) -> tuple[str, ...]:
    """Return the notices on one-hot labels, and on class names that are not 0..K-1 unless a network gives them."""
    notices = []
    one_hot = [part for part, labels in encoded.items() if labels.columns]
    if one_hot:
        notices.append(f"The {' and '.join(one_hot)} labels are one-hot rows: the column with the 1 is the class.")
    if not are_given and names != default_names(len(names)):
        notices.append(f"Labels are {join_names(names)}: outputs 0..{len(names) - 1} stand for them in that order.")
    return tuple(notices)


def as_multi_label(source: Source, class_names: tuple[str, ...] = ()) -> Dataset:
    """Make a data set of L labels, of which a row may have any number: columns of two values become 0 and 1, (N, L).

    `class_names` are the labels that a trained network knows, in its order; empty: those of the data.
    """
    x_train, x_test = check_rows(source)
    if source.y_train.ndim > 1 or not class_names:
        names = label_names(source, source.y_train.shape[1] if source.y_train.ndim > 1 else 1)
    else:
        names = class_names
    if class_names and len(names) != len(class_names):
        raise DataError(
            f"{source.name} has {len(names)} labels a row ({join_names(names)}), the network predicts "
            f"{len(class_names)} ({join_names(class_names)}); give a column for each of these"
        )
    encoded, notices = encode_label_columns(source, class_names or names)
    if not class_names:
        check_labels_vary(source, names, encoded["training"])
    if exclusive := exclusive_notice(encoded) if not class_names else "":
        notices = (*notices, exclusive)
    return Dataset(
        source.name,
        x_train,
        encoded["training"],
        x_test,
        encoded["test"],
        class_names=class_names or names,
        target_names=(),
        unit="",
        notices=(*source.notices, *notices),
        label_names=source.label_names,
        **source_fields(source),
    )


def check_labels_vary(source: Source, names: Sequence[str], y: np.ndarray) -> None:
    """Raise DataError for a label that every training row has, or none: y (N, L)."""
    constant = [k for k in range(len(names)) if (y[:, k] == y[0, k]).all()]
    if not constant:
        return
    k = constant[0]
    others = [name for i, name in enumerate(names) if i not in constant]
    remedy = "expected rows with and rows without it"
    if others:
        given = f" with {option('label', ','.join(others))}" if source.label_columns else " of y"
        remedy += f", or leave it out{given}"
    raise DataError(
        f"{source.name}: {'every' if y[0, k] else 'no'} training row has {describe_label(names[k])}, so that there "
        f"is nothing to learn of it; {remedy}"
    )


def as_regression(source: Source) -> Dataset:
    """Make a data set of targets, (N,) or (N, n_out), which become float64 (N, n_out)."""
    x_train, x_test = check_rows(source)
    y_train = encode_targets(source, "training", source.y_train)
    y_test = encode_targets(source, "test", source.y_test)
    if y_train.shape[1] != y_test.shape[1]:
        raise DataError(
            f"{source.name}: {y_train.shape[1]} targets a training row, {y_test.shape[1]} a test row; make them equal"
        )
    names = source.target_names or tuple(map(default_target_name, range(y_train.shape[1])))
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
        class_names=(),
        target_names=names,
        unit=source.unit,
        notices=source.notices,
        **source_fields(source),
    )


def make_dataset(source: Source, targets: str, class_names: tuple[str, ...] = ()) -> Dataset:
    """Make the data set of a source whose targets are "classes", "labels" or "numbers".

    `class_names` are the classes or labels that a trained network knows; empty: those of the data.
    """
    if targets == NUMBERS:
        return as_regression(source)
    return as_multi_label(source, class_names) if targets == LABELS else as_classification(source, class_names)


def default_target_name(i: int) -> str:
    """Return the name of a target, numbered from 0, whose file has no name for it."""
    return f"target {i}"


def check_rows(source: Source) -> tuple[np.ndarray, np.ndarray]:
    """Return both x as (N, n_in), uint8 if both are and float64 otherwise; DataError unless shapes and types fit."""
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
    n_in = math.prod(source.x_train.shape[1:])
    if n_in == 0:
        raise DataError(f"{source.name}: x has the shape {source.x_train.shape}, whose rows hold no numbers")
    x_train = np.ascontiguousarray(source.x_train.reshape(-1, n_in))
    x_test = np.ascontiguousarray(source.x_test.reshape(-1, n_in))
    if x_train.dtype == x_test.dtype == np.uint8:
        return x_train, x_test
    return to_finite_float64(source, "training", x_train), to_finite_float64(source, "test", x_test)


def to_finite_float64(source: Source, part: str, x: np.ndarray) -> np.ndarray:
    """Return rows (N, n_in) as float64; DataError at the first with a NaN or an infinity."""
    with np.errstate(over="ignore", invalid="ignore"):
        rows = x.astype(np.float64, copy=False)
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        row = int(np.flatnonzero(~finite)[0])
        raise DataError(f"{source.locate_row(part, row)} has a NaN or an infinity in x; remove or fill such values")
    return rows
