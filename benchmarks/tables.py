"""The results as Markdown tables."""

import statistics
from itertools import pairwise
from typing import Any

from benchmarks.competitors import REFERENCE
from benchmarks.measure import ratios_of
from benchmarks.ratios import MAX_SPREAD, MIN_PAIRS, Ratios
from lagvis.data.messages import percent

# device: (factor of seconds, its unit, decimals)
UNITS = {"cpu": (1.0, "s", 3), "cuda": (1e3, "ms", 2)}
MAX_OTHER_CORES = 0.05  # that other programs may keep busy during a measurement
MARK = "\\*"  # of a ratio that is not known
UNKNOWN = (
    f"{MARK} not known: half the 95 % interval of the median of the paired ratios is more than "
    f"{100 * MAX_SPREAD:.0f} % of it, or there are fewer than {MIN_PAIRS} pairs."
)


def table_row(cells: list[str]) -> str:
    """Return one line of a table."""
    return f"| {' | '.join(cells)} |"


def table_head(cells: list[str]) -> list[str]:
    """Return the first two lines of a table."""
    return [table_row(cells), table_row(["---"] * len(cells)).replace(" ", "")]


def shown_ratio(ratios: Ratios) -> str:
    """Return a ratio with its spread, and with a mark if it is not known."""
    return f"{ratios.median:.2f} ± {100 * ratios.spread:.0f}%{'' if ratios.is_known else MARK}"


def explain_marks(shown: str) -> list[str]:
    """Return the line below a table that explains its marks, if there are any."""
    return ["", UNKNOWN] if f"%{MARK}" in shown else []


def training_table(network: str, device: str, result: dict[str, Any], reference: str) -> str:
    """Return the table of a network: median, range, ratio to the reference, rounds, first epoch, test accuracy."""
    factor, unit, decimals = UNITS[device]
    ratios = ratios_of(result["seconds"], reference)
    lines = table_head(
        [network, f"median {unit}", "fastest", "slowest", f"/ {reference}", "rounds", "first epoch s", "accuracy"]
    )
    for name, times in result["seconds"].items():
        median, accuracy = statistics.median(times), result["accuracies"][name]
        numbers = [f"{factor * value:.{decimals}f}" for value in (median, min(times), max(times))]
        ratio = "1.00" if name == reference else shown_ratio(ratios[name, reference])
        shown = "" if accuracy is None else percent(accuracy)
        first = f"{result['first'][name]:.2f}"
        lines.append(table_row([name, *numbers, ratio, str(len(times)), first, shown]))
    for (name, other), by_hand in ratios.items():
        if other != reference:
            lines.append(table_row([f"{name} / {other}", "", "", "", shown_ratio(by_hand), "", "", ""]))
    return "\n".join(lines + explain_marks("\n".join(lines)) + busy_machine(result) + left_out(result))


def busy_machine(result: dict[str, Any]) -> list[str]:
    """Return a line that warns of other programs that ran during the measurement, if they did."""
    cores = result.get("other programs", 0.0)
    if cores <= MAX_OTHER_CORES:
        return []
    return [f"Other programs kept {cores:.2f} cores busy meanwhile: measure again on an idle machine."]


def left_out(result: dict[str, Any]) -> list[str]:
    """Return a line for each competitor that could not run."""
    return [f"Left out: {name} ({reason})." for name, reason in result["left_out"].items()]


def summary_table(device: str, results: dict[str, dict[str, Any]]) -> str:
    """Return the table of all networks: the time of an epoch, and in brackets the ratio to the reference.

    The last rows are the ratios to the same library used by hand.
    """
    factor, unit, decimals = UNITS[device]
    lines = table_head([f"{unit} an epoch of 60,000", *results])
    ratios = {network: ratios_of(result["seconds"], REFERENCE[device]) for network, result in results.items()}
    for name in dict.fromkeys(name for result in results.values() for name in result["seconds"]):
        cells = []
        for network, result in results.items():
            if name not in result["seconds"]:
                cells.append("left out")
                continue
            cells.append(f"{factor * statistics.median(result['seconds'][name]):.{decimals}f}")
            if (name, REFERENCE[device]) in ratios[network]:
                cells[-1] += f" ({shown_ratio(ratios[network][name, REFERENCE[device]])})"
        lines.append(table_row([name, *cells]))
    for pair in dict.fromkeys(pair for found in ratios.values() for pair in found if pair[1] != REFERENCE[device]):
        lines.append(
            table_row(
                [" / ".join(pair), *(shown_ratio(found[pair]) if pair in found else "" for found in ratios.values())]
            )
        )
    for key, label in (("operations", "10^9 operations of products"), ("bytes", "10^6 bytes at least")):
        if all(key in result for result in results.values()):
            scale = {"operations": 1e9, "bytes": 1e6}[key]
            lines.append(table_row([label, *(f"{result[key] / scale:,.0f}" for result in results.values())]))
    return "\n".join(lines + explain_marks("\n".join(lines)))


def costs_tables(costs: dict[str, Any]) -> str:
    """Return the tables of start, memory, evaluation, checkpoints and growth."""
    backends = list(costs["start-up"])
    networks = list(costs["checkpoint"])
    lines = table_head(["the default run", *backends])
    for key, label in (
        ("ready", "s from the command to the first step"),
        ("first call", "s to the end of the first call"),
    ):
        lines.append(table_row([label, *(f"{costs['start-up'][backend][key]:.2f}" for backend in backends)]))
    lines.append(table_row(["MB of memory at most", *(f"{costs['memory'][backend]:.0f}" for backend in backends)]))
    lines += ["", *table_head(["images evaluated a second", *networks])]
    for backend in backends:
        lines.append(table_row([backend, *(f"{costs['evaluation'][backend][network]:,.0f}" for network in networks)]))
    lines += ["", *table_head(["a checkpoint", *networks])]
    lines.append(table_row(["ms", *(f"{1e3 * seconds:.1f}" for seconds, _ in costs["checkpoint"].values())]))
    lines.append(table_row(["MB", *(f"{size / 1e6:.2f}" for _, size in costs["checkpoint"].values())]))
    for backend, series in costs.get("growth", {}).items():
        for size, points in series.items():
            pairs = list(pairwise(points.values()))
            lines += ["", *table_head([f"growth with {size}, {backend}", *points])]
            lines.append(table_row(["s an epoch", *(f"{seconds:.3f}" for seconds, _ in points.values())]))
            lines.append(table_row(["times the one before", "", *(f"{b[0] / a[0]:.2f}" for a, b in pairs)]))
            lines.append(table_row(["its operations, times", "", *(f"{b[1] / a[1]:.2f}" for a, b in pairs)]))
            lines.append(table_row(["10^9 operations a second", *(f"{n / s / 1e9:.1f}" for s, n in points.values())]))
    return "\n".join(lines + left_out(costs))
