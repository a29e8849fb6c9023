"""Table of the command `compare`."""

from typing import Any

from lagvis.data.messages import pluralize
from lagvis.inference.comparison import Comparison
from lagvis.report.text import align_columns, finite_or_none

MAX_KINKS = 5


def comparison_text(comparison: Comparison) -> str:
    """Return the table of every tensor of every backend, and, if a bound failed, the units that may explain it."""
    rows = [("backend", "tensor", "difference", "relative", "bound", "", "free run")]
    for d in comparison.differences:
        verdict = "pass" if d.passed else "FAIL"
        cells = (f"{d.absolute:.2e}", f"{d.relative:.2e}", f"{d.bound:.2e}", verdict, f"{d.free_run:.2e}")
        rows.append((f"{d.backend} {d.device}", d.tensor, *cells))
    text = align_columns(rows, left=2)
    if comparison.kinks:
        text += f"\n\nHidden units at their kink within rounding, whose rows were replaced: {len(comparison.kinks)}."
    undecided = [d for d in comparison.differences if d.undecided]
    if undecided:
        most = max(undecided, key=lambda d: d.undecided)
        text += (
            f"\n\nNumbers whose step rounding decides, which were left out: {pluralize(most.undecided, 'number')} of "
            f"{most.tensor}, fewer of others."
        )
    if comparison.passed:
        return f"{text}\n\nThe backends agree: all {len(comparison.differences)} bounds hold."
    failed = sum(not d.passed for d in comparison.differences)
    text += f"\n\n{failed} of {len(comparison.differences)} bounds do not hold."
    for kink in comparison.kinks[:MAX_KINKS]:
        place = f"step {kink.step}, layer {kink.layer}, row {kink.row + 1} of the batch, unit {kink.unit}"
        text += f"\n  {place}: z = {kink.z:.1e}"
    return text


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """Return the comparison as one JSON object."""
    return {
        "passed": comparison.passed,
        "differences": [
            {key: finite_or_none(value) for key, value in vars(d).items()} | {"passed": d.passed}
            for d in comparison.differences
        ],
        "kinks": [vars(kink) for kink in comparison.kinks],
    }
