"""What several readers share: gzip, sizes of reads, names, what a system leaves in a folder, silent libraries."""

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

GZIP_MAGIC = b"\x1f\x8b"
# deflate cannot shrink by more than about 1032 to 1, so a header that promises more than this is not believed
MAX_GZIP_RATIO = 1100
CHUNK_BYTES = 2**20  # of one read
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


def is_gzip(path: Path) -> bool:
    """Tell whether a file begins as gzip files do."""
    with path.open("rb") as file:
        return file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
