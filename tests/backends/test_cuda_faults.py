"""Faults of card and driver: each has its own reason and remedy, wherever and from whichever library it comes up."""

import json
import sys
from types import SimpleNamespace

import pytest

from lagvis.backends import cupy_backend, registry
from lagvis.backends import status as backend_status
from lagvis.backends.cuda import Card
from lagvis.backends.registry import select
from lagvis.cli import backends as backends_command
from lagvis.cli import train
from lagvis.cli.errors import run_cli
from lagvis.errors import DeviceError, DeviceMemoryError
from tests.cli.commands import write_dataset
from tests.conftest import skip_or_fail
from tests.fake_cuda import (
    GTX_1080,
    H100,
    CUDARuntimeError,
    FakeDriver,
    install_cupy,
    install_driver,
    install_wheels,
    write_driver_files,
)

# (number of CUDA, its words in the libraries, reason, remedy)
FAULTS = [
    (34, "cudaErrorStubLibrary: CUDA driver is a stub library", "stub of the driver", "LD_LIBRARY_PATH"),
    (
        35,
        "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version",
        "too old for it, or was updated",
        "reboot if the driver was updated since the last start, else install a newer NVIDIA driver",
    ),
    (
        46,
        "cudaErrorDevicesUnavailable: CUDA-capable device(s) is/are busy or unavailable",
        "another process holds the card",
        "end the other process (nvidia-smi lists it), or choose another device",
    ),
    (
        46,
        "CUDA error: all CUDA-capable devices are busy or unavailable",
        "another process holds the card",
        "end the other process",
    ),
    (214, "CUDA_ERROR_ECC_UNCORRECTABLE: uncorrectable ECC error encountered", "cannot be corrected", "-d ECC"),
    (
        222,
        "cudaErrorUnsupportedPtxVersion: the provided PTX was compiled with an unsupported toolchain.",
        "older than the CUDA compiler",
        "newer NVIDIA driver",
    ),
    (304, "cudaErrorOperatingSystem: OS call failed or operation not supported on this OS", "refused", "/dev/nvidia*"),
    (802, "CUDA_ERROR_SYSTEM_NOT_READY: system not yet initialized", "not initialised", "nvidia-fabricmanager"),
    (
        803,
        "cudaErrorSystemDriverMismatch: system has unsupported display driver / cuda driver combination",
        "updated while the system was running",
        "reboot, or unload and load",
    ),
    (None, "Failed to initialize NVML: Driver/library version mismatch", "updated while the system", "reboot"),
    (
        804,
        "cudaErrorCompatNotSupportedOnDevice: forward compatibility was attempted on non supported HW",
        "compatibility libraries were loaded",
        "reboot, or unload and load the NVIDIA kernel modules; if LD_LIBRARY_PATH",
    ),
    (805, "cudaErrorMpsConnectionFailed: MPS client failed to connect", "Multi-Process Service", "cuda-mps-control"),
    (999, "cudaErrorUnknown: unknown error", "fails without a reason", "nvidia_uvm"),
]
NO_CODE = [
    (None, "nvrtc: error: invalid value for --gpu-architecture (-arch)\n"),
    (209, "CUDA_ERROR_NO_BINARY_FOR_GPU: no kernel image is available for execution on the device"),
]
TO_CUDA12 = 'pip uninstall -y cupy-cuda13x && pip install -e ".[cuda12]"'
IN_TORCH = "Unexpected error from cudaGetDeviceCount(). Did you run some cuda functions before calling this?"


@pytest.fixture(autouse=True)
def machine(monkeypatch, tmp_path):
    """Run as on a machine with one H100, whose cache folder does not exist yet."""
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "LD_LIBRARY_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path / "not made yet"))
    write_driver_files(monkeypatch, tmp_path / "driver", [H100.uuid])
    install_driver(monkeypatch, FakeDriver(H100))
    monkeypatch.setattr(registry, "_libraries_that_see_a_gpu", lambda: "")


def refusal(device="cuda", backend=None):
    """Return the error of opening a device, after checking that it exits with 4 and never blames the cache."""
    with pytest.raises(DeviceError) as caught:
        select(device, backend)
    assert caught.value.exit_code == 4
    assert "CUPY_CACHE_DIR" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("place", ["count", "stream", "array"])
@pytest.mark.parametrize(("status", "words", "reason", "remedy"), FAULTS)
def test_select_cupy_fault_has_its_own_reason_and_remedy(monkeypatch, place, status, words, reason, remedy):
    error = RuntimeError(words) if status is None else CUDARuntimeError(status, words)
    install_cupy(monkeypatch, **{place: error})
    raised = refusal()
    assert reason in raised.reason
    assert words in raised.reason
    assert remedy in raised.remedy
    chosen = select("auto")
    assert (chosen.name, chosen.device) == ("numpy", "cpu")
    assert chosen.fallback == f"No GPU is used: {raised}"


@pytest.mark.parametrize(("status", "reason"), [(fault[0], fault[2]) for fault in FAULTS if fault[0]])
def test_select_cupy_fault_is_known_by_its_number(monkeypatch, status, reason):
    install_cupy(monkeypatch, count=CUDARuntimeError(status, "in other words"))
    assert reason in refusal().reason


def test_select_cupy_number_of_another_library_is_no_fault_of_the_driver(monkeypatch):
    class NVRTCError(RuntimeError):
        status = 46

    install_cupy(monkeypatch, array=NVRTCError("NVRTC_ERROR_SOMETHING (46)"))
    assert "does not compute: NVRTC_ERROR_SOMETHING" in refusal().reason


@pytest.mark.parametrize(("status", "words"), NO_CODE)
def test_select_cupy_card_too_old_is_named_before_and_after_compiling(monkeypatch, status, words):
    install_driver(monkeypatch, FakeDriver(GTX_1080))
    expected = (
        "CuPy cannot use cuda:0 (NVIDIA GeForce GTX 1080, compute capability 6.1): the card is too old for it, which "
        "needs compute capability 7.5 or newer"
    )
    install_cupy(monkeypatch)
    raised = refusal()
    assert (raised.reason, raised.remedy) == (expected, TO_CUDA12)
    monkeypatch.setattr(cupy_backend, "probe", lambda cupy, ordinal: None)
    install_cupy(monkeypatch, array=CUDARuntimeError(status, words))
    raised = refusal()
    assert (raised.reason, raised.remedy) == (f"{expected} ({words.strip()})", TO_CUDA12)


def test_select_cupy_for_cuda12_serves_an_old_card(monkeypatch):
    install_driver(monkeypatch, FakeDriver(GTX_1080))
    install_cupy(monkeypatch, runtime=12090)
    assert select("cuda").device == "cuda:0"


@pytest.mark.parametrize(("status", "words"), NO_CODE)
def test_select_cupy_card_too_new_proposes_a_newer_cupy(monkeypatch, status, words):
    install_cupy(monkeypatch, array=CUDARuntimeError(status, words))
    raised = refusal()
    assert "(NVIDIA H100 80GB HBM3, compute capability 9.0): the card is too new for it" in raised.reason
    assert raised.remedy == 'pip install -U --upgrade-strategy eager -e ".[cuda13]"'
    install_cupy(monkeypatch, runtime=12080, array=CUDARuntimeError(status, words))
    assert refusal().remedy == 'pip uninstall -y cupy-cuda12x && pip install -e ".[cuda13]"'


@pytest.mark.parametrize(("status", "words"), NO_CODE)
def test_select_cupy_card_of_unknown_age_gets_both_remedies(monkeypatch, status, words):
    install_driver(monkeypatch, None)
    install_cupy(monkeypatch, array=CUDARuntimeError(status, words))
    remedy = refusal().remedy
    assert f"for a card before compute capability 7.5, {TO_CUDA12}" in remedy
    assert 'for a newer one, pip install -U --upgrade-strategy eager -e ".[cuda13]"' in remedy
    assert remedy.startswith("for a card before") == (status is None)


def test_select_cupy_driver_before_cuda12_needs_a_newer_driver(monkeypatch):
    install_cupy(monkeypatch, driver=11040)
    assert refusal().remedy.startswith("install NVIDIA driver 525 or newer")


@pytest.mark.parametrize("status", [803, 804])
def test_select_cupy_compatibility_libraries_are_named(monkeypatch, status):
    monkeypatch.setenv("LD_LIBRARY_PATH", "/usr/lib:/usr/local/cuda-13.0/compat")
    install_cupy(monkeypatch, count=CUDARuntimeError(status, "words"))
    assert refusal().remedy.startswith("remove /usr/local/cuda-13.0/compat from LD_LIBRARY_PATH")
    install_cupy(monkeypatch, count=CUDARuntimeError(46, "words"))
    assert "compat" not in refusal().remedy


@pytest.mark.parametrize("status", [100, 101])
def test_select_cupy_no_device_names_the_variable_that_hides_it(monkeypatch, status):
    install_cupy(monkeypatch, count=CUDARuntimeError(status, "cudaErrorNoDevice: no CUDA-capable device is detected"))
    assert "nvidia-smi -L" in refusal().remedy
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    raised = refusal()
    assert "is set to '5', which hides every device: this machine has 1 device, 0" in raised.reason
    assert raised.remedy == "unset CUDA_VISIBLE_DEVICES, or name device 0 of this machine in it, each once"


def test_select_cupy_out_of_memory_exits_5(monkeypatch):
    words = "cudaErrorMemoryAllocation: out of memory"
    for place in ("stream", "array"):
        install_cupy(monkeypatch, **{place: CUDARuntimeError(2, words)})
        with pytest.raises(DeviceMemoryError, match="no free memory") as caught:
            select("cuda")
        assert caught.value.exit_code == 5


@pytest.mark.parametrize(
    ("error", "names_cache"),
    [
        (PermissionError(13, "Permission denied", "{cache}/tmp8"), True),
        (FileNotFoundError(2, "No such file or directory", "{cache}/tmp8"), True),
        (OSError(28, "No space left on device"), True),
        (OSError("libcublas.so.13: cannot open shared object file: No such file or directory"), False),
        (PermissionError(13, "Permission denied", "/dev/nvidia0"), False),
        (AttributeError("no attribute 'matmul'"), False),
    ],
    ids=repr,
)
def test_select_cupy_cache_is_blamed_for_its_own_errors_alone(monkeypatch, tmp_path, error, names_cache):
    if getattr(error, "filename", None):
        error.filename = error.filename.format(cache=tmp_path / "not made yet")
    install_cupy(monkeypatch, array=error)
    with pytest.raises(DeviceError) as caught:
        select("cuda")
    assert ("CUPY_CACHE_DIR" in caught.value.remedy) == names_cache
    assert ("cannot write its cache" in caught.value.reason) == names_cache


def test_import_cupy_driver_fault_is_named(monkeypatch):
    def broken(name, *args, real=__import__):
        if name == "cupy":
            raise ImportError("system has unsupported display driver / cuda driver combination")
        return real(name, *args)

    monkeypatch.setattr("builtins.__import__", broken)
    install_wheels(monkeypatch, "cupy-cuda13x")
    raised = refusal()
    assert raised.reason.startswith("CuPy cannot use cuda: the driver was updated")
    assert "reboot" in raised.remedy


def test_load_library_with_driver_fault_is_named(monkeypatch):
    def broken(name):
        raise ImportError("Driver/library version mismatch")

    monkeypatch.setattr(registry, "importlib", SimpleNamespace(import_module=broken))
    raised = refusal("cuda", "torch")
    assert raised.reason.startswith("PyTorch cannot use cuda: the driver was updated")


@pytest.mark.parametrize(("status", "words", "reason", "remedy"), FAULTS)
def test_commands_of_a_faulty_card_print_one_line(monkeypatch, tmp_path, capsys, status, words, reason, remedy):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(backend_status, "BACKENDS", {"cupy": registry.BACKENDS["cupy"]})
    write_dataset(tmp_path / "data.npz")
    install_cupy(monkeypatch, count=CUDARuntimeError(status or 1, words))
    flags = ["--data", "data.npz", "-e", "1", "--hidden", "8", "--dry-run", "--json"]
    assert run_cli(train.main, [*flags, "--device", "cuda"]) == 4
    printed = capsys.readouterr()
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    assert reason in printed.err
    assert remedy in printed.err
    assert run_cli(train.main, [*flags, "--device", "auto"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["device"] == "cpu"
    (line,) = [line for line in printed.err.splitlines() if "GPU" in line]
    assert line.startswith("No GPU is used: ")
    assert reason in line
    assert remedy in line
    assert run_cli(backends_command.main, []) == 0
    printed = capsys.readouterr().out
    assert f"{words}" in printed
    assert f"to fix it: {remedy}" in printed or remedy in printed
    assert "--device auto selects numpy on cpu." in printed


def test_commands_on_a_card_name_it_by_model_and_uuid(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(backend_status, "BACKENDS", {"cupy": registry.BACKENDS["cupy"]})
    write_dataset(tmp_path / "data.npz")
    install_cupy(monkeypatch)
    flags = ["--data", "data.npz", "-e", "1", "--hidden", "8", "--name", "r", "--no-plots", "--no-compile"]
    assert run_cli(train.main, [*flags, "--device", "cuda"]) == 0
    first, *rest = capsys.readouterr().err.splitlines()
    assert first == f"cuda:0 is {H100.name} ({H100.uuid})."
    assert any("parameters" in line for line in rest)
    recorded = json.loads((tmp_path / "runs" / "r" / "environment.json").read_text())
    assert (recorded["gpu"], recorded["gpu uuid"], recorded["compute capability"]) == (H100.name, H100.uuid, "9.0")
    assert recorded["driver"] == "CUDA 13.0"
    assert run_cli(backends_command.main, []) == 0
    printed = capsys.readouterr().out
    assert f"gpu {H100.name}, gpu uuid {H100.uuid}, compute capability 9.0, driver CUDA 13.0" in printed
    assert "--device auto selects cupy on cuda:0." in printed


def fake_torch(monkeypatch, *, count=0, initial=None, architectures=("sm_75", "sm_90", "compute_90"), first=None):
    """Give the installed PyTorch this number of GPUs; `initial` is raised by `init`, `first` by the first array."""
    try:
        import torch
    except ImportError as error:
        skip_or_fail("torch", f"PyTorch is not installed: {error}")
    from lagvis.backends import torch_backend

    def init():
        if initial:
            raise initial

    def asarray(backend, host):
        if first and backend.device != "cpu":
            raise first
        return torch.tensor(host)

    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: list(architectures))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    monkeypatch.setattr(torch.cuda, "init", init)
    monkeypatch.setattr(torch_backend.TorchBackend, "asarray", asarray)


def fake_jax(monkeypatch, *, count=0, initial=None, first=None):
    """Give the installed JAX this number of GPUs; `initial` is raised by `devices`, `first` by the first array."""
    try:
        import jax
    except ImportError as error:
        skip_or_fail("jax", f"JAX is not installed: {error}")
    from lagvis.backends import jax_backend

    real = jax.devices

    def devices(platform=None):
        if platform != "cuda":
            return real(platform)
        if initial:
            raise initial
        return [SimpleNamespace(device_kind="a GPU")] * count

    def asarray(backend, host):
        raise first

    monkeypatch.setattr(jax_backend.jax, "devices", devices)
    if first:
        monkeypatch.setattr(jax_backend.JaxBackend, "asarray", asarray)


FAKES = {"torch": fake_torch, "jax": fake_jax}


@pytest.mark.parametrize("place", ["initial", "first"])
@pytest.mark.parametrize("backend", FAKES)
@pytest.mark.parametrize(("status", "words", "reason", "remedy"), FAULTS)
def test_select_other_library_fault_has_the_same_reason(monkeypatch, backend, place, status, words, reason, remedy):
    FAKES[backend](
        monkeypatch, count=int(place == "first"), **{place: RuntimeError(f"Unable to use it: {words}\nmore")}
    )
    raised = refusal("cuda", backend)
    assert reason in raised.reason
    assert words in raised.reason
    assert "more" not in raised.reason
    assert remedy in raised.remedy
    chosen = select("auto", backend)
    assert (chosen.name, chosen.device) == (backend, "cpu")
    assert reason in chosen.fallback
    assert remedy in chosen.fallback


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (f"{IN_TORCH} Error 804: forward compatibility was attempted on non supported HW", "compatibility libraries"),
        (f"{IN_TORCH} Error 803: in other words", "updated while the system was running"),
        (f"{IN_TORCH} Error 802: system not yet initialized", "not initialised"),
        ("The NVIDIA driver on your system is too old (found version 11040).", "too old for it"),
        ("CUDA unknown error - this may be due to an incorrectly set up environment", "fails without a reason"),
    ],
)
def test_select_torch_knows_pytorch_words(monkeypatch, words, reason):
    fake_torch(monkeypatch, initial=RuntimeError(words))
    assert reason in refusal("cuda", "torch").reason


HIDING = ["-1", "", "7", "0,0", "GPU-ffffffff", "MIG-ffffffff", "NoDevFiles"]
NO_DEVICES = {
    "torch": "No CUDA GPUs are available",
    "jax": "Backend 'cuda' failed to initialize: FAILED_PRECONDITION: No visible GPU devices.",
}


@pytest.mark.parametrize("backend", FAKES)
@pytest.mark.parametrize("value", HIDING)
def test_select_other_library_hidden_card_names_the_variable(monkeypatch, backend, value):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    install_driver(monkeypatch, FakeDriver())
    FAKES[backend](monkeypatch, initial=RuntimeError(NO_DEVICES[backend]))
    raised = refusal("cuda", backend)
    assert "sees 0 CUDA devices, so there is no cuda:0" in raised.reason
    assert NO_DEVICES[backend] in raised.reason
    assert f"(CUDA_VISIBLE_DEVICES is set to {value!r}, " in raised.reason
    assert raised.remedy == "unset CUDA_VISIBLE_DEVICES, or name device 0 of this machine in it, each once"
    assert str(raised) in select("auto", backend).fallback


@pytest.mark.parametrize("value", HIDING)
def test_commands_hidden_card_names_the_variable(monkeypatch, tmp_path, capsys, value):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(backend_status, "BACKENDS", {"cupy": registry.BACKENDS["cupy"]})
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    write_dataset(tmp_path / "data.npz")
    install_driver(monkeypatch, FakeDriver())
    install_cupy(monkeypatch, count=CUDARuntimeError(100, "cudaErrorNoDevice: no CUDA-capable device is detected"))
    flags = ["--data", "data.npz", "-e", "1", "--hidden", "8", "--dry-run"]
    sentence = f"(CUDA_VISIBLE_DEVICES is set to {value!r}, which "
    remedy = "unset CUDA_VISIBLE_DEVICES, or name device 0 of this machine in it"
    assert run_cli(train.main, [*flags, "--device", "cuda"]) == 4
    printed = capsys.readouterr().err
    assert sentence in printed
    assert remedy in printed
    assert run_cli(train.main, [*flags, "--device", "auto"]) == 0
    assert sentence in capsys.readouterr().err
    assert run_cli(backends_command.main, []) == 0
    assert sentence in capsys.readouterr().out


def test_select_cupy_ordinal_is_counted_among_the_visible(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    install_cupy(monkeypatch, count=2)
    raised = refusal("cuda:2")
    assert "CuPy sees 2 CUDA devices, so there is no cuda:2 (CUDA_VISIBLE_DEVICES is set to '1,0', " in raised.reason
    assert raised.remedy == ("use --device cuda:1 or lower, counted among the devices that CUDA_VISIBLE_DEVICES shows")


@pytest.mark.parametrize(
    ("plugin", "platforms", "reason", "remedy"),
    [
        (None, None, "is installed without CUDA", "jax[cuda13]"),
        ("xla_cuda13", None, "sees 0 CUDA devices, so there is no cuda:0", "install or update the NVIDIA driver"),
        (None, "cpu", "JAX_PLATFORMS is set to 'cpu'", "unset JAX_PLATFORMS"),
        ("xla_cuda13", "cpu", "JAX_PLATFORMS is set to 'cpu'", "unset JAX_PLATFORMS"),
    ],
)
def test_select_jax_without_cuda_backend_has_its_cause(monkeypatch, plugin, platforms, reason, remedy):
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    if platforms:
        monkeypatch.setenv("JAX_PLATFORMS", platforms)
    fake_jax(monkeypatch, initial=RuntimeError("Unknown backend cuda. Available backends are ['cpu']"))
    plugins = [SimpleNamespace(name=plugin)] if plugin else []
    monkeypatch.setattr(sys.modules["lagvis.backends.jax_backend"], "entry_points", lambda group: plugins)
    raised = refusal("cuda", "jax")
    assert reason in raised.reason
    assert remedy in raised.remedy
    assert ("jax[cuda13]" in raised.remedy) == (plugin is None and platforms is None)


def test_train_fault_after_opening_exits_4(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    write_dataset(tmp_path / "data.npz")
    install_cupy(monkeypatch)

    def broken(*args, **kwargs):
        raise CUDARuntimeError(999, "cudaErrorUnknown: unknown error")

    monkeypatch.setattr(train, "fit", broken)
    assert run_cli(train.main, ["--data", "data.npz", "--hidden", "8", "--device", "cuda", "--quiet"]) == 4
    printed = capsys.readouterr().err
    assert printed.startswith("error: the array library cannot use the GPU: the driver fails without a reason")
    assert "nvidia_uvm" in printed


def test_resume_on_another_card_is_reported_and_recorded(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    write_dataset(tmp_path / "data.npz")
    install_cupy(monkeypatch)
    flags = ["--data", "data.npz", "--hidden", "8", "--no-plots"]
    assert run_cli(train.main, [*flags, "-e", "1", "--name", "r", "--device", "cuda"]) == 0
    twin = Card(H100.name, "GPU-00000000-0000-0000-0000-000000000001", H100.capability)
    other = Card("NVIDIA H200", "GPU-00000000-0000-0000-0000-000000000002", H100.capability)
    changed = []
    for epochs, card, effect in ((2, twin, "another card of the same model"), (3, other, "the bytes may differ")):
        install_driver(monkeypatch, FakeDriver(card))
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", str(epochs))
        capsys.readouterr()
        assert run_cli(train.main, ["--resume", "r", "-e", str(epochs), "--no-plots"]) == 0
        printed = capsys.readouterr().err
        assert printed.startswith(f"cuda:0 is {card.name} ({card.uuid}).\n")
        assert f"-> {card.uuid}: {effect}" in printed
        assert "CUDA_VISIBLE_DEVICES" not in printed
        recorded = json.loads((tmp_path / "runs" / "r" / "environment.json").read_text())
        changed.append(recorded["resumed"][-1]["changed"])
        assert changed[-1].pop("epochs") == [epochs - 1, epochs]
    assert changed == [
        {"gpu uuid": [H100.uuid, twin.uuid]},
        {"gpu": [H100.name, other.name], "gpu uuid": [twin.uuid, other.uuid]},
    ]
    assert recorded["CUDA_VISIBLE_DEVICES"] == "3"


@pytest.mark.parametrize(("backend", "older"), [("torch", "CUDA 12.6"), ("jax", 'pip install -U "jax[cuda12]"')])
def test_select_other_library_card_without_code_is_too_old_or_too_new(monkeypatch, backend, older):
    words = "CUDA error: no kernel image is available for execution on the device"
    FAKES[backend](monkeypatch, count=1, first=RuntimeError(words))
    raised = refusal("cuda", backend)
    assert "compute capability 9.0): the card is too new" in raised.reason
    assert "newer" in raised.remedy or "-U" in raised.remedy
    install_driver(monkeypatch, FakeDriver(GTX_1080))
    raised = refusal("cuda", backend)
    assert "compute capability 6.1): the card is too old" in raised.reason
    assert older in raised.remedy


def test_select_torch_serves_the_cards_of_its_build(monkeypatch):
    install_driver(monkeypatch, FakeDriver(GTX_1080))
    fake_torch(monkeypatch, count=1, architectures=("sm_60", "sm_75"), first=RuntimeError("something else"))
    assert "does not compute: something else" in refusal("cuda", "torch").reason
    fake_torch(monkeypatch, count=1, architectures=("sm_70", "sm_75"))
    assert "needs compute capability 7.0 or newer" in refusal("cuda", "torch").reason


@pytest.mark.parametrize("backend", FAKES)
def test_versions_of_other_library_name_the_card(monkeypatch, backend):
    FAKES[backend](monkeypatch, count=1)
    module = sys.modules[f"lagvis.backends.{backend}_backend"]
    cls = module.TorchBackend if backend == "torch" else module.JaxBackend
    extra = () if backend == "torch" else (SimpleNamespace(device_kind="a GPU"),)
    versions = cls("cuda:0", "float32", False, *extra).versions()
    assert (versions["gpu"], versions["gpu uuid"]) == (H100.name, H100.uuid)
    assert "gpu uuid" not in select("cpu", backend).versions()
