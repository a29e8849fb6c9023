"""The range and the type of each feature as a network saw them in training, kept in its checkpoint."""

from dataclasses import dataclass, replace

import numpy as np

from lagvis.data.scaling import blocks
from lagvis.data.tables.feature_type import MIN_PIXELS, image_side

BYTES, WHOLE, REAL = FEATURE_KINDS = ("bytes", "whole numbers", "real numbers")
PictureRange = tuple[float, float]
UNIT, SIGNED_UNIT, HALF_UNIT = (0.0, 1.0), (-1.0, 1.0), (-0.5, 0.5)
BYTE, SIGNED_BYTE, WORD = (0.0, 255.0), (-128.0, 127.0), (0.0, 65535.0)
MIN_CONSTANT_PIXELS = 10  # of one value in all training pictures, from which on they are a background
ROUNDING = 1e-3  # by which pictures of 0..1 may leave their range, as float16 rounds them


@dataclass(frozen=True)
class FeatureRanges:
    """Range and type of the features in the training rows.

    low, high      (n,) float64: smallest and largest value of each feature
    kind           one of FEATURE_KINDS: bytes, whole numbers or real numbers
    rows           number of training rows
    picture_range  values of black and white in pictures, such as (0, 255) or (-1, 1); None where rows are no pictures
                   or their range is not a usual one
    feature_kinds  what each feature is, one of FEATURE_KINDS of data/tables/encoding.py, for the encoded columns of a
                   table; empty for all others, which are numbers or pixels
    """

    low: np.ndarray
    high: np.ndarray
    kind: str
    rows: int
    picture_range: PictureRange | None = None
    feature_kinds: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, x: np.ndarray, rows: np.ndarray, shape: tuple[int, ...], feature_kinds: tuple[str, ...] = ()
    ) -> "FeatureRanges":
        """Measure the rows (different indices) of x (N, n), uint8 or float64; `shape` is that of one row."""
        low, high = np.full(x.shape[1], np.inf), np.full(x.shape[1], -np.inf)
        is_whole = True
        for block in blocks(x, None if len(rows) == len(x) else rows):
            np.minimum(low, block.min(axis=0), out=low)
            np.maximum(high, block.max(axis=0), out=high)
            is_whole = is_whole and are_whole(block)
        kind = BYTES if x.dtype == np.uint8 else WHOLE if is_whole else REAL
        ranges = cls(low, high, kind, len(rows), feature_kinds=feature_kinds)
        if (
            feature_kinds
            or not has_pictures(shape)
            or (len(shape) == 1 and kind != BYTES and not ranges.has_equal_widths)
        ):
            return ranges
        lowest, highest = float(low.min()), float(high.max())
        picture_range = usual_range(lowest, highest, is_whole=is_whole)
        if picture_range is not None and not is_known_range(picture_range):  # dark pictures, or no pictures
            picture_range = BYTE if kind == BYTES else None
        if len(shape) == 1 and picture_range in (UNIT, SIGNED_UNIT) and highest <= picture_range[1] / 2:
            picture_range = None  # small fractions are rather numbers than dark pictures
        return replace(ranges, picture_range=picture_range)

    @property
    def constant(self) -> np.ndarray:
        """Return which features had one value in every training row, (n,) bool."""
        return np.asarray(self.low == self.high)

    def features_of(self, *kinds: str) -> np.ndarray:
        """Return the indices of the encoded features of some kinds."""
        return np.flatnonzero(np.isin(self.feature_kinds, kinds))

    def take(self, features: np.ndarray) -> "FeatureRanges":
        """Return the ranges of the encoded features with these indices."""
        kinds = tuple(self.feature_kinds[i] for i in features)
        return replace(self, low=self.low[features], high=self.high[features], feature_kinds=kinds)

    def background(self) -> tuple[float, np.ndarray] | None:
        """Return the value that most pixels had in every training row, and the indices of those pixels.

        None if the features have no shared scale, or too few of them are constant to be a background.
        """
        values, counts = np.unique(self.low[self.constant], return_counts=True)
        if not self.has_shared_scale or not counts.size or counts.max() < MIN_CONSTANT_PIXELS:
            return None
        value = float(values[counts.argmax()])
        return value, np.flatnonzero(self.constant & (self.low == value))

    @property
    def has_shared_scale(self) -> bool:
        """Whether the features have one scale, as pixels have: they are many, of equal widths."""
        if self.feature_kinds:
            return False
        return self.picture_range is not None or (len(self.low) >= MIN_PIXELS and self.has_equal_widths)

    @property
    def has_equal_widths(self) -> bool:
        """Whether most of the features that vary span half of the range of all or more."""
        varying = ~self.constant
        if not varying.any():
            return False
        widths = self.high[varying] / 2 - self.low[varying] / 2  # halved: a difference of large numbers may overflow
        width = self.high[varying].max() / 2 - self.low[varying].min() / 2
        return bool(np.mean(widths >= width / 2) >= 0.5)


def are_whole(x: np.ndarray) -> bool:
    """Tell whether all numbers are whole."""
    return x.dtype.kind in "biu" or bool((x == np.floor(x)).all())


def is_known_range(picture_range: PictureRange) -> bool:
    """Tell whether pictures are stored in such a range: not from 0 to a number that is near to no power of two."""
    low, high = picture_range
    levels = {int(high), int(high) + 1}
    return low < 0 or high in (UNIT[1], BYTE[1], WORD[1]) or any(level & (level - 1) == 0 for level in levels)


def to_bytes(x: np.ndarray, picture_range: PictureRange) -> np.ndarray:
    """Return pixels of a range of pictures as bytes 0..255."""
    low, high = picture_range
    return np.rint((x - low) * (BYTE[1] / (high - low))).clip(*BYTE).astype(np.uint8)


def has_pictures(shape: tuple[int, ...]) -> bool:
    """Tell whether a row of this shape may be a picture: two or three axes, or a square number of values."""
    return len(shape) in (2, 3) or (len(shape) == 1 and image_side(shape[0]) > 0)


def usual_range(low: float, high: float, *, is_whole: bool) -> PictureRange | None:
    """Return the usual range of pictures whose values go from `low` to `high`; None where it is not a usual one.

    Whole numbers from 0 to a number below 128 have a range of their own, as counts from 0 to 16.
    """
    if low >= 0:
        if high <= UNIT[1] + ROUNDING:
            return UNIT
        if BYTE[1] / 2 < high <= BYTE[1] + ROUNDING:
            return BYTE
        if is_whole and WORD[1] / 2 < high <= WORD[1]:
            return WORD
        return (0.0, high) if is_whole and high <= BYTE[1] / 2 else None
    for usual in (HALF_UNIT, SIGNED_UNIT):
        if usual[0] - ROUNDING <= low and high <= usual[1] + ROUNDING:
            return usual
    return SIGNED_BYTE if is_whole and SIGNED_BYTE[0] <= low and high <= SIGNED_BYTE[1] else None
