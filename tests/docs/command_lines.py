"""Run a command line of a page in this process, or only parse it with the parser of its program."""

import argparse
import contextlib
import io
import runpy
import sys
from importlib import import_module
from pathlib import Path
from unittest import mock

from lagvis.cli.errors import run_cli
from lagvis.cli.options import Parser
from lagvis.cli.startup import COMMANDS
from tests.docs.pages import ROOT

NOT_OF_THIS_PROJECT = ("pip", "python3", "uv", ".", "git", "nvidia-smi")
MODULES_OF_OTHERS = ("pip", "pytest", "venv")


def command_of(words):
    """Return (name, arguments, program) of a command of Lagvis, or None; `program` is what argparse calls it."""
    first, *rest = words
    if first == "lagvis" and rest and rest[0] in COMMANDS:
        return rest[0], rest[1:], f"lagvis {rest[0]}"
    if first in ("python", "python3") and rest:
        if rest[0] == "-m" and rest[1] in COMMANDS:
            return rest[1], rest[2:], "__main__.py"
        if rest[0].endswith(".py") and rest[0][:-3] in COMMANDS:
            return rest[0][:-3], rest[1:], rest[0]
    return None


def run_words(words):
    """Run a command; return its exit code and all that it printed."""
    if words[0] == "cat":
        return 0, "".join(Path(name).read_text(encoding="utf-8") for name in words[1:])
    found = command_of(words)
    assert found, (
        f"no command that a test can run: {words}; a block that cannot be run has a mark (tests/docs/pages.py)"
    )
    name, arguments, program = found
    printed = io.StringIO()
    with mock.patch.object(sys, "argv", [program, *arguments]), redirected(printed):
        code = run_cli(import_module(f"lagvis.cli.{name}").main, arguments)
    return code, printed.getvalue()


@contextlib.contextmanager
def redirected(stream):
    with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
        yield


class ParsedError(Exception):
    """Raised after the arguments were parsed, so that the program does nothing more."""


def check_words(words):
    """Parse a command with the parser of its program and stop there; AssertionError if it refuses the arguments."""
    if words[:2] == ["python", "-m"] and words[2] in MODULES_OF_OTHERS:
        return
    if words[0] in NOT_OF_THIS_PROJECT and "scripts/" not in " ".join(words):
        return
    if words[:1] in (["python"], ["python3"]) and words[1].startswith("scripts/"):
        words = words[1:]
    original = argparse.ArgumentParser.parse_known_args

    def parse_known_args(self, *arguments, **options):
        _, unknown = original(self, *arguments, **options)
        assert not unknown, unknown
        raise ParsedError

    printed = io.StringIO()
    with mock.patch.object(argparse.ArgumentParser, "parse_known_args", parse_known_args), redirected(printed):
        try:
            start(words)
        except ParsedError:
            return
        except SystemExit as error:
            raise AssertionError(f"{words} exits with {error.code}: {printed.getvalue()}") from None
    raise AssertionError(f"{words} parses no arguments")


def options_of(words):
    """Return the options that a program takes, an empty set if it has no parser; `words` are its name."""
    found = set()
    original = argparse.ArgumentParser.parse_known_args

    def parse_known_args(self, *arguments, **options):
        if isinstance(self, Parser) and not command_of(words):  # a tool that makes use of a command
            return original(self, *arguments, **options)
        found.update(self._option_string_actions)
        raise ParsedError

    with (
        mock.patch.object(argparse.ArgumentParser, "parse_known_args", parse_known_args),
        contextlib.suppress(ParsedError),
    ):
        start(words)
    return found


SCRIPTS = {"scripts/gpu-check": "gpu_check", "scripts/fuzz": "fuzzing"}  # those that start a module


def start(words):
    """Start a program of this repository; one that parses no arguments only has to exist, and is not started."""
    found = command_of(words)
    if found:
        import_module(f"lagvis.cli.{found[0]}").main(found[1])
        return
    if words[0] in SCRIPTS:
        words = ["python", "-m", SCRIPTS[words[0]], *words[1:]]
    if words[:2] == ["python", "-m"]:
        path = ROOT / words[2].replace(".", "/")
        path = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
        words = words[2:]
    else:
        assert words[0].startswith("scripts/"), f"no program of this repository: {words}"
        path = ROOT / words[0]
    if "import argparse" not in path.read_text(encoding="utf-8"):
        raise ParsedError
    with mock.patch.object(sys, "argv", words):
        runpy.run_path(str(path), run_name="__main__")
