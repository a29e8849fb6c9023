"""Start a command: parse its name, import it, run it.

This module imports the standard library only and little of it, so that a signal during the imports of a command, which
take a while, ends it with one line. A Python that is too old, and a package that is missing, do the same.
"""

from __future__ import annotations

import gc
import os
import sys

from lagvis.installation import check_python, missing_package_sentence

COMMANDS = {
    "train": "train a network",
    "evaluate": "evaluate a trained network",
    "predict": "predict with a trained network",
    "export": "export a trained network to another format",
    "report": "show runs side by side: settings, results and curves",
    "compare": "compare the backends with each other",
    "data": "describe a data set",
    "backends": "list the backends that can compute here",
}


def exit_at_once(number: int = 2, frame: object = None) -> None:
    """End the process with one line and the exit code of a signal: 130 for SIGINT, 143 for SIGTERM, 129 for SIGHUP."""
    try:
        os.write(2, b"Stopped.\n")
    finally:
        os._exit(128 + number)  # an exception would pass through libraries, and some replace it


try:
    import signal
except KeyboardInterrupt:
    exit_at_once()


def exit_on_signals() -> None:
    """Make SIGINT, SIGTERM and SIGHUP end the process at once during the imports; then `run_cli` handles them.

    An ignored signal stays ignored, as in the background of a shell or under nohup.
    """
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, exit_at_once)


def run(command: str, argv: list[str] | None = None) -> None:
    """Run a command by its name and exit with its code; `argv` defaults to the arguments of the process."""
    check_python()
    exit_on_signals()
    from lagvis.cli.streams import open_descriptors, write_stderr

    open_descriptors()
    from importlib import import_module

    gc.disable()  # imports make many objects and no garbage, which the collector would look for again and again
    try:
        from lagvis.cli.errors import run_cli

        command_main = import_module(f"lagvis.cli.{command}").main
    except ImportError as error:
        sentence = missing_package_sentence(error)
        if sentence is None:
            raise
        write_stderr(f"error: {sentence}\n")
        sys.exit(1)
    gc.enable()
    sys.exit(run_cli(command_main, argv))


def main(argv: list[str] | None = None) -> None:
    """Run `lagvis COMMAND ...`."""
    check_python()
    exit_on_signals()
    words = sys.argv[1:] if argv is None else argv
    if words and words[0] in COMMANDS:
        sys.argv[0] = f"lagvis {words[0]}"  # what argparse calls the program
        run(words[0], words[1:])
    sys.exit(answer_without_command(words))


def answer_without_command(words: list[str]) -> int:
    """Print the usage or the version, or the error of a command line that names no command; return the exit code."""
    from lagvis import __version__
    from lagvis.cli.streams import open_streams, write_stderr, write_stdout
    from lagvis.errors import OutputError

    open_streams()
    lines = "\n".join(f"  {name:10}{text}" for name, text in COMMANDS.items())
    usage = f"usage: lagvis COMMAND ...\n\ncommands:\n{lines}\n\nlagvis COMMAND --help describes a command.\n"
    answers = {"-h": usage, "--help": usage, "--version": f"lagvis {__version__}\n"}
    if words and words[0] in answers:
        try:
            write_stdout(answers[words[0]])
        except OutputError as error:
            write_stderr(f"error: {error}\n")
            return error.exit_code
        return 0
    found = f"there is no command {words[0]!r}" if words else "no command given"
    write_stderr(f"error: {found}; expected one of {', '.join(COMMANDS)} (lagvis --help describes them)\n")
    return 2
