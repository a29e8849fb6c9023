"""Command `backends`: test every array library and device; print which cannot compute, why, and how to fix it."""

from lagvis.backends.registry import select
from lagvis.backends.status import BackendStatus, backend_statuses
from lagvis.cli import options
from lagvis.cli.errors import print_result


def main(argv: list[str] | None = None) -> int:
    """Print one line for each device, then the device that --device auto selects."""
    parser = options.Parser(
        "backends", "Test every array library and device; print which cannot compute, why, and how to fix it."
    )
    parser.parse(argv)
    for status in backend_statuses():
        report(status)
    chosen = select("auto")
    print_result(f"\n--device auto selects {chosen.name} on {chosen.device}.")
    return 0


def report(status: BackendStatus) -> None:
    """Print the lines of one device, its name on the first alone."""
    if status.computes:
        shown = ", ".join(f"{what} {fact}" for what, fact in status.facts.items())
        lines = [f"computes{'' if status.compiled else ' in the plain loop'} ({shown})", *status.notices]
    else:
        lines = [f"cannot run: {status.reason}", f"to fix it: {status.remedy}"]
    for i, line in enumerate(lines):
        print_result(f"{status.backend if i == 0 else '':7}{(status.device or '-') if i == 0 else '':8}{line}")
