"""Test every array library on every device that it sees."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from lagvis.backends.backend import self_test
from lagvis.backends.precision import precision_notices
from lagvis.backends.registry import BACKENDS, load
from lagvis.errors import DeviceError

REMEDY = "reinstall the library, or use another backend"


@dataclass(frozen=True)
class BackendStatus:
    """Whether an array library computes on a device.

    backend   "numpy", "cupy", "torch" or "jax"
    device    "cpu", "cuda:0", ...; "" if the library cannot be imported
    computes  whether it passed a self-test there
    compiled  whether it runs steps by its fast path, and not in the plain loop
    facts     versions of library and driver, name of the device, precision of products
    reason    why it cannot compute, and `remedy` how to fix it; "" if it does
    notices   sentences about lower precision or a device that was never tried
    """

    backend: str
    device: str
    computes: bool
    compiled: bool = True
    facts: dict[str, str] = field(default_factory=dict)
    reason: str = ""
    remedy: str = ""
    notices: tuple[str, ...] = ()


def backend_statuses() -> Iterator[BackendStatus]:
    """Yield the status of each library on each device, tested one after the other."""
    for name in BACKENDS:
        try:
            module = load(name)
            devices = module.find_devices()
        except DeviceError as error:
            yield BackendStatus(name, "", False, reason=error.reason, remedy=error.remedy)
            continue
        if "cuda" in BACKENDS[name][2] and devices == ["cpu"]:
            try:
                module.open_backend("cuda:0", "float32", True)
            except DeviceError as error:
                yield BackendStatus(name, "cuda", False, reason=error.reason, remedy=error.remedy)
        for device in devices:
            try:
                backend = self_test(module.open_backend(device, "float32", True), REMEDY)
            except DeviceError as error:
                yield BackendStatus(name, device, False, reason=error.reason, remedy=error.remedy)
                continue
            facts = backend.versions()
            if backend.float32_products:
                facts["float32 products"] = backend.float32_products
            notices = (*backend.notices, *precision_notices(name, device, backend.float32_products))
            yield BackendStatus(name, device, True, backend.compiled, facts, notices=notices)
