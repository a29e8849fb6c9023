"""Run a command: print results, notices and errors, and turn every error into one sentence and an exit code."""

import errno
import os
import re
import signal
import sys
import textwrap
import traceback
from collections.abc import Callable
from typing import Any, TextIO
from unicodedata import east_asian_width

from lagvis import strict_json
from lagvis.backends.backend import first_line, is_out_of_memory
from lagvis.backends.cuda_faults import explain_library_error
from lagvis.cli.streams import open_streams, write_stderr, write_stdout
from lagvis.errors import LagvisError, OutOfMemoryError, OutputError
from lagvis.installation import missing_package_sentence
from lagvis.report.text import escape_control
from lagvis.storage.signals import StopSignal, interrupt_on_signals


def print_stderr(line: str) -> None:
    """Print a line on stderr, wrapped in a terminal; ignore a stderr that cannot be written."""
    write_stderr(fit_terminal(escape_control(line), sys.stderr) + "\n")


def print_result(result: str | dict[str, Any]) -> None:
    """Print the result of a command on stdout: text, wrapped in a terminal, or a dict as one line of JSON.

    A reader that has closed the pipe does not change the exit code. Raise OutputError if stdout cannot be written.
    """
    text = strict_json.dumps(result) if isinstance(result, dict) else fit_terminal(result, sys.stdout)
    write_stdout(text + "\n")


def fit_terminal(text: str, stream: TextIO) -> str:
    """Wrap the lines of a text to the width of the terminal; return it unchanged if the stream is no terminal."""
    width = terminal_width(stream)
    return "\n".join(wrap_line(line, width) for line in text.split("\n")) if width else text


def terminal_width(stream: TextIO) -> int | None:
    """Return the columns of the terminal that a stream writes to; None if it is no terminal."""
    try:
        if not stream.isatty():  # the stream of a notebook has the descriptor of another terminal
            return None
        return os.get_terminal_size(stream.fileno()).columns or None
    except (OSError, ValueError):  # closed
        return None


def wrap_line(line: str, width: int) -> str:
    """Wrap a line between words. In a line of columns, separated by two blanks, wrap the last below its own start.

    A line that is a path is left to the terminal, so that it can be copied. A wide character takes two columns.
    """
    cells = "".join(c + "\0" if east_asian_width(c) in "WF" else c for c in line)
    last_column = max((gap.end() for gap in re.finditer(r"\s{2,}", cells)), default=0)
    if len(cells) <= width or os.path.isabs(line):
        return line
    indent = last_column if last_column <= width // 2 else len(cells) - len(cells.lstrip()) + 2
    lines = textwrap.wrap(cells, width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines).replace("\0", "")


def run_cli(main: Callable[[list[str] | None], int], argv: list[str] | None = None) -> int:
    """Run the main function of a command; return its exit code, or that of an error, reported in one sentence."""
    open_streams()
    stop = StopSignal()
    try:
        os.getcwd()
        with interrupt_on_signals(stop):
            code = main(argv)
            write_stdout()
    except SystemExit:  # of argparse, which has perhaps printed the help
        try:
            write_stdout()
        except OutputError as error:
            return report_error(error)
        raise
    except KeyboardInterrupt:
        stop.number = stop.number or signal.SIGINT
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
    elif fault := explain_library_error(error):
        code, sentence = fault.exit_code, f"{fault} --resume continues a training."
    elif isinstance(error, ImportError) and (
        missing := missing_package_sentence(error)
    ):  # of a package that is imported late
        sentence = missing
    elif isinstance(error, OSError) and error.filename is None and error.errno == errno.ENOENT:
        code, sentence = 2, "the current folder no longer exists; change to another"
    else:
        if os.environ.get("LAGVIS_TRACEBACK"):
            traceback.print_exc()
        sentence = (
            f"unexpected {type(error).__name__}: {error}; this is a bug in Lagvis; LAGVIS_TRACEBACK=1 shows where"
        )
    print_stderr(f"error: {sentence}")
    return code
