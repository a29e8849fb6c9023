"""Every command and every block of Python in README.md and docs/ is run, as far as a test can."""

import contextlib
import functools
import importlib.util
import io
import itertools
import os
import re
import sys
import tomllib

import pytest

from lagvis.cli.startup import COMMANDS
from lagvis.data import datasets
from lagvis.training.recipe import Recipe
from tests.docs.command_lines import check_words, command_of, options_of, redirected, run_words
from tests.docs.pages import (
    LANGUAGES,
    NOT_RUN,
    PAGES,
    ROOT,
    assert_same_output,
    blocks_of,
    commands_in,
    is_run,
    name_of,
    sessions_in,
)
from tests.docs.playground import lay_out, make_small_mnist

RUNNABLE = ("python", "sh", "console", "toml")
WITH_EXAMPLES = [page for page in PAGES if any(block.language in RUNNABLE for block in blocks_of(page))]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Return the folder of the files that the pages name; each is made once."""
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="module")
def mnist(tmp_path_factory):
    """Return a context manager in which the data set mnist is a small one: `mnist(small=True)`."""
    folder = make_small_mnist(tmp_path_factory.mktemp("mnist") / "small")

    @contextlib.contextmanager
    def replaced(*, small):
        with pytest.MonkeyPatch.context() as patch:
            if small:
                patch.setitem(datasets.SHIPPED, "mnist", folder)
            yield

    replaced.folder = folder
    return replaced


def installed_command(store, mnist):
    """Return a folder with the command `lagvis`, as an installation makes it, for which MNIST is the small one."""
    script = store / "bin" / "lagvis"
    if not script.exists():
        script.parent.mkdir()
        lines = [
            f"#!{sys.executable}",
            "import sys",
            "from pathlib import Path",
            f"sys.path.insert(0, {str(ROOT)!r})",
            "from lagvis.data import datasets",
            f"datasets.SHIPPED['mnist'] = Path({str(mnist.folder)!r})",
            "from lagvis.cli.startup import main",
            "main()",
        ]
        script.write_text("\n".join(lines))
        script.chmod(0o755)
    return script.parent


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.parametrize("page", WITH_EXAMPLES, ids=name_of)
def test_page_examples_run(page, store, mnist, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PATH", f"{installed_command(store, mnist)}{os.pathsep}{os.environ['PATH']}")
    blocks = blocks_of(page)
    lay_out(tmp_path, "\n".join(block.text for block in blocks if may_run(block)), store)
    namespace = {"__name__": "__main__"}
    printed = ""
    for block in blocks:
        place = f"{name_of(page)}:{block.line}"
        if not may_run(block):
            printed = None  # of this block, which the next may show
            continue
        if block.language == "python":
            printed = run_python(block, place, namespace)
        elif block.language == "text" and block.follows_python and printed is not None:
            assert_same_output(printed, block.text)
        elif block.language == "sh":
            for line in filter(lambda line: is_run(block, line), block.text.splitlines()):
                for words in commands_in(line):
                    run_in_short(words, place, mnist)
        elif block.language == "console":
            for line, expected in sessions_in(block.text):
                code, output = run_words(with_no_plots(commands_in(line)[0]))
                assert (code != 0) == ("error: " in expected), f"{place}: {line}: exit code {code}\n{output}"
                assert_same_output(output, expected, varying_numbers(block))
        elif block.language == "toml":
            Recipe(**tomllib.loads(block.text))


def may_run(block):
    """Tell whether the package that a block needs is installed."""
    kind, _, value = block.mark.partition(": ")
    return kind != "needs" or importlib.util.find_spec(value) is not None


def varying_numbers(block):
    kind, _, value = block.mark.partition(": ")
    return value.split(", ") if kind == "varies" else ()


def run_python(block, place, namespace):
    printed = io.StringIO()
    with redirected(printed):
        exec(compile("\n" * block.line + block.text, place, "exec"), namespace)
    return printed.getvalue()


def run_in_short(words, place, mnist):
    """Run a command without plots, a training with few digits; where a device is missing, it says so."""
    found = command_of(words)
    with mnist(small=found is not None and found[0] in ("train", "compare")):
        code, output = run_words(with_no_plots(words))
    assert code == 0 or (code == 4 and names_missing_device(words)), f"{place}: {words}: exit code {code}\n{output}"


def with_no_plots(words):
    """Return a training without the plots, which take most of its time and which other tests draw."""
    found = command_of(words)
    return [*words, "--no-plots"] if found and found[0] == "train" else words


def names_missing_device(words):
    named = dict(itertools.pairwise(words))
    backend = named.get("--backend", "numpy")
    return named.get("--device", "cpu") not in ("cpu", "auto") or importlib.util.find_spec(backend) is None


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_page_blocks_have_a_language_and_sessions_are_console(page):
    for block in blocks_of(page):
        assert block.language in LANGUAGES, f"line {block.line}: ```{block.language}"
        if block.language == "text":
            assert not re.search(r"^(\$|>>>) ", block.text, re.MULTILINE), f"line {block.line}: a session is ```console"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_page_lines_that_are_not_run_have_a_reason_and_parse(page):
    for block in blocks_of(page):
        kind, _, reason = block.mark.partition(": ")
        if kind != "not run":
            continue
        assert reason in NOT_RUN, f"line {block.line}: {reason}"
        lines = [line for line in block.text.splitlines() if not is_run(block, line)]
        assert lines, f"line {block.line}: the mark has no effect"
        for line in lines:
            for words in commands_in(line):
                check_words(words)


# A program in a text, and its part of the benchmarks: python train.py, lagvis train, python -m benchmarks records, ...
PROGRAM = re.compile(
    r"(?:python3? )?(?:(?P<command>\w+)\.py|-m (?P<module>[\w.]+(?: (?:command|parity|records|small-tables|tables))?)"
    r"|lagvis (?P<installed>\w+)|(?P<script>scripts/[\w-]+))(?![\w./-])"
)


@functools.cache
def options_by_name(name):
    """Return the options of a command of Lagvis, a module or a script by its name."""
    if name in COMMANDS:
        return options_of(["lagvis", name])
    return options_of([name] if name.startswith("scripts/") else ["python", "-m", *name.split()])


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_page_text_names_options_that_exist(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    of_page, unnamed = set().union(*map(options_by_name, COMMANDS)), []
    for code in re.findall(r"`([^`]+)`", text):
        named = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", code))
        program = PROGRAM.match(code)
        name = next(filter(None, program.groups())) if program else ""
        known = options_by_name(name) if name in COMMANDS or re.match("scripts/|benchmarks|fuzzing", name) else set()
        of_page |= known
        if known:
            assert named <= known, f"`{code}`: {sorted(named - known)}"
        elif code.startswith("-"):
            unnamed.append((code, named))
    for code, named in unnamed:
        assert named <= of_page, f"`{code}`: no program of this page has {sorted(named - of_page)}"
