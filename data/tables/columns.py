"""Choose the columns of a table: which is the label, and which are the features that a network learned from."""

import difflib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lagvis.data.input_spec import InputSpec
from lagvis.data.messages import escape_controls, join_names, shorten
from lagvis.data.read_options import ReadOptions
from lagvis.data.tables.encoding import TableEncoding
from lagvis.data.tables.frame import TableFrame
from lagvis.data.tables.label_arrays import canonical_labels, label_texts
from lagvis.data.tables.label_column import LabelColumn, find_label
from lagvis.data.tables.label_names import is_label_name, is_weak_label_name
from lagvis.errors import DataError, LabelNotFoundError

COLUMN_OPTIONS = ("features", "drop", "category", "number", "log", "id")
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
    """

    features: list[int]
    labels: list[int]
    ids: tuple[int, ...] = ()
    unused: tuple[int, ...] = ()
    by_name: bool = False
    label_reason: str = ""


def columns_for_training(
    table: TableFrame, options: ReadOptions, regression: bool, test: TableFrame | None = None
) -> Columns:
    """Return the label columns, those that name a row, and the others as features, as far as the options take them.

    A column that the `test` table alone lacks is the label, unless the user names another.
    """
    ids = find_columns(table, options.id, "--id")
    dropped = find_columns(table, options.drop, "--drop")
    features = find_columns(table, options.features, "--features")
    reason = ""
    if options.label:
        labels = parse_label_option(table, options.label)
    else:
        width = len(table.names)
        others = [c for c in range(width) if c not in (*ids, *dropped)]
        # A table of one column more than the features is named in full by --features.
        candidates = [c for c in others if c not in features] or others
        absent = columns_absent_in(test, table, candidates) if test else []
        found = LabelColumn(absent[0], f"the only column that {test.short_name} lacks") if test and absent else None
        found = found or find_label(table, candidates, regression)
        labels, reason = [found.index], found.reason
    check_conflicts(table, labels, options)
    features = features or list(range(len(table.names)))
    taken = {*labels, *ids, *dropped}
    return Columns([c for c in features if c not in taken], labels, tuple(ids), label_reason=reason)


def columns_absent_in(test: TableFrame, training: TableFrame, candidates: Sequence[int]) -> list[int]:
    """Return the only column among `candidates` of the training table that the test table lacks by its name.

    An empty list where there is not exactly one such column, or a column that the test table has is called a label.
    """
    if not (training.has_header and test.has_header):
        return []
    absent = [c for c in range(len(training.names)) if training.names[c] not in test.names]
    named = any(is_label_name(training.names[c]) for c in candidates if c not in absent)
    return absent if len(absent) == 1 and absent[0] in candidates and not named else []


def check_conflicts(table: TableFrame, labels: list[int], options: ReadOptions) -> None:
    """Raise DataError for a column about which two options say what cannot both be."""
    found = {key: {*find_columns(table, getattr(options, key), f"--{key}")} for key in COLUMN_OPTIONS}
    for key, columns in found.items():
        is_guessed = key == "features" and not options.label  # as in a list of all columns
        is_class = key == "category"  # a label of numbers that are classes nevertheless
        if (overlap := columns & {*labels}) and not (is_guessed or is_class):
            raise DataError(
                f"{table.name}: {table.describe_column(min(overlap))} is the label and in --{key}; leave it out of "
                f"--{key}, or name another label with --label"
            )
    for one, other in CONFLICTS:
        if overlap := found[one] & found[other]:
            raise DataError(
                f"{table.name}: {table.describe_column(min(overlap))} is in --{one} and in --{other}; leave it out of "
                "one of them"
            )
    for key in ("category", "number", "log"):
        if found["features"] and (excluded := found[key] - found["features"]):
            raise DataError(
                f"{table.name}: {table.describe_column(min(excluded))} is in --{key} and not in --features, so that it "
                "is not learned from; add it there, or leave it out here"
            )


def find_columns(table: TableFrame, columns: Sequence[str], flag: str) -> list[int]:
    """Return the indices of the columns that an option names; DataError for one that the table does not have."""
    return [c for text in columns for c in parse_columns(table, text, flag)]


def columns_for_network(table: TableFrame, spec: InputSpec) -> Columns:
    """Return the columns of a table for a trained network, `labels` empty where the table has none.

    Features are matched by name where both have names, else by position.
    """
    by_name = table.has_header and bool(spec.column_names)
    return columns_by_name(table, spec) if by_name else columns_by_position(table, spec)


def labelled_columns_for_network(table: TableFrame, spec: InputSpec) -> Columns:
    """Return the columns of a table to evaluate a network on; DataError where it has no label column."""
    columns = columns_for_network(table, spec)
    if columns.labels:
        return columns
    label = guess_among_unused(table, columns) if columns.by_name and len(spec.target_names) <= 1 else None
    if label is None:
        raise no_label_error(table, columns, spec)
    return replace(columns, labels=[label], unused=tuple(c for c in columns.unused if c != label))


def no_label_error(table: TableFrame, columns: Columns, spec: InputSpec) -> DataError:
    """Return the error for a table that holds the features of a network and no label."""
    name, known = table.name, list_columns(spec.target_names or spec.label_names)
    if columns.unused:
        unused = list_columns([table.names[c] for c in columns.unused])
        what = f" {known}" if known else ""
        return DataError(
            f"{name} has no label column{what}; beside the features it has {unused}: name the label with --label"
        )
    count = max(1, len(spec.target_names))
    label = f"the {count} targets {known}" if count > 1 else f"the label {known}" if known else "the label"
    return DataError(
        f"{name} has {len(table.names):,} columns, the features alone; expected {len(table.names) + count:,} with "
        f"{label}: add {'them' if count > 1 else 'it'}, or predict rows without labels with predict.py"
    )


def guess_among_unused(table: TableFrame, columns: Columns) -> int | None:
    """Return the only unused column with the name of a label, or the only unused column; None without such a one."""
    named = [c for c in columns.unused if is_label_name(table.names[c])]
    for candidates in (named, columns.unused):
        if len(candidates) == 1:
            return candidates[0]
    return None


def columns_by_name(table: TableFrame, spec: InputSpec) -> Columns:
    """Return the feature columns in the network's order and the label columns, matched by the names of training."""
    names = table.names
    features = feature_columns_by_name(table, spec.column_names)
    if spec.label_option:
        labels = parse_label_option(table, spec.label_option)
        if overlap := [names[c] for c in labels if c in features]:
            raise DataError(
                f"{table.name}: --label names {shorten(overlap[0])!r}, which the network takes as a feature"
            )
    else:
        known = spec.target_names or spec.label_names
        labels = [names.index(name) for name in known] if {*known} <= {*names} - {*spec.column_names} else []
    learned_ids = [names.index(column.name) for column in spec.id_columns if column.name in names]
    ids = id_columns_for_network(table, spec, learned_ids)
    unused = tuple(c for c in range(len(names)) if c not in (*features, *labels, *ids))
    return Columns(features, labels, ids, unused, by_name=True)


def id_columns_for_network(table: TableFrame, spec: InputSpec, learned: Sequence[int]) -> tuple[int, ...]:
    """Return the columns that name a row: those of --id, else the `learned` ones if all of training are there."""
    if spec.id:
        ids = tuple(dict.fromkeys(find_columns(table, spec.id, "--id")))
        if len({table.names[c] for c in ids}) < len(ids):
            raise DataError(f"{table.name}: --id names two columns of one name, {table.names[ids[0]]!r}; rename one")
        return ids
    return tuple(learned) if len(learned) == len(spec.id_columns) else ()


def feature_columns_by_name(table: TableFrame, feature_names: Sequence[str]) -> list[int]:
    """Return the index of the column of each feature; of columns with one name the first comes first."""
    indices: dict[str, list[int]] = {}
    for c, name in enumerate(table.names):
        indices.setdefault(name, []).append(c)
    for name, expected in Counter(feature_names).items():
        found = len(indices.get(name, ()))
        if found != expected:
            raise DataError(
                f"{table.name} has {found or 'no'} column{'s' * (found > 1)} {shorten(name)!r}, the network "
                f"needs {expected}; it has the columns {list_columns(table.names)}: "
                f"{'add what is missing' if found < expected else 'rename or remove what is not a feature'}"
            )
    return [indices[name].pop(0) for name in feature_names]


def columns_by_position(table: TableFrame, spec: InputSpec) -> Columns:
    """Return the feature columns by their number, and the label columns where the table has as many more.

    The table may have all columns of the training table, or those alone that are learned from.
    """
    width = len(table.names)
    positions = list(spec.encoding.positions) if spec.encoding else list(range(spec.n_features))
    learned = [column.position for column in spec.encoding.columns] if spec.encoding else positions
    label_counts = (
        (len(spec.target_names),) if spec.is_regression else (1, max(1, len(spec.label_names), len(spec.class_names)))
    )
    for known in dict.fromkeys((tuple(positions), tuple(sorted(learned)))):
        n_labels = width - len(known)
        labels = labels_by_position(table, spec, n_labels) if n_labels > 0 and n_labels in label_counts else []
        if width - len(labels) == len(known):
            others = [c for c in range(width) if c not in labels]
            features = [others[known.index(position)] for position in learned]
            learned_ids = [others[known.index(c.position)] for c in spec.id_columns if c.position in known]
            ids = id_columns_for_network(table, spec, learned_ids)
            unused = tuple(c for c in others if c not in (*features, *ids))
            return Columns(features, labels, ids, unused)
    label = f"{len(spec.target_names)} targets" if len(spec.target_names) > 1 else "label"
    raise DataError(
        f"{table.name} has {width:,} columns; expected the {len(positions):,} that the network was trained on, or "
        f"those and the {label}"
    )


def labels_by_position(table: TableFrame, spec: InputSpec, n_labels: int) -> list[int]:
    """Return the label columns of a table whose features have no names: those of --label, else those of training.

    In training they may have had names. Else their position counts, but less than a column with the name of a label,
    which is an error where the user named the position in training.
    """
    known = spec.target_names or spec.label_names
    if spec.label_option:
        return find_label_columns(table, spec.label_option, spec.is_regression)
    if len(known) == n_labels and known_in_header(table, known):
        return find_label_columns(table, ",".join(known), spec.is_regression)
    labels = [c - 1 for c in spec.label_columns]
    if len(labels) == n_labels:
        named = named_label_column(table) if n_labels == 1 else None
        if named is None or named == labels[0]:
            return labels
        if spec.recipe_label:
            raise DataError(
                f"{table.name}: the label of the run is column {labels[0] + 1}, which is called "
                f"{shorten(table.names[labels[0]])!r} here, and {table.describe_column(named)} has the name of a "
                f"label; choose with --label {labels[0] + 1} or --label {named + 1}"
            )
    if spec.recipe_label and not table.has_header:
        parts = [spec.recipe_label, *spec.recipe_label.split(",")]
        if all(find_column(table, part.strip()) is None for part in parts):  # a name of the training table
            return []
    if spec.recipe_label or spec.is_regression or named_label_column(table) is not None:
        return find_label_columns(table, spec.recipe_label, spec.is_regression)
    return [label_of_known_classes(table, spec.class_names)] if n_labels == 1 else []


def label_of_known_classes(table: TableFrame, class_names: Sequence[str]) -> int:
    """Return the label column of a table for a network that has not learned from one: the first, or the last.

    It is the one whose cells are classes of the network; of two, one that holds several. DataError names both where
    neither or both may be it.
    """
    first, last = 0, len(table.names) - 1
    known = [c for c in (first, last) if holds_classes(table, c, class_names)]
    several = [c for c in known if table.column(c).drop_nulls().n_unique() > 1]
    for found in (known, several):
        if len(found) == 1:
            return found[0]
    if len(known) == 2 and not several:
        return first
    raise LabelNotFoundError(
        f"{table.name}: {table.describe_column(first)} and {table.describe_column(last)} "
        f"{'both hold' if known else 'hold other values than'} classes of the network ({join_names(class_names)}); "
        "name the label with --label 1 or --label last"
    )


def holds_classes(table: TableFrame, c: int, class_names: Sequence[str]) -> bool:
    """Tell whether every cell of a column is a class of a network, or missing."""
    return {*canonical_labels(label_texts(table.column(c).drop_nulls().unique()))} <= {*class_names}


def known_in_header(table: TableFrame, names: Sequence[str]) -> bool:
    """Tell whether a header has each of the names."""
    return table.has_header and {*names} <= {*table.names}


def find_label_columns(table: TableFrame, label: str, regression: bool) -> list[int]:
    """Return the indices of the label columns: those that `label` names, or the one that is found."""
    return parse_label_option(table, label) if label else [find_label(table, range(len(table.names)), regression).index]


def parse_label_option(table: TableFrame, label: str) -> list[int]:
    """Return the indices of the columns that --label gives by name or number, several separated by commas."""
    found = parse_columns(table, label, "--label")
    if len(set(found)) < len(found):
        raise DataError(f"{table.name}: --label {label} names one column twice; name each once")
    if len(found) == len(table.names):
        raise DataError(f"{table.name}: --label {label} leaves no column as a feature; name fewer")
    return found


def parse_columns(table: TableFrame, text: str, flag: str) -> list[int]:
    """Return the indices of the columns that a text gives: one by name or number, or several separated by commas."""
    single = find_column(table, text)
    parts = [part.strip() for part in text.split(",")]
    found = [single] if single is not None else [find_column(table, part) for part in parts]
    for part, c in zip(parts, found, strict=False):
        if c is None:
            names = table.names
            near = difflib.get_close_matches(part, names, n=1) if table.has_header else []
            have = f"the columns {list_columns(names)}" if table.has_header else f"{len(names)}, no header"
            raise DataError(
                f"{table.name} has no column {part!r} for {flag}: it has {have}; give a name"
                f" or a number from 1 to {len(names)}{f'; did you mean {near[0]}?' if near else ''}"
            )
    return [c for c in found if c is not None]


def find_column(table: TableFrame, label: str) -> int | None:
    """Return the index of a column given by its name, its number from 1, or from the end by -1 or last."""
    width = len(table.names)
    if table.has_header:
        folded = [name.casefold() for name in table.names]
        for names, name in ((table.names, label), (folded, label.casefold())):
            matches = [c for c, other in enumerate(names) if other == name]
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


def named_label_column(table: TableFrame) -> int | None:
    """Return the only column with the name of a label; None if there is none, DataError if there are several."""
    if not table.has_header:
        return None
    for is_name in (is_label_name, is_weak_label_name):
        named = [c for c, name in enumerate(table.names) if is_name(name)]
        if len(named) > 1:
            both = " and ".join(repr(table.names[c]) for c in named)
            raise DataError(f"{table.name}: {both} could each be the label; choose one with --label")
        if named:
            return named[0]
    return None


def list_columns(names: Sequence[str]) -> str:
    """Return the first names of columns, for a message."""
    return ", ".join(escape_controls(shorten(name)) for name in names[:8]) + (", ..." if len(names) > 8 else "")


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
                f"equal, or give {training_name} alone to --data"
            )
        return columns, []
    needed = [training.names[c] for c in (*columns.features, *columns.labels)]
    if absent := [name for name in needed if name not in names]:
        of_label = " (the label)" if any(training.names[c] in absent for c in columns.labels) else ""
        raise DataError(
            f"{test.name} lacks the columns {list_columns(absent)}{of_label}, which {training_name} has; add "
            f"them, or give {training_name} alone to --data"
        )
    if names == training.names:
        return columns, []
    if len(set(needed)) < len(needed):
        raise DataError(f"{training.name} has two columns of one name; give each its own")
    unused = [name for name in names if name not in training.names]
    notices = [f"{test.short_name}: not used: {list_columns(unused)}, which {training_name} lacks."]
    features, labels = ([names.index(training.names[c]) for c in part] for part in (columns.features, columns.labels))
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
    if overlap := [table.names[c] for c in columns.labels if c in features]:
        raise DataError(f"{table.name}: the label is {shorten(overlap[0])!r}, which the network takes as a feature")
    return replace(columns, features=features)
