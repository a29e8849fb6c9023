"""CUDA graphs captured through CuPy: what they cost, and whether they compute correctly."""

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.cuda.calls import INCREMENT_KERNEL
from benchmarks.cuda.cublas import capturable_products
from benchmarks.cuda.device import Device, capture, private_pool, time_calls

TINY_KERNELS = 1_000
LARGE_GRAPHS = (4_000, 15_000)
FILLED_ARRAYS, FILLED_ELEMENTS = 200, 1024
ELEMENTS = 32


def measure_tiny_kernels(device: Device) -> dict[str, Any]:
    """Measure microseconds a node of a graph of 1,000 tiny kernels that depend on each other, and check their sum."""
    cp = device.cupy
    x = cp.zeros(ELEMENTS, dtype="float32")
    increment = cp.RawKernel(INCREMENT_KERNEL, "increment")
    result = {}
    forms: dict[str, Callable[[], Any]] = {
        "RawKernel": lambda: increment((1,), (ELEMENTS,), (x, np.int32(ELEMENTS))),
        "cupy.add": lambda: cp.add(x, np.float32(1), out=x),
    }
    for name, call in forms.items():
        call()

        def many(call: Callable[[], Any] = call) -> None:
            for _ in range(TINY_KERNELS):
                call()

        with private_pool(cp):
            graph = capture(cp, many)
            x.fill(0)
            graph.launch()
            total = float(cp.asnumpy(x)[0])
            times = time_calls(cp, graph.launch, 10)
        result[name] = {
            "us a node": times["device"] / TINY_KERNELS,
            "us of the host a launch": times["host"],
            "correct": total == TINY_KERNELS,
        }
    return result


def measure_capture_test(device: Device) -> dict[str, Any]:
    """Capture a 2x2 product, change its operands, replay, and compare with NumPy."""
    cp = device.cupy
    a, b = cp.zeros((2, 2), dtype="float32"), cp.zeros((2, 2), dtype="float32")
    out = cp.empty_like(a)
    cp.matmul(a, b, out=out)
    try:
        capture(cp, lambda: cp.matmul(a, b, out=out))
        refused = "no"
    except Exception as error:
        refused = f"{type(error).__name__}: {error}"
    with private_pool(cp), capturable_products(cp):
        graph = capture(cp, lambda: cp.matmul(a, b, out=out))
        host_a, host_b = np.array([[1, 2], [3, 4]], np.float32), np.array([[5, 6], [7, 8]], np.float32)
        cp.copyto(a, cp.asarray(host_a))
        cp.copyto(b, cp.asarray(host_b))
        graph.launch()
        found = cp.asnumpy(out)
    eager = cp.asnumpy(cp.matmul(a, b))
    return {
        "cupy.matmul refuses to be captured": refused,
        "replayed": found.tolist(),
        "equal to NumPy": bool(np.array_equal(found, host_a @ host_b)),
        "equal to the call after it": bool(np.array_equal(found, eager)),
    }


def measure_pool_test(device: Device) -> dict[str, Any]:
    """Capture with temporaries in a private pool, fill many new arrays, replay, and check that none has changed."""
    cp = device.cupy
    x = cp.asarray(np.arange(FILLED_ELEMENTS, dtype=np.float32))
    out = cp.empty_like(x)

    def formula() -> None:
        cp.copyto(out, (x * 2 + 1) * (x - 3) + x)

    formula()
    expected = cp.asnumpy(out)
    shared = count_changed_arrays(cp, capture(cp, formula))
    with private_pool(cp) as pool:
        graph = capture(cp, formula)
    private = count_changed_arrays(cp, graph)
    return {
        "bytes of the private pool": pool.total_bytes(),
        "new arrays": FILLED_ARRAYS,
        "changed by a replay from the usual pool": shared,
        "changed by a replay from a private pool": private,
        "correct": bool(np.array_equal(cp.asnumpy(out), expected)),
    }


def count_changed_arrays(cp: Any, graph: Any) -> int:
    """Fill new arrays, replay a graph, and return how many of them the replay has changed."""
    arrays = [cp.full(FILLED_ELEMENTS, float(i), dtype="float32") for i in range(FILLED_ARRAYS)]
    graph.launch()
    return sum(not np.all(cp.asnumpy(array) == i) for i, array in enumerate(arrays))


def measure_large_graphs(device: Device) -> dict[str, Any]:
    """Measure milliseconds to capture, end (and instantiate), upload, launch first and again, for two sizes."""
    cp, result = device.cupy, {}
    stream = cp.cuda.get_current_stream()
    x = cp.zeros(ELEMENTS, dtype="float32")
    one = np.float32(1)
    cp.add(x, one, out=x)
    for nodes in LARGE_GRAPHS:
        stream.synchronize()
        clock = [time.perf_counter()]
        stream.begin_capture()
        try:
            for _ in range(nodes):
                cp.add(x, one, out=x)
        finally:
            clock.append(time.perf_counter())
            graph = stream.end_capture()
        clock.append(time.perf_counter())
        graph.upload()
        stream.synchronize()
        clock.append(time.perf_counter())
        graph.launch()
        stream.synchronize()
        clock.append(time.perf_counter())
        spent = [1e3 * (b - a) for a, b in pairwise(clock)]
        again = time_calls(cp, graph.launch, 3)
        result[f"{nodes} nodes"] = {
            **dict(zip(("capture ms", "end ms", "upload ms", "first launch ms"), spent, strict=True)),
            "launch ms of the host": again["host"] / 1e3,
            "launch ms of the device": again["device"] / 1e3,
        }
    return result
