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

from lagvis.data.files import GZIP_MAGIC
from lagvis.data.signatures import identify_format
from lagvis.errors import DataError

CHUNK_BYTES = 2**20
MAX_LINE_LENGTH = 2**21  # characters
# Tables of numbers shrink to a tenth or so; a small file that unpacks to more than this was made to fill the memory.
MAX_UNPACKED_RATIO, MIN_UNPACKED_LIMIT = 200, 2**26
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
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


def inspect_text(path: Path, display_name: str = "") -> TextFile:
    """Read a file once to detect its encoding and compute its digest; DataError where it is not text."""
    name = display_name or str(path)
    digest, total = hashlib.sha256(), 0
    limit = max(MIN_UNPACKED_LIMIT, path.stat().st_size * MAX_UNPACKED_RATIO)
    with open_maybe_gzip(path, name) as file:
        start = file.read(CHUNK_BYTES)
        if start.startswith(GZIP_MAGIC):
            raise DataError(f"{name} is {identify_format(start)}")
        encoding = next((encoding for mark, encoding in BYTE_ORDER_MARKS if start.startswith(mark)), "utf-8")
        decoder = codecs.getincrementaldecoder("utf-8")()
        chunk = start
        while chunk:
            digest.update(chunk)
            total += len(chunk)
            if total > limit:
                raise DataError(f"{name} unpacks to more than {limit:,} bytes; unpack it by hand if that is intended")
            if encoding != "utf-16" and len(chunk.translate(None, CONTROL_BYTES)) < len(chunk):
                found = next(byte for byte in chunk if byte in CONTROL_BYTES)
                raise DataError(f"{name} is not text: it holds the byte {found:02x}; {REMEDY}")
            if encoding == "utf-8":
                try:
                    decoder.decode(chunk)
                except UnicodeDecodeError:
                    encoding = "cp1252"
            chunk = file.read(CHUNK_BYTES)
    if not total:
        raise DataError(f"{name} is empty; expected a table, a row a line")
    return TextFile(path, name, encoding, digest.hexdigest())


def read_lines(file: TextFile) -> Iterator[tuple[int, str]]:
    """Yield the number, from 1, and the text of each line that is not blank.

    A quoted cell may span several lines; they are joined under the number of the first.
    """
    with open_maybe_gzip(file.path, file.name) as raw:
        text = io.TextIOWrapper(raw, file.encoding, newline="")
        number = file.first_line - 1
        try:
            while piece := text.readline(MAX_LINE_LENGTH + 1):
                number += 1
                start, pieces, length, in_quotes = number, [piece], len(piece), piece.count('"') % 2
                while in_quotes and length <= MAX_LINE_LENGTH:
                    piece = text.readline(MAX_LINE_LENGTH + 1)
                    if not piece:
                        raise DataError(f"{file.name}, line {start}: a quote is opened and never closed; close it")
                    number += 1
                    pieces.append(piece)
                    length += len(piece)
                    in_quotes ^= piece.count('"') % 2
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
