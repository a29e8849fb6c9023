"""Format what became of the columns of a table as aligned lines."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from lagvis.data.messages import shorten
from lagvis.data.tables.column_facts import IDENTIFIER, LEFT_OUT

MAX_LISTED_COLUMNS, MAX_LISTED_LEFT_OUT = 20, 10


def column_lines(facts: Sequence[dict[str, Any]]) -> list[str]:
    """Return a line for each column that is learned from, and one for each that a rule leaves out, of `column_facts`.

    Of many columns the first are listed. A table of numbers without a missing cell has the lines on left out columns.
    """
    learned = [column for column in facts if column["features"]]
    left_out = [column for column in facts if column["kind"] in (LEFT_OUT, IDENTIFIER)]
    lines = []
    if any(column["becomes"] != "number" or column["missing"] for column in learned):
        lines += learned_lines(learned)
    if left_out:
        lines.append("Left out (--number or --category takes a column all the same):")
        rows = [(column_text(column), column["becomes"]) for column in left_out[:MAX_LISTED_LEFT_OUT]]
        width = max(len(name) for name, _ in rows)
        lines += [f"  {name:{width}}  {reason}" for name, reason in rows]
        if len(left_out) > MAX_LISTED_LEFT_OUT:
            lines.append(f"  and {len(left_out) - MAX_LISTED_LEFT_OUT:,} more")
    return lines


def learned_lines(learned: Sequence[dict[str, Any]]) -> list[str]:
    """Return a heading, and a line for each of the first columns that are learned from."""
    rows = [("column", "becomes", "missing")]
    rows += [
        (column_text(column), column["becomes"], f"{column['missing']:,}" if column["missing"] else "")
        for column in learned[:MAX_LISTED_COLUMNS]
    ]
    first, second = (max(len(row[i]) for row in rows) for i in (0, 1))
    lines = [f"  {name:{first}}  {becomes:{second}}  {missing:>7}".rstrip() for name, becomes, missing in rows]
    more = learned[MAX_LISTED_COLUMNS:]
    if more:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in Counter(column["kind"] for column in more).items())
        lines.append(f"  and {len(more):,} more: {kinds}")
    return lines


def column_text(column: dict[str, Any]) -> str:
    """Return the number and the name of a column."""
    name = shorten(column["name"])
    return name if name == f"column {column['column']}" else f"{column['column']} {name}"
