"""Scan the bytes of a table for what polars would read in silence otherwise than it is meant."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lagvis.data.tables.text import MAX_LINE_LENGTH

CHUNK_BYTES = 2**18  # stays in the cache of a core
NEWLINE, RETURN, QUOTE, BLANK, ZERO = b'\n\r" 0'


@dataclass(frozen=True)
class Layout:
    """What the lines of a table hold, from its first row on.

    separators     number of separators, within quotes too
    blank_lines    number of lines without a character
    quotes         number of quotes
    has_stray_quotes   whether a quote stands within a cell, or one is not closed
    has_lone_returns   whether a line may end in a carriage return alone
    has_leading_zeros  whether a cell may begin with a zero before another digit
    has_long_lines     whether a line is longer than MAX_LINE_LENGTH bytes
    has_points         whether there is a point
    """

    separators: int = 0
    blank_lines: int = 0
    quotes: int = 0
    has_stray_quotes: bool = False
    has_lone_returns: bool = False
    has_leading_zeros: bool = False
    has_long_lines: bool = False
    has_points: bool = False


def scan_layout(content: bytes | memoryview, separator: str) -> Layout:
    """Return the layout of the rows of a table in UTF-8."""
    mark = ord(separator)
    separators = blank_lines = quotes = 0
    stray_quotes = lone_returns = leading_zeros = points = long_lines = False
    edges = np.array([mark, NEWLINE, RETURN], np.uint8)
    line_length = 0
    for before, cells, after in neighbours(content):
        is_separator, is_newline = cells == mark, cells == NEWLINE
        separators += int(np.count_nonzero(is_separator))
        previous_newline = before == NEWLINE
        blank_lines += int(np.count_nonzero(is_newline & previous_newline))
        if is_newline.any():
            line_length += int(is_newline.argmax())
            long_lines |= line_length > MAX_LINE_LENGTH
            line_length = int(is_newline[::-1].argmax())
        else:
            line_length += len(cells)
        is_quote = cells == QUOTE
        if found := int(np.count_nonzero(is_quote)):
            quotes += found
            at = np.flatnonzero(is_quote)
            opens, closes = np.isin(before[at], edges), np.isin(after[at], edges)
            doubled = ((before[at] == QUOTE) & (after[at] != BLANK)) | ((after[at] == QUOTE) & (before[at] != BLANK))
            stray_quotes |= not (opens | closes | doubled).all()
        is_return = cells == RETURN
        if is_return.any():
            lone_returns |= bool((is_return & (after != NEWLINE)).any())
            blank_lines += int(np.count_nonzero(is_return & previous_newline))
        begins = (before == mark) | previous_newline | (before == QUOTE)
        leading_zeros |= bool((begins & (cells == ZERO) & (after - ZERO < 10)).any())
        points |= bool((cells == ord(".")).any())
    return Layout(
        separators,
        blank_lines,
        quotes,
        has_stray_quotes=stray_quotes or quotes % 2 > 0,
        has_lone_returns=lone_returns,
        has_leading_zeros=leading_zeros,
        has_long_lines=long_lines or line_length > MAX_LINE_LENGTH,
        has_points=points,
    )


def neighbours(content: bytes | memoryview) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield a chunk of bytes after another, each with the byte before and the byte after each of its bytes.

    A newline stands before the first byte and after the last.
    """
    cells = np.frombuffer(content, np.uint8)
    for start in range(0, len(cells), CHUNK_BYTES):
        end = min(start + CHUNK_BYTES, len(cells))
        chunk = np.full(end - start + 2, NEWLINE, np.uint8)
        first, last = max(start - 1, 0), min(end + 1, len(cells))
        chunk[first - start + 1 : last - start + 1] = cells[first:last]
        yield chunk[:-2], chunk[1:-1], chunk[2:]
