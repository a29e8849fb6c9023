"""Read text files line by line: gzip or plain, the encoding detected, the length of a line limited."""

import codecs
import gzip
import hashlib
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from lagvis.data.files import GZIP_MAGIC
from lagvis.data.signatures import identify_format
from lagvis.errors import DataError

CHUNK_BYTES = 2**19  # stays in the cache of a core while it is searched
MAX_LINE_LENGTH = 2**21  # characters
# Tables of numbers shrink to a tenth or so; a small file that unpacks to more than this was made to fill the memory.
MAX_UNPACKED_RATIO, MIN_UNPACKED_LIMIT = 200, 2**26
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# A quote within a cell, as in 5" pipe, opens nothing.
QUOTED_CELL = re.compile(r'(?:^|[\t;|,]) *"(?:[^"]|"")*("?)')
CONTROL_BYTES = bytes([*range(9), *range(14, 32)])
CONTROL_CHARACTERS = re.compile(f"[{re.escape(CONTROL_BYTES.decode())}]")
REMEDY = "save it as CSV in UTF-8"


@dataclass(frozen=True)
class TextFile:
    """A text file: its path, its name in messages, its encoding, and the sha256 of its unpacked bytes.

    first_line  number of its first line in messages; another than 1 for a part of a file
    """

    path: Path
    name: str
    encoding: str
    sha256: str
    first_line: int = 1

    @property
    def short_name(self) -> str:
        """Return the name without its folder."""
        return Path(self.name).name


@contextmanager
def open_maybe_gzip(path: Path, display_name: str = "") -> Iterator[BinaryIO]:
    """Open a file, plain or gzip, for reading bytes; DataError for a damaged gzip file."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == GZIP_MAGIC
            file.seek(0)
            if packed:
                with gzip.GzipFile(fileobj=file) as inner:
                    yield inner  # type: ignore[misc]
            else:
                yield file
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(f"{display_name or path} is a damaged gzip file ({error}); fetch or pack it again") from None


class TextChecker:
    """Check the unpacked bytes of a file, chunk by chunk, and find its encoding and digest.

    name   of the file in messages
    limit  number of bytes; more are refused
    """

    def __init__(self, name: str, limit: int) -> None:
        self.name, self.limit = name, limit
        self.digest = hashlib.sha256()
        self.total = 0
        self.encoding = ""
        self.decoder = codecs.getincrementaldecoder("utf-8")()

    def feed(self, chunk: bytes) -> None:
        """Check the next bytes; DataError where they are no text, or too many."""
        if not self.total:
            if chunk.startswith(GZIP_MAGIC):
                raise DataError(f"{self.name} is {identify_format(chunk)}")
            self.encoding = next((name for mark, name in BYTE_ORDER_MARKS if chunk.startswith(mark)), "utf-8")
        self.digest.update(chunk)
        self.total += len(chunk)
        if self.total > self.limit:
            raise DataError(
                f"{self.name} unpacks to more than {self.limit:,} bytes; unpack it by hand if that is intended"
            )
        if self.encoding != "utf-16" and holds_control_bytes(chunk):
            index, found = next((i, byte) for i, byte in enumerate(chunk) if byte in CONTROL_BYTES)
            is_first = self.total == len(chunk)
            place = f" in line {chunk[:index].count(10) + 1}" if is_first else ""
            raise DataError(f"{self.name} is not text: it holds the byte {found:02x}{place}; remove it, or {REMEDY}")
        if self.encoding == "utf-8" and not (chunk.isascii() and not self.decoder.getstate()[0]):
            try:
                self.decoder.decode(chunk)
            except UnicodeDecodeError:
                self.encoding = "cp1252"

    def finish(self, path: Path) -> TextFile:
        """Return what was found; DataError for an empty file."""
        if not self.total:
            raise DataError(f"{self.name} is empty; expected a table, a row a line")
        return TextFile(path, self.name, self.encoding, self.digest.hexdigest())


def holds_control_bytes(chunk: bytes) -> bool:
    """Tell whether one of CONTROL_BYTES is among bytes."""
    found = np.frombuffer(chunk, np.uint8)
    return bool(found.min(initial=255) < 9 or (found - 14).min(initial=255) < 18)


def inspect_text(path: Path, display_name: str = "") -> TextFile:
    """Read a file once to detect its encoding and compute its digest; DataError where it is not text."""
    checker = text_checker(path, display_name)
    with open_maybe_gzip(path, checker.name) as file:
        while chunk := file.read(CHUNK_BYTES):
            checker.feed(chunk)
    return checker.finish(path)


def text_checker(path: Path, display_name: str = "") -> TextChecker:
    """Return the checker of a file."""
    return TextChecker(display_name or str(path), max(MIN_UNPACKED_LIMIT, path.stat().st_size * MAX_UNPACKED_RATIO))


def inspect_start(path: Path, display_name: str = "") -> TextFile | None:
    """Return a file, without its digest, whose start is UTF-8; None for a packed file and for another start."""
    checker = text_checker(path, display_name)
    with path.open("rb") as file:
        start = file.read(CHUNK_BYTES)
    if start.startswith(GZIP_MAGIC):
        return None
    try:
        checker.feed(start)
    except DataError:
        return None
    return TextFile(path, checker.name, checker.encoding, "") if checker.encoding.startswith("utf-8") else None


def read_lines(file: TextFile, *, join_quoted: bool = True) -> Iterator[tuple[int, str]]:
    """Yield the number, from 1, and the text of each line that is not blank.

    A quoted cell may span several lines; they are joined under the number of the first, if `join_quoted`.
    """
    with open_maybe_gzip(file.path, file.name) as raw:
        text = io.TextIOWrapper(raw, file.encoding, newline="")
        number = file.first_line - 1
        try:
            while piece := text.readline(MAX_LINE_LENGTH + 1):
                number += 1
                start, pieces, length = number, [piece], len(piece)
                in_quotes = join_quoted and ends_in_quotes(piece)
                while in_quotes and length <= MAX_LINE_LENGTH:
                    piece = text.readline(MAX_LINE_LENGTH + 1)
                    if not piece:
                        raise DataError(f"{file.name}, line {start}: a quote is opened and never closed; close it")
                    number += 1
                    pieces.append(piece)
                    length += len(piece)
                    in_quotes ^= piece.count('"') % 2 > 0
                if length > MAX_LINE_LENGTH:
                    raise DataError(
                        f"{file.name}, line {start} is longer than {MAX_LINE_LENGTH:,} characters; expected a row a "
                        f"line{' (a quote may not be closed)' if len(pieces) > 1 else ''}"
                    )
                line = "".join(pieces).rstrip("\r\n")
                # The bytes of UTF-16 do not show control characters; `inspect_text` has checked the other encodings.
                if file.encoding == "utf-16" and (found := CONTROL_CHARACTERS.search(line)):
                    raise DataError(f"{file.name}, line {start} holds the character {ord(found[0]):02x}; {REMEDY}")
                if line and not line.isspace():
                    yield start, line
        except UnicodeError as error:
            raise DataError(f"{file.name} is not text in {file.encoding} ({error}); {REMEDY}") from None


def ends_in_quotes(line: str) -> bool:
    """Tell whether a quoted cell that begins in a line goes on in the next one."""
    return line.count('"') % 2 > 0 and any(not cell[1] for cell in QUOTED_CELL.finditer(line))
