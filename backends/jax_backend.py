"""JAX backend: a call is one compiled `lax.scan`; the buffers of the old state are donated to the new one."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from importlib.metadata import entry_points
from typing import Any, ClassVar

import jax
import numpy as np

from lagvis.backends.backend import Backend, Run, Step, first_line, plain_scan, self_test
from lagvis.backends.cuda import describe_card, fitting_extra
from lagvis.backends.cuda_faults import Build, no_such_device
from lagvis.backends.host_memory import LARGE_BYTES, aligned_copy
from lagvis.errors import DeviceError
from lagvis.option_text import option
from lagvis.tree import Tree

BUILD = Build(
    "JAX",
    older='pip uninstall -y jax-cuda13-plugin jax-cuda13-pjrt && pip install -U "jax[cuda12]"',
    newer='pip install -U "jax[cuda13]"',
)


def all_types() -> AbstractContextManager[Any]:
    """Return a context in which JAX has 64-bit types: float64, and int64 for random numbers; float32 stays float32.

    Like the precision of products, which JAX would round to TF32 on a GPU, it is set for the computation of this thread
    alone, and not for the process.
    """
    return jax.enable_x64(True)


def scan_loop(body: Callable[..., Tree], carry: Tree, inputs: tuple[Tree, ...]) -> Tree:
    """Return what `plain_loop` does, compiled once for all slices."""
    return jax.lax.scan(lambda carry, i: (body(carry, *i), None), carry, inputs)[0]


class JaxBackend(Backend):
    """JAX arrays on the CPU or on one CUDA device."""

    name: ClassVar[str] = "jax"
    loop: ClassVar[Callable[..., Tree]] = staticmethod(scan_loop)
    xp = jax.numpy

    def __init__(self, device: str, dtype: str, compiled: bool, jax_device: jax.Device) -> None:
        super().__init__(device, dtype, compiled)
        self._device = jax_device
        self._newest: Tree = None

    def asarray(self, host: np.ndarray) -> jax.Array:
        with all_types():  # else JAX would store float64 as float32
            # On the CPU JAX may use a NumPy array's memory and later write into it, so it gets a copy of its own.
            return jax.device_put(aligned_copy(host) if host.nbytes >= LARGE_BYTES else np.array(host), self._device)

    def to_numpy(self, array: jax.Array) -> np.ndarray:
        return np.array(array)

    def synchronize(self) -> None:
        jax.block_until_ready(self._newest)

    def scan(self, step: Step) -> Run:
        def scan(state: Tree, inputs: tuple[Tree, ...], constants: tuple[Tree, ...]) -> Tree:
            return jax.lax.scan(lambda carry, i: (step(carry, *i, *constants), None), state, inputs)[0]

        compiled = jax.jit(scan, donate_argnums=0) if self.compiled else plain_scan(step)

        def run(state: Tree, inputs: tuple[Tree, ...], constants: tuple[Tree, ...]) -> Tree:
            with all_types(), jax.default_matmul_precision("highest"):
                self._newest = compiled(state, inputs, constants)
            return self._newest

        return run

    def versions(self) -> dict[str, str]:
        return {"jax": jax.__version__, "jax device": self._device.device_kind} | describe_card(self.device)


def find_devices() -> list[str]:
    """List the devices that JAX sees, fastest first."""
    return [f"cuda:{ordinal}" for ordinal in range(len(_devices("cuda")))] + ["cpu"]


def open_backend(device: str, dtype: str, compiled: bool) -> Backend:
    """Open JAX on "cpu" or "cuda:N"; raise DeviceError if JAX sees no such device.

    No setting of JAX is changed for the process, and JAX_DEFAULT_MATMUL_PRECISION has no effect on a training.
    """
    if device == "cpu":
        return JaxBackend(device, dtype, compiled, _devices("cpu")[0])
    devices = _devices("cuda")
    ordinal = int(device.removeprefix("cuda:"))
    explain = partial(BUILD.explain, device=device)
    if ordinal >= len(devices):
        raise missing_device(device, len(devices))
    return self_test(
        JaxBackend(device, dtype, compiled, devices[ordinal]),
        f"update JAX or the NVIDIA driver, or use {option('device', 'cpu')}",
        explain,
    )


def missing_device(device: str, seen: int) -> DeviceError:
    """Return the error for "cuda:N" of a JAX that sees `seen` CUDA devices: why, and what to do."""
    library = f"JAX {jax.__version__}"
    install = (
        f'install JAX with CUDA (pip install "jax[{fitting_extra(device)}]")' + f", or use {option('device', 'cpu')}"
    )
    try:
        jax.devices("cuda")
    except Exception as error:  # RuntimeError, AssertionError, or an error of CUDA of any type
        if known := BUILD.explain(error, device):
            return known
        if not str(error).startswith("Unknown backend"):
            return no_such_device(library, seen, device, "install or update the NVIDIA driver, or " + install, error)
        platforms = os.environ.get("JAX_PLATFORMS")
        if platforms and "cuda" not in platforms:
            return DeviceError(
                f"{library} may not use CUDA: JAX_PLATFORMS is set to {platforms!r}", "unset JAX_PLATFORMS"
            )
        if has_cuda_plugin():
            driver = "install or update the NVIDIA driver (a container must be started with its GPUs)"
            return no_such_device(library, seen, device, f"{driver}, or use {option('device', 'cpu')}")
        return DeviceError(f"{library} is installed without CUDA", install)
    return no_such_device(library, seen, device)


def has_cuda_plugin() -> bool:
    """Whether JAX's plugin for CUDA is installed; JAX does not use it where it finds no file of an NVIDIA device."""
    return any("cuda" in plugin.name for plugin in entry_points(group="jax_plugins"))


def _devices(platform: str) -> list[jax.Device]:
    """List JAX devices of a platform; raise DeviceError without a CPU, which only JAX_PLATFORMS can hide."""
    try:
        return jax.devices(platform)
    except Exception as error:  # RuntimeError without such a device, AssertionError if JAX_PLATFORMS hides it
        if platform == "cuda":
            return []
        value = os.environ.get("JAX_PLATFORMS")
        raise DeviceError(
            f"JAX has no {platform} device ({first_line(error)}; JAX_PLATFORMS is {value!r})", "unset JAX_PLATFORMS"
        ) from None
