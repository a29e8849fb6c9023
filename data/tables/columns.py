"""Choose the columns of a table: which is the label, and which are the features that a network learned from."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lagvis.data.messages import list_names, nearest_name, shorten
from lagvis.data.read_options import ReadOptions
from lagvis.data.tables.encoding import TableEncoding
from lagvis.data.tables.frame import TableFrame
from lagvis.data.tables.label_column import LabelColumn, find_label
from lagvis.data.tables.label_names import is_label_name
from lagvis.errors import DataError
from lagvis.option_text import data_option, option, setting

COLUMN_OPTIONS = ("features", "drop", "category", "number", "log", "id")
MAX_ABSENT_NAMES = 40  # that a message lists
CONFLICTS = (
    ("features", "drop"), ("features", "id"), ("category", "drop"), ("number", "drop"), ("log", "drop"),
    ("category", "id"), ("number", "id"), ("log", "id"), ("drop", "id"), ("category", "number"), ("category", "log"),
)  # fmt: skip


@dataclass(frozen=True)
class Columns:
    """Indices of the feature and label columns of a table, and of the columns that are not used.

    ids           columns that name a row
    by_name       whether the features were matched by their names
    label_reason  why the label was found where the user did not name it, for a notice; empty where the user did
    weights       column of the weights of the rows; None if there is none
    """

    features: list[int]
    labels: list[int]
    ids: tuple[int, ...] = ()
    unused: tuple[int, ...] = ()
    by_name: bool = False
    label_reason: str = ""
    weights: int | None = None


def columns_for_training(
    table: TableFrame, options: ReadOptions, regression: bool, test: TableFrame | None = None
) -> Columns:
    """Return the label columns, those that name a row, and the others as features, as far as the options take them.

    A column that the `test` table alone lacks is the label, unless the user names another.
    """
    ids = find_columns(table, options.id, "id")
    weights = find_weight_column(table, options)
    dropped = find_columns(table, options.drop, "drop")
    features = find_columns(table, options.features, "features")
    reason = ""
    if options.label:
        labels = parse_label_option(table, options.label)
    else:
        excluded, wanted = {*ids, *dropped, weights}, {*features}
        others = [c for c in range(len(table.names)) if c not in excluded]
        # A table of one column more than the features is named in full by --features.
        candidates = [c for c in others if c not in wanted] or others
        absent = columns_absent_in(test, table, candidates, weights) if test else []
        found = LabelColumn(absent[0], f"the only column that {test.short_name} lacks") if test and absent else None
        found = found or find_label(table, candidates, regression, features)
        labels, reason = [found.index], found.reason
    check_conflicts(table, labels, options)
    features = features or list(range(len(table.names)))
    taken = {*labels, *ids, *dropped, weights}
    return Columns([c for c in features if c not in taken], labels, tuple(ids), label_reason=reason, weights=weights)


def find_weight_column(table: TableFrame, options: ReadOptions) -> int | None:
    """Return the index of the column of --weight-column; None without it, DataError unless it is a single one."""
    if not options.weight_column:
        return None
    found = parse_columns(table, options.weight_column, "weight_column")
    if len(found) > 1:
        raise DataError(
            f"{table.name}: {option('weight_column', options.weight_column)} names {len(found)} columns; name one"
        )
    return found[0]


def columns_absent_in(
    test: TableFrame, training: TableFrame, candidates: Sequence[int], weights: int | None = None
) -> list[int]:
    """Return the only column among `candidates` of the training table that the test table lacks by its name.

    The test table need not have the column of the `weights`. An empty list where there is not exactly one such column,
    or a column that the test table has is called a label.
    """
    if not (training.has_header and test.has_header):
        return []
    absent = [c for c, name in enumerate(training.names) if name not in test.indices and c != weights]
    named = any(is_label_name(training.names[c]) for c in {*candidates} - {*absent})
    return absent if len(absent) == 1 and absent[0] in candidates and not named else []


def check_conflicts(table: TableFrame, labels: list[int], options: ReadOptions) -> None:
    """Raise DataError for a column about which two options contradict each other."""
    found = {key: {*find_columns(table, getattr(options, key), key)} for key in COLUMN_OPTIONS}
    if (weights := find_weight_column(table, options)) is not None:
        found["weight_column"] = {weights}
    for key, columns in found.items():
        is_guessed = key == "features" and not options.label  # as in a list of all columns
        is_class = key == "category"  # a label of numbers that are classes nevertheless
        if (overlap := columns & {*labels}) and not (is_guessed or is_class):
            raise DataError(
                f"{table.name}: {table.describe_column(min(overlap))} is the label and in {setting(key)}; leave "
                f"it out of {setting(key)}, or name another label with {option('label')}"
            )
    weight_conflicts = [(key, "weight_column") for key in COLUMN_OPTIONS] if weights is not None else []
    for one, other in (*CONFLICTS, *weight_conflicts):
        if overlap := found[one] & found[other]:
            raise DataError(
                f"{table.name}: {table.describe_column(min(overlap))} is in {setting(one)} and in {setting(other)}; "
                "leave it out of one of them"
            )
    for key in ("category", "number", "log"):
        if found["features"] and (excluded := found[key] - found["features"]):
            raise DataError(
                f"{table.name}: {table.describe_column(min(excluded))} is in {setting(key)} and not in "
                f"{setting('features')}, so that it is not learned from; add it there, or leave it out here"
            )


def find_columns(table: TableFrame, columns: Sequence[str], key: str) -> list[int]:
    """Return the indices of the columns that an option names; DataError for one that the table does not have."""
    return [c for text in columns for c in parse_columns(table, text, key)]


def feature_columns_by_name(table: TableFrame, feature_names: Sequence[str]) -> list[int]:
    """Return the index of the column of each feature; of columns with one name the first comes first.

    DataError names every column that the table lacks.
    """
    absent = [name for name in dict.fromkeys(feature_names) if name not in table.indices]
    if len(absent) > 1:
        raise DataError(
            f"{table.name} lacks {len(absent)} columns that the network needs, "
            f"{list_names([repr(shorten(name)) for name in absent], MAX_ABSENT_NAMES)}; it has the columns "
            f"{list_names(table.names)}: add what is missing"
        )
    for name, expected in Counter(feature_names).items():
        found = len(table.indices.get(name, ()))
        if found != expected:
            raise DataError(
                f"{table.name} has {found or 'no'} column{'s' * (found > 1)} {shorten(name)!r}, the network "
                f"needs {expected}; it has the columns {list_names(table.names)}: "
                f"{'add what is missing' if found < expected else 'rename or remove what is not a feature'}"
            )
    indices = {name: iter(columns) for name, columns in table.indices.items()}
    return [next(indices[name]) for name in feature_names]


def parse_label_option(table: TableFrame, label: str) -> list[int]:
    """Return the indices of the columns that --label gives by name or number, several separated by commas."""
    found = parse_columns(table, label, "label")
    if len(set(found)) < len(found):
        raise DataError(f"{table.name}: {option('label', label)} names one column twice; name each once")
    if len(found) == len(table.names):
        raise DataError(f"{table.name}: {option('label', label)} leaves no column as a feature; name fewer")
    return found


def parse_columns(table: TableFrame, text: str, key: str) -> list[int]:
    """Return the indices of the columns that a text gives: one by name or number, or several separated by commas."""
    single = find_column(table, text)
    parts = [part.strip() for part in text.split(",")]
    found = [single] if single is not None else [find_column(table, part) for part in parts]
    for part, c in zip(parts, found, strict=False):
        if c is None:
            names = table.names
            near = nearest_name(part, names) if table.has_header else ""
            have = f"the columns {list_names(names)}" if table.has_header else f"{len(names)}, no header"
            raise DataError(
                f"{table.name} has no column {part!r} for {setting(key)}: it has {have}; give a name"
                f" or a number from 1 to {len(names)}{f'; did you mean {near}?' if near else ''}"
            )
    return [c for c in found if c is not None]


def find_column(table: TableFrame, label: str) -> int | None:
    """Return the index of a column given by its name, its number from 1, or from the end by -1 or last."""
    width = len(table.names)
    if table.has_header:
        for matches in (table.indices.get(label, ()), table.folded_indices.get(label.casefold(), ())):
            if len(matches) > 1:
                raise DataError(f"{table.name} has {len(matches)} columns {label!r}; give one by its number")
            if matches:
                return matches[0]
    if label.lower() == "last":
        return width - 1
    number = int(label) if re.fullmatch(r"-?[0-9]{1,9}", label) else 0
    if not 1 <= abs(number) <= width:
        return None
    return number - 1 if number > 0 else width + number


def class_column_names(table: TableFrame, labels: list[int], regression: bool) -> tuple[str, ...]:
    """Return the names of the label columns of classes; one-hot columns without a header get their numbers."""
    named = not regression and (table.has_header or len(labels) > 1)
    return tuple(table.names[c] for c in labels) if named else ()


def match_test_columns(training: TableFrame, test: TableFrame, columns: Columns) -> tuple[Columns, list[str]]:
    """Return the columns of a test table that `columns` of the training table are, and notices.

    They are matched by name where both tables have a header, else by position. DataError if the test table lacks a
    column that is learned from, or the label.
    """
    training_name, names = training.short_name, test.names
    if not (training.has_header and test.has_header):
        if len(names) != len(training.names):
            raise DataError(
                f"{test.name} has {len(names)} columns, {training_name} has {len(training.names)}; make them "
                f"equal, or give {training_name} alone to {data_option()}"
            )
        return columns, []
    needed = [training.names[c] for c in (*columns.features, *columns.labels)]
    if absent := [name for name in needed if name not in test.indices]:
        of_label = " (the label)" if any(training.names[c] in absent for c in columns.labels) else ""
        raise DataError(
            f"{test.name} lacks the columns {list_names(absent)}{of_label}, which {training_name} has; add "
            f"them, or give {training_name} alone to {data_option()}"
        )
    if names == training.names:
        return columns, []
    if len(set(needed)) < len(needed):
        raise DataError(f"{training.name} has two columns of one name; give each its own")
    unused = [name for name in names if name not in training.indices]
    notices = [f"{test.short_name}: not used: {list_names(unused)}, which {training_name} lacks."]
    features, labels = (
        [test.indices[training.names[c]][0] for c in part] for part in (columns.features, columns.labels)
    )
    return Columns(features, labels), notices if unused else []


def columns_of_encoding(table: TableFrame, columns: Columns, encoding: TableEncoding) -> Columns:
    """Return the columns of a table to go on learning from: those of an encoding, by name, else by position."""
    names = encoding.column_names
    positions = [column.position for column in encoding.columns]
    width = len(table.names)
    if max(positions) < width and (not table.has_header or tuple(table.names[c] for c in positions) == names):
        features = positions
    elif table.has_header:
        features = feature_columns_by_name(table, names)
    else:
        raise DataError(
            f"{table.name} has {width:,} columns; expected the {max(positions) + 1:,} of the first training"
        )
    if overlap := [table.names[c] for c in columns.labels if c in {*features}]:
        raise DataError(f"{table.name}: the label is {shorten(overlap[0])!r}, which the network takes as a feature")
    if columns.weights in {*features}:
        raise DataError(
            f"{table.name}: {setting('weight_column')} is {shorten(table.names[columns.weights])!r}, which the network "
            f"takes as a feature; name another, or train without {setting('init_from')}"
        )
    return replace(columns, features=features)
