"""Facts about CUDA without any array library: driver, cards, hidden devices, and the CuPy package that fits them."""

import ctypes
import os
import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from uuid import UUID

DRIVER_LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
DRIVER_FOLDER = Path("/proc/driver/nvidia")
AMD_DRIVER = "/dev/kfd"  # PyTorch for ROCm calls an AMD GPU cuda, too
CAPABILITY_MAJOR, CAPABILITY_MINOR = 75, 76  # attributes of a device in the driver's interface
MAX_NAME_BYTES = 256

VISIBLE_DEVICES = "CUDA_VISIBLE_DEVICES"
CARD_VARIABLES = (VISIBLE_DEVICES, "CUDA_DEVICE_ORDER")  # which card is cuda:N

Capability = tuple[int, int]
TURING: Capability = (7, 5)
MIN_CAPABILITY: dict[int, Capability] = {12: (5, 0), 13: TURING}  # that CuPy for this CUDA has code for


@dataclass(frozen=True)
class Card:
    """One device that the driver shows to this process.

    name        the model, such as "NVIDIA H100 80GB HBM3"
    uuid        as `nvidia-smi -L` prints it
    capability  the compute capability
    """

    name: str
    uuid: str
    capability: Capability


def driver_version() -> int | None:
    """Return the newest CUDA version that the driver supports, as 1000 * major + 10 * minor; None without a driver."""
    version = ctypes.c_int(0)
    try:
        status = ctypes.CDLL(DRIVER_LIBRARY).cuDriverGetVersion(ctypes.byref(version))
    except (OSError, AttributeError):
        return None
    return version.value if status == 0 else None


def driver_is_missing() -> bool:
    """Return whether there is no library of the NVIDIA driver; false also for one that does not work."""
    try:
        ctypes.CDLL(DRIVER_LIBRARY)
    except OSError:
        return True
    return False


def visible_cards() -> list[Card]:
    """List the cards that the driver shows to this process, in the order of cuda:0, cuda:1, ...

    The list is empty without a driver, and if the driver cannot be initialised.
    """
    try:
        driver = ctypes.CDLL(DRIVER_LIBRARY)
        count = ctypes.c_int(0)
        if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
            return []
        return [_read_card(driver, ordinal) for ordinal in range(count.value)]
    except (OSError, AttributeError):
        return []


def _read_card(driver: ctypes.CDLL, ordinal: int) -> Card:
    """Return one card; raise OSError if the driver refuses an answer."""
    device, major, minor = ctypes.c_int(0), ctypes.c_int(0), ctypes.c_int(0)
    name, uuid = ctypes.create_string_buffer(MAX_NAME_BYTES), ctypes.create_string_buffer(16)
    get_uuid = getattr(driver, "cuDeviceGetUuid_v2", None) or driver.cuDeviceGetUuid  # before driver 470
    if (
        driver.cuDeviceGet(ctypes.byref(device), ordinal)
        or driver.cuDeviceGetName(name, MAX_NAME_BYTES, device)
        or get_uuid(uuid, device)
        or driver.cuDeviceGetAttribute(ctypes.byref(major), CAPABILITY_MAJOR, device)
        or driver.cuDeviceGetAttribute(ctypes.byref(minor), CAPABILITY_MINOR, device)
    ):
        raise OSError(f"the NVIDIA driver does not describe device {ordinal}")
    model = name.value.decode(errors="replace")
    prefix = "MIG" if " MIG " in model else "GPU"
    return Card(model, f"{prefix}-{UUID(bytes=uuid.raw)}", (major.value, minor.value))


def card_of(device: str) -> Card | None:
    """Return the card of "cuda:N"; None for any other device, and if the driver shows no such card."""
    kind, _, ordinal = device.partition(":")
    cards = visible_cards() if kind == "cuda" and ordinal.isdecimal() else []
    return cards[int(ordinal)] if cards and int(ordinal) < len(cards) else None


def describe_card(device: str) -> dict[str, str]:
    """Return model, UUID and compute capability of "cuda:N", driver, and the variables that number the devices.

    The dict is empty for a device that the NVIDIA driver does not show.
    """
    card = card_of(device)
    if card is None:
        return {}
    variables = {name: value for name in CARD_VARIABLES if (value := os.environ.get(name)) is not None}
    return {
        "gpu": card.name,
        "gpu uuid": card.uuid,
        "compute capability": capability_text(card.capability),
        "driver": driver_text(),
        **variables,
    }


def capability_text(capability: Capability) -> str:
    """Return a compute capability as NVIDIA writes it, such as "9.0"."""
    return ".".join(map(str, capability))


def driver_text() -> str:
    """Return the version of the driver and of the CUDA that it supports, as far as they can be read."""
    version = driver_version() or 0
    cuda = f"CUDA {version // 1000}.{version % 1000 // 10}"
    try:
        text = (DRIVER_FOLDER / "version").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return cuda
    found = re.search(r"Kernel Module\s+(?:for \S+\s+)?(\d+(?:\.\d+)+)", text)
    return f"{found[1]} ({cuda})" if found else cuda


def extra_for(driver: int | None, capability: Capability | None) -> str:
    """Return the extra of pyproject.toml with CuPy for this driver and card; None: it is not known.

    CUDA 13 has no code for cards before Turing, whatever their driver. The newest extra without a driver.
    """
    if capability is not None and capability < TURING:
        return "cuda12"
    return "cuda12" if driver is not None and driver < 13000 else "cuda13"


def fitting_extra(device: str = "cuda:0") -> str:
    """Return the extra with CuPy for the driver of this machine and the card of "cuda:N"."""
    driver = driver_version()
    card = card_of(device) if driver is not None else None
    return extra_for(driver, card.capability if card else None)


@cache  # it reads the metadata of every distribution
def installed_wheels() -> list[str]:
    """List the CuPy distributions of this environment; several overwrite each other's files."""
    from importlib.metadata import distributions  # here, because every command imports this module at its start

    names = {(d.metadata["Name"] or "").lower() for d in distributions()}
    return sorted(name for name in names if name == "cupy" or name.startswith("cupy-cuda"))


def replace_cupy(extra: str) -> str:
    """Return the command that replaces the installed CuPy by the one of an extra."""
    return f'pip uninstall -y {" ".join(installed_wheels()) or "cupy"} && pip install -e ".[{extra}]"'


def hidden_devices(seen: int = 0) -> str:
    """Return what CUDA_VISIBLE_DEVICES hides, as a note for the end of a sentence.

    The note is empty if the variable is not set, and without a driver, whose devices it could hide. `seen` is the
    number of devices that are left.
    """
    value = os.environ.get(VISIBLE_DEVICES)
    if value is None or driver_version() is None:
        return ""
    effect = _effect(value, _installed_uuids())
    if effect is None:
        effect = "which hides all others" if seen else "which names no device that CUDA finds, and hides all others"
    return f" ({VISIBLE_DEVICES} is set to {value!r}, {effect})"


def visibility_remedy() -> str:
    """Return what to do if CUDA shows no device, which CUDA_VISIBLE_DEVICES may have hidden."""
    if VISIBLE_DEVICES not in os.environ:
        return (
            "run nvidia-smi -L to see the devices of the driver (with MIG on it must list a MIG device; a container "
            "must be started with its GPUs)"
        )
    count = len(_installed_uuids())
    names = "devices that nvidia-smi -L lists"
    if count:
        names = f"device{'s' if count > 1 else ''} {_range_text(count)} of this machine"
    return f"unset {VISIBLE_DEVICES}, or name {names} in it, each once"


def _range_text(count: int) -> str:
    return "0" if count == 1 else f"0 to {count - 1}"


def _effect(value: str, uuids: list[str]) -> str | None:
    """Return what CUDA makes of a value of CUDA_VISIBLE_DEVICES; None if it names devices that may exist.

    CUDA reads the list up to the first entry that is no device, and shows nothing if a device is named twice. `uuids`
    are those of all GPUs of this machine, empty if they are not known.
    """
    if not value.strip():
        return "which hides every device"
    entries = [entry.strip() for entry in value.split(",")]
    named: set[str] = set()
    for position, entry in enumerate(entries):
        identity, why = _read_entry(entry, uuids)
        if why is not None:
            which = "which" if len(entries) == 1 else f"in which {entry!r}"
            return f"{which} {'hides itself and all that follow' if position else 'hides every device'}{why}"
        if identity in named:
            return f"which names {entry!r} twice, and hides every device"
        named.add(identity)
    return None


def _read_entry(entry: str, uuids: list[str]) -> tuple[str, str | None]:
    """Return the identity of the device that an entry of CUDA_VISIBLE_DEVICES names, and why there is none, or None."""
    why = None
    if number := re.match(r"[+-]?\d+", entry):
        index = int(number[0])
        if index < 0:
            why = ""
        elif uuids and index >= len(uuids):
            devices = "1 device" if len(uuids) == 1 else f"{len(uuids)} devices"
            why = f": this machine has {devices}, {_range_text(len(uuids))}"
        return str(index), why
    if entry.startswith("GPU-"):
        matching = [uuid for uuid in uuids if uuid.lower().startswith(entry.lower())]
        if uuids and not matching:
            why = ": no GPU of this machine has that UUID"
        elif len(matching) > 1:
            why = ": the UUIDs of several GPUs begin so"
        return matching[0] if matching else entry, why
    return entry, None if entry.startswith("MIG-") else ": it is no index and no UUID"


def _installed_uuids() -> list[str]:
    """List the UUIDs of all GPUs of this machine, hidden ones too; empty if the driver's files cannot be read."""
    uuids = []
    for path in sorted(DRIVER_FOLDER.glob("gpus/*/information")):
        try:
            found = re.search(r"GPU UUID:\s*(GPU-\S+)", path.read_text(encoding="utf-8", errors="replace"))
        except OSError:
            return []
        if found is None:
            return []
        uuids.append(found[1])
    return uuids
