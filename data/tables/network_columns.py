"""Match the columns of a table with those that a trained network learned from: by their names, else by position."""

from collections.abc import Sequence
from dataclasses import replace

from lagvis.data.input_spec import InputSpec
from lagvis.data.labels import clean_label, strip_dot
from lagvis.data.messages import join_names, list_names, shorten
from lagvis.data.tables.columns import (
    Columns,
    feature_columns_by_name,
    find_column,
    find_columns,
    parse_label_option,
)
from lagvis.data.tables.frame import TableFrame
from lagvis.data.tables.label_arrays import canonical_labels, label_texts
from lagvis.data.tables.label_column import find_label
from lagvis.data.tables.label_names import is_label_name, is_weak_label_name
from lagvis.errors import DataError, LabelNotFoundError
from lagvis.option_text import option, predict_command


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
    may_guess = columns.by_name and len(spec.target_names) <= 1 and not spec.multi_label
    label = guess_among_unused(table, columns, spec.class_names) if may_guess else None
    if label is None:
        raise no_label_error(table, columns, spec)
    known = list_names(spec.target_names or spec.label_names)
    reason = f"a guess: the table has no column {known}" if known else ""
    return replace(columns, labels=[label], unused=tuple(c for c in columns.unused if c != label), label_reason=reason)


def no_label_error(table: TableFrame, columns: Columns, spec: InputSpec) -> DataError:
    """Return the error for a table that holds the features of a network and no label."""
    name, known = table.name, list_names(spec.target_names or spec.label_names)
    if columns.unused:
        unused = list_names([table.names[c] for c in columns.unused])
        what = f" {known}" if known else ""
        return DataError(
            f"{name} has no label column{what}; beside the features it has {unused}: name the label with "
            f"{option('label')}, or predict rows without labels with {predict_command()}"
        )
    count = max(1, len(spec.class_names) if spec.multi_label else len(spec.target_names))
    kind = "labels" if spec.multi_label else "targets"
    label = f"the {count} {kind} {known}" if count > 1 else f"the label {known}" if known else "the label"
    return DataError(
        f"{name} has {len(table.names):,} columns, the features alone; expected {len(table.names) + count:,} with "
        f"{label}: add {'them' if count > 1 else 'it'}, or predict rows without labels with "
        f"{predict_command()}"
    )


def guess_among_unused(table: TableFrame, columns: Columns, class_names: Sequence[str]) -> int | None:
    """Return the only unused column with the name of a label, else the only unused column; None without either.

    A column that has not the name of a label counts only if some cell of it is a known class.
    """
    named = [c for c in columns.unused if is_label_name(table.names[c])]
    if len(named) == 1:
        return named[0]
    if len(columns.unused) == 1 and (not class_names or holds_a_class(table, columns.unused[0], class_names)):
        return columns.unused[0]
    return None


def holds_a_class(table: TableFrame, c: int, class_names: Sequence[str]) -> bool:
    """Tell whether some cell of a column is a known class, with or without a dot at its end."""
    found = canonical_labels(label_texts(table.column(c).drop_nulls().unique()))
    return not {strip_dot(clean_label(str(text))) for text in found}.isdisjoint(map(strip_dot, class_names))


def columns_by_name(table: TableFrame, spec: InputSpec) -> Columns:
    """Return the feature columns in the network's order and the label columns, matched by the names of training."""
    names = table.names
    features = feature_columns_by_name(table, spec.column_names)
    if spec.label_option:
        labels = parse_label_option(table, spec.label_option)
        if overlap := [names[c] for c in labels if c in features]:
            raise DataError(
                f"{table.name}: {option('label')} names {shorten(overlap[0])!r}, which the network takes as a feature"
            )
    else:
        known = spec.target_names or spec.label_names
        has_labels = {*known} <= {*names} - {*spec.column_names}
        labels = [table.indices[name][0] for name in known] if has_labels else []
    learned_ids = [table.indices[column.name][0] for column in spec.id_columns if column.name in table.indices]
    ids = id_columns_for_network(table, spec, learned_ids)
    weights = [table.indices[column.name][0] for column in spec.weight_columns if column.name in table.indices]
    unused = tuple(sorted({*range(len(names))} - {*features, *labels, *ids, *weights}))
    return Columns(features, labels, ids, unused, by_name=True)


def id_columns_for_network(table: TableFrame, spec: InputSpec, learned: Sequence[int]) -> tuple[int, ...]:
    """Return the columns that name a row: those of --id, else the `learned` ones if all of training are there."""
    if spec.id:
        ids = tuple(dict.fromkeys(find_columns(table, spec.id, "id")))
        if len({table.names[c] for c in ids}) < len(ids):
            raise DataError(
                f"{table.name}: {option('id')} names two columns of one name, {table.names[ids[0]]!r}; rename one"
            )
        return ids
    return tuple(learned) if len(learned) == len(spec.id_columns) else ()


def columns_by_position(table: TableFrame, spec: InputSpec) -> Columns:
    """Return the feature columns by their number, and the label columns where the table has as many more.

    The table may have all columns of the training table, all but the weights, or those alone that are learned from.
    """
    width = len(table.names)
    positions = list(spec.encoding.positions) if spec.encoding else list(range(spec.n_features))
    learned = [column.position for column in spec.encoding.columns] if spec.encoding else positions
    label_counts: tuple[int, ...] = (1, max(1, len(spec.label_names), len(spec.class_names)))
    if spec.is_regression or spec.multi_label:
        label_counts = (len(spec.target_names or spec.class_names),)
    weights = {column.position for column in spec.weight_columns}
    unweighted = tuple(position for position in positions if position not in weights)
    for known in dict.fromkeys((tuple(positions), unweighted, tuple(sorted(learned)))):
        n_labels = width - len(known)
        labels = labels_by_position(table, spec, n_labels) if n_labels > 0 and n_labels in label_counts else []
        if width - len(labels) == len(known):
            others = sorted({*range(width)} - {*labels})
            by_position = dict(zip(known, others, strict=True))
            features = [by_position[position] for position in learned]
            learned_ids = [by_position[c.position] for c in spec.id_columns if c.position in by_position]
            ids = id_columns_for_network(table, spec, learned_ids)
            found_weights = {by_position[position] for position in weights if position in by_position}
            unused = tuple(sorted({*others} - {*features, *ids} - found_weights))
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
                f"label; choose with {option('label', str(labels[0] + 1))} or "
                f"{option('label', str(named + 1))}"
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
        f"name the label with {option('label', '1')} or {option('label', 'last')}"
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


def named_label_column(table: TableFrame) -> int | None:
    """Return the only column with the name of a label; None if there is none, DataError if there are several."""
    if not table.has_header:
        return None
    for is_name in (is_label_name, is_weak_label_name):
        named = [c for c, name in enumerate(table.names) if is_name(name)]
        if len(named) > 1:
            both = " and ".join(repr(table.names[c]) for c in named)
            raise DataError(f"{table.name}: {both} could each be the label; choose one with {option('label')}")
        if named:
            return named[0]
    return None
