"""Faults of CUDA cards and drivers: why a device cannot be used and how to fix it, for CuPy, PyTorch and JAX alike."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from lagvis.backends.backend import first_line, is_library_error
from lagvis.backends.cuda import (
    TURING,
    VISIBLE_DEVICES,
    Capability,
    capability_text,
    card_of,
    hidden_devices,
    visibility_remedy,
)
from lagvis.errors import DeviceError
from lagvis.option_text import option


@dataclass(frozen=True)
class Fault:
    """A fault of a driver or a card.

    statuses  its numbers, which the driver (CUresult) and the runtime (cudaError_t) share
    words     parts of the texts of libraries and driver that mean it, in lower case
    reason    what is wrong
    remedy    how to fix it
    """

    statuses: tuple[int, ...]
    words: tuple[str, ...]
    reason: str
    remedy: str


REBOOT = "reboot, or unload and load the NVIDIA kernel modules"

FAULTS = (
    Fault(
        (34,),
        ("stublibrary", "stub_library", "driver is a stub"),
        "the stub of the driver library that comes with the CUDA toolkit was loaded in place of the driver",
        "remove the folder with stubs in its name from LD_LIBRARY_PATH",
    ),
    Fault(
        (35,),
        ("insufficientdriver", "driver version is insufficient", "nvidia driver on your system is too old"),
        "the NVIDIA driver is too old for it, or was updated while the system was running",
        "reboot if the driver was updated since the last start, else install a newer NVIDIA driver",
    ),
    Fault(
        (46,),
        ("devicesunavailable", "device_unavailable", "busy or unavailable"),
        "another process holds the card (its compute mode may allow one process alone)",
        "end the other process (nvidia-smi lists it), or choose another device (cuda:N)",
    ),
    Fault(
        (214,),
        ("eccuncorrectable", "ecc_uncorrectable", "uncorrectable ecc error"),
        "the memory of the card has an error that cannot be corrected",
        "use another device; nvidia-smi -q -d ECC shows the errors, and a reset of the card may clear them",
    ),
    Fault(
        (222,),
        ("unsupportedptxversion", "unsupported_ptx_version", "compiled with an unsupported toolchain"),
        "the NVIDIA driver is older than the CUDA compiler",
        "install a newer NVIDIA driver",
    ),
    Fault(
        (304,),
        ("cudaerroroperatingsystem", "cuda_error_operating_system", "os call failed"),
        "the operating system refused a call of the driver",
        "check that this user can open /dev/nvidia* (a container must be started with its GPUs)",
    ),
    Fault(
        (802,),
        ("systemnotready", "system_not_ready", "system not yet initialized"),
        "the system is not initialised yet, as on machines with NVSwitch whose fabric manager does not run",
        "start it in the version of the driver (systemctl start nvidia-fabricmanager), or reboot",
    ),
    Fault(
        (803,),
        (
            "systemdrivermismatch",
            "system_driver_mismatch",
            "display driver / cuda driver combination",
            "driver/library version mismatch",
        ),
        "the driver was updated while the system was running, and its parts no longer fit each other",
        REBOOT,
    ),
    Fault(
        (804,),
        (
            "compatnotsupportedondevice",
            "compat_not_supported_on_device",
            "forward compatibility was attempted on non supported hw",
        ),
        "CUDA's compatibility libraries were loaded, which do not serve this card, or "
        "the driver was updated while the system was running",
        f"{REBOOT}; if LD_LIBRARY_PATH or the container brings CUDA's compatibility libraries, remove them",
    ),
    Fault(
        (805, 806, 807),
        ("mpsconnectionfailed", "mps_connection_failed", "mpsrpcfailure", "mps_rpc_failure", "mpsservernotready"),
        "the CUDA Multi-Process Service does not answer",
        "start it (nvidia-cuda-mps-control -d), or unset CUDA_MPS_PIPE_DIRECTORY",
    ),
    Fault(
        (999,),
        ("cudaerrorunknown", "cuda_error_unknown", "cuda unknown error"),
        "the driver fails without a reason, as it often does after the machine was suspended",
        "reload the module nvidia_uvm (sudo modprobe -r nvidia_uvm && sudo modprobe nvidia_uvm), or reboot",
    ),
)

NO_DEVICE_STATUSES = (100, 101)
NO_DEVICE_WORDS = (
    "cudaerrornodevice",
    "cuda_error_no_device",
    "no cuda-capable device is detected",
    "cudaerrorinvaliddevice",
    "cuda_error_invalid_device",
    "invalid device ordinal",
)

COMPILER_WORDS = "invalid value for --gpu-architecture"  # of a compiler that does not know the card
NO_CODE_STATUSES = (209,)
NO_CODE_WORDS = (COMPILER_WORDS, "no kernel image is available", "nokernelimage", "no_binary_for_gpu")


@dataclass(frozen=True)
class Build:
    """An array library as it is installed.

    library  its name in sentences
    older    how to install one for cards before `oldest`
    newer    how to install one for newer cards
    oldest   the lowest compute capability that it has code for
    """

    library: str
    older: str = "install a build of it for CUDA 12"
    newer: str = "install a newer version of it"
    oldest: Capability = TURING

    def explain(self, error: BaseException, device: str) -> DeviceError | None:
        """Return what an error says about card and driver of `device`; None if it is about something else."""
        words, text, status = first_line(error), str(error).lower(), status_of(error)
        if status in NO_CODE_STATUSES or any(part in text for part in NO_CODE_WORDS):
            return self.without_code(device, words, compiler=COMPILER_WORDS in text)
        if status in NO_DEVICE_STATUSES or any(part in text for part in NO_DEVICE_WORDS):
            return DeviceError(
                f"{self.library} cannot use {device}: CUDA shows no such device ({words}){hidden_devices()}",
                visibility_remedy(),
            )
        for fault in FAULTS:
            if status in fault.statuses or any(part in text for part in fault.words):
                reason = f"{self.library} cannot use {device}{card_note(device)}: {fault.reason} ({words})"
                return DeviceError(reason, compat_note(fault) + fault.remedy)
        return None

    def check_card(self, device: str) -> None:
        """Raise DeviceError if the card of `device` is known to be older than those that the library has code for."""
        card = card_of(device)
        if card is not None and card.capability < self.oldest:
            raise self.without_code(device)

    def without_code(self, device: str, words: str = "", *, compiler: bool = False) -> DeviceError:
        """Return the error of a card that the library has no code for: it is too old, too new, or not known which.

        `compiler`: the words are those of the compiler, which mostly mean an old card.
        """
        card, oldest = card_of(device), capability_text(self.oldest)
        reason, words = f"{self.library} cannot use {device}{card_note(device)}", f" ({words})" if words else ""
        if card is None:
            remedies = [
                f"for a card before compute capability {oldest}, {self.older}",
                f"for a newer one, {self.newer}",
            ]
            remedy = "; ".join(remedies if compiler else reversed(remedies))
            return DeviceError(f"{reason}: it has no code for this card{words}", remedy)
        if card.capability < self.oldest:
            reason += f": the card is too old for it, which needs compute capability {oldest} or newer{words}"
            return DeviceError(reason, self.older)
        return DeviceError(f"{reason}: the card is too new for it{words}", self.newer)


def no_such_device(
    library: str, seen: int, device: str, remedy: str = "", error: BaseException | None = None
) -> DeviceError:
    """Return the error of a library that sees `seen` devices and not "cuda:N".

    `remedy` says what to do if it sees none and CUDA_VISIBLE_DEVICES hides none; `error` is what it raised.
    """
    devices = "1 CUDA device" if seen == 1 else f"{seen} CUDA devices"
    words = f" ({first_line(error)})" if error else ""
    hidden = hidden_devices(seen)
    reason = f"{library} sees {devices}, so there is no {device}{words}{hidden}"
    if not seen:
        return DeviceError(reason, visibility_remedy() if hidden or not remedy else remedy)
    counted = f", counted among the devices that {VISIBLE_DEVICES} shows" if VISIBLE_DEVICES in os.environ else ""
    return DeviceError(reason, f"use {option('device', f'cuda:{seen - 1}')}{' or lower' if seen > 1 else ''}{counted}")


def explain_library_error(error: BaseException) -> DeviceError | None:
    """Return what an error of an array library after a device was opened says about card or driver, else None."""
    return Build("the array library").explain(error, "the GPU") if is_library_error(error) else None


def status_of(error: BaseException) -> int | None:
    """Return the number that the CUDA driver or runtime gave an error; None if the error has none."""
    if type(error).__name__ in ("CUDARuntimeError", "CUDADriverError"):  # of CuPy, whose other errors count differently
        status = getattr(error, "status", None)
        return status if isinstance(status, int) else None
    in_words = re.search(r"\bcuda.*\berror (\d{2,3}):", str(error), re.IGNORECASE)  # as PyTorch writes them
    return int(in_words[1]) if in_words else None


def card_note(device: str) -> str:
    """Return model and compute capability of "cuda:N" in parentheses; an empty string if they are not known."""
    card = card_of(device)
    return f" ({card.name}, compute capability {capability_text(card.capability)})" if card else ""


def compat_note(fault: Fault) -> str:
    """Return the beginning of the remedy if the environment loads CUDA's compatibility libraries."""
    folders = [part for part in os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep) if "compat" in Path(part).parts]
    if not folders or not {803, 804}.intersection(fault.statuses):
        return ""
    return f"remove {' and '.join(folders)} from LD_LIBRARY_PATH, which holds CUDA's compatibility libraries; or "
