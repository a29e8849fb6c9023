"""Describe a data set before training: sizes, ranges, classes or targets, and what to check."""

from dataclasses import replace
from typing import Any

import numpy as np

from lagvis.data.checks import check_dataset, class_counts, label_counts
from lagvis.data.dataset import Dataset
from lagvis.data.datasets import load_dataset
from lagvis.data.feature_ranges import FeatureRanges
from lagvis.data.shared_rows import count_shared_test_rows
from lagvis.data.tables.column_facts import column_facts
from lagvis.errors import DataError, LabelNotFoundError
from lagvis.option_text import targets_option

MAX_LABEL_FAULTS = 0.25  # share of labels that are not classes: beyond it they are numbers to predict
MAX_LISTED_FEATURES = 20


def load_classes_or_numbers(name: str, *, regression: bool, **options: Any) -> Dataset:
    """Load a data set; labels that are numbers to predict rather than classes are loaded as such, with a notice.

    `options` are those of `load_dataset`.
    """
    try:
        return load_dataset(name, regression=regression, **options)
    except LabelNotFoundError:
        raise  # as numbers to predict, another column might be found
    except DataError as error:
        if options.get("multi_label"):
            raise
        try:
            dataset = load_dataset(name, regression=True, **options)
        except DataError:
            raise error from None
        if not are_measurements(np.concatenate([dataset.y_train, dataset.y_test])):
            raise
        notice = f"The labels are numbers to predict, not classes; {targets_option('numbers')} trains on them."
        return replace(dataset, notices=(*dataset.notices, notice))


def are_measurements(y: np.ndarray) -> bool:
    """Tell whether targets (N, n_out) are more than classes with a fault: many fractions or values, not one-hot."""
    several = y.shape[1] > 1
    return any(
        np.mean(column != np.floor(column)) > MAX_LABEL_FAULTS
        or len(np.unique(column)) > 0.5 * len(column)
        or (several and np.mean(~np.isin(column, (0, 1))) > MAX_LABEL_FAULTS)
        for column in y.T
    )


def describe_dataset(dataset: Dataset) -> dict[str, Any]:
    """Return the facts about a data set, ready for JSON; features are numbered from 1."""
    x = dataset.x_train
    ranges = FeatureRanges.of(x, np.arange(len(x)), dataset.shape, dataset.feature_kinds)
    low, high = ranges.low.astype(x.dtype), ranges.high.astype(x.dtype)
    constant = np.flatnonzero(ranges.constant)
    facts: dict[str, Any] = {
        "name": dataset.name,
        "training_rows": len(x),
        "test_rows": len(dataset.x_test),
        "shape": list(dataset.shape),
        "features": x.shape[1],
        "type": "bytes (scaled by 1/255)" if x.dtype == np.uint8 else "numbers (standardised)",
        "range": [low.min().item(), high.max().item()],
        "constant_features": len(constant),
        "first_constant_features": [int(i) + 1 for i in constant[:MAX_LISTED_FEATURES]],
    }
    facts["feature_spans"] = None
    if x.dtype != np.uint8 and len(constant) < x.shape[1]:
        with np.errstate(over="ignore"):
            spans = np.minimum((high - low)[low < high], np.finfo(np.float64).max)
        facts["feature_spans"] = [spans.min().item(), spans.max().item()]
    facts |= {
        "classes": class_counts(dataset) if dataset.class_names and not dataset.multi_label else None,
        "labels": label_counts(dataset) if dataset.multi_label else None,
        "unit": dataset.unit or None,
        "targets": None if dataset.class_names else target_ranges(dataset),
        "weights": weight_facts(dataset),
        "columns": None if dataset.encoding is None else column_facts(dataset.encoding),
    }
    warnings = check_dataset(dataset, ranges)
    shared = next((warning.figures["shared_rows"] for warning in warnings if warning.check == "shared_rows"), None)
    if shared is None:  # there is none, or as many as there are by chance
        shared = count_shared_test_rows(dataset) if dataset.encoding else 0
    return facts | {
        "test_rows_in_training": shared,
        "sha256": dataset.sha256,
        "notices": list(dataset.all_notices),
        "warnings": [warning.as_json() for warning in warnings],
    }


def weight_facts(dataset: Dataset) -> dict[str, Any] | None:
    """Return where the weights of the training rows were read, and their range; None if every row counts once."""
    w = dataset.w_train
    if w is None:
        return None
    return {
        "source": dataset.weights_name,
        "least": float(w.min()),
        "mean": float((w / len(w)).sum()),
        "most": float(w.max()),
        "rows_of_weight_0": int(np.count_nonzero(w == 0)),
    }


def target_ranges(dataset: Dataset) -> dict[str, dict[str, float]]:
    """Return the smallest, mean and largest training value of each target."""
    y = dataset.y_train
    return {
        # A sum of the largest numbers would overflow, so the division comes first.
        name: {"least": float(y[:, i].min()), "mean": float((y[:, i] / len(y)).sum()), "most": float(y[:, i].max())}
        for i, name in enumerate(dataset.target_names)
    }
