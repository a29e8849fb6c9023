"""Backends for tests: they raise or return NaN for mistakes that real backends tolerate."""

import contextlib
import os
import sys
import types
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import array_api_compat.numpy as numpy_namespace
import numpy as np

from lagvis.backends.backend import Backend, plain_scan
from lagvis.backends.numpy_backend import NumpyBackend
from lagvis.backends.replay.namespace import RecordableNamespace
from lagvis.backends.replay.numpy_recorder import CupyRecorder, OutRecorder
from lagvis.backends.replay.recorder import Recorder
from lagvis.backends.replay.tape import recorded_scan
from lagvis.errors import DeviceError
from lagvis.tree import named_leaves

CONVERSIONS = ("__float__", "__int__", "__bool__", "__index__", "__complex__", "__array__", "__dlpack__")


class ReadOnlyBackend(Backend):
    """NumPy with read-only arrays: a step that writes into its arguments raises."""

    name: ClassVar[str] = "numpy-readonly"
    xp = numpy_namespace

    def __init__(self, dtype: str) -> None:
        super().__init__("cpu", dtype, compiled=True)

    def asarray(self, host: np.ndarray) -> np.ndarray:
        array = np.array(host)
        array.flags.writeable = False
        return array

    def to_numpy(self, array: np.ndarray) -> np.ndarray:
        return np.array(array)

    def synchronize(self) -> None:
        pass

    def scan(self, step):
        return plain_scan(step)

    def versions(self) -> dict[str, str]:
        return {"numpy": np.__version__}


class SharingBackend(NumpyBackend):
    """NumPy whose recorded steps are shared by three threads."""

    def __init__(self, dtype: str, compiled: bool = True) -> None:
        super().__init__("cpu", dtype, compiled)

    def scan(self, step):
        run = super().scan(step)

        def shared(*arguments):
            with self.limited_threads(3):
                return run(*arguments)

        return shared


class SpoilingBackend(ReadOnlyBackend):
    """NumPy that fills the old state with NaN after each run: code that still reads it gets NaN."""

    name: ClassVar[str] = "numpy-spoiling"

    def asarray(self, host: np.ndarray) -> np.ndarray:
        return np.array(host)

    def scan(self, step):
        run = plain_scan(step)

        def spoil(state: Any, inputs: Any, constants: Any) -> Any:
            result = run(state, inputs, constants)
            kept = [leaf for _, leaf in named_leaves(result)]
            for _, leaf in named_leaves(state):
                if not any(np.shares_memory(leaf, other) for other in kept):
                    leaf.fill(np.nan if leaf.dtype.kind == "f" else np.iinfo(leaf.dtype).max)
            return result

        return spoil


class CupyFunctions:
    """Functions that CuPy has too, computed by NumPy; `calls` lists each (name, positional, by name).

    The `broken` functions write a wrong number into the memory that they are given.
    """

    __name__ = "cupy"

    def __init__(self, broken: Sequence[str] = ()) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.broken = broken

    def __getattr__(self, name: str) -> Any:
        member = getattr(np, name)

        def call(*arguments: Any, **options: Any) -> Any:
            self.calls.append((name, arguments, options))
            result = member(*arguments, **options)
            if name in self.broken:
                out = options.get("out", arguments[0])
                out[...] = np.logical_not(out) if out.dtype == bool else out + 1
            return result

        return call


def cupy_namespace() -> types.ModuleType:
    """Return array_api_compat's namespace of NumPy with what differs in that of CuPy: it makes vecdot of products."""
    namespace = types.ModuleType("cupy")
    namespace.__dict__.update(vars(numpy_namespace) | {"vecdot": product_of_rows_and_columns})
    return namespace


def product_of_rows_and_columns(x1: np.ndarray, x2: np.ndarray, /, *, axis: int = -1) -> np.ndarray:
    """Compute vecdot over the last axis as array_api_compat does for a library without it."""
    assert axis == -1
    return (x1[..., None, :] @ x2[..., None])[..., 0, 0]


class CupyStandInBackend(ReadOnlyBackend):
    """NumPy arrays with the recorder for CuPy: proves what its calls compute, not that CuPy computes it."""

    name: ClassVar[str] = "cupy-stand-in"

    def __init__(self, dtype: str, compiled: bool = True) -> None:
        super().__init__(dtype)
        self.compiled = compiled
        self.xp = RecordableNamespace(cupy_namespace())
        self.functions = CupyFunctions()

    def asarray(self, host: np.ndarray) -> np.ndarray:
        return np.array(host)

    def scan(self, step):
        recorder = partial(ZeroAxesRecorder, self.xp, self.functions)
        run = recorded_scan(step, recorder) if self.compiled else plain_scan(step)
        return np.errstate(all="ignore")(run)  # CuPy warns of no number


class ZeroAxesRecorder(CupyRecorder):
    """CupyRecorder for NumPy, which returns a number where CuPy returns an array without axes."""

    def record(self, name, function, arguments, options, value):
        return super().record(name, function, arguments, options, np.asarray(value))


class StrictRecorder(Recorder):
    """Recorder for array-api-strict, which has no function with `out=`: every result is copied into its memory."""

    def share_memory(self, a: Any, b: Any) -> bool:
        return np.may_share_memory(a._array, b._array)

    def strides(self, array: Any) -> tuple[int, ...]:
        return array._array.strides


class StrictBackend(Backend):
    """array-api-strict, limited to the standard: no boolean masks, no data-dependent shapes, no values on the host.

    Its "device1" is memory that NumPy cannot read, as on a GPU.
    """

    name: ClassVar[str] = "strict"

    def __init__(self, dtype: str, device: str, compiled: bool) -> None:
        import array_api_strict

        super().__init__(device, dtype, compiled)
        self.xp = RecordableNamespace(array_api_strict)
        self._device = array_api_strict.Device("CPU_DEVICE" if device == "cpu" else device)

    def asarray(self, host: np.ndarray) -> Any:
        return self.xp.asarray(host, device=self._device, copy=True)

    def to_numpy(self, array: Any) -> np.ndarray:
        return np.array(array.to_device(self.xp.Device("CPU_DEVICE")))

    def synchronize(self) -> None:
        pass

    @contextlib.contextmanager
    def host_conversions_raise(self) -> Iterator[None]:
        """Make every conversion of an array to a Python or NumPy value raise."""
        kind = type(self.xp.asarray(0.0))

        def refuse(array: Any, *args: Any, **kwargs: Any) -> None:
            raise RuntimeError("a value was taken to the host inside a step")

        before = {name: getattr(kind, name) for name in CONVERSIONS if hasattr(kind, name)}
        for name in before:
            setattr(kind, name, refuse)
        try:
            with self.xp.ArrayAPIStrictFlags(boolean_indexing=False, data_dependent_shapes=False):
                yield
        finally:
            for name, method in before.items():
                setattr(kind, name, method)

    def scan(self, step):
        run = recorded_scan(step, lambda: StrictRecorder(self.xp)) if self.compiled else plain_scan(step)

        def watched(state: Any, inputs: Any, constants: Any) -> Any:
            with self.host_conversions_raise():
                return run(state, inputs, constants)

        return watched

    def versions(self) -> dict[str, str]:
        return {"array-api-strict": self.xp.__version__}


def open_strict(dtype: str, device: str, compiled: bool = False) -> StrictBackend:
    """Open the strict backend; raise DeviceError if array-api-strict is not installed."""
    try:
        return StrictBackend(dtype, device, compiled)
    except ImportError as error:
        raise DeviceError(f"array-api-strict is not installed ({error})", 'pip install -e ".[test]"') from None


class DpnpRecorder(OutRecorder):
    """Recorder for dpnp, whose functions take NumPy's `out=`.

    Some of them (tanh, divide) round in another way where they overwrite an operand; a product or a sum does not.
    """

    in_place = fusable = frozenset({"add", "subtract", "multiply", "negative"})

    def copy_into(self, to: Any) -> Any:
        copy = super().copy_into(to)

        def copy_and_wait(source: Any) -> None:
            copy(source)
            to.sycl_queue.wait()  # dpnp hangs less often with few kernels in its queue

        return copy_and_wait

    def share_memory(self, a: Any, b: Any) -> bool:
        (first, past_first), (second, past_second) = (array.get_array()._byte_bounds for array in (a, b))
        return first < past_second and second < past_first


class DpnpBackend(Backend):
    """dpnp: arrays on a SYCL device that NumPy cannot read. Intel's OpenCL runtime makes any x86-64 CPU one."""

    name: ClassVar[str] = "dpnp"

    def __init__(self, dtype: str, compiled: bool) -> None:
        import dpnp

        super().__init__("cpu", dtype, compiled)
        self.xp = RecordableNamespace(dpnp)
        self._dpnp = dpnp
        dpnp.asarray(np.zeros(1, "f4")).sycl_queue.wait()  # raises if there is no device

    def asarray(self, host: np.ndarray) -> Any:
        return self.xp.asarray(host, copy=True)

    def to_numpy(self, array: Any) -> np.ndarray:
        return np.array(self.xp.asnumpy(array))

    def synchronize(self) -> None:
        self.xp.synchronize_array_data(self.xp.zeros(1, dtype="f4"))

    def scan(self, step):
        return recorded_scan(step, lambda: DpnpRecorder(self.xp, self._dpnp)) if self.compiled else plain_scan(step)

    def versions(self) -> dict[str, str]:
        return {"dpnp": self.xp.__version__, "device": str(self.xp.zeros(1, dtype="f4").sycl_device.name)}


def open_dpnp(dtype: str, compiled: bool = False) -> DpnpBackend:
    """Open the dpnp backend; raise DeviceError if dpnp or its device is missing."""
    runtime = Path(sys.prefix) / "lib" / "libintelocl.so"
    if runtime.exists():  # the wheel registers the driver under a path that does not exist
        os.environ.setdefault("OCL_ICD_FILENAMES", str(runtime))
    try:
        return DpnpBackend(dtype, compiled)
    except ImportError as error:
        raise DeviceError(
            f"dpnp is not installed ({error})", "scripts/test-dpnp makes an environment with it"
        ) from None
