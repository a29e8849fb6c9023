"""Choose the columns of a table: which is the label, and which are the features that a network learned from."""

import difflib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from lagvis.data.input_spec import InputSpec
from lagvis.data.messages import shorten
from lagvis.data.tables.dialect import Dialect
from lagvis.errors import DataError

# Names of a label column, in any case. The weak names count where the table has none of the others.
LABEL_NAMES = ("label", "labels", "class", "classes", "target", "targets", "species", "category", "klasse", "etiket")
WEAK_LABEL_NAMES = ("y",)


@dataclass(frozen=True)
class Columns:
    """Indices of the feature and label columns of a table, and of the columns that are not used.

    by_name  whether the features were matched by their names
    """

    features: list[int]
    labels: list[int]
    unused: tuple[int, ...] = ()
    by_name: bool = False


def columns_for_training(dialect: Dialect, label: str, regression: bool) -> Columns:
    """Return the label columns, and all others as features."""
    labels = find_label_columns(dialect, label, regression)
    return Columns([c for c in range(len(dialect.names)) if c not in labels], labels)


def columns_for_network(dialect: Dialect, spec: InputSpec) -> Columns:
    """Return the columns of a table for a trained network, `labels` empty where the table has none.

    Features are matched by name where both have names, else by position.
    """
    by_name = dialect.has_header and bool(spec.feature_names)
    return columns_by_name(dialect, spec) if by_name else columns_by_position(dialect, spec)


def labelled_columns_for_network(dialect: Dialect, spec: InputSpec) -> Columns:
    """Return the columns of a table to evaluate a network on; DataError where it has no label column."""
    columns = columns_for_network(dialect, spec)
    if columns.labels:
        return columns
    label = guess_among_unused(dialect, columns) if columns.by_name and len(spec.target_names) <= 1 else None
    if label is None:
        raise no_label_error(dialect, columns, spec)
    return Columns(columns.features, [label], tuple(c for c in columns.unused if c != label), by_name=True)


def no_label_error(dialect: Dialect, columns: Columns, spec: InputSpec) -> DataError:
    """Return the error for a table that holds the features of a network and no label."""
    name, known = dialect.file.name, list_columns(spec.target_names or spec.label_names)
    if columns.unused:
        unused = list_columns([dialect.names[c] for c in columns.unused])
        what = f" {known}" if known else ""
        return DataError(
            f"{name} has no label column{what}; beside the features it has {unused}: name the label with --label"
        )
    count = max(1, len(spec.target_names))
    label = f"the {count} targets {known}" if count > 1 else f"the label {known}" if known else "the label"
    return DataError(
        f"{name} has {len(dialect.names):,} columns, the features alone; expected {len(dialect.names) + count:,} with "
        f"{label}: add {'them' if count > 1 else 'it'}, or predict rows without labels with predict.py"
    )


def guess_among_unused(dialect: Dialect, columns: Columns) -> int | None:
    """Return the only unused column with the name of a label, or the only unused column; None without such a one."""
    named = [c for c in columns.unused if dialect.names[c].casefold() in LABEL_NAMES]
    for candidates in (named, columns.unused):
        if len(candidates) == 1:
            return candidates[0]
    return None


def columns_by_name(dialect: Dialect, spec: InputSpec) -> Columns:
    """Return the feature columns in the network's order and the label columns, matched by the names of training."""
    names = dialect.names
    features = feature_columns_by_name(dialect, spec.feature_names)
    if spec.label_option:
        labels = parse_label_option(dialect, spec.label_option)
        if overlap := [names[c] for c in labels if c in features]:
            raise DataError(
                f"{dialect.file.name}: --label names {shorten(overlap[0])!r}, which the network takes as a feature"
            )
    else:
        known = spec.target_names or spec.label_names
        labels = [names.index(name) for name in known] if {*known} <= {*names} - {*spec.feature_names} else []
    unused = tuple(c for c in range(len(names)) if c not in features and c not in labels)
    return Columns(features, labels, unused, by_name=True)


def feature_columns_by_name(dialect: Dialect, feature_names: Sequence[str]) -> list[int]:
    """Return the index of the column of each feature; of columns with one name the first comes first."""
    indices: dict[str, list[int]] = {}
    for c, name in enumerate(dialect.names):
        indices.setdefault(name, []).append(c)
    for name, expected in Counter(feature_names).items():
        found = len(indices.get(name, ()))
        if found != expected:
            raise DataError(
                f"{dialect.file.name} has {found or 'no'} column{'s' * (found > 1)} {shorten(name)!r}, the network "
                f"needs {expected}; it has the columns {list_columns(dialect.names)}: "
                f"{'add what is missing' if found < expected else 'rename or remove what is not a feature'}"
            )
    return [indices[name].pop(0) for name in feature_names]


def columns_by_position(dialect: Dialect, spec: InputSpec) -> Columns:
    """Return all columns as features, or all but the label columns, by the number of columns."""
    width, n_features = len(dialect.names), spec.n_features
    label_counts = (
        (len(spec.target_names),) if spec.is_regression else (1, max(1, len(spec.label_names), len(spec.class_names)))
    )
    n_labels = width - n_features
    labels = labels_by_position(dialect, spec, n_labels) if n_labels > 0 and n_labels in label_counts else []
    if width - len(labels) != n_features:
        label = f"{len(spec.target_names)} targets" if len(spec.target_names) > 1 else "label"
        raise DataError(
            f"{dialect.file.name}, line {dialect.first_row_line} has {width:,} columns; expected the {n_features:,} "
            f"numbers that the network takes, or those and the {label}"
        )
    return Columns([c for c in range(width) if c not in labels], labels)


def labels_by_position(dialect: Dialect, spec: InputSpec, n_labels: int) -> list[int]:
    """Return the label columns of a table whose features have no names: those of --label, else those of training.

    In training they may have had names. Else their position counts, but less than a column with the name of a label,
    which is an error where the user named the position in training.
    """
    known = spec.target_names or spec.label_names
    if spec.label_option:
        return find_label_columns(dialect, spec.label_option, spec.is_regression)
    if len(known) == n_labels and known_in_header(dialect, known):
        return find_label_columns(dialect, ",".join(known), spec.is_regression)
    labels = [c - 1 for c in spec.label_columns]
    if len(labels) == n_labels:
        named = named_label_column(dialect) if n_labels == 1 else None
        if named is None or named == labels[0]:
            check_features_numeric(dialect, labels)
            return labels
        if spec.recipe_label:
            raise DataError(
                f"{dialect.file.name}: the label of the run is column {labels[0] + 1}, which is called "
                f"{shorten(dialect.names[labels[0]])!r} here, and {dialect.describe_column(named)} has the name of a "
                f"label; choose with --label {labels[0] + 1} or --label {named + 1}"
            )
    return find_label_columns(dialect, spec.recipe_label, spec.is_regression)


def known_in_header(dialect: Dialect, names: Sequence[str]) -> bool:
    """Tell whether a header has each of the names."""
    return dialect.has_header and {*names} <= {*dialect.names}


def find_label_columns(dialect: Dialect, label: str, regression: bool) -> list[int]:
    """Return the indices of the label columns: those that `label` names, or the one that looks like the label.

    DataError where another column holds text, since features are numbers.
    """
    labels = parse_label_option(dialect, label) if label else [guess_label_column(dialect, regression)]
    check_features_numeric(dialect, labels)
    return labels


def check_features_numeric(dialect: Dialect, labels: Sequence[int]) -> None:
    """Raise DataError if a column beside the label columns holds text."""
    text = [c for c, numeric in enumerate(dialect.numeric) if not numeric and c not in labels]
    if text:
        found = " and ".join(dialect.describe_column(c) for c in labels)
        raise DataError(
            f"{dialect.file.name}: {dialect.describe_column(text[0])} holds text, and features are numbers; remove it "
            f"or code it as numbers ({found} is taken as the label; --label names another)"
        )


def parse_label_option(dialect: Dialect, label: str) -> list[int]:
    """Return the indices of the columns that --label gives by name or number, several separated by commas."""
    name, names = dialect.file.name, dialect.names
    single = find_column(dialect, label)
    parts = [part.strip() for part in label.split(",")]
    columns = [single] if single is not None else [find_column(dialect, part) for part in parts]
    for part, c in zip(parts, columns, strict=False):
        if c is None:
            near = difflib.get_close_matches(part, names, n=1) if dialect.has_header else []
            have = f"the columns {list_columns(names)}" if dialect.has_header else f"{len(names)}, no header"
            raise DataError(
                f"{name} has no column {part!r} for --label: it has {have}; give a name"
                f" or a number from 1 to {len(names)}{f'; did you mean {near[0]}?' if near else ''}"
            )
    found = [c for c in columns if c is not None]
    if len(set(found)) < len(found):
        raise DataError(f"{name}: --label {label} names one column twice; name each once")
    if len(found) == len(names):
        raise DataError(f"{name}: --label {label} leaves no column as a feature; name fewer")
    return found


def find_column(dialect: Dialect, label: str) -> int | None:
    """Return the index of a column given by its name, its number from 1, or from the end by -1 or last."""
    width = len(dialect.names)
    if dialect.has_header:
        folded = [name.casefold() for name in dialect.names]
        for names, name in ((dialect.names, label), (folded, label.casefold())):
            matches = [c for c, other in enumerate(names) if other == name]
            if len(matches) > 1:
                raise DataError(f"{dialect.file.name} has {len(matches)} columns {label!r}; give one by its number")
            if matches:
                return matches[0]
    if label.lower() == "last":
        return width - 1
    number = int(label) if re.fullmatch(r"-?[0-9]{1,9}", label) else 0
    if not 1 <= abs(number) <= width:
        return None
    return number - 1 if number > 0 else width + number


def named_label_column(dialect: Dialect) -> int | None:
    """Return the only column with the name of a label; None if there is none, DataError if there are several."""
    if not dialect.has_header:
        return None
    for label_names in (LABEL_NAMES, WEAK_LABEL_NAMES):
        named = [c for c, name in enumerate(dialect.names) if name.casefold() in label_names]
        if len(named) > 1:
            both = " and ".join(repr(dialect.names[c]) for c in named)
            raise DataError(f"{dialect.file.name}: {both} could each be the label; choose one with --label")
        if named:
            return named[0]
    return None


def guess_label_column(dialect: Dialect, regression: bool) -> int:
    """Return the column with the name of a label, else the only column of text, else the first."""
    if (named := named_label_column(dialect)) is not None:
        return named
    text = [c for c, numeric in enumerate(dialect.numeric) if not numeric]
    return text[0] if len(text) == 1 and not regression else 0


def list_columns(names: Sequence[str]) -> str:
    """Return the first names of columns, for a message."""
    return ", ".join(shorten(name) for name in names[:8]) + (", ..." if len(names) > 8 else "")


def is_text_label(labels: list[int], regression: bool) -> bool:
    """Tell whether labels are kept as text: one column of classes, neither numbers to predict nor one-hot columns."""
    return len(labels) == 1 and not regression


def class_column_names(dialect: Dialect, labels: list[int], regression: bool) -> tuple[str, ...]:
    """Return the names of the label columns of classes; one-hot columns without a header get their numbers."""
    named = not regression and (dialect.has_header or len(labels) > 1)
    return tuple(dialect.names[c] for c in labels) if named else ()


def match_columns(training: Dialect, test: Dialect, labels: list[int]) -> tuple[list[int], list[str]]:
    """Return for each column of the training table the index of its column in the test table, and notices."""
    by_name = training.has_header and test.has_header
    training_name, names = training.file.short_name, test.names
    absent = [name for name in training.names if name not in names] if by_name else []
    if absent:
        of_label = " (the label)" if any(training.names[c] in absent for c in labels) else ""
        raise DataError(
            f"{test.file.name} lacks the columns {list_columns(absent)}{of_label}, which {training_name} has; add "
            f"them, or give {training_name} alone to --data"
        )
    if names == training.names or not by_name:
        if len(names) != len(training.names):
            raise DataError(
                f"{test.file.name} has {len(names)} columns, {training_name} has {len(training.names)}; make them "
                f"equal, or give {training_name} alone to --data"
            )
        return list(range(len(names))), []
    if len(set(training.names)) < len(training.names):
        raise DataError(f"{training.file.name} has two columns of one name; give each its own")
    unused = [name for name in names if name not in training.names]
    notices = [f"{test.file.short_name}: not used: {list_columns(unused)}, which {training_name} lacks."]
    return [names.index(name) for name in training.names], notices if unused else []
