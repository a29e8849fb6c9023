"""The tests that a GPU decides: their ids, their selection, and what the stage makes of their outcomes."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from gpu_check.processes import Finished
from gpu_check.record import StageResult
from gpu_check.selection import CANDIDATE, select
from gpu_check.stage import Context
from gpu_check.suite import MIN_TESTS, PYTEST, TEST_IDS, VARIABLES, check_tests, ids_of, process_counts
from tests.cli import commands
from tests.conftest import OPENERS, REQUIRED

ROOT = Path(__file__).resolve().parent.parent.parent
GPU_IDS = [on_gpu for on_gpu, _ in TEST_IDS.values()]


def test_test_ids_are_the_ids_of_conftest_and_names_of_lagvis_require():
    assert set(GPU_IDS) == {"cupy", *(name for name in OPENERS if name.endswith("-cuda"))}
    for test_id in [test_id for ids in TEST_IDS.values() for test_id in ids]:
        assert OPENERS[test_id][0] == test_id


@pytest.mark.parametrize(
    ("name", "device", "ids"),
    [
        ("cupy", "cuda", ("cupy", None)),
        ("torch", "cuda", ("torch-cuda", None)),
        ("numpy", "cpu", ("numpy", "cupy")),
        ("jax", "cpu", ("jax", "jax-cuda")),
    ],
)
def test_ids_of_backend_on_the_cpu_stand_for_those_of_a_gpu(name, device, ids):
    assert ids_of(name, device) == ids


@pytest.mark.parametrize(
    ("cores", "counts"),
    [(1, [1, 1, 1]), (2, [1, 1, 2]), (4, [1, 1, 4]), (16, [2, 2, 10])],
)
def test_process_counts_share_the_cores(cores, counts):
    assert list(process_counts(["cupy", "torch", "jax"], cores).values()) == counts


def item(nodeid, *gpu_ids, **params):
    markers = [pytest.mark.gpu(gpu_id).mark for gpu_id in gpu_ids]
    return SimpleNamespace(
        nodeid=nodeid,
        callspec=SimpleNamespace(params=params),
        iter_markers=lambda name: markers if name == "gpu" else [],
    )


ITEMS = [
    item("a.py::first[cupy-1]", "cupy", backend="cupy", n=1),
    item("a.py::first[torch-1]", backend="torch", n=1),
    item("a.py::first[torch-cuda-1]", "torch-cuda", backend="torch-cuda", n=1),
    item("a.py::second[torch]", name="torch"),
    item("a.py::third[torch-cuda]", "torch-cuda", backend_of="torch-cuda"),
    item("a.py::stand_in[cupy]", backend="cupy"),
    item("a.py::only_on_cupy", "cupy"),
]


@pytest.mark.parametrize(
    ("backend_id", "twin_of", "kept"),
    [
        ("cupy", None, [0, 6]),
        ("torch-cuda", None, [2, 4]),
        ("torch", "torch-cuda", [1]),
        ("jax-cuda", None, []),
    ],
)
def test_select_keeps_tests_marked_for_the_gpu_or_their_twins(backend_id, twin_of, kept):
    assert select(ITEMS, backend_id, twin_of, "1/1") == [ITEMS[i] for i in kept]


def test_select_parts_are_disjoint_and_complete():
    items = [item(f"a.py::test[cupy-{i}]", "cupy", i=i) for i in range(10)]
    parts = [select(items, "cupy", None, f"{i}/3") for i in (1, 2, 3)]
    assert [len(part) for part in parts] == [4, 3, 3]
    assert sorted(test.callspec.params["i"] for part in parts for test in part) == list(range(10))


def test_select_takes_one_test_of_every_function_before_the_second_of_any():
    """JAX compiles each test anew on a GPU: a process that is cut must not lose whole functions."""
    ids = [f"a.py::{name}[cupy-{i}]" for name, count in (("many", 5), ("one", 1), ("two", 2)) for i in range(count)]
    items = [item(found, "cupy") for found in ids]
    order = [test.nodeid.removeprefix("a.py::") for test in select(items, "cupy", None, "1/1")]
    assert order[:5] == ["many[cupy-0]", "one[cupy-0]", "two[cupy-0]", "many[cupy-1]", "two[cupy-1]"]
    assert order[5:] == ["many[cupy-2]", "many[cupy-3]", "many[cupy-4]"]
    parts = [select(items, "cupy", None, f"{i}/2") for i in (1, 2)]
    assert {test.nodeid.partition("[")[0] for part in parts for test in part[:2]} == {
        "a.py::many", "a.py::one", "a.py::two",
    }  # fmt: skip


# A plugin that writes the ids of the tests that `select` keeps for each backend, of all tests that are collected.
LIST_SELECTED = """
import json, os
import pytest
from gpu_check.selection import select

@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    ids = os.environ["GPU_IDS"].split()
    kept = {gpu_id: [item.nodeid for item in select(items, gpu_id, None, "1/1")] for gpu_id in ids}
    with open(os.environ["SELECTED"], "w") as file:
        json.dump(kept, file)
"""


@pytest.fixture(scope="module")
def selected(tmp_path_factory):
    """Return the ids of the tests of every GPU backend, selected from all tests in one process."""
    folder = tmp_path_factory.mktemp("selected")
    (folder / "list_selected.py").write_text(LIST_SELECTED)
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "-p", "list_selected"]
    variables = {"GPU_IDS": " ".join(GPU_IDS), "SELECTED": str(folder / "ids")}
    done = subprocess.run(
        [*command, "tests"], check=False, cwd=ROOT, capture_output=True, text=True, timeout=120,
        env=commands.environment(PYTHONPATH=str(folder), **variables),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return json.loads((folder / "ids").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("gpu_id", GPU_IDS)
def test_tests_of_every_gpu_backend_are_selected(selected, gpu_id):
    """Renaming an id of a fixture must not empty the stage; a test on stand-ins is none that a GPU decides."""
    assert len(selected[gpu_id]) >= MIN_TESTS
    files = {test.partition("::")[0] for test in selected[gpu_id]}
    assert {
        f"tests/{name}" for name in ("backends/test_contract.py", "inference/test_comparison.py", "network/test_mlp.py")
    } <= files
    assert not [name for name in files if name.startswith("tests/gpu_check")]


@pytest.mark.slow
def test_plugin_leaves_out_no_file_with_tests_of_a_gpu(selected):
    files = {test.partition("::")[0] for tests in selected.values() for test in tests}
    assert len(files) > 5
    assert [name for name in files if CANDIDATE.search((ROOT / name).read_text(encoding="utf-8")) is None] == []


@pytest.mark.slow
def test_plugin_writes_a_line_for_every_test_and_a_missing_backend_fails(tmp_path):
    if "cupy" in REQUIRED:
        pytest.skip("a GPU is there")
    results = tmp_path / "results"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "gpu_check.selection"]
    chosen = ["--backend-id", "cupy", "--results", str(results), "tests/network/test_step.py"]
    done = subprocess.run(
        [*command, *chosen], check=False, cwd=ROOT, capture_output=True, text=True, timeout=120,
        env=os.environ | {"LAGVIS_REQUIRE": "cupy", "CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    first, *lines = [json.loads(line) for line in results.read_text().splitlines()]
    assert done.returncode == 1
    assert first["selected"] == len(lines) > 5
    assert first["functions"] == sorted({line["test"].partition("[")[0] for line in lines})
    assert {line["outcome"] for line in lines} == {"failed"}
    assert "LAGVIS_REQUIRE names cupy" in lines[0]["reason"]


class FakeRunner:
    """Writes the results that a process of pytest would write."""

    def __init__(self, lines, exit_code=0, cut=False):
        self.lines, self.exit_code, self.cut = lines, exit_code, cut
        self.commands = []

    def python(self, *arguments, deadline, **environment):
        self.commands.append((arguments, environment))
        path = Path(arguments[arguments.index("--results") + 1])
        path.write_text("".join(json.dumps(line) + "\n" for line in self.lines))
        return Finished("pytest", self.exit_code, 1.0, self.cut, "", "the end")

    def together(self, jobs):
        return [job() for job in jobs]


def selection_of(count):
    """Return the first line of the results: tests of two functions."""
    return {"selected": count, "functions": ["first", "second"]}


def outcomes(count, outcome="passed"):
    tests = [f"{('first', 'second')[i % 2]}[{i}]" for i in range(count)]
    return [{"test": test, "outcome": outcome, "seconds": 0.1, "reason": "of it"} for test in tests]


def run_stage(tmp_path, runner):
    result = StageResult("tests")
    context = Context("cuda", ["cupy", "torch"], runner, tmp_path, tmp_path, 2)
    check_tests(context, time.monotonic() + 10, result)
    return result


def test_check_tests_all_passed_counts_them_and_requires_the_backends(tmp_path):
    runner = FakeRunner([selection_of(120), *outcomes(120)])
    result = run_stage(tmp_path, runner)
    assert (result.faults, result.notes) == ([], ["cupy: 120 passed of 120", "torch-cuda: 120 passed of 120"])
    for _, environment in runner.commands:
        assert environment["LAGVIS_REQUIRE"] == "cupy,numpy,torch,torch-cuda"


def test_check_tests_failures_of_one_cause_are_one_fault(tmp_path):
    report = (
        "def test():\n>   f()\nE   AssertionError: \nE   Not equal to tolerance rtol=1e-15\n\na.py:3: AssertionError"
    )
    failed = {"outcome": "failed", "seconds": 0.1}
    lines = [failed | {"test": "other", "reason": "E   KeyError: 'x'"}]
    lines += [failed | {"test": f"same-{i}", "reason": report} for i in range(30)]
    result = run_stage(tmp_path, FakeRunner([selection_of(120), *lines, *outcomes(89)], 1))
    assert [fault for fault in result.faults if fault.startswith("cupy")] == [
        "cupy: 30 failed with AssertionError: Not equal to tolerance rtol=1e-15, the first is same-0",
        "cupy: 1 failed with KeyError: 'x', the first is other",
    ]


def test_check_tests_warnings_are_counted_and_are_no_faults(tmp_path):
    runner = FakeRunner([selection_of(120), {"warning": "UserWarning: of a library"}, *outcomes(120)])
    result = run_stage(tmp_path, runner)
    assert result.faults == []
    assert result.notes[0] == "cupy: 120 passed of 120, 1 warnings"
    assert result.measured["cupy"]["warnings"] == {"UserWarning: of a library": 1}


@pytest.mark.slow
def test_pytest_of_the_stage_records_a_warning_and_loads_no_other_plugin(tmp_path):
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\nmarkers = gpu\n")
    (tmp_path / "test_it.py").write_text(
        "import warnings\nimport pytest\n\n"
        "@pytest.mark.gpu('cupy')\ndef test_it(pytestconfig):\n"
        "    warnings.warn('of a library', DeprecationWarning)\n"
        "    assert not pytestconfig.pluginmanager.hasplugin('xdist')\n"
    )
    results = tmp_path / "results"
    chosen = ("--backend-id", "cupy", "--results", results, "-c", tmp_path / "pytest.ini", tmp_path)
    done = subprocess.run(
        [sys.executable, *PYTEST, *chosen], check=False, cwd=ROOT, capture_output=True, text=True, timeout=120,
        env=os.environ | VARIABLES,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    assert {"warning": "DeprecationWarning: of a library"} in lines
    assert lines[0]["selected"] == 1


@pytest.mark.parametrize(
    ("runner", "fault"),
    [
        (
            FakeRunner([selection_of(120), *outcomes(119), *outcomes(1, "failed")], 1),
            "1 failed with of it, the first is first[0]",
        ),
        (FakeRunner([selection_of(MIN_TESTS - 1), *outcomes(MIN_TESTS - 1)]), "tests have this id"),
        (
            FakeRunner([selection_of(120), *outcomes(100)], -15, cut=True),
            "20 of 120 tests did not end; functions of which none did: 0 of 2",
        ),
        (
            FakeRunner([selection_of(120), *outcomes(1)], -15, cut=True),
            "119 of 120 tests did not end; functions of which none did: 1 of 2, the first is second",
        ),
        (FakeRunner([selection_of(120), *outcomes(120)], 3), "exit code 3: the end"),
        (FakeRunner([], 4), "0 tests have this id"),
    ],
)
def test_check_tests_anything_else_is_a_fault(tmp_path, runner, fault):
    assert any(fault in found for found in run_stage(tmp_path, runner).faults)
