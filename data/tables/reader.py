"""Read tables as text (CSV and the like) as a data set."""

from functools import partial
from pathlib import Path

import numpy as np

from lagvis.data.images.transposed import BY_NAME, NO, Upright, turn_upright
from lagvis.data.input_spec import InputSpec
from lagvis.data.messages import pluralize
from lagvis.data.source import Source
from lagvis.data.tables.arrays import feature_arrays, label_arrays
from lagvis.data.tables.columns import (
    Columns,
    class_column_names,
    columns_for_network,
    columns_for_training,
    labelled_columns_for_network,
    list_columns,
    match_columns,
)
from lagvis.data.tables.dialect import detect_dialect
from lagvis.data.tables.feature_type import AUTO, NUMBERS, PIXELS
from lagvis.data.tables.parser import Table, parse_table


def read_table(
    path: Path,
    *,
    regression: bool,
    label: str = "",
    feature_type: str = AUTO,
    transpose: str = BY_NAME,
    spec: InputSpec | None = None,
) -> Source:
    """Read a table in one file and hold out a test part.

    label         name or number of the label column; empty: find it
    feature_type  one of FEATURE_TYPES
    transpose     one of TRANSPOSE, see `turn_upright`
    spec          a trained network whose columns are looked up, in its order; it decides about the other options
    """
    table = read_rows(path, regression=regression, label=label, feature_type=feature_type, spec=spec)
    rows, dialect = table.rows, table.dialect
    (upright,) = upright_pictures([table], feature_type, transpose, spec)
    x = upright.x
    (y,) = label_arrays([table], regression)
    return Source.hold_out(
        path.name.removesuffix(".gz").rsplit(".", 1)[0] or path.name,
        x,
        y,
        {path.name: dialect.file.sha256},
        path=path,
        by_class=not regression,
        allow_single_row=spec is not None,
        row_location=lambda row: f"{path}, line {rows.lines[row]}",
        target_names=target_names(table, regression, spec),
        label_names=class_column_names(dialect, table.labels, regression),
        feature_names=feature_names(table, spec),
        feature_columns=tuple(c + 1 for c in table.features),
        label_columns=tuple(c + 1 for c in table.labels),
        notices=(*table_notices(table, x, feature_type, spec), *upright.notices),
        transposed=upright.was_transposed,
    )


def read_tables(
    train: Path,
    test: Path,
    *,
    regression: bool,
    label: str = "",
    feature_type: str = AUTO,
    transpose: str = BY_NAME,
    spec: InputSpec | None = None,
) -> Source:
    """Read a training and a test table, matched by the names of their columns where both have a header.

    The options are those of `read_table`; with `spec` each is matched with the columns of the network.
    """
    read = partial(read_rows, regression=regression, label=label, feature_type=feature_type, spec=spec)
    first = read(train)
    notices: list[str] = []
    if spec:
        second = read(test)
    else:
        dialect = detect_dialect(test, label, first.dialect)
        order, notices = match_columns(first.dialect, dialect, first.labels)
        features, labels = [order[c] for c in first.features], [order[c] for c in first.labels]
        second = parse_table(dialect, features, labels, regression=regression, feature_type=feature_type)
    upright_train, upright_test = upright_pictures([first, second], feature_type, transpose, spec)
    y_train, y_test = label_arrays([first, second], regression)
    lines = {"training": (train, first.rows.lines), "test": (test, second.rows.lines)}
    return Source(
        train.parent.name,
        x_train=upright_train.x,
        y_train=y_train,
        x_test=upright_test.x,
        y_test=y_test,
        sha256={train.name: first.dialect.file.sha256, test.name: second.dialect.file.sha256},
        target_names=target_names(first, regression, spec),
        label_names=class_column_names(first.dialect, first.labels, regression),
        feature_names=feature_names(first, spec),
        feature_columns=tuple(c + 1 for c in first.features),
        label_columns=tuple(c + 1 for c in first.labels),
        notices=(
            *table_notices(first, upright_train.x, feature_type, spec),
            *notices,
            *upright_train.notices,
            *upright_test.notices,
        ),
        transposed=upright_train.was_transposed,
        row_location=lambda part, row: f"{lines[part][0]}, line {lines[part][1][row]}",
    )


def read_rows(path: Path, *, regression: bool, label: str, feature_type: str, spec: InputSpec | None) -> Table:
    """Detect the dialect of a table, choose its columns and parse its rows."""
    if spec:
        return read_network_rows(path, spec)[0]
    dialect = detect_dialect(path, label)
    columns = columns_for_training(dialect, label, regression)
    return parse_table(dialect, columns.features, columns.labels, regression=regression, feature_type=feature_type)


def read_network_rows(
    path: Path, spec: InputSpec, *, label_required: bool = True, display_name: str = ""
) -> tuple[Table, Columns]:
    """Read the rows of a table by the columns of a trained network; return them and the columns.

    Where no label is required the table may hold the features alone, and a row may lack its label.
    `display_name` stands for the path in messages.
    """
    allow_single_column = not label_required and spec.n_features == 1 and not spec.label_option
    dialect = detect_dialect(path, spec.label, allow_single_column=allow_single_column, display_name=display_name)
    columns = labelled_columns_for_network(dialect, spec) if label_required else columns_for_network(dialect, spec)
    table = parse_table(
        dialect,
        columns.features,
        columns.labels,
        regression=spec.is_regression,
        feature_type=PIXELS if spec.is_bytes else NUMBERS,
        allow_unlabelled=not label_required,
    )
    return table, columns


def upright_pictures(
    tables: list[Table], feature_type: str, transpose: str, spec: InputSpec | None = None
) -> list[Upright]:
    """Return the features of each table as `feature_arrays` does, pictures upright."""
    if spec:
        transpose = spec.transpose
    elif feature_type == NUMBERS and transpose == BY_NAME:
        transpose = NO
    paths = [table.dialect.file.path for table in tables]
    arrays = feature_arrays(tables, feature_type, spec)
    result = []
    for x, table in zip(arrays, tables, strict=True):
        # By the name alone, only rows of EMNIST's size are taken for its pictures.
        rows = x.reshape(len(x), -1) if transpose == BY_NAME else x
        upright = turn_upright(rows, table.name, transpose, *paths)
        result.append(upright._replace(x=upright.x.reshape(x.shape)))
    return result


def target_names(table: Table, regression: bool, spec: InputSpec | None) -> tuple[str, ...]:
    """Return the names of the numbers to predict; empty for classes."""
    if not regression:
        return ()
    return spec.target_names if spec else tuple(table.dialect.names[c] for c in table.labels)


def feature_names(table: Table, spec: InputSpec | None) -> tuple[str, ...]:
    """Return the names of the feature columns, empty without a header; those of a network that matched by position."""
    if not table.dialect.has_header or (spec and not spec.feature_names):
        return ()
    return tuple(table.dialect.names[c] for c in table.features)


def table_notices(table: Table, x: np.ndarray, feature_type: str, spec: InputSpec | None) -> tuple[str, ...]:
    """Return the notices about a table: what was detected, with the options that override it."""
    dialect, guessed_image = table.dialect, spec is None and feature_type == AUTO and x.ndim == 3
    mark = f", decimal {'comma' if table.rows.decimal_comma else 'point'}" if x.dtype != np.uint8 else ""
    features = pluralize(len(table.features), "feature")
    if guessed_image:
        size = f"{x.shape[1]}x{x.shape[2]}"
        features += f", whole numbers 0..255 taken as pictures of {size} (unless --feature-type numbers)"
    labels = ", ".join(dialect.describe_column(c) for c in table.labels)
    detected = (
        f"{table.name}: {pluralize(len(x), 'row')} of {features}; {dialect.describe()}{mark}; "
        f"the label is {labels} (--label names another)."
    )
    unused = [name for c, name in enumerate(dialect.names) if c not in (*table.features, *table.labels)]
    not_used = (f"{table.name}: not used: {list_columns(unused)}.",) if unused else ()
    return (detected, *not_used)
