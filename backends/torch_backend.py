"""PyTorch backend: tensors without autograd, since the gradient is computed by `lagvis.network`."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import ClassVar

import array_api_compat.torch as compat
import numpy as np
import torch

from lagvis.backends.backend import Backend, Run, Step, plain_scan, self_test
from lagvis.backends.cuda import hidden_devices
from lagvis.backends.replay.namespace import RecordableNamespace
from lagvis.backends.replay.tape import recorded_scan
from lagvis.backends.replay.torch_recorder import TorchRecorder
from lagvis.errors import DeviceError
from lagvis.tree import Tree

# array_api_compat's `take` checks for negative indices, which never occur here: six calls less in a step
_functions = ModuleType("torch")
_functions.__dict__.update({**vars(compat), "take": lambda x, indices, *, axis: torch.index_select(x, axis, indices)})
xp = RecordableNamespace(_functions)


class TorchBackend(Backend):
    """PyTorch tensors on the CPU or on one CUDA device."""

    name: ClassVar[str] = "torch"
    sets_threads: ClassVar[bool] = True
    xp = xp

    def asarray(self, host: np.ndarray) -> torch.Tensor:
        return torch.tensor(host, device=self.device)

    def to_numpy(self, array: torch.Tensor) -> np.ndarray:
        return array.to("cpu", copy=True).numpy()

    def synchronize(self) -> None:
        if self.device != "cpu":
            torch.cuda.synchronize(self.device)

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

        def without_autograd(state: Tree, inputs: tuple[torch.Tensor, ...], constants: tuple[Tree, ...]) -> Tree:
            with torch.inference_mode():
                return run(state, inputs, constants)

        return without_autograd

    def versions(self) -> dict[str, str]:
        versions = {"torch": torch.__version__}
        if self.device != "cpu":
            versions |= {"cuda": str(torch.version.cuda), "gpu": torch.cuda.get_device_name(self.device)}
        return versions


def find_devices() -> list[str]:
    """List the devices that PyTorch sees, fastest first."""
    cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return [f"cuda:{ordinal}" for ordinal in range(cuda)] + ["cpu"]


def open_backend(device: str, dtype: str, compiled: bool) -> Backend:
    """Open PyTorch on "cpu" or "cuda:N"; raise DeviceError if PyTorch sees no such device."""
    seen = find_devices()
    if device not in seen and torch.version.cuda is None:
        raise DeviceError(
            f"PyTorch {torch.__version__} is built without CUDA",
            "install a CUDA build of PyTorch (https://pytorch.org/get-started/locally), or use --device cpu",
        )
    if device not in seen:
        raise DeviceError(
            f"PyTorch {torch.__version__} sees {len(seen) - 1} CUDA devices, so there is no {device}{hidden_devices()}",
            "install or update the NVIDIA driver, or use --device cpu",
        )
    return self_test(
        TorchBackend(device, dtype, compiled and device == "cpu"),
        "update PyTorch or the NVIDIA driver, or use --device cpu",
    )
