"""Plugin of pytest that keeps the tests which a GPU decides: those with the marker `gpu` and the id of one backend.

    python -m pytest -p gpu_check.selection --backend-id cupy --part 1/4 --results FILE

tests/conftest.py marks the parameters of its fixtures: `cupy` has the marker gpu("cupy"). `--backend-id torch --twin-of
torch-cuda` keeps the tests with the parameter torch whose function also has the marker gpu("torch-cuda"): the same
tests on a machine without a GPU. `--part 2/4` keeps every fourth of them, from the second. `--results` gets one line of
JSON after every test and for every warning, so that a process that is ended loses only the test that it was running.
"""

import json
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

MAX_REPORT_CHARACTERS = 2000
# What the text of a file with such tests contains: a function that takes one of the fixtures, or their parameters. To
# import the other files would take most of the time of the first tests.
CANDIDATE = re.compile(r"\bdef \w+\([^)]*\bbackend(_of)?\b|\b(GPU_)?PARAMS\b|\bmark\.gpu\b")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the plugin."""
    group = parser.getgroup("gpu_check")
    group.addoption("--backend-id", required=True, help="keep the tests of this id")
    group.addoption("--twin-of", help="the id of a GPU backend, in whose place the id stands (default: none)")
    group.addoption("--part", default="1/1", help="i/n: every n-th of the kept tests, from the i-th (default: 1/1)")
    group.addoption("--results", required=True, type=Path, help="file that gets one line of JSON a test")


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out the files without tests that a GPU decides."""
    if collection_path.name.startswith("test_") and collection_path.suffix == ".py":
        return True if CANDIDATE.search(collection_path.read_text(encoding="utf-8")) is None else None
    return None


def is_marked(item: pytest.Item, gpu_id: str) -> bool:
    """Return whether a test is one that the backend of this id decides."""
    return any(gpu_id in marker.args for marker in item.iter_markers("gpu"))


def has_parameter(item: pytest.Item, value: str) -> bool:
    """Return whether a test is parametrized with this value."""
    call = getattr(item, "callspec", None)
    return call is not None and any(isinstance(found, str) and found == value for found in call.params.values())


def function_of(item: pytest.Item) -> str:
    """Return the node id of the test function, without its parameters."""
    return item.nodeid.partition("[")[0]


def in_rounds(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """Return the tests in another order: the first of every function, then the second of every function, and so on.

    A process that is ended then loses further parameters of functions that it has run, rather than functions.
    """
    counts: Counter[str] = Counter()
    rounds = []
    for item in items:
        rounds.append(counts[function_of(item)])
        counts[function_of(item)] += 1
    return [item for _, item in sorted(zip(rounds, items, strict=True), key=lambda pair: pair[0])]


def select(items: Sequence[pytest.Item], backend_id: str, twin_of: str | None, part: str) -> list[pytest.Item]:
    """Return the tests of one part, in the order of `in_rounds`."""
    if twin_of is None:
        kept = [item for item in items if is_marked(item, backend_id)]
    else:
        functions = {function_of(item) for item in items if is_marked(item, twin_of)}
        kept = [item for item in items if has_parameter(item, backend_id) and function_of(item) in functions]
    index, count = (int(number) for number in part.split("/"))
    return in_rounds(kept)[index - 1 :: count]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the selected tests; write their number and functions as the first line of the results."""
    kept = select(items, *(config.getoption(name) for name in ("backend_id", "twin_of", "part")))
    chosen = set(kept)
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = kept
    with config.getoption("results").open("w", encoding="utf-8") as file:
        functions = sorted({function_of(item) for item in kept})
        file.write(json.dumps({"selected": len(kept), "functions": functions}) + "\n")


class Results:
    """Writes the outcome of every test, and every warning."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write a line for the call of a test, and for a setup or teardown that did not pass."""
        if report.when == "call" or report.outcome != "passed":
            line = {"test": report.nodeid, "outcome": report.outcome, "seconds": round(report.duration, 3)}
            if report.outcome != "passed":
                line["reason"] = report.longreprtext[-MAX_REPORT_CHARACTERS:]
            self.write(line)

    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage, when: str) -> None:
        """Write a line for a warning during a test; those of the collection come before the number of tests."""
        if when == "runtest":
            text = f"{warning_message.category.__name__}: {warning_message.message}"
            self.write({"warning": text[:MAX_REPORT_CHARACTERS]})

    def write(self, line: dict[str, object]) -> None:
        """Append a line of JSON."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def pytest_configure(config: pytest.Config) -> None:
    """Register the writer of the results."""
    config.pluginmanager.register(Results(config.getoption("results")))
