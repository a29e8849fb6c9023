"""The description of a network: layers, functions, class or target names, and the preparation of its rows."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from lagvis.data.dataset import Dataset
from lagvis.data.feature_ranges import FeatureRanges
from lagvis.data.input_spec import InputSpec
from lagvis.data.messages import shorten
from lagvis.data.scaling import Scaling, blocks
from lagvis.data.tables.encoding import INDICATOR, TableEncoding
from lagvis.errors import DataError
from lagvis.network.losses import LOSSES
from lagvis.network.step import PIXEL_SCALE
from lagvis.training.recipe import Recipe

MAX_WIDTHS_TEXT = 100  # characters
LABEL_THRESHOLD = 0.5  # probability above which a row of several labels has one, as z > 0 in network/step.py
MNIST_SHAPE = (28, 28)  # of a row where `mnist_style` holds
LOCATION_STEPS = 100  # of the bisection for the best constant of huber: as many halve any range to one float64


@dataclass(frozen=True)
class Model:
    """Everything that is needed to use a trained network, apart from its parameters.

    feature_names, label_names  names of the training columns; empty if they have none
    mnist_style                 whether the training rows are images made as MNIST's (`Dataset.mnist_style`)
    background                  shade of the background of the training images, 0..255
    label_columns               columns of the labels in the table of the training rows, from 1; empty without a table
    transposed                  whether the files of the training images store them transposed (`Dataset.transposed`)
    ranges                      of the features in training; None in a checkpoint of an earlier version
    pixel_mean                  mean of the training pixels, 0..1, which is subtracted from pixels; 0 if they are not
                                centred, and for rows that are no bytes
    encoding                    of the columns of the training table; None without a table
    normalization               of the hidden layers, one of NORMALIZATIONS
    huber_delta                 error from which the loss huber grows in proportion to the error; not used by others
    """

    widths: tuple[int, ...]
    activation: str
    loss: str
    shape: tuple[int, ...]
    class_names: tuple[str, ...]
    target_names: tuple[str, ...]
    unit: str
    x_scaling: Scaling | None
    y_scaling: Scaling | None
    feature_names: tuple[str, ...] = ()
    label_names: tuple[str, ...] = ()
    mnist_style: bool = False
    background: int = 0
    label_columns: tuple[int, ...] = ()
    transposed: bool = False
    ranges: FeatureRanges | None = None
    pixel_mean: float = 0.0
    encoding: TableEncoding | None = None
    normalization: str = "none"
    huber_delta: float = 1.0

    @classmethod
    def of(cls, recipe: Recipe, dataset: Dataset, training_rows: np.ndarray) -> "Model":
        """Describe the network of a recipe for a data set; only the training rows decide scaling and ranges."""
        ranges = FeatureRanges.of(dataset.x_train, training_rows, dataset.shape, dataset.feature_kinds)
        x_scaling, pixel_mean = None, 0.0
        if dataset.x_train.dtype == np.uint8:
            if recipe.pixel_scaling == "centred":
                pixel_mean = mean_pixel(dataset.x_train, training_rows)
        elif recipe.number_scaling == "robust":
            x_scaling = Scaling.robust(dataset.x_train, training_rows)
        else:
            x_scaling = Scaling.of(dataset.x_train, training_rows, (ranges.low, ranges.high))
        if x_scaling and ranges.feature_kinds:
            x_scaling = x_scaling.leave(ranges.features_of(INDICATOR))
        return cls(
            widths=(dataset.x_train.shape[1], *recipe.hidden, dataset.n_out),
            activation=recipe.activation,
            loss=recipe.loss,
            shape=dataset.shape,
            class_names=dataset.class_names,
            target_names=dataset.target_names,
            unit=dataset.unit,
            x_scaling=x_scaling,
            y_scaling=target_scaling(recipe, dataset.y_train[training_rows]) if recipe.regression else None,
            feature_names=dataset.feature_names,
            label_names=dataset.label_names,
            mnist_style=dataset.mnist_style,
            background=dataset.background,
            label_columns=dataset.label_columns,
            transposed=dataset.transposed,
            ranges=ranges,
            pixel_mean=pixel_mean,
            encoding=dataset.encoding,
            normalization=recipe.normalization,
            huber_delta=recipe.huber_delta,
        )

    @property
    def targets(self) -> str:
        """What the network predicts: "classes", "labels" or "numbers"."""
        return LOSSES[self.loss].targets

    @property
    def multi_label(self) -> bool:
        """Whether each output is the probability of a label of its own; `class_names` are the labels."""
        return self.targets == "labels"

    @property
    def loss_settings(self) -> dict[str, Any]:
        """Return the settings that the loss takes."""
        return {key: getattr(self, key) for key in LOSSES[self.loss].settings}

    @property
    def loss_function(self) -> Callable[..., Any]:
        """Return the loss by which the network is judged (network/losses.py), without label smoothing."""
        return partial(LOSSES[self.loss].function, **self.loss_settings)

    @property
    def constant_prediction(self) -> str:
        """Name the constant that has the loss of the baseline, for messages: "mean"; empty for classes."""
        return LOSSES[self.loss].constant

    @property
    def parameters(self) -> int:
        """Return the number of weights and biases, and of the factors of normalised layers."""
        scales = sum(self.widths[1:-1]) if self.normalization != "none" else 0
        return sum((n_in + 1) * n_out for n_in, n_out in pairwise(self.widths)) + scales

    @np.errstate(over="ignore", invalid="ignore")
    def baseline(self, y: np.ndarray) -> float | None:
        """Return the loss on targets y (N, n_out) of the constant that has the lowest loss in training.

        It is the 0 of standardised targets. None for classes.
        """
        if self.y_scaling is None:
            return None
        standardised = self.y_scaling.apply(y)
        return float(np.mean(self.loss_function(np.zeros_like(standardised), standardised, xp=np)[0]))

    @np.errstate(over="ignore", invalid="ignore")
    def baseline_errors(self, y: np.ndarray) -> tuple[float, ...]:
        """Return the root mean square error of each target, in its unit, of that constant; () for classes."""
        if self.y_scaling is None:
            return ()
        standardised = self.y_scaling.apply(y)
        return tuple(map(float, np.sqrt(np.mean(standardised**2, axis=0)) * self.y_scaling.deviation))

    @np.errstate(over="ignore", invalid="ignore")
    def baseline_absolute_errors(self, y: np.ndarray) -> tuple[float, ...]:
        """Return the mean absolute error of each target, in its unit, of that constant; () for classes."""
        if self.y_scaling is None:
            return ()
        return tuple(map(float, np.mean(np.abs(self.y_scaling.apply(y)), axis=0) * self.y_scaling.deviation))

    def input_spec(self, **fields: Any) -> InputSpec:
        """Return what the network takes; `fields` are those of InputSpec that the model does not know."""
        return InputSpec(
            self.shape,
            is_bytes=self.x_scaling is None,
            class_names=self.class_names,
            multi_label=self.multi_label,
            target_names=self.target_names,
            feature_names=self.feature_names,
            label_names=self.label_names,
            ranges=self.ranges,
            label_columns=self.label_columns,
            encoding=self.encoding,
            **fields,
        )

    def prepare(self, x: np.ndarray, y: np.ndarray, dtype: str) -> dict[str, np.ndarray]:
        """Return rows as the `data` of the step, on the host: bytes as they are, real numbers standardised.

        What `dtype` cannot hold becomes infinite; the loss of such a row is not finite.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            data = {"x": x if self.x_scaling is None else self.x_scaling.apply(x).astype(dtype)}
            if self.pixel_mean:
                data["pixel_mean"] = np.array(self.pixel_mean, dtype)
            if self.multi_label:
                return data | {"labels": y}
            if self.y_scaling is None:
                return data | {"y": y, "classes": np.arange(len(self.class_names), dtype=y.dtype)}
            return data | {"y": self.y_scaling.apply(y).astype(dtype)}

    def for_pixels_from_0_to_1(self, params: Any) -> Any:
        """Return the parameters with the scaling of pixels in the first layer, for programs that only divide by 255.

        With t from 0 to 1, (t - m) W + b = t W + (b - m sum(W)), where the sum is taken over the rows of W. Pixels of
        another range low..high are x = low + (high - low) t before they are standardised. Layers with "gamma" get a
        "shift" (n_out,), which is added to a_prev @ W before they are normalised; b follows afterwards. ValueError
        where the model takes numbers that are no pictures of a known range, or cuts off what is far out.
        """
        params = [layer | ({"shift": np.zeros_like(layer["b"])} if "gamma" in layer else {}) for layer in params]
        first = params[0]
        summand = "shift" if "gamma" in first else "b"
        weights, bias = first["W"], first[summand]
        if self.x_scaling is not None:
            picture_range = self.ranges.picture_range if self.ranges else None
            if picture_range is None or math.isfinite(self.x_scaling.limit):
                raise ValueError("no pictures of a known range")
            low, high = picture_range
            bias = bias + ((low - self.x_scaling.mean) / self.x_scaling.deviation) @ weights.astype(np.float64)
            weights = weights * ((high - low) / self.x_scaling.deviation)[:, None]
        elif self.pixel_mean:
            bias = bias - self.pixel_mean * weights.sum(axis=0, dtype=np.float64)
        return [{**first, "W": weights, summand: bias}, *params[1:]]

    def check_type(self, dataset: Dataset) -> None:
        """Raise DataError unless the rows are bytes as those of training were, or numbers as those were."""
        if (dataset.x_train.dtype == np.uint8) != (self.x_scaling is None):
            bytes_, numbers = "bytes (0..255)", "real numbers"
            found, expected = (bytes_, numbers) if dataset.x_train.dtype == np.uint8 else (numbers, bytes_)
            raise DataError(f"{dataset.name} holds {found}, the network was trained on {expected}")

    def check(self, dataset: Dataset) -> None:
        """Raise DataError unless the data set has the columns and targets of the training data."""
        if dataset.x_train.shape[1] != self.widths[0]:
            raise DataError(
                f"{dataset.name} has rows of {dataset.x_train.shape[1]} numbers, the network takes {self.widths[0]}"
            )
        if dataset.feature_names and self.feature_names and dataset.feature_names != self.feature_names:
            pairs = zip(dataset.feature_names, self.feature_names, strict=True)
            c, (here, there) = next((c, pair) for c, pair in enumerate(pairs, start=1) if pair[0] != pair[1])
            raise DataError(
                f"{dataset.name} has {shorten(here)!r} as feature {c} of a row, the network learned from "
                f"{shorten(there)!r} there; bring the columns into the order in which it was trained"
            )
        if dataset.n_out != self.widths[-1]:
            raise DataError(f"{dataset.name} has {dataset.n_out} targets a row, the network predicts {self.widths[-1]}")


def target_scaling(recipe: Recipe, y: np.ndarray) -> Scaling:
    """Return the scaling of targets y (N, n_out): the standard deviation, around the best constant of the loss.

    That is the mean for mse, the median for mae, and for huber the M-estimate of location (Huber 1964): the constant c
    whose errors (y - c) / deviation, cut off at -huber_delta and huber_delta, sum to 0.
    """
    scaling = Scaling.of(y).invertible()
    constant = LOSSES[recipe.loss].constant
    if constant == "mean":
        return scaling
    if constant == "median":
        return scaling.centred(np.median(y, axis=0))
    low, high, delta = y.min(axis=0), y.max(axis=0), recipe.huber_delta
    for _ in range(LOCATION_STEPS):
        middle = low / 2 + high / 2
        is_low = np.clip((y - middle) / scaling.deviation, -delta, delta).sum(axis=0) > 0
        low, high = np.where(is_low, middle, low), np.where(is_low, high, middle)
    return scaling.centred(low / 2 + high / 2)


def mean_pixel(x: np.ndarray, rows: np.ndarray) -> float:
    """Return the mean, 0..1, of all pixels of some rows of x (N, n_in) uint8."""
    total = sum(int(block.sum(dtype=np.uint32)) for block in blocks(x, rows))
    return total / (len(rows) * x.shape[1]) * PIXEL_SCALE


def widths_text(widths: tuple[int, ...]) -> str:
    """Name a network by its widths: 784-64-64-10, or 784-100-layers-10 where that is too long for a file name."""
    text = "-".join(map(str, widths))
    return text if len(text) <= MAX_WIDTHS_TEXT else f"{widths[0]}-{len(widths) - 2}-layers-{widths[-1]}"
