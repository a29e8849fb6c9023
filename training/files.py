"""Files that are replaced as a whole or not at all, whatever happens meanwhile."""

import contextlib
import os
from pathlib import Path

WRITING = ".writing"  # what a file is called until it is whole
PLOTS, TEXT, PAGE = "plots", "report.md", "report.html"  # what a run leaves for people, the page last


def replace_file(path: Path, content: bytes) -> None:
    """Write beside `path`, flush to the disk, rename: at every instant `path` is the old file or the new one, whole."""
    temporary = path.with_name(path.name + WRITING)
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:  # Ctrl-C too
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    flush_folder(path.parent)


def flush_folder(folder: Path) -> None:
    """Have the disk keep a new name, where the system and the file system can be asked for that."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
