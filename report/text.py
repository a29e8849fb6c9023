"""Numbers as a person reads them, in plain ASCII."""

import math
import string
from collections.abc import Sequence
from typing import Any

from lagvis.training.evaluation import Metrics

# Of a confusion matrix: classes, characters a line, characters of a class's name.
MOST_IN_A_MATRIX = 20
WIDEST_MATRIX = 100
WIDEST_NAME = 30
WORST_SHOWN = 10


def finite_or_none(value: Any) -> Any:
    """The value itself, but None for a NaN or an infinity, which JSON cannot hold."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def percent(fraction: float) -> str:
    """0.9786 -> 97.86%."""
    return f"{100 * fraction:.2f}%"


def duration(seconds: float) -> str:
    """2.34 -> 2.3 s; 75 -> 1 min 15 s."""
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds // 60)} min {int(seconds % 60)} s"


def pluralize(number: int, thing: str) -> str:
    """1, epoch -> 1 epoch; 5500, step -> 5,500 steps."""
    return f"{number:,} {thing}" + ("" if number == 1 else "s")


def metrics_text(scores: Metrics) -> str:
    """Loss and, for classes, accuracy."""
    return f"loss {scores.loss:.4f}" + ("" if scores.accuracy is None else f", {percent(scores.accuracy)}")


def align_columns(rows: Sequence[tuple[str, ...]], *, left: int = 1) -> str:
    """Rows as aligned text: the first `left` columns to the left, numbers to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def escape_control(text: str) -> str:
    """Text in one line, with an escape for each character that is not to be seen: none steers a terminal."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def display_name(name: str) -> str:
    """A class's name for a table: visible, and cut where it is long."""
    name = escape_control(name)
    return name if len(name) <= WIDEST_NAME else name[: WIDEST_NAME - 3] + "..."


def confusion_text(counts: list[list[int]], names: Sequence[str]) -> str:
    """Confusion counts, true class by row: a matrix, or of too many classes for one those that are found worst."""
    names = [display_name(name) for name in names]
    if len(names) > MOST_IN_A_MATRIX:
        return worst_classes_text(counts, names)
    matrix = matrix_text(counts, names, names)
    if len(matrix.partition("\n")[0]) <= WIDEST_MATRIX:
        return matrix
    letters = string.ascii_lowercase[: len(names)]
    return matrix_text(counts, [f"{letter} = {name}" for letter, name in zip(letters, names, strict=True)], letters)


def matrix_text(counts: list[list[int]], names: Sequence[str], heads: Sequence[str]) -> str:
    """What the network said by column, and each class's rows and recall."""
    rows = [("true \\ said", *heads, "rows", "recall")]
    for k, (name, row) in enumerate(zip(names, counts, strict=True)):
        rows.append((name, *map(str, row), str(sum(row)), percent(row[k] / sum(row)) if sum(row) else "-"))
    return align_columns(rows)


def worst_classes_text(counts: list[list[int]], names: Sequence[str]) -> str:
    """The classes of lowest recall, each with the class that it is mistaken for most often."""
    found = [(row[k] / sum(row), k) for k, row in enumerate(counts) if sum(row)]
    rows = [("true", "most often mistaken for", "rows", "recall")]
    for recall, k in sorted(found)[:WORST_SHOWN]:
        wrong = [0 if said == k else count for said, count in enumerate(counts[k])]
        mistaken = f"{names[wrong.index(max(wrong))]} ({max(wrong):,})" if any(wrong) else "-"
        rows.append((names[k], mistaken, f"{sum(counts[k]):,}", percent(recall)))
    text = f"Of {len(names)} classes, the {len(rows) - 1} of lowest recall (--json has all, and the confusion counts):"
    return f"{text}\n\n{align_columns(rows, left=2)}"
