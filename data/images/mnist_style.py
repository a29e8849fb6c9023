"""Prepare the image of a digit the way MNIST was made: cropped, fitted into 20x20, centred by mass in 28x28.

`to_mnist_style` takes shades of grey g (H, W), 0..255, and returns (28, 28) bytes. The page to draw on
(formats/page.js) does the same steps except the third. Numbers are rounded by floor(t + 0.5); the border is the
outermost row or column of all four sides, the background is what the digit is drawn on, the foreground the digit.

1. Size. The longer side is 1024 at most: larger images are averaged in squares of k x k, k = ceil(longer side / 1024).
2. Background and foreground. The background p is the median of the border. The foreground is light if
   max(g) - p >= p - min(g), else dark. v = max(0, g - p) for a light foreground, max(0, p - g) for a dark one.
   If the digit was cropped along its outline, much of the border is foreground. Then the background is on the side of
   the middle of the shades on which most of the border is, and p is the median of the border there, if all of this
   holds: v > max(v) / 2 comes within a quarter of the image of each side; at most 0.4 of all shades are between the
   quarters of their range; and the median of |p - g| over the background at the border is max(v) / 32 at most, or one
   side is twice the other. Then step 3 is left out, and in step 4 nothing above max(v) / 4 becomes 0.
3. Uneven light, as in photographs: both sides are 64 at least, the quartiles of the border more than 8 apart. Such a
   background is light if the upper quartile is 96 or more. With r = floor(shorter side / 8) and windows of 2 r + 1
   squared, the light at each pixel is the minimum of the maximum of g (a closing), and
   v = 255 * (light - g) / max(1, light); on a dark background it is the maximum of the minimum of g (an opening), and
   v = g - light.
   After step 5 only the largest connected component is kept, and others of a tenth of it that are not on the edge.
4. Noise. Where v is at or below eight times the median of |g - p| over the border (after step 3: four times the median
   of v there) it becomes 0.
5. Strength. f = max(v). Below 16 there is no foreground: the image is blank, or noise or a shadow alone.
6. Box. The smallest box that holds all v > f / 4 is cut out, h rows and w columns.
7. Fit. The longer side becomes 20, the other max(1, round(20 * shorter / longer)). Each new pixel is the mean of v over
   the area that it covers, pixels counted by the part of them that is covered. Then v = 255 * v / max(v).
8. Position. With the centre of mass cy = sum(i * v) / sum(v), i the row from 0, the top row lands on round(14 - cy),
   clamped so that all rows are inside; the columns likewise. MNIST's own images have their centre of mass at index 14
   of both axes, to half a pixel. The rest is 0, and v is rounded.
"""

import math
from dataclasses import dataclass

import numpy as np

from lagvis.data.images.filters import (
    border,
    connected_components,
    downsample,
    max_filter,
    min_filter,
    resample,
    to_uint8,
)
from lagvis.data.images.surroundings import remove_surroundings

SIDE, FIT_SIDE, CENTRE = 28, 20, 14
MIN_STRENGTH = 16  # shades between foreground and background
MAX_MIDTONES = 0.4  # share of the shades of a cropped digit that are between the quarters of their range
MIN_STRENGTH_TO_SPREAD = 32  # of a cropped digit whose background is even
MIN_PHOTO_SIDE, MAX_EVEN_SPREAD, MIN_LIGHT_SHADE = 64, 8, 96
MIN_STYLE_SHARE = 0.95
BLANK = "blank: nothing is drawn on it"
NOT_SEPARATED = "no digit could be separated from the background"
SEVERAL = "more than one digit: classified as a whole"
UNEVEN = "uneven light corrected"
INVERTED = "inverted"


@dataclass(frozen=True)
class PreparedImage:
    """Image (H, W) uint8 as a network takes it.

    notes  what was done to it, in words
    blank  whether no foreground was found, so that there is nothing to classify
    """

    pixels: np.ndarray
    notes: tuple[str, ...] = ()
    blank: bool = False


@dataclass(frozen=True)
class Foreground:
    """Foreground of an image: `strength` (H, W) float64, 0 on the background, and what was done to find it."""

    strength: np.ndarray
    inverted: bool = False
    uneven_light: bool = False


def resize(grey: np.ndarray, shape: tuple[int, int]) -> PreparedImage:
    """Resize grey (H, W) uint8 to `shape`; each pixel is the mean over the area that it covers."""
    if grey.shape == shape:
        return PreparedImage(grey)
    size = f"resized from {grey.shape[1]}x{grey.shape[0]} to {shape[1]}x{shape[0]}"
    distorted = abs(grey.shape[0] * shape[1] - grey.shape[1] * shape[0]) > max(grey.shape) * max(shape) // 20
    pixels = to_uint8(resample(downsample(grey), *shape))
    return PreparedImage(pixels, (size + (", proportions changed" if distorted else ""),))


def to_mnist_style(grey: np.ndarray) -> PreparedImage:
    """Prepare the digit on grey (H, W) uint8 as (28, 28) uint8, by the steps at the top of this module."""
    cleaned = remove_surroundings(downsample(grey))
    g = cleaned.g
    found = find_foreground(g)
    v, peak = found.strength, found.strength.max()
    if peak < MIN_STRENGTH:
        note = BLANK if g.std() < MIN_STRENGTH else NOT_SEPARATED
        return PreparedImage(np.zeros((SIDE, SIDE), np.uint8), (note,), blank=True)
    if found.uneven_light:
        v = np.where(remove_specks(v > peak / 4), v, 0)
    rows, columns = (np.flatnonzero((v > peak / 4).any(axis=axis)) for axis in (1, 0))
    box = v[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    small = fit_box(box)
    top, left = centred_position(small)
    pixels = np.zeros((SIDE, SIDE), np.uint8)
    h, w = small.shape
    pixels[top : top + h, left : left + w] = to_uint8(small)

    notes = [*cleaned.notes]
    notes += [note for note, holds in ((INVERTED, found.inverted), (UNEVEN, found.uneven_light)) if holds]
    if grey.shape != pixels.shape or box.shape != (h, w) or (top, left) != (rows[0], columns[0]):
        height, width = grey.shape
        scale = max(height, width) / max(v.shape)
        cropped = f"{round(box.shape[1] * scale)}x{round(box.shape[0] * scale)} of {width}x{height}"
        notes += [f"cropped to {cropped}", f"fitted to {w}x{h}", "centred"]
    if count_digits(box > peak / 4) > 1:
        notes.append(SEVERAL)
    return PreparedImage(pixels, tuple(notes))


def fit_box(box: np.ndarray) -> np.ndarray:
    """Step 7: resample a box (h, w) so that its longer side is 20 and its maximum 255."""
    longest = max(box.shape)
    h, w = (max(1, math.floor(FIT_SIDE * side / longest + 0.5)) for side in box.shape)
    small = resample(box, h, w)
    return small * (255 / small.max())


def centred_position(small: np.ndarray) -> tuple[int, int]:
    """Step 8: return the top row and the left column that bring the centre of mass of `small` to index 14."""
    h, w = small.shape
    centres = (np.arange(h) @ small.sum(axis=1) / small.sum(), np.arange(w) @ small.sum(axis=0) / small.sum())
    top, left = (
        min(max(0, math.floor(CENTRE - centre + 0.5)), SIDE - size)
        for centre, size in zip(centres, (h, w), strict=True)
    )
    return top, left


def find_foreground(g: np.ndarray) -> Foreground:
    """Steps 2 to 4: separate the foreground of g (H, W) float64 from its background and its noise."""
    cropped = foreground_of_cropped(g)
    if cropped is not None:
        return cropped
    lower, background, upper = np.percentile(border(g), (25, 50, 75))
    uneven = min(g.shape) >= MIN_PHOTO_SIDE and upper - lower > MAX_EVEN_SPREAD
    if uneven:
        dark_digit, r = upper >= MIN_LIGHT_SHADE, min(g.shape) // 8
        light = min_filter(max_filter(g, r), r) if dark_digit else max_filter(min_filter(g, r), r)
        v = 255 * (light - g) / np.maximum(1, light) if dark_digit else g - light
        noise = 4 * np.median(border(v))
    else:
        dark_digit = g.max() - background < background - g.min()
        v = np.maximum(0, background - g if dark_digit else g - background)
        noise = 8 * np.median(np.abs(border(g) - background))
    return Foreground(np.where(v > noise, v, 0), inverted=bool(dark_digit), uneven_light=bool(uneven))


def foreground_of_cropped(g: np.ndarray) -> Foreground | None:
    """Steps 2 and 4 for a digit that was cropped along its outline; None for any other image."""
    edge, middle = border(g), (g.max() + g.min()) / 2
    dark_digit = 2 * np.count_nonzero(edge > middle) >= edge.size
    background = edge[(edge > middle) == dark_digit]
    p = np.median(background)
    v = np.maximum(0, p - g if dark_digit else g - p)
    peak, spread = v.max(), np.median(np.abs(background - p))
    if peak < MIN_STRENGTH or np.mean(np.abs(g - middle) < np.ptp(g) / 4) > MAX_MIDTONES:
        return None
    for axis in (0, 1):
        lines = np.flatnonzero((v > peak / 2).any(axis=1 - axis))
        if 4 * max(lines[0], g.shape[axis] - 1 - lines[-1]) > g.shape[axis]:
            return None
    if spread * MIN_STRENGTH_TO_SPREAD > peak and max(g.shape) < 2 * min(g.shape):
        return None
    return Foreground(np.where(v > min(8 * spread, peak / 4), v, 0), inverted=bool(dark_digit))


def remove_specks(mask: np.ndarray) -> np.ndarray:
    """Return mask (H, W) bool with the cells of the largest component, and of others of a tenth of it off the edge."""
    components, k = connected_components(mask)
    largest = max(components, key=len)
    bottom, right = ((side - 1) // k for side in mask.shape)
    kept = np.zeros(mask.shape, bool)
    for component in components:
        on_edge = any(i in (0, bottom) or j in (0, right) for i, j in component)
        if component is largest or (10 * len(component) >= len(largest) and not on_edge):
            for i, j in component:
                kept[i * k : (i + 1) * k, j * k : (j + 1) * k] = True
    return kept


def count_digits(mask: np.ndarray) -> int:
    """Count the digits side by side in a box (H, W) bool: components of half its height that share no column."""
    components, k = connected_components(mask)
    column_ranges = []
    for component in components:
        rows, columns = [i for i, _ in component], [j for _, j in component]
        if 2 * k * (max(rows) - min(rows) + 1) >= len(mask):
            column_ranges.append((max(columns), min(columns)))
    count, end = 0, -1
    for last, first in sorted(column_ranges):
        if first > end:
            count, end = count + 1, last
    return count


def is_mnist_style(images: np.ndarray) -> bool:
    """Return whether images (N, H, W) uint8 are made as MNIST's: digits in 20x20 on 0, centre of mass at index 14.

    At least 95 in 100 images must be; MNIST's own all are. The measure is taken on pixels that are not 0.
    """
    if images.shape[1:] != (SIDE, SIDE):
        return False
    drawn = images[images.any(axis=(1, 2))].astype(np.float64)
    fits = np.full(len(drawn), len(drawn) > 0)
    for axis in (1, 2):
        sums = drawn.sum(axis=3 - axis)
        occupied = sums > 0
        extent = SIDE - occupied.argmax(axis=1) - occupied[:, ::-1].argmax(axis=1)
        centre = sums @ np.arange(SIDE) / sums.sum(axis=1)
        fits &= (extent <= FIT_SIDE) & (np.abs(centre - CENTRE) < 1)
    return bool(fits.sum() >= MIN_STYLE_SHARE * max(1, len(images)))


def background_shade(images: np.ndarray) -> int:
    """Return the median shade, 0..255, at the borders of images (N, H, W) uint8."""
    edges = (images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1])
    return int(np.median(np.concatenate([edge.reshape(-1) for edge in edges])))
