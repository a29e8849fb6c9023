"""Read a table in pieces of consecutive rows, so that memory does not grow with the file."""

import codecs
import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lagvis.data.tables.columnar import check_parquet_size
from lagvis.data.tables.csv_reader import RowLines, read_csv
from lagvis.data.tables.dialect import Dialect, detect_dialect
from lagvis.data.tables.frame import TableFrame
from lagvis.data.tables.table_format import PARQUET
from lagvis.data.tables.text import open_maybe_gzip
from lagvis.data.tables.typed_table import TableSource, decode_errors, typed_table
from lagvis.errors import DataError

if TYPE_CHECKING:
    pass

CHUNK_BYTES = 2**22  # of a text file that are read at a time
UTF8_MARK = b"\xef\xbb\xbf"
NEWLINE, QUOTE = 10, 34
REMEDY = "it may be cut off or damaged: write it again"


def iter_csv(
    path: Path, label: str, rows: int, *, display_name: str = "", allow_single_column: bool = False, **arguments: Any
) -> Iterator[TableFrame]:
    """Yield a table of text as `read_csv` returns it, in pieces of `rows` lines; the last may be shorter.

    Each piece is written to a temporary file behind the header, and read like a file of its own. Where one is not read
    as the first is, or has an error, the whole file is read: it has the rows, or the sentence that says what is wrong.
    """
    name = display_name or str(path)
    arguments |= {"allow_single_column": allow_single_column, "display_name": name}

    def whole() -> TableFrame:
        return read_csv(path, label, **arguments)

    dialect = detect_dialect(path, label, allow_single_column=allow_single_column, display_name=name)
    locate = RowLines(dialect)
    first_row = 0
    with tempfile.TemporaryDirectory() as folder:
        piece_path = Path(folder, path.name)
        for content in text_pieces(dialect, rows):
            piece_path.write_bytes(content)
            piece = None
            with contextlib.suppress(DataError):
                piece = read_csv(piece_path, label, **arguments)
            if piece is None or (piece.names, piece.has_header) != (dialect.names, dialect.has_header):
                yield from slices(whole(), rows, first_row)
                return
            yield replace(
                piece,
                path=path,
                sha256=dialect.file.sha256,
                description=dialect.describe(),
                row_location=partial(locate_row, locate, first_row),
                strays={c: partial(stray_sentence, whole, c, stray) for c, stray in piece.strays.items()},
            )
            first_row += piece.frame.height


def locate_row(locate: Callable[[int], str], first_row: int, row: int) -> str:
    """Return the place in its file of a row of a piece that begins with the row `first_row`."""
    return locate(first_row + row)


def stray_sentence(whole: Callable[[], TableFrame], c: int, of_piece: Callable[[], str]) -> str:
    """Return the sentence about a cell that is no number, with its place in the whole file."""
    return whole().strays.get(c, of_piece)()


def slices(table: TableFrame, rows: int, start: int = 0) -> Iterator[TableFrame]:
    """Yield the rows of a table from the index `start` on, in pieces of `rows` rows."""
    for first_row in range(start, table.frame.height, rows):
        yield slice_rows(table, first_row, rows)


def slice_rows(table: TableFrame, start: int, count: int) -> TableFrame:
    """Return `count` rows of a table from the index `start` on, or as many as there are."""
    return replace(
        table,
        frame=table.frame.slice(start, count),
        row_location=partial(locate_row, table.row_location, start),
    )


def text_pieces(dialect: Dialect, rows: int) -> Iterator[bytes]:
    """Yield the lines of a file in pieces of `rows` rows, in UTF-8, each behind the lines above the first row.

    A quoted cell may span several lines. A piece that holds blank lines alone is left out.
    """
    header_lines = dialect.first_row_line - 1
    parts: list[bytes] = []
    header, lines, quotes = b"", 0, 0
    for chunk in utf8_chunks(dialect):
        data = np.frombuffer(chunk, np.uint8)
        ends = np.flatnonzero(data == NEWLINE)
        quote_places = np.flatnonzero(data == QUOTE)
        if len(quote_places) or quotes % 2:
            ends = ends[(quotes + np.searchsorted(quote_places, ends)) % 2 == 0]
        quotes += len(quote_places)
        start = 0
        while lines + len(ends) >= (wanted := rows if header or not header_lines else header_lines):
            end = int(ends[wanted - lines - 1]) + 1
            content = b"".join([*parts, chunk[start:end]])
            if header_lines and not header:
                header = content
            elif content.strip():
                yield header + content
            ends, start, parts, lines = ends[wanted - lines :], end, [], 0
        parts.append(chunk[start:])
        lines += len(ends)
    if (content := b"".join(parts)).strip():
        yield header + content


def utf8_chunks(dialect: Dialect) -> Iterator[bytes]:
    """Yield the unpacked bytes of a file in UTF-8, without a byte order mark."""
    encoding = dialect.file.encoding
    with open_maybe_gzip(dialect.file.path, dialect.file.name) as file:
        if encoding.startswith("utf-8"):
            yield file.read(CHUNK_BYTES).removeprefix(UTF8_MARK)
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
            return
        decoder = codecs.getincrementaldecoder(encoding)()
        while chunk := file.read(CHUNK_BYTES):
            yield decoder.decode(chunk).encode()


def iter_columnar(source: TableSource, kind: str, rows: int) -> Iterator[TableFrame]:
    """Yield a Parquet or Arrow file as `read_columnar` returns it, in pieces of `rows` rows."""
    import polars as pl

    with decode_errors(source.name, kind, REMEDY):
        if kind == PARQUET:
            check_parquet_size(source.path, source.name)
            scan = pl.scan_parquet(source.path, glob=False, hive_partitioning=False)
        else:
            scan = pl.scan_ipc(source.path, glob=False)
        total = int(scan.select(pl.len()).collect().item())
    for first_row in range(0, max(total, 1), rows):
        with decode_errors(source.name, kind, REMEDY):
            frame: pl.DataFrame = scan.slice(first_row, rows).collect()
        yield typed_table(
            source,
            frame.get_columns(),
            frame.columns,
            kind.removeprefix("a ").removeprefix("an "),
            row_location=partial(locate_row, lambda row: f"row {row + 1}", first_row),
        )
