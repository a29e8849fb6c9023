"""Find features that alone predict the label, as a copy of it or a number that is known only after it does.

Each feature is judged by itself, in two steps. In a small sample all features are sorted, and those are kept whose
rows have the label of a row next to them. A rule is then fitted for each that is left on one half of a larger sample
and judged on the other half: a feature with a different number in every row predicts nothing there by chance.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from lagvis.data.dataset import Dataset
from lagvis.data.messages import join_names, percent, sentence_start, shorten
from lagvis.data.tables.encoding import CategoryEncoding
from lagvis.run_warning import RunWarning

MIN_ACCURACY = 0.99  # balanced accuracy of one feature from which on it is reported
MIN_R2 = 0.999  # the same for numbers: coefficient of determination of their ranks
MIN_SORTED_ACCURACY, MIN_SORTED_R2 = 0.95, 0.9  # by neighbours in the small sample: features below are ruled out

MIN_ROWS = 50
MIN_CLASS_ROWS = 10  # in the sample; rarer classes are not judged, as a feature could separate them by chance
MAX_ROWS = 10_000  # of the larger sample
SAMPLE_NUMBERS = 200_000  # of the small sample, whose rows are fewer the more features there are
MIN_SAMPLE_ROWS, SAMPLE_ROWS_OF_A_CLASS = 200, 20
MAX_SAMPLE_NUMBERS = 4_000_000
BLOCK_NUMBERS = 500_000  # sorted at a time
MAX_JUDGED = 50  # features of the larger sample
MAX_TARGETS = 10


def check_leaking_features(dataset: Dataset) -> list[RunWarning]:
    """Return a warning about the features of which each alone predicts the label, or a target, of practically all rows.

    The only feature that varies is not reported: the network has nothing else to learn from.
    """
    if dataset.multi_label:
        return [warning for k in range(min(dataset.n_out, MAX_TARGETS)) for warning in check_label(dataset, k)]
    rng = np.random.default_rng(0)
    rows, n_features = dataset.x_train.shape
    classes = len(dataset.class_names)
    sample_rows = max(SAMPLE_NUMBERS // n_features, MIN_SAMPLE_ROWS, SAMPLE_ROWS_OF_A_CLASS * classes)
    sample_rows = min(sample_rows, MAX_ROWS, max(MIN_SAMPLE_ROWS, MAX_SAMPLE_NUMBERS // n_features))
    small = draw_rows(rows, sample_rows, rng)
    x, y = dataset.x_train[small], dataset.y_train[small]
    if len(x) < MIN_ROWS or count_varying_columns(dataset, (x != x[0]).any(axis=0)) < 2:
        return []
    categories, of_category = check_categories(dataset, rng)
    if not classes:
        return [*categories, *check_targets(dataset, x, y, rng, of_category)]
    candidates = np.flatnonzero(~of_category & (sorted_accuracy(x, y, classes) >= MIN_SORTED_ACCURACY))
    candidates = candidates[:MAX_JUDGED].tolist()
    large = draw_rows(rows, MAX_ROWS, rng) if candidates else small
    found = {}
    for i in candidates:
        accuracy, balanced = judge_for_classes(dataset.x_train[large, i], dataset.y_train[large], classes)
        if balanced >= MIN_ACCURACY:
            found[i] = accuracy
    columns = [i for i in one_hot_columns(x, y) if not of_category[i]] if classes > 2 else []
    return [*categories, *class_warning(dataset, found), *one_hot_warning(dataset, columns)]


def check_label(dataset: Dataset, k: int) -> list[RunWarning]:
    """Return the warnings about features that alone predict the label k of those that a row may have, by its name."""
    name = dataset.class_names[k]
    alone = replace(dataset, y_train=dataset.y_train[:, k], y_test=dataset.y_test[:, k], class_names=("0", "1"))
    return [
        replace(found, message=f"Label {shorten(name)}: {found.message}", figures={**found.figures, "label": name})
        for found in check_leaking_features(alone)
    ]


def count_varying_columns(dataset: Dataset, varying: np.ndarray) -> int:
    """Return how many features vary, which `varying` (n,) tells; the features of one encoded column count once."""
    if dataset.encoding is None:
        return int(np.count_nonzero(varying))
    return sum(bool(varying[place].any()) for _, place in dataset.encoding.slices())


def check_categories(dataset: Dataset, rng: np.random.Generator) -> tuple[list[RunWarning], np.ndarray]:
    """Return a warning for each column of categories whose level alone predicts the label, or a target.

    Return too which features (n,) bool are theirs.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    reported = np.zeros(dataset.x_train.shape[1], bool)
    rows = draw_rows(len(dataset.x_train), MAX_ROWS, rng)
    for column, place in dataset.encoding.slices() if dataset.encoding else ():
        if not isinstance(column, CategoryEncoding):
            continue
        features = dataset.x_train[rows, place]
        levels = np.where(features.any(axis=1), features.argmax(axis=1), features.shape[1])
        shown = shorten(column.name)
        name = f"column {dataset.feature_columns[place.start]} ({shown!r})"
        if dataset.class_names:
            accuracy, balanced = judge_for_classes(levels, dataset.y_train[rows], len(dataset.class_names))
            if balanced >= MIN_ACCURACY:
                predicted = f"the label of {percent(accuracy, digits=1)} of the rows"
                found.setdefault(predicted, []).append({"name": name, "accuracy": accuracy})
                reported[place] = True
            continue
        for target in range(min(dataset.n_out, MAX_TARGETS)):
            r2 = judge_for_target(levels, dataset.y_train[rows, target])
            if r2 >= MIN_R2:
                predicted = f"{dataset.describe_target(target)} (R² of the ranks {r2:.4f})"
                found.setdefault(predicted, []).append({"name": name, "r2": r2})
                reported[place] = True
    warnings = []
    for predicted, columns in found.items():
        message = leak_sentence([column["name"] for column in columns], predicted)
        warnings.append(RunWarning("leaking_feature", message, {"columns": columns}))
    return warnings, reported


def class_warning(dataset: Dataset, found: dict[int, float]) -> list[RunWarning]:
    """Return the warning about features that alone predict the class, given the accuracy of each."""
    if not found:
        return []
    predicted = f"the label of {percent(min(found.values()), digits=1)} of the rows"
    features = [{"feature": i + 1, "name": dataset.describe_feature(i), "accuracy": found[i]} for i in found]
    return [RunWarning("leaking_feature", leak_message(dataset, list(found), predicted), {"features": features})]


def one_hot_warning(dataset: Dataset, columns: list[int]) -> list[RunWarning]:
    """Return the warning about features that together are the label as one-hot columns."""
    if not columns:
        return []
    names = sentence_start(one_hot_names(dataset, columns))
    message = f"{names} together are the label as one-hot columns{advice(len(columns))}"
    features = [{"feature": i + 1, "name": dataset.describe_feature(i)} for i in columns]
    return [RunWarning("leaking_feature", message, {"features": features})]


def one_hot_names(dataset: Dataset, features: list[int]) -> str:
    """Return features for a sentence; those of one encoded column by its name."""
    if len({dataset.feature_columns[i] for i in features} if dataset.feature_columns else {*features}) > 1:
        return join_names([dataset.describe_feature(i) for i in features])
    assert dataset.encoding is not None, "several features of one column are encoded"
    column = next(column for column, place in dataset.encoding.slices() if place.start <= features[0] < place.stop)
    return f"the levels of column {dataset.feature_columns[features[0]]} ({shorten(column.name)!r})"


def check_targets(
    dataset: Dataset, x: np.ndarray, y: np.ndarray, rng: np.random.Generator, of_category: np.ndarray
) -> list[RunWarning]:
    """Return a warning for each target that a feature alone predicts; x and y are the small sample.

    Features that `of_category` (n,) marks are reported already.
    """
    warnings = []
    names_and_r2 = zip(dataset.target_names, sorted_r2(x, y[:, :MAX_TARGETS]), strict=False)
    for target, (name, sample_r2) in enumerate(names_and_r2):
        candidates = np.flatnonzero(~of_category & (sample_r2 >= MIN_SORTED_R2))[:MAX_JUDGED].tolist()
        rows = draw_rows(len(dataset.x_train), MAX_ROWS, rng) if candidates else np.empty(0, int)
        r2 = {i: judge_for_target(dataset.x_train[rows, i], dataset.y_train[rows, target]) for i in candidates}
        found = {i: value for i, value in r2.items() if value >= MIN_R2}
        if found:
            predicted = f"{dataset.describe_target(target)} (R² of the ranks {min(found.values()):.4f})"
            message = leak_message(dataset, list(found), predicted)
            features = [{"feature": i + 1, "name": dataset.describe_feature(i), "r2": found[i]} for i in found]
            warnings.append(RunWarning("leaking_feature", message, {"target": name, "features": features}))
    return warnings


def leak_message(dataset: Dataset, found: list[int], predicted: str) -> str:
    """Return the sentence that each of the features `found` alone predicts what `predicted` says."""
    return leak_sentence([dataset.describe_feature(i) for i in found], predicted)


def leak_sentence(names: list[str], predicted: str) -> str:
    """Return the sentence that each of some features or columns alone predicts what `predicted` says."""
    each = "alone predicts" if len(names) == 1 else "each alone predict"
    return f"{sentence_start(join_names(names))} {each} {predicted}{advice(len(names))}"


def advice(features: int) -> str:
    """Return the end of each sentence: what it may mean, and what to do."""
    subject, pronoun = ("it", "it") if features == 1 else ("they", "them")
    return (
        f": {subject} may be the label in another form, or known only after it. Remove {pronoun} from the data unless "
        f"{subject} will be known for rows without a label."
    )


def draw_rows(rows: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return about `count` different row numbers of `rows` in random order; all of them if there are no more."""
    if rows <= count:
        return rng.permutation(rows)
    # Asked for counts, which are not used, NumPy does not import numpy.ma, which takes 7 ms.
    return rng.permutation(np.unique(rng.integers(0, rows, count), return_counts=True)[0])


def sorted_features(x: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield the features of rows (N, n) by blocks, with the row order (block, N) that sorts each."""
    step = max(1, BLOCK_NUMBERS // len(x))
    for first in range(0, x.shape[1], step):
        block = slice(first, min(first + step, x.shape[1]))
        yield block, np.argsort(np.ascontiguousarray(x[:, block].T), axis=1, kind="stable")


def sorted_accuracy(x: np.ndarray, y: np.ndarray, classes: int) -> np.ndarray:
    """Return for each feature (n,) the share of rows that stand beside a row of their class when it sorts them.

    Every class that has two rows counts alike. Rows x (N, n) are in random order, which is the order of equal values.
    """
    counts = np.bincount(y, minlength=classes)
    weights = np.where(counts > 1, 1 / np.maximum(counts, 1), 0.0)
    weights = (weights / max(np.count_nonzero(weights), 1))[y].astype(np.float32)
    result = np.empty(x.shape[1])
    for block, order in sorted_features(x):
        same = np.diff(y.astype(np.int32)[order], axis=1) == 0
        beside = np.zeros(order.shape, bool)
        beside[:, 1:] = same
        beside[:, :-1] |= same
        result[block] = np.where(beside, weights[order], 0).sum(axis=1)
    return result


def sorted_r2(x: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return (T, n) how well the ranks of targets (N, T) are the mean of both neighbours when a feature sorts the rows.

    1 - mean squared error / variance; 0 for a target of one value.
    """
    ranks = [average_ranks(target) for target in targets.T]
    result = np.zeros((len(ranks), x.shape[1]))
    for block, order in sorted_features(x):
        for row, target in zip(result, ranks, strict=True):
            if variance := target.var():
                ordered = target[order]
                errors = ordered[:, 1:-1] - (ordered[:, :-2] + ordered[:, 2:]) / 2
                row[block] = 1 - (errors**2).mean(axis=1) / variance
    return result


def judge_for_classes(column: np.ndarray, y: np.ndarray, classes: int) -> tuple[float, float]:
    """Return accuracy and balanced accuracy with which a feature (N,) alone predicts classes y (N,).

    Each value gets the commonest class of the nearest value in one half of the rows; the other half is judged. (1, 1)
    if thresholds separate the classes. Classes of fewer than MIN_CLASS_ROWS rows are left out; (0, 0) if fewer than two
    are left.
    """
    counts = np.bincount(y, minlength=classes)
    judged_classes = np.flatnonzero(counts >= MIN_CLASS_ROWS)
    if len(judged_classes) < 2:
        return 0.0, 0.0
    kept = np.flatnonzero(counts[y] >= MIN_CLASS_ROWS)
    by_class = kept[np.argsort(y[kept], kind="stable")]
    if are_separate(column[by_class], y[by_class]):
        return 1.0, 1.0  # judged on half of few rows, thresholds between classes would be a row off
    fitted, judged = by_class[::2], by_class[1::2]  # about every second of each class
    values, commonest = commonest_classes(column[fitted], y[fitted].astype(np.int64), classes)
    predicted = commonest[nearest(values, column[judged])]
    right = predicted == y[judged]
    totals = np.bincount(y[judged], minlength=classes)[judged_classes]
    recalls = np.bincount(y[judged], weights=right, minlength=classes)[judged_classes] / totals
    return float(right.mean()), float(recalls.mean())


def are_separate(column: np.ndarray, y: np.ndarray) -> bool:
    """Tell whether the ranges of a feature (N,) in each class do not overlap; y (N,) is ascending."""
    first = np.flatnonzero(np.diff(y, prepend=-1))
    low, high = np.minimum.reduceat(column, first), np.maximum.reduceat(column, first)
    order = np.argsort(low)
    return bool((high[order][:-1] < low[order][1:]).all())


def commonest_classes(column: np.ndarray, y: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the different values (V,) of a feature (N,), ascending, and the commonest class (V,) of each."""
    values, inverse = np.unique(column, return_inverse=True)
    pairs, counts = np.unique(inverse * classes + y, return_counts=True)
    by_count = pairs[np.argsort(counts, kind="stable")]
    commonest = np.empty(len(values), np.int64)
    commonest[by_count // classes] = by_count % classes  # the last assignment of a value stays
    return values, commonest


def nearest(values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the index of the value, of ascending values (V,), that is nearest to each number (N,)."""
    values, wanted = values.astype(np.float64), wanted.astype(np.float64)
    right = np.clip(np.searchsorted(values, wanted), 0, len(values) - 1)
    left = np.maximum(right - 1, 0)
    with np.errstate(over="ignore"):
        return np.where(np.abs(wanted - values[left]) <= np.abs(values[right] - wanted), left, right)


def judge_for_target(column: np.ndarray, target: np.ndarray) -> float:
    """Return R² with which a feature (N,) alone predicts a target (N,), both as ranks.

    One half of the rows gives the mean of the target for each value, and a line between neighbouring values; the other
    half is judged. Ranks make the result independent of units and of single large numbers.
    """
    x, y = average_ranks(column), average_ranks(target)
    values, inverse, counts = np.unique(x[::2], return_inverse=True, return_counts=True)
    means = np.bincount(inverse, weights=y[::2]) / counts
    judged = y[1::2]
    if judged.min() == judged.max():
        return 0.0
    return float(1 - ((np.interp(x[1::2], values, means) - judged) ** 2).mean() / judged.var())


def average_ranks(values: np.ndarray) -> np.ndarray:
    """Return the rank (N,) of each number, from 0; equal numbers share the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: np.ndarray = (np.cumsum(counts) - (counts + 1) / 2)[inverse]
    return ranks


def one_hot_columns(x: np.ndarray, y: np.ndarray) -> list[int]:
    """Return the features that tell one class from all others, if they do so for all classes but at most one.

    x (N, n) with classes y (N,), more than two of them. Such a feature has two values, one in exactly the rows of a
    class.
    """
    present, first = np.unique(y, return_index=True)
    low, high = x.min(axis=0), x.max(axis=0)
    if len(present) < 3:
        return []
    two_valued = np.flatnonzero((low < high) & ((x == low) | (x == high)).all(axis=0))
    representatives = x[np.ix_(first, two_valued)] == high[two_valued]
    ones = representatives.sum(axis=0)
    found: dict[int, int] = {}
    for j in np.flatnonzero((ones == 1) | (ones == len(present) - 1)):
        one_is_high = ones[j] == 1
        k = representatives[:, j].argmax() if one_is_high else representatives[:, j].argmin()
        i = int(two_valued[j])
        if (((x[:, i] == high[i]) == one_is_high) == (y == present[k])).all():
            found[i] = int(present[k])
    return sorted(found) if len({*found.values()}) >= len(present) - 1 else []
