"""Compare the rows that a network is given with what it saw in training, and bring pictures to that scale."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from lagvis.data.feature_ranges import (
    BYTE,
    HALF_UNIT,
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
from lagvis.data.row_statistics import (
    CONSTANT_ROUNDING,
    FAR_SHARED,
    MIN_CHANGED_PIXELS,
    MIN_SCALE_ROWS,
    MergedStatistics,
    Outside,
    RowStatistics,
    range_limits,
)
from lagvis.data.tables.encoding import DATE, VALUE, TableEncoding
from lagvis.errors import DataError
from lagvis.option_text import no_range_check
from lagvis.run_warning import RunWarning

CONVERTIBLE = (UNIT, SIGNED_UNIT, HALF_UNIT, BYTE, WORD)  # between which pixels are converted
MIN_OUTSIDE_COUNT = 5  # values outside that are reported where none is far outside
MIN_SCALE_VALUES = 20  # from which on a scale is judged
MAX_OUTSIDE_SHARE = 0.05  # of the values may be outside of their ranges, however many the training rows are
MAX_FAR_SHARE, MAX_FAR_SHARE_SHARED = 0.9, 0.05  # of the values may be far outside on the scale of training
MIN_FAR_PIXELS = 4  # of a picture, on average, that are far outside on another scale, however thin its lines are
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
FACTORS = (2.0, 2.54, 4.0, 10.0, 16.0, 60.0, 100.0, 255.0, 1e3, 3600.0, 65535.0, 86400.0, 1e6, 1e9)
MAX_LISTED_FEATURES = 20
RowName = Callable[[int], str]


def no_check() -> str:
    """Return how rows are used whatever their scale is, for messages."""
    return f"{no_range_check()} takes the values as they are"


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
            raise DataError(f"{reason}; bring it to that scale, or {no_check()}")
        return x, warnings
    comparison = Comparison(RowStatistics(x, spec.ranges), spec.ranges, spec.feature_names, name, row_name)
    conversion = comparison.conversion
    if conversion is None:
        if reason := comparison.other_scale:
            raise DataError(f"{reason}; bring it to that scale, or {no_check()}")
        return to_network_type(x, spec, name, row_name), comparison.warnings
    converted = converted_rows(x, conversion, spec)
    fitted = RowStatistics(converted, spec.ranges)
    warnings = Comparison(fitted, spec.ranges, spec.feature_names, name, row_name).warnings
    return converted, [conversion_warning(conversion, name), *warnings]


def converted_rows(x: np.ndarray, conversion: Conversion, spec: InputSpec) -> np.ndarray:
    """Return pixels on the scale of training, uint8 where the network takes bytes, else float64."""
    converted = conversion.apply(x)
    return np.rint(converted).clip(*BYTE).astype(np.uint8) if spec.is_bytes else converted


def conversion_warning(conversion: Conversion, name: str) -> RunWarning:
    """Return the warning that the pictures of a file are converted."""
    given, learned = range_text(conversion.given), range_text(conversion.learned)
    message = f"{name}: pictures of {given} are converted to {learned}, as in training: {conversion} ({no_check()})."
    figures = {"given": list(conversion.given), "learned": list(conversion.learned)}
    return RunWarning("input_scale", message, figures)


def to_network_type(x: np.ndarray, spec: InputSpec, name: str, row_name: RowName | None = None) -> np.ndarray:
    """Return rows as the network takes them, uint8 or float64; DataError where it takes bytes and they are none."""
    if not spec.is_bytes:
        if spec.ranges is None and spec.check_ranges and x.dtype == np.uint8:
            raise DataError(
                f"{name} holds bytes (0..255), the network was trained on real numbers whose range is not known; "
                f"{no_check()}"
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
    parts = compared_features(ranges, encoding)
    statistics = [RowStatistics(x[:, part.features], part.ranges) for part in parts]
    pairs = zip(parts, statistics, strict=True)
    return judge_encoded([part.compare(rows, name, row_name) for part, rows in pairs], [part.kind for part in parts])


@dataclass(frozen=True)
class ComparedFeatures:
    """Features of one kind, VALUE or DATE, of the columns of a table: their indices, ranges and names."""

    kind: str
    features: np.ndarray
    ranges: FeatureRanges
    names: tuple[str, ...]
    encoding: TableEncoding

    def compare(self, rows: RowStatistics | MergedStatistics, name: str, row_name: RowName | None) -> "Comparison":
        """Return these features of rows beside those of training."""
        describe = partial(describe_feature_value, self.encoding, self.features)
        return Comparison(rows, self.ranges, self.names, name, row_name, describe)


def compared_features(ranges: FeatureRanges, encoding: TableEncoding | None) -> list[ComparedFeatures]:
    """Return the features of each kind that has ranges."""
    assert encoding is not None, "encoded features have an encoding"
    names = encoding.feature_names
    kinds = {kind: features for kind in (VALUE, DATE) if len(features := ranges.features_of(kind))}
    return [
        ComparedFeatures(kind, features, ranges.take(features), tuple(names[i] for i in features), encoding)
        for kind, features in kinds.items()
    ]


def judge_encoded(comparisons: "list[Comparison]", kinds: list[str]) -> tuple[str, list[RunWarning]]:
    """Return what `check_encoded` returns, given the comparison of the features of each kind."""
    warnings = []
    for comparison, kind in zip(comparisons, kinds, strict=True):
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
    comparison = Comparison(RowStatistics(x, ranges), ranges, feature_names, name, row_name)
    if comparison.conversion is not None:
        reason = comparison.scale_sentence(f"{comparison.conversion} is on the scale of training")
    else:
        reason = comparison.other_scale
    return [RunWarning("input_scale", f"{reason}.", comparison.figures)] if reason else comparison.warnings


@dataclass(frozen=True)
class Comparison:
    """Rows of the file `name`, at least one, beside those of training.

    `describe_value` returns a value of a feature as the user knows it, such as a date; None for other numbers.
    """

    rows: RowStatistics | MergedStatistics
    ranges: FeatureRanges
    feature_names: tuple[str, ...]
    name: str
    row_name: RowName | None = None
    describe_value: Callable[[int, float], str | None] | None = None

    @property
    def lows(self) -> np.ndarray:
        """Smallest value of each column, (n,) float64."""
        return self.rows.lows

    @property
    def highs(self) -> np.ndarray:
        """Largest value of each column, (n,) float64."""
        return self.rows.highs

    @property
    def outside(self) -> Outside:
        """Counts of the values outside of their ranges."""
        return self.rows.outside

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
            return usual_range(low, high, is_whole=bool(self.rows.are_whole.all())) if self.has_far_rows else None
        is_blank = low == high and (learned[1] <= 1 or bool(self.rows.are_whole.all()))
        return learned if is_blank else smaller_range(low, high, learned, is_whole=bool(self.rows.are_whole.all()))

    @property
    def has_far_rows(self) -> bool:
        """Whether most rows have values far outside, and these are more than single ones."""
        outside = self.outside
        return outside.rows >= self.rows.count / 2 and outside.far_count >= MIN_FAR_PIXELS * self.rows.count

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
        if self.rows.count >= MIN_SCALE_ROWS and self.narrow_factor:
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
        few_rows = self.rows.count < max(MIN_SCALE_ROWS, MIN_NARROW_ROWS * self.ranges.rows)
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
        if in_training is None or self.rows.count < MIN_SCALE_ROWS:
            return None
        background, pixels = in_training
        differ = (self.lows[pixels] != background) | (self.highs[pixels] != background)
        if differ.mean() < MIN_CHANGED_PIXELS:
            return None
        found = self.rows.backgrounds(pixels)
        changed = np.abs(found - background) > CONSTANT_ROUNDING * abs(background)
        return (background, float(np.median(found[changed]))) if changed.mean() >= 0.5 else None

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
        low, high, width = (limit[usable] for limit in range_limits(self.ranges))
        with np.errstate(over="ignore", under="ignore"):
            ends = np.maximum(np.abs(self.lows[usable] / factor - low), np.abs(self.highs[usable] / factor - high))
            is_alike = float(np.median(ends / width)) <= MAX_END_DISTANCE
        if not is_alike:
            return None
        divided = self.rows.count_outside(factor)
        return factor if divided is not None and divided.share <= self.usual_share else None

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
        row, feature, value = outside.worst.row, outside.worst.feature, outside.worst.value
        low, high = (float(limit[feature]) for limit in range_limits(self.ranges)[:2])
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
            "rows": self.rows.count,
            "rows_far_outside": outside.rows,
            "feature": self.feature_names[feature] if self.feature_names else feature + 1,
            "value": value,
            "learned": [low, high],
        }
        return [RunWarning("outside_range", message, figures)]

    def constant_warnings(self) -> list[RunWarning]:
        """Return the warning about features that had one value in training and have another one here."""
        learned = self.ranges.low
        changed = self.rows.changed_constants
        features = np.flatnonzero(changed.rows)
        if self.ranges.has_shared_scale:
            features = features[changed.rows[features] >= MIN_CHANGED_SHARE * self.rows.count]
        if not len(features):
            return []
        feature = int(features[changed.rows[features].argmax()])
        rows, row = int(changed.rows[feature]), int(changed.first[feature])
        was, found = float(learned[feature]), float(changed.found[feature])
        more = f", and {len(features) - 1} more like it," if len(features) > 1 else ""
        before, now = self.value_text(feature, was), self.value_text(feature, found)
        message = (
            f"{self.name}: {self.feature_text(feature)}{more} was {before} in every training row and is {now} here"
            f"{self.row_text(row)} ({rows:,} of {self.rows.count:,} rows differ): the network learned nothing about "
            "it."
        )
        figures = {
            "features": [self.feature_names[i] if self.feature_names else int(i) + 1 for i in features][
                :MAX_LISTED_FEATURES
            ],
            "feature_count": len(features),
            "rows": rows,
            "learned": was,
            "found": found,
        }
        return [RunWarning("constant_column_changed", message, figures)]

    def scale_sentence(self, remedy: str, *, worst: bool = False) -> str:
        """Return what the file holds and what the network learned from, of all or the `worst` feature, and a remedy."""
        low, high = float(self.ranges.low.min()), float(self.ranges.high.max())
        here, which = (float(self.lows.min()), float(self.highs.max())), ""
        is_whole = bool(self.rows.are_whole.all())
        if worst and self.outside.worst and not self.ranges.has_shared_scale:
            feature = self.outside.worst.feature
            low, high = float(self.ranges.low[feature]), float(self.ranges.high[feature])
            here, which = (float(self.lows[feature]), float(self.highs[feature])), f" in {self.feature_text(feature)}"
            is_whole = bool(self.rows.are_whole[feature])
        return (
            f"{self.name} holds {span_text(*here, is_whole=is_whole)}{which}, the network learned from "
            f"{self.ranges.kind} from {value_text(low)} to {value_text(high)} ({remedy})"
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


class PieceFit:
    """Does what `fit_to_training` does for the rows of a file that come in pieces; each piece is forgotten.

    The first piece decides how pictures are converted.
    """

    def __init__(self, spec: InputSpec, name: str, row_name: RowName) -> None:
        """Begin without rows; the arguments are those of `fit_to_training`."""
        self._spec = spec
        self._name = name
        self._row_name = row_name
        self._conversion: Conversion | None = None
        ranges = spec.ranges if spec.check_ranges else None
        self._parts = compared_features(ranges, spec.encoding) if ranges and ranges.feature_kinds else []
        self._merged = [MergedStatistics(part.ranges) for part in self._parts]
        self._given = MergedStatistics(ranges) if ranges and not ranges.feature_kinds else None
        self._fitted = MergedStatistics(ranges) if ranges and not ranges.feature_kinds else None

    def fit(self, x: np.ndarray, first_row: int) -> np.ndarray:
        """Return the rows of a piece as the network takes them; DataError where they are not what it takes.

        `first_row` is the index of the first of them in the file.
        """
        spec, is_of_many = self._spec, first_row > 0

        def row_name(row: int) -> str:
            return self._row_name(first_row + row)

        for part, merged in zip(self._parts, self._merged, strict=True):
            merged.add(RowStatistics(x[:, part.features], part.ranges, first_row, is_of_many))
        if self._given is None or self._fitted is None:
            return x if self._parts else to_network_type(x, spec, self._name, row_name)
        given = RowStatistics(x, self._given.ranges, first_row, is_of_many)
        if not self._given.count:
            self._conversion = self._compare(given).conversion
        self._given.add(given)
        if self._conversion is None:
            return to_network_type(x, spec, self._name, row_name)
        fitted = converted_rows(x, self._conversion, spec)
        self._fitted.add(RowStatistics(fitted, self._given.ranges, first_row, is_of_many))
        return fitted

    def finish(self) -> list[RunWarning]:
        """Return the warnings about all rows; DataError where they are on another scale than those of training."""
        if self._parts:
            pairs = zip(self._parts, self._merged, strict=True)
            comparisons = [part.compare(merged, self._name, self._row_name) for part, merged in pairs]
            reason, warnings = judge_encoded(comparisons, [part.kind for part in self._parts])
            if reason:
                raise DataError(f"{reason}; bring it to that scale, or {no_check()}")
            return warnings
        if self._given is None or self._fitted is None:
            return []
        comparison = self._compare(self._given)
        if comparison.conversion != self._conversion:
            raise DataError(
                f"{self._name} begins with pictures of another scale than those after them; bring all to one scale, or "
                f"{no_check()}"
            )
        if self._conversion is None:
            if reason := comparison.other_scale:
                raise DataError(f"{reason}; bring it to that scale, or {no_check()}")
            return comparison.warnings
        return [conversion_warning(self._conversion, self._name), *self._compare(self._fitted).warnings]

    def _compare(self, rows: RowStatistics | MergedStatistics) -> Comparison:
        """Return rows beside those of training."""
        return Comparison(rows, rows.ranges, self._spec.feature_names, self._name, self._row_name)


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
    return span_text(float(x.min()), float(x.max()), is_whole=are_whole(x))


def span_text(low: float, high: float, *, is_whole: bool) -> str:
    """Return type and range of values from `low` to `high` in words."""
    return f"{'whole' if is_whole else 'real'} numbers from {value_text(low)} to {value_text(high)}"


def value_text(value: float) -> str:
    """Return a number in six digits, a whole one below 1e15 in full."""
    return f"{value:.0f}" if value == math.floor(value) and abs(value) < 1e15 else f"{value:.6g}"


def range_text(picture_range: PictureRange) -> str:
    """Return a range of pictures: 0..255."""
    return f"{picture_range[0]:g}..{picture_range[1]:g}"
