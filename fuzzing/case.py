"""A case: the files of a folder as one string of bytes, the form in which the fuzzing engine handles it."""

import contextlib
import os
import struct
from pathlib import Path

MAX_CASE_BYTES = 2**16
Files = list[tuple[str, bytes]]  # name (it may hold folders) and content of each file


def pack(files: Files, option: int = 0) -> bytes:
    """Return the case of some files: one byte for the reader's option, then each name and content after its length."""
    names = [(os.fsencode(name)[:255], content) for name, content in files]
    return bytes([option]) + b"".join(struct.pack(">BI", len(n), len(content)) + n + content for n, content in names)


def unpack(case: bytes) -> Files:
    """Return the files of a case. Incomplete content at its end is kept, an incomplete header is dropped."""
    files, at = [], 1
    while at + 5 <= len(case):
        name, content = struct.unpack_from(">BI", case, at)
        at += 5
        files.append((os.fsdecode(case[at : at + name]), case[at + name : at + name + content]))
        at += name + content
    return files


def write(files: Files, folder: Path) -> None:
    """Write the files into a folder, with at most three folders below it; skip names that the system refuses."""
    for name, content in files:
        parts = [part for part in name.replace("\0", "").split("/") if part not in ("", ".", "..")][:4]
        with contextlib.suppress(OSError):
            path = folder.joinpath(*parts)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
