"""IDX files, and IDX files and tables packed by gzip: seeds and mutations."""

import gzip
import struct

import numpy as np

from fuzzing.case import Files
from fuzzing.mutator import Mutator
from fuzzing.tables import csv_seeds

PIXELS: np.ndarray = np.arange(12 * 2 * 3, dtype=np.uint8).reshape(12, 2, 3)
LABELS: np.ndarray = np.arange(12, dtype=np.uint8) % 3
STANDARD_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def idx(a: np.ndarray) -> bytes:
    """Return an array as an IDX file."""
    codes = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}
    head = bytes([0, 0, codes[a.dtype.str[1:]], a.ndim])
    return head + struct.pack(f">{a.ndim}I", *a.shape) + a.astype(a.dtype.newbyteorder(">")).tobytes()


def idx_seeds() -> list[Files]:
    """Return folders of two and of four files, of every element type."""
    types = ("u1", "i1", "i2", "i4", "f4", "f8")
    both = [(PIXELS.astype(t), LABELS.astype(t)) for t in types]
    one_hot = np.eye(3, dtype=np.uint8)[LABELS]
    both += [(PIXELS, one_hot), (PIXELS.reshape(12, 6), LABELS[:, None]), (PIXELS[:, :, :, None], LABELS)]
    two = [list(zip(STANDARD_NAMES, map(idx, arrays), strict=False)) for arrays in both]
    four = [list(zip(STANDARD_NAMES, map(idx, (x, y, x[:3], y[:3])), strict=True)) for x, y in both[:4]]
    return [*two, *four, [("emnist-" + name, content) for name, content in two[0]]]


def gzip_seeds() -> list[Files]:
    """Return IDX files and tables packed by gzip."""
    plain = idx_seeds()[:5] + idx_seeds()[-2:] + csv_seeds()
    return [[(f"{name}.gz", gzip.compress(content, mtime=0)) for name, content in files] for files in plain]


def mutate_gzip(content: bytes, m: Mutator) -> bytes:
    """Return a gzip file, at times of two members, with mutated content."""
    inner = m.bytes(gzip.decompress(content))
    cut = m.pick((0, 0, 0, len(inner) // 2))
    return b"".join(gzip.compress(part, 1, mtime=0) for part in ([inner[:cut]] if cut else []) + [inner[cut:]])
