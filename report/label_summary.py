"""The result for labels of which a row may have several: a figure for each label, as JSON and as text."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lagvis.data.messages import percent
from lagvis.inference.binary_curves import BinaryCurves
from lagvis.report.text import align_columns, display_name
from lagvis.training.baseline import commonest_label_share
from lagvis.training.evaluation import Metrics
from lagvis.training.model import Model

LABEL_KEYS = ("labels", "test_exact_match", "macro_f1", "label_metrics")
# Of each label: how many test rows have it and get it, what follows, and the areas under its curves.
LABEL_METRICS = (
    "rows", "predicted_rows", "accuracy", "commonest_share", "precision", "recall", "f1", "roc_auc",
    "average_precision",
)  # fmt: skip


def label_summary(test: Metrics | None, model: Model, curves: Sequence[BinaryCurves | None]) -> dict[str, Any]:
    """Return LABEL_KEYS, and "commonest_share" of labels; all null for classes and numbers, and without a result."""
    if not model.multi_label:
        return dict.fromkeys(LABEL_KEYS)
    names = list(model.class_names)
    counts = test.label_confusion if test is not None and test.judged else None
    if counts is None:
        return {**dict.fromkeys(LABEL_KEYS), "labels": names}
    assert test is not None, "counts belong to a result"
    found = [metrics_of_label(label, curve) for label, curve in zip(counts, curves or [None] * len(names), strict=True)]
    f1 = [metrics["f1"] for metrics in found if metrics["f1"] is not None]
    return {
        "labels": names,
        "test_exact_match": test.exact_match,
        "macro_f1": sum(f1) / len(f1) if f1 else None,
        "label_metrics": dict(zip(names, found, strict=True)),
        "commonest_share": commonest_label_share(counts),
    }


def metrics_of_label(counts: np.ndarray, curves: BinaryCurves | None) -> dict[str, float | None]:
    """Return LABEL_METRICS from counts (2, 2), target by row and prediction by column; null where undefined."""
    (true_negatives, false_positives), (false_negatives, true_positives) = counts.tolist()
    rows = int(counts.sum())
    positives, predicted = true_positives + false_negatives, true_positives + false_positives
    return {
        "rows": positives,
        "predicted_rows": predicted,
        "accuracy": (true_positives + true_negatives) / rows,
        "commonest_share": max(positives, rows - positives) / rows,
        "precision": true_positives / predicted if predicted else None,
        "recall": true_positives / positives if positives else None,
        "f1": 2 * true_positives / (positives + predicted) if positives + predicted else None,
        "roc_auc": None if curves is None else curves.roc_auc,
        "average_precision": None if curves is None else curves.average_precision,
    }


def label_rows(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the line on the labels of a result: rows whose labels are all right, and the accuracy to beat."""
    if not summary.get("label_metrics"):
        return []
    exact, share = summary["test_exact_match"], summary["commonest_share"]
    macro = summary["macro_f1"]
    of_macro = "" if macro is None else f"mean F1 of the labels {macro:.4f}"
    text = f"all labels of a row right: {percent(exact)} of the rows; {of_macro}"
    if len(summary["labels"]) == 1:
        (found,) = summary["label_metrics"].values()
        figures = {"F1": found["f1"], "area under the ROC curve": found["roc_auc"]}
        text = ", ".join(f"{name} {value:.4f}" for name, value in figures.items() if value is not None)
    linear = summary.get("linear_accuracy")
    each = "the label" if len(summary["labels"]) == 1 else "each label"
    others = [f"always the commonest value of {each}: accuracy {percent(share)}"]
    others += [] if linear is None else [f"a linear model: {percent(linear)}"]
    return [("", line) for line in (text.removesuffix("; "), "; ".join(others)) if line]


def label_cells(summary: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return a row of cells for each label, below their heads."""
    heads = ("label", "rows", "answered", "accuracy", "always the commonest", "precision", "recall", "F1", "ROC AUC")
    cells: list[tuple[str, ...]] = [heads]
    for name, found in summary["label_metrics"].items():
        shares = (found[key] for key in ("accuracy", "commonest_share", "precision", "recall", "f1"))
        area = found["roc_auc"]
        cells.append(
            (
                name,
                f"{found['rows']:,}",
                f"{found['predicted_rows']:,}",
                *("" if share is None else percent(share) for share in shares),
                "" if area is None else f"{area:.4f}",
            )
        )
    return cells


def labels_text(summary: dict[str, Any]) -> str:
    """Return the table of the labels as text."""
    heads, *rows = label_cells(summary)
    return align_columns([heads, *((display_name(name), *others) for name, *others in rows)])
