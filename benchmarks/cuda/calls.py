"""Single calls of CuPy, and the ceilings of the device."""

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.cuda.cublas import capturable_products
from benchmarks.cuda.device import Device, time_calls, time_in_graph
from benchmarks.problem import Problem, networks_of
from lagvis.backends.backend import first_line

CALLS = 200
CALLS_IN_GRAPH = 100
COPIED_BYTES = 2**30
WIDTH = 8192
EMPTY_KERNEL = 'extern "C" __global__ void empty_kernel() {}'
INCREMENT_KERNEL = """
extern "C" __global__ void increment(float* x, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) x[i] += 1.0f;
}
"""


def smooth_step(x: Any, y: Any) -> Any:
    """Return a formula of four elementwise operations."""
    return (x * 0.9 + y) * y - x


def calls_of(cp: Any) -> dict[str, Callable[[], Any]]:
    """Return the calls that are measured, on arrays of the size of a step."""
    rng = np.random.default_rng(0)
    x, y = (cp.asarray(rng.normal(size=(128, 64)).astype(np.float32)) for _ in range(2))
    w = cp.asarray(rng.normal(size=(64, 64)).astype(np.float32))
    pixels = cp.asarray(rng.integers(0, 256, size=(60_000, 784), dtype=np.uint8))
    rows = cp.asarray(rng.permutation(60_000)[:128].astype(np.int32))
    out = cp.empty_like(x)
    fused = cp.fuse(kernel_name="smooth_step")(smooth_step)
    elementwise = cp.ElementwiseKernel(
        "float32 x, float32 y", "float32 z", "z = (x * 0.9f + y) * y - x", "smooth_step_elementwise"
    )
    empty = cp.RawKernel(EMPTY_KERNEL, "empty_kernel")
    return {
        "an empty kernel": lambda: empty((1,), (1,), ()),
        "x + y": lambda: x + y,
        "add(x, y, out=)": lambda: cp.add(x, y, out=out),
        "x * 0.5": lambda: x * 0.5,
        "x @ w": lambda: x @ w,
        "x.T @ y": lambda: x.T @ y,
        "sum, axis 0": lambda: cp.sum(x, axis=0),
        "sum of all": lambda: cp.sum(x),
        "max, axis 1": lambda: cp.max(x, axis=1),
        "argmax, axis 1": lambda: cp.argmax(x, axis=1),
        "where": lambda: cp.where(x > 0, x, y),
        "exp": lambda: cp.exp(x),
        "take 128 rows of bytes": lambda: cp.take(pixels, rows, axis=0),
        "astype": lambda: x.astype("float64"),
        "four operations": lambda: smooth_step(x, y),
        "four operations, cupy.fuse": lambda: fused(x, y),
        "four operations, ElementwiseKernel": lambda: elementwise(x, y),
    }


def measure_calls(device: Device) -> dict[str, Any]:
    """Measure microseconds a call: of the host, of the device between events, and of the device in a graph."""
    cp = device.cupy
    result: dict[str, Any] = {}
    for name, function in calls_of(cp).items():
        try:
            result[name] = time_calls(cp, function, CALLS)
            with capturable_products(cp):
                result[name]["graph"] = time_in_graph(cp, function, CALLS_IN_GRAPH)
        except Exception as error:  # one call that fails must not cost the others
            result.setdefault(name, {})["failed"] = first_line(error)
    return result


def measure_transfers(device: Device) -> dict[str, Any]:
    """Measure microseconds of the transfers of an epoch: its row order to the device, a scalar back to the host."""
    cp = device.cupy
    order, scalar = np.arange(60_000, dtype=np.int32), cp.zeros((), dtype="float32")
    return {
        "240 kB to the device": time_calls(cp, lambda: cp.asarray(order), 20),
        "a scalar to the host": time_calls(cp, lambda: cp.asnumpy(scalar), 20),
        "synchronize": time_calls(cp, cp.cuda.get_current_stream().synchronize, 20),
    }


def measure_ceilings(device: Device) -> dict[str, Any]:
    """Measure bytes a second (read and written) of a copy on the device, and operations a second of a large product.

    From these follows the least time of an epoch of each network.
    """
    cp = device.cupy
    bandwidth = 2 * COPIED_BYTES / time_copy(cp) * 1e6
    rate = 2 * WIDTH**3 / time_product(cp) * 1e6
    floors = {}
    for network in networks_of("cuda"):
        problem = Problem(network)
        floors[f"an epoch of {network}"] = {
            "products, ms at least": problem.epoch_operations() / rate * 1e3,
            "bytes, ms at least": problem.epoch_bytes() / bandwidth * 1e3,
        }
    return {"bytes a second": bandwidth, "float32 operations a second": rate, **floors}


def time_copy(cp: Any) -> float:
    """Return microseconds of a copy of COPIED_BYTES on the device."""
    source = cp.ones(COPIED_BYTES // 4, dtype="float32")
    target = cp.empty_like(source)
    return time_calls(cp, lambda: cp.copyto(target, source), 5)["device"]


def time_product(cp: Any) -> float:
    """Return microseconds of a square float32 product of WIDTH."""
    rng = np.random.default_rng(0)
    a, b = (cp.asarray(rng.random((WIDTH, WIDTH), dtype=np.float32)) for _ in range(2))
    out = cp.empty_like(a)
    return time_calls(cp, lambda: cp.matmul(a, b, out=out), 2)["device"]
