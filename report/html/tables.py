"""The tables of a report: the result, the classes, the gravest mistakes."""

import numpy as np

from lagvis.inference.diagnostics import Importance, Mistake
from lagvis.report.html.document import Table
from lagvis.report.summary import Summary
from lagvis.report.text import percent
from lagvis.training.model import Model

MOST_CLASSES = 100  # of the table; of more, those of the lowest recall
MOST_FEATURES = 10  # of a row of numbers in words


def results_table(summary: Summary) -> Table:
    """Loss and accuracy of each part, and the line to beat."""
    rows: list[tuple[str, ...]] = []
    for part in ("train", "validation", "test"):
        loss, accuracy = summary[f"{part}_loss"], summary[f"{part}_accuracy"]
        if loss is not None:
            rows.append(("training" if part == "train" else part, f"{loss:.4f}", share(accuracy)))
    if summary.get("commonest_share") is not None:
        rows.append(("always the commonest class", "", share(summary["commonest_share"])))
        rows.append(("mean recall of the classes", "", share(summary["balanced_accuracy"])))
    if summary.get("baseline_loss") is not None:
        rows.append(("always the mean", f"{summary['baseline_loss']:.4f}", ""))
    return Table("Result", ("part", "loss", "accuracy"), rows)


def share(value: float | None) -> str:
    """A fraction in percent, or nothing."""
    return "" if value is None else percent(value)


def classes_table(counts: np.ndarray, names: tuple[str, ...]) -> Table:
    """Of each class its number, rows, recall, and what it is mistaken for most often."""
    totals = counts.sum(axis=1)
    recall = np.diag(counts) / np.maximum(totals, 1)
    order = np.arange(len(names))
    caption = "Classes of the test part"
    if len(names) > MOST_CLASSES:
        order = np.argsort(np.where(totals > 0, recall, 2.0), kind="stable")[:MOST_CLASSES]
        caption = f"The {MOST_CLASSES} classes of lowest recall, of {len(names):,}"
    rows: list[tuple[str, ...]] = []
    for k in order:
        wrong = counts[k].copy()
        wrong[k] = 0
        most = int(wrong.argmax())
        mistaken = f"{names[most]} ({wrong[most]:,})" if wrong[most] else ""
        rows.append((names[k], str(k), f"{totals[k]:,}", share(recall[k]) if totals[k] else "", mistaken))
    return Table(caption, ("class", "no.", "rows", "recall", "most often mistaken for"), rows)


def importance_table(found: Importance, *, accuracy: bool) -> Table:
    """What is lost when a feature is shuffled, the largest first, and its deviation over the shuffles."""
    scale, digits = (100.0, 2) if accuracy else (1.0, 4)
    rows: list[tuple[str, ...]] = [
        (name, str(column), f"{scale * mean:z.{digits}f}", f"{scale * deviation:z.{digits}f}")
        for name, column, mean, deviation in zip(found.names, found.columns, found.mean, found.deviation, strict=True)
    ]
    lost = "accuracy lost (percentage points)" if accuracy else "R² lost"
    return Table("What is lost when one feature is shuffled", ("feature", "column", lost, "deviation"), rows)


def mistakes_table(found: tuple[Mistake, ...], model: Model) -> Table:
    """The rows by their number in the test part, from 0; of a table with their first numbers."""
    names, head = model.class_names, ("row", "said", "true", "probability of said", "of true")
    table = found[0].x.ndim == 1
    rows: list[tuple[str, ...]] = []
    for m in found:
        row = (f"{m.row:,}", names[m.predicted], names[m.target], percent(m.p_predicted), percent(m.p_target))
        more = " ..." if m.x.size > MOST_FEATURES else ""
        rows.append((*row, ", ".join(f"{value:.4g}" for value in m.x[:MOST_FEATURES]) + more) if table else row)
    return Table(
        "The most confident mistakes, by their row in the test part, counted from 0",
        (*head, "numbers") if table else head,
        rows,
        left=3,
    )
