import sys
from types import SimpleNamespace

import pytest

from lagvis.backends import registry
from lagvis.backends.backend import opening_error, self_test
from lagvis.backends.registry import BACKENDS, select
from lagvis.errors import DeviceError, DeviceUsageError
from lagvis.installation import CHECKOUT
from tests.fake_backends import ReadOnlyBackend


class FakeGpu(ReadOnlyBackend):
    """NumPy backend that reports a CUDA device."""

    def __init__(self, device, dtype):
        super().__init__(dtype)
        self.device = device


def library(monkeypatch, name, *, devices=("cpu",), error=None, broken=()):
    """Replace the module of a backend by a fake with these devices; `broken` devices are listed but do not open."""

    def find_devices():
        if error:
            raise error
        return list(devices)

    def open_backend(device, dtype, compiled):
        if error:
            raise error
        if device not in devices or device in broken:
            raise DeviceError(f"{name} has no working {device}", "fix it")
        return FakeGpu(device, dtype)

    fake = SimpleNamespace(find_devices=find_devices, open_backend=open_backend)
    monkeypatch.setitem(BACKENDS, name, (f"tests.fake_{name}", name, BACKENDS[name][2]))
    monkeypatch.setitem(sys.modules, f"tests.fake_{name}", fake)


MISSING = DeviceError("CuPy is not installed", "install it")


@pytest.mark.parametrize(
    "device", ["gpu", "cuda:", "cuda:-1", "CPU", "cuda:1.5", "", "auto:0", "mps:0", "xpu:", "rocm"]
)
def test_select_unknown_device_raises_usage_error(device):
    with pytest.raises(DeviceUsageError, match="there is no device") as caught:
        select(device)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("device", "end"),
    [
        ("gpu", "; a GPU of NVIDIA is cuda, of Apple mps, of Intel xpu"),
        ("GPU:0", "; a GPU of NVIDIA is cuda, of Apple mps, of Intel xpu"),
        ("CUDA:1", "; did you mean cuda:1?"),
        ("rocm", "xpu, xpu:0, ..."),
    ],
)
def test_select_unknown_device_names_the_one_that_is_meant(device, end):
    with pytest.raises(DeviceUsageError) as caught:
        select(device)
    assert str(caught.value).endswith(end)


@pytest.mark.parametrize(
    ("device", "backend"), [("cuda", "numpy"), ("cuda:1", "numpy"), ("cpu", "cupy"), ("cpu", "tensorflow")]
)
def test_select_backend_without_that_device_raises_usage_error(device, backend):
    with pytest.raises(DeviceUsageError):
        select(device, backend)


@pytest.mark.parametrize("device", ["mps", "xpu", "xpu:1"])
@pytest.mark.parametrize("backend", ["numpy", "cupy", "jax"])
def test_select_other_gpus_with_another_library_names_torch(device, backend):
    kind = device.partition(":")[0]
    with pytest.raises(DeviceUsageError, match=f"has no device {kind}; for {kind}, use --backend torch"):
        select(device, backend)


@pytest.mark.parametrize(("device", "opened"), [("mps", "mps"), ("xpu", "xpu:0"), ("xpu:1", "xpu:1")])
def test_select_other_gpus_without_backend_is_torch(monkeypatch, device, opened):
    library(monkeypatch, "torch", devices=("xpu:0", "xpu:1", "mps", "cpu"))
    chosen = select(device)
    assert (chosen.device, chosen.fallback, chosen.notices) == (opened, None, [])


def test_select_auto_without_backend_takes_no_other_gpu(monkeypatch):
    library(monkeypatch, "cupy", error=MISSING)
    library(monkeypatch, "torch", devices=("xpu:0", "mps", "cpu"))
    assert select("auto").name == select("cpu").name == "numpy"


@pytest.mark.parametrize("backend", [None, "torch"])
def test_select_mps_in_float64_raises_usage_error(backend):
    with pytest.raises(DeviceUsageError, match="mps has no float64; expected --dtype float32"):
        select("mps", backend, "float64")


def test_select_auto_on_a_mac_names_mps(monkeypatch):
    library(monkeypatch, "cupy", error=MISSING)
    monkeypatch.setattr(registry.sys, "platform", "darwin")
    monkeypatch.setattr(registry.platform, "machine", lambda: "arm64")
    assert select("auto").fallback.endswith("On an Apple GPU, --device mps computes with PyTorch.")


def test_select_reports_variables_and_rounding_once(monkeypatch):
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    library(monkeypatch, "cupy", devices=("cuda:0",))
    monkeypatch.setattr(FakeGpu, "name", "cupy")
    for device in ("auto", "cuda"):
        (notice,) = select(device).notices
        assert notice.startswith("NVIDIA_TF32_OVERRIDE is set to '1', so cuBLAS may round")


def test_select_import_that_raises_value_error_names_the_variables(monkeypatch, tmp_path):
    (tmp_path / "refusing.py").write_text("raise ValueError('Invalid value for JAX flag')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(BACKENDS, "jax", ("refusing", "JAX", ("cpu",)))
    monkeypatch.setenv("JAX_DEFAULT_MATMUL_PRECISION", "garbage")
    with pytest.raises(DeviceError, match="JAX cannot be imported") as caught:
        select("cpu", "jax")
    assert "unset or correct" in caught.value.remedy
    assert "JAX_DEFAULT_MATMUL_PRECISION" in caught.value.remedy


@pytest.mark.parametrize("package", ["array_api_compat", "threadpoolctl"])
def test_select_without_a_package_of_lagvis_names_that_and_no_extra(monkeypatch, tmp_path, package):
    """`pip install -e ".[numpy]"` was proposed, an extra that does not exist."""
    (tmp_path / "lacking.py").write_text(f"raise ModuleNotFoundError('No module', name='{package}')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(BACKENDS, "numpy", ("lacking", "NumPy", ("cpu",)))
    with pytest.raises(DeviceError, match=f"the package {package.replace('_', '-')} is not installed for") as caught:
        select("cpu", "numpy")
    assert caught.value.remedy.endswith(f"-m pip install -e {CHECKOUT}")


def test_opening_error_of_a_missing_package_installs_it():
    """CuPy may stand alone on a machine: what it lacks is imported when its device is opened."""
    error = ModuleNotFoundError("No module named 'array_api_compat'", name="array_api_compat")
    found = opening_error(error, "cupy", "cuda:0", "update it")
    assert found.reason.startswith("the package array-api-compat is not installed for ")
    assert "pip install -e" in found.remedy


def test_opening_error_of_a_package_that_the_library_lacks_keeps_the_remedy_of_the_library():
    error = ModuleNotFoundError("No module named 'cuda.pathfinder'", name="cuda.pathfinder")
    found = opening_error(error, "cupy", "cuda:0", "update it")
    assert (found.remedy, "No module named 'cuda.pathfinder'" in found.reason) == ("update it", True)


def test_select_cuda_with_an_amd_driver_names_torch(monkeypatch, tmp_path):
    library(monkeypatch, "cupy", error=MISSING)
    library(monkeypatch, "torch", devices=("cuda:0", "cpu"))
    library(monkeypatch, "jax", devices=("cpu",))
    monkeypatch.setattr(registry, "driver_version", lambda: None)
    monkeypatch.setattr(registry, "AMD_DRIVER", str(tmp_path))
    with pytest.raises(DeviceError, match="--backend torch can use the GPU already"):
        select("cuda")


def test_select_unknown_dtype_raises_usage_error():
    with pytest.raises(DeviceUsageError, match="float16"):
        select("cpu", dtype="float16")


def test_select_cpu_is_numpy_without_fallback():
    chosen = select("cpu", dtype="float64")
    assert (chosen.name, chosen.device, chosen.dtype, chosen.fallback) == ("numpy", "cpu", "float64", None)


def test_select_auto_takes_working_gpu(monkeypatch):
    library(monkeypatch, "cupy", devices=("cuda:0", "cuda:1"))
    chosen = select("auto")
    assert (chosen.device, chosen.fallback) == ("cuda:0", None)


def test_select_auto_without_gpu_falls_back_with_reason_and_fix(monkeypatch):
    library(monkeypatch, "cupy", error=MISSING)
    chosen = select("auto")
    assert (chosen.name, chosen.device) == ("numpy", "cpu")
    assert chosen.fallback == "No GPU is used: CuPy is not installed. To fix it: install it."


def test_select_auto_broken_gpu_falls_back(monkeypatch):
    library(monkeypatch, "cupy", devices=("cuda:0",), broken=("cuda:0",))
    chosen = select("auto")
    assert chosen.name == "numpy"
    assert "no working cuda:0" in chosen.fallback


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:3"])
def test_select_explicit_gpu_missing_raises(monkeypatch, device):
    library(monkeypatch, "cupy", error=MISSING)
    with pytest.raises(DeviceError, match="CuPy is not installed") as caught:
        select(device)
    assert caught.value.exit_code == 4


def test_select_auto_with_backend_uses_its_gpu(monkeypatch):
    library(monkeypatch, "torch", devices=("cuda:0", "cpu"))
    assert select("auto", "torch").device == "cuda:0"
    library(monkeypatch, "torch", devices=("cpu",))
    chosen = select("auto", "torch")
    assert chosen.device == "cpu"
    assert "sees no CUDA device" in chosen.fallback
    library(monkeypatch, "torch", devices=("cuda:0", "cpu"), broken=("cuda:0",))
    chosen = select("auto", "torch")
    assert chosen.device == "cpu"
    assert "no working cuda:0" in chosen.fallback


@pytest.mark.parametrize("maker", [None, "NVIDIA", "AMD"])
def test_select_auto_no_gpu_seen_has_the_reason_of_the_library_where_a_driver_is(monkeypatch, tmp_path, maker):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    monkeypatch.setattr(registry, "driver_version", lambda: 13000 if maker == "NVIDIA" else None)
    monkeypatch.setattr(registry, "AMD_DRIVER", str(tmp_path if maker == "AMD" else tmp_path / "none"))
    library(monkeypatch, "torch", devices=("cpu",), broken=("cuda:0",))
    reason = "no working cuda:0" if maker else "No GPU is used: torch sees no CUDA device"
    fallback = select("auto", "torch").fallback
    assert reason in fallback
    assert "CUDA_VISIBLE_DEVICES" not in fallback


def test_select_auto_cupy_missing_raises(monkeypatch):
    library(monkeypatch, "cupy", error=MISSING)
    with pytest.raises(DeviceError):
        select("auto", "cupy")


def test_select_auto_named_library_missing_raises(monkeypatch):
    monkeypatch.setitem(BACKENDS, "torch", ("tests.no_such_module", "PyTorch", ("cpu", "cuda")))
    monkeypatch.setitem(sys.modules, "tests.no_such_module", None)
    with pytest.raises(DeviceError, match="PyTorch"):
        select("auto", "torch")


def test_select_cuda_names_another_library_with_gpu(monkeypatch):
    library(monkeypatch, "cupy", error=MISSING)
    library(monkeypatch, "torch", devices=("cuda:0", "cpu"))
    library(monkeypatch, "jax", devices=("cpu",))
    monkeypatch.setattr(registry, "driver_version", lambda: 13000)
    with pytest.raises(DeviceError, match="--backend torch can use the GPU already"):
        select("cuda")
    monkeypatch.setattr(registry, "driver_version", lambda: None)
    with pytest.raises(DeviceError) as caught:
        select("cuda")
    assert "--backend" not in str(caught.value)


def test_self_test_wrong_numbers_raises():
    class Wrong(ReadOnlyBackend):
        def to_numpy(self, array):
            return super().to_numpy(array) + 1

    with pytest.raises(DeviceError, match="computes wrong numbers"):
        self_test(Wrong("float32"), "fix it")


def test_self_test_exception_raises_with_first_line():
    class Throwing(ReadOnlyBackend):
        def asarray(self, host):
            raise OSError("no room in the cache\nsecond line")

    with pytest.raises(DeviceError, match="no room in the cache") as caught:
        self_test(Throwing("float32"), "fix it")
    assert "second line" not in str(caught.value)
