"""What `MLPClassifier` and `MLPRegressor` share: from scikit-learn's arguments to a recipe, a data set and a run."""

import contextlib
import math
import numbers
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple, Self

import numpy as np
from sklearn.base import BaseEstimator, is_regressor
from sklearn.utils import check_random_state
from sklearn.utils.validation import (
    _check_sample_weight,
    _check_y,
    check_consistent_length,
    check_is_fitted,
    validate_data,
)

from lagvis.api.estimator_frames import has_columns_without_numbers, source_of_frame
from lagvis.api.setup import READING_KEYS, PreparedRun, prepare_run, recipe_values
from lagvis.api.trained_model import TrainedModel
from lagvis.api.training import run_training
from lagvis.data.array_source import CLASSES, LABELS, NUMBERS, array_source
from lagvis.data.dataset import Dataset, make_dataset
from lagvis.data.labels import default_names
from lagvis.data.source import Source
from lagvis.data.tables.data_frame import is_frame
from lagvis.errors import DeviceError, LagvisError, OutOfMemoryError, RecipeError
from lagvis.interchange import to_numpy
from lagvis.network.step import evaluated_layers, split_running
from lagvis.option_text import messages_for_python
from lagvis.storage.checkpoint_file import checkpoint_from_bytes
from lagvis.training import recipe as recipes
from lagvis.training.checkpoint import Checkpoint, checkpoint_bytes
from lagvis.training.evaluation import Metrics
from lagvis.training.events import EpochEnded
from lagvis.training.factory import first_state
from lagvis.training.plan import SMALL_VALIDATION_SHARE
from lagvis.training.recipe import SCHEDULE_KEYS, Recipe
from lagvis.training.recipe_keys import KEYS

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn before 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands for scikit-learn's support of callbacks, where it has none."""

    def with_callbacks(method: Any) -> Any:
        """Return the method itself."""
        return method


# Recipe keys that have another name here, with a meaning that scikit-learn has fixed.
RENAMED_KEYS = {"seed": "random_state", "class_weights": "class_weight"}
# Keys of a recipe that are parameters under their own names; the others say how files are read.
RECIPE_PARAMETERS = tuple(key for key in KEYS if key not in {"data", *READING_KEYS, *RENAMED_KEYS})
DEFAULT_PATIENCE = 10  # epochs, of early_stopping where neither a parameter nor the recipe gives any
# Keys that make the network what it is: a training that goes on cannot change them.
NETWORK_KEYS = (
    "hidden", "activation", "loss", "huber_delta", "normalization", "pixel_scaling", "number_scaling", "dtype",
)  # fmt: skip
STATE_KEYS = ("optimizer", "ema")  # keys that decide what an optimizer keeps, beside the parameters
BINARY = 1  # largest value of X of uint8 that is no pixel
# What partial_fit sets: it does not know how many calls follow.
ONE_PASS = {"epochs": 1, "min_steps": 0, "schedule": "constant", "warmup": 0.0, "validation": 0, "patience": 0}
MAX_DRAWN_SEED = 2**31 - 1
OUTPUT_ACTIVATIONS = {CLASSES: "softmax", LABELS: "logistic", NUMBERS: "identity"}
CHECKPOINT = "checkpoint"  # entry of a pickled estimator


class Targets(NamedTuple):
    """Targets of a fit.

    kind     "classes", "labels" or "numbers"
    values   (N,) class indices, (N, L) labels of 0 and 1, or (N,) or (N, n) numbers
    classes  the user's classes (K,) in the order of the outputs; () for numbers
    """

    kind: str
    values: np.ndarray
    classes: np.ndarray


@contextlib.contextmanager
def scikit_learn_errors() -> Iterator[None]:
    """Raise errors of Lagvis as those that scikit-learn has for them, with the same text."""
    try:
        with messages_for_python():
            yield
    except OutOfMemoryError as error:
        raise MemoryError(str(error)) from error
    except DeviceError as error:
        raise RuntimeError(str(error)) from error
    except LagvisError as error:
        raise ValueError(str(error)) from error


class BaseMLP(CallbackSupportMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Base of the estimators; `_encode_targets` and `_validation_score` are those of each."""

    recipe: Any
    device: str
    backend: str | None
    threads: int | None
    verbose: bool
    random_state: Any
    early_stopping: bool
    warm_start: bool
    patience: int | None
    validation: int | None
    model_: TrainedModel
    recipe_: Recipe
    history_: dict[str, list[Any]]
    t_: int

    @abstractmethod
    def _encode_targets(self, y: np.ndarray, classes: np.ndarray | None) -> Targets:
        """Return targets y, of known classes or of those in y; ValueError if they are not what is learned."""

    @abstractmethod
    def _validation_score(self, metrics: Metrics, y: np.ndarray) -> float:
        """Return the score of an epoch on the validation rows with the targets y."""

    @with_callbacks  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train a network on rows X (n_samples, n_features) with their targets y.

        sample_weight  (n_samples,) how much each row counts in training, from 0
        """
        goes_on = bool(self.warm_start) and hasattr(self, "model_")
        with scikit_learn_errors():
            classes = getattr(self, "classes_", None) if goes_on else None
            dataset, targets = self._read(X, y, sample_weight, classes, goes_on=goes_on)
            run = self._prepare(dataset, self._settings(dataset), goes_on=goes_on)
            start = None
            if goes_on:
                self._check_unchanged(run.recipe, NETWORK_KEYS)
                if targets.kind == CLASSES and len(found := np.unique(targets.values)) < len(targets.classes):
                    raise ValueError(
                        f"y has the classes {targets.classes[found].tolist()}, and the network that is trained on has "
                        f"{targets.classes.tolist()}; warm_start goes on with the same classes"
                    )
                params, running = split_running(evaluated_layers(self.model_.checkpoint.state))
                start = Checkpoint(run.model, first_state(run.recipe, params, running), 0, 0)
            with self._callbacks(run, X, y, targets) as epoch_ended:
                self._train(run, targets, start, goes_on=goes_on, epoch_ended=epoch_ended)
        return self

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any, classes: np.ndarray | None) -> Self:
        """Train for one pass over the rows: at a constant rate, with the optimizer state of the call before."""
        if self.early_stopping:
            raise ValueError("partial_fit makes one pass over the rows and does not support early_stopping=True")
        goes_on = hasattr(self, "model_")
        with scikit_learn_errors():
            dataset, targets = self._read(X, y, sample_weight, classes, goes_on=goes_on)
            settings = {key: value for key, value in self._settings(dataset).items() if key not in SCHEDULE_KEYS}
            settings |= ONE_PASS
            if goes_on:
                settings["seed"] = self.recipe_.seed
                if recipes.finds_rate(recipe_values(self.recipe), settings):
                    settings["lr"] = self.recipe_.lr
            run = self._prepare(dataset, settings, goes_on=goes_on)
            start = None
            if goes_on:
                self._check_unchanged(run.recipe, (*NETWORK_KEYS, *STATE_KEYS))
                # The first epoch with as many steps before it as were taken: corrections by the number of steps and
                # random numbers go on, though passes differ in their number of steps.
                steps, checkpoint = run.plan.steps_per_epoch, self.model_.checkpoint
                epoch = -(-checkpoint.step // steps)
                start = replace(checkpoint, epoch=epoch, step=epoch * steps, best_epoch=0, best_loss=math.inf)
                run = replace(run, plan=replace(run.plan, epochs=epoch + 1))
            self._train(run, targets, start, goes_on=goes_on)
        return self

    def _read(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        classes: np.ndarray | None,
        *,
        goes_on: bool,
    ) -> tuple[Dataset, Targets]:
        """Check the arguments of a fit as scikit-learn does, and return them as a data set."""
        of_table = self._reads_tables if goes_on else has_columns_without_numbers(X)
        name = getattr(y, "name", None)
        X, y = self._validate(X, y, reset=not goes_on, of_table=of_table)
        targets = self._encode_targets(y if isinstance(y, np.ndarray) else to_numpy(y, "y"), classes)
        weights = self._weights(X, sample_weight, targets)
        if of_table and not goes_on:
            source = source_of_frame(X, targets.values, targets.kind, name if isinstance(name, str) else None)
            if weights is not None:
                source = replace(source, w_train=weights, weights_name="sample_weight")
        else:
            rows = self.model_._rows(X) if goes_on else first_rows(to_numpy(X, "X"))
            names = () if of_table else tuple(getattr(self, "feature_names_in_", ()))
            source, _, _ = array_source(
                rows, targets.values, sample_weight=weights, targets=targets.kind,
                feature_names=names if len({*names}) == len(names) else (), name="X",
            )  # fmt: skip
        dataset = self._as_dataset(source, targets)
        if goes_on and dataset.n_out != (known := self.model_.widths[-1]):
            raise ValueError(f"y has {dataset.n_out} targets a row; the network that is trained on predicts {known}")
        return dataset, targets

    @staticmethod
    def _as_dataset(source: Source, targets: Targets) -> Dataset:
        """Return a source as a data set with all classes of the targets."""
        if targets.kind == NUMBERS:
            return make_dataset(source, NUMBERS).without_test()
        dataset = make_dataset(source, targets.kind, default_names(len(targets.classes))).without_test()
        return replace(dataset, class_names=class_names(targets.classes))

    @property
    def _reads_tables(self) -> bool:
        """Whether the network learned from a data frame whose columns were encoded."""
        return self.model_.checkpoint.model.encoding is not None

    def _validate(self, X: Any, *targets: Any, reset: bool, of_table: bool) -> Any:
        """Return X, or X and the targets y, checked by scikit-learn; columns of a table only by their names."""
        options = {"multi_output": True, "y_numeric": is_regressor(self)} if targets else {}
        if not of_table:
            return validate_data(self, X, *targets, reset=reset, dtype="numeric", **options)
        if not is_frame(X):
            raise ValueError(
                f"X is of the type {type(X).__name__}, and the network learned from a data frame with columns of text, "
                "categories or dates; give a data frame with the same columns"
            )
        checked = validate_data(self, X, *targets, reset=reset, skip_check_array=True)
        if not targets:
            return checked
        y = _check_y(targets[0], estimator=self, **options)
        check_consistent_length(X, y)
        return X, y

    def _weights(self, X: Any, sample_weight: Any, targets: Targets) -> np.ndarray | None:
        """Return the weights (N,) of rows; None if all count the same."""
        if sample_weight is None:
            return None
        return to_numpy(_check_sample_weight(sample_weight, X, ensure_non_negative=True), "sample_weight")

    def _settings(self, dataset: Dataset) -> dict[str, Any]:
        """Return the keys of a recipe that the parameters set."""
        parameters = self.get_params(deep=False)
        settings = {key: parameters[key] for key in RECIPE_PARAMETERS if parameters.get(key) is not None}
        settings["seed"] = seed_of(self.random_state)
        values = recipe_values(self.recipe)
        if not self.early_stopping:
            if self.patience:
                raise ValueError(f"patience is {self.patience!r}, and early_stopping is False; set it to True")
            return {"validation": 0} | settings | {"patience": 0}
        if not values.get("patience", Recipe.patience):
            settings = {"patience": DEFAULT_PATIENCE} | settings
        if not values.get("validation", Recipe.validation):
            rows = len(dataset.x_train) if dataset.w_train is None else np.count_nonzero(dataset.w_train)
            settings = {"validation": max(1, int(SMALL_VALIDATION_SHARE * rows))} | settings
        return settings

    def _prepare(self, dataset: Dataset, settings: dict[str, Any], *, goes_on: bool) -> PreparedRun:
        """Prepare the training of some settings, with the scalings of the network so far if it goes on."""
        model = self.model_.checkpoint.model if goes_on else None
        return prepare_run(dataset, self.recipe, settings, self.device, self.backend, self.threads, model)

    def _check_unchanged(self, recipe: Recipe, keys: tuple[str, ...]) -> None:
        """Raise RecipeError for a key that differs from that of the network so far."""
        for key in keys:
            was, wanted = getattr(self.recipe_, key), getattr(recipe, key)
            if was != wanted:
                raise RecipeError(
                    f"{key} is {wanted!r}, and the network that is trained on has {was!r}; set it to that, or train a "
                    "new network: fit with warm_start=False"
                )

    @contextlib.contextmanager
    def _callbacks(
        self,
        run: PreparedRun,
        X: Any,
        y: Any,
        targets: Targets,
    ) -> Iterator[Callable[[EpochEnded], bool]]:
        """Tell the callbacks of scikit-learn that a fit begins and ends; yield the function for the end of an epoch."""
        if not hasattr(self, "_skl_callbacks") and not hasattr(self, "_parent_callback_ctx"):
            yield lambda event: False
            return
        context = self._init_callback_context(max_subtasks=None if run.plan.patience else run.plan.epochs)
        context.call_on_fit_task_begin(estimator=self, X=X, y=y)

        def begin_epoch() -> Any:
            return context.subcontext(task_name="epoch").call_on_fit_task_begin(estimator=self, X=X, y=y)

        epoch: Any = begin_epoch() if run.plan.epochs else None

        def epoch_ended(event: EpochEnded) -> bool:
            nonlocal epoch
            fitted = self._fitted(event.checkpoint, targets, run.recipe)
            stop = bool(epoch.call_on_fit_task_end(estimator=self, X=X, y=y, reconstruction_attributes=fitted))
            is_last = event.epoch == run.plan.epochs or event.checkpoint.out_of_patience(run.plan.patience)
            if not is_last and not stop:
                epoch = begin_epoch()
            return stop

        yield epoch_ended
        fitted = self._fitted(self.model_.checkpoint, targets, run.recipe)
        context.call_on_fit_task_end(estimator=self, X=X, y=y, reconstruction_attributes=fitted)

    def _train(
        self,
        run: PreparedRun,
        targets: Targets,
        start: Checkpoint | None,
        *,
        goes_on: bool,
        epoch_ended: Callable[[EpochEnded], bool] = lambda event: False,
    ) -> None:
        """Train, and set the attributes of the result; those that are lists grow if the training goes on."""
        scores: list[float] = []
        stopped = False
        y_validation = run.dataset.y_train[run.plan.validation_rows]

        def watch(event: EpochEnded) -> bool:
            nonlocal stopped
            if event.validation is not None:
                scores.append(self._validation_score(event.validation, y_validation))
            stopped = epoch_ended(event)
            return stopped

        result = run_training(run, verbose=self.verbose, start=start, epoch_ended=watch)
        if result.reason == "interrupted" and not stopped:
            warnings.warn("Training interrupted by user.", stacklevel=4)
        self.__dict__.update(self._fitted(result.model.checkpoint, targets, run.recipe))
        self.warnings_ = tuple(warning.message for warning in result.warnings)
        self.n_iter_ = len(result.history.get("epoch", ()))
        seen = self.n_iter_ * run.plan.samples_seen(run.plan.steps_per_epoch)
        self.t_ = seen + (self.t_ if goes_on else 0)
        self.history_ = joined(self.history_ if goes_on else {}, result.history)
        self.loss_curve_ = list(self.history_.get("train_loss", ()))
        self.loss_ = self.loss_curve_[-1] if self.loss_curve_ else math.nan
        self.validation_scores_ = None
        self.best_validation_score_ = None
        self.best_loss_ = min(self.loss_curve_, default=math.nan)
        if scores:
            self.validation_scores_ = scores
            self.best_validation_score_ = max(scores)

    def _fitted(self, checkpoint: Checkpoint, targets: Targets, recipe: Recipe) -> dict[str, Any]:
        """Return the attributes of an estimator that is fitted with the network of a checkpoint."""
        fitted = network_attributes(TrainedModel(checkpoint)) | {
            "recipe_": recipe,
            "n_layers_": len(checkpoint.model.widths),
            "n_outputs_": checkpoint.model.widths[-1],
            "out_activation_": OUTPUT_ACTIVATIONS[targets.kind],
        }
        return fitted | ({} if targets.kind == NUMBERS else {"classes_": targets.classes})

    def _outputs(self, X: Any) -> tuple[np.ndarray, Any]:
        """Return the outputs (n_samples, n_outputs) of the network, and X as scikit-learn has checked it."""
        check_is_fitted(self)
        X = self._validate(X, reset=False, of_table=self._reads_tables)
        with scikit_learn_errors():
            return self.model_._outputs(self.model_._rows(X)), X

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def __getstate__(self) -> dict[str, Any]:
        """Return the parameters and attributes for a pickle; the network is the content of a .safetensors file."""
        state = dict(super().__getstate__())
        if "model_" in state:
            for name in network_attributes(self.model_):
                del state[name]
            state[CHECKPOINT] = checkpoint_bytes(self.model_.checkpoint)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore an estimator; CheckpointError if its network is damaged."""
        state = dict(state)
        content = state.pop(CHECKPOINT, None)
        super().__setstate__(state)
        if content is not None:
            model = TrainedModel(checkpoint_from_bytes(content, f"the pickled {type(self).__name__}"))
            self.__dict__.update(network_attributes(model))


def network_attributes(model: TrainedModel) -> dict[str, Any]:
    """Return the attributes of an estimator that hold arrays of its network."""
    return {
        "model_": model,
        "coefs_": [layer["W"] for layer in model.layers],
        "intercepts_": [layer["b"] for layer in model.layers],
    }


def first_rows(rows: np.ndarray) -> np.ndarray:
    """Return rows as a new network learns from them: uint8 as pixels, unless they are all zeros and ones."""
    return rows.astype(np.float64) if rows.dtype == np.uint8 and rows.max() <= BINARY else rows


def seed_of(random_state: Any) -> int:
    """Return the seed of a recipe: the number itself, or one that a generator of NumPy draws."""
    if isinstance(random_state, numbers.Integral):
        return int(random_state)
    return int(check_random_state(random_state).randint(MAX_DRAWN_SEED))


def class_names(classes: np.ndarray) -> tuple[str, ...]:
    """Return classes as the names of the outputs; their numbers from 0 where names are not printable or not unique."""
    values = classes.tolist()
    if all(isinstance(value, float) and value.is_integer() for value in values):
        values = [int(value) for value in values]
    names = tuple(map(str, values))
    fit = len({*names}) == len(names) and all(name and name.isprintable() for name in names)
    return names if fit else default_names(len(names))


def joined(before: dict[str, list[Any]], history: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Return the history of a training that went on: its epochs are counted from the beginning."""
    if not before or not history:
        return history or before
    found = {name: [*before[name], *values] for name, values in history.items()}
    return found | {"epoch": [*range(1, len(found["epoch"]) + 1)]}
