"""Results and notices: wrapped between words in a terminal, unchanged in a pipe, JSON on one line."""

import io
import json
import os
import pty
import sys
import termios

import pytest

from lagvis.cli import errors
from tests.cli.commands import run_command, write_dataset

SENTENCE = f"the label is column 4 of {'a' * 70}/data.csv ('art'; --label says otherwise)"
TABLE = """network     64-4-4, 280 parameters (numpy, cpu, float32, seed 0)
test        loss 0.5132, accuracy 100.00%
            balanced accuracy 100.00%; always predicting 3 gives 27.50%

true \\ predicted   0   1   rows   recall
0                 20   0     20  100.00%
1                  0  18     18  100.00%"""


def printed(monkeypatch, name, width, function, value):
    """Return what a function prints to a terminal of a width (0: unknown), as lines."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, width))
    with open(theirs, "w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, name, stream)
        function(value)
        lines = os.read(ours, 10_000).decode().splitlines()
    os.close(ours)
    return lines


@pytest.mark.parametrize("width", [0, 20, 60, 200])
@pytest.mark.parametrize(("name", "function"), [("stderr", errors.print_stderr), ("stdout", errors.print_result)])
def test_print_in_terminal_wraps_between_words(monkeypatch, name, function, width):
    lines = printed(monkeypatch, name, width, function, SENTENCE)
    assert " ".join(line.strip() for line in lines) == SENTENCE
    assert len(lines) == 1 if width in (0, 200) else len(lines) > 2
    assert all(len(part) <= width or " " not in part.strip() for part in lines if width)


def test_print_stderr_counts_wide_characters_as_two_columns(monkeypatch):
    text = "Labels are \N{GRINNING FACE}: output 0"  # the first four words have 20 characters and take 21 columns
    lines = printed(monkeypatch, "stderr", 20, errors.print_stderr, text)
    assert lines == ["Labels are \N{GRINNING FACE}:", "output 0"]


@pytest.mark.parametrize("width", [40, 60, 72, 80])
def test_print_result_table_keeps_words_whole_and_last_column_below_itself(monkeypatch, width):
    lines = printed(monkeypatch, "stdout", width, errors.print_result, TABLE)
    assert all(len(line) <= width for line in lines)
    assert "".join(lines).split() == "".join(TABLE.splitlines()).split() or " ".join(lines).split() == TABLE.split()
    assert lines[0].startswith("network     64-4-4, 280 parameters")
    if width < len(TABLE.splitlines()[0]):
        assert lines[1].startswith(" " * 12 + ("(" if width == 40 else "seed"))
    assert "1                  0  18     18  100.00%"[:width].rstrip() in lines


def test_print_result_json_is_one_line_in_a_narrow_terminal(monkeypatch):
    lines = printed(monkeypatch, "stdout", 20, errors.print_result, {"text": "many words in one value"})
    assert lines == ['{"text": "many words in one value"}']


def test_print_result_path_is_not_wrapped(monkeypatch):
    path = "/tmp/a folder with blanks/export/model.npz"
    assert printed(monkeypatch, "stdout", 20, errors.print_result, path) == [path]


def test_print_stderr_stream_of_a_notebook_is_not_wrapped(monkeypatch):
    """The stream of a kernel of Jupyter is no terminal, although its descriptor is that of the server's terminal."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 20))

    class NotebookStream(io.StringIO):
        def fileno(self):
            return theirs

    monkeypatch.setattr(sys, "stderr", NotebookStream())
    errors.print_stderr(SENTENCE)
    assert sys.stderr.getvalue() == SENTENCE + "\n"
    os.close(ours)
    os.close(theirs)


def test_print_result_in_pipe_is_not_wrapped(tmp_path):
    write_dataset(tmp_path / "data.npz")
    arguments = ("--device", "cpu", "--data", "data.npz", "-e", "1", "--no-plots", "--quiet")
    done = run_command("train", *arguments, cwd=tmp_path, COLUMNS="20")
    assert done.stdout.splitlines()[0].startswith("network     64-")
    assert done.stdout.splitlines()[0].endswith("seed 0)")
    done = run_command("train", *arguments, "--json", cwd=tmp_path, COLUMNS="20")
    assert json.loads(done.stdout)["epochs"] == 1
