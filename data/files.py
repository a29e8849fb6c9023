"""Facts about files that several readers share: gzip, sizes of reads, names, and what a system leaves in a folder."""

import re

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
