"""Text files as lines: gzip unpacked, the encoding found, nothing made that is longer than a line may be."""

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

from lagvis.data.files import GZIP_MAGIC
from lagvis.errors import DataError

CHUNK = 2**20
MOST_LINE = 2**21  # characters
# Tables of numbers shrink to a tenth or so; a small file that grows beyond this was made to fill a memory.
MOST_UNPACKED_PER_PACKED, ALWAYS_UNPACKED = 200, 2**26
MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
CONTROL = bytes([*range(9), *range(14, 32)])
CONTROL_TEXT = re.compile(f"[{re.escape(CONTROL.decode())}]")
REMEDY = "save it as CSV in UTF-8"


@dataclass(frozen=True)
class TextFile:
    """A file that is text throughout, and the sha256 of its bytes, unpacked."""

    path: Path
    encoding: str
    sha256: str


@contextmanager
def open_maybe_gzip(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a file, plain or gzip; DataError for what gzip or the system refuses."""
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
        raise DataError(f"{path} is a damaged gzip file ({error}); fetch or pack it again") from None


def inspect_text(path: Path) -> TextFile:
    """Read a file once to find its encoding and digest; DataError where it is not text."""
    digest, total = hashlib.sha256(), 0
    most = max(ALWAYS_UNPACKED, path.stat().st_size * MOST_UNPACKED_PER_PACKED)
    with open_maybe_gzip(path) as file:
        start = file.read(CHUNK)
        encoding = next((name for mark, name in MARKS if start.startswith(mark)), "utf-8")
        decoder = codecs.getincrementaldecoder("utf-8")()
        chunk = start
        while chunk:
            digest.update(chunk)
            total += len(chunk)
            if total > most:
                raise DataError(f"{path} unpacks to more than {most:,} bytes; unpack it by hand if that is meant")
            if encoding != "utf-16" and len(chunk.translate(None, CONTROL)) < len(chunk):
                found = next(byte for byte in chunk if byte in CONTROL)
                raise DataError(f"{path} is not text: it holds the byte {found:02x}; {REMEDY}")
            if encoding == "utf-8":
                try:
                    decoder.decode(chunk)
                except UnicodeDecodeError:
                    encoding = "cp1252"
            chunk = file.read(CHUNK)
    if not total:
        raise DataError(f"{path} is empty; expected a table, a row a line")
    return TextFile(path, encoding, digest.hexdigest())


def read_lines(file: TextFile) -> Iterator[tuple[int, str]]:
    """Each line that is not blank, with its number; a quoted field may go on over several, told by the first."""
    with open_maybe_gzip(file.path) as raw:
        text = io.TextIOWrapper(raw, file.encoding, newline="")
        number = 0
        try:
            while piece := text.readline(MOST_LINE + 1):
                number += 1
                start, pieces, length, open_ = number, [piece], len(piece), piece.count('"') % 2
                while open_ and length <= MOST_LINE:
                    piece = text.readline(MOST_LINE + 1)
                    if not piece:
                        raise DataError(f"{file.path}, line {start}: a quote is opened and never closed; close it")
                    number += 1
                    pieces.append(piece)
                    length += len(piece)
                    open_ ^= piece.count('"') % 2
                if length > MOST_LINE:
                    raise DataError(
                        f"{file.path}, line {start} is longer than {MOST_LINE:,} characters; expected a row a line"
                        f"{' (a quote may not be closed)' if len(pieces) > 1 else ''}"
                    )
                line = "".join(pieces).rstrip("\r\n")
                # In UTF-16 the bytes do not show them; elsewhere `survey` has looked.
                if file.encoding == "utf-16" and (found := CONTROL_TEXT.search(line)):
                    raise DataError(f"{file.path}, line {start} holds the character {ord(found[0]):02x}; {REMEDY}")
                if line and not line.isspace():
                    yield start, line
        except UnicodeError as error:
            raise DataError(f"{file.path} is not text in {file.encoding} ({error}); {REMEDY}") from None
