"""What several readers share: gzip, sizes of reads, names, what a system leaves in a folder, silent libraries."""

import hashlib
import os
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import BinaryIO, Self

GZIP_MAGIC = b"\x1f\x8b"
# deflate cannot shrink by more than about 1032 to 1, so a header that promises more than this is not believed
MAX_GZIP_RATIO = 1100
CHUNK_BYTES = 2**20  # of one read
PACKED_CHUNK_BYTES = 2**18  # of one read of a gzip file
MAX_WAITING_PIECES = 16  # for their digest; a file may be read faster than it is digested
GZIP_WINDOW = 16 + zlib.MAX_WBITS  # for zlib: the format is gzip
JUNK_NAMES = {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "$recycle.bin", "@eadir", "lost+found"}


def is_junk(name: str) -> bool:
    """Return whether a system left this file or folder behind: .DS_Store, ._name, Thumbs.db, __MACOSX."""
    return name.startswith(".") or name.lower() in JUNK_NAMES


def split_words(name: str) -> list[str]:
    """Split a name into lower-case words: trainImages-idx3 gives train, images, idx3."""
    spaced = re.sub(r"([a-z])([A-Z])", r"\1 \2", re.sub(r"\(\d+\)", "", name))
    return re.findall(r"[^\W_]+", spaced.lower())


@contextmanager
def stderr_to_null() -> Iterator[None]:
    """Discard what is written to stderr meanwhile: libtiff prints its errors there, and polars its panics."""
    try:
        stderr = os.dup(2)
    except OSError:  # closed already
        yield
        return
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        os.close(null)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class BackgroundDigest:
    """SHA-256 of pieces, computed by a thread of its own while the caller reads the next piece."""

    def __init__(self, start: bytes) -> None:
        self._sha256 = hashlib.sha256(start)
        self._pieces: Queue[bytes] = Queue(MAX_WAITING_PIECES)  # an empty one is the last

    def __enter__(self) -> Self:
        self._thread: Thread | None = Thread(target=self._digest_pieces, daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # the system has no thread left
            self._thread = None
        return self

    def __exit__(self, *error: object) -> None:
        if self._thread:
            self._pieces.put(b"")
            self._thread.join()

    def _digest_pieces(self) -> None:
        while piece := self._pieces.get():
            self._sha256.update(piece)

    def update(self, piece: bytes) -> None:
        """Add a piece, which is not empty, within the `with` block; wait while too many wait for their digest."""
        if self._thread:
            self._pieces.put(piece)
        else:
            self._sha256.update(piece)

    def hexdigest(self) -> str:
        """Return the hexadecimal digits, after the `with` block."""
        return self._sha256.hexdigest()


class GzipMember:
    """Unpacked bytes of a gzip file of a single member, as nearly all are; any other raises EOFError or zlib.error.

    zlib checks their sum and number itself. The module `gzip`, which reads every gzip file, takes a quarter more time.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._unpacker = zlib.decompressobj(GZIP_WINDOW)

    def read(self, size: int) -> bytes:
        """Return the next `size` bytes, fewer at the end."""
        content = b""
        while len(content) < size:
            packed = self._unpacker.unconsumed_tail or self._file.read(PACKED_CHUNK_BYTES)
            if self._unpacker.eof:
                if packed or self._unpacker.unused_data:
                    raise EOFError("another member, or other bytes, follow")
                break
            if not packed:
                raise EOFError("the end is missing")
            content += self._unpacker.decompress(packed, size - len(content))
        return content


def is_gzip(path: Path) -> bool:
    """Tell whether a file begins as gzip files do."""
    with path.open("rb") as file:
        return file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
