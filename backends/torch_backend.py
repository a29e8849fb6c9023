"""PyTorch backend: tensors without autograd, since the gradient is computed by `lagvis.network`.

Its devices are the CPU, GPUs of NVIDIA ("cuda"), AMD (also "cuda": PyTorch for ROCm keeps the name), Intel ("xpu") and
Apple ("mps"). None of the GPUs has been tried.
"""

import os
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from types import ModuleType
from typing import ClassVar

import array_api_compat.torch as compat
import numpy as np
import torch

from lagvis.backends.backend import Backend, Run, Step, plain_scan, self_test
from lagvis.backends.cuda import TURING, describe_card
from lagvis.backends.cuda_faults import Build, no_such_device
from lagvis.backends.host_memory import LARGE_BYTES, aligned_copy
from lagvis.backends.replay.namespace import RecordableNamespace
from lagvis.backends.replay.tape import recorded_loop, recorded_scan
from lagvis.backends.replay.torch_recorder import TorchRecorder
from lagvis.errors import DeviceError
from lagvis.option_text import option
from lagvis.tree import Tree


@cache
def scalar(value: float, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return a number as a tensor () on the device, copied there once."""
    return torch.tensor(value, dtype=dtype, device=device)


def take(x: torch.Tensor, indices: torch.Tensor, *, axis: int) -> torch.Tensor:
    """Take without array_api_compat's check for negative indices, which never occur here: six calls less in a step."""
    return torch.index_select(x, axis, indices)


def maximum(a: torch.Tensor, b: torch.Tensor | float) -> torch.Tensor:
    """Return the maximum; array_api_compat would copy a number to the device in each call, and a GPU would wait."""
    return torch.maximum(a, b if isinstance(b, torch.Tensor) else scalar(b, a.dtype, a.device))


def minimum(a: torch.Tensor, b: torch.Tensor | float) -> torch.Tensor:
    """Return the minimum, without the copy that array_api_compat would make as for `maximum`."""
    return torch.minimum(a, b if isinstance(b, torch.Tensor) else scalar(b, a.dtype, a.device))


_functions = ModuleType("torch")
_functions.__dict__.update({**vars(compat), "take": take, "maximum": maximum, "minimum": minimum})
xp = RecordableNamespace(_functions)


class TorchBackend(Backend):
    """PyTorch tensors on the CPU or on one GPU."""

    name: ClassVar[str] = "torch"
    sets_threads: ClassVar[bool] = True
    xp = xp
    loop: ClassVar[Callable[..., Tree]] = staticmethod(recorded_loop)

    def __init__(self, device: str, dtype: str, compiled: bool) -> None:
        super().__init__(device, dtype, compiled)
        self._device = torch_device(device)

    def asarray(self, host: np.ndarray) -> torch.Tensor:
        if self.device == "cpu" and host.nbytes >= LARGE_BYTES:
            return torch.from_numpy(aligned_copy(host))
        return torch.tensor(host, device=self._device)

    def to_numpy(self, array: torch.Tensor) -> np.ndarray:
        return array.to("cpu", copy=True).numpy()

    def synchronize(self) -> None:
        kind = self.device.partition(":")[0]
        if kind == "mps":
            torch.mps.synchronize()
        elif kind != "cpu":
            getattr(torch, kind).synchronize(self._device)

    @contextmanager
    def limited_threads(self, threads: int) -> Iterator[None]:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def scan(self, step: Step) -> Run:
        run = recorded_scan(step, lambda: TorchRecorder(xp)) if self.compiled else plain_scan(step)

        def without_autograd(state: Tree, inputs: tuple[Tree, ...], constants: tuple[Tree, ...]) -> Tree:
            with torch.inference_mode():
                return run(state, inputs, constants)

        return without_autograd

    def versions(self) -> dict[str, str]:
        versions = {"torch": torch.__version__}
        kind = self.device.partition(":")[0]
        if kind == "mps":
            get_name = getattr(torch.backends.mps, "get_name", lambda: "Apple GPU")  # PyTorch 2.6 has no get_name
            return versions | {"gpu": get_name()}
        if kind == "xpu":
            return versions | {"xpu": str(xpu_version()), "gpu": torch.xpu.get_device_name(self._device)}
        if kind == "cuda":
            toolkit = {"hip": torch.version.hip} if torch.version.hip else {"cuda": str(torch.version.cuda)}
            gpu = {"gpu": torch.cuda.get_device_name(self._device)}
            return versions | toolkit | gpu | describe_card(self.device)
        return versions | {"blas": blas_library()}


def blas_library() -> str:
    """Return the BLAS library that PyTorch is built with, and the instructions that it chose for this CPU.

    For example "mkl 2024.2 AVX512".
    """
    built = torch.__config__.show()
    name = re.search(r"BLAS_INFO=(\w+)", built)
    version = re.search(r"Math Kernel Library Version ([\d.]+)", built)
    words = [name[1] if name else "unknown", *([version[1]] if version else [])]
    return " ".join([*words, torch.backends.cpu.get_cpu_capability()])


def torch_device(name: str) -> torch.device:
    """Return the device of PyTorch with this name."""
    return torch.device(name)


def xpu_version() -> str | None:
    """Return the version of Intel's toolkit that PyTorch is built for; None in other builds."""
    return getattr(torch.version, "xpu", None)


def count_devices(kind: str) -> int:
    """Return how many devices of a kind ("cuda", "xpu" or "mps") PyTorch can use; there is one "mps" at most."""
    if kind == "mps":
        return int(torch.backends.mps.is_available())
    module = getattr(torch, kind)
    return module.device_count() if module.is_available() else 0


def find_devices() -> list[str]:
    """List the devices that PyTorch sees, fastest first."""
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # open_backend reports why there are none
        found = [f"{kind}:{ordinal}" for kind in ("cuda", "xpu") for ordinal in range(count_devices(kind))]
    return [*found, *(["mps"] if count_devices("mps") else []), "cpu"]


def missing_device(device: str) -> DeviceError:
    """Return the error for a device that PyTorch does not see: what it was built for, what it sees, what to do."""
    kind = device.partition(":")[0]
    pytorch = f"PyTorch {torch.__version__}"
    if kind == "mps":
        reason = "sees no Apple GPU" if torch.backends.mps.is_built() else "is built without MPS, for Apple GPUs"
        return DeviceError(
            f"{pytorch} {reason}", f"use PyTorch for macOS on Apple silicon, or use {option('device', 'cpu')}"
        )
    if kind == "xpu":
        name, maker, built = "XPU", "Intel", xpu_version() is not None
        hidden = variable_notes("ONEAPI_DEVICE_SELECTOR", "ZE_AFFINITY_MASK")
    elif torch.version.hip is not None:
        name, maker, built = "ROCm", "AMD", True
        hidden = variable_notes("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
    else:
        name, maker, built, hidden = "CUDA", "NVIDIA", torch.version.cuda is not None, ""
    if not built:
        other = "CUDA (NVIDIA) or ROCm (AMD)" if name == "CUDA" else name
        return DeviceError(
            f"{pytorch} is built without {name}",
            f"install a build of PyTorch for {other} (https://pytorch.org/get-started/locally), "
            f"or use {option('device', 'cpu')}",
        )
    if name == "CUDA":
        error = initial_error()
        known = installed_build().explain(error, device) if error else None
        return known or no_such_device(
            pytorch,
            count_devices(kind),
            device,
            f"install or update the NVIDIA driver, or use {option('device', 'cpu')}",
            error,
        )
    return DeviceError(
        f"{pytorch} sees {count_devices(kind)} {name} devices, so there is no {device}{hidden}",
        f"install or update the {maker} driver, or use {option('device', 'cpu')}",
    )


def variable_notes(*names: str) -> str:
    """Return a note for the end of a sentence for each of these environment variables that is set."""
    return "".join(f" ({name} is set to {os.environ[name]!r})" for name in names if name in os.environ)


def open_backend(device: str, dtype: str, compiled: bool) -> Backend:
    """Open PyTorch on a device; raise DeviceError if PyTorch sees no such device.

    Sets full float32 precision of products for the whole process, which TORCH_ALLOW_TF32_CUBLAS_OVERRIDE lowers.
    """
    if device not in find_devices():
        raise missing_device(device)
    torch.set_float32_matmul_precision("highest")
    explain = None
    if device.startswith("cuda") and torch.version.hip is None:
        build = installed_build()
        build.check_card(device)
        explain = partial(build.explain, device=device)
    return self_test(
        TorchBackend(device, dtype, compiled and device == "cpu"),
        f"update PyTorch or the driver of the GPU, or use {option('device', 'cpu')}",
        explain,
    )


def initial_error() -> Exception | None:
    """Return why PyTorch cannot initialise CUDA, which `is_available` only warns about; None if it can."""
    try:
        torch.cuda.init()
    except Exception as error:  # errors of CUDA of any type
        return error
    return None


def installed_build() -> Build:
    """Return the cards that the installed PyTorch has code for, and the PyTorch for other cards."""
    supported = [
        (int(arch[3:-1]), int(arch[-1])) for arch in torch.cuda.get_arch_list() if re.fullmatch(r"sm_\d+", arch)
    ]
    return Build(
        "PyTorch",
        older="install PyTorch 2.14 or older for CUDA 12.6 (https://pytorch.org/get-started/locally)",
        newer="install a newer PyTorch (https://pytorch.org/get-started/locally)",
        oldest=min(supported, default=TURING),
    )
