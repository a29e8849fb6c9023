"""python -m benchmarks.cuda_costs without a GPU: on a fake CuPy, against CuPy's signatures, with fake processes."""

import ctypes
import inspect
import json
import os
import subprocess
import sys
import threading
import time
import types
from contextlib import nullcontext
from dataclasses import replace
from multiprocessing import Pipe
from pathlib import Path

import array_api_compat.numpy as numpy_namespace
import numpy as np
import pytest

from benchmarks import cuda_costs
from benchmarks.cuda import calls, cublas, device, graphs, products, steps
from benchmarks.measure import HangError, NoAnswerError
from lagvis.backends.cupy_backend import CupyBackend
from lagvis.data.datasets import load_dataset
from tests.benchmarks.fake_cupy import FakeArray, FakeCublasLt, FakeCupy
from tests.conftest import skip_or_fail

ROOT = Path(__file__).resolve().parent.parent.parent
KERNELS = [
    {"name": "gemm", "cat": "kernel", "ts": 0.0, "dur": 3.0},
    {"name": "add", "cat": "kernel", "ts": 4.0, "dur": 1.0},
    {"name": "gemm", "cat": "kernel", "ts": 10.0, "dur": 2.0},
]


@pytest.fixture(scope="module")
def digits():
    """The first 2,000 rows of MNIST."""
    mnist = load_dataset("mnist")
    return replace(mnist, x_train=mnist.x_train[:2000], y_train=mnist.y_train[:2000])


@pytest.fixture
def fake(monkeypatch, digits):
    """A device on a fake CuPy, with small sizes; `fake.cupy.heard` notes the calls."""
    for module, name, value in (
        (steps, "STEPS", 3), (steps, "CAPTURED_STEPS", 2), (steps, "PROFILED_STEPS", 2),
        (products, "networks_of", lambda device: ["784-32-32-10, batch 200"]), (products, "CALLS", 2),
        (calls, "CALLS", 2), (calls, "CALLS_IN_GRAPH", 2), (calls, "COPIED_BYTES", 2**12), (calls, "WIDTH", 16),
        (graphs, "LARGE_GRAPHS", (3, 5)), (graphs, "TINY_KERNELS", 10), (graphs, "FILLED_ARRAYS", 5),
        (steps, "trace_kernels", lambda function: (function(), KERNELS)[1]),
        (steps, "load_dataset", lambda name: digits), (device, "ROUNDS", 1), (steps, "ROUNDS", 1),
        (steps, "select", lambda *names: CupyBackend(cupy, numpy_namespace, 0, "float32", True)),
        (device, "WARM_UP_CALLS", 1), (products, "ROUNDS", 1),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)
    cupy = FakeCupy()
    libraries = {"cublas": FakeCublasLt(), "cublasLt": FakeCublasLt()}
    monkeypatch.setattr(cublas, "load_library", libraries.__getitem__)
    libs = types.ModuleType("cupy_backends.cuda.libs")
    libs.cublas = types.ModuleType("cublas")
    libs.cublas.gemmEx = original = object()
    for name in ("cupy_backends", "cupy_backends.cuda"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "cupy_backends.cuda.libs", libs)
    contraction = lambda alpha, a, ab, b, bc, beta, out, ac: np.matmul(a, b, out=out)  # noqa: E731
    cutensor = types.ModuleType("cupyx")
    cutensor.cutensor = types.SimpleNamespace(contraction=contraction)
    monkeypatch.setitem(sys.modules, "cupyx", cutensor)
    FakeArray.attributes.clear()
    yield device.Device(cupy, CupyBackend(cupy, numpy_namespace, 0, "float32", True))
    assert libs.cublas.gemmEx is original
    assert FakeArray.tape is None


def run(fake, name):
    """Run a measurement as a worker does."""
    with fake.on_stream():
        return cuda_costs.MEASUREMENTS[name][0](fake)


@pytest.mark.parametrize("name", cuda_costs.MEASUREMENTS)
def test_measurement_on_a_fake_device_returns_a_result_for_json_and_table(fake, name):
    result = run(fake, name)
    assert result
    assert json.loads(json.dumps(result)) == result
    assert cuda_costs.result_table(name, result).startswith(f"| {name} |")
    assert "failed" not in json.dumps(result)


def test_measure_cublaslt_products_multiplies_row_major_operands_and_views(fake):
    result = run(fake, "products, cublasLt")
    assert len(result) == 8 + 3  # the forward products also with bias and ReLU
    assert all(row["error"] < 1e-6 for row in result.values())


@pytest.mark.parametrize("name", ["products, cupy", "products, cuTENSOR"])
def test_measure_products_in_float32_have_a_small_error(fake, name):
    assert all(0 < row["error"] < 1e-6 for row in run(fake, name).values())


def test_measure_cutensor_products_without_cutensor_says_so(fake, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupyx", types.ModuleType("cupyx"))
    assert run(fake, "products, cuTENSOR") == {"not installed": True}


@pytest.mark.parametrize("name", ["step, captured", "recorded step, captured"])
def test_captured_steps_replay_has_the_bits_of_the_plain_loop(fake, name):
    result = run(fake, name)
    assert len(result) == 4
    assert all(row["equal"] and row["largest difference"] == 0 for row in result.values())


def test_capture_tests_find_replays_correct(fake):
    assert run(fake, "capture test")["equal to NumPy"]
    assert run(fake, "pool test")["correct"]
    assert all(row["correct"] for row in run(fake, "tiny kernels in a graph").values())


def test_capture_function_that_fails_ends_the_capture(fake):
    with fake.on_stream(), pytest.raises(ZeroDivisionError):
        device.capture(fake.cupy, lambda: 1 / 0)
    assert FakeArray.tape is None


def test_measure_calls_one_that_fails_keeps_the_others(fake, monkeypatch):
    def fails(cp):
        return {"good": lambda: None, "bad": lambda: 1 / 0, "also good": lambda: None}

    monkeypatch.setattr(calls, "calls_of", fails)
    result = run(fake, "calls")
    assert result["bad"] == {"failed": "division by zero"}
    assert set(result["also good"]) == {"host", "device", "graph"}


def test_summarize_kernels_counts_per_step_and_finds_gaps():
    summary = steps.summarize_kernels(KERNELS, 2)
    assert summary["kernels a step"] == 1.5
    assert summary["busy us a step"] == 3.0
    assert summary["share between kernels"] == pytest.approx(0.5)
    assert list(summary["kernels"]) == ["gemm", "add"]
    assert summary["kernels"]["gemm"] == {"a step": 1.0, "us a step": 2.5}
    with pytest.raises(RuntimeError, match="no kernel"):
        steps.summarize_kernels([], 2)


def test_products_of_are_those_of_the_step():
    found = [str(product) for product in products.products_of("784-32-32-10, batch 200")]
    assert found == [
        "forward 200x784x32", "dW 784x200x32", "forward 200x32x32", "dW 32x200x32", "dX 200x32x32",
        "forward 200x32x10", "dW 32x200x10", "dX 200x10x32",
    ]  # fmt: skip


def parameters_in_doc(function):
    """Return the parameters in the first line of a compiled function's docstring, and whether any may follow."""
    line = (function.__doc__ or "").splitlines()[0]
    parts = line.partition("(")[2].rpartition(")")[0].split(", ")
    names = [part.partition("=")[0].split()[-1] for part in parts if part]
    return [name for name in names if not name.startswith("*") and name != "self"], any("*" in name for name in names)


@pytest.fixture
def real_cupy():
    """CuPy as installed; its signatures can be read without a device."""
    try:
        import cupy
        import cupyx  # noqa: F401  (the fixture `fake` replaces it)
    except ImportError as error:
        skip_or_fail("cupy-signatures", f"CuPy is not installed, so its signatures cannot be read: {error}")
    return cupy


def test_calls_of_the_measurements_fit_cupy_signatures(real_cupy, fake):  # in this order: `fake` hides CuPy
    cupy, heard = real_cupy, heard_calls(fake)
    paths = {path for path, _, _ in heard}
    assert {"matmul", "copyto", "cuda.Stream.begin_capture", "cuda.Graph.launch", "RawKernel"} <= paths
    for path, positional, keywords in sorted(heard):
        function = cupy
        for name in path.split("."):
            function = getattr(function, name)
        if isinstance(function, cupy.ufunc):
            assert positional == function.nin, path
            assert set(keywords) <= {"out"}, path
            continue
        method = path.startswith("cuda.") and path.count(".") == 2 and path[5].isupper()
        try:
            signature = inspect.signature(function)
        except ValueError:
            names, more = parameters_in_doc(function)
            assert positional <= len(names) or more, path
            assert set(keywords) <= set(names) or more, path
        else:
            signature.bind(*[None] * (positional + method), **dict.fromkeys(keywords))
    for name in FakeArray.attributes:
        assert hasattr(cupy.ndarray, name), name


def heard_calls(fake):
    """Return the calls of all measurements on a fake CuPy."""
    for name in cuda_costs.MEASUREMENTS:
        if name not in ("products, cuTENSOR", *cuda_costs.WITH_TORCH):
            run(fake, name)
    return fake.cupy.heard


@pytest.mark.parametrize("code", [calls.EMPTY_KERNEL, calls.INCREMENT_KERNEL])
def test_kernels_compile_for_hopper(code):
    try:
        from cupy.cuda import nvrtc

        nvrtc.getVersion()
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"there is no CUDA compiler: {error}")
    program = nvrtc.createProgram(code, "kernel.cu", (), ())
    nvrtc.compileProgram(program, ("--gpu-architecture=sm_90",))
    assert nvrtc.getCUBIN(program)


def test_cublaslt_descriptors_can_be_made_without_a_device():
    try:
        library = cublas.load_library("cublasLt")
    except (ImportError, RuntimeError, OSError) as error:
        pytest.skip(f"cuBLASLt is not installed: {error}")
    a, w, d = (np.ones(shape, np.float32) for shape in ((128, 784), (784, 64), (128, 64)))
    bias = np.ones(64, np.float32).view(FakeArray)
    for left, right, out, extra in ((a, w, d, None), (a.T, d, w, None), (d, w.T, a, None), (a, w, d, bias)):
        description, layouts, preference = cublas.describe(library, left, right, out, extra)
        assert all(pointer.value for pointer in (description, *layouts, preference))


def test_cublaslt_structures_have_the_size_of_the_header():
    # printed by a C++ program from cublasLt.h of CUDA 13.0
    assert ctypes.sizeof(cublas.Algorithm) == 64
    assert ctypes.sizeof(cublas.HeuristicResult) == 96
    assert cublas.HeuristicResult.workspaceSize.offset == 64
    assert cublas.HeuristicResult.state.offset == 72


class FakeWorkers:
    """Processes whose answers are given by a function of the measurement."""

    def __init__(self, answer, opens=None):
        self.answer, self.opens, self.ended = answer, opens, []

    def start(self, with_torch):
        pass

    def open(self, with_torch, seconds):
        if self.opens is not None:
            raise self.opens
        return self, None

    def end(self, with_torch):
        self.ended.append(with_torch)


def run_main(monkeypatch, tmp_path, workers, *flags):
    """Run the command with fake processes; return the exit code and the JSON."""
    monkeypatch.setattr(cuda_costs, "Workers", lambda: workers)
    monkeypatch.setattr(cuda_costs, "ask", lambda pipe, process, name, seconds: pipe.answer(name))
    monkeypatch.setattr("sys.argv", ["cuda_costs", "--output", str(tmp_path / "out"), *flags])
    code = cuda_costs.main()
    paths = list(tmp_path.glob("out/*.json"))
    return code, json.loads(paths[0].read_text()) if paths else None


def test_cuda_costs_failed_measurement_is_recorded_and_the_next_one_runs(monkeypatch, tmp_path, capsys):
    def answer(name):
        if name == "step":
            raise NoAnswerError("RuntimeError: broken")
        return {"x": 1.5}

    workers = FakeWorkers(answer)
    code, record = run_main(monkeypatch, tmp_path, workers)
    assert code == 1
    assert record["measurements"]["step"]["error"] == "RuntimeError: broken"
    assert [name for name, done in record["measurements"].items() if "result" in done] == list(cuda_costs.MEASUREMENTS)[
        1:
    ]
    assert workers.ended[0] is False
    assert "failed: step (RuntimeError: broken)" in capsys.readouterr().out


def test_cuda_costs_cut_keeps_what_was_measured(monkeypatch, tmp_path):
    def answer(name):
        if name == "products, cupy":
            raise KeyboardInterrupt
        return {"x": 1.5}

    with pytest.raises(KeyboardInterrupt):
        run_main(monkeypatch, tmp_path, FakeWorkers(answer))
    (path,) = tmp_path.glob("out/*.json")
    record = json.loads(path.read_text())
    names = list(cuda_costs.MEASUREMENTS)
    assert list(record["measurements"]) == names[: names.index("products, cupy")]
    assert record["not reached"] == names[names.index("products, cupy") :]


def test_cuda_costs_time_over_lists_what_was_not_reached(monkeypatch, tmp_path, capsys):
    code, record = run_main(monkeypatch, tmp_path, FakeWorkers({"step": 1}.get), "--seconds", "0.5")
    assert code == 0
    assert record is None
    assert "Not reached: step, step, kernels, capture test" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("opens", "printed"),
    [
        (NoAnswerError("no NVIDIA driver was found"), "error: no NVIDIA driver was found\n"),
        (HangError("no answer within 30 s"), "error: the device does not open: no answer within 30 s\n"),
    ],
)
def test_cuda_costs_without_a_device_prints_one_line_and_exits_with_4(monkeypatch, tmp_path, capsys, opens, printed):
    code, record = run_main(monkeypatch, tmp_path, FakeWorkers(None, opens))
    assert (code, record) == (4, None)
    assert capsys.readouterr().err == printed


def test_summary_shows_what_was_measured(fake):
    names = ("step", "step, kernels", "tiny kernels in a graph", "capture test", "products, cublasLt", "ceilings")
    record = {"measurements": {name: {"result": run(fake, name)} for name in names}}
    shown = cuda_costs.summary(record)
    for words in ("us a step, plain loop / backend", "kernels a step / share", "largest error of products, cublasLt"):
        assert words in shown
    assert "| equal to NumPy | True |" in shown
    assert cuda_costs.summary({"measurements": {"step": {"error": "broken"}}}).count("\n") == 1


def test_cuda_costs_hidden_devices_prints_one_line_and_exits_with_4(tmp_path):
    command = [sys.executable, "-m", "benchmarks.cuda_costs", "--seconds", "30", "--output", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"CUDA_VISIBLE_DEVICES": ""}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 4
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def hang(device):
    time.sleep(60)


def raise_error(device):
    raise ValueError("first line\nsecond line")


def test_run_measurement_hang_or_error_costs_its_own_time_alone(monkeypatch):
    monkeypatch.setattr(cuda_costs, "open_device", lambda: types.SimpleNamespace(on_stream=nullcontext))
    names = {"hang": (hang, 0.2), "raise": (raise_error, 5.0), "good": (lambda device: {"x": 1}, 5.0)}
    monkeypatch.setattr(cuda_costs, "MEASUREMENTS", names)

    class Threads(cuda_costs.Workers):
        def start(self, with_torch):
            here, there = Pipe()
            threading.Thread(target=cuda_costs.serve, args=(there,), daemon=True).start()
            here.send(cuda_costs.OPEN)
            self.processes[with_torch] = (here, types.SimpleNamespace(kill=lambda: None, join=lambda seconds: None))

    workers = Threads()
    assert cuda_costs.run_measurement(workers, "good", 10)["result"] == {"x": 1}
    assert cuda_costs.run_measurement(workers, "hang", 10)["error"] == "no answer within 0 s"
    assert cuda_costs.run_measurement(workers, "raise", 10)["error"] == "ValueError: first line"
    assert cuda_costs.run_measurement(workers, "good", 10)["result"] == {"x": 1}


def test_serve_parent_no_longer_waits_returns(monkeypatch):
    here, there = Pipe()
    monkeypatch.setattr(cuda_costs, "open_device", here.close)
    here.send(cuda_costs.OPEN)
    assert cuda_costs.serve(there) is None


def test_result_table_shows_rows_and_inner_tables():
    result = {"net": {"kernels a step": 40.0, "equal": True, "kernels": {"gemm": {"a step": 1.0, "us a step": 0.001}}}}
    assert cuda_costs.result_table("step", result).splitlines() == [
        "| step | kernels a step | equal |",
        "|---|---|---|",
        "| net | 40.00 | True |",
        "",
        "| net: kernels | a step | us a step |",
        "|---|---|---|",
        "| gemm | 1.00 | 0.001 |",
    ]
    assert cuda_costs.result_table("ceilings", {"bytes a second": 3e12}).splitlines()[2] == "| bytes a second | 3e+12 |"
