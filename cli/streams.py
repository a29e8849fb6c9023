"""stdout and stderr that are closed, full or lost: they end no command with a traceback, and no run at all.

Standard library only, because `startup` uses it before the imports of a command.
"""

import contextlib
import io
import os
import sys
from collections.abc import Callable
from typing import Any, TextIO

from lagvis.errors import OutputError


def open_descriptors() -> None:
    """Open each of the descriptors 0, 1 and 2 that is closed on nothing.

    Otherwise the next file that is opened, a checkpoint perhaps, gets such a number, and messages go into it.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free, which is this one


def open_streams() -> None:
    """Make stdout and stderr take any text: open closed ones on nothing, escape characters outside their encoding."""
    for name in ("stdout", "stderr"):
        stream: Any = getattr(sys, name)  # None where the shell closed it
        if stream is None:
            stream = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")
            setattr(sys, name, stream)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def write_stdout(text: str = "") -> None:
    """Write a text on stdout, after all that is still in its buffer.

    A reader that has closed the pipe, such as `head`, is no error. Raise OutputError if stdout cannot take the text.
    Afterwards stdout takes everything and discards it.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        discard(sys.stdout)
    except OSError as error:
        discard(sys.stdout)
        raise OutputError(f"the result cannot be written to stdout ({error.strerror})") from None


def print_line(text: str) -> None:
    """Write a line of progress on stdout; if stdout cannot take it, say so once on stderr and go on."""
    try:
        write_stdout(f"{text}\n")
    except OutputError as error:
        write_stderr(f"error: {error}\n")


def write_stderr(text: str) -> None:
    """Write a text on stderr; ignore a stderr that cannot be written."""
    with contextlib.suppress(OSError):
        sys.stderr.write(text)
        sys.stderr.flush()


def run_tool(main: Callable[[], int]) -> int:
    """Run the main function of a tool beside the commands; return its exit code, or 1 if stdout cannot be written."""
    open_streams()
    try:
        try:
            code = main()
        finally:
            write_stdout()  # also the help of argparse, which raises SystemExit
    except OutputError as error:
        write_stderr(f"error: {error}\n")
        return error.exit_code
    return code


def discard(stream: TextIO) -> None:
    """Discard what a stream still holds and what it gets: Python would try to write it again when it exits."""
    with contextlib.suppress(OSError, ValueError):  # a stream without a descriptor
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
