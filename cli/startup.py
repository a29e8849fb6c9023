"""Start a command: parse its name, import it, run it.

This module imports the standard library only and little of it, so that Ctrl-C during the imports of a command, which
take a while, ends it with one line.
"""

import os
import sys

COMMANDS = {
    "train": "train a network",
    "evaluate": "evaluate a trained network",
    "predict": "predict with a trained network",
    "export": "export a trained network to another format",
    "compare": "compare the backends with each other",
    "data": "describe a data set",
    "backends": "list the backends that can compute here",
}


def exit_at_once(number: int = 2, frame: object = None) -> None:
    """End the process with one line and the exit code of the signal: 130 for SIGINT, 143 for SIGTERM."""
    try:
        os.write(2, b"Stopped.\n")
    finally:
        os._exit(128 + number)  # an exception would pass through libraries, and some replace it


try:
    import signal
except KeyboardInterrupt:
    exit_at_once()


def exit_on_sigint() -> None:
    """Make Ctrl-C end the process at once during the imports; afterwards `run_cli` installs its own handlers.

    An ignored signal stays ignored, as in the background of a shell. SIGTERM ends a process without a handler, except
    the first process of a container, which gets one.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, exit_at_once)
    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, exit_at_once)


def run(command: str, argv: list[str] | None = None) -> None:
    """Run a command by its name and exit with its code; `argv` defaults to the arguments of the process."""
    exit_on_sigint()
    from importlib import import_module

    from lagvis.cli.errors import run_cli

    sys.exit(run_cli(import_module(f"lagvis.cli.{command}").main, argv))


def main(argv: list[str] | None = None) -> None:
    """Run `lagvis COMMAND ...`."""
    exit_on_sigint()
    words = sys.argv[1:] if argv is None else argv
    if words and words[0] in COMMANDS:
        sys.argv[0] = f"lagvis {words[0]}"  # what argparse calls the program
        run(words[0], words[1:])
    lines = "\n".join(f"  {name:10}{text}" for name, text in COMMANDS.items())
    usage = f"usage: lagvis COMMAND ...\n\ncommands:\n{lines}\n\nlagvis COMMAND --help describes a command.\n"
    if words and words[0] in ("-h", "--help"):
        sys.stdout.write(usage)
        sys.exit(0)
    if words and words[0] == "--version":
        from lagvis import __version__

        sys.stdout.write(f"lagvis {__version__}\n")
        sys.exit(0)
    found = f"there is no command {words[0]!r}" if words else "no command given"
    sys.stderr.write(f"error: {found}; expected one of {', '.join(COMMANDS)} (lagvis --help describes them)\n")
    sys.exit(2)
