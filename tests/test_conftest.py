"""Signal handlers that conftest.py resets, and the tests where extras are not installed."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.commands import environment
from tests.conftest import USUAL_HANDLERS, reset_ignored_signals

ROOT = Path(__file__).resolve().parent.parent
PLUGINS = ("timeout", "randomly", "xdist", "xdist.looponfail")
NOT_IN_TEST_EXTRA = ("torch", "jax", "jaxlib", "cupy", "keras", "atheris")
EXTRAS = (
    *NOT_IN_TEST_EXTRA,
    "array_api_strict",
    "pytest_timeout",
    "pytest_randomly",
    "selenium",
    "onnx",
    "onnxruntime",
    "polars",
    "pandas",
    "pyarrow",
    "fastexcel",
    "xlsxwriter",
)
# sitecustomize.py of a process, and of all that it starts, in which packages are not installed.
HIDE = """
import sys
class Hiding:
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        return None if name.partition('.')[0] in {packages} else self.finder.find_spec(name, path, target)
sys.meta_path[:] = map(Hiding, sys.meta_path)
"""
# A plugin that keeps the tests that may open PyTorch or JAX: its name is in their parameters; or in the text of their
# function, of which one test is kept.
KEEP = """
import inspect, re
from tests.conftest import OPENERS
NAME = re.compile(r"\\b(torch|jax)\\b(?!-cuda)")

def pytest_collection_modifyitems(config, items):
    kept, functions = [], set()
    for item in items:
        params = item.callspec.params if hasattr(item, "callspec") else {}
        if NAME.search(str(params)):
            kept.append(item)
        elif item.function not in functions and not {*OPENERS} & {*map(str, params.values())}:
            functions.add(item.function)
            if NAME.search(inspect.getsource(item.function)):
                kept.append(item)
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept
"""


def other_handler(number, frame):
    pass


@pytest.fixture
def handlers():
    """Restore the handlers of the signals after the test."""
    before = {number: signal.getsignal(number) for number in USUAL_HANDLERS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("number", "usual"), USUAL_HANDLERS.items())
@pytest.mark.usefixtures("handlers")
def test_reset_ignored_signals_ignored_signal_gets_its_usual_handler(number, usual):
    signal.signal(number, signal.SIG_IGN)
    reset_ignored_signals()
    assert signal.getsignal(number) is usual


@pytest.mark.parametrize("number", USUAL_HANDLERS)
@pytest.mark.usefixtures("handlers")
def test_reset_ignored_signals_other_handler_stays(number):
    signal.signal(number, other_handler)
    reset_ignored_signals()
    assert signal.getsignal(number) is other_handler


def run_pytest(folder, hidden, *arguments):
    """Run pytest in a process in which packages are not installed; a folder holds what hides them."""
    (folder / "sitecustomize.py").write_text(HIDE.format(packages=hidden))
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        check=False, cwd=ROOT, capture_output=True, text=True, timeout=200,
        env=environment(PYTHONPATH=str(folder), LAGVIS_REQUIRE=""),
    )  # fmt: skip


@pytest.mark.slow
def test_collection_without_extras_and_plugins_finds_every_test(tmp_path):
    plugins = [word for name in PLUGINS for word in ("-p", f"no:{name}")]
    done = run_pytest(tmp_path, EXTRAS, "--collect-only", *plugins, "tests")
    assert done.returncode == 0, done.stdout[-3000:]
    assert "tests collected" in done.stdout.splitlines()[-1]


@pytest.mark.slow
def test_tests_of_torch_and_jax_are_skipped_or_pass_without_them(tmp_path):
    """A test that names a backend and does not skip where that is missing fails on the machine of a user."""
    (tmp_path / "keep.py").write_text(KEEP)
    others = sorted({*(ROOT / "tests").rglob("test_*.py")} - {Path(__file__)})
    texts = {path: path.read_text(encoding="utf-8") for path in others}
    # a file whose tests start pytest would take too long
    files = [path for path, text in texts.items() if re.search("torch|jax", text) and '"pytest", ' not in text]
    done = run_pytest(tmp_path, NOT_IN_TEST_EXTRA, "-p", "keep", *map(str, files))
    assert done.returncode == 0, done.stdout[-3000:]
    assert re.search(r"[1-9]\d+ passed, [1-9]\d+ skipped", done.stdout.splitlines()[-1])
