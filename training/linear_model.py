"""Train a linear model of the data of a run, to tell what the hidden layers of its network gain."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np

from lagvis.backends.backend import Backend
from lagvis.data.dataset import Dataset
from lagvis.data.messages import decimals, percent
from lagvis.option_text import option, setting
from lagvis.run_warning import RunWarning
from lagvis.training.baseline import beats_commonest_class, beats_commonest_labels, beats_constant
from lagvis.training.evaluation import Metrics
from lagvis.training.events import Finished
from lagvis.training.loop import fit
from lagvis.training.model import Model
from lagvis.training.plan import Plan, choose_steps_per_call
from lagvis.training.recipe import Recipe, merge

CHECK = "linear_model_as_good"
OPTIMIZER = "sgd"
MIN_STEPS = 300  # with fewer it is not trained yet, and the network seems to gain what it does not
MAX_STEPS = 2000  # about a tenth of a second of NumPy; a longer run has a linear model of fewer epochs, at least of one
RATE_FACTORS = (1.0, 0.1, 0.01, 0.001)  # of the learning rate of the run; the first that is not too high
MAX_LOSS_RATIO = 1.1  # of the loss of a constant answer; a loss above it is that of a learning rate that is too high


@dataclass(frozen=True)
class LinearModel:
    """Result of a linear model on the test part, after `epochs` epochs."""

    test: Metrics
    epochs: int

    @property
    def balanced_accuracy(self) -> float | None:
        """The mean recall of the classes that occur; None for numbers."""
        return None if self.test.confusion is None else mean_recall(self.test.confusion)


def mean_recall(confusion: np.ndarray) -> float:
    """Return the mean recall of the classes that occur, from counts (K, K), true class by row."""
    counts = confusion.sum(axis=1)
    occurring = counts > 0
    return float((np.diag(confusion)[occurring] / counts[occurring]).mean())


def has_linear_model(recipe: Recipe, dataset: Dataset, model: Model) -> bool:
    """Return whether a run is compared with a linear model: a table, and a network that is not linear itself."""
    linear = len(model.widths) == 2 or model.activation == "identity"
    return dataset.encoding is not None and len(dataset.shape) == 1 and not linear and recipe.epochs > 0


def train_linear_model(
    recipe: Recipe, dataset: Dataset, plan: Plan, model: Model, backend: Backend, stop: Callable[[], bool]
) -> LinearModel | None:
    """Train a network without hidden layers by a recipe: the same rows, scaling and seed.

    A run of another optimizer has a linear model trained by OPTIMIZER at its defaults: the small steps of adam or lion,
    which suit several layers, would leave it untrained. It has the epochs of the run, with the whole schedule: more if
    these are less than MIN_STEPS steps, fewer if they are more than MAX_STEPS. A learning rate is lowered if the loss
    of the last epoch is clearly above that of a constant answer, as it is where many columns say the same. None where
    no rate has a finite loss, or `stop` returned true.
    """
    if recipe.optimizer != OPTIMIZER:
        recipe = merge(asdict(recipe), {"optimizer": OPTIMIZER})
    widths = (model.widths[0], model.widths[-1])
    fewest, most = -(-MIN_STEPS // plan.steps_per_epoch), max(1, MAX_STEPS // plan.steps_per_epoch)
    epochs = min(max(recipe.epochs, fewest), most)
    plan = replace(
        plan,
        validation_rows=plan.validation_rows[:0],
        patience=0,
        epochs=epochs,
        steps_per_call=choose_steps_per_call(widths, plan.rows_per_step, plan.full_steps),
    )
    constant = constant_loss(recipe, model, dataset.y_train[plan.training_rows])
    best, lowest = None, math.inf
    for factor in RATE_FACTORS:
        changed = replace(
            recipe,
            hidden=(),
            dropout=0.0,
            max_norm=0.0,
            normalization="none",
            epochs=epochs,
            lr=recipe.lr * factor,
        )
        linear = replace(model, widths=widths, normalization="none")
        finished = train(changed, dataset, plan, linear, backend, stop)
        if finished.reason == "interrupted":
            return None
        if finished.train is None or finished.test is None or not finished.test.judged:
            continue
        if finished.train.loss < lowest:
            best, lowest = LinearModel(finished.test, epochs), finished.train.loss
        if lowest <= MAX_LOSS_RATIO * constant:
            break
    return best


def constant_loss(recipe: Recipe, model: Model, y: np.ndarray) -> float:
    """Return the loss on targets or class indices y of the best constant answer."""
    if (baseline := model.baseline(y)) is not None:
        return baseline
    if model.multi_label:
        return mean_label_entropy(y.mean(axis=0))
    if recipe.class_weights != "none":
        return math.log(model.widths[-1])
    shares = np.bincount(y) / len(y)
    return float(-(shares[shares > 0] * np.log(shares[shares > 0])).sum())


def mean_label_entropy(shares: np.ndarray) -> float:
    """Return the mean binary cross-entropy of labels (L,) that always have their share as probability."""
    inside = shares[(shares > 0) & (shares < 1)]
    return float(-(inside * np.log(inside) + (1 - inside) * np.log1p(-inside)).sum() / len(shares))


def train(
    recipe: Recipe, dataset: Dataset, plan: Plan, model: Model, backend: Backend, stop: Callable[[], bool]
) -> Finished:
    """Return the last event of a training."""
    *_, finished = fit(recipe, dataset, plan, backend, model=model, stop=stop)
    assert isinstance(finished, Finished), "fit ends with Finished"
    return finished


def check_linear_model(
    metrics: Metrics, linear: LinearModel, recipe: Recipe, baseline: float | None, rows: int
) -> RunWarning | None:
    """Return a warning if a linear model does as well as the network whose metrics on the test part are given.

    Classes are compared by the accuracy, with class weights by the mean recall; numbers by the loss. A linear model
    that is no better than the commonest class, or than the best constant with the loss `baseline` on `rows` rows,
    says nothing about the network.
    """
    if metrics.label_confusion is not None:
        return check_linear_labels(metrics, linear)
    if metrics.confusion is None:
        assert baseline is not None, "a regression has a baseline"
        found, other = metrics.loss, linear.test.loss
        if other > found or not beats_constant(recipe.loss, other, baseline, rows):
            return None
        name, figure, texts = "loss", "loss", (decimals(other), decimals(found))
    else:
        assert metrics.accuracy is not None, "classes have an accuracy"
        assert linear.test.accuracy is not None, "classes have an accuracy"
        assert linear.balanced_accuracy is not None, "classes have recalls"
        if recipe.class_weights == "none":
            name, figure, found, other = "accuracy", "accuracy", metrics.accuracy, linear.test.accuracy
        else:
            name, figure = "mean recall", "balanced_accuracy"
            found, other = mean_recall(metrics.confusion), linear.balanced_accuracy
        assert linear.test.confusion is not None, "the confusion of a test part is counted"
        several = np.count_nonzero(metrics.confusion.sum(axis=1)) > 1  # of one class every answer may be right
        if other < found or not several or not beats_commonest_class(linear.test.confusion):
            return None
        texts = percent(other), percent(found)
    return as_good_warning(name, figure, found, other, texts)


def check_linear_labels(metrics: Metrics, linear: LinearModel) -> RunWarning | None:
    """Return a warning if a linear model has as many labels right as the network; None if it has learned none."""
    counts, found, other = linear.test.label_confusion, metrics.accuracy, linear.test.accuracy
    assert counts is not None, "the labels of a test part are counted"
    assert found is not None, "labels have an accuracy"
    assert other is not None, "labels have an accuracy"
    if other < found or not beats_commonest_labels(counts).any():
        return None
    return as_good_warning("accuracy", "accuracy", found, other, (percent(other), percent(found)))


def as_good_warning(name: str, figure: str, found: float, other: float, texts: tuple[str, str]) -> RunWarning:
    """Return the warning that a linear model, with the result `other`, is as good as the network with `found`."""
    return RunWarning(
        CHECK,
        f"A linear model of the same columns is at least as good as the network: its test {name} is {texts[0]}, that "
        f"of the network {texts[1]}. Use {option('hidden', [])}, or train a network that gains more (other "
        f"{setting('epochs')}, {setting('lr')} or {setting('hidden')}).",
        {figure: found, f"linear_{figure}": other},
    )
