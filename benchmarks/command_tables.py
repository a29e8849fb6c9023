"""What benchmarks/command.py prints of its rounds."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Protocol

from benchmarks.ratios import Ratios, paired_ratios
from benchmarks.tables import explain_marks, shown_ratio, table_head, table_row
from lagvis.data.messages import pluralize

LEVELS = (0.97, 0.975, 0.98)  # of accuracy


class EpochFigures(Protocol):
    """Seconds from the command, and accuracies, of an epoch."""

    @property
    def seconds(self) -> float: ...
    @property
    def validation(self) -> float: ...
    @property
    def test(self) -> float: ...


class RunFigures(Protocol):
    """Figures of a process."""

    @property
    def seed(self) -> int: ...
    @property
    def epochs(self) -> Sequence[EpochFigures]: ...
    @property
    def seconds(self) -> float: ...
    @property
    def peak_mb(self) -> float | None: ...
    @property
    def joules(self) -> float | None: ...


Runs = Sequence[RunFigures]


def seconds_to(epochs: Sequence[EpochFigures], part: str, level: float) -> float | None:
    """Return the seconds until the first epoch with this accuracy on "validation" or "test"; None if none has it."""
    return next((epoch.seconds for epoch in epochs if getattr(epoch, part) >= level), None)


def level_cell(runs: Runs, part: str, level: float) -> str:
    """Return the median of the seconds to an accuracy, a run that misses it counting as the longest.

    "-" if half of them or more miss it; in brackets, how many reach it, if some do and some do not.
    """
    found = [seconds_to(run.epochs, part, level) for run in runs]
    reached = [seconds for seconds in found if seconds is not None]
    share = f" ({len(reached)} of {len(found)})" if 0 < len(reached) < len(found) else ""
    middle = statistics.median(float("inf") if seconds is None else seconds for seconds in found)
    return ("-" if middle == float("inf") else f"{middle:.1f}") + share


def ratios_to(runs: Runs, reference: Runs) -> Ratios | None:
    """Return the ratios of the seconds to the end, of runs with the same seed; None if there are none."""
    seconds = {run.seed: run.seconds for run in reference}
    pairs = [(run.seconds, seconds[run.seed]) for run in runs if run.seed in seconds]
    return paired_ratios(*zip(*pairs, strict=True)) if pairs else None


def with_runs(commands: Mapping[str, Runs]) -> dict[str, Runs]:
    """Return the commands that have runs."""
    return {name: runs for name, runs in commands.items() if runs}


def ratios_of_all(commands: Mapping[str, Runs]) -> dict[str, Ratios]:
    """Return the ratios of each command that has runs to the first one that has any."""
    (_, reference), *others = with_runs(commands).items() or [("", [])]
    found = {name: ratios_to(runs, reference) for name, runs in others}
    return {name: ratios for name, ratios in found.items() if ratios is not None}


def accuracy_cell(runs: Runs) -> str:
    """Return the mean of the test accuracies after the last epoch in percent, and the least and the greatest."""
    values = [100 * run.epochs[-1].test for run in runs]
    return f"{statistics.mean(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def median_cell(values: Sequence[float | None], decimals: int = 1) -> str:
    """Return the median of values that are known; empty without any."""
    known = [value for value in values if value is not None]
    return f"{statistics.median(known):.{decimals}f}" if known else ""


def main_table(measured: Mapping[str, Runs]) -> list[str]:
    """Return the table of the commands that have runs, in their order; ratios are to the first."""
    reference, ratios = next(iter(measured)), ratios_of_all(measured)
    energy = any(run.joules is not None for runs in measured.values() for run in runs)
    levels = [f"{100 * level:g} %" for level in LEVELS]
    heads = ["seconds from the command to", *levels, "last step", "end", f"end, times {reference}"]
    lines = table_head([*heads, "test accuracy, %", "MB", *(["J"] if energy else [])])
    for name, runs in measured.items():
        cells = [level_cell(runs, "validation", level) for level in LEVELS]
        cells += [median_cell([run.epochs[-1].seconds for run in runs]), median_cell([run.seconds for run in runs])]
        cells.append(shown_ratio(ratios[name]) if name in ratios else "1" if name == reference else "")
        cells += [accuracy_cell(runs), median_cell([run.peak_mb for run in runs], 0)]
        lines.append(table_row([name, *cells, *([median_cell([run.joules for run in runs], 0)] if energy else [])]))
    return lines


def test_images_table(measured: Mapping[str, Runs]) -> list[str]:
    """Return the table of the seconds to an accuracy on the test images."""
    lines = table_head(["seconds from the command to", *(f"{100 * level:g} % of the test images" for level in LEVELS)])
    return lines + [
        table_row([name, *(level_cell(runs, "test", level) for level in LEVELS)]) for name, runs in measured.items()
    ]


def explanation(measured: Mapping[str, Runs]) -> str:
    """Return what the columns of the main table are."""
    counts = [len(runs) for runs in measured.values()]
    rounds = f"{min(counts)} to {max(counts)} rounds" if min(counts) < max(counts) else pluralize(max(counts), "round")
    return (
        f"Medians of {rounds}; every round has another seed. The first columns are the seconds to an accuracy on the "
        "validation part. Ratios are taken within a round: their median, and half of its 95 % confidence interval (of "
        "the range, with fewer than six rounds). The test accuracy is the mean after the last epoch, with the least "
        "and the greatest."
    )


def report(commands: Mapping[str, Runs], left_out: Mapping[str, str]) -> str:
    """Return the tables and what a reader must know of them."""
    measured = with_runs(commands)
    parts = []
    if measured:
        table = "\n".join(main_table(measured))
        parts = [
            table,
            explanation(measured),
            *filter(None, explain_marks(table)),
            "\n".join(test_images_table(measured)),
        ]
    if left_out:
        parts.append("\n".join(f"Left out: {name} ({reason})." for name, reason in left_out.items()))
    return "\n\n".join(parts) or "Nothing was measured."
