"""The keys of a recipe: what each may be, its help and its option."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from lagvis.data.images.transposed import TRANSPOSE
from lagvis.data.scaling import NUMBER_SCALINGS
from lagvis.data.tables.feature_type import FEATURE_TYPES
from lagvis.network.activations import ACTIVATIONS
from lagvis.network.losses import LOSSES
from lagvis.network.normalization import NORMALIZATIONS
from lagvis.network.optimizers import OPTIMIZERS
from lagvis.network.schedules import SCHEDULES
from lagvis.training.recipe_checks import (
    check_betas,
    check_bool,
    check_choice,
    check_columns,
    check_dropout,
    check_float,
    check_int,
    check_optional_text,
    check_rate,
    check_text,
    check_widths,
    parse_numbers,
    parse_rate,
    parse_widths,
)

MAX_BATCHES = 1000  # of a step: a recorded step has the calls of each
MAX_INPUT_NOISE = 1000.0  # in units of scaled inputs, whose deviation is about 1
MAX_MIXUP = 1000.0  # all shares are nearly 1/2 then


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
