"""Compare the rows that a network is given with what it saw in training, and bring pictures to that scale.

A value is far outside where it is beyond the range of its feature by more than twice the width of that range, or half
the width in few rows: among many, some are beyond by chance. Features of one scale, as pixels are, have the range of
all together, and a quarter of its width is far.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from lagvis.data.feature_ranges import (
    BYTE,
    HALF_UNIT,
    REAL,
    SIGNED_BYTE,
    SIGNED_UNIT,
    UNIT,
    WORD,
    FeatureRanges,
    PictureRange,
    are_whole,
    to_bytes,
    usual_range,
)
from lagvis.data.input_spec import MNIST_STYLE, InputSpec
from lagvis.data.messages import shorten
from lagvis.data.tables.encoding import DATE, VALUE, TableEncoding
from lagvis.errors import DataError
from lagvis.run_warning import RunWarning

CONVERTIBLE = (UNIT, SIGNED_UNIT, HALF_UNIT, BYTE, WORD)  # between which pixels are converted
FAR, FAR_SHARED = 2.0, 0.25  # widths of a range beyond it, of a column and of features with one scale
FAR_IN_FEW_ROWS = 0.5  # the same of a column, for fewer than MIN_SCALE_ROWS rows
MIN_OUTSIDE_COUNT = 5  # values outside that are reported where none is far outside
BLOCK_VALUES = 2**17  # values that are compared at a time
MIN_SCALE_VALUES, MIN_SCALE_ROWS = 20, 20  # values and pictures from which on a scale is judged
MAX_OUTSIDE_SHARE = 0.05  # of the values may be outside of their ranges, however many the training rows are
MAX_FAR_SHARE, MAX_FAR_SHARE_SHARED = 0.9, 0.05  # of the values may be far outside on the scale of training
MIN_FAR_PIXELS = 4  # of a picture, on average, that are far outside on another scale, however thin its lines are
MIN_OUTSIDE_SHARE_OF_FEATURE = 0.9  # of the values of a feature, from which on nearly all are outside
MAX_OUTSIDE_FEATURES = 1 / 4  # of the features may have nearly all their values outside on the scale of training
MAX_OUTSIDE_VALUES = 0.5  # of all values may be outside on the scale of training
MIN_NARROW_FEATURES = 3  # that vary, from which on their ranges show a smaller scale
MIN_NARROW_ROWS = 0.1  # part of the number of training rows: the ranges of fewer are narrower anyway
MAX_NARROW_FEATURE = 0.5  # part of its range in training: where every feature spans less, the scale is another one
MAX_END_DISTANCE = 0.3  # widths between the ends of a range and those in training, after a division by a factor
MIN_CHANGED_SHARE = 0.05  # of the rows in which a constant feature of a shared scale differs; pixels at the rim do
MAX_NARROW_WIDTH = 0.55  # part of the range in training: pictures that span less have another scale
MAX_WIDE_FEATURES = 0.2  # of the pixels that vary, which may span more
MIN_FACTOR = 3.5  # by which a row alone, or counts of MIN_LEVELS and more, span less than any on the same scale
MIN_LEVELS = 15
MIN_FILLED_WIDTH = 0.9  # part of the range of pictures that training spans: a picture that spans less may be darker
MAX_BACKGROUND_CHANGE = 0.5  # part of the range in training: more is no lighter or darker paper
CONSTANT_ROUNDING = 1e-7  # relative, by which float32 changes a constant
FACTORS = (2.0, 2.54, 4.0, 10.0, 16.0, 60.0, 100.0, 255.0, 1e3, 3600.0, 65535.0, 86400.0, 1e6, 1e9)
MAX_LISTED_FEATURES = 20
NO_CHECK = "--no-range-check takes the values as they are"
RowName = Callable[[int], str]


@dataclass(frozen=True)
class Conversion:
    """Linear map of pixels from one usual range of pictures to another."""

    given: PictureRange
    learned: PictureRange

    @property
    def scale(self) -> float:
        """Factor of the map."""
        return (self.learned[1] - self.learned[0]) / (self.given[1] - self.given[0])

    def apply(self, x: np.ndarray) -> np.ndarray:
        """Return pixels of the given range in the learned one, float64."""
        converted: np.ndarray = (x.astype(np.float64) - self.given[0]) * self.scale + self.learned[0]
        return converted

    def __str__(self) -> str:
        offset = self.learned[0] - self.given[0] * self.scale
        factor = "x" if self.scale == 1 else f"x * {self.scale:g}" if self.scale > 1 else f"x / {1 / self.scale:g}"
        return f"{factor} {'+' if offset > 0 else '-'} {abs(offset):g}" if offset else factor


@dataclass(frozen=True)
class Outside:
    """Values outside of their ranges, among the `values` values of features that vary in training.

    count, far_count  values outside, and values far outside
    other_scale       values so far outside that they may be on another scale
    rows              rows with a value far outside
    features          features of which nearly all values are outside
    worst             row and feature of the value that is furthest outside; None where none is
    """

    values: int
    count: int = 0
    far_count: int = 0
    other_scale: int = 0
    rows: int = 0
    features: int = 0
    worst: tuple[int, int] | None = None

    @property
    def share(self) -> float:
        """Share of values that are outside."""
        return self.count / max(self.values, 1)

    @property
    def other_scale_share(self) -> float:
        """Share of values that may be on another scale."""
        return self.other_scale / max(self.values, 1)


def fit_to_training(
    x: np.ndarray, spec: InputSpec, name: str, row_name: RowName | None = None
) -> tuple[np.ndarray, list[RunWarning]]:
    """Return rows x (N, n), uint8 or float64, as the network of `spec` takes them, and warnings.

    Pictures on another scale are converted. DataError where the rows are on another scale in any other way, or hold
    other numbers than the bytes that the network takes. `name` is that of their file; `row_name` describes a row by its
    index, where the user can find it by that.
    """
    if spec.ranges is None or not spec.check_ranges:
        return to_network_type(x, spec, name, row_name), []
    if spec.ranges.feature_kinds:
        reason, warnings = check_encoded(x, spec.ranges, spec.encoding, name, row_name)
        if reason:
            raise DataError(f"{reason}; bring it to that scale, or {NO_CHECK}")
        return x, warnings
    comparison = Comparison(x, spec.ranges, spec.feature_names, name, row_name)
    conversion = comparison.conversion
    if conversion is None:
        if reason := comparison.other_scale:
            raise DataError(f"{reason}; bring it to that scale, or {NO_CHECK}")
        return to_network_type(x, spec, name, row_name), comparison.warnings
    given, learned = range_text(conversion.given), range_text(conversion.learned)
    message = f"{name}: pictures of {given} are converted to {learned}, as in training: {conversion} ({NO_CHECK})."
    figures = {"given": list(conversion.given), "learned": list(conversion.learned)}
    converted = conversion.apply(x)
    if spec.is_bytes:
        converted = np.rint(converted).clip(*BYTE).astype(np.uint8)
    warnings = Comparison(converted, spec.ranges, spec.feature_names, name, row_name).warnings
    return converted, [RunWarning("input_scale", message, figures), *warnings]


def to_network_type(x: np.ndarray, spec: InputSpec, name: str, row_name: RowName | None = None) -> np.ndarray:
    """Return rows as the network takes them, uint8 or float64; DataError where it takes bytes and they are none."""
    if not spec.is_bytes:
        if spec.ranges is None and spec.check_ranges and x.dtype == np.uint8:
            raise DataError(
                f"{name} holds bytes (0..255), the network was trained on real numbers whose range is not known; "
                f"{NO_CHECK}"
            )
        return x.astype(np.float64, copy=False)
    if x.dtype != np.uint8:
        fitting = (x >= BYTE[0]) & (x <= BYTE[1]) & (x == np.floor(x))
        if not fitting.all():
            row, feature = np.unravel_index(fitting.argmin(), x.shape)
            where = f", {row_name(int(row))}" if row_name else ""
            raise DataError(
                f"{name}{where} holds {value_text(float(x[row, feature]))}, the network was trained on bytes (0..255); "
                f"the values here are {values_text(x)}"
            )
    return x.astype(np.uint8, copy=False)


def fit_picture(pixels: np.ndarray, spec: InputSpec) -> np.ndarray:
    """Return the pixels (1, n) uint8 of a picture file as the network of `spec` takes them."""
    conversion = picture_conversion(spec)
    if conversion is None:
        return pixels if spec.is_bytes else pixels.astype(np.float64)
    converted = conversion.apply(pixels)
    return np.rint(converted).astype(np.uint8) if spec.is_bytes else converted


def picture_conversion(spec: InputSpec) -> Conversion | None:
    """Return the conversion of picture files to the scale of training; None where they are on it, or keep theirs."""
    learned = spec.ranges.picture_range if spec.ranges and spec.check_ranges else None
    return None if learned in (None, BYTE) else Conversion(BYTE, learned)


def picture_notice(spec: InputSpec) -> str:
    """Return the notice that picture files were converted; empty where they are not."""
    conversion = picture_conversion(spec)
    if conversion is None:
        return ""
    return f"Pictures of 0..255 are converted to {range_text(conversion.learned)}, as in training: {conversion}."


def check_backgrounds(pictures: np.ndarray, names: Sequence[str], spec: InputSpec) -> list[RunWarning]:
    """Return the warning about pictures (N, n), as the network takes them, on another background than in training.

    It is the median of the pixels that had the background's value in every training row, more than half of the range
    of training away from it: light lines for a network that learned dark ones, or the other way round.
    """
    ranges = spec.ranges
    in_training = ranges.background() if ranges and spec.check_ranges else None
    if ranges is None or in_training is None:
        return []
    background, pixels = in_training
    found = np.median(pictures[:, pixels].astype(np.float64), axis=1)
    width = float(ranges.high.max()) - float(ranges.low.min())
    changed = np.flatnonzero(np.abs(found - background) > MAX_BACKGROUND_CHANGE * width)
    if not len(changed):
        return []
    remedy = (
        "leave --centre out" if spec.image_mode == MNIST_STYLE else "invert what is drawn, or train on such pictures"
    )
    shade = float(found[changed[0]])
    first = names[changed[0]]
    subject = f"{first} is"
    if len(changed) > 1:
        subject = f"{len(changed):,} of {len(pictures):,} pictures (the first is {first}) are"
    message = (
        f"{subject} on another background than the pictures of training, {value_text(shade)} instead of "
        f"{value_text(background)}; predictions there are unreliable: {remedy}."
    )
    figures = {"pictures": len(changed), "of": len(pictures), "learned": background, "found": shade}
    return [RunWarning("input_scale", message, figures)]


def to_shades(x: np.ndarray, spec: InputSpec) -> np.ndarray:
    """Return rows as the network takes them as shades of grey to be drawn, uint8.

    Where the range of the training pictures is not known, they go from the smallest to the largest value of all.
    """
    shown = BYTE if spec.is_bytes else (float(x.min()), float(x.max()))
    if spec.ranges and spec.ranges.picture_range:
        shown = spec.ranges.picture_range
    if shown == BYTE or shown[0] == shown[1]:
        return x.clip(*BYTE).astype(np.uint8)
    return to_bytes(x, shown)


def check_signed_pixels(ranges: FeatureRanges) -> list[RunWarning]:
    """Return the warning that the training pictures may be bytes that were read as signed ones."""
    if ranges.picture_range != SIGNED_BYTE:
        return []
    low, high = float(ranges.low.min()), float(ranges.high.max())
    message = (
        f"The training pictures hold whole numbers from {value_text(low)} to {value_text(high)}. Where they are bytes "
        "(0..255) that were read as signed ones, -1 is white and 127 is grey: x.view('uint8') gives the bytes."
    )
    return [RunWarning("signed_pixels", message, {"training": [low, high]})]


def check_encoded(
    x: np.ndarray, ranges: FeatureRanges, encoding: TableEncoding | None, name: str, row_name: RowName | None
) -> tuple[str, list[RunWarning]]:
    """Compare the encoded columns x (N, n) of a table with those of training.

    Return a sentence that its numbers are on another scale, else an empty one and warnings. Dates go on beyond their
    range, and are reported; indicators and cycles are never outside.
    """
    assert encoding is not None, "encoded features have an encoding"
    names = encoding.feature_names
    warnings = []
    for kind in (VALUE, DATE):
        features = ranges.features_of(kind)
        if not len(features):
            continue
        own = ranges.take(features)
        describe = partial(describe_feature_value, encoding, features)
        own_names = tuple(names[i] for i in features)
        comparison = Comparison(x[:, features], own, own_names, name, row_name, describe)
        if kind == DATE:
            warnings += [*comparison.outside_warnings(), *comparison.constant_warnings()]
        elif comparison.other_scale:
            return comparison.other_scale, [RunWarning("input_scale", f"{comparison.other_scale}.", comparison.figures)]
        else:
            warnings += comparison.warnings
    return "", warnings


def describe_feature_value(encoding: TableEncoding, features: np.ndarray, i: int, value: float) -> str | None:
    """Return a value of the feature features[i] as `TableEncoding.describe_value` does."""
    return encoding.describe_value(int(features[i]), value)


def check_feature_ranges(
    x: np.ndarray,
    ranges: FeatureRanges,
    feature_names: tuple[str, ...],
    name: str,
    row_name: RowName | None = None,
    encoding: TableEncoding | None = None,
) -> list[RunWarning]:
    """Return warnings about rows x (N, n) that are used as they are, such as the test part of the training data.

    `encoding` is that of the columns of a table.
    """
    if ranges.feature_kinds:
        return check_encoded(x, ranges, encoding, name, row_name)[1]
    comparison = Comparison(x, ranges, feature_names, name, row_name)
    if comparison.conversion is not None:
        reason = comparison.scale_sentence(f"{comparison.conversion} is on the scale of training")
    else:
        reason = comparison.other_scale
    return [RunWarning("input_scale", f"{reason}.", comparison.figures)] if reason else comparison.warnings


@dataclass(frozen=True)
class Comparison:
    """Rows x (N, n), N at least 1, of the file `name` beside those of training.

    `describe_value` returns a value of a feature as the user knows it, such as a date; None for other numbers.
    """

    x: np.ndarray
    ranges: FeatureRanges
    feature_names: tuple[str, ...]
    name: str
    row_name: RowName | None = None
    describe_value: Callable[[int, float], str | None] | None = None

    @cached_property
    def lows(self) -> np.ndarray:
        """Smallest value of each column, (n,) float64."""
        return self.x.min(axis=0).astype(np.float64)

    @cached_property
    def highs(self) -> np.ndarray:
        """Largest value of each column, (n,) float64."""
        return self.x.max(axis=0).astype(np.float64)

    @cached_property
    def limits(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Lowest and highest value in training and their distance for each feature, or of all on a shared scale."""
        low, high = self.ranges.low, self.ranges.high
        if self.ranges.has_shared_scale:
            low, high = np.full_like(low, low.min()), np.full_like(high, high.max())
        with np.errstate(over="ignore"):
            return low, high, np.minimum(high - low, np.finfo(np.float64).max)

    @property
    def figures(self) -> dict[str, object]:
        """Ranges of all values here and in training, for JSON."""
        return {
            "given": [float(self.lows.min()), float(self.highs.max())],
            "learned": [float(self.ranges.low.min()), float(self.ranges.high.max())],
        }

    @cached_property
    def given_range(self) -> PictureRange | None:
        """Usual range of the pictures here, as far as it can be told; None for rows that are no pictures.

        Values that fit into the range of training are of it, unless they are surely of a smaller one: pictures of
        0..255 are never within 0..1, and pictures of -1..1 have values below 0, unlike those of 0..1, whose black is 0.
        """
        learned = self.ranges.picture_range
        if learned is None:
            return None
        low, high = float(self.lows.min()), float(self.highs.max())
        margin = FAR_SHARED * (learned[1] - learned[0])
        if low < learned[0] - margin or high > learned[1] + margin:
            # A few values that are too large are no other scale.
            return usual_range(low, high, is_whole=are_whole(self.x)) if self.has_far_rows else None
        is_blank = low == high and (learned[1] <= 1 or are_whole(self.x))
        return learned if is_blank else smaller_range(low, high, learned, is_whole=are_whole(self.x))

    @property
    def has_far_rows(self) -> bool:
        """Whether most rows have values far outside, and these are more than single ones."""
        outside = self.outside
        return outside.rows >= len(self.x) / 2 and outside.far_count >= MIN_FAR_PIXELS * len(self.x)

    @cached_property
    def conversion(self) -> Conversion | None:
        """Conversion of the pictures here to the range of training; None where they are in it, or it is not certain."""
        given, learned = self.given_range, self.ranges.picture_range
        if given is None or learned is None or given == learned:
            return None
        return Conversion(given, learned) if given in CONVERTIBLE and learned in CONVERTIBLE else None

    @cached_property
    def other_scale(self) -> str:
        """Sentence that the rows are on another scale, which is not converted; empty where they are not."""
        given, learned = self.given_range, self.ranges.picture_range
        if given is not None and learned is not None and given != learned:
            conversion = Conversion(given, learned)
            remedy = f"{conversion} is on the scale of training"
            if given == SIGNED_BYTE:
                remedy = f"x.view('uint8') for bytes that were read as signed ones, {conversion} for shifted ones"
            elif learned == SIGNED_BYTE:
                remedy += ", unless training read bytes as signed ones: then train again on x.view('uint8')"
            return self.scale_sentence(remedy)
        if len(self.x) >= MIN_SCALE_ROWS and self.narrow_factor:
            return self.scale_sentence(f"a factor of {self.narrow_factor:.3g}")
        if self.changed_background:
            was, found = map(value_text, self.changed_background)
            return self.scale_sentence(f"the pixels that were {was} in every training row are {found}")
        return self.far_outside

    @cached_property
    def far_outside(self) -> str:
        """Sentence that most values are far outside, or whole features outside; empty where they are not."""
        if self.outside.values < MIN_SCALE_VALUES:
            return ""
        varying = int(np.sum(~self.ranges.constant))
        # A feature alone that goes on beyond its range, as a time does, is no other scale.
        most = self.outside.share > MAX_OUTSIDE_VALUES and varying >= 2
        several = self.outside.features >= 2 and self.outside.features > MAX_OUTSIDE_FEATURES * varying
        max_far_share = MAX_FAR_SHARE_SHARED if self.ranges.has_shared_scale else MAX_FAR_SHARE
        if not (most or several or self.outside.other_scale_share >= max_far_share):
            return ""
        factor = self.common_factor
        if factor is not None:
            remedy = f"{f'x / {factor:g}' if factor > 1 else f'x * {1 / factor:g}'} is on the scale of training"
        elif several:
            remedy = f"nearly all values of {self.outside.features} of {varying} features are outside of their ranges"
        else:
            remedy = f"{self.outside.count:,} of {self.outside.values:,} values are outside of their ranges"
        return self.scale_sentence(remedy, worst=True)

    @cached_property
    def narrow_factor(self) -> float:
        """Factor by which pictures here span less than in training, where it is about two or more; else 0."""
        if not (self.ranges.has_shared_scale and self.ranges.has_equal_widths):
            return 0.0
        low, learned_low = float(self.lows.min()), float(self.ranges.low.min())
        width = float(self.highs.max()) - low
        learned = float(self.ranges.high.max()) - learned_low
        max_width = MAX_NARROW_WIDTH * learned
        if self.ranges.picture_range not in (*CONVERTIBLE, SIGNED_BYTE, None):
            # Counts of few levels are often smaller in some rows.
            max_width = learned / MIN_FACTOR if learned >= MIN_LEVELS else 0.0
        if not 0 < width <= max_width:
            return 0.0
        # On a smaller scale each pixel spans less, and not only those few that were brightest. Bytes read as signed
        # ones are beyond the range instead.
        widths, learned_widths = self.highs - self.lows, self.ranges.high - self.ranges.low
        wide = (widths > MAX_NARROW_WIDTH * learned_widths)[learned_widths > 0]
        return learned / width if low < learned_low or wide.mean() <= MAX_WIDE_FEATURES else 0.0

    @property
    def fills_picture_range(self) -> bool:
        """Whether the training pictures had black and white."""
        if self.ranges.picture_range is None:
            return False
        low, high = self.ranges.picture_range
        return float(self.ranges.high.max()) - float(self.ranges.low.min()) >= MIN_FILLED_WIDTH * (high - low)

    @cached_property
    def widest_feature(self) -> float:
        """Largest part of its range in training that a feature of many rows spans here; 1 for few rows or features."""
        varying = np.flatnonzero(~self.ranges.constant)
        few_rows = len(self.x) < max(MIN_SCALE_ROWS, MIN_NARROW_ROWS * self.ranges.rows)
        if self.ranges.has_shared_scale or few_rows or len(varying) < MIN_NARROW_FEATURES:
            return 1.0
        with np.errstate(over="ignore", under="ignore"):
            widths = self.highs[varying] / 2 - self.lows[varying] / 2
            learned = self.ranges.high[varying] / 2 - self.ranges.low[varying] / 2
            return float(np.max(widths / np.maximum(learned, np.finfo(np.float64).tiny)))

    @cached_property
    def changed_background(self) -> tuple[float, float] | None:
        """Background of pictures in training and here, where it has changed in most rows; else None."""
        in_training = self.ranges.background()
        if in_training is None or len(self.x) < MIN_SCALE_ROWS:
            return None
        background, pixels = in_training
        differ = (self.lows[pixels] != background) | (self.highs[pixels] != background)
        if differ.mean() < 0.5:
            return None
        found = np.concatenate([np.median(block, axis=1) for _, block in self.blocks(pixels)])
        changed = np.abs(found - background) > CONSTANT_ROUNDING * abs(background)
        return (background, float(np.median(found[changed]))) if changed.mean() >= 0.5 else None

    @cached_property
    def outside(self) -> Outside:
        """Counts of the values outside of their ranges."""
        return self.count_outside(1.0)

    @property
    def usual_share(self) -> float:
        """Share of values outside up to which rows are like the n of training, of which 2 / (n + 1) are expected."""
        return max(MAX_OUTSIDE_SHARE, 10 / (self.ranges.rows + 1))

    @cached_property
    def common_factor(self) -> float | None:
        """Usual factor, such as 10 or 1/255, by which most rows are larger than those of training; else None."""
        if self.outside.share < 0.5:
            return None
        learned = np.maximum(np.abs(self.ranges.low), np.abs(self.ranges.high))
        given = np.maximum(np.abs(self.lows), np.abs(self.highs))
        usable = ~self.ranges.constant & (learned > 0) & (given > 0)
        if not usable.any():
            return None
        with np.errstate(over="ignore", under="ignore"):
            ratio = float(np.median(given[usable] / learned[usable]))
        if not 0 < ratio < math.inf:
            return None
        factors = (*FACTORS, *(1 / factor for factor in FACTORS))
        factor = min(factors, key=lambda known: abs(math.log(known / ratio)))
        low, high, width = (limit[usable] for limit in self.limits)
        with np.errstate(over="ignore", under="ignore"):
            ends = np.maximum(np.abs(self.lows[usable] / factor - low), np.abs(self.highs[usable] / factor - high))
            is_alike = float(np.median(ends / width)) <= MAX_END_DISTANCE
        return factor if is_alike and self.count_outside(factor).share <= self.usual_share else None

    def count_outside(self, divisor: float) -> Outside:
        """Count the values outside of their ranges after a division of all by `divisor`."""
        low, high, width = self.limits
        varying = ~self.ranges.constant & (width > 0)
        values = len(self.x) * int(varying.sum())
        outside = (self.lows / divisor < low) | (self.highs / divisor > high)
        features = np.flatnonzero(varying & outside)
        if not len(features):
            return Outside(values)
        far, other_scale = self.far_distances
        far_count = other_scale_count = rows = 0
        of_features = np.zeros(len(features), np.int64)
        worst, largest = None, 0.0
        for start, block in self.blocks(features, divisor):
            with np.errstate(over="ignore"):
                distance = np.maximum(low[features] - block, block - high[features]) / width[features]
            is_far = distance > far
            of_features += (distance > 0).sum(axis=0)
            far_count += int(is_far.sum())
            other_scale_count += int((distance > other_scale).sum())
            rows += int(is_far.any(axis=1).sum())
            row, feature = np.unravel_index(distance.argmax(), distance.shape)
            if distance[row, feature] > largest:
                largest, worst = float(distance[row, feature]), (start + int(row), int(features[feature]))
        nearly_all = int(np.sum(of_features >= MIN_OUTSIDE_SHARE_OF_FEATURE * len(self.x)))
        return Outside(values, int(of_features.sum()), far_count, other_scale_count, rows, nearly_all, worst)

    @property
    def far_distances(self) -> tuple[float, float]:
        """Widths of a range beyond it that are far outside, and that may be another scale."""
        if not self.ranges.has_shared_scale:
            return FAR_IN_FEW_ROWS if len(self.x) < MIN_SCALE_ROWS else FAR, FAR
        levels = float(self.ranges.high.max()) - float(self.ranges.low.min())
        # The next of few whole numbers, as of counts from 0 to 2, is not far.
        far = max(FAR_SHARED, 1 / levels) if self.ranges.kind != REAL and levels >= 2 else FAR_SHARED
        return far, far

    def blocks(self, features: np.ndarray, divisor: float = 1.0) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the first row of each block of rows, and the chosen features of the block, float64, divided."""
        step = max(1, BLOCK_VALUES // self.x.shape[1])
        for start in range(0, len(self.x), step):
            yield start, self.x[start : start + step][:, features] / divisor

    @cached_property
    def warnings(self) -> list[RunWarning]:
        """Warnings about single values, for rows that are on the scale of training."""
        warnings = []
        if self.narrow_factor and (self.fills_picture_range or self.narrow_factor >= MIN_FACTOR):
            sentence = self.scale_sentence(f"a factor of {self.narrow_factor:.3g}, if it is another scale")
            warnings.append(RunWarning("input_scale", f"{sentence}.", self.figures))
        if self.widest_feature <= MAX_NARROW_FEATURE:
            share = f"no feature spans more than {self.widest_feature:.2g} of its range in training"
            warnings.append(RunWarning("input_scale", f"{self.scale_sentence(share)}.", self.figures))
        return [*warnings, *self.outside_warnings(), *self.constant_warnings()]

    def outside_warnings(self) -> list[RunWarning]:
        """Return the warning about values far outside of their ranges, or about many that are outside."""
        outside = self.outside
        many = outside.count >= MIN_OUTSIDE_COUNT and outside.share > self.usual_share
        if outside.worst is None or not (outside.far_count or many):
            return []
        row, feature = outside.worst
        value = float(self.x[row, feature])
        low, high = (float(limit[feature]) for limit in self.limits[:2])
        count, far = (outside.far_count, "far ") if outside.far_count else (outside.count, "")
        message = (
            f"{self.name}: {count:,} of {outside.values:,} values {'is' if count == 1 else 'are'} {far}outside of what "
            f"the network learned from, most of all {self.value_text(feature, value)} in {self.feature_text(feature)}"
            f"{self.row_text(row)} ({self.value_text(feature, low)} to {self.value_text(feature, high)} in training); "
            "predictions there "
            f"{'are' if far else 'may be'} unreliable."
        )
        figures = {
            "values": outside.values,
            "outside": outside.count,
            "far_outside": outside.far_count,
            "rows": len(self.x),
            "rows_far_outside": outside.rows,
            "feature": self.feature_names[feature] if self.feature_names else feature + 1,
            "value": value,
            "learned": [low, high],
        }
        return [RunWarning("outside_range", message, figures)]

    def constant_warnings(self) -> list[RunWarning]:
        """Return the warning about features that had one value in training and have another one here."""
        learned = self.ranges.low
        tolerance = CONSTANT_ROUNDING * np.abs(learned)
        with np.errstate(over="ignore"):
            changed = (self.lows < learned - tolerance) | (self.highs > learned + tolerance)
        features = np.flatnonzero(self.ranges.constant & changed)
        rows = np.zeros(len(features), np.int64)
        first = np.full(len(features), -1)
        for start, block in self.blocks(features):
            with np.errstate(over="ignore"):
                differs = np.abs(block - learned[features]) > tolerance[features]
            new = (first < 0) & differs.any(axis=0)
            first[new] = start + differs[:, new].argmax(axis=0)
            rows += differs.sum(axis=0)
        if self.ranges.has_shared_scale:
            often = rows >= MIN_CHANGED_SHARE * len(self.x)
            features, rows, first = features[often], rows[often], first[often]
        if not len(features):
            return []
        most = int(rows.argmax())
        feature, row = int(features[most]), int(first[most])
        was, found = float(learned[feature]), float(self.x[row, feature])
        more = f", and {len(features) - 1} more like it," if len(features) > 1 else ""
        before, now = self.value_text(feature, was), self.value_text(feature, found)
        message = (
            f"{self.name}: {self.feature_text(feature)}{more} was {before} in every training row and is {now} here"
            f"{self.row_text(row)} ({rows[most]:,} of {len(self.x):,} rows differ): the network learned nothing about "
            "it."
        )
        figures = {
            "features": [self.feature_names[i] if self.feature_names else int(i) + 1 for i in features][
                :MAX_LISTED_FEATURES
            ],
            "feature_count": len(features),
            "rows": int(rows[most]),
            "learned": was,
            "found": found,
        }
        return [RunWarning("constant_column_changed", message, figures)]

    def scale_sentence(self, remedy: str, *, worst: bool = False) -> str:
        """Return what the file holds and what the network learned from, of all or the `worst` feature, and a remedy."""
        here, low, high = self.x, float(self.ranges.low.min()), float(self.ranges.high.max())
        which = ""
        if worst and self.outside.worst and not self.ranges.has_shared_scale:
            feature = self.outside.worst[1]
            here, low, high = self.x[:, feature], float(self.ranges.low[feature]), float(self.ranges.high[feature])
            which = f" in {self.feature_text(feature)}"
        return (
            f"{self.name} holds {values_text(here)}{which}, the network learned from {self.ranges.kind} from "
            f"{value_text(low)} to {value_text(high)} ({remedy})"
        )

    def value_text(self, feature: int, value: float) -> str:
        """Return a value of a feature, a date as such."""
        described = self.describe_value(feature, value) if self.describe_value else None
        return described or value_text(value)

    def feature_text(self, feature: int) -> str:
        """Return a feature by its name, or by its number from 1."""
        return f"column {shorten(self.feature_names[feature])!r}" if self.feature_names else f"feature {feature + 1}"

    def row_text(self, row: int) -> str:
        """Return a row for a sentence; empty where the user cannot find it."""
        return f", {self.row_name(row)}" if self.row_name else ""


def smaller_range(low: float, high: float, learned: PictureRange, *, is_whole: bool) -> PictureRange:
    """Return the range of pictures whose values fit into the learned range: that one, or one that is surely meant."""
    if learned[0] < 0 == low and high <= 1:
        return UNIT
    if learned[1] > 1 and low >= -1 and high <= 1:
        # Of pictures with few levels, such as 0..4, some have the levels 0 and 1 alone.
        few_levels = is_whole and learned[1] < BYTE[1] / 2
        return learned if few_levels else usual_range(low, high, is_whole=False) or learned
    return BYTE if learned == WORD and usual_range(low, high, is_whole=is_whole) == BYTE else learned


def values_text(x: np.ndarray) -> str:
    """Return type and range of values in words."""
    kind = "whole numbers" if are_whole(x) else "real numbers"
    return f"{kind} from {value_text(float(x.min()))} to {value_text(float(x.max()))}"


def value_text(value: float) -> str:
    """Return a number in six digits, a whole one below 1e15 in full."""
    return f"{value:.0f}" if value == math.floor(value) and abs(value) < 1e15 else f"{value:.6g}"


def range_text(picture_range: PictureRange) -> str:
    """Return a range of pictures: 0..255."""
    return f"{picture_range[0]:g}..{picture_range[1]:g}"
