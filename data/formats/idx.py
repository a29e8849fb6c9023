"""Read IDX, the format of MNIST: two zero bytes, a type byte, a count of axes, each length as 4 bytes, the numbers.

All numbers are big-endian (Y. LeCun's description of the format). Plain and gzip files are distinguished by their first
bytes, not by their names. Every length in the header is checked against the size of the file before memory is
allocated.
"""

import gzip
import math
import zlib
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np

from lagvis.data.files import CHUNK_BYTES, GZIP_MAGIC, MAX_GZIP_RATIO, BackgroundDigest, GzipMember
from lagvis.data.signatures import identify_format
from lagvis.errors import DataError

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MIRRORS = "ossci-datasets.s3.amazonaws.com/mnist and storage.googleapis.com/cvdf-datasets/mnist"
MAX_AXES = 64  # what a NumPy array can have
START_BYTES = 4096  # by which a file is identified
FIRST_BYTES = 2**26  # of memory that is taken for the content of a file, if its header announces as many


def read_idx(path: Path, display_name: str = "") -> tuple[np.ndarray, str]:
    """Return the array of an IDX file, in native byte order, and the sha256 of its unpacked bytes.

    DataError if the file is not IDX, damaged or unreadable; `display_name` stands for the path in its message.
    """
    name = display_name or str(path)
    try:
        if path.exists() and not path.is_dir() and not path.is_file():
            raise DataError(f"{name} is not a regular file (it may be a pipe or a device); give a file")
        with path.open("rb") as file:
            start = file.read(START_BYTES)
            file.seek(0)
            if start.startswith(GZIP_MAGIC):
                limit = path.stat().st_size * MAX_GZIP_RATIO
                with suppress(zlib.error, EOFError, DataError):
                    return parse_idx(GzipMember(file), path, limit, name)
                file.seek(0)  # damaged, or of several members: what `gzip` says about it counts
                with gzip.GzipFile(fileobj=file) as unpacked:
                    return parse_idx(unpacked, path, limit, name)  # type: ignore[arg-type]
            if not start.startswith(b"\0\0"):
                raise DataError(f"{name} is not IDX: {describe_start(start, path)}")
            return parse_idx(file, path, path.stat().st_size, name)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(f"{name} is a damaged gzip file ({error}); fetch it again from {MIRRORS}") from None
    except OSError as error:
        raise DataError(
            f"{name} cannot be read ({error.strerror or error}); check the path and its permissions"
        ) from None


def idx_axes(path: Path) -> int | None:
    """Return the number of axes of an IDX file, plain or gzip, by its first bytes; None if it has no such header."""
    try:
        # Reading would block on a pipe, and on some files of /proc, whose size is 0.
        if not path.is_file() or path.stat().st_size < 4:
            return None
        with path.open("rb") as file:
            head = file.read(4)
            if head.startswith(GZIP_MAGIC):
                file.seek(0)
                with gzip.GzipFile(fileobj=file) as unpacked:
                    head = unpacked.read(4)
    except (OSError, zlib.error, EOFError):  # BadGzipFile is an OSError
        return None
    return head[3] if len(head) == 4 and head[:2] == b"\0\0" and head[2] in TYPES and head[3] else None


def parse_idx(file: BinaryIO | GzipMember, path: Path, max_bytes: int, name: str) -> tuple[np.ndarray, str]:
    """Read header and numbers of an open file that holds at most `max_bytes`; `name` is for error messages.

    Returns the array and the sha256 of the bytes.
    """
    header, shape, dtype = read_header(file, path, name)
    size = math.prod(shape) * dtype.itemsize
    if 0 in shape:
        raise DataError(
            f"{name} is empty: its header gives the shape {shape}; expected at least one entry along each axis"
        )
    if size > max_bytes:
        raise DataError(
            f"{name} is shorter than its header says: shape {shape} needs {size:,} bytes, "
            f"the file holds {max_bytes:,} at most; fetch it again"
        )
    content, sha256 = read_content(file, size, header)
    if len(content) < size:
        raise DataError(
            f"{name} is cut short: shape {shape} needs {size:,} bytes, {len(content):,} found; fetch it again"
        )
    if file.read(1):
        raise DataError(
            f"{name} goes on after the {size:,} bytes of its shape {shape}; header and content do not match: "
            "fetch it again"
        )
    array = content.view(dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False), sha256


def read_content(file: BinaryIO | GzipMember, size: int, header: bytes) -> tuple[np.ndarray, str]:
    """Read `size` bytes, or fewer at the end of a file; return them and the sha256 of `header` and all of them.

    Memory is taken as the bytes arrive, not as a header announces them.
    """
    content, filled = np.empty(0, np.uint8), 0
    with BackgroundDigest(header) as digest:
        while part := file.read(min(CHUNK_BYTES, size - filled)):
            digest.update(part)
            end = filled + len(part)
            if end > len(content):
                larger = np.empty(min(size, max(2 * len(content), FIRST_BYTES)), np.uint8)
                larger[:filled] = content
                content = larger
            content[filled:end] = np.frombuffer(part, np.uint8)
            filled = end
    return content[:filled], digest.hexdigest()


def read_header(file: BinaryIO | GzipMember, path: Path, name: str) -> tuple[bytes, tuple[int, ...], np.dtype]:
    """Read the header of an open file; return its bytes, and the shape and the type of the array after it."""
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in TYPES or head[3] == 0:
        found = describe_start(head + file.read(START_BYTES), path)
        types = ", ".join(f"{code:02x}" for code in TYPES)
        raise DataError(
            f"{name} is not IDX: {found}; IDX begins with 00 00, a type of {types} and a count of 1 to {MAX_AXES} axes"
        )
    if head[3] > MAX_AXES:
        raise DataError(f"{name} claims {head[3]} axes; expected {MAX_AXES} at most (MNIST's own files have 1 or 3)")
    lengths = file.read(4 * head[3])
    if len(lengths) < 4 * head[3]:
        raise DataError(
            f"{name} ends inside its header: {4 + len(lengths)} bytes found, {4 + 4 * head[3]} expected; fetch it again"
        )
    shape = tuple(int.from_bytes(lengths[i : i + 4], "big") for i in range(0, len(lengths), 4))
    return head + lengths, shape, np.dtype(TYPES[head[2]])


def describe_start(start: bytes, path: Path) -> str:
    """Describe what a file looks like that is neither IDX nor gzip, and what to do."""
    if not start:
        return "it is empty; fetch it again"
    if start.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"<":
        return (
            f"its {path.stat().st_size:,} bytes look like a web page, which a server sends if a file is missing; "
            f"good files are in data/mnist beside train.py, and at {MIRRORS}"
        )
    if format_ := identify_format(start):
        return f"it is {format_}"
    if start[2:4] == b"\0\0" and start[1] in TYPES:
        return f"its first bytes are {start[:4].hex(' ')}, in reverse order; numbers in IDX are big-endian"
    if start.isascii() and start.decode("ascii").replace("\n", "").replace("\r", "").replace("\t", "").isprintable():
        return f"it is plain text, beginning with {start[:24].decode('ascii')!r}"
    return f"its first bytes are {start[:4].hex(' ')}"
