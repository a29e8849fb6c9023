"""Find where a matrix product may be cut into blocks of rows without a change of its bits.

A BLAS library computes a product in tiles, and in other ways where a tile is not full. Cut at a multiple of the rows of
a tile, each part has the tiles of the whole product, so a product that several threads share has the bits of one
thread. A library that shares it among threads of its own cuts elsewhere: its bits depend on the number of threads.
"""

from functools import cache, partial
from itertools import pairwise

import numpy as np
from threadpoolctl import ThreadpoolController

from lagvis.backends.blas_threads import blas_threads
from lagvis.backends.thread_pool import thread_pool

# Multiples of rows that are tried. OpenBLAS has tiles of 4, 8 or 12 rows, by processor and dtype.
BLOCKS = (16, 24, 48)
PROBE = (400, 300, 200)  # rows, inner size and columns of the product that decides whether there are blocks
MIN_RESULTS = 256  # elements of a product, for its bits to tell how each of them was summed
MIN_NONZERO = 1 / 16  # of a matrix, for its products to depend on the order of their sums


def row_bounds(rows: int, parts: int, block: int) -> list[int]:
    """Return 0, then where to cut `rows` into at most `parts` parts at multiples of `block`, then `rows`."""
    blocks = -(-rows // block)
    parts = min(parts, blocks)
    return [min(rows, blocks * part // parts * block) for part in range(parts + 1)]


def may_be_cut(a: np.ndarray, b: np.ndarray, whole: np.ndarray, bounds: list[int]) -> bool:
    """Return whether the product a @ b, cut into parts of rows, has the bits of the `whole` by one thread."""
    if whole.size < MIN_RESULTS:
        return False
    if any(np.count_nonzero(matrix) < MIN_NONZERO * matrix.size for matrix in (a, b)):  # sums of zeros have no order
        a, b = random_like(a), random_like(b)
        whole = a @ b
    parts = np.empty_like(whole)
    slices = [slice(*pair) for pair in pairwise(bounds)]
    thread_pool().run([partial(np.matmul, a[rows], b, out=parts[rows]) for rows in slices])
    return bool((parts.view(np.uint8) == whole.view(np.uint8)).all())


def random_like(matrix: np.ndarray) -> np.ndarray:
    """Return random numbers of the shape and dtype of a matrix, in its order of memory."""
    rng = np.random.default_rng(0)
    if matrix.flags.c_contiguous:
        return rng.random(matrix.shape, matrix.dtype)
    return rng.random(matrix.shape[::-1], matrix.dtype).T


@cache
def blas_has_blocks() -> bool:
    """Return whether NumPy's BLAS can be set to one thread, and gives the bits of a product in blocks of its rows."""
    built = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    if "accelerate" in str(built.get("name")).lower() or not ThreadpoolController().select(user_api="blas").info():
        return False
    rows, inner, columns = PROBE
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((rows, inner), np.float32), rng.standard_normal((inner, columns), np.float32)
    with blas_threads().limited(1):
        whole = a @ b
        return any(may_be_cut(a, b, whole, row_bounds(rows, 5, block)) for block in BLOCKS)
