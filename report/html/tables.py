"""The tables of a report: results, classes, columns, mistakes."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lagvis.data.messages import decimals, percent, shorten
from lagvis.data.tables.encoding import (
    BooleanEncoding,
    CategoryEncoding,
    ColumnEncoding,
    DateEncoding,
    NumberEncoding,
)
from lagvis.inference.binary_curves import BinaryCurves
from lagvis.inference.diagnostics import Diagnostics, Mistake
from lagvis.inference.importance import Importance
from lagvis.report.html.document import Table
from lagvis.report.label_summary import label_cells
from lagvis.report.summary import PARTS, Summary
from lagvis.training.model import Model

MAX_CLASSES = 100  # of the table; of more, those of the lowest recall
MAX_COLUMNS = 200  # of the table of the columns
MAX_VALUES = 10  # of a row that are shown
MAX_CELL = 30  # characters of a text


def results_table(summary: Summary) -> Table:
    """Return loss and accuracy of each part, and those of the baseline."""
    rows: list[tuple[str, ...]] = []
    for part in PARTS:
        loss, accuracy = summary[f"{part}_loss"], summary[f"{part}_accuracy"]
        if loss is not None:
            rows.append(("training" if part == "train" else part, decimals(loss), percent_cell(accuracy)))
    if summary.get("labels") is not None and summary.get("commonest_share") is not None:
        rows.append(("all labels of a row right", "", percent_cell(summary["test_exact_match"])))
        rows.append(("always the commonest value of each label", "", percent_cell(summary["commonest_share"])))
    elif summary.get("commonest_share") is not None:
        rows.append(("always the commonest class", "", percent_cell(summary["commonest_share"])))
        rows.append(("mean recall of the classes", "", percent_cell(summary["balanced_accuracy"])))
    if summary.get("linear_loss") is not None:
        rows.append(("a linear model", decimals(summary["linear_loss"]), percent_cell(summary["linear_accuracy"])))
    if summary.get("baseline_loss") is not None:
        rows.append((f"always the {summary.get('baseline') or 'mean'}", decimals(summary["baseline_loss"]), ""))
    if any(summary.get(f"{part}_errors") for part in PARTS):
        return with_errors(rows, summary)
    return Table("Result", ("part", "loss", "accuracy"), rows)


def with_errors(rows: list[tuple[str, ...]], summary: Summary) -> Table:
    """Return the table of results with the error of each target in its unit in place of the accuracy."""
    targets = list(next(filter(None, (summary.get(f"{part}_errors") for part in PARTS))))
    keys = {"training": "train_errors", f"always the {summary.get('baseline') or 'mean'}": "baseline_errors"}
    keys["a linear model"] = "linear_errors"
    unit = f" ({summary['unit']})" if summary.get("unit") else ""
    cells = []
    for name, loss, _ in rows:
        errors = summary.get(keys.get(name, f"{name}_errors")) or {}
        values = (errors.get(target) for target in targets)
        cells.append((name, loss, *("" if value is None else f"{value:.4g}" for value in values)))
    head = ("part", "loss", *(f"error of {target}{unit}" for target in targets))
    return Table("Result: loss in standardised units, and the root mean square error of each target", head, cells)


def percent_cell(value: float | None) -> str:
    """Return a fraction as a percentage, or an empty cell for None."""
    return "" if value is None else percent(value)


def classes_table(counts: np.ndarray, names: tuple[str, ...], part: str = "test part") -> Table:
    """Return for each class its number, rows, recall, and the class that it is mistaken for most often.

    counts (K, K): true class by row, predicted class by column.
    """
    totals = counts.sum(axis=1)
    recall = np.diag(counts) / np.maximum(totals, 1)
    order = np.arange(len(names))
    caption = f"Classes of the {part}"
    if len(names) > MAX_CLASSES:
        order = np.argsort(np.where(totals > 0, recall, 2.0), kind="stable")[:MAX_CLASSES]
        caption = f"The {MAX_CLASSES} classes of lowest recall, of {len(names):,}"
    rows: list[tuple[str, ...]] = []
    for k in order:
        wrong = counts[k].copy()
        wrong[k] = 0
        most = int(wrong.argmax())
        mistaken = f"{names[most]} ({wrong[most]:,})" if wrong[most] else ""
        rows.append((names[k], str(k), f"{totals[k]:,}", percent_cell(recall[k]) if totals[k] else "", mistaken))
    return Table(caption, ("class", "no.", "rows", "recall", "most often mistaken for"), rows)


def labels_table(summary: Summary, part: str = "test part") -> Table:
    """Return the figures of each label of which a row may have several, a row each."""
    heads, *rows = label_cells(summary)
    caption = (
        f"Labels of the {part}: how many rows have each, and how many are answered with it (probability above 0.5)"
    )
    if len(rows) > MAX_CLASSES:
        rows = rows[:MAX_CLASSES]
        caption += f"; the first {MAX_CLASSES}"
    return Table(caption, heads, rows)


def columns_table(facts: Sequence[dict[str, Any]]) -> Table:
    """Return what became of the columns (`column_facts`), those that are learned from first."""
    ordered = sorted(facts, key=lambda column: column["features"] == 0)
    rows: list[tuple[str, ...]] = [
        (
            column["name"],
            str(column["column"]),
            column["kind"],
            column["becomes"],
            "" if column["levels"] is None else f"{column['levels']:,}",
            f"{column['missing']:,}" if column["missing"] else "",
        )
        for column in ordered[:MAX_COLUMNS]
    ]
    caption = "What became of the columns; missing cells are counted in the training part"
    if len(ordered) > MAX_COLUMNS:
        caption += f" ({MAX_COLUMNS} of {len(ordered):,})"
    head = ("column", "no.", "kind", "becomes, or why it is left out", "levels", "missing cells")
    return Table(caption, head, rows, left=4)


def importance_table(importance: Importance, *, accuracy: bool) -> Table:
    """Return the mean loss of accuracy or R² when a column is shuffled, and its deviation, the largest first."""
    scale, digits = (100.0, 2) if accuracy else (1.0, 4)
    columns = zip(importance.names, importance.columns, importance.mean, importance.deviation, strict=True)
    rows: list[tuple[str, ...]] = [
        (name, str(column), f"{scale * mean:z.{digits}f}", f"{scale * deviation:z.{digits}f}")
        for name, column, mean, deviation in columns
    ]
    lost = "accuracy lost (percentage points)" if accuracy else "R² lost"
    return Table("Permutation importance of each column", ("column", "no.", lost, "deviation"), rows)


def thresholds_table(curves: BinaryCurves, positive: str) -> Table:
    """Return what thresholds of the probability of the positive class give, a row each."""
    named = {
        "the more probable class": curves.most_probable,
        "recall nearest to specificity": curves.balanced,
        "highest F1": curves.best_f1,
    }
    rows: list[tuple[str, ...]] = []
    for name, found in named.items():
        shares = (found.accuracy, found.recall, found.specificity, found.precision, found.f1)
        rows.append((name, f"{found.threshold:.4g}", *map(percent_cell, shares)))
    caption = f"A row is taken as {positive} from this probability on; the thresholds were chosen on the same test rows"
    return Table(caption, ("threshold", "probability", "accuracy", "recall", "specificity", "precision", "F1"), rows)


def residuals_table(diagnostics: Diagnostics, model: Model) -> Table:
    """Return how far predictions are off for each target, over the rows whose prediction is finite."""
    assert diagnostics.predicted is not None
    assert diagnostics.target is not None
    rows: list[tuple[str, ...]] = []
    for k, name in enumerate(model.target_names):
        finite = np.isfinite(diagnostics.predicted[:, k])
        true, residuals = diagnostics.target[finite, k], (diagnostics.predicted - diagnostics.target)[finite, k]
        if not len(true):
            continue
        scale = float(np.abs(true - true.mean()).max()) or 1.0  # so that no square overflows
        variance = float(np.mean(((true - true.mean()) / scale) ** 2))
        square = float(np.mean((residuals / scale) ** 2))
        figures = (residuals.mean(), np.abs(residuals).mean(), np.median(np.abs(residuals)), scale * np.sqrt(square))
        explained = f"{1 - square / variance:z.4f}" if variance > 0 else ""
        rows.append((name, *(f"{value:.4g}" for value in figures), explained))
    unit = f", in {model.unit}" if model.unit else ""
    caption = f"Residuals, predicted minus true{unit}, and the share of the variance that is explained (R²)"
    head = ("target", "mean", "mean absolute", "median absolute", "root mean square", "R²")
    return Table(caption, head, rows)


def cells_text(x: np.ndarray, model: Model) -> str:
    """Return the first values of a row x (n_in,): the cells of a table with the names of their columns, or numbers."""
    if model.encoding is None or not model.encoding.columns:
        return ", ".join(f"{value:.4g}" for value in x[:MAX_VALUES]) + (" ..." if x.size > MAX_VALUES else "")
    cells = [f"{shorten(c.name, MAX_CELL)} {cell_text(c, x[place])}" for c, place in model.encoding.slices()]
    return ", ".join(cells[:MAX_VALUES]) + (" ..." if len(cells) > MAX_VALUES else "")


def cell_text(column: ColumnEncoding, features: np.ndarray) -> str:
    """Return the cell of a column that has become some features (n,)."""
    if column.missing and features[-1] == 1:
        return "missing"
    match column:
        case NumberEncoding(log_offset=None):
            return f"{features[0]:.4g}"
        case NumberEncoding(log_offset=offset):
            return f"{np.exp(features[0]) - offset:.4g}"
        case BooleanEncoding():
            return "true" if features[0] > 0.5 else "false"
        case DateEncoding():
            return column.describe_value(features[0])
        case CategoryEncoding():
            names = (*column.levels, "other")
            return shorten(names[int(features.argmax())], MAX_CELL) if features.any() else "not in training"


def mistakes_table(mistakes: tuple[Mistake, ...], model: Model, part: str = "test part") -> Table:
    """Return the mistakes by their row in the part, counted from 1; those of a table by their place in its file.

    Rows that are no pictures have their first values.
    """
    names = model.class_names
    with_values = mistakes[0].x.ndim == 1
    head = ("row", "predicted", "true", *["values"] * with_values, "probability of predicted", "of true")
    rows: list[tuple[str, ...]] = [
        (
            m.place or f"{m.row + 1:,}",
            names[m.predicted],
            names[m.target],
            *([cells_text(m.x, model)] if with_values else []),
            percent(m.p_predicted),
            percent(m.p_target),
        )
        for m in mistakes
    ]
    caption = f"The most confident mistakes, by their row in the {part}, counted from 1"
    if mistakes[0].place:
        caption = f"The most confident mistakes on the {part}"
    return Table(caption, head, rows, left=3 + with_values)
