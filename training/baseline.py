"""Hold a result against the baseline: always answering the commonest class, or the best constant of the loss."""

import math
from typing import Any

import numpy as np

from lagvis.data.messages import decimals, join_names, percent, shorten
from lagvis.network.losses import LOSSES
from lagvis.run_warning import RunWarning
from lagvis.training.evaluation import Metrics
from lagvis.training.model import Model

CHECK = "no_better_than_baseline"
CHANCE_DEVIATIONS = 2.0  # standard errors by which an accuracy must exceed what chance gives
MIN_EXPLAINED = 0.01  # share of the variance of numbers that a result must explain
NOISE = 0.5  # over the root of the rows: share of the variance that a fit to noise may seem to explain


def beats_commonest_class(confusion: np.ndarray) -> bool:
    """Return whether counts (K, K), true class by row, show more than a constant answer or chance would give.

    Accuracy is held against the share of the commonest class, balanced accuracy against 1 / classes. One of them is
    enough: with class weights the accuracy alone may be below the share of the commonest class. A single class, and
    answers that are all correct, are never reported.
    """
    counts = confusion.sum(axis=1)
    occurring = counts > 0
    rows, classes = counts.sum(), occurring.sum()
    correct = np.diag(confusion)
    if classes < 2 or correct.sum() == rows:
        return True
    share, chance = counts.max() / rows, 1.0 / classes
    share_error = np.sqrt(share * (1 - share) / rows)
    chance_error = np.sqrt((chance * (1 - chance) / counts[occurring]).sum()) / classes
    balanced = (correct[occurring] / counts[occurring]).mean()
    return bool(
        correct.sum() / rows > share + CHANCE_DEVIATIONS * share_error
        or balanced > chance + CHANCE_DEVIATIONS * chance_error
    )


def beats_mean(loss: float, baseline: float, rows: int, explained: float = MIN_EXPLAINED) -> bool:
    """Return whether a mean squared error over `rows` is below that of predicting the mean.

    It must be lower by at least the share `explained`, and by more than a fit to noise would give on so few rows.
    """
    return loss == 0 or loss < (1 - explained - NOISE / math.sqrt(rows)) * baseline


def beats_mean_error(error: float, mean_error: float, rows: int, explained: float = MIN_EXPLAINED) -> bool:
    """Return whether an error in the unit of its target is below that of a constant, as `beats_mean` holds squares."""
    if mean_error == 0:
        return error == 0
    ratio = error / mean_error if error < mean_error else 1.0  # a square may overflow
    return beats_mean(ratio**2, 1.0, rows, explained)


def beats_constant(name: str, loss: float, baseline: float, rows: int, explained: float = MIN_EXPLAINED) -> bool:
    """Return whether the loss `name` of numbers is below that of its best constant."""
    return (beats_mean if LOSSES[name].squared else beats_mean_error)(loss, baseline, rows, explained)


def check_baseline(metrics: Metrics, model: Model, y: np.ndarray) -> RunWarning | None:
    """Return a warning if metrics on rows with the targets y, confusion counted, are no better than the baseline."""
    if not metrics.judged:
        return None
    if model.multi_label:
        return check_labels(metrics, model)
    return check_classes(metrics, model) if model.y_scaling is None else check_numbers(metrics, model, y)


def beats_commonest_labels(counts: np.ndarray) -> np.ndarray:
    """Return for counts (L, 2, 2), target by row, which labels (L,) bool are answered better than by a constant."""
    return np.array([beats_commonest_class(label) for label in counts])


def check_labels(metrics: Metrics, model: Model) -> RunWarning | None:
    """Return a warning if the answers for all labels, or some, are no better than always their commonest value."""
    counts = metrics.label_confusion
    assert counts is not None, "the labels of a test part are counted"
    assert metrics.accuracy is not None, "labels have an accuracy"
    beaten = beats_commonest_labels(counts)
    if beaten.all():
        return None
    names = [name for name, better in zip(model.class_names, beaten, strict=True) if not better]
    share = commonest_label_share(counts)
    figures = {"accuracy": metrics.accuracy, "baseline_accuracy": share, "labels": names}
    if len(names) == len(beaten) or metrics.accuracy <= share:
        comparison = "no better" if metrics.accuracy <= share else "not clearly better"
        each = "the label" if len(beaten) == 1 else "each label"
        message = (
            f"The test accuracy {percent(metrics.accuracy)} is {comparison} than always answering the commonest value "
            f"of {each} ({percent(share)})."
        )
    else:
        message = f"Of {len(beaten)} labels, answered no better than by their commonest value: {join_names(names)}."
    return RunWarning(CHECK, message, figures)


def commonest_label_share(counts: np.ndarray) -> float:
    """Return the share of labels that are right if each has its commonest value, for counts (L, 2, 2) by target."""
    of_target = counts.sum(axis=2)
    return float((of_target.max(axis=1) / of_target.sum(axis=1)).mean())


def check_classes(metrics: Metrics, model: Model) -> RunWarning | None:
    """Return a warning if the answers are no better than always the commonest class."""
    confusion = metrics.confusion
    assert confusion is not None, "the confusion of a test part is counted"
    assert metrics.accuracy is not None, "classes have an accuracy"
    if beats_commonest_class(confusion):
        return None
    counts = confusion.sum(axis=1)
    commonest, share = model.class_names[int(counts.argmax())], float(counts.max() / counts.sum())
    answered = np.flatnonzero(confusion.sum(axis=0))
    only = model.class_names[answered[0]] if len(answered) == 1 else None
    comparison = "no better" if metrics.accuracy <= share else "not clearly better"
    message = (
        f"The test accuracy {percent(metrics.accuracy)} is {comparison} than always answering {shorten(commonest)} "
        f"({percent(share)})"
    )
    if only is not None:
        message += f"; every row is answered {shorten(only)}"
    figures: dict[str, Any] = {
        "accuracy": metrics.accuracy,
        "baseline_accuracy": share,
        "baseline_answer": commonest,
        "only_answer": only,
    }
    return RunWarning(CHECK, f"{message}.", figures)


def check_numbers(metrics: Metrics, model: Model, y: np.ndarray) -> RunWarning | None:
    """Return a warning if the predictions of all targets, or of some of them, are no better than the best constant.

    Single targets are held by the root mean square error with the loss mse, by the mean absolute error with others.
    """
    baseline, constant = model.baseline(y), model.constant_prediction
    assert baseline is not None, "a regression has a baseline"
    found, constant_errors = metrics.errors, model.baseline_errors(y)
    if model.loss != "mse":
        found, constant_errors = metrics.absolute_errors, model.baseline_absolute_errors(y)
    names = [
        name
        for name, error, constant_error in zip(model.target_names, found, constant_errors, strict=True)
        if not beats_mean_error(error, constant_error, len(y))
    ]
    figures = {"loss": metrics.loss, "baseline_loss": baseline, "targets": names}
    if not beats_constant(model.loss, metrics.loss, baseline, len(y)):
        comparison = "no better" if metrics.loss >= baseline else "not clearly better"
        message = (
            f"The test loss {decimals(metrics.loss)} is {comparison} than that of always predicting the {constant} "
            f"({decimals(baseline)})."
        )
        return RunWarning(CHECK, message, figures)
    if names:
        message = f"Of {len(found)} targets, predicted no better than by the {constant}: {join_names(names)}."
        return RunWarning(CHECK, message, figures)
    return None
