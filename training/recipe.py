"""Recipes: the settings of a run. TOML files of flat keys and command-line flags both become a checked `Recipe`."""

import contextlib
import dataclasses
import math
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from lagvis.data.read_options import ReadOptions
from lagvis.errors import RecipeError
from lagvis.network.losses import LOSSES, LossEntry
from lagvis.network.optimizers import OPTIMIZERS, OptimizerEntry
from lagvis.network.schedules import SCHEDULES, ScheduleEntry
from lagvis.training.recipe_checks import FIND, as_toml
from lagvis.training.recipe_hints import decode, did_you_mean, key_hint, toml_hint
from lagvis.training.recipe_keys import KEYS

DEFAULT_SMOOTHING = 0.1
# Options of train.py that say where and how a run is computed; they do not belong in a recipe.
COMMAND_LINE_OPTIONS = ("device", "backend", "threads", "name", "resume", "recipe")
CLASSIFICATION_KEYS = ("label_smoothing", "class_weights")
# Settings of the losses, the optimizers and the schedules, with the value that they have where one does not take them.
LOSS_KEYS: dict[str, Any] = {"huber_delta": 1.0}
OPTIMIZER_KEYS: dict[str, Any] = {
    "momentum": 0.0, "nesterov": False, "betas": (), "rho": 0.0, "eps": 0.0, "weight_decay": 0.0,
}  # fmt: skip
SCHEDULE_KEYS: dict[str, Any] = {
    "warmup": 0.0, "min_lr_ratio": 0.0, "lr_step_size": 0.0, "lr_gamma": 0.0, "base_momentum": 0.0,
}  # fmt: skip
POSITIVE_KEYS = ("eps", "lr_step_size", "lr_gamma")  # 0 only where they are not taken
# Of the default rate of an optimizer whose steps are as long as the gradient: errors of numbers may be far larger than
# those of classes.
REGRESSION_LR_DIVISOR = 10.0
# Numbers that the steps use in the dtype of the run.
STEP_NUMBERS = ("huber_delta", "lr", "eps", "weight_decay", "input_noise", "l1", "max_norm", "clip_norm")
FOLDER = Path(__file__).resolve().parent.parent / "recipes"


@dataclass(frozen=True)
class Recipe:
    """Every setting that decides a run, apart from where it is computed. `KEYS` holds what each may be.

    The defaults are the recipe `default`: recipes/default.toml documents them, and a test holds the two equal.
    """

    data: str = "mnist"
    label: str = ""
    feature_type: str = "auto"
    transpose: str = "auto"
    features: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    category: tuple[str, ...] = ()
    number: tuple[str, ...] = ()
    log: tuple[str, ...] = ()
    id: tuple[str, ...] = ()
    weight_column: str = ""
    sheet: str = ""
    table: str = ""
    pixel_scaling: str = "centred"
    number_scaling: str = "standard"
    hidden: tuple[int, ...] = (64, 64, 64)
    activation: str = "relu"
    loss: str = "cross-entropy"
    huber_delta: float = None  # type: ignore[assignment]  # set below, by the loss
    label_smoothing: float = None  # type: ignore[assignment]  # set below: 0.1 for classes, 0 for labels and numbers
    class_weights: str = "none"
    optimizer: str = "sgd"
    # Set below where they are None: every optimizer has its own defaults.
    lr: float = None  # type: ignore[assignment]
    momentum: float = None  # type: ignore[assignment]
    nesterov: bool = None  # type: ignore[assignment]
    betas: tuple[float, ...] = None  # type: ignore[assignment]
    rho: float = None  # type: ignore[assignment]
    eps: float = None  # type: ignore[assignment]
    weight_decay: float = None  # type: ignore[assignment]
    schedule: str = "linear"
    # As above: every schedule has its own defaults.
    warmup: float = None  # type: ignore[assignment]
    min_lr_ratio: float = None  # type: ignore[assignment]
    lr_step_size: float = None  # type: ignore[assignment]
    lr_gamma: float = None  # type: ignore[assignment]
    base_momentum: float = None  # type: ignore[assignment]
    normalization: str = "none"
    dropout: float = 0.0
    input_dropout: float = 0.0
    input_noise: float = 0.0
    mixup: float = 0.0
    l1: float = 0.0
    max_norm: float = 0.0
    clip_norm: float = 0.0
    ema: float = 0.0
    patience: int = 0
    epochs: int = 10
    min_steps: int = 0
    batch_size: int = 100
    accumulate: int = 1
    shuffle: bool = True
    validation: int = 5000
    seed: int = 0
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if vars(self)["label_smoothing"] is None:
            smoothing = DEFAULT_SMOOTHING if target_kind(self.loss) == "classes" else 0.0
            object.__setattr__(self, "label_smoothing", smoothing)
        self._set_defaults("loss", LOSSES, LOSS_KEYS)
        self._set_defaults("optimizer", OPTIMIZERS, OPTIMIZER_KEYS)
        self._set_defaults("schedule", SCHEDULES, SCHEDULE_KEYS)
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, KEYS[field.name].check(field.name, getattr(self, field.name)))
        self._check_settings("loss", LOSSES, LOSS_KEYS)
        self._check_settings("optimizer", OPTIMIZERS, OPTIMIZER_KEYS)
        self._check_settings("schedule", SCHEDULES, SCHEDULE_KEYS)
        self._check_target_settings()
        self._check_numbers()
        self._check_regularization()
        self._check_normalization()
        if self.nesterov and self.momentum == 0.0:
            object.__setattr__(self, "nesterov", False)

    def _check_target_settings(self) -> None:
        """Raise RecipeError for a setting that belongs to other targets than those of the loss."""
        kind = target_kind(self.loss)
        if self.label_smoothing and kind == "numbers":
            raise RecipeError(
                f"label_smoothing belongs to classes, loss {self.loss} to numbers; set label_smoothing to 0"
            )
        if self.class_weights != "none" and kind != "classes":
            what = "to numbers" if kind == "numbers" else "to labels of which a row may have several"
            raise RecipeError(f"class_weights belongs to classes, loss {self.loss} {what}; set class_weights to none")

    def _set_defaults(self, kind: str, table: Mapping[str, Any], keys: dict[str, Any]) -> None:
        """Set the settings of the loss, the optimizer or the schedule where they are not given."""
        entry = table.get(getattr(self, kind)) if isinstance(getattr(self, kind), str) else None
        if entry is None:  # reported by the check of the key
            return
        if kind == "optimizer" and vars(self)["lr"] is None:
            divisor = REGRESSION_LR_DIVISOR if self.regression and entry.proportional else 1.0
            object.__setattr__(self, "lr", entry.lr / divisor)
        for key, neutral in keys.items():
            value = vars(self)[key]
            if value is None or (key == "betas" and value in ((), [])):
                object.__setattr__(self, key, entry.settings.get(key, neutral))
                if key == "base_momentum":
                    self._lower_base_momentum()

    def _lower_base_momentum(self) -> None:
        """Lower a default of base_momentum to the momentum, which then does not change."""
        with contextlib.suppress(TypeError, LookupError):  # settings that their own checks report
            momentum = cycled_momentum(self.optimizer, self.momentum, self.betas)
            object.__setattr__(self, "base_momentum", min(self.base_momentum, momentum))

    def _check_settings(self, kind: str, table: Mapping[str, Any], keys: dict[str, Any]) -> None:
        """Raise RecipeError for a setting that the loss, optimizer or schedule does not take, or takes only above 0."""
        name = getattr(self, kind)
        for key, neutral in keys.items():
            value = getattr(self, key)
            if key in table[name].settings:
                if key in POSITIVE_KEYS and value == 0.0:
                    raise RecipeError(
                        f"{key} is {value!r}; expected a number above 0 with the {kind} {name}, or leave it out for "
                        f"its default {table[name].settings[key]!r}"
                    )
            elif value != neutral:
                takers = [other for other in table if key in table[other].settings]
                raise RecipeError(
                    f"{key} is {as_toml(value)!r}, and the {kind} {name} has no {key}; leave it out, "
                    f"or use {' or '.join(takers)}"
                )

    def _check_numbers(self) -> None:
        """Raise RecipeError for numbers that the dtype cannot hold, or that do not fit each other."""
        smallest, largest = float(np.finfo(self.dtype).tiny), float(np.finfo(self.dtype).max)
        for key in STEP_NUMBERS:
            value = getattr(self, key)
            if value and not smallest <= value <= largest:
                raise RecipeError(
                    f"{key} is {value!r}, which {self.dtype} cannot hold; expected {smallest:g} to {largest:g}"
                )
        if self.lr >= self.rate_limit:
            raise RecipeError(
                f"weight_decay is {self.weight_decay!r} with lr {self.lr!r}: a step of {self.optimizer} would take "
                f"lr * weight_decay, all of W or more, from W; expected a weight_decay below {1.0 / self.lr:g}"
            )
        momentum = cycled_momentum(self.optimizer, self.momentum, self.betas)
        if self.base_momentum > momentum:
            name = "momentum" if OPTIMIZERS[self.optimizer].cycled == "momentum" else "the first of betas"
            raise RecipeError(
                f"base_momentum is {self.base_momentum!r}, and {name} is {momentum!r}, from which the schedule "
                f"{self.schedule} falls to it; expected a base_momentum from 0 to {momentum!r}"
            )

    def _check_regularization(self) -> None:
        """Raise RecipeError where dropout or max_norm has no layer to act on, or mixup no rows to mix."""
        if self.dropout and not self.hidden:
            raise RecipeError(
                f"dropout is {self.dropout!r}, and there is no hidden layer; add one (hidden), set dropout to 0, "
                "or use input_dropout"
            )
        if self.max_norm and not self.hidden:
            raise RecipeError(
                f"max_norm is {self.max_norm!r}, which bounds the weights into hidden units, and there is no hidden "
                "layer; add one (hidden), or set max_norm to 0"
            )
        if self.mixup and self.batch_size == 1:
            raise RecipeError(
                f"mixup is {self.mixup!r} and batch_size is 1, but mixup mixes the rows of a batch; use a larger "
                "batch_size, or set mixup to 0"
            )
        if self.mixup and not self.shuffle:
            raise RecipeError(
                f"mixup is {self.mixup!r} and shuffle is false, so that each row would be mixed with the same row in "
                "every epoch; set shuffle to true, or mixup to 0"
            )

    def _check_normalization(self) -> None:
        """Raise RecipeError where there is no layer to normalise, or every value would be normalised to 0."""
        if self.normalization != "none" and not self.hidden:
            raise RecipeError(
                f"normalization is {self.normalization!r}, and there is no hidden layer; add one (hidden), or set "
                "normalization to none"
            )
        if self.normalizes_batches and self.batch_size == 1:
            raise RecipeError(
                "batch_size is 1, and batch normalisation needs two rows in a batch; set batch_size to 2 or more, or "
                "normalization to layer or none"
            )
        if self.normalization == "layer" and 1 in self.hidden:
            raise RecipeError(
                f"hidden is {list(self.hidden)}, and layer normalisation makes a layer of one unit always 0; give each "
                "layer two units or more, or set normalization to batch or none"
            )

    def settings_of(self, entry: LossEntry | OptimizerEntry | ScheduleEntry) -> dict[str, Any]:
        """Return the keys that a loss, an optimizer or a schedule takes, with their values."""
        return {key: getattr(self, key) for key in entry.settings}

    @property
    def rate_limit(self) -> float:
        """Return the learning rate from which weight decay takes all of W in a step; infinity where there is none."""
        entry = OPTIMIZERS[self.optimizer]
        return 1.0 / self.weight_decay if self.weight_decay and (entry.decoupled or entry.proportional) else math.inf

    @property
    def normalizes_batches(self) -> bool:
        """Whether hidden layers are normalised by the rows of a batch, which must then have two or more."""
        return self.normalization == "batch"

    @property
    def regression(self) -> bool:
        """Whether the network predicts numbers instead of classes."""
        return target_kind(self.loss) == "numbers"

    @property
    def multi_label(self) -> bool:
        """Whether the network gives each label a probability of its own, so that a row may have several."""
        return target_kind(self.loss) == "labels"

    @property
    def data_options(self) -> dict[str, Any]:
        """How the data is read: the options of `load_dataset`."""
        names = [field.name for field in dataclasses.fields(ReadOptions)]
        return {"regression": self.regression, **{name: getattr(self, name) for name in names}}


def cycled_momentum(optimizer: str, momentum: float, betas: Sequence[float]) -> float:
    """Return the number that a schedule of momentum moves: momentum, or the first of betas."""
    return momentum if OPTIMIZERS[optimizer].cycled == "momentum" else betas[0]


def target_kind(loss: str) -> str:
    """Return what a loss is for: "classes", "labels" or "numbers"; "classes" for an unknown one."""
    return LOSSES[loss].targets if isinstance(loss, str) and loss in LOSSES else "classes"


def shipped() -> list[str]:
    """Return the names of the shipped recipes."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load(name: str, overrides: dict[str, Any] | None = None) -> Recipe:
    """Return the shipped recipe of that name, or read a TOML file; `overrides` take precedence key by key."""
    return merge(read(name), overrides or {})


def merge(values: dict[str, Any], overrides: dict[str, Any]) -> Recipe:
    """Return the recipe of some values with others over them; keys in neither take the defaults of `Recipe`."""
    dropped = dropped_keys(values, overrides)
    return Recipe(**({key: value for key, value in values.items() if key not in dropped} | overrides))


def finds_rate(values: dict[str, Any], overrides: dict[str, Any]) -> bool:
    """Return whether the learning rate is to be found: by the overrides, else by the values that they override."""
    return bool(overrides.get("lr", values.get("lr")) == FIND)


def without_find(values: dict[str, Any]) -> dict[str, Any]:
    """Return the keys and values of a recipe, or overrides, without a learning rate that is to be found."""
    return {key: value for key, value in values.items() if (key, value) != ("lr", FIND)}


def dropped_keys(values: dict[str, Any], overrides: dict[str, Any]) -> set[str]:
    """Return the keys whose values in a recipe do not survive the overrides.

    A loss of other targets (classes, labels, numbers) drops label smoothing, class weights and the learning rate of an
    optimizer whose steps are as long as the gradient. Another loss drops the settings of the recipe's loss, another
    schedule those of its schedule, another optimizer those of its optimizer and the learning rate. A number of epochs
    drops min_steps, which could raise it.
    """
    dropped: set[str] = set()
    before = values.get("loss", "cross-entropy")
    after = overrides.get("loss", before)
    if target_kind(after) != target_kind(before):
        dropped |= {*CLASSIFICATION_KEYS}
    if (target_kind(after) == "numbers") != (target_kind(before) == "numbers"):
        entry = OPTIMIZERS.get(str(values.get("optimizer", Recipe.optimizer)))
        if entry is None or entry.proportional:
            dropped.add("lr")
    own_keys = {
        "loss": tuple(LOSS_KEYS),
        "optimizer": ("lr", "base_momentum", *OPTIMIZER_KEYS),
        "schedule": tuple(SCHEDULE_KEYS),
    }
    for kind, own in own_keys.items():
        before = values.get(kind, getattr(Recipe, kind))
        if overrides.get(kind, before) != before:
            dropped |= {*own}
    if "epochs" in overrides:
        dropped.add("min_steps")
    return dropped


def read(name: str) -> dict[str, Any]:
    """Return the keys and values of a recipe, unchecked; RecipeError if it cannot be read or has an unknown key."""
    ships = name in shipped()
    path = FOLDER / f"{name}.toml" if ships else Path(os.path.expanduser(name)).absolute()
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        hint = did_you_mean(name, shipped())
        if os.path.isfile(f"{path}.txt"):  # the editor of Windows adds it, and Windows does not show it
            hint = f"; there is {path}.txt, rename it"
        raise RecipeError(
            f"there is no recipe {name!r}: no file {path}, and what ships is {', '.join(shipped())}{hint}"
        ) from None
    except OSError as error:
        raise RecipeError(f"the recipe {path} cannot be read: {error.strerror}") from None
    try:
        values = parse(content)
    except RecipeError as error:
        raise RecipeError(f"the recipe {path} {error}") from None
    return values


def parse(content: bytes) -> dict[str, Any]:
    """Return the keys and values of the bytes of a recipe, unchecked; RecipeError with a hint for anything else."""
    text = decode(content)
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"is not TOML: {error}{toml_hint(text, str(error))}") from None
    for key, value in values.items():
        if isinstance(value, dict) and key not in KEYS:
            raise RecipeError(f"has a table [{key}]; a recipe has no tables: remove that line, its keys stand alone")
        if key in COMMAND_LINE_OPTIONS:
            raise RecipeError(f"has the key {key!r}, which is no setting of a recipe; use the option --{key}")
        if key not in KEYS:
            raise RecipeError(f"has an unknown key {key!r}{key_hint(key, KEYS)}")
    return values


def dumps(recipe: Recipe) -> str:
    """Return the recipe as TOML, for `load`."""
    return tomli_w.dumps({key: as_toml(value) for key, value in dataclasses.asdict(recipe).items()})
