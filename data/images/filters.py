"""Filters on arrays of shades (H, W): windows, resampling by area, connected components."""

import numpy as np

MAX_SIDE = 1024  # pixels: larger images are averaged down before they are prepared
MAX_COMPONENT_SIDE = 128  # cells: connected components are found on a grid of at most so many


def border(g: np.ndarray) -> np.ndarray:
    """Return the outermost pixels of all four sides (2 H + 2 W,); each corner is there twice."""
    return np.concatenate((g[0], g[-1], g[:, 0], g[:, -1]))


def max_filter(g: np.ndarray, r: int) -> np.ndarray:
    """Return the maximum of g (H, W) within r rows and r columns of each pixel."""
    for axis in (0, 1):
        pad = [(r, r) if axis == i else (0, 0) for i in (0, 1)]
        windows = np.moveaxis(np.pad(g, pad, constant_values=-np.inf), axis, 0)
        width, size = 1, 2 * r + 1
        while width < size:  # a window is the union of two smaller ones, which may overlap
            step = min(width, size - width)
            windows, width = np.maximum(windows[:-step], windows[step:]), width + step
        g = np.moveaxis(windows, 0, axis)
    return g


def min_filter(g: np.ndarray, r: int) -> np.ndarray:
    """Return the minimum of g (H, W) within r rows and r columns of each pixel."""
    return -max_filter(-g, r)


def downsample(grey: np.ndarray) -> np.ndarray:
    """Average grey (H, W) in squares of k x k so that the longer side is at most MAX_SIDE; float64."""
    k = -(-max(grey.shape) // MAX_SIDE)
    if k == 1:
        return grey.astype(np.float64)
    rows, columns = (np.arange(0, side, k) for side in grey.shape)
    # One band at a time: all at once would take eight bytes for each pixel.
    bands = (grey[row : row + k].sum(axis=0, dtype=np.int64) for row in rows)
    sums = np.stack([np.add.reduceat(band, columns) for band in bands])
    heights, widths = (np.diff(starts, append=side) for starts, side in zip((rows, columns), grey.shape, strict=True))
    return sums / np.outer(heights, widths)


def resample(v: np.ndarray, h: int, w: int) -> np.ndarray:
    """Resample v (H, W) to (h, w): each new pixel is the mean over the area that it covers."""
    return resample_matrix(v.shape[0], h) @ v @ resample_matrix(v.shape[1], w).T


def resample_matrix(old: int, new: int) -> np.ndarray:
    """Return the weights (new, old) of the old pixels in each new one; each row sums to 1."""
    ends = np.arange(new + 1) * (old / new)
    pixels = np.arange(old)
    overlap = np.minimum(pixels + 1, ends[1:, None]) - np.maximum(pixels, ends[:-1, None])
    return np.maximum(0, overlap) * (new / old)


def to_uint8(v: np.ndarray) -> np.ndarray:
    """Clip to 0..255 and round half up."""
    return np.floor(np.clip(v, 0, 255) + 0.5).astype(np.uint8)


def connected_components(mask: np.ndarray) -> tuple[list[list[tuple[int, int]]], int]:
    """Return the components of mask (H, W) bool, connected by sides or corners, and the cell size k.

    A component is a list of cells (row, column) of k x k pixels, with k = 1 up to MAX_COMPONENT_SIDE pixels a side.
    """
    k = -(-max(mask.shape) // MAX_COMPONENT_SIDE)
    labels, count = label_components(pool(mask, k, np.logical_or))
    components: list[list[tuple[int, int]]] = [[] for _ in range(count)]
    rows, columns = np.nonzero(labels)
    for label, row, column in zip(labels[rows, columns].tolist(), rows.tolist(), columns.tolist(), strict=True):
        components[label - 1].append((row, column))
    return components, k


def pool(g: np.ndarray, k: int, combine: np.ufunc) -> np.ndarray:
    """Return one value for each square of k x k pixels of g (H, W), combined by a ufunc such as np.maximum."""
    neutral = -np.inf if combine is np.maximum else combine.identity
    padded = np.pad(g, [(0, -side % k) for side in g.shape], constant_values=neutral)
    bands: np.ndarray = combine.reduce([padded[i::k] for i in range(k)])
    pooled: np.ndarray = combine.reduce([bands[:, j::k] for j in range(k)])
    return pooled


def label_components(mask: np.ndarray, *, diagonal: bool = True) -> tuple[np.ndarray, int]:
    """Return labels (H, W) int of the components of mask (H, W) bool, 0 where it is False, and their number.

    Pixels are connected by their sides, and by their corners if `diagonal`. Runs along the rows are joined.
    """
    padded = np.pad(mask, ((0, 0), (1, 1))).astype(np.int8)
    change = np.diff(padded, axis=1)
    rows, starts = np.nonzero(change == 1)
    ends = np.nonzero(change == -1)[1]
    parent = list(range(len(rows)))

    def root(run: int) -> int:
        while parent[run] != run:
            parent[run] = parent[parent[run]]
            run = parent[run]
        return run

    first_of_row = np.searchsorted(rows, np.arange(len(mask) + 1)).tolist()
    start, end, slack = starts.tolist(), ends.tolist(), int(diagonal)
    for row in range(1, len(mask)):
        above, here = first_of_row[row - 1], first_of_row[row]
        last_above, last_here = here, first_of_row[row + 1]
        while above < last_above and here < last_here:
            if start[above] < end[here] + slack and start[here] < end[above] + slack:
                parent[root(here)] = root(above)
            if end[above] < end[here]:
                above += 1
            else:
                here += 1
    roots = [root(run) for run in range(len(rows))]
    names, numbers = np.unique(roots, return_inverse=True)
    steps = np.zeros(padded.shape, np.int64)
    np.add.at(steps, (rows, starts), numbers + 1)
    np.subtract.at(steps, (rows, ends), numbers + 1)
    return np.cumsum(steps, axis=1)[:, : mask.shape[1]], len(names)
