"""Signal handlers that conftest.py resets, and the collection of the tests without extras."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.commands import environment
from tests.conftest import USUAL_HANDLERS, reset_ignored_signals

ROOT = Path(__file__).resolve().parent.parent
PLUGINS = ("timeout", "randomly", "xdist", "xdist.looponfail")
EXTRAS = (
    "array_api_strict",
    "pytest_timeout",
    "pytest_randomly",
    "selenium",
    "onnx",
    "onnxruntime",
    "keras",
    "atheris",
    "polars",
    "pandas",
    "pyarrow",
    "fastexcel",
    "xlsxwriter",
)
HIDE = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in {EXTRAS}:
            raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)
sys.meta_path.insert(0, Absent())
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


@pytest.mark.slow
def test_collection_without_extras_and_plugins_finds_every_test(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(HIDE)
    plugins = [word for name in PLUGINS for word in ("-p", f"no:{name}")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *plugins, "tests"],
        check=False, cwd=ROOT, capture_output=True, text=True, timeout=120,
        env=environment(PYTHONPATH=str(tmp_path), LAGVIS_REQUIRE=""),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    assert "tests collected" in done.stdout.splitlines()[-1]
