"""Copies of arrays that begin with a line of the cache, the large ones in memory that Linux maps by large pages.

A batch is gathered from rows that are scattered over the whole array. With pages of 4 KiB nearly every row waits until
the processor has looked up its page: MNIST fills 11,500 of these, and 23 large ones. Linux uses large pages where a
program asks for them, which NumPy does and PyTorch and JAX do not.
"""

import numpy as np

LARGE_BYTES = 1 << 22  # from which NumPy asks for large pages
# Bytes, a line of the cache: vectors that lie across two lines are read and written at half the speed. JAX uses the
# memory of a NumPy array that starts at a multiple, and copies any other.
ALIGNMENT = 64


def aligned_copy(host: np.ndarray) -> np.ndarray:
    """Return a copy of an array that starts at a multiple of ALIGNMENT; from LARGE_BYTES on, by large pages."""
    memory = np.empty(host.nbytes + ALIGNMENT, np.uint8)
    start = -memory.__array_interface__["data"][0] % ALIGNMENT
    copy = memory[start : start + host.nbytes].view(host.dtype).reshape(host.shape)
    copy[...] = host
    return copy
