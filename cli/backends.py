"""Command `backends`: test every array library and device; print which cannot compute, why, and how to fix it."""

from lagvis.backends.backend import self_test
from lagvis.backends.precision import precision_notices
from lagvis.backends.registry import BACKENDS, load, select
from lagvis.cli import options
from lagvis.cli.errors import print_result
from lagvis.errors import DeviceError

REMEDY = "reinstall the library, or use another backend"


def main(argv: list[str] | None = None) -> int:
    """Print one line for each device, then the device that --device auto selects."""
    parser = options.Parser(
        "backends", "Test every array library and device; print which cannot compute, why, and how to fix it."
    )
    parser.parse(argv)
    for name in BACKENDS:
        try:
            module = load(name)
            devices = module.find_devices()
        except DeviceError as error:
            report(name, "-", f"cannot run: {error.reason}", f"to fix it: {error.remedy}")
            continue
        if "cuda" in BACKENDS[name][2] and devices == ["cpu"]:
            try:
                module.open_backend("cuda:0", "float32", True)
            except DeviceError as error:
                report(name, "cuda", f"cannot run: {error.reason}", f"to fix it: {error.remedy}")
        for device in devices:
            try:
                backend = self_test(module.open_backend(device, "float32", True), REMEDY)
            except DeviceError as error:
                report(name, device, f"cannot run: {error.reason}", f"to fix it: {error.remedy}")
            else:
                facts = backend.versions()
                if backend.float32_products:
                    facts["float32 products"] = backend.float32_products
                shown = ", ".join(f"{what} {fact}" for what, fact in facts.items())
                loop = "" if backend.compiled else " in the plain loop"
                notices = [*backend.notices, *precision_notices(name, device, backend.float32_products)]
                report(name, device, f"computes{loop} ({shown})", *notices)
    chosen = select("auto")
    print_result(f"\n--device auto selects {chosen.name} on {chosen.device}.")
    return 0


def report(name: str, device: str, *lines: str) -> None:
    """Print the lines of one device, its name on the first alone."""
    for i, line in enumerate(lines):
        print_result(f"{name if i == 0 else '':7}{device if i == 0 else '':8}{line}")
