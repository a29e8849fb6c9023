"""Files that are replaced as a whole or not at all, whatever happens meanwhile."""

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

from lagvis.errors import CheckpointError

WRITING = ".writing"  # what a file is called until it is whole


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


def write_export_file(path: Path, content: bytes) -> None:
    """The file at `path`, or where a link there leads, replaced as a whole or not at all.

    CheckpointError where that cannot be done, or where something stands that is no file.
    """
    try:
        with contextlib.suppress(FileNotFoundError):
            mode = path.stat().st_mode
            if not stat.S_ISREG(mode):
                found = "a folder" if stat.S_ISDIR(mode) else "a device, a pipe or a socket"
                raise CheckpointError(f"{path} is {found}, a file is to be written; name another --output")
        place = Path(os.path.realpath(path))
        with tempfile.TemporaryDirectory(WRITING, f"{place.name}.", place.parent) as work:
            new = Path(work) / "new"
            replace_file(new, content)
            new.replace(place)
        flush_folder(place.parent)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be written ({error.strerror}); nothing was changed") from None


def write_export_folder(path: Path, files: dict[str, bytes], may_replace: Callable[[Path], bool]) -> None:
    """The folder at `path`, or where a link there leads, with these files.

    One of an earlier export is replaced as a whole, no other is touched. Both stand in a fresh folder beside it
    meanwhile, `new` and `old`, where a kill between two renames leaves them. CheckpointError where it cannot be done,
    which says where an earlier export is, if not in its place.
    """
    place, old = Path(os.path.realpath(path)), None
    try:
        there = os.path.lexists(place)
        if there and not may_replace(place):
            raise CheckpointError(f"{path} is there and no network of the paper's program; name another --output")
        work = Path(tempfile.mkdtemp(WRITING, f"{place.name}.", place.parent))
        new, old = work / "new", work / "old"
        try:
            new.mkdir()
            for name, content in files.items():
                replace_file(new / name, content)
            if there:
                place.replace(old)
            new.replace(place)
            flush_folder(place.parent)
        finally:
            failed = new.exists()
            if failed and not os.path.lexists(place):
                with contextlib.suppress(OSError):
                    old.replace(place)
            shutil.rmtree(new if failed and old.exists() else work, ignore_errors=True)
    except OSError as error:
        left = f"what was there stands in {old}" if old and old.exists() else "nothing was changed"
        raise CheckpointError(f"{path} cannot be written ({error.strerror}); {left}") from None
