"""Facts about files that several readers share: gzip, sizes of reads, and what a system leaves in a folder."""

GZIP_MAGIC = b"\x1f\x8b"
# deflate cannot shrink by more than about 1032 to 1, so a header that promises more than this is not believed
MAX_GZIP_RATIO = 1100
CHUNK_BYTES = 2**20  # of one read
JUNK_NAMES = {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "$recycle.bin", "@eadir", "lost+found"}


def is_junk(name: str) -> bool:
    """Return whether a system left this file or folder behind: .DS_Store, ._name, Thumbs.db, __MACOSX."""
    return name.startswith(".") or name.lower() in JUNK_NAMES
