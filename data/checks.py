"""Check a data set before training for what makes a result look better, or mean less, than it seems.

`check_dataset` lists the checks; `train.py` and `python -m data` report what it returns. A check looks at the rows and
labels alone, returns its warnings, and removes nothing.
"""

import re
from collections.abc import Collection
from functools import partial

import numpy as np

from lagvis.data.dataset import Dataset
from lagvis.data.feature_ranges import BYTE, BYTES, FeatureRanges
from lagvis.data.identity_check import check_identity_columns
from lagvis.data.labels import fold_label
from lagvis.data.leakage import check_leaking_features
from lagvis.data.messages import MAX_NAMES, join_names, percent, sentence_start, shorten
from lagvis.data.outliers import check_outliers
from lagvis.data.range_check import check_feature_ranges, check_signed_pixels
from lagvis.data.shared_rows import check_shared_rows
from lagvis.data.tables.encoding import NumberEncoding
from lagvis.option_text import option, targets_option
from lagvis.run_warning import RunWarning

MIN_CLASS_ROWS = 10  # training rows of a class: fewer are too few to learn it from
MIN_CLASS_TEST_ROWS = 5  # test rows of a class: with fewer a single row moves its recall by more than a fifth
MAX_DARK = 32  # largest byte of pictures that are so dark that they are hard to learn from
MIN_SKEW = 1e4  # between the large and the small numbers of a column
MIN_SKEW_OF_MEDIAN = 100.0  # between the largest number and the median, and at most to the largest hundredth
MAX_SKEW_ROWS = 10_000  # of the sample
MAX_CLASS_RATIO = 3.0  # rows of the most frequent class over those of the rarest
MAX_NUMBER_CLASSES = 200  # classes that are whole numbers: more with few rows each may be numbers to predict


def check_dataset(
    dataset: Dataset,
    ranges: FeatureRanges,
    validation_rows: np.ndarray | None = None,
    *,
    standardised: bool = True,
) -> list[RunWarning]:
    """Return the warnings about a data set, in the order of the checks.

    `validation_rows` are the indices of the training rows that a run holds out for validation; None without a run.
    `ranges` are those of the other training rows; `standardised` tells whether their mean and deviation scale numbers.
    """
    return [
        *check_classes(dataset),
        *check_similar_labels(dataset),
        *check_many_classes(dataset),
        *check_shared_rows(dataset, validation_rows),
        *check_identity_columns(dataset),
        *check_leaking_features(dataset),
        *check_constant_features(ranges),
        *check_constant_targets(dataset),
        *check_outliers(dataset, validation_rows, ranges, standardised=standardised),
        *check_skewed_features(dataset, ranges),
        *check_signed_pixels(ranges),
        *check_dark_pixels(dataset, ranges),
        *check_test_ranges(dataset, ranges),
        *dataset.warnings,
    ]


def check_test_ranges(dataset: Dataset, ranges: FeatureRanges) -> list[RunWarning]:
    """Return warnings about a test part whose values differ from the `ranges` of training."""
    if not len(dataset.x_test):
        return []
    name = f"The test part of {dataset.name}"
    return check_feature_ranges(
        dataset.x_test, ranges, dataset.feature_names, name, partial(dataset.locate_row, "test"), dataset.encoding
    )


def check_skewed_features(dataset: Dataset, ranges: FeatureRanges) -> list[RunWarning]:
    """Return a warning about columns of a table whose numbers from 0 differ by a factor of MIN_SKEW.

    The factor is that of the largest to the twentieth part of the smallest, zeros left out, in the training rows. A
    single large number is an outlier, and where half of them are large it is no skew.
    """
    encoding = dataset.encoding
    if encoding is None or dataset.x_train.dtype == np.uint8:
        return []
    rows = slice(None, None, max(1, len(dataset.x_train) // MAX_SKEW_ROWS))
    found = []
    for column, place in encoding.slices():
        i, high = place.start, float(ranges.high[place.start])
        if not isinstance(column, NumberEncoding) or column.log_offset is not None or ranges.low[i] < 0 or high == 0:
            continue
        positive = dataset.x_train[rows, i]
        low, middle, upper = np.quantile(positive[positive > 0], (0.05, 0.5, 0.99)) if positive.any() else (high,) * 3
        with np.errstate(over="ignore"):
            factor = min(float(high / low), np.finfo(np.float64).max)
        if factor >= MIN_SKEW and middle <= high / MIN_SKEW_OF_MEDIAN <= upper:
            found.append({"feature": i + 1, "name": dataset.describe_feature(i), "factor": factor, "column": column})
    if not found:
        return []
    columns = [column.pop("column") for column in found]
    names = [column.name for column in columns]
    if any("," in name for name in names):
        names = [str(column.position + 1) for column in columns]
    holds, numbers = ("holds", "its small numbers") if len(found) == 1 else ("hold", "their small numbers")
    message = (
        f"{sentence_start(join_names([str(column['name']) for column in found]))} {holds} numbers that differ by a "
        f"factor of {MIN_SKEW:,.0f} and more: scaled, {numbers} are all alike. {option('log', names)} "
        "learns from the logarithm."
    )
    return [RunWarning("skewed_feature", message, {"features": found})]


def check_dark_pixels(dataset: Dataset, ranges: FeatureRanges) -> list[RunWarning]:
    """Return a warning about bytes of few values, which are almost black as shades of 0..255."""
    brightest = int(ranges.high.max())
    if ranges.kind != BYTES or brightest > MAX_DARK or ranges.constant.all():
        return []
    remedy = f"Multiply them by {int(BYTE[1]) // brightest}, or store them as real numbers"
    if dataset.feature_columns:
        remedy = f"Use {option('feature_type', 'numbers')}"
    message = (
        f"The bytes of {dataset.name} go up to {brightest}: as shades of 0..255 they are almost black, and a network "
        f"learns slowly from them. {remedy}."
    )
    return [RunWarning("dark_pixels", message, {"brightest": brightest})]


def class_counts(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Count the training and test rows of each class."""
    k = len(dataset.class_names)
    training, test = (np.bincount(y, minlength=k).tolist() for y in (dataset.y_train, dataset.y_test))
    return {name: {"training": training[i], "test": test[i]} for i, name in enumerate(dataset.class_names)}


def label_counts(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Count the training and test rows that have each label, where a row may have several."""
    training, test = (y.sum(axis=0, dtype=np.int64).tolist() for y in (dataset.y_train, dataset.y_test))
    return {name: {"training": training[i], "test": test[i]} for i, name in enumerate(dataset.class_names)}


def rarer_value_counts(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Count the training and test rows of the value of each label, 0 or 1, that training has less often."""
    counts, rows = label_counts(dataset), {"training": len(dataset.y_train), "test": len(dataset.y_test)}
    return {
        name: found if 2 * found["training"] <= rows["training"] else {part: rows[part] - found[part] for part in rows}
        for name, found in counts.items()
    }


def check_classes(dataset: Dataset) -> list[RunWarning]:
    """Return warnings about classes that are rare, lack test rows, or differ much in size; none for targets.

    Of a label that a row may have beside others, the rarer of having it and not having it is judged.
    """
    if not dataset.class_names:
        return []
    counts = rarer_value_counts(dataset) if dataset.multi_label else class_counts(dataset)
    training = {name: rows["training"] for name, rows in counts.items()}
    rare = {name: rows for name, rows in training.items() if rows < MIN_CLASS_ROWS}
    barely_tested = {name: rows["test"] for name, rows in counts.items() if 0 < rows["test"] < MIN_CLASS_TEST_ROWS}
    untested = [name for name, rows in counts.items() if not rows["test"] and len(dataset.x_test)]
    largest, smallest = max(training, key=lambda name: training[name]), min(training, key=lambda name: training[name])
    of_value = " with the label, or without it" if dataset.multi_label else ""
    warnings = []
    if rare:
        message = f"Fewer than {MIN_CLASS_ROWS} training rows{of_value}: {join_names(list(rare))}."
        warnings.append(RunWarning("few_rows", message, {"training_rows": rare}))
    if untested:
        message = (
            f"No test row{of_value}: {join_names(untested)}. The test result says nothing about {it_or_them(untested)}."
        )
        warnings.append(RunWarning("classes_without_test_rows", message, {"classes": untested}))
    if barely_tested:
        message = (
            f"Fewer than {MIN_CLASS_TEST_ROWS} test rows{of_value}: {join_names(list(barely_tested))}. They are "
            f"too few to judge {it_or_them(barely_tested)} by."
        )
        warnings.append(RunWarning("few_test_rows", message, {"test_rows": barely_tested}))
    if not dataset.multi_label and training[largest] >= MAX_CLASS_RATIO * training[smallest]:
        share = training[largest] / len(dataset.y_train)
        message = (
            f"Uneven classes: {percent(share, digits=1)} of the training rows are {shorten(largest)}, "
            f"{training[smallest]:,} {'is' if training[smallest] == 1 else 'are'} {shorten(smallest)}. A network that "
            f"always answers {shorten(largest)} is right as often; {option('class_weights', 'balanced')} helps."
        )
        figures = {"largest": largest, "smallest": smallest, "share_of_largest": share}
        warnings.append(RunWarning("uneven_classes", message, figures))
    return warnings


def check_similar_labels(dataset: Dataset) -> list[RunWarning]:
    """Return a warning about classes whose names differ by case or by the blanks within them alone."""
    groups: dict[str, list[str]] = {}
    for name in dataset.class_names:
        groups.setdefault(fold_label(name), []).append(name)
    similar = [names for names in groups.values() if len(names) > 1]
    if not similar:
        return []
    listed = "; ".join(" and ".join(repr(shorten(name)) for name in names) for names in similar[:MAX_NAMES])
    message = (
        f"Classes that differ by case or blanks alone: {listed}{'; ...' if len(similar) > MAX_NAMES else ''}. "
        "If they are one class, write its label in one way in the data."
    )
    return [RunWarning("similar_labels", message, {"classes": similar})]


def check_many_classes(dataset: Dataset) -> list[RunWarning]:
    """Return a warning about many classes that are whole numbers and have few rows: they may be numbers to predict."""
    classes, rows = len(dataset.class_names), len(dataset.y_train)
    if classes <= MAX_NUMBER_CLASSES or rows >= MIN_CLASS_ROWS * classes:
        return []
    if not all(re.fullmatch("[+-]?[0-9]+", name) for name in dataset.class_names):
        return []
    message = (
        f"The labels are {classes:,} different whole numbers in {rows:,} training rows, each of which is a class. If "
        f"they are amounts, as prices are, predict them as numbers with {targets_option('numbers')}."
    )
    return [RunWarning("many_classes", message, {"classes": classes, "training_rows": rows})]


def it_or_them(names: Collection[str]) -> str:
    """Return the pronoun for one class or several."""
    return "it" if len(names) == 1 else "them"


def check_constant_features(ranges: FeatureRanges) -> list[RunWarning]:
    """Return a warning if every feature has one value in all training rows."""
    if not ranges.constant.all():
        return []
    message = "Every feature is the same in all training rows: there is nothing to learn from."
    return [RunWarning("constant_features", message, {"features": len(ranges.low)})]


def find_constant_targets(dataset: Dataset) -> list[str]:
    """Return the names of the targets that have one value in all training rows; none for classes."""
    y = dataset.y_train
    return [name for i, name in enumerate(dataset.target_names) if (y[:, i] == y[0, i]).all()]


def check_constant_targets(dataset: Dataset) -> list[RunWarning]:
    """Return a warning about targets that have one value in all training rows; none for classes."""
    names = find_constant_targets(dataset)
    if not names:
        return []
    start = "The target is" if len(names) == 1 else "These targets are"
    message = f"{start} the same in all training rows, with nothing to learn: {join_names(names)}."
    return [RunWarning("constant_targets", message, {"targets": names})]
