"""Numbers as a person reads them, in plain ASCII."""

import math
from collections.abc import Sequence
from typing import Any

from training.events import Scores


def finite(value: Any) -> Any:
    """The value itself, but None for a NaN or an infinity, which JSON cannot hold."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def percent(fraction: float) -> str:
    """0.9786 -> 97.86%."""
    return f"{100 * fraction:.2f}%"


def duration(seconds: float) -> str:
    """2.34 -> 2.3 s; 75 -> 1 min 15 s."""
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds // 60)} min {int(seconds % 60)} s"


def counted(number: int, thing: str) -> str:
    """1, epoch -> 1 epoch; 5500, step -> 5,500 steps."""
    return f"{number:,} {thing}" + ("" if number == 1 else "s")


def scores_text(scores: Scores) -> str:
    """Loss and, for classes, accuracy."""
    return f"loss {scores.loss:.4f}" + ("" if scores.accuracy is None else f", {percent(scores.accuracy)}")


def columns(rows: Sequence[tuple[str, ...]], *, left: int = 1) -> str:
    """Rows as aligned text: the first `left` columns to the left, numbers to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def confusion_text(counts: list[list[int]], names: tuple[str, ...]) -> str:
    """A confusion matrix: the true class by row, what the network said by column, and each class's recall."""
    rows = [("true \\ said", *names, "recall")]
    for name, row, k in zip(names, counts, range(len(names)), strict=True):
        total = sum(row)
        rows.append((name, *map(str, row), percent(row[k] / total) if total else "-"))
    return columns(rows)
