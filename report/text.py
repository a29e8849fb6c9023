"""Format numbers, names and tables as plain text."""

import math
import string
from collections.abc import Mapping, Sequence
from typing import Any
from unicodedata import east_asian_width

from lagvis.data.messages import decimals, percent
from lagvis.training.evaluation import Metrics

MAX_MATRIX_CLASSES = 20  # of a confusion matrix; of more classes a list is printed
MAX_MATRIX_WIDTH = 100  # characters, outside of a terminal; of a wider matrix letters stand over the columns
MAX_NAME_LENGTH = 30  # characters of a class name in a table
MAX_WORST_CLASSES = 10
MAX_LINE_TARGETS = 3  # of a line that lists the errors of the targets


def finite_or_none(value: Any) -> Any:
    """Return the value, or None for NaN and infinity, which JSON cannot hold."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def duration(seconds: float) -> str:
    """Return seconds as text: 2.34 -> 2.3 s; 75 -> 1 min 15 s."""
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds // 60)} min {int(seconds % 60)} s"


def metrics_text(metrics: Metrics) -> str:
    """Return the loss and, for classification, the accuracy: loss 0.1235, 97.86%."""
    return f"loss {decimals(metrics.loss)}" + ("" if metrics.accuracy is None else f", {percent(metrics.accuracy)}")


def errors_text(errors: Mapping[str, float | None], unit: str) -> str:
    """Return errors by target for the end of a line: ", near 0.31 m, far 4.2 m"; of many targets the first ones."""
    unit = f" {escape_control(unit)}" if unit else ""
    named = [(name, error) for name, error in errors.items() if error is not None]
    texts = [f", {display_name(name)} {error:.4g}{unit}" for name, error in named[:MAX_LINE_TARGETS]]
    return "".join(texts) + (", ..." if len(named) > MAX_LINE_TARGETS else "")


def align_columns(rows: Sequence[tuple[str, ...]], *, left: int = 1) -> str:
    """Return rows of cells as an aligned table: the first `left` columns flush left, the others flush right."""
    widths = [max(map(display_width, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        blanks = [" " * (width - display_width(cell)) for cell, width in zip(row, widths, strict=True)]
        cells = zip(row, blanks, strict=True)
        lines.append("  ".join(cell + blank if i < left else blank + cell for i, (cell, blank) in enumerate(cells)))
    return "\n".join(line.rstrip() for line in lines)


def display_width(text: str) -> int:
    """Return the columns of a terminal that text takes: a wide character of East Asia takes two."""
    return len(text) + sum(east_asian_width(character) in "WF" for character in text)


def escape_control(text: str) -> str:
    """Return text on one line, each character that is not printable as an escape, so that none acts on a terminal."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def display_name(name: str) -> str:
    """Return a class name for a table: printable, and cut to MAX_NAME_LENGTH characters."""
    name = escape_control(name)
    return name if len(name) <= MAX_NAME_LENGTH else name[: MAX_NAME_LENGTH - 3] + "..."


def confusion_text(counts: list[list[int]], names: Sequence[str], width: int | None = None) -> str:
    """Return confusion counts (true class by row, predicted class by column) as text for a terminal of `width`.

    Up to MAX_MATRIX_CLASSES classes are a matrix if it fits; of more, the classes of lowest recall are listed.
    """
    names = [display_name(name) for name in names]
    if len(names) > MAX_MATRIX_CLASSES:
        return worst_classes_text(counts, names)
    letters = string.ascii_lowercase[: len(names)]
    lettered = [f"{letter} = {name}" for letter, name in zip(letters, names, strict=True)]
    corners = ("true \\ predicted", "true")
    forms = [(corner, first, heads) for first, heads in ((names, names), (lettered, letters)) for corner in corners]
    for corner, first, heads in forms:
        matrix = matrix_text(counts, first, heads, corner)
        if len(matrix.partition("\n")[0]) <= (width or MAX_MATRIX_WIDTH):
            return matrix
    return worst_classes_text(counts, names) if width else matrix


def matrix_text(counts: list[list[int]], names: Sequence[str], heads: Sequence[str], corner: str) -> str:
    """Return the confusion matrix with the number of rows and the recall of each class."""
    rows = [(corner, *heads, "rows", "recall")]
    for k, (name, row) in enumerate(zip(names, counts, strict=True)):
        rows.append((name, *map(str, row), str(sum(row)), percent(row[k] / sum(row)) if sum(row) else "-"))
    return align_columns(rows)


def worst_classes_text(counts: list[list[int]], names: Sequence[str]) -> str:
    """Return the classes of lowest recall, each with the class that it is mistaken for most often."""
    recalls = [(row[k] / sum(row), k) for k, row in enumerate(counts) if sum(row)]
    rows = [("true", "mistaken for", "rows", "recall")]
    for recall, k in sorted(recalls)[:MAX_WORST_CLASSES]:
        wrong = [0 if predicted == k else count for predicted, count in enumerate(counts[k])]
        mistaken = f"{names[wrong.index(max(wrong))]} ({max(wrong):,})" if any(wrong) else "-"
        rows.append((names[k], mistaken, f"{sum(counts[k]):,}", percent(recall)))
    if len(rows) - 1 == len(names):
        text = "The classes, and what each is most often mistaken for (--json has all confusion counts):"
    else:
        text = (
            f"Of {len(names)} classes, the {len(rows) - 1} of lowest recall (--json has all, and the confusion counts):"
        )
    return f"{text}\n\n{align_columns(rows, left=2)}"
