"""Prepare the image of a digit the way MNIST was made: cropped, fitted into 20x20, centred by mass in 28x28.

`to_mnist_style` takes shades of grey g (H, W), 0..255, and returns (28, 28) bytes. The page to draw on
(formats/page.js) does the same steps except the second, the fourth and the tenth, and removes nothing in the seventh:
the paper of a drawing is even and empty. Numbers are rounded by floor(t + 0.5); the border is the
outermost row or column of all four sides, the background is what the digit is drawn on, the foreground the digit.

1. Size. The longer side is 1024 at most: larger images are averaged in squares of k x k, k = ceil(longer side / 1024).
2. Surroundings. What is around the digit and no part of it is replaced by the mean of the paper beside it: the rim of a
   scan or the table under a sheet, a shadow that comes in from the edge, lines that run through the whole sheet, a
   frame, an underline. The file surroundings.py defines how they are found. Where the shorter side is below 64, only a
   rim, a closed frame and an underline are looked for.
3. Background and foreground. The background p is the median of the border. The foreground is light if
   max(g) - p >= p - min(g), else dark. v = max(0, g - p) for a light foreground, max(0, p - g) for a dark one.
   If the digit was cropped along its outline, much of the border is foreground. Then the background is on the side of
   the middle of the shades on which most of the border is, and p is the median of the border there, if all of this
   holds: v > max(v) / 2 comes within a quarter of the image of each side; at most 0.4 of all shades are between the
   quarters of their range; and the median of |p - g| over the background at the border is max(v) / 32 at most, or one
   side is twice the other. Then step 4 is left out, and in step 5 nothing above max(v) / 4 becomes 0.
4. Uneven light, as in photographs: both sides are 64 at least, and the quartiles of the border are more than 8 apart,
   or the mean of 16 pixels of a side in a row is more than 8 below p, but by less than 0.7 * (p - min(g)). Such a
   background is light if the upper quartile is 96 or more. With r = floor(shorter side / 8) and windows of 2 r + 1
   squared, the light at each pixel is the minimum of the maximum of g (a closing), and
   v = 255 * (light - g) / max(1, light); on a dark background it is the maximum of the minimum of g (an opening), and
   v = g - light.
   After step 6 only the largest connected component is kept, and others of a tenth of it that are not on the edge.
5. Noise. Where v is at or below eight times the median of |g - p| over the border (after step 4: four times the median
   of v there) it becomes 0.
6. Strength. f = max(v). Below 16 there is no foreground: the image is blank, or noise or a shadow alone.
7. Box. Where both sides are 64 at least, connected components of v > f / 4 that are more than a seventh of the longer
   side of the largest one away from it, and from those that are not, become 0 if together they are less than 0.05 of
   it. The smallest box that holds all v > f / 4 is cut out, h rows and w columns.
8. Fit. The longer side becomes 20, the other max(1, round(20 * shorter / longer)). Each new pixel is the mean of v over
   the area that it covers, pixels counted by the part of them that is covered. Then v = 255 * v / max(v).
9. Position. With the centre of mass cy = sum(i * v) / sum(v), i the row from 0, the top row lands on round(14 - cy),
   clamped so that all rows are inside; the columns likewise. MNIST's own images have their centre of mass at index 14
   of both axes, to half a pixel. The rest is 0, and v is rounded.
10. Doubt. If the box holds several digits, components that are far from each other or one within another, or an empty
   frame, a note says so, and there is no digit to classify.
"""

import math
from dataclasses import dataclass

import numpy as np

from lagvis.data.images.filters import (
    border,
    connected_components,
    downsample,
    label_components,
    max_filter,
    min_filter,
    resample,
    to_uint8,
)
from lagvis.data.images.surroundings import MAX_EVEN_SPREAD, MAX_SHADOW_DEPTH, remove_surroundings

SIDE, FIT_SIDE, CENTRE = 28, 20, 14
MIN_STRENGTH = 16  # shades between foreground and background
MAX_MIDTONES = 0.4  # share of the shades of a cropped digit that are between the quarters of their range
MIN_STRENGTH_TO_SPREAD = 32  # of a cropped digit whose background is even
MIN_PHOTO_SIDE, MIN_LIGHT_SHADE = 64, 96
SHADOW_PIXELS = 16  # of the border, whose mean is looked at
MIN_STYLE_SHARE = 0.95
MAX_SPECK_SHARE = 0.05  # of the largest component: more beside it is no speck
MIN_EMPTY_SHARE, MIN_FRAME_FILL = 0.75, 0.95  # of the box of a frame: its inside, and both; 0.785 is that of an oval
MAX_PARTS = 4  # of a digit that was drawn with gaps
BLANK = "blank: nothing is drawn on it"
NOT_SEPARATED = "no digit could be separated from the background"
SEVERAL = "more than one digit, expected one"
CLUTTERED = "more than a digit, expected nothing beside it: crop the picture"
EMPTY_FRAME = "a frame with nothing in it"
SPECKS = "specks removed"
UNEVEN = "uneven light corrected"
INVERTED = "inverted"


@dataclass(frozen=True)
class PreparedImage:
    """Image (H, W) uint8 as a network takes it.

    notes  what was done to it, in words
    blank  whether there is no single digit on it, so that there is nothing to classify
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
    near, far_share = parts_near(v > peak / 4) if min(v.shape) >= MIN_PHOTO_SIDE else (v > peak / 4, 0.0)
    has_specks = 0 < far_share < MAX_SPECK_SHARE
    if has_specks:
        v = np.where(near | (v <= peak / 4), v, 0)
    rows, columns = (np.flatnonzero((v > peak / 4).any(axis=axis)) for axis in (1, 0))
    box = v[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    small = fit_box(box)
    top, left = centred_position(small)
    pixels = np.zeros((SIDE, SIDE), np.uint8)
    h, w = small.shape
    pixels[top : top + h, left : left + w] = to_uint8(small)

    notes = [*cleaned.notes]
    notes += [
        note
        for note, holds in ((INVERTED, found.inverted), (UNEVEN, found.uneven_light), (SPECKS, has_specks))
        if holds
    ]
    if grey.shape != pixels.shape or box.shape != (h, w) or (top, left) != (rows[0], columns[0]):
        height, width = grey.shape
        scale = max(height, width) / max(v.shape)
        cropped = f"{round(box.shape[1] * scale)}x{round(box.shape[0] * scale)} of {width}x{height}"
        notes += [f"cropped to {cropped}", f"fitted to {w}x{h}", "centred"]
    doubt = doubt_single_digit(box > peak / 4)
    if not doubt and far_share >= MAX_SPECK_SHARE:
        doubt = CLUTTERED
    return PreparedImage(pixels, (*notes, doubt) if doubt else tuple(notes), blank=bool(doubt))


def fit_box(box: np.ndarray) -> np.ndarray:
    """Step 8: resample a box (h, w) so that its longer side is 20 and its maximum 255."""
    longest = max(box.shape)
    h, w = (max(1, math.floor(FIT_SIDE * side / longest + 0.5)) for side in box.shape)
    small = resample(box, h, w)
    return small * (255 / small.max())


def centred_position(small: np.ndarray) -> tuple[int, int]:
    """Step 9: return the top row and the left column that bring the centre of mass of `small` to index 14."""
    h, w = small.shape
    centres = (np.arange(h) @ small.sum(axis=1) / small.sum(), np.arange(w) @ small.sum(axis=0) / small.sum())
    top, left = (
        min(max(0, math.floor(CENTRE - centre + 0.5)), SIDE - size)
        for centre, size in zip(centres, (h, w), strict=True)
    )
    return top, left


def find_foreground(g: np.ndarray) -> Foreground:
    """Steps 3 to 5: separate the foreground of g (H, W) float64 from its background and its noise."""
    cropped = foreground_of_cropped(g)
    if cropped is not None:
        return cropped
    lower, background, upper = np.percentile(border(g), (25, 50, 75))
    uneven = min(g.shape) >= MIN_PHOTO_SIDE and (upper - lower > MAX_EVEN_SPREAD or has_shadow_at_border(g, background))
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


def has_shadow_at_border(g: np.ndarray, background: float) -> bool:
    """Return whether a part of the border of g (H, W) is darker than the background, but not as dark as ink."""
    depths = [
        background - side[: len(side) // SHADOW_PIXELS * SHADOW_PIXELS].reshape(-1, SHADOW_PIXELS).mean(axis=1)
        for side in (g[0], g[-1], g[:, 0], g[:, -1])
    ]
    deepest = np.concatenate(depths).max()
    return bool(MAX_EVEN_SPREAD < deepest < MAX_SHADOW_DEPTH * (background - g.min()))


def foreground_of_cropped(g: np.ndarray) -> Foreground | None:
    """Steps 3 and 5 for a digit that was cropped along its outline; None for any other image."""
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


def parts_near(mask: np.ndarray) -> tuple[np.ndarray, float]:
    """Return mask (H, W) bool without the components far from the largest, and their share of its size.

    A component is near if it, or one that is near, is within a seventh of the largest one's longer side.
    """
    components, k = connected_components(mask)
    boxes = component_boxes(components, k)
    largest = max(range(len(components)), key=lambda c: len(components[c]))
    top, bottom, left, right = boxes[largest]
    reach = max(k, max(bottom - top, right - left) / 7)
    near, unvisited = [largest], set(range(len(components))) - {largest}
    for c in near:  # grows while it is iterated over
        reached = {other for other in unvisited if box_gap(boxes[c], boxes[other]) <= reach}
        unvisited -= reached
        near += sorted(reached)
    kept = mask.copy()
    for c in unvisited:
        for i, j in components[c]:
            kept[i * k : (i + 1) * k, j * k : (j + 1) * k] = False
    return kept, sum(len(components[c]) for c in unvisited) / len(components[largest])


def box_gap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> int:
    """Return how many rows or columns, whichever are more, are between two boxes; 0 or less where they touch."""
    return max(a[0] - b[1], b[0] - a[1], a[2] - b[3], b[2] - a[3])


def is_empty_frame(mask: np.ndarray) -> bool:
    """Return whether a box (H, W) bool holds a thin rectangle and nothing in it."""
    labels, _ = label_components(~np.pad(mask, 1), diagonal=False)
    hole = (labels != labels[0, 0]) & (labels > 0)
    return bool(hole.sum() > MIN_EMPTY_SHARE * mask.size and (hole.sum() + mask.sum()) > MIN_FRAME_FILL * mask.size)


def doubt_single_digit(mask: np.ndarray) -> str:
    """Return why a box (H, W) bool may hold something other than one digit; empty where it may be one."""
    components, k = connected_components(mask)
    boxes = component_boxes(components, k)
    if count_side_by_side([box for box in boxes if 2 * (box[1] - box[0]) >= len(mask)]) > 1:
        return SEVERAL
    if is_empty_frame(mask):
        return EMPTY_FRAME
    in_rows = [(left, right, top, bottom) for top, bottom, left, right in boxes if 3 * (bottom - top) >= len(mask)]
    if count_side_by_side([box for box in in_rows if 3 * (box[1] - box[0]) >= mask.shape[1]], len(mask) // 16) > 1:
        return CLUTTERED
    large = [box for box in boxes if 4 * (box[1] - box[0]) >= len(mask)]
    if len(large) > MAX_PARTS or any(encloses(outer, inner) for outer in large for inner in large):
        return CLUTTERED
    return ""


def component_boxes(components: list[list[tuple[int, int]]], k: int) -> list[tuple[int, int, int, int]]:
    """Return top, bottom, left and right of components of cells of k x k pixels; bottom and right are exclusive."""
    boxes = []
    for component in components:
        rows, columns = [i for i, _ in component], [j for _, j in component]
        boxes.append((k * min(rows), k * (max(rows) + 1), k * min(columns), k * (max(columns) + 1)))
    return boxes


def encloses(outer: tuple[int, int, int, int], inner: tuple[int, int, int, int]) -> bool:
    """Return whether a box is inside another and beside none of its sides."""
    return outer[0] < inner[0] and inner[1] < outer[1] and outer[2] < inner[2] and inner[3] < outer[3]


def count_side_by_side(boxes: list[tuple[int, int, int, int]], gap: int = 0) -> int:
    """Count the boxes (top, bottom, left, right) that share no column and are more than `gap` columns apart."""
    count, end = 0, -gap
    for right, left in sorted((box[3], box[2]) for box in boxes):
        if left >= end + gap:
            count, end = count + 1, right
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
