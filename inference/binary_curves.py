"""ROC and precision-recall curves of a network for two classes, and the thresholds that they suggest."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lagvis.inference.prediction import MAX_PRODUCTS, outputs
from lagvis.training.model import Model
from lagvis.training.seeding import generator

MIN_ROWS = 10  # of a sample, however large the network is


@dataclass(frozen=True)
class ThresholdMetrics:
    """What a network does if a row is of the positive class from a probability of `threshold` on.

    recall (sensitivity) and specificity are shares of the positive and of the negative rows. precision is a share of
    the rows that are taken as positive, None if there is none; f1 is the harmonic mean of precision and recall.
    """

    threshold: float
    accuracy: float
    recall: float
    specificity: float
    precision: float | None
    f1: float

    def as_json(self) -> dict[str, float | None]:
        """Return the figures as an object of the result."""
        return asdict(self)


@dataclass(frozen=True)
class BinaryCurves:
    """Curves of the probability of the positive class, the second one, on `rows` of the `of` rows of a test part.

    Every distinct probability, from the highest down, is a threshold (T,); the rates have a point more, (T + 1,), the
    first of which is 0: no row is positive.

    true_positives, false_positives  rows at or above each threshold
    roc_auc                          area under the curve of recall over the false-positive rate
    average_precision                sum of precision times the gain of recall, over the thresholds
    """

    rows: int
    of: int
    thresholds: np.ndarray
    true_positives: np.ndarray
    false_positives: np.ndarray

    @property
    def positives(self) -> int:
        """Rows of the positive class."""
        return int(self.true_positives[-1])

    @property
    def negatives(self) -> int:
        """Rows of the other class."""
        return int(self.false_positives[-1])

    @property
    def recall(self) -> np.ndarray:
        """Recall at no threshold and at each threshold (T + 1,)."""
        return np.concatenate([[0.0], self.true_positives / self.positives])

    @property
    def false_positive_rate(self) -> np.ndarray:
        """False-positive rate at no threshold and at each threshold (T + 1,)."""
        return np.concatenate([[0.0], self.false_positives / self.negatives])

    @property
    def precision(self) -> np.ndarray:
        """Precision at each threshold (T,)."""
        return np.asarray(self.true_positives / (self.true_positives + self.false_positives))

    @property
    def roc_auc(self) -> float:
        """Area under the ROC curve."""
        return float(np.trapezoid(self.recall, self.false_positive_rate))

    @property
    def average_precision(self) -> float:
        """Average precision."""
        return float((np.diff(self.recall) * self.precision).sum())

    @property
    def balanced(self) -> ThresholdMetrics:
        """The threshold at which recall and specificity are nearest to each other; of several the best."""
        recall, specificity = self.recall[1:], 1 - self.false_positive_rate[1:]
        return self.at(int(np.lexsort((-(recall + specificity), np.abs(recall - specificity)))[0]))

    @property
    def best_f1(self) -> ThresholdMetrics:
        """The highest threshold with the largest F1."""
        f1 = 2 * self.true_positives / (self.true_positives + self.false_positives + self.positives)
        return self.at(int(f1.argmax()))

    @property
    def most_probable(self) -> ThresholdMetrics:
        """The threshold 0.5, which is how a network answers."""
        return self.metrics(0.5, int(np.sum(self.thresholds > 0.5)) - 1)

    def at(self, i: int) -> ThresholdMetrics:
        """Return the metrics at the threshold with an index."""
        return self.metrics(float(self.thresholds[i]), i)

    def metrics(self, threshold: float, i: int) -> ThresholdMetrics:
        """Return the metrics with the rows of the thresholds up to the index i; -1: no row is positive."""
        true, false = (int(c[i]) if i >= 0 else 0 for c in (self.true_positives, self.false_positives))
        return ThresholdMetrics(
            threshold,
            accuracy=(true + self.negatives - false) / (self.positives + self.negatives),
            recall=true / self.positives,
            specificity=1 - false / self.negatives,
            precision=true / (true + false) if true + false else None,
            f1=2 * true / (true + false + self.positives),
        )


def binary_curves(probability: np.ndarray, positive: np.ndarray, of: int | None = None) -> BinaryCurves | None:
    """Return the curves of probabilities (N,) of rows of which `positive` (N,) are of the positive class.

    None where a class has no row, or a probability is not a number. `of` is the number of rows of the whole part.
    """
    if positive.all() or not positive.any() or not np.isfinite(probability).all():
        return None
    order = np.argsort(-probability, kind="stable")
    ordered, true = probability[order], np.cumsum(positive[order])
    ends = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)  # the last row of each distinct probability
    return BinaryCurves(len(ordered), of or len(ordered), ordered[ends], true[ends], ends + 1 - true[ends])


@np.errstate(over="ignore", invalid="ignore")
def find_binary_curves(model: Model, params: Any, x: np.ndarray, y: np.ndarray) -> BinaryCurves | None:
    """Return the curves of a network on rows x (N, n_in) with classes y (N,); None unless it has two classes.

    Of very many rows a sample is taken, always the same.
    """
    if len(model.class_names) != 2 or model.multi_label or len(x) == 0:
        return None
    rows = sample_rows(model, len(x))
    return binary_curves(outputs(model, params, x[rows])[:, 1], y[rows] == 1, len(x))


@np.errstate(over="ignore", invalid="ignore")
def find_label_curves(model: Model, params: Any, x: np.ndarray, y: np.ndarray) -> tuple[BinaryCurves | None, ...]:
    """Return the curves of each label of a network on rows x (N, n_in) with y (N, L) of 0 and 1; () without labels.

    None for a label that no row has, or every row. Of very many rows a sample is taken, always the same.
    """
    if not model.multi_label or len(x) == 0:
        return ()
    rows = sample_rows(model, len(x))
    probabilities = outputs(model, params, x[rows])
    return tuple(binary_curves(probabilities[:, k], y[rows, k] == 1, len(x)) for k in range(y.shape[1]))


def sample_rows(model: Model, count: int) -> np.ndarray:
    """Return the indices of `count` rows, or of a sample of so many that they take about a second to predict."""
    most = max(MIN_ROWS, int(MAX_PRODUCTS / model.parameters))
    rows = np.arange(count)
    return rows if count <= most else np.sort(generator(0, "curves").choice(rows, most, replace=False))


def binary_summary(curves: BinaryCurves | None, model: Model) -> dict[str, Any]:
    """Return the curves of a run as keys of its result; null without curves."""
    if curves is None:
        return dict.fromkeys(("positive_class", "roc_auc", "average_precision", "thresholds"))
    found = {name: getattr(curves, name).as_json() for name in ("most_probable", "balanced", "best_f1")}
    return {
        "positive_class": model.class_names[1],
        "roc_auc": curves.roc_auc,
        "average_precision": curves.average_precision,
        "thresholds": found,
    }
