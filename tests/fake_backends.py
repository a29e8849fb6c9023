"""Backends for tests: they raise or return NaN for mistakes that real backends tolerate."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import array_api_compat.numpy as numpy_namespace
import numpy as np

from lagvis.backends.backend import Backend, plain_scan
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
                    leaf.fill(np.nan)
            return result

        return spoil


class StrictBackend(Backend):
    """array-api-strict, limited to the standard: no boolean masks, no data-dependent shapes, no values on the host.

    Its "device1" is memory that NumPy cannot read, as on a GPU.
    """

    name: ClassVar[str] = "strict"

    def __init__(self, dtype: str, device: str) -> None:
        import array_api_strict

        super().__init__(device, dtype, compiled=True)
        self.xp = array_api_strict
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
        run = plain_scan(step)

        def watched(state: Any, inputs: Any, constants: Any) -> Any:
            with self.host_conversions_raise():
                return run(state, inputs, constants)

        return watched

    def versions(self) -> dict[str, str]:
        return {"array-api-strict": self.xp.__version__}


def open_strict(dtype: str, device: str) -> StrictBackend:
    """Open the strict backend; raise DeviceError if array-api-strict is not installed."""
    try:
        return StrictBackend(dtype, device)
    except ImportError as error:
        raise DeviceError(f"array-api-strict is not installed ({error})", 'pip install -e ".[test]"') from None


class DpnpBackend(Backend):
    """dpnp: arrays on a SYCL device that NumPy cannot read. Intel's OpenCL runtime makes any x86-64 CPU one."""

    name: ClassVar[str] = "dpnp"

    def __init__(self, dtype: str) -> None:
        import dpnp

        super().__init__("cpu", dtype, compiled=False)
        self.xp = dpnp
        dpnp.asarray(np.zeros(1, "f4")).sycl_queue.wait()  # raises if there is no device

    def asarray(self, host: np.ndarray) -> Any:
        return self.xp.asarray(host, copy=True)

    def to_numpy(self, array: Any) -> np.ndarray:
        return np.array(self.xp.asnumpy(array))

    def synchronize(self) -> None:
        self.xp.synchronize_array_data(self.xp.zeros(1, dtype="f4"))

    def scan(self, step):
        return plain_scan(step)

    def versions(self) -> dict[str, str]:
        return {"dpnp": self.xp.__version__, "device": str(self.xp.zeros(1, dtype="f4").sycl_device.name)}


def open_dpnp(dtype: str) -> DpnpBackend:
    """Open the dpnp backend; raise DeviceError if dpnp or its device is missing."""
    runtime = Path(sys.prefix) / "lib" / "libintelocl.so"
    if runtime.exists():  # the wheel registers the driver under a path that does not exist
        os.environ.setdefault("OCL_ICD_FILENAMES", str(runtime))
    try:
        return DpnpBackend(dtype)
    except ImportError as error:
        raise DeviceError(
            f"dpnp is not installed ({error})", "scripts/test-dpnp makes an environment with it"
        ) from None
