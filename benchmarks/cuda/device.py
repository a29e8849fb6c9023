"""The device that is measured, and clocks for it."""

import contextlib
import ctypes
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from lagvis.backends.cuda import DRIVER_LIBRARY
from lagvis.backends.registry import select

WARM_UP_CALLS = 3
ROUNDS = 5


@dataclass(frozen=True)
class Device:
    """CuPy, and the backend of Lagvis on it.

    Enter `on_stream()` around a measurement: the events of a clock must lie on the stream that computes.
    """

    cupy: Any
    backend: Any

    def on_stream(self) -> AbstractContextManager[Any]:
        """Return a context in which the stream of the backend is the current one."""
        return self.backend._on_stream()


def open_device() -> Device:
    """Open CuPy on the first device; DeviceError if it cannot compute."""
    backend = select("cuda", "cupy")
    import cupy

    return Device(cupy, backend)


def time_calls(
    cp: Any, function: Callable[[], Any], calls: int, rounds: int | None = None, warm_up: int | None = None
) -> dict[str, float]:
    """Return median microseconds a call of the current stream: of the host until it has queued, and of the device.

    The device time is that between two events. Where the host is slower than the device, it is the time of the host.
    """
    for _ in range(warm_up or WARM_UP_CALLS):
        function()
    stream = cp.cuda.get_current_stream()
    stream.synchronize()
    host, device = [], []
    for _ in range(rounds or ROUNDS):
        start, end = cp.cuda.Event(), cp.cuda.Event()
        start.record()
        started = time.perf_counter()
        for _ in range(calls):
            function()
        host.append((time.perf_counter() - started) / calls * 1e6)
        end.record()
        end.synchronize()
        device.append(cp.cuda.get_elapsed_time(start, end) / calls * 1e3)
    return {"host": statistics.median(host), "device": statistics.median(device)}


@contextlib.contextmanager
def private_pool(cp: Any) -> Iterator[Any]:
    """Allocate from a memory pool of its own, and return it: it must live as long as a graph captured from it."""
    pool = cp.cuda.MemoryPool()
    with cp.cuda.using_allocator(pool.malloc):
        yield pool


def capture(cp: Any, function: Callable[[], Any]) -> Any:
    """Return the CUDA graph of the calls of a function on the current stream."""
    stream = cp.cuda.get_current_stream()
    stream.begin_capture()
    try:
        function()
    except BaseException:
        with contextlib.suppress(Exception):  # it raises too after a call that spoils a capture
            stream.end_capture()
        raise
    return stream.end_capture()


def time_in_graph(cp: Any, function: Callable[[], Any], calls: int) -> float:
    """Return median microseconds of the device for one of many calls in a CUDA graph, without the gaps of the host."""

    def many() -> None:
        for _ in range(calls):
            function()

    with private_pool(cp):
        function()
        graph = capture(cp, many)
        return time_calls(cp, graph.launch, 3)["device"] / calls


def count_nodes(graph: Any) -> int | None:
    """Return the number of nodes of a CUDA graph; None if the driver does not tell."""
    count = ctypes.c_size_t(0)
    try:
        driver = ctypes.CDLL(DRIVER_LIBRARY)
        status = driver.cuGraphGetNodes(ctypes.c_void_p(graph.graph), None, ctypes.byref(count))
    except (OSError, AttributeError):
        return None
    return count.value if status == 0 else None
