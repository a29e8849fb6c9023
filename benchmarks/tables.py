"""The results as text: Markdown tables."""

import statistics
from itertools import pairwise
from typing import Any

from benchmarks.competitors import OURS


def row(cells: list[str]) -> str:
    """One line of a table."""
    return f"| {' | '.join(cells)} |"


def head(cells: list[str]) -> list[str]:
    """The first two lines of a table."""
    return [row(cells), row(["---"] * len(cells)).replace(" ", "")]


def training_table(network: str, device: str, result: dict[str, Any]) -> str:
    """Medians, spread, how many times ours fits into each, the first epoch with its compiling, test accuracy."""
    ours = statistics.median(result["seconds"][OURS[device]])
    lines = head([network, "median s", "fastest", "slowest", f"/ {OURS[device]}", "first epoch s", "accuracy"])
    for name, times in result["seconds"].items():
        median, accuracy = statistics.median(times), result["accuracies"][name]
        numbers = [f"{value:.3f}" for value in (median, min(times), max(times))]
        shown = "" if accuracy is None else f"{100 * accuracy:.2f} %"
        lines.append(row([name, *numbers, f"{median / ours:.2f}", f"{result['first'][name]:.2f}", shown]))
    return "\n".join(lines + left_out(result))


def left_out(result: dict[str, Any]) -> list[str]:
    """A line for each that could not run."""
    return [f"Left out: {name} ({reason})." for name, reason in result["left_out"].items()]


def summary_table(device: str, results: dict[str, dict[str, Any]]) -> str:
    """All networks side by side: seconds an epoch, and in brackets how many times ours fits in."""
    lines = head(["seconds an epoch of 60,000", *results])
    for name in dict.fromkeys(name for result in results.values() for name in result["seconds"]):
        cells = []
        for result in results.values():
            if name not in result["seconds"]:
                cells.append("left out")
                continue
            median = statistics.median(result["seconds"][name])
            cells.append(f"{median:.3f} ({median / statistics.median(result['seconds'][OURS[device]]):.2f})")
        lines.append(row([name, *cells]))
    return "\n".join(lines)


def costs_tables(costs: dict[str, Any]) -> str:
    """Start, memory, evaluation, checkpoints, growth."""
    backends = list(costs["start-up"])
    networks = list(costs["checkpoint"])
    lines = head(["the default run", *backends])
    for key, said in (
        ("ready", "s from the command to the first step"),
        ("first call", "s to the end of the first call"),
    ):
        lines.append(row([said, *(f"{costs['start-up'][backend][key]:.2f}" for backend in backends)]))
    lines.append(row(["MB of memory at most", *(f"{costs['memory'][backend]:.0f}" for backend in backends)]))
    lines += ["", *head(["images evaluated a second", *networks])]
    for backend in backends:
        lines.append(row([backend, *(f"{costs['evaluation'][backend][network]:,.0f}" for network in networks)]))
    lines += ["", *head(["a checkpoint", *networks])]
    lines.append(row(["ms", *(f"{1e3 * seconds:.1f}" for seconds, _ in costs["checkpoint"].values())]))
    lines.append(row(["MB", *(f"{size / 1e6:.2f}" for _, size in costs["checkpoint"].values())]))
    for backend, ways in costs.get("growth", {}).items():
        for way, points in ways.items():
            pairs = list(pairwise(points.values()))
            lines += ["", *head([f"growth with {way}, {backend}", *points])]
            lines.append(row(["s an epoch", *(f"{seconds:.3f}" for seconds, _ in points.values())]))
            lines.append(row(["times the one before", "", *(f"{b[0] / a[0]:.2f}" for a, b in pairs)]))
            lines.append(row(["its operations, times", "", *(f"{b[1] / a[1]:.2f}" for a, b in pairs)]))
            lines.append(row(["10^9 operations a second", *(f"{n / s / 1e9:.1f}" for s, n in points.values())]))
    return "\n".join(lines + left_out(costs))
