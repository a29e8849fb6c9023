"""Recipes: the settings of a run. TOML files of flat keys and command-line flags both become a checked `Recipe`."""

import contextlib
import dataclasses
import math
import os
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tomli_w

from lagvis.data.images.transposed import TRANSPOSE
from lagvis.data.read_options import ReadOptions
from lagvis.data.scaling import NUMBER_SCALINGS
from lagvis.data.tables.feature_type import FEATURE_TYPES
from lagvis.errors import RecipeError
from lagvis.network.activations import ACTIVATIONS
from lagvis.network.dropout import dropped_of_256
from lagvis.network.losses import LABEL_LOSSES, LOSSES, REGRESSION_LOSSES
from lagvis.network.normalization import NORMALIZATIONS
from lagvis.network.optimizers import OPTIMIZERS
from lagvis.network.schedules import SCHEDULES
from lagvis.training.recipe_hints import decode, did_you_mean, key_hint, toml_hint, value_hint

MAX_BATCHES = 1000  # of a step: a recorded step has the calls of each
MAX_FLOAT = sys.float_info.max
DEFAULT_SMOOTHING = 0.1
# Options of train.py that say where and how a run is computed, which does not belong into a recipe.
COMMAND_LINE_OPTIONS = ("device", "backend", "threads", "name", "resume", "recipe")
CLASSIFICATION_KEYS = ("label_smoothing", "class_weights")
DEFAULT_HUBER_DELTA = 1.0
# Settings of the optimizers and of the schedules, with the value that they have where one does not take them.
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
MAX_INPUT_NOISE = 1000.0  # in units of scaled inputs, whose deviation is about 1
MAX_MIXUP = 1000.0  # all shares are nearly 1/2 then
FIND = "find"  # as a learning rate: train.py finds one before it begins a run, whose recipe has the number
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
    huber_delta: float = DEFAULT_HUBER_DELTA
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
        self._set_defaults("optimizer", OPTIMIZERS, OPTIMIZER_KEYS)
        self._set_defaults("schedule", SCHEDULES, SCHEDULE_KEYS)
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, KEYS[field.name].check(field.name, getattr(self, field.name)))
        self._check_settings("optimizer", OPTIMIZERS, OPTIMIZER_KEYS)
        self._check_settings("schedule", SCHEDULES, SCHEDULE_KEYS)
        self._check_loss_settings()
        self._check_numbers()
        self._check_randomness()
        self._check_normalization()
        if self.nesterov and self.momentum == 0.0:
            object.__setattr__(self, "nesterov", False)

    def _check_loss_settings(self) -> None:
        """Raise RecipeError for a setting that the loss does not take."""
        kind = target_kind(self.loss)
        if self.label_smoothing and kind == "numbers":
            raise RecipeError(
                f"label_smoothing belongs to classes, loss {self.loss} to numbers; set label_smoothing to 0"
            )
        if self.class_weights != "none" and kind != "classes":
            what = "to numbers" if kind == "numbers" else "to labels of which a row may have several"
            raise RecipeError(f"class_weights belongs to classes, loss {self.loss} {what}; set class_weights to none")
        if self.huber_delta != DEFAULT_HUBER_DELTA and self.loss != "huber":
            raise RecipeError(
                f"huber_delta is {self.huber_delta!r}, and the loss {self.loss} has none; leave it out, or use the "
                "loss huber"
            )

    def _set_defaults(self, kind: str, table: Mapping[str, Any], keys: dict[str, Any]) -> None:
        """Set the settings of the optimizer or the schedule where they are not given."""
        entry = table.get(getattr(self, kind)) if isinstance(getattr(self, kind), str) else None
        if entry is None:  # reported by the check of the key
            return
        if kind == "optimizer" and vars(self)["lr"] is None:
            divisor = REGRESSION_LR_DIVISOR if self.regression and entry.scaled else 1.0
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
        """Raise RecipeError for a setting that the optimizer or the schedule does not take, or that is 0 in vain."""
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
                shown = list(value) if isinstance(value, tuple) else value
                raise RecipeError(
                    f"{key} is {shown!r}, and the {kind} {name} has no {key}; leave it out, "
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

    def _check_randomness(self) -> None:
        """Raise RecipeError where dropout has no layer to act on, or mixup no rows to mix."""
        if self.dropout and not self.hidden:
            raise RecipeError(
                f"dropout is {self.dropout!r}, and there is no hidden layer; add one (hidden), or use input_dropout"
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
        """Raise RecipeError where every value would be normalised to 0."""
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

    @property
    def rate_limit(self) -> float:
        """The learning rate from which on weight decay takes all of W in a step; infinity where there is none."""
        entry = OPTIMIZERS[self.optimizer]
        return 1.0 / self.weight_decay if self.weight_decay and (entry.decoupled or entry.scaled) else math.inf

    @property
    def normalizes_batches(self) -> bool:
        """Whether hidden layers are normalised by the rows of a batch, which must then have two or more."""
        return self.normalization == "batch" and bool(self.hidden)

    @property
    def regression(self) -> bool:
        """Whether the network predicts numbers instead of classes."""
        return self.loss in REGRESSION_LOSSES

    @property
    def multi_label(self) -> bool:
        """Whether the network gives each label a probability of its own, so that a row may have several."""
        return self.loss in LABEL_LOSSES

    @property
    def data_options(self) -> dict[str, Any]:
        """How the data is read: the options of `load_dataset`."""
        names = [field.name for field in dataclasses.fields(ReadOptions)]
        return {"regression": self.regression, **{name: getattr(self, name) for name in names}}


def cycled_momentum(optimizer: str, momentum: float, betas: Sequence[float]) -> float:
    """Return the number that a schedule of momentum moves: momentum, or the first of betas."""
    return momentum if OPTIMIZERS[optimizer].cycled == "momentum" else betas[0]


def target_kind(loss: str) -> str:
    """Return what a loss is for: "classes", "labels" or "numbers"."""
    return "numbers" if loss in REGRESSION_LOSSES else "labels" if loss in LABEL_LOSSES else "classes"


def check_text(key: str, value: Any) -> str:
    """Return a non-empty text that UTF-8 can encode; RecipeError for anything else."""
    if not isinstance(value, str) or not value:
        raise RecipeError(f"{key} is {value!r}; expected a text")
    if value.encode("utf-8", "replace").decode("utf-8") != value:
        suggestion = "rename it" if sys.getfilesystemencoding() == "utf-8" else "set PYTHONUTF8=1, or a locale of UTF-8"
        raise RecipeError(f"{key} is {value!r}, which was not read as UTF-8 and cannot be recorded; {suggestion}")
    return value


def check_optional_text(key: str, value: Any) -> str:
    """Return a text that UTF-8 can encode; empty: detect automatically."""
    return "" if value == "" else check_text(key, value)


def check_columns(key: str, value: Any) -> tuple[str, ...]:
    """Return columns of a table, by names or numbers, as a tuple of texts; a single text is one of them."""
    if isinstance(value, str):
        value = [value] if value else []
    if not isinstance(value, list | tuple):
        raise RecipeError(f'{key} is {value!r}; expected a list of columns, ["age", "sex"]')
    return tuple(check_text(key, str(column) if type(column) is int else column) for column in value)


def check_choice(*names: str) -> Any:
    """Return a check for one of `names`."""

    def check(key: str, value: Any) -> str:
        if value not in names:
            raise RecipeError(f"{key} is {value!r}; expected {' or '.join(names)}{value_hint(str(value), names)}")
        return str(value)

    return check


def without_quotes(value: Any) -> str:
    """Return the end of a message about a number or truth value that is written as a text."""
    return ", without quotes" if isinstance(value, str) else ""


def check_bool(key: str, value: Any) -> bool:
    """Return true or false; RecipeError for anything else."""
    if not isinstance(value, bool):
        raise RecipeError(f"{key} is {value!r}; expected true or false{without_quotes(value)}")
    return value


def check_int(minimum: int, maximum: int) -> Any:
    """Return a check for an integer from `minimum` to `maximum`."""

    def check(key: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
            raise RecipeError(
                f"{key} is {value!r}; expected a whole number from {minimum} to {maximum}{without_quotes(value)}"
            )
        return value

    return check


def check_float(minimum: float, below: float, *, open_below: bool = False, share_of: str = "") -> Any:
    """Return a check for a finite number from `minimum` (above it if `open_below`) and below `below`.

    `share_of` says what the number is a share of, for the message.
    """

    def check(key: str, value: Any) -> float:
        good = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MAX_FLOAT
        if not good or not (minimum < value if open_below else minimum <= value) or value >= below:
            start = f"above {minimum:g}" if open_below else f"from {minimum:g}"
            end = "" if math.isinf(below) else f" and below {below:g}"
            share = f", a share of {share_of}" if share_of else ""
            raise RecipeError(f"{key} is {value!r}; expected a number {start}{end}{share}{without_quotes(value)}")
        return float(value)

    return check


def check_dropout(key: str, value: Any) -> float:
    """Return a share from 0 and below 1 that is 0 or rounds to 1/256 or more and to 255/256 or less."""
    share = check_float(0.0, 1.0)(key, value)
    if share and dropped_of_256(share) in (0, 256):
        raise RecipeError(
            f"{key} is {value!r}, which rounds to {dropped_of_256(share)} of 256; expected 0 for none, or a share from "
            "1/256 (0.0039) to 255/256 (0.9961), in steps of 1/256"
        )
    return share


def check_rate(key: str, value: Any) -> float:
    """Return a number above 0; RecipeError for anything else, and for "find", which no recipe of a run has."""
    if value == FIND:
        raise RecipeError(f"{key} is {FIND!r}, which train.py alone replaces by a number; give a number above 0")
    if isinstance(value, str) and value.strip("+-")[:1].isalpha():
        raise RecipeError(f'{key} is {value!r}; expected a number above 0, or "{FIND}"')
    rate: float = check_float(0.0, math.inf, open_below=True)(key, value)
    return rate


def check_betas(key: str, value: Any) -> tuple[float, ...]:
    """Return two numbers from 0 and below 1, or nothing for an optimizer without them; RecipeError for others."""
    if not isinstance(value, list | tuple) or len(value) not in (0, 2):
        found = list(value) if isinstance(value, tuple) else repr(value)
        raise RecipeError(f"{key} is {found}; expected two numbers, such as [0.9, 0.999], or --betas 0.9,0.999")
    return tuple(check_float(0.0, 1.0)(key, beta) for beta in value)


def parse_rate(word: str) -> float | str:
    """Parse a learning rate: a number, or "find"; ValueError for anything else."""
    return FIND if word == FIND else float(word)


def parse_numbers(words: str) -> tuple[float, ...]:
    """Parse the numbers of a flag: 0.9,0.999 -> (0.9, 0.999)."""
    return tuple(float(number) for number in words.split(","))


def check_widths(key: str, value: Any) -> tuple[int, ...]:
    """Return the widths of the hidden layers, integers from 1; RecipeError for anything else."""
    if not isinstance(value, list | tuple):
        raise RecipeError(f"{key} is {value!r}; expected a list of widths, [64, 64], or [] for no hidden layer")
    return tuple(check_int(1, 10**7)(key, width) for width in value)


def parse_widths(words: str) -> tuple[int, ...]:
    """Parse the widths of a flag: 64,64 -> (64, 64), none -> ()."""
    return () if words == "none" else tuple(int(width) for width in words.split(","))


class Key(NamedTuple):
    """A key of a recipe: its check, and its flag on the command line."""

    check: Callable[[str, Any], Any]
    help: str
    parse: Callable[[str], Any] = str
    metavar: str | None = None
    spellings: tuple[str, ...] = ()


KEYS = {
    "data": Key(
        check_text,
        "mnist, jump, or files of your own: IDX, NPZ, NPY, tables (CSV, Parquet, Excel, ...), pictures in folders",
        metavar="PATH",
    ),
    "label": Key(check_optional_text, "column of a table that is the label, by name or number", metavar="COLUMN"),
    "feature_type": Key(
        check_choice(*FEATURE_TYPES), "feature columns of a table: pixels of a square picture, numbers, or auto: detect"
    ),
    "transpose": Key(
        check_choice(*TRANSPOSE),
        "pictures of arrays and tables are stored with rows and columns exchanged: yes, no, or auto: those of EMNIST, "
        "by the name",
    ),
    "features": Key(
        check_columns,
        "columns of a table to learn from, by name or number; none: all that can be learned",
        metavar="COLUMNS",
    ),
    "drop": Key(check_columns, "columns of a table to leave out", metavar="COLUMNS"),
    "category": Key(check_columns, "columns of a table to take as categories, whatever they hold", metavar="COLUMNS"),
    "number": Key(check_columns, "columns of a table to take as numbers, whatever they hold", metavar="COLUMNS"),
    "log": Key(check_columns, "columns of numbers of which the logarithm is learned from", metavar="COLUMNS"),
    "id": Key(
        check_columns,
        "columns of a table that name a row: copied to predictions, never learned from",
        metavar="COLUMNS",
    ),
    "weight_column": Key(
        check_optional_text,
        "column of a table that weighs its row in training, by name or number; never learned from",
        metavar="COLUMN",
    ),
    "sheet": Key(check_optional_text, "sheet of a workbook (Excel, OpenDocument), by name or number"),
    "table": Key(check_optional_text, "table of an SQLite database, or a query: select ..."),
    "pixel_scaling": Key(
        check_choice("centred", "unit"), "scaling of bytes: centred: x / 255 minus the training mean; unit: x / 255"
    ),
    "number_scaling": Key(
        check_choice(*NUMBER_SCALINGS),
        "scaling of numbers: standard: by mean and deviation; robust: by median and interquartile range, which single "
        "rows far out do not change",
    ),
    "hidden": Key(check_widths, "widths of the hidden layers, or none", parse_widths, "N,N,.."),
    "activation": Key(check_choice(*ACTIVATIONS), f"activation of the hidden layers: {', '.join(ACTIVATIONS)}"),
    "loss": Key(
        check_choice(*LOSSES),
        "loss: cross-entropy for classes; binary-cross-entropy for labels of 0 and 1, of which a row may have several; "
        "for numbers mse, mae (absolute error) or huber",
    ),
    "huber_delta": Key(
        check_float(0.0, math.inf, open_below=True),
        "error, in standardised units, from which the loss huber grows in proportion to the error",
        float,
        "D",
    ),
    "label_smoothing": Key(check_float(0.0, 1.0), "share of the target spread over all classes", float, "E"),
    "class_weights": Key(
        check_choice("none", "balanced"), "none, or balanced: rare classes weigh as much as common ones"
    ),
    "optimizer": Key(
        check_choice(*OPTIMIZERS), f"optimizer: {', '.join(OPTIMIZERS)} (sgd: gradient descent)", spellings=("--opt",)
    ),
    "lr": Key(
        check_rate, "learning rate; the peak of a schedule; find: by a short test at rising rates", parse_rate, "RATE"
    ),
    "momentum": Key(check_float(0.0, 1.0), "momentum; 0 for none", float, "M"),
    "nesterov": Key(check_bool, "Nesterov's form of momentum, which looks ahead"),
    "betas": Key(
        check_betas, "decay of the two moments; with lion in its step and in its momentum", parse_numbers, "B1,B2"
    ),
    "rho": Key(check_float(0.0, 1.0), "decay of the mean of squared gradients", float, "RHO"),
    "eps": Key(check_float(0.0, math.inf), "what is added to the divisor of a step", float, "E"),
    "weight_decay": Key(
        check_float(0.0, math.inf),
        "decay of the weights W, not of biases: decoupled from the gradient with adamw, lion and muon, L2 in the "
        "gradient with sgd, rmsprop and adam",
        float,
        "D",
    ),
    "schedule": Key(
        check_choice(*SCHEDULES),
        f"learning-rate schedule after the warm-up: {', '.join(SCHEDULES)}",
        spellings=("--sched",),
    ),
    "warmup": Key(
        check_float(0.0, 1.0, share_of="the run"),
        "share of the run in which the learning rate rises to lr",
        float,
        "SHARE",
    ),
    "min_lr_ratio": Key(
        check_float(0.0, 1.0, share_of="lr"),
        "share of lr below which the schedule does not fall",
        float,
        "SHARE",
    ),
    "lr_step_size": Key(
        check_float(0.0, 1.0, share_of="the run"),
        "share of the run between two drops of the schedule step",
        float,
        "SHARE",
    ),
    "lr_gamma": Key(check_float(0.0, 1.0), "factor of the learning rate at each drop of the schedule step", float, "G"),
    "base_momentum": Key(
        check_float(0.0, 1.0),
        "momentum (with adam, adamw and lion the first of betas) at the peak of one-cycle",
        float,
        "M",
    ),
    "normalization": Key(
        check_choice(*NORMALIZATIONS),
        "none, or batch or layer: normalise each hidden layer's products by the rows of the batch, or by the row",
    ),
    "dropout": Key(
        check_dropout,
        "share of the values of hidden layers that are set to 0 in training, in steps of 1/256",
        float,
        "P",
    ),
    "input_dropout": Key(
        check_dropout, "share of the inputs that are set to 0 in training, in steps of 1/256", float, "P"
    ),
    "input_noise": Key(
        check_float(0.0, MAX_INPUT_NOISE),
        "standard deviation of the noise added to scaled inputs in training",
        float,
        "S",
    ),
    "mixup": Key(
        check_float(0.0, MAX_MIXUP),
        "mix each row with another of the batch, by a share drawn from Beta(A, A) in every step",
        float,
        "A",
    ),
    "l1": Key(check_float(0.0, math.inf), "factor of the sum of |W| that is added to what is minimised", float, "L"),
    "max_norm": Key(
        check_float(0.0, math.inf), "largest norm of the weights into a hidden unit; 0: no bound", float, "C"
    ),
    "clip_norm": Key(check_float(0.0, math.inf), "largest norm of the gradient; 0: no bound", float, "C"),
    "ema": Key(
        check_float(0.0, 1.0),
        "decay of a moving average of the weights, by which the network is judged; 0: none",
        float,
        "D",
    ),
    "patience": Key(
        check_int(0, 10**6), "epochs without a lower validation loss after which training stops; 0: never", int, "N"
    ),
    "epochs": Key(check_int(0, 10**6), "passes over the training rows; 0 only evaluates", int, "N", ("-e",)),
    "min_steps": Key(
        check_int(0, 10**9),
        "fewest steps of a run: with few rows the epochs are raised to make them; dropped where --epochs is given",
        int,
        "N",
    ),
    "batch_size": Key(check_int(1, 2**31 - 1), "rows per step", int, "N", ("-b",)),
    "accumulate": Key(check_int(1, MAX_BATCHES), "batches whose gradients are added up in one step", int, "K"),
    "shuffle": Key(check_bool, "a new order of the rows in every epoch; without it the order of the file"),
    "validation": Key(check_int(0, 2**31 - 1), "training rows held out, stratified, by the seed", int, "N"),
    "seed": Key(
        check_int(0, 2**63 - 1), "seed of the weights, the order of the rows and the validation part", int, "N"
    ),
    "dtype": Key(check_choice("float32", "float64"), "type of the parameters: float32 or float64"),
}


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
    optimizer whose steps are as long as the gradient, another loss the delta of huber, another optimizer its settings
    and the learning rate, another schedule its settings: they belong to the loss, the optimizer and the schedule of the
    recipe. A number of epochs drops min_steps, which could raise it.
    """
    dropped: set[str] = set()
    before = values.get("loss", "cross-entropy")
    after = overrides.get("loss", before)
    if after != before:
        dropped.add("huber_delta")
    if target_kind(after) != target_kind(before):
        dropped |= {*CLASSIFICATION_KEYS}
    if (after in REGRESSION_LOSSES) != (before in REGRESSION_LOSSES):
        entry = OPTIMIZERS.get(str(values.get("optimizer", Recipe.optimizer)))
        if entry is None or entry.scaled:
            dropped.add("lr")
    own_keys = {"optimizer": ("lr", "base_momentum", *OPTIMIZER_KEYS), "schedule": tuple(SCHEDULE_KEYS)}
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
    return tomli_w.dumps({key: list(v) if isinstance(v, tuple) else v for key, v in dataclasses.asdict(recipe).items()})
