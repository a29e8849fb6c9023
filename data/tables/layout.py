"""Scan the bytes of a table for what polars would misread without an error."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from lagvis.data.tables.text import MAX_LINE_LENGTH, holds_control_bytes

NEWLINE, RETURN, QUOTE, BLANK, ZERO = b'\n\r" 0'


@dataclass(frozen=True)
class Layout:
    """What the rows of a table hold.

    quotes             number of quotes
    has_stray_quotes   whether a quote may stand within a cell, or is not closed
    has_lone_returns   whether a line may end in a carriage return alone
    has_long_lines     whether a line is longer than MAX_LINE_LENGTH bytes
    has_controls       whether there is a control character
    has_leading_zeros  whether a cell may begin with a zero before another digit
    has_points         whether there is a point
    """

    quotes: int
    has_stray_quotes: bool
    has_lone_returns: bool
    has_long_lines: bool
    has_controls: bool
    has_leading_zeros: bool
    has_points: bool

    @property
    def is_regular(self) -> bool:
        """Tell whether polars splits the rows into the cells that are meant."""
        return not (self.has_stray_quotes or self.has_lone_returns or self.has_long_lines or self.has_controls)


class LayoutScanner:
    """Scan the rows of a table in UTF-8, chunk by chunk.

    separator    between cells
    skip_lines   number of lines above the first row
    find_zeros   whether to look for leading zeros; likewise find_points and find_controls
    """

    def __init__(
        self, separator: str, skip_lines: int, *, find_zeros: bool, find_points: bool, find_controls: bool
    ) -> None:
        self.mark = ord(separator)
        self.edges = np.array([self.mark, NEWLINE, RETURN], np.uint8)
        self.lines_to_skip = skip_lines
        self.find_zeros, self.find_points, self.find_controls = find_zeros, find_points, find_controls
        self.tail = b"\n"  # the last two bytes of the chunk before: their neighbours are not known yet
        self.quotes = self.line_length = 0
        self.stray_quotes = self.lone_returns = self.long_lines = self.controls = False
        self.leading_zeros = self.points = False

    def feed(self, chunk: bytes) -> None:
        """Scan the next bytes of the file."""
        start = 0
        while self.lines_to_skip and (found := chunk.find(b"\n", start)) >= 0:
            start = found + 1
            self.lines_to_skip -= 1
        if self.lines_to_skip:
            return
        rows = chunk[start:] if start else chunk
        if not rows:
            return
        self.measure_lines(rows)
        if self.find_points and not self.points:
            self.points = b"." in rows
        if self.find_controls and not self.controls:
            self.controls = holds_control_bytes(rows)
        if self.find_zeros or any(mark in part for part in (rows, self.tail) for mark in (b'"', b"\r")):
            self.scan(self.tail + rows)
        self.tail = (self.tail + rows[-2:])[-2:]

    def finish(self) -> Layout:
        """Return the layout of all rows."""
        if len(self.tail) > 1:
            self.scan(self.tail + b"\n")
        return Layout(
            self.quotes,
            has_stray_quotes=self.stray_quotes or self.quotes % 2 > 0,
            has_lone_returns=self.lone_returns or self.lines_to_skip > 0,
            has_long_lines=self.long_lines,
            has_controls=self.controls,
            has_leading_zeros=self.leading_zeros,
            has_points=self.points,
        )

    def scan(self, rows: bytes) -> None:
        """Scan bytes but the first and the last, which are known as neighbours."""
        chunk = np.frombuffer(rows, np.uint8)
        before, cells, after = chunk[:-2], chunk[1:-1], chunk[2:]
        if b"\r" in rows:
            self.lone_returns |= bool(((cells == RETURN) & (after != NEWLINE)).any())
        if b'"' in rows:
            at = np.flatnonzero(cells == QUOTE)
            self.quotes += len(at)
            opens, closes = np.isin(before[at], self.edges), np.isin(after[at], self.edges)
            doubled = ((before[at] == QUOTE) & (after[at] != BLANK)) | ((after[at] == QUOTE) & (before[at] != BLANK))
            self.stray_quotes |= not (opens | closes | doubled).all()
        if self.find_zeros and not self.leading_zeros:
            begins = (before == self.mark) | (before == NEWLINE) | (before == QUOTE)
            begins &= cells == ZERO
            begins &= after - ZERO < 10
            self.leading_zeros = bool(begins.any())

    def measure_lines(self, rows: bytes) -> None:
        """Note a line that is too long."""
        first = rows.find(b"\n")
        if first < 0:
            self.line_length += len(rows)
        else:
            self.long_lines |= self.line_length + first > MAX_LINE_LENGTH
            self.line_length = len(rows) - 1 - rows.rfind(b"\n")
        self.long_lines |= self.line_length > MAX_LINE_LENGTH


def count_separators(chunks: Iterable[bytes], separator: str, skip_lines: int) -> tuple[int, int]:
    """Return the number of separators below `skip_lines` lines, and the number of lines without a character."""
    separators = blank_lines = 0
    before = b"\n\n"
    for chunk in chunks:
        rows = chunk
        while skip_lines and (found := rows.find(b"\n")) >= 0:
            rows = rows[found + 1 :]
            skip_lines -= 1
        if skip_lines or not rows:
            continue
        separators += int(np.count_nonzero(np.frombuffer(rows, np.uint8) == ord(separator)))
        joined = np.frombuffer(before + rows, np.uint8)
        third, second, first = joined[:-2], joined[1:-1], joined[2:]
        ends = first == NEWLINE
        blank_lines += int(np.count_nonzero(ends & (second == NEWLINE)))
        blank_lines += int(np.count_nonzero(ends & (second == RETURN) & (third == NEWLINE)))
        before = joined[-2:].tobytes()
    return separators, blank_lines
