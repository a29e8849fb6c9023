"""Networks with scikit-learn's interface: `MLPClassifier` and `MLPRegressor`."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import compute_class_weight
from sklearn.utils.multiclass import _check_partial_fit_first_call, check_classification_targets, type_of_target
from sklearn.utils.validation import column_or_1d

from lagvis.api.estimator_base import BaseMLP, Targets
from lagvis.data.array_source import CLASSES, LABELS, NUMBERS
from lagvis.data.dataset import Dataset
from lagvis.interchange import like
from lagvis.training.evaluation import Metrics
from lagvis.training.model import LABEL_THRESHOLD

BALANCED = "balanced"
CLASS_WEIGHT_OF_LABELS = "class_weight is for classes, and y has labels; expected None, or sample_weight in fit"


class MLPClassifier(ClassifierMixin, BaseMLP):  # type: ignore[misc]  # scikit-learn has no types
    """A dense network for classes, or for labels of which a row may have several.

    recipe          the settings: the name of a recipe that ships, a TOML file, or a Recipe
    random_state    seed of the weights, the order of the rows and the validation part: a number, a RandomState, or None
                    for another one in each fit
    class_weight    None, "balanced" (rare classes weigh as much as common ones), or a weight of each class, as a dict
    early_stopping  whether to hold out `validation` rows (None: as the recipe has it, or a tenth) and to stop after
                    `patience` epochs (None: as the recipe has it, or 10) without a lower loss on them; the network is
                    then that of the best epoch
    validation      number of rows held out; without early_stopping they are only scored after each epoch
    warm_start      whether `fit` goes on with the network of the fit before, with a new state of the optimizer
    device          "auto", "cpu", "cuda", "cuda:1", ...; a device that is named never falls back to another
    backend         "numpy", "cupy", "torch" or "jax"; None: by the device
    threads         CPU threads of NumPy and PyTorch; None: by the size of the network
    verbose         whether to show progress and notices on stderr, or in a notebook below its cell

    All other parameters are keys of a recipe, which docs/training.md describes; None leaves them as the recipe has
    them. `lr="find"` finds the learning rate by a short test. Keys that say how files are read (label, features, drop,
    category, number, log, id, weight_column, sheet, table, feature_type, transpose) are no parameters: there is no
    file.

    y holds classes of any kind, or (n_samples, L) labels of 0 and 1. X of uint8 holds pixels from 0 to 255,
    unless it is all zeros and ones; all other numbers are standardised by what the training rows show, so a scaler
    before the network is not needed. Data frames of pandas and polars are taken; one with columns of text, categories
    or dates is learned from as `Dataset.from_frame` reads it, missing cells included.

    `partial_fit` makes one pass over its rows, at a constant learning rate; scalings are those of the first call.
    There is no ConvergenceWarning: a recipe sets the number of steps, and its schedule ends with them.

    classes_                  the classes, or the numbers of the labels, in the order of the outputs
    model_                    the trained network (TrainedModel), which `save` writes for `lagvis.load` and the commands
    recipe_                   all settings that were in force (Recipe)
    history_                  {name: one number an epoch}, with the columns of metrics.csv
    warnings_                 sentences on what makes the result mean less than it seems
    loss_curve_, loss_        training loss of each epoch, and of the last
    best_loss_                the lowest of them
    validation_scores_        accuracy on the validation part after each epoch; None without one
    best_validation_score_    the highest of them
    n_iter_                   epochs of the last fit
    t_                        rows that were learned from, each as often as it was
    coefs_, intercepts_       weights (n_in, n_out) and biases of each layer; they act on scaled inputs
    n_layers_, n_outputs_     number of layers with the inputs, and of outputs
    out_activation_           "softmax", "logistic" or "identity"
    n_features_in_, feature_names_in_  of X, as in scikit-learn

    A pickled estimator holds its network as the content of a .safetensors file, and nothing of the device.

    >>> import lagvis as lv
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.model_selection import train_test_split
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
    >>> network = lv.MLPClassifier(hidden=16, random_state=0).fit(X_train, y_train)
    >>> network.score(X_test, y_test) > 0.95
    True
    >>> network.predict(X_test[:2]).shape, network.predict_proba(X_test[:2]).shape
    ((2,), (2, 2))
    """

    def __init__(
        self,
        recipe: Any = "table",
        *,
        hidden: int | Sequence[int] | None = None,
        activation: str | None = None,
        loss: str | None = None,
        label_smoothing: float | None = None,
        class_weight: str | Mapping[Any, float] | None = None,
        optimizer: str | None = None,
        lr: float | str | None = None,
        momentum: float | None = None,
        nesterov: bool | None = None,
        betas: Sequence[float] | None = None,
        rho: float | None = None,
        eps: float | None = None,
        weight_decay: float | None = None,
        schedule: str | None = None,
        warmup: float | None = None,
        min_lr_ratio: float | None = None,
        lr_step_size: float | None = None,
        lr_gamma: float | None = None,
        base_momentum: float | None = None,
        normalization: str | None = None,
        dropout: float | None = None,
        input_dropout: float | None = None,
        input_noise: float | None = None,
        mixup: float | None = None,
        l1: float | None = None,
        max_norm: float | None = None,
        clip_norm: float | None = None,
        ema: float | None = None,
        epochs: int | None = None,
        min_steps: int | None = None,
        batch_size: int | None = None,
        accumulate: int | None = None,
        shuffle: bool | None = None,
        early_stopping: bool = False,
        validation: int | None = None,
        patience: int | None = None,
        warm_start: bool = False,
        pixel_scaling: str | None = None,
        number_scaling: str | None = None,
        dtype: str | None = None,
        random_state: Any = None,
        device: str = "auto",
        backend: str | None = None,
        threads: int | None = None,
        verbose: bool = False,
    ) -> None:
        store_parameters(self, locals())

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:
        """Train for one pass over rows X (n_samples, n_features), which may be a part of the data.

        sample_weight  (n_samples,) how much each row counts, from 0
        classes        all classes, or the numbers of all labels; needed in the first call
        """
        if self.class_weight == BALANCED:
            raise ValueError(
                "class_weight is 'balanced', and partial_fit does not know all rows; give a dict of the weight of each "
                "class, from sklearn.utils.class_weight.compute_class_weight"
            )
        _check_partial_fit_first_call(self, classes)
        return self._partial_fit(X, y, sample_weight, self.classes_)

    def predict(self, X: Any) -> Any:
        """Return the class (n_samples,) of each row, or its labels (n_samples, L) of 0 and 1."""
        outputs, X = self._outputs(X)
        if self.model_.checkpoint.model.multi_label:
            return like((outputs > LABEL_THRESHOLD).astype(np.int64), X)
        return like(self.classes_[outputs.argmax(axis=1)], X, exact=True)

    def predict_proba(self, X: Any) -> Any:
        """Return the probability (n_samples, n_classes) of each class, or of each label."""
        outputs, X = self._outputs(X)
        return like(outputs, X)

    def predict_log_proba(self, X: Any) -> Any:
        """Return the logarithm of `predict_proba`; minus infinity for a probability of 0."""
        outputs, X = self._outputs(X)
        with np.errstate(divide="ignore"):
            return like(np.log(outputs), X)

    def _encode_targets(self, y: np.ndarray, classes: np.ndarray | None) -> Targets:
        check_classification_targets(y)
        kind = type_of_target(y)
        if kind == "multilabel-indicator":
            labels = np.arange(y.shape[1])
            if classes is not None and len(classes) != len(labels):
                raise ValueError(f"y has {len(labels)} labels a row; expected {len(classes)}")
            return Targets(LABELS, y.astype(np.uint8), labels)
        if kind not in ("binary", "multiclass"):
            raise ValueError(f"y is of the kind {kind}; expected one class a row, or labels of 0 and 1")
        y = column_or_1d(y, warn=True)
        found = np.unique(y)
        known = found if classes is None else classes
        if len(known) < 2:
            raise ValueError(f"y has 1 class, {known.tolist()[0]!r}; a classifier needs at least two classes")
        if len(unknown := np.setdiff1d(found, known)):
            raise ValueError(f"y has the classes {unknown.tolist()}, which are not among {known.tolist()}")
        return Targets(CLASSES, np.searchsorted(known, y), known)

    def _weights(self, X: Any, sample_weight: Any, targets: Targets) -> np.ndarray | None:
        weights = super()._weights(X, sample_weight, targets)
        if not isinstance(self.class_weight, Mapping):
            return weights
        if targets.kind == LABELS:
            raise ValueError(CLASS_WEIGHT_OF_LABELS)
        y = targets.classes[targets.values]
        of_classes = compute_class_weight(dict(self.class_weight), classes=targets.classes, y=y)
        return of_classes[targets.values] * (1.0 if weights is None else weights)

    def _settings(self, dataset: Dataset) -> dict[str, Any]:
        settings = super()._settings(dataset)
        if self.class_weight is None or isinstance(self.class_weight, Mapping):
            return settings
        if self.class_weight != BALANCED:
            raise ValueError(f"class_weight is {self.class_weight!r}; expected None, 'balanced', or a dict")
        if dataset.multi_label:
            raise ValueError(CLASS_WEIGHT_OF_LABELS)
        return settings | {"class_weights": BALANCED}

    def _validation_score(self, metrics: Metrics, y: np.ndarray) -> float:
        score = metrics.accuracy if metrics.exact_match is None else metrics.exact_match
        assert score is not None, "classes have an accuracy"
        return score

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class MLPRegressor(RegressorMixin, BaseMLP):  # type: ignore[misc]  # scikit-learn has no types
    """A dense network for one or several numbers.

    Parameters and attributes are those of `MLPClassifier`, without those that are for classes; `huber_delta` is the
    error, in deviations of the target, from which `loss="huber"` grows in proportion to it. `validation_scores_` are
    R².

    Targets are standardised by what the training rows show, and predictions come in their unit. The weights of rows
    count in training; `score` is R².

    >>> import lagvis as lv
    >>> import numpy as np
    >>> X = np.linspace(-1, 1, 200)[:, None]
    >>> network = lv.MLPRegressor(dropout=0.0, random_state=0).fit(X, np.sin(3 * X[:, 0]))
    >>> network.score(X, np.sin(3 * X[:, 0])) > 0.9
    True
    """

    def __init__(
        self,
        recipe: Any = "table",
        *,
        hidden: int | Sequence[int] | None = None,
        activation: str | None = None,
        loss: str | None = None,
        huber_delta: float | None = None,
        optimizer: str | None = None,
        lr: float | str | None = None,
        momentum: float | None = None,
        nesterov: bool | None = None,
        betas: Sequence[float] | None = None,
        rho: float | None = None,
        eps: float | None = None,
        weight_decay: float | None = None,
        schedule: str | None = None,
        warmup: float | None = None,
        min_lr_ratio: float | None = None,
        lr_step_size: float | None = None,
        lr_gamma: float | None = None,
        base_momentum: float | None = None,
        normalization: str | None = None,
        dropout: float | None = None,
        input_dropout: float | None = None,
        input_noise: float | None = None,
        mixup: float | None = None,
        l1: float | None = None,
        max_norm: float | None = None,
        clip_norm: float | None = None,
        ema: float | None = None,
        epochs: int | None = None,
        min_steps: int | None = None,
        batch_size: int | None = None,
        accumulate: int | None = None,
        shuffle: bool | None = None,
        early_stopping: bool = False,
        validation: int | None = None,
        patience: int | None = None,
        warm_start: bool = False,
        pixel_scaling: str | None = None,
        number_scaling: str | None = None,
        dtype: str | None = None,
        random_state: Any = None,
        device: str = "auto",
        backend: str | None = None,
        threads: int | None = None,
        verbose: bool = False,
    ) -> None:
        store_parameters(self, locals())

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for one pass over rows X (n_samples, n_features), which may be a part of the data.

        sample_weight  (n_samples,) how much each row counts, from 0
        """
        return self._partial_fit(X, y, sample_weight, None)

    def predict(self, X: Any) -> Any:
        """Return the numbers (n_samples,) or (n_samples, n_outputs) of each row, in the unit of the targets."""
        outputs, X = self._outputs(X)
        return like(outputs[:, 0] if outputs.shape[1] == 1 else outputs, X)

    def _encode_targets(self, y: np.ndarray, classes: np.ndarray | None) -> Targets:
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return Targets(NUMBERS, y, np.empty(0))

    def _validation_score(self, metrics: Metrics, y: np.ndarray) -> float:
        squares, variance = np.square(metrics.errors), y.var(axis=0)
        # as scikit-learn's r2_score: 1 for a constant target that is met, 0 for one that is not
        score = np.where(variance > 0, 1.0 - squares / np.where(variance > 0, variance, 1.0), squares == 0)
        return float(score.mean())

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def store_parameters(estimator: BaseMLP, arguments: dict[str, Any]) -> None:
    """Set the arguments of a constructor as attributes, as scikit-learn's `get_params` expects them."""
    for name, value in arguments.items():
        if name != "self":
            setattr(estimator, name, value)
