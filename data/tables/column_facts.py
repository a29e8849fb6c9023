"""Tell what became of each column of a table, for people and for programs."""

from collections.abc import Sequence
from typing import Any

from lagvis.data.messages import pluralize
from lagvis.data.tables.encoding import (
    OPTION,
    WEIGHT,
    BooleanEncoding,
    CategoryEncoding,
    ColumnEncoding,
    DateEncoding,
    LeftOut,
    NumberEncoding,
    TableEncoding,
)
from lagvis.data.tables.frame import NUMBER

LEFT_OUT, DROPPED, IDENTIFIER, LOGARITHM, WEIGHTS = "left out", "dropped", "id", "logarithm", "weights"


def column_facts(encoding: TableEncoding) -> list[dict[str, Any]]:
    """Return the facts about each column beside the labels, in the order of the table, ready for JSON.

    column    its number in the table, from 1, and its `name`
    kind      number, logarithm, boolean, category, date, id (copied to predictions), weights (of the rows), dropped (by
              an option) or left out (by a rule)
    becomes   its features in words; why it is left out
    features  number of its features
    missing   missing cells in training; None where it is left out
    levels    number of levels of a category; None for other columns
    """
    learned = [learned_facts(column) for column in encoding.columns]
    left_out = [
        {
            "column": column.position + 1,
            "name": column.name,
            "kind": left_out_kind(column),
            "becomes": column.reason,
            "features": 0,
            "missing": None,
            "levels": None,
        }
        for column in encoding.left_out
    ]
    return sorted([*learned, *left_out], key=lambda facts: facts["column"])


def are_plain_numbers(facts: Sequence[dict[str, Any]]) -> bool:
    """Tell whether every column that is learned from is a number as it is, and no training row lacks one."""
    learned = [column for column in facts if column["features"]]
    return all(column["kind"] == NUMBER and column["features"] == 1 and not column["missing"] for column in learned)


def left_out_kind(column: LeftOut) -> str:
    """Return the kind of a column that is not learned from."""
    if column.is_id:
        return IDENTIFIER
    return {OPTION: DROPPED, WEIGHT: WEIGHTS}.get(column.cause, LEFT_OUT)


def learned_facts(column: ColumnEncoding) -> dict[str, Any]:
    """Return the facts about a column that is learned from."""
    is_log = isinstance(column, NumberEncoding) and column.log_offset is not None
    levels = len(column.levels) + len(column.other) if isinstance(column, CategoryEncoding) else None
    becomes = describe_features(column)
    if column.missing:
        becomes += ", whether it is missing"
    return {
        "column": column.position + 1,
        "name": column.name,
        "kind": LOGARITHM if is_log else column.kind,
        "becomes": becomes,
        "features": len(column.feature_names),
        "missing": column.missing_cells,
        "levels": levels,
    }


def describe_features(column: ColumnEncoding) -> str:
    """Return what a column becomes in words, beside the feature for missing cells."""
    match column:
        case NumberEncoding(log_offset=None):
            return "number"
        case NumberEncoding(log_offset=offset):
            return f"logarithm of the number + {offset:g}" if offset else "logarithm of the number"
        case BooleanEncoding():
            return "true or false"
        case CategoryEncoding():
            rare = f", {pluralize(len(column.other), 'rarer level')} as other" if column.other else ""
            return f"{pluralize(len(column.levels), 'level')}{rare}"
        case DateEncoding():
            cycles = f", {', '.join(column.parts)} as cycles" if column.parts else ""
            return f"seconds ({column.form}){cycles}"
