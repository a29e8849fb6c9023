"""Replace files and folders atomically: after a crash the old content or the new one is there, never a part."""

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from lagvis.errors import CheckpointError

WRITING = ".writing"  # suffix of a file or folder while it is written


def replace_file(path: Path, content: bytes) -> None:
    """Replace the file at `path` atomically: write a temporary file beside it, flush it to the disk, rename it.

    Raise OSError if that fails; the old file is unchanged then.
    """
    temporary = path.with_name(path.name + WRITING)
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:  # KeyboardInterrupt too
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    flush_folder(path.parent)


def flush_folder(folder: Path) -> None:
    """Flush a renamed entry of a folder to the disk, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_export_file(path: Path, content: bytes) -> None:
    """Replace an exported file atomically; a link is followed.

    Raise CheckpointError if it cannot be written, or if `path` is a folder or a device.
    """
    with replacing_export(path) as new:
        new.write_bytes(content)


@contextlib.contextmanager
def replacing_export(path: Path) -> Iterator[Path]:
    """Yield the path of a file to write, which replaces the exported file at the end; a link is followed.

    It lies in a temporary folder beside the target, which may hold other files too and is removed. If the file is not
    written, nothing is replaced. Raise CheckpointError for an OSError, or if `path` is a folder or a device.
    """
    try:
        with contextlib.suppress(FileNotFoundError):
            mode = path.stat().st_mode
            if not stat.S_ISREG(mode):
                found = "a folder" if stat.S_ISDIR(mode) else "a device, a pipe or a socket"
                raise CheckpointError(f"{path} is {found}, not a file; choose another path")
        target = Path(os.path.realpath(path))
        with tempfile.TemporaryDirectory(WRITING, f"{target.name}.", target.parent) as work:
            new = Path(work) / f"new{target.suffix}"
            yield new
            if new.exists():
                with new.open("rb+") as file:
                    os.fsync(file.fileno())
                new.replace(target)
        flush_folder(target.parent)
    except OSError as error:
        reason = error.strerror or str(error)
        raise CheckpointError(f"{path} cannot be written ({reason}); nothing was changed") from None


def write_export_folder(path: Path, files: dict[str, bytes], may_replace: Callable[[Path], bool]) -> None:
    """Replace an exported folder; a link is followed. A folder for which `may_replace` is false is not touched.

    `new` is built, and `old` is kept until the end, in a temporary folder beside the target. A kill between the two
    renames leaves them there. Raise CheckpointError if the folder cannot be replaced; it names the path of the old
    folder if that could not be moved back.
    """
    target, old = Path(os.path.realpath(path)), None
    try:
        exists = os.path.lexists(target)
        if exists and not may_replace(target):
            raise CheckpointError(f"{path} exists and is not a network of the paper's program; choose another path")
        work = Path(tempfile.mkdtemp(WRITING, f"{target.name}.", target.parent))
        new, old = work / "new", work / "old"
        try:
            new.mkdir()
            for name, content in files.items():
                replace_file(new / name, content)
            if exists:
                target.replace(old)
            new.replace(target)
            flush_folder(target.parent)
        finally:
            failed = new.exists()
            if failed and not os.path.lexists(target):
                with contextlib.suppress(OSError):
                    old.replace(target)
            shutil.rmtree(new if failed and old.exists() else work, ignore_errors=True)
    except OSError as error:
        left = f"the old folder is in {old}" if old and old.exists() else "nothing was changed"
        raise CheckpointError(f"{path} cannot be written ({error.strerror}); {left}") from None
