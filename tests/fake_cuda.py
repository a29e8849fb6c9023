"""Stand-ins for a machine with GPUs: the library of the driver, its files, and a CuPy that computes with NumPy."""

import contextlib
import ctypes
import sys
import types
from uuid import UUID

import array_api_compat
import array_api_compat.numpy as numpy_namespace
import numpy as np

from lagvis.backends import cuda, cupy_backend
from lagvis.backends.cuda import Card

GTX_1080 = Card("NVIDIA GeForce GTX 1080", "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", (6, 1))
H100 = Card("NVIDIA H100 80GB HBM3", "GPU-1f0b8c4e-0e2b-4a54-9a39-0d8c6f6c1a01", (9, 0))
MIG = Card("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "MIG-5b3f6a1c-7d1e-5c62-8f1a-2c9b7e4d0f13", (9, 0))


class FakeDriver:
    """The functions of libcuda that `backends.cuda` calls, for some cards; `status` is the answer of cuInit."""

    def __init__(self, *cards, version=13000, status=0, uuid_function="cuDeviceGetUuid_v2"):
        self.cards = cards
        self.version = version
        self.status = status
        setattr(self, uuid_function, self._get_uuid)

    def cuDriverGetVersion(self, version):  # noqa: N802
        version._obj.value = self.version
        return 0

    def cuInit(self, flags):  # noqa: N802
        return self.status

    def cuDeviceGetCount(self, count):  # noqa: N802
        count._obj.value = len(self.cards)
        return 0 if self.cards else 100

    def cuDeviceGet(self, device, ordinal):  # noqa: N802
        device._obj.value = ordinal
        return 0

    def cuDeviceGetName(self, name, size, device):  # noqa: N802
        name.value = self.cards[device.value].name.encode()
        return 0

    def _get_uuid(self, uuid, device):
        uuid.raw = UUID(self.cards[device.value].uuid.partition("-")[2]).bytes
        return 0

    def cuDeviceGetAttribute(self, value, attribute, device):  # noqa: N802
        value._obj.value = self.cards[device.value].capability[attribute - cuda.CAPABILITY_MAJOR]
        return 0


def install_driver(monkeypatch, driver):
    """Make ctypes load this driver, or none for None, and leave every other library as it is."""
    real = ctypes.CDLL

    def load(name, *args, **kwargs):
        if name != cuda.DRIVER_LIBRARY:
            return real(name, *args, **kwargs)
        if driver is None:
            raise OSError(f"{name}: cannot open shared object file: No such file or directory")
        return driver

    monkeypatch.setattr(ctypes, "CDLL", load)


def write_driver_files(monkeypatch, folder, uuids, version=""):
    """Write the files of the driver below /proc for GPUs with these UUIDs into a folder, and use it."""
    for number, uuid in enumerate(uuids):
        gpu = folder / "gpus" / f"0000:0{number}:00.0"
        gpu.mkdir(parents=True)
        (gpu / "information").write_text(f"Model: \t\t a GPU\nIRQ:   \t\t 16\nGPU UUID: \t {uuid}\nVideo BIOS: \t ??\n")
    if version:
        (folder / "version").write_text(version)
    monkeypatch.setattr(cuda, "DRIVER_FOLDER", folder)


def install_wheels(monkeypatch, *names):
    """Let these CuPy packages be installed."""
    for module in (cuda, cupy_backend):
        monkeypatch.setattr(module, "installed_wheels", lambda: list(names))


class CUDARuntimeError(RuntimeError):
    """CuPy's error of the CUDA runtime."""

    __module__ = "cupy_backends.cuda.api.runtime"

    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


def install_cupy(
    monkeypatch, *, runtime=13020, driver=13000, count=1, nvrtc=(13, 2), cublas=True, stream=None, array=None
):
    """Make the CuPy backend use a fake CuPy, with or without cuBLAS; an exception given for a call is raised by it."""

    def answer(value):
        def fake_function(*args):
            if isinstance(value, Exception):
                raise value
            return value

        return fake_function

    class Stream(contextlib.nullcontext):
        def __init__(self, non_blocking):
            super().__init__()
            answer(stream)()

        def synchronize(self):
            pass

    def make_array(host):
        answer(array)()
        return np.array(host)

    api = types.SimpleNamespace(
        driverGetVersion=answer(driver), runtimeGetVersion=answer(runtime), getDeviceCount=answer(count)
    )
    cuda_module = types.SimpleNamespace(
        runtime=api,
        nvrtc=types.SimpleNamespace(getVersion=answer(nvrtc)),
        Device=lambda ordinal: contextlib.nullcontext(),
        Stream=Stream,
    )
    fake = types.SimpleNamespace(cuda=cuda_module, array=make_array, asnumpy=np.array, __version__="14.2.0")
    libraries = types.ModuleType("cupy_backends.cuda.libs")
    if cublas:
        libraries.cublas = types.ModuleType("cublas")
    for name in ("cupy_backends", "cupy_backends.cuda"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "cupy_backends.cuda.libs", libraries)
    monkeypatch.setitem(sys.modules, "array_api_compat.cupy", numpy_namespace)
    monkeypatch.setattr(array_api_compat, "cupy", numpy_namespace, raising=False)
    monkeypatch.setattr(cupy_backend, "import_cupy", lambda: fake)
    install_wheels(monkeypatch, f"cupy-cuda{runtime // 1000}x")
    return fake
