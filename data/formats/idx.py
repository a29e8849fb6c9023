"""IDX, the format of MNIST: two zero bytes, a type byte, a count of axes, each length as 4 bytes, then the numbers.

All numbers are big-endian (Y. LeCun's description of the format). A file is read plain or gzip, by its first bytes and
not by its name, and every length in the header is checked against the bytes that are there before anything is made.
"""

import gzip
import hashlib
import math
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from lagvis.data.signatures import identify_format
from lagvis.errors import DataError

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
GZIP = b"\x1f\x8b"
MIRRORS = "ossci-datasets.s3.amazonaws.com/mnist and storage.googleapis.com/cvdf-datasets/mnist"
# deflate cannot shrink by more than about 1032 to 1, so a header that promises more than this is not believed
MAX_GZIP_RATIO = 1100
CHUNK = 2**20
MOST_AXES = 64  # what a NumPy array can have
START = 4096  # bytes by which a file is recognised


def read_idx(path: Path, display_name: str = "") -> tuple[np.ndarray, str]:
    """The array in an IDX file, in native byte order, and the sha256 of its unpacked bytes; DataError if it is none.

    `display_name` stands for the path in messages.
    """
    name = display_name or str(path)
    try:
        if path.exists() and not path.is_dir() and not path.is_file():
            raise DataError(f"{name} is no regular file (a pipe or a device, perhaps); give a file")
        with path.open("rb") as file:
            start = file.read(START)
            file.seek(0)
            if start.startswith(GZIP):
                limit = path.stat().st_size * MAX_GZIP_RATIO
                with gzip.GzipFile(fileobj=file) as unpacked:
                    return parse_idx(unpacked, path, limit, name)  # type: ignore[arg-type]
            if not start.startswith(b"\0\0"):
                raise DataError(f"{name} is not IDX: {describe_strange_bytes(start, path)}")
            return parse_idx(file, path, path.stat().st_size, name)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(f"{name} is a damaged gzip file ({error}); fetch it again from {MIRRORS}") from None
    except OSError as error:
        raise DataError(
            f"{name} cannot be read ({error.strerror or error}); check the path and its permissions"
        ) from None


def idx_axes(path: Path) -> int | None:
    """How many axes an IDX file, plain or gzip, has by its first bytes; None where it is none or cannot be read."""
    try:
        # A pipe would never answer, nor would some of the files of /proc, whose size is 0.
        if not path.is_file() or path.stat().st_size < 4:
            return None
        with path.open("rb") as file:
            head = file.read(4)
            if head.startswith(GZIP):
                file.seek(0)
                with gzip.GzipFile(fileobj=file) as unpacked:
                    head = unpacked.read(4)
    except (OSError, zlib.error, EOFError):  # BadGzipFile is an OSError
        return None
    return head[3] if len(head) == 4 and head[:2] == b"\0\0" and head[2] in TYPES and head[3] else None


def parse_idx(file: BinaryIO, path: Path, most: int, name: str) -> tuple[np.ndarray, str]:
    """Header and numbers from an open file that can hold at most `most` bytes; `name` is for the sentences."""
    digest = hashlib.sha256()
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in TYPES or head[3] == 0:
        shown = describe_strange_bytes(head + file.read(START), path)
        types = ", ".join(f"{code:02x}" for code in TYPES)
        raise DataError(
            f"{name} is not IDX: {shown}; IDX begins with 00 00, a type of {types} and a count of 1 to {MOST_AXES} axes"
        )
    if head[3] > MOST_AXES:
        raise DataError(f"{name} claims {head[3]} axes; expected {MOST_AXES} at most (MNIST's own files have 1 or 3)")
    lengths = file.read(4 * head[3])
    if len(lengths) < 4 * head[3]:
        raise DataError(
            f"{name} ends inside its header: {4 + len(lengths)} bytes found, {4 + 4 * head[3]} expected; fetch it again"
        )
    shape = tuple(int.from_bytes(lengths[i : i + 4], "big") for i in range(0, len(lengths), 4))
    dtype = np.dtype(TYPES[head[2]])
    size = math.prod(shape) * dtype.itemsize
    if 0 in shape:
        raise DataError(
            f"{name} holds nothing: its header gives the shape {shape}; a data set needs at least one of each"
        )
    if size > most:
        raise DataError(
            f"{name} is shorter than its header says: shape {shape} needs {size:,} bytes, "
            f"the file holds {most:,} at most; fetch it again"
        )
    content = bytearray()
    while part := file.read(min(CHUNK, size - len(content))):  # a read of `size` would allocate it all at once
        content += part
    if len(content) < size:
        raise DataError(
            f"{name} is cut short: shape {shape} needs {size:,} bytes, {len(content):,} found; fetch it again"
        )
    if file.read(1):
        raise DataError(
            f"{name} goes on after its {size:,} bytes of shape {shape}; header and content do not belong together"
        )
    for piece in (head, lengths, content):
        digest.update(piece)
    return np.frombuffer(content, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False), digest.hexdigest()


def describe_strange_bytes(start: bytes, path: Path) -> str:
    """What a file that is neither IDX nor gzip looks like, with the cure."""
    if not start:
        return "it is empty; fetch it again"
    if start.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"<":
        return (
            f"its {path.stat().st_size:,} bytes look like a web page, which a server sends where a file is missing; "
            f"good files are in data/mnist beside train.py, and at {MIRRORS}"
        )
    if words := identify_format(start):
        return f"it is {words}"
    if start[2:4] == b"\0\0" and start[1] in TYPES:
        return f"its first bytes are {start[:4].hex(' ')}, the other way round; numbers in IDX are big-endian"
    if start.isascii() and start.decode("ascii").replace("\n", "").replace("\r", "").replace("\t", "").isprintable():
        return f"it is plain text, beginning with {start[:24].decode('ascii')!r}"
    return f"its first bytes are {start[:4].hex(' ')}"
