"""What holds every door: sentences instead of tracebacks, exit codes, and streams that take any text."""

import contextlib
import errno
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable
from textwrap import fill
from typing import Any
from unicodedata import east_asian_width

from lagvis.backends.backend import first_line, is_out_of_memory
from lagvis.errors import LagvisError, OutOfMemoryError
from lagvis.report.text import escape_control
from lagvis.runs.signals import StopSignal, interrupt_on_signals


def print_stderr(line: str) -> None:
    """A line on stderr, whatever names are in it, in a terminal broken between words.

    Where it cannot be written, it is not worth ending a run for.
    """
    line = escape_control(line)
    with contextlib.suppress(OSError):  # no terminal, or one that has gone
        if width := os.get_terminal_size(sys.stderr.fileno()).columns:
            cells = "".join(c + "\0" if east_asian_width(c) in "WF" else c for c in line)  # which take two columns
            line = fill(cells, width, break_long_words=False, break_on_hyphens=False).replace("\0", "")
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)


def print_result(text: str) -> None:
    """The result on stdout; whoever read that may have left, and the exit code is none of their business."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        drop_stdout()


def open_streams() -> None:
    """Make stdout and stderr take any text: closed ones lead nowhere, characters they lack are written as escapes."""
    for name in ("stdout", "stderr"):
        stream: Any = getattr(sys, name)  # None where the shell closed it
        if stream is None:
            stream = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")
            setattr(sys, name, stream)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def drop_stdout() -> None:
    """Have what is left of the output go nowhere: Python would try to write it once more at its end, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run_cli(main: Callable[[list[str] | None], int], argv: list[str] | None = None) -> int:
    """The exit code of a door, with every error of ours, and of anyone's, told in a sentence on stderr."""
    open_streams()
    stop = StopSignal()
    try:
        os.getcwd()
        with interrupt_on_signals(stop):
            code = main(argv)
            sys.stdout.flush()
    except KeyboardInterrupt:
        stop.number = stop.number or signal.SIGINT
    except BrokenPipeError:
        drop_stdout()  # the reader of the output has left, which is no error
        code = 0
    except Exception as error:
        if not stop.received():
            return report_error(error)
    if stop.received():  # a library may have turned the interrupt into another exception, or ignored it
        print_stderr("Stopped.")
        return stop.exit_code
    return code


def report_error(error: Exception) -> int:
    """Print a sentence about an error on stderr; return its exit code."""
    code, sentence = 1, str(error)
    if isinstance(error, LagvisError):
        code = error.exit_code
    elif is_out_of_memory(error):
        code = OutOfMemoryError.exit_code
        sentence = f"out of memory ({first_line(error)}); use a smaller --hidden or --batch-size"
    elif isinstance(error, OSError) and error.filename is None and error.errno == errno.ENOENT:
        code, sentence = 2, "the folder that this was started in is gone; change to another"
    elif isinstance(error, OSError) and error.filename is None and error.errno in (errno.ENOSPC, errno.EIO):
        drop_stdout()
        code, sentence = 1, f"the result cannot be written to stdout ({error.strerror}); nothing else is lost"
    else:
        if os.environ.get("LAGVIS_TRACEBACK"):
            traceback.print_exc()
        sentence = f"unexpected {type(error).__name__}: {error}; a fault of Lagvis, LAGVIS_TRACEBACK=1 shows where"
    print_stderr(f"error: {sentence}")
    return code
