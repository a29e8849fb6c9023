"""Read tables as a data set: choose the label, decide how the columns become features, and hold out a test part."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from lagvis.data.images.transposed import BY_NAME, NO, Upright, turn_upright
from lagvis.data.input_spec import InputSpec
from lagvis.data.messages import list_names, pluralize, shorten
from lagvis.data.read_options import ReadOptions
from lagvis.data.source import Source
from lagvis.data.split import TEST_SHARE, hold_out_test
from lagvis.data.tables.arrays import are_bytes, feature_array
from lagvis.data.tables.cell_values import numbers
from lagvis.data.tables.columns import (
    Columns,
    class_column_names,
    columns_for_training,
    columns_of_encoding,
    find_columns,
    match_test_columns,
)
from lagvis.data.tables.encoding import CategoryEncoding, TableEncoding
from lagvis.data.tables.feature_type import AUTO, NUMBERS, PIXELS, image_side
from lagvis.data.tables.files import read_frame
from lagvis.data.tables.fit import fit_encoding
from lagvis.data.tables.frame import BOOLEAN, NUMBER, TableFrame
from lagvis.data.tables.hints import TableHints
from lagvis.data.tables.label_arrays import label_arrays
from lagvis.data.tables.network_table import (
    all_numbers,
    category_columns,
    has_text_classes,
    network_encoding,
    read_network_table,
)
from lagvis.data.tables.unseen import check_unseen
from lagvis.errors import DataError
from lagvis.option_text import option, predict_command


def read_table(
    path: Path,
    *,
    regression: bool,
    options: ReadOptions,
    spec: InputSpec | None = None,
    encoding: TableEncoding | None = None,
) -> Source:
    """Read a table in one file and hold out a test part.

    spec      a trained network whose columns are looked up, in its order; it decides about the options
    encoding  how the columns become features; None: by the training rows
    """
    if spec:
        table, columns = read_network_table(path, spec)
    else:
        table = read_frame(path, options, TableHints(text=category_columns(encoding)))
        columns = columns_for_training(table, options, regression)
        check_columns(table, columns, options, regression)
    return hold_out_source(table, columns, regression=regression, options=options, spec=spec, encoding=encoding)


def hold_out_source(
    table: TableFrame,
    columns: Columns,
    *,
    regression: bool,
    options: ReadOptions,
    spec: InputSpec | None = None,
    encoding: TableEncoding | None = None,
    notices: Sequence[str] = (),
    share: float = TEST_SHARE,
) -> Source:
    """Return a table with a test part held out; the other arguments are those of `read_table`.

    notices  come first
    share    of the rows in the test part; 0: there is none
    """
    table, dropped = drop_unlabelled(table, columns.labels, multi_label=options.multi_label)
    w = weights_array(table, columns)
    by_class = not (regression or options.multi_label)
    (y,) = label_arrays(
        [(table, columns.labels)],
        regression,
        as_text=is_category(table, columns.labels, options, spec),
        multi_label=options.multi_label,
    )
    if spec or encoding:
        encoding, columns = known_encoding(table, columns, spec, encoding)
    else:
        training_rows = np.arange(len(y))
        if share and len(y) > 1:
            training_rows = hold_out_test(y, by_class=by_class, share=share)[0]
        training_rows = weighted_rows(training_rows, w)
        encoding, columns = fitted_encoding(table, columns, training_rows, options)
    upright = upright_picture_rows(table, columns, encoding, options, spec)
    # Before training only the rows that are held out can hold anything new.
    rows_name = table.short_name if spec else f"The test part of {table.short_name}"
    path = table.path
    return Source.hold_out(
        path.name.removesuffix(".gz").rsplit(".", 1)[0] or path.name,
        upright.x,
        y,
        {path.name: table.sha256},
        path=path,
        by_class=by_class,
        share=share,
        allow_single_row=spec is not None,
        row_location=table.locate_row,
        w=w,
        weights_name=weights_name(table, columns),
        target_names=target_names(table, columns, regression, spec),
        label_names=class_column_names(table, columns.labels, regression),
        feature_names=feature_names(table, encoding, spec),
        feature_columns=feature_columns(columns, encoding),
        label_columns=tuple(c + 1 for c in columns.labels),
        notices=(*notices, *table_notices(table, columns, upright.x, options, spec), *dropped, *upright.notices),
        transposed=upright.was_transposed,
        encoding=encoding,
        warnings=tuple(check_unseen(table, columns.features, encoding, rows_name)),
    )


def known_encoding(
    table: TableFrame, columns: Columns, spec: InputSpec | None, encoding: TableEncoding | None
) -> tuple[TableEncoding, Columns]:
    """Return the encoding of a network, by `spec`, or one to go on learning from, and the columns that belong to it."""
    if spec:
        return network_encoding(spec, table, columns), columns
    encoding = encoding if encoding and encoding.columns else all_numbers(table, columns)
    return encoding, columns_of_encoding(table, columns, encoding)


def fitted_encoding(
    table: TableFrame, columns: Columns, training_rows: np.ndarray, options: ReadOptions
) -> tuple[TableEncoding, Columns]:
    """Return the encoding by the training rows (indices), and the columns without those that are left out."""
    encoding = fit_encoding(table, columns, training_rows, options)
    return encoding, replace(columns, features=[column.position for column in encoding.columns])


def read_tables(
    train: Path,
    test: Path,
    *,
    regression: bool,
    options: ReadOptions,
    spec: InputSpec | None = None,
    encoding: TableEncoding | None = None,
) -> Source:
    """Read a training and a test table, matched by the names of their columns where both have a header.

    The arguments are those of `read_table`; with `spec` each is matched with the columns of the network. Where the test
    table has no labels, as those of competitions, a test part of the training table is held out instead.
    """
    if spec:
        first, columns = read_network_table(train, spec)
        second, test_columns = read_network_table(test, spec, label_required=False)
        unlabelled = not test_columns.labels or lacks_labels(second, test_columns.labels)
    else:
        hints = TableHints(text=category_columns(encoding))
        first = read_frame(train, options, hints)
        second = read_frame(test, options, replace(hints, training=first))
        test_columns = None
        columns = columns_for_training(first, options, regression, second)
        check_columns(first, columns, options, regression)
        unlabelled = is_unlabelled(second, first, columns)
    if unlabelled:
        source = hold_out_source(
            first, columns, regression=regression, options=options, spec=spec, encoding=encoding,
            notices=[unlabelled_notice(second, columns, first)],
        )  # fmt: skip
        return replace(source, name=train.parent.name)

    def read_test(hints: TableHints) -> TableFrame:
        return read_frame(test, options, hints)

    source = split_source(
        first, second, columns, test_columns, read_test,
        regression=regression, options=options, spec=spec, encoding=encoding,
    )  # fmt: skip
    return replace(source, name=train.parent.name)


def split_source(
    first: TableFrame,
    second: TableFrame,
    columns: Columns,
    test_columns: Columns | None,
    read_test: Callable[[TableHints], TableFrame],
    *,
    regression: bool,
    options: ReadOptions,
    spec: InputSpec | None = None,
    encoding: TableEncoding | None = None,
) -> Source:
    """Return a training table and a test table that has labels; the other arguments are those of `read_table`.

    columns       of the training table
    test_columns  of the test table; None: matched with those of the training table
    read_test     reads the test table again, with columns that only the encoding shows to be text
    """
    first, notices = drop_unlabelled(first, columns.labels, multi_label=options.multi_label)
    if spec or encoding:
        encoding, columns = known_encoding(first, columns, spec, encoding)
    else:
        training_rows = weighted_rows(np.arange(first.frame.height), weights_array(first, columns))
        encoding, columns = fitted_encoding(first, columns, training_rows, options)
    if test_columns is None:
        test_columns, unused = match_test_columns(first, second, columns)
        notices += unused
        pairs = zip(test_columns.features, encoding.columns, strict=True)
        if any(isinstance(column, CategoryEncoding) and second.kind(c) == NUMBER for c, column in pairs):
            second = read_test(TableHints(text=category_columns(encoding), training=first))
    if second.description != first.description:
        notices.append(f"{second.short_name}: {second.description}.")
    second, dropped = drop_unlabelled(second, test_columns.labels, multi_label=options.multi_label)
    parts = [(first, columns.labels), (second, test_columns.labels)]
    y_train, y_test = label_arrays(
        parts,
        regression,
        as_text=is_category(first, columns.labels, options, spec),
        multi_label=options.multi_label,
    )
    upright_train = upright_picture_rows(first, columns, encoding, options, spec, second.path)
    is_picture = not spec and upright_train.x.ndim == 3
    as_training = replace(options, feature_type=PIXELS) if is_picture else options
    upright_test = upright_picture_rows(second, test_columns, encoding, as_training, spec, first.path)
    if upright_test.x.ndim > upright_train.x.ndim:
        upright_test = upright_test._replace(x=upright_test.x.reshape(len(y_test), -1).astype(np.float64))
    tables = {"training": first, "test": second}
    return Source(
        first.short_name,
        x_train=upright_train.x,
        y_train=y_train,
        x_test=upright_test.x,
        y_test=y_test,
        sha256={first.path.name: first.sha256, second.path.name: second.sha256},
        target_names=target_names(first, columns, regression, spec),
        label_names=class_column_names(first, columns.labels, regression),
        feature_names=feature_names(first, encoding, spec),
        feature_columns=feature_columns(columns, encoding),
        label_columns=tuple(c + 1 for c in columns.labels),
        w_train=weights_array(first, columns),
        weights_name=weights_name(first, columns),
        notices=(
            *table_notices(first, columns, upright_train.x, options, spec),
            *notices,
            *dropped,
            *upright_train.notices,
            *upright_test.notices,
        ),
        transposed=upright_train.was_transposed,
        encoding=encoding,
        warnings=(
            *check_unseen(first, columns.features, encoding),
            *check_unseen(second, test_columns.features, encoding),
        ),
        row_location=lambda part, row: tables[part].locate_row(row),
    )


def check_columns(table: TableFrame, columns: Columns, options: ReadOptions, regression: bool) -> None:
    """Raise DataError for a column to learn from, or to predict, that holds texts among numbers."""
    as_numbers = {*find_columns(table, options.number, "number")}
    for c in (*columns.features, *(columns.labels if regression else ())):
        if c not in as_numbers:
            table.check_column(c)


def is_unlabelled(test: TableFrame, training: TableFrame, columns: Columns) -> bool:
    """Tell whether a test table has the features of the training table, and no labels."""
    width = len(training.names)
    if training.has_header and test.has_header:
        absent = [c for c in (*columns.features, *columns.labels) if training.names[c] not in test.indices]
        if absent:
            return absent == columns.labels
        return lacks_labels(test, [test.indices[training.names[c]][0] for c in columns.labels])
    if len(test.names) == width:
        return lacks_labels(test, columns.labels)
    return len(test.names) == width - len(columns.labels)


def lacks_labels(table: TableFrame, labels: list[int]) -> bool:
    """Tell whether no row of a table has a label in one of its label columns."""
    return any(table.column(c).null_count() == table.frame.height for c in labels)


def unlabelled_notice(test: TableFrame, columns: Columns, training: TableFrame) -> str:
    """Return the notice about a test table without labels."""
    label = ", ".join(shorten(training.names[c]) for c in columns.labels)
    what = f"no label ({label})" if training.has_header else "no label"
    return (
        f"{test.short_name} has {what}: the test part is held out of {training.short_name}; predict the rows of "
        f"{test.short_name} with {predict_command(test.path)}"
    )


def is_category(table: TableFrame, labels: list[int], options: ReadOptions, spec: InputSpec | None) -> bool:
    """Tell whether the label is text, whatever it holds: a category by the options, or text to the network."""
    if spec:
        return has_text_classes(spec)
    return {*labels} <= {*find_columns(table, options.category, "category")}


def drop_unlabelled(table: TableFrame, labels: list[int], *, multi_label: bool = False) -> tuple[TableFrame, list[str]]:
    """Return a table without the rows that lack a label, and a notice about them; DataError if none has one.

    With `multi_label` a row that has some of its labels and lacks others is a DataError.
    """
    lacking = np.zeros(table.frame.height, np.int64)
    for c in labels:
        if c in table.unreadable:
            raise DataError(
                f"{table.name}: {table.describe_column(c)} is the label and holds {table.unreadable[c]}; expected text "
                "or numbers"
            )
        lacking += table.column(c).is_null().to_numpy()
    missing = lacking > 0
    count = int(missing.sum())
    if count == len(missing):
        columns = " and ".join(table.describe_column(c) for c in labels)
        raise DataError(
            f"{table.name}: no row has a label in {columns}; fill it, name another column with {option('label')}, "
            f"or give rows without labels to {predict_command()}"
        )
    if multi_label and (some := missing & (lacking < len(labels))).any():
        row = int(some.argmax())
        c = next(c for c in labels if table.column(c)[row] is None)
        raise DataError(
            f"{table.locate_row(row)}, {table.describe_column(c)} is missing, and other labels of the row are not; "
            "fill it, or empty all labels of the row to leave it out"
        )
    if not count:
        return table, []
    first = table.row_location(int(missing.argmax()))
    notice = f"{table.short_name}: {pluralize(count, 'row')} without a label left out, the first in {first}."
    return table.take(np.flatnonzero(~missing)), [notice]


def weights_array(table: TableFrame, columns: Columns) -> np.ndarray | None:
    """Return the weights of the rows (N,) float64, NaN for a missing cell; None without a column of weights."""
    if columns.weights is None:
        return None
    if stray := table.strays.get(columns.weights):
        raise DataError(f"{stray()}; correct it")
    if (kind := table.kind(columns.weights)) not in (NUMBER, BOOLEAN):
        raise DataError(
            f"{table.name}: {table.describe_column(columns.weights)} is the column of weights and holds {kind}; "
            f"expected numbers from 0: name another column with {option('weight_column')}, or leave it out"
        )
    return numbers(table.column(columns.weights))


def weights_name(table: TableFrame, columns: Columns) -> str:
    """Return the column of the weights for messages; empty without one."""
    return "" if columns.weights is None else table.describe_column(columns.weights)


def weighted_rows(rows: np.ndarray, w: np.ndarray | None) -> np.ndarray:
    """Return the rows (indices) that are learned from: those whose weight is above 0, or all if none is."""
    learned = rows if w is None else rows[w[rows] > 0]
    return learned if len(learned) else rows


def upright_picture_rows(
    table: TableFrame, columns: Columns, encoding: TableEncoding, options: ReadOptions, spec: InputSpec | None = None,
    other: Path | None = None,
) -> Upright:  # fmt: skip
    """Return the features of a table as `feature_array` does, pictures upright.

    `other` is the path of the table that belongs to it, whose name may tell how the pictures of both lie.
    """
    transpose = options.transpose
    if spec:
        transpose = spec.transpose
    elif options.feature_type == NUMBERS and transpose == BY_NAME:
        transpose = NO
    x = feature_array(table, columns.features, encoding, options.feature_type, spec)
    # By the name alone, only rows of EMNIST's size are taken for its pictures.
    rows = x.reshape(len(x), -1) if transpose == BY_NAME else x
    upright = turn_upright(rows, table.short_name, transpose, *filter(None, (table.path, other)))
    return upright._replace(x=upright.x.reshape(x.shape))


def target_names(table: TableFrame, columns: Columns, regression: bool, spec: InputSpec | None) -> tuple[str, ...]:
    """Return the names of the numbers to predict; empty for classes."""
    if not regression:
        return ()
    return spec.target_names if spec else tuple(table.names[c] for c in columns.labels)


def feature_names(table: TableFrame, encoding: TableEncoding, spec: InputSpec | None) -> tuple[str, ...]:
    """Return the names of the features; empty without a header, if each is a column of numbers."""
    if spec and not spec.feature_names:
        return ()
    return encoding.feature_names if table.has_header or not encoding.is_plain else ()


def feature_columns(columns: Columns, encoding: TableEncoding) -> tuple[int, ...]:
    """Return the column of each feature in a table, from 1, where the columns of the encoding are `columns`."""
    pairs = zip(columns.features, encoding.columns, strict=True)
    return tuple(c + 1 for c, column in pairs for _ in column.feature_names)


def table_notices(
    table: TableFrame, columns: Columns, x: np.ndarray, options: ReadOptions, spec: InputSpec | None
) -> tuple[str, ...]:
    """Return the notices about a table: what was detected, with the options that override it."""
    guessed_image = spec is None and options.feature_type == AUTO and x.ndim == 3
    features = pluralize(x[0].size, "feature")
    if guessed_image:
        size = f"{x.shape[1]}x{x.shape[2]}"
        features += f", whole numbers 0..255 taken as pictures of {size} (unless {option('feature_type', NUMBERS)})"
    elif spec is None and options.feature_type == AUTO and (side := image_side(x.shape[1])) and are_bytes(x):
        features += (
            f", whole numbers 0..{x.max():.0f} taken as numbers ({option('feature_type', PIXELS)} takes them as "
            f"pictures of {side}x{side})"
        )
    labels = ", ".join(table.describe_column(c) for c in columns.labels)
    are = "the label is" if len(columns.labels) == 1 else "the labels are"
    reason = f", {columns.label_reason}" if columns.label_reason else ""
    detected = (
        f"{table.short_name}: {pluralize(len(x), 'row')} of {features}; {table.description}; "
        f"{are} {labels}{reason} ({option('label')} names {'another' if len(columns.labels) == 1 else 'others'})."
    )
    unused = [table.names[c] for c in columns.unused]
    not_used = (f"{table.short_name}: not used: {list_names(unused)}.",) if unused else ()
    return (detected, *table.notices, *not_used)
