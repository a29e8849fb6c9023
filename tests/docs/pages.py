"""The code blocks of README.md and docs/, and what they are held to.

The language of a block says how it is run: ```python in one namespace a page, ```sh line by line, ```console (lines
after `$ `) with its output compared; a ```text block right after a ```python block is what that prints. ```toml is a
recipe, ```diff a change of this repository. An HTML comment in the line before the fence makes an exception:

<!-- not run: REASON -->   REASON is a key of NOT_RUN; the lines that match it are only parsed, the others are run
<!-- needs: PACKAGE -->    run where the package is installed
<!-- varies: 0.97, 2.1 --> these numbers of the output are times
"""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md")])
LANGUAGES = ("python", "sh", "console", "text", "toml", "diff", "math")

# Why lines are not run, and the lines that are meant.
NOT_RUN = {
    "installs packages": r"pip install |python3 -m venv |uv |\. \.venv/bin/activate",
    "takes minutes": r"python -m (benchmarks|fuzzing)\b|scripts/|python3 scripts/",
    "needs a network": r"scripts/gpu-wheels|git clone ",
}


@dataclass
class Block:
    """A fenced block: its language, its text, the exception in the comment before it, and its line in the page."""

    language: str
    text: str
    mark: str
    line: int
    follows_python: bool  # right after a block of Python, with nothing but blank lines between them


def name_of(page):
    return page.relative_to(ROOT).as_posix()


def blocks_of(page):
    """Return the blocks of a page in their order."""
    blocks, before, last_python = [], "", False
    lines = iter(enumerate(page.read_text(encoding="utf-8").splitlines(), start=1))
    for number, line in lines:
        fence = re.match(r"\s*(`{3,})(\S*)\s*$", line)
        if not fence:
            if line.strip():
                before, last_python = line.strip(), False
            continue
        body = []
        for _, inner in lines:
            if inner.strip() == fence[1]:
                break
            body.append(inner)
        mark = re.fullmatch(r"<!-- ((?:not run|needs|varies): .+) -->", before)
        text = "".join(f"{row}\n" for row in body)
        blocks.append(Block(fence[2], text, mark[1] if mark else "", number, last_python))
        before, last_python = "", fence[2] == "python"
    return blocks


def commands_in(line):
    """Return the commands of a line of shell as lists of words, without the folder of the virtual environment."""
    words = shlex.split(line, comments=True)
    commands = [[]]
    for word in words:
        if word == "&&":
            commands.append([])
        else:
            commands[-1].append(word)
    return [[words[0].removeprefix(".venv/bin/"), *words[1:]] for words in commands if words]


def is_run(block, line):
    """Tell whether a line of a block is run, and not only parsed."""
    kind, _, reason = block.mark.partition(": ")
    return kind != "not run" or not re.search(NOT_RUN[reason], line)


def sessions_in(text):
    """Return (command line, expected output) of each `$ ` line of a console block."""
    sessions = []
    for line in text.splitlines():
        if line.startswith("$ "):
            sessions.append((line[2:], []))
        else:
            assert sessions, f"output before the first command: {line!r}"
            sessions[-1][1].append(line)
    return [(command, "\n".join(output)) for command, output in sessions]


NUMBER = r"\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?"
PIECE = re.compile(rf"\(\.\.\.\)|/home/you\S*|(?<![\w.]){NUMBER}(?![\w]|\.\d)|[^\W\d]+|\d+|\S")
FREE_UNITS = ("s", "ms", "MB", "GB")


def assert_same_output(found, expected, varying=()):
    """Compare what a command printed with what a page shows.

    A line `...` stands for any number of lines, `(...)` for anything in brackets; white space does not count. Whole
    numbers are equal. Measured numbers may differ as they do between processors: those with decimals by a tenth (in the
    notation 1.5e-10 by a factor of 100), percentages by half a point and a fifth of their distance from 0 or 100. Times
    and sizes of memory are free, and so are the numbers in `varying` and paths that begin with /home/you. A line that
    says why no GPU is used depends on the machine.
    """
    pattern, numbers = r"\s*", []
    for line in expected.splitlines():
        if line.strip() == "...":
            pattern += r"[\s\S]*?"
            continue
        for piece in PIECE.finditer(line):
            if piece[0] == "(...)":
                pattern += r"\(.*\)\s*"
            elif piece[0].startswith("/home/you"):
                pattern += r"\S+\s*"
            elif re.fullmatch(NUMBER, piece[0]):
                unit = re.match(r"\s*([%A-Za-z]+)", line[piece.end() :])
                numbers.append((piece[0], unit[1] if unit else ""))
                pattern += rf"({NUMBER})\s*"
            else:
                pattern += re.escape(piece[0]) + r"\s*"
    match = re.fullmatch(pattern, re.sub(r"^No GPU is used: .*\n", "", found, flags=re.MULTILINE))
    assert match, f"the page shows\n{expected}\n\nbut the output is\n{found}"
    for value, (shown, unit) in zip(match.groups(), numbers, strict=True):
        assert shown in varying or numbers_agree(value, shown, unit), (
            f"the page shows {shown} {unit}, printed was {value}; output:\n{found}"
        )


def numbers_agree(value, shown, unit):
    """Compare a printed number with the one that a page shows, by the rules of `assert_same_output`."""
    a, b = (float(number.replace(",", "")) for number in (value, shown))
    if unit in FREE_UNITS:
        return True
    if unit == "%":
        return abs(a - b) <= 0.5 + 0.2 * max(0.0, min(b, 100 - b))
    if "e" in shown:
        return a == b or 0.01 < a / b < 100
    if "." in shown:
        return abs(a - b) <= 0.1 * abs(b) + 0.0002
    return a == b
