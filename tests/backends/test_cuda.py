"""Facts about driver, cards and hidden devices, read from a stand-in for the driver's library and files."""

import pytest

from lagvis.backends import cuda
from lagvis.backends.cuda import Card, extra_for, fitting_extra, hidden_devices, visible_cards
from lagvis.backends.cuda_faults import no_such_device
from tests.fake_cuda import GTX_1080, H100, MIG, FakeDriver, install_driver, write_driver_files

OPEN_MODULE = (
    "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (root@host)\nGCC version: 13\n"
)
CLOSED_MODULE = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19 18:56:32 UTC 2023\n"


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for name in cuda.CARD_VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_driver_version_without_driver_is_none(monkeypatch):
    driver = FakeDriver(version=12080)
    install_driver(monkeypatch, driver)
    assert cuda.driver_version() == 12080
    driver.cuDriverGetVersion = lambda version: 100
    assert cuda.driver_version() is None
    install_driver(monkeypatch, None)
    assert cuda.driver_version() is None


@pytest.mark.parametrize("uuid_function", ["cuDeviceGetUuid_v2", "cuDeviceGetUuid"])
def test_visible_cards_reads_model_uuid_and_capability(monkeypatch, uuid_function):
    install_driver(monkeypatch, FakeDriver(H100, GTX_1080, MIG, uuid_function=uuid_function))
    assert visible_cards() == [H100, GTX_1080, MIG]
    assert cuda.card_of("cuda:1") == GTX_1080
    assert [cuda.card_of(device) for device in ("cuda:3", "cuda", "cpu", "mps")] == [None] * 4


@pytest.mark.parametrize("driver", [None, FakeDriver(H100, status=803), FakeDriver(), object()])
def test_visible_cards_without_working_driver_is_empty(monkeypatch, driver):
    install_driver(monkeypatch, driver)
    assert visible_cards() == []
    assert cuda.describe_card("cuda:0") == {}


def test_visible_cards_refused_answer_is_empty(monkeypatch):
    driver = FakeDriver(H100)
    driver.cuDeviceGetName = lambda name, size, device: 999
    install_driver(monkeypatch, driver)
    assert visible_cards() == []


@pytest.mark.parametrize(
    ("version", "text"),
    [(OPEN_MODULE, "580.95.05 (CUDA 13.0)"), (CLOSED_MODULE, "535.129.03 (CUDA 13.0)"), ("", "CUDA 13.0")],
)
def test_describe_card_names_card_driver_and_variables(monkeypatch, tmp_path, version, text):
    install_driver(monkeypatch, FakeDriver(H100))
    write_driver_files(monkeypatch, tmp_path, [], version)
    facts = {"gpu": H100.name, "gpu uuid": H100.uuid, "compute capability": "9.0", "driver": text}
    assert cuda.describe_card("cuda:0") == facts
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    variables = {"CUDA_VISIBLE_DEVICES": "3", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert cuda.describe_card("cuda:0") == facts | variables


@pytest.mark.parametrize(
    ("driver", "capability", "extra"),
    [
        (None, None, "cuda13"),
        (12080, None, "cuda12"),
        (13000, None, "cuda13"),
        (12080, (9, 0), "cuda12"),
        (13000, (9, 0), "cuda13"),
        (13000, (7, 5), "cuda13"),
        (13000, (7, 0), "cuda12"),
        (13020, (6, 1), "cuda12"),
        (13020, (5, 2), "cuda12"),
        (12080, (6, 1), "cuda12"),
    ],
)
def test_extra_for_driver_and_card(driver, capability, extra):
    assert extra_for(driver, capability) == extra


@pytest.mark.parametrize(
    ("driver", "device", "extra"),
    [
        (None, "cuda:0", "cuda13"),
        (FakeDriver(GTX_1080), "cuda:0", "cuda12"),
        (FakeDriver(H100, GTX_1080), "cuda:0", "cuda13"),
        (FakeDriver(H100, GTX_1080), "cuda:1", "cuda12"),
        (FakeDriver(H100, version=12080), "cuda:0", "cuda12"),
        (FakeDriver(GTX_1080, status=803), "cuda:0", "cuda13"),
        (FakeDriver(GTX_1080, status=803, version=12080), "cuda:0", "cuda12"),
    ],
)
def test_fitting_extra_follows_driver_and_card(monkeypatch, driver, device, extra):
    install_driver(monkeypatch, driver)
    assert fitting_extra(device) == extra


TWO = (GTX_1080.uuid, H100.uuid)


@pytest.mark.parametrize(
    ("value", "effect"),
    [
        ("", "which hides every device"),
        (" ", "which hides every device"),
        ("-1", "which hides every device"),
        ("7", "which hides every device: this machine has 2 devices, 0 to 1"),
        ("0,7,1", "in which '7' hides itself and all that follow: this machine has 2 devices, 0 to 1"),
        ("1,-1,0", "in which '-1' hides itself and all that follow"),
        ("0,1,0", "which names '0' twice, and hides every device"),
        (f"{H100.uuid},GPU-1f0b8c4e", "which names 'GPU-1f0b8c4e' twice, and hides every device"),
        ("GPU-ffffffff", "which hides every device: no GPU of this machine has that UUID"),
        ("0,GPU-ffffffff", "in which 'GPU-ffffffff' hides itself and all that follow: no GPU of this machine has that"),
        ("GPU-", "which hides every device: the UUIDs of several GPUs begin so"),
        ("NoDevFiles", "which hides every device: it is no index and no UUID"),
        ("1, gpu0", "in which 'gpu0' hides itself and all that follow: it is no index and no UUID"),
        ("0", "which hides all others"),
        ("1,0", "which hides all others"),
        (H100.uuid, "which hides all others"),
        ("GPU-8932f937", "which hides all others"),
        (MIG.uuid, "which hides all others"),
    ],
)
def test_hidden_devices_says_what_each_value_hides(monkeypatch, tmp_path, value, effect):
    install_driver(monkeypatch, FakeDriver())
    write_driver_files(monkeypatch, tmp_path, TWO)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert hidden_devices(1).startswith(f" (CUDA_VISIBLE_DEVICES is set to {value!r}, {effect}")


@pytest.mark.parametrize("value", ["7", "GPU-ffffffff", MIG.uuid, "GPU-8932f937,0"])
def test_hidden_devices_of_unknown_machine_names_no_count(monkeypatch, tmp_path, value):
    install_driver(monkeypatch, FakeDriver())
    write_driver_files(monkeypatch, tmp_path, ())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert hidden_devices(0).endswith("which names no device that CUDA finds, and hides all others)")


def test_hidden_devices_unset_is_empty():
    assert hidden_devices() == ""


@pytest.mark.parametrize(
    ("uuids", "remedy"),
    [
        ((), "name devices that nvidia-smi -L lists in it, each once"),
        (TWO[:1], "name device 0 of this machine in it, each once"),
        (TWO, "name devices 0 to 1 of this machine in it, each once"),
    ],
)
def test_no_such_device_all_hidden_names_the_devices(monkeypatch, tmp_path, uuids, remedy):
    write_driver_files(monkeypatch, tmp_path, uuids)
    install_driver(monkeypatch, FakeDriver())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    error = no_such_device("CuPy", 0, "cuda:0", "install a driver")
    assert error.reason.startswith(
        "CuPy sees 0 CUDA devices, so there is no cuda:0 (CUDA_VISIBLE_DEVICES is set to '-1'"
    )
    assert error.remedy == f"unset CUDA_VISIBLE_DEVICES, or {remedy}"


def test_no_such_device_without_driver_does_not_blame_the_variable(monkeypatch):
    install_driver(monkeypatch, None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert str(no_such_device("PyTorch", 0, "cuda:0", "install a driver")) == (
        "PyTorch sees 0 CUDA devices, so there is no cuda:0. To fix it: install a driver."
    )


def test_no_such_device_counts_among_the_visible(monkeypatch, tmp_path):
    install_driver(monkeypatch, FakeDriver())
    write_driver_files(monkeypatch, tmp_path, TWO)
    assert str(no_such_device("JAX", 2, "cuda:9")) == (
        "JAX sees 2 CUDA devices, so there is no cuda:9. To fix it: use --device cuda:1 or lower."
    )
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert str(no_such_device("PyTorch", 1, "cuda:1", "install a driver")) == (
        "PyTorch sees 1 CUDA device, so there is no cuda:1 (CUDA_VISIBLE_DEVICES is set to '1', which hides all others)"
        ". To fix it: use --device cuda:0, counted among the devices that CUDA_VISIBLE_DEVICES shows."
    )
    assert no_such_device("PyTorch", 0, "cuda:1", "install a driver").remedy.startswith("unset CUDA_VISIBLE_DEVICES")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert no_such_device("PyTorch", 0, "cuda:1", "install a driver").remedy == "install a driver"


def test_card_prints_as_nvidia_smi_does():
    assert Card("a", "GPU-1", (10, 0)).capability == (10, 0)
    assert cuda.capability_text((10, 0)) == "10.0"
