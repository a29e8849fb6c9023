"""Format what became of the columns of a table as aligned lines."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from lagvis.data.messages import pluralize
from lagvis.data.tables.column_facts import IDENTIFIER, LEFT_OUT, WEIGHTS, are_plain_numbers
from lagvis.option_text import setting
from lagvis.report.text import display_name

MAX_LISTED_COLUMNS, MAX_LISTED_LEFT_OUT = 20, 10


def column_lines(facts: Sequence[dict[str, Any]]) -> list[str]:
    """Return the lines of `learned_lines` and `left_out_lines` with their headings, for the log of a run."""
    learned, left_out = learned_lines(facts), left_out_lines(facts)
    lines = [f"  {line}" for line in learned]
    if left_out:
        lines.append(f"Left out ({setting('number')} or {setting('category')} takes a column all the same):")
    return lines + [f"  {line}" for line in left_out]


def learned_lines(facts: Sequence[dict[str, Any]]) -> list[str]:
    """Return a heading and a line for each column of `column_facts` that is learned from; of many, for the first.

    A table of numbers without a missing cell has no such lines.
    """
    learned = [column for column in facts if column["features"]]
    if are_plain_numbers(facts):
        return []
    rows = [("column", "becomes", "missing")]
    rows += [
        (column_text(column), column["becomes"], f"{column['missing']:,}" if column["missing"] else "")
        for column in learned[:MAX_LISTED_COLUMNS]
    ]
    first, second = (max(len(row[i]) for row in rows) for i in (0, 1))
    lines = [f"{name:{first}}  {becomes:{second}}  {missing:>7}".rstrip() for name, becomes, missing in rows]
    if more := learned[MAX_LISTED_COLUMNS:]:
        kinds = Counter(column["kind"] for column in more)
        texts = ", ".join(pluralize(count, kind) for kind, count in kinds.items())
        lines.append(f"and {len(more):,} more: {texts}")
    return lines


def left_out_lines(facts: Sequence[dict[str, Any]]) -> list[str]:
    """Return a line for each column that a rule leaves out, with the reason; of many, for the first."""
    left_out = [column for column in facts if column["kind"] in (LEFT_OUT, IDENTIFIER, WEIGHTS)]
    rows = [(column_text(column), column["becomes"]) for column in left_out[:MAX_LISTED_LEFT_OUT]]
    width = max((len(name) for name, _ in rows), default=0)
    lines = [f"{name:{width}}  {reason}" for name, reason in rows]
    if len(left_out) > MAX_LISTED_LEFT_OUT:
        lines.append(f"and {len(left_out) - MAX_LISTED_LEFT_OUT:,} more")
    return lines


def column_text(column: dict[str, Any]) -> str:
    """Return the number and the name of a column."""
    name = display_name(column["name"])
    return name if name == f"column {column['column']}" else f"{column['column']} {name}"
