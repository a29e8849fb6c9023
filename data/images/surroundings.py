"""Find what surrounds a digit on paper and is not part of it: the rim of a scan, a shadow, ruled lines, a frame.

`remove_surroundings` takes shades of grey g (H, W) and returns them with paper in place of what it found. It goes by
geometry alone, and leaves the picture as it is unless a digit remains.

1. Rim. The shades are separated into two classes (Otsu). The components of one class that contain a corner of the
   picture, without thin parts, are a rim if what they leave is nearly a rectangle, at any angle, and holds ink of the
   height of a digit.
2. Shadow. An even region that comes in from the edge, is wider than a stroke and less dark than ink is brightened to
   the shade of the paper.
3. Ink is what is darker than the paper around it, or lighter if the paper is dark.
4. Ruled lines. A line is thin, straight, inclined by 14 degrees at most, and runs from edge to edge of the sheet. The
   slope is that at which the rows of the picture differ most (the projection profile of scanned documents). Where a
   stroke goes on above and below a line it stays, and so does ink that is much stronger than the lines.
5. Frames. A frame is a component whose hole holds a digit, or three or four straight lines around one. An oval is a
   frame only if it is nearly a circle: others may be a 0. Everything outside of a frame is removed too.
6. Underline. A flat component that lies clear below all others.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lagvis.data.images.filters import border, label_components, max_filter, min_filter, pool

RIM = "rim removed"
RULED = "ruled lines removed"
FRAME = "frame removed"
UNDERLINE = "underline removed"
SHADOW = "shadow removed"
MAX_COARSE_SIDE = 256  # cells: components and directions are found on a grid of at most so many
MIN_LINE_SIDE = 64  # pixels of the shorter side: below, strokes and lines have the same width
MIN_INK_SHARE = 0.12  # of the strongest ink: fainter pixels are paper
MAX_RULE_WIDTH = 1 / 50  # of the shorter side
MAX_FRAME_WIDTH = 1 / 14
MAX_SLOPE = 0.25  # rows a column
MAX_SIDES = 12  # lines of one direction that are tried as the sides of a frame
MIN_RECTANGLE_FILL = 0.93  # area of a sheet in its smallest rectangle; that of an ellipse is 0.785
MIN_CONTRAST = 40  # shades between a rim and the sheet
MIN_SHADOW_DEPTH, MAX_SHADOW_DEPTH, MAX_SHADOW_RANGE = 0.12, 0.7, 0.12  # shares of the depth of ink
MIN_SHADOW_AREA, MIN_NARROW_SHADOW = 0.02, 0.005  # of the picture; narrow ones are not seen as uneven light
MAX_EVEN_SPREAD = 8  # shades between the quartiles of the border: more is corrected as uneven light
MIN_DIGIT_SHARE = 0.2  # of the height of a sheet or frame


@dataclass(frozen=True)
class Surroundings:
    """Shades of grey g (H, W) without surroundings, and what was removed, in words."""

    g: np.ndarray
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Line:
    """Line y = start + slope * x through pixels; `covered` (W,) bool are the columns in which it is drawn."""

    slope: float
    start: float
    covered: np.ndarray
    width: int

    def rows(self) -> np.ndarray:
        """Return y of each column (W,)."""
        return self.start + self.slope * np.arange(len(self.covered))

    def extent(self) -> tuple[int, int]:
        """Return the first and the last column of its longest part; gaps of a twelfth of the picture are bridged."""
        columns = np.flatnonzero(self.covered)
        breaks = np.flatnonzero(np.diff(columns) > max(3, len(self.covered) // 12))
        parts = np.split(columns, breaks + 1)
        longest = max(parts, key=lambda part: part[-1] - part[0])
        return int(longest[0]), int(longest[-1])


def remove_surroundings(g: np.ndarray) -> Surroundings:
    """Return g (H, W) float64 without the rim, the ruled lines and the frame around the digit."""
    notes = []
    sheet = find_sheet(g)
    if sheet is not None:
        g = fill_with_paper(g, ~sheet, sheet)
        notes.append(RIM)
    sheet = np.ones(g.shape, bool) if sheet is None else sheet
    if min(g.shape) >= MIN_LINE_SIDE:
        lifted = lift_shadow(g, sheet)
        if lifted is not None:
            g = lifted
            notes.append(SHADOW)
    v = ink_strength(g, sheet)
    if v is None:
        return Surroundings(g, tuple(notes))
    ink = v > MIN_INK_SHARE * v.max()
    remaining = ink.copy()
    if min(g.shape) >= MIN_LINE_SIDE:
        ruled = remove_ruled_lines(v, remaining, sheet)
        if ruled is not None:
            remaining = ruled
            notes.append(RULED)
    framed = remove_frames(remaining)
    if framed is not None:
        remaining = framed
        notes.append(FRAME)
    rest = remove_underline(remaining)
    if rest is not None:
        remaining = rest
        notes.append(UNDERLINE)
    if not (remaining < ink).any():
        return Surroundings(g, tuple(notes))
    removed = ink & ~remaining
    spread = max_filter(removed.astype(np.float64), 2) > 0  # the soft edge of a line is fainter than ink
    return Surroundings(fill_with_paper(g, spread & ~remaining, sheet & ~ink), tuple(notes))


def fill_with_paper(g: np.ndarray, mask: np.ndarray, paper: np.ndarray) -> np.ndarray:
    """Return g with the pixels of `mask` replaced by the mean of the pixels of `paper` around them."""
    filled, missing = g.copy(), mask & paper.any()
    shades, ones = np.where(paper, g, 0), paper.astype(np.float64)
    r = max(2, min(g.shape) // 16)
    while missing.any():
        sums, counts = box_sum(shades, r), box_sum(ones, r)
        near = missing & (counts > 0.5)
        filled[near] = sums[near] / counts[near]
        missing &= ~near
        r *= 2
    return filled


def box_sum(g: np.ndarray, r: int) -> np.ndarray:
    """Return the sum of g (H, W) within r rows and r columns of each pixel."""
    for axis in (0, 1):
        sums = np.cumsum(np.pad(np.moveaxis(g, axis, 0), ((r + 1, r), (0, 0))), axis=0)
        g = np.moveaxis(sums[2 * r + 1 :] - sums[: -2 * r - 1], 0, axis)
    return g


# The rim.


def find_sheet(g: np.ndarray) -> np.ndarray | None:
    """Return the pixels (H, W) bool of the sheet that lies on a rim of another shade; None where there is no rim."""
    k = -(-max(g.shape) // MAX_COARSE_SIDE)
    small = pool(g, k, np.add) / pool(np.ones(g.shape), k, np.add)
    threshold = otsu_threshold(small)
    for dark in (True, False):
        labels, count = label_components(without_thin_parts(small < threshold if dark else small >= threshold))
        corners = {int(labels[i, j]) for i in (0, -1) for j in (0, -1)} - {0}
        if not corners or count < 1:
            continue
        rim = np.isin(labels, list(corners))
        sheet = inner_sheet(rim)
        if sheet is None:
            continue
        ink = sheet & ((small < threshold) if dark else (small >= threshold))
        paper = sheet & ~ink
        if not ink.any() or abs(np.median(small[paper]) - np.median(small[rim])) < MIN_CONTRAST:
            continue
        rows = np.flatnonzero(ink.any(axis=1))
        height = np.flatnonzero(sheet.any(axis=1))
        if len(rows) < MIN_DIGIT_SHARE * len(height) or 2 * ink.sum() > sheet.sum():
            continue
        large = np.repeat(np.repeat(sheet, k, axis=0), k, axis=1)[: g.shape[0], : g.shape[1]]
        eroded = min_filter(large.astype(np.float64), k + max(1, min(g.shape) // 100)) > 0
        if eroded.any():  # of a sheet a few pixels wide nothing is left
            return eroded
    return None


def without_thin_parts(mask: np.ndarray) -> np.ndarray:
    """Return mask (H, W) bool without thin parts, as lines that run into a rim; it goes on beyond the edge."""
    r = max(2, min(mask.shape) // 64)
    padded = np.pad(mask.astype(np.float64), 2 * r, mode="edge")
    return max_filter(min_filter(padded, r), r)[2 * r : -2 * r, 2 * r : -2 * r] > 0


def inner_sheet(rim: np.ndarray) -> np.ndarray | None:
    """Return the largest part (H, W) bool that `rim` leaves, with its holes, if it is nearly a rectangle."""
    labels, count = label_components(~rim)
    if count == 0:
        return None
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    part = labels == sizes.argmax()
    if 5 * part.sum() < part.size or part.all():
        return None
    return part if rectangle_fill(part) >= MIN_RECTANGLE_FILL else None


def rectangle_fill(part: np.ndarray) -> float:
    """Return the share that part (H, W) bool has of the smallest rectangle around it, at any angle."""
    y, x = np.nonzero(part)
    smallest = math.inf
    for angle in np.radians(np.arange(-45, 45)):
        across, down = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
        smallest = min(smallest, (np.ptp(across) + 1) * (np.ptp(down) + 1))
    return len(y) / smallest


def otsu_threshold(g: np.ndarray) -> float:
    """Return the shade that separates g into two classes with the least variance within them (Otsu 1979)."""
    counts = np.bincount(np.clip(g, 0, 255).astype(int).ravel(), minlength=256).astype(np.float64)
    below, shades = np.cumsum(counts), np.cumsum(counts * np.arange(256))
    above, difference = below[-1] - below, np.zeros(256)
    valid = (below > 0) & (above > 0)
    difference[valid] = shades[valid] / below[valid] - (shades[-1] - shades[valid]) / above[valid]
    return float(np.argmax(below * above * difference**2)) + 0.5


# Shadows.


def lift_shadow(g: np.ndarray, sheet: np.ndarray) -> np.ndarray | None:
    """Return g (H, W) with a shadow, as of a hand, brightened to the shade of the paper; None where there is none.

    A shadow is even, comes in from the edge of the picture and is less dark than ink.
    """
    paper = np.median(g[sheet])
    ink_depth = paper - g[sheet].min()
    if ink_depth < MIN_CONTRAST or g.max() - paper > ink_depth:
        return None
    k = -(-max(g.shape) // MAX_COARSE_SIDE)
    small = pool(g, k, np.add) / pool(np.ones(g.shape), k, np.add)
    depth = paper - small
    even = max_filter(small, 2) - min_filter(small, 2) < MAX_SHADOW_RANGE * ink_depth
    even &= (MIN_SHADOW_DEPTH * ink_depth < depth) & (depth < MAX_SHADOW_DEPTH * ink_depth)
    # A shadow goes on behind thin strokes, and somewhere it is wider than a stroke.
    labels, count = label_components(max_filter(even.astype(np.float64), max(2, min(small.shape) // 40)) > 0)
    wide = min_filter(even.astype(np.float64), max(2, min(small.shape) // 20)) > 0
    at_edge, wide_somewhere = set(border(labels).tolist()), set(labels[wide].tolist())
    sizes = np.bincount(labels[even], minlength=count + 1)
    shadows = [c for c in at_edge & wide_somewhere - {0} if sizes[c] >= MIN_SHADOW_AREA * labels.size]
    if not shadows:
        return None
    even &= np.isin(labels, shadows)
    lower, upper = np.percentile(border(g), (25, 75))
    light = min_filter(max_filter(small, min(small.shape) // 8), min(small.shape) // 8)
    narrow = even & (light - small > MIN_SHADOW_DEPTH * ink_depth)
    if upper - lower > MAX_EVEN_SPREAD and narrow.mean() < MIN_NARROW_SHADOW:
        return None  # the correction of uneven light is exact there
    r = max(2, min(small.shape) // 12)
    under_ink = min_filter(max_filter(even.astype(np.float64), r), r)
    region = max_filter(under_ink, max(2, min(small.shape) // 40))
    local = np.where(region > 0, fill_with_paper(small, region > 0, even), paper)
    brightened = np.minimum(g * enlarge(paper / np.maximum(1, local), k, g.shape), np.maximum(g, paper))
    return np.where(sheet, brightened, g)


# Ink.


def ink_strength(g: np.ndarray, sheet: np.ndarray) -> np.ndarray | None:
    """Return how far each pixel of g is from the paper around it, 0 where it is noise; None where there is no ink."""
    paper = np.median(g[sheet])
    dark = paper - g.min() >= g.max() - paper
    ink_is_low = g if dark else -g
    k, r = -(-max(g.shape) // MAX_COARSE_SIDE), 0
    small = pool(ink_is_low, k, np.maximum)
    r = max(1, min(small.shape) // 8)
    light = min_filter(max_filter(small, r), r)
    light = np.repeat(np.repeat(light, k, axis=0), k, axis=1)[: g.shape[0], : g.shape[1]]
    v = np.where(sheet, np.maximum(0, light - ink_is_low), 0)
    v = np.where(v > 4 * np.median(v[sheet]), v, 0)
    return v if v.max() >= 16 else None


# Lines.


def long_runs(mask: np.ndarray, n: int) -> np.ndarray:
    """Return the pixels of mask (H, W) bool that are in a run of n or more down a column."""
    if n > len(mask):
        return np.zeros_like(mask)
    counts = np.cumsum(np.pad(mask.astype(np.int32), ((1, 0), (0, 0))), axis=0)
    full = counts[n:] - counts[:-n] == n
    starts = np.cumsum(np.pad(full.astype(np.int32), ((n, n - 1), (0, 0))), axis=0)
    return starts[n:] - starts[:-n] > 0


def find_lines(mask: np.ndarray, max_width: int, min_share: float) -> list[Line]:
    """Return the lines across mask (H, W) bool that are max_width pixels thick at most, nearly along its rows.

    A line covers at least `min_share` of the columns.
    """
    thin = mask & ~long_runs(mask, max_width + 1)
    k = -(-max(mask.shape) // MAX_COARSE_SIDE)
    cells = pool(thin, k, np.logical_or)
    height, width = cells.shape
    y, x = np.nonzero(cells)
    if len(y) < min_share * width:
        return []
    steps = math.ceil(MAX_SLOPE * width)
    slopes = sorted(np.arange(-steps, steps + 1) / width, key=abs)

    def sheared(slope: float) -> np.ndarray:
        return y - np.floor(slope * (x - width / 2) + 0.5).astype(int) + steps

    slope = max(slopes, key=lambda s: int((np.bincount(sheared(s)) ** 2).sum()))
    drawn = np.zeros((height + 2 * steps + 2, width), bool)
    drawn[sheared(slope) + 1, x] = True
    coverage = (drawn[:-2] | drawn[1:-1] | drawn[2:]).sum(axis=1)
    lines: list[Line] = []
    free = np.ones(len(coverage), bool)
    for row in np.argsort(-coverage, kind="stable"):
        if coverage[row] < min_share * width:
            break
        if not free[row]:
            continue
        start = (row - steps + 0.5 - slope * width / 2) * k
        line = fit_line(thin, float(slope), start, max_width // 2 + k, max_width)
        reach = 1
        if line is not None and line.covered.mean() >= min_share:
            lines.append(line)
            reach += -(-line.width // (2 * k))
        free[max(0, row - reach) : row + reach + 1] = False
    return lines


def fit_line(thin: np.ndarray, slope: float, start: float, reach: int, max_width: int) -> Line | None:
    """Return the line through the pixels of thin (H, W) bool within `reach` rows of a first guess; None without any."""
    height, width = thin.shape
    columns = np.arange(width)
    for radius in (reach, max(2, reach // 2), max(2, reach // 2)):
        offsets = np.arange(-radius, radius + 1)[:, None]
        rows = np.floor(start + slope * columns + 0.5).astype(int) + offsets
        inside = (rows >= 0) & (rows < height)
        drawn = thin[np.clip(rows, 0, height - 1), columns] & inside
        distance = np.where(drawn, np.abs(offsets), 2 * radius + 1)
        nearest = np.take_along_axis(rows, distance.argmin(axis=0)[None], axis=0)
        drawn &= 2 * np.abs(rows - nearest) <= max_width  # another line may be near
        counts = drawn.sum(axis=0)
        covered = counts > 0
        if covered.sum() < 8:
            return None
        centres = (drawn * rows).sum(axis=0)[covered] / counts[covered]
        x = columns[covered]
        slope, start = np.polyfit(x, centres, 1)
        near = np.abs(centres - start - slope * x) <= max(1.5, np.median(np.abs(centres - start - slope * x)) * 2)
        if near.sum() >= 8:
            slope, start = np.polyfit(x[near], centres[near], 1)
    return Line(float(slope), float(start), covered, int(np.median(counts[covered])))


def crosses_sheet(line: Line, sheet: np.ndarray) -> bool:
    """Return whether a line runs from edge to edge of the sheet (H, W) bool."""
    rows = np.floor(line.rows() + 0.5).astype(int)
    inside = (rows >= 0) & (rows < len(sheet))
    inside &= sheet[np.clip(rows, 0, len(sheet) - 1), np.arange(len(rows))]
    columns, covered = np.flatnonzero(inside), np.flatnonzero(inside & line.covered)
    if len(columns) < 0.3 * len(rows) or 2 * len(covered) < len(columns):
        return False
    margin = 0.06 * len(columns)
    return covered[0] - columns[0] <= margin and columns[-1] - covered[-1] <= margin


def erase_lines(ink: np.ndarray, across: list[Line], down: list[Line], strong: np.ndarray | None = None) -> np.ndarray:
    """Return ink (H, W) bool without the lines across and down; where a stroke goes on beyond a line it stays.

    This is how staff lines are removed from scanned music. Pixels of `strong` are no part of a line.
    """
    bands = np.zeros_like(ink)
    for lines, band in ((across, bands), (down, bands.T)):
        for line in lines:
            rows, inside = band_rows(line, band.shape)
            band[rows[inside], np.broadcast_to(np.arange(band.shape[1]), rows.shape)[inside]] = True
    strokes = ink & ~bands
    if strong is not None:
        strokes |= strong
    for lines, drawn, source in ((across, strokes, ink), (down, strokes.T, ink.T), (across, strokes, ink)):
        for line in lines:
            bridge(line, drawn, source)
    return strokes


def band_rows(line: Line, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows (n, W) of the pixels that a line may cover, and which of them are inside a picture of `shape`."""
    half = line.width // 2 + 2
    rows = np.floor(line.rows() + 0.5).astype(int) + np.arange(-half, half + 1)[:, None]
    return rows, (rows >= 0) & (rows < shape[0])


def bridge(line: Line, strokes: np.ndarray, ink: np.ndarray) -> None:
    """Add to strokes (H, W) bool the ink on a line that has strokes both above and below it."""
    rows, inside = band_rows(line, ink.shape)
    height, columns = len(ink), np.arange(ink.shape[1])

    def beyond(edge: np.ndarray, step: int) -> np.ndarray:
        near = np.zeros(len(columns), bool)
        for distance in (1, 2, 3):
            row = edge + step * distance
            near |= strokes[np.clip(row, 0, height - 1), columns] & (row >= 0) & (row < height)
        reach = len(rows) // 2  # a slanted stroke is elsewhere above the line and below it
        return np.convolve(near, np.ones(2 * reach + 1), "same") > 0.5

    crossed = inside & beyond(rows[0], -1) & beyond(rows[-1], 1)
    at = rows[crossed], np.broadcast_to(columns, rows.shape)[crossed]
    strokes[at] |= ink[at]


def remove_ruled_lines(v: np.ndarray, ink: np.ndarray, sheet: np.ndarray) -> np.ndarray | None:
    """Return ink (H, W) bool without the lines that cross the whole sheet; None where there are none, or nothing else.

    v (H, W) is its strength.
    """
    max_width = max(2, round(MAX_RULE_WIDTH * min(ink.shape)))
    across: list[Line] = []
    down: list[Line] = []
    remaining = ink
    for _ in range(3):  # lines beside stronger ones are found when those are gone
        more_across = [line for line in find_lines(remaining, max_width, 0.25) if crosses_sheet(line, sheet)]
        more_down = [line for line in find_lines(remaining.T, max_width, 0.25) if crosses_sheet(line, sheet.T)]
        if not more_across and not more_down:
            break
        across, down = across + more_across, down + more_down
        remaining = erase_lines(ink, across, down, stronger_than_lines(v, across, down))
    if not across and not down:
        return None
    remaining = drop_specks(remaining)
    return remaining if remaining.any() else None


def stronger_than_lines(v: np.ndarray, across: list[Line], down: list[Line]) -> np.ndarray | None:
    """Return the pixels (H, W) bool of v that are too strong for the lines; None where lines are as strong as ink."""
    strengths = []
    for lines, strength in ((across, v), (down, v.T)):
        for line in lines:
            rows = np.clip(np.floor(line.rows() + 0.5).astype(int), 0, len(strength) - 1)
            strengths.append(np.median(strength[rows, np.arange(len(rows))][line.covered]))
    limit = 1.6 * np.percentile(strengths, 90)
    return v > limit if limit < 0.7 * v.max() else None


def drop_specks(ink: np.ndarray) -> np.ndarray:
    """Return ink (H, W) bool without the components of a height below a tenth of the highest, left over from lines."""
    labels, boxes, k = coarse_components(ink)
    if not boxes:
        return ink
    heights = np.array([max(bottom - top, right - left) + 1 for top, bottom, left, right in boxes])
    small = np.flatnonzero(10 * heights < heights.max()) + 1
    return ink & ~enlarge(np.isin(labels, small), k, ink.shape)


def remove_underline(ink: np.ndarray) -> np.ndarray | None:
    """Return ink (H, W) bool without a flat stroke that lies clear below all the rest; None where there is none."""
    labels, boxes, k = coarse_components(ink)
    if len(boxes) < 2:
        return None
    lowest = max(range(len(boxes)), key=lambda c: boxes[c][0])
    top, bottom, left, right = boxes[lowest]
    others = [box for c, box in enumerate(boxes) if c != lowest]
    first, last = min(box[0] for box in others), max(box[1] for box in others)
    width = max(box[3] for box in others) - min(box[2] for box in others) + 1
    height = last - first + 1
    is_flat = 6 * (bottom - top + 1) <= right - left + 1 and 2 * (right - left + 1) >= width
    if not is_flat or top - last < 0.06 * height or right - left + 1 > 4 * max(width, height):
        return None
    return ink & ~enlarge(labels == lowest + 1, k, ink.shape)


# Frames.


def coarse_components(ink: np.ndarray) -> tuple[np.ndarray, list[tuple[int, int, int, int]], int]:
    """Return labels of the components of ink (H, W) bool on a coarse grid, their boxes, and the side k of a cell.

    A box is the first and last row and the first and last column, in cells.
    """
    k = -(-max(ink.shape) // MAX_COARSE_SIDE)
    labels, count = label_components(pool(ink, k, np.logical_or))
    y, x = np.nonzero(labels)
    at = labels[y, x]
    first, last = np.full((2, count + 1), max(labels.shape)), np.full((2, count + 1), -1)
    for axis, index in enumerate((y, x)):
        np.minimum.at(first[axis], at, index)
        np.maximum.at(last[axis], at, index)
    boxes = [(int(first[0, c]), int(last[0, c]), int(first[1, c]), int(last[1, c])) for c in range(1, count + 1)]
    return labels, boxes, k


def enlarge(cells: np.ndarray, k: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return cells as squares of k x k pixels, cut to `shape`."""
    return np.repeat(np.repeat(cells, k, axis=0), k, axis=1)[: shape[0], : shape[1]]


def remove_frames(ink: np.ndarray) -> np.ndarray | None:
    """Return the ink (H, W) bool inside the innermost frame; None where there is no frame around something."""
    found = None
    for _ in range(4):
        inner = inside_closed_frame(ink if found is None else found)
        if inner is None and min(ink.shape) >= MIN_LINE_SIDE:
            inner = inside_drawn_lines(ink if found is None else found)
        if inner is None:
            break
        found = inner
    return found


def inside_closed_frame(ink: np.ndarray) -> np.ndarray | None:
    """Return the ink in the hole of a component that encloses a digit; None where there is none."""
    labels, boxes, k = coarse_components(ink)
    order = sorted(range(len(boxes)), key=lambda c: -(boxes[c][1] - boxes[c][0]) * (boxes[c][3] - boxes[c][2]))
    for c in order[:3]:
        top, bottom, left, right = boxes[c]
        height, width = bottom - top + 1, right - left + 1
        frame = np.pad(labels[top : bottom + 1, left : right + 1] == c + 1, 1)
        outside, _ = label_components(~frame, diagonal=False)
        hole = ~frame & (outside != outside[0, 0])
        if 2 * hole.sum() < height * width:
            continue
        fill = (hole | frame).sum() / (height * width)
        if fill < 0.88 and not 0.8 < height / width < 1.25:  # an oval may be a 0
            continue
        inside = hole[1:-1, 1:-1] & (labels[top : bottom + 1, left : right + 1] > 0)
        rows = np.flatnonzero(inside.any(axis=1))
        if len(rows) < 3 or rows[-1] - rows[0] + 1 < 1.5 * MIN_DIGIT_SHARE * height:
            continue
        kept = np.zeros(labels.shape, bool)
        kept[top : bottom + 1, left : right + 1] = inside
        return ink & enlarge(kept, k, ink.shape)
    return None


def inside_drawn_lines(ink: np.ndarray) -> np.ndarray | None:
    """Return the ink inside three or four straight lines, dashed or touched by the digit; None where there are none."""
    max_width = round(MAX_FRAME_WIDTH * min(ink.shape))
    across, down = find_lines(ink, max_width, 0.12), find_lines(ink.T, max_width, 0.12)
    for top, bottom, left, right, sides in rectangles(across, down):
        across_sides = [line for line, vertical in sides if not vertical]
        remaining = erase_lines(ink, across_sides, [line for line, vertical in sides if vertical])
        width = max(line.width for line, _ in sides)
        inner = np.zeros_like(ink)
        inner[max(0, top + width) : bottom - width + 1, max(0, left + width) : right - width + 1] = True
        kept = drop_specks(remaining & inner)
        rows = np.flatnonzero(kept.any(axis=1))
        if len(rows) >= 1.5 * MIN_DIGIT_SHARE * (bottom - top) and 2 * kept.sum() > remaining.sum():
            return kept
    return None


def rectangles(across: list[Line], down: list[Line]) -> Iterator[tuple[int, int, int, int, list[tuple[Line, bool]]]]:
    """Yield rectangles with lines on three sides or four, the largest first: top, bottom, left, right and the lines."""
    found = []
    across, down = across[:MAX_SIDES], down[:MAX_SIDES]
    extents = {id(line): line.extent() for line in (*across, *down)}
    for vertical, parallel, crossing in ((False, across, down), (True, down, across)):
        for first in parallel:
            for second in parallel:
                (a0, a1), (b0, b1) = extents[id(first)], extents[id(second)]
                start, end = (a0 + b0) // 2, (a1 + b1) // 2
                middle = (start + end) / 2
                low, high = first.start + first.slope * middle, second.start + second.slope * middle
                length, distance = end - start, high - low
                if distance < 0.3 * length or length < 0.3 * distance or distance < 16:
                    continue
                if max(abs(a0 - b0), abs(a1 - b1)) > 0.12 * length:
                    continue
                sides = [(first, vertical), (second, vertical)]
                for line in crossing:
                    position = line.start + line.slope * (low + high) / 2
                    c0, c1 = extents[id(line)]
                    reaches = c0 < low + 0.12 * distance and c1 > high - 0.12 * distance
                    if reaches and min(abs(position - start), abs(position - end)) < 0.08 * length:
                        sides.append((line, not vertical))
                if len(sides) > 2:
                    box = (int(low), int(high), start, end)
                    top, bottom, left, right = (*box[2:], *box[:2]) if vertical else box
                    found.append(((bottom - top) * (right - left), (top, bottom, left, right, sides)))
    yield from (entry for _, entry in sorted(found, key=lambda pair: -pair[0]))
