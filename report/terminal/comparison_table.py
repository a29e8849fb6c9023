"""Tables of the command `compare`."""

from typing import Any

from lagvis.data.messages import pluralize
from lagvis.inference.comparison import Comparison, Digest
from lagvis.inference.gradient_check import MAX_BOUND, GradientCheck
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
        text += f"\n\nUnits at their kink within rounding, whose rows were replaced: {len(comparison.kinks)}."
    undecided = [d for d in comparison.differences if d.undecided]
    if undecided:
        most = max(undecided, key=lambda d: d.undecided)
        text += (
            f"\n\nNumbers whose step rounding decides, which were left out: {pluralize(most.undecided, 'number')} of "
            f"{most.tensor}, fewer of others. A tensor of which more than half was left out has no difference (nan)."
        )
    if comparison.digests:
        text += f"\n\n{digests_text(comparison.digests)}"
    if comparison.passed:
        return f"{text}\n\nThe backends agree: all {len(comparison.differences)} bounds hold."
    failed = sum(not d.passed for d in comparison.differences)
    text += f"\n\n{failed} of {len(comparison.differences)} bounds do not hold."
    if unequal := sum(not digest.equal for digest in comparison.digests):
        text += f" {unequal} of {len(comparison.digests)} digests are not those of NumPy."
    for kink in comparison.kinks[:MAX_KINKS]:
        place = f"step {kink.step}, layer {kink.layer}, row {kink.row + 1} of the batch, unit {kink.unit}"
        text += f"\n  {place}: z = {kink.z:.1e}"
    return text


def digests_text(digests: list[Digest]) -> str:
    """Return the table of the digests of random numbers."""
    rows = [("backend", "random numbers", "", "SHA-256")]
    for digest in digests:
        verdict = "pass" if digest.equal else "FAIL"
        rows.append((f"{digest.backend} {digest.device}", digest.kind, verdict, digest.sha256))
    return align_columns(rows, left=4)


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """Return the comparison as one JSON object."""
    return {
        "passed": comparison.passed,
        "differences": [
            {key: finite_or_none(value) for key, value in vars(d).items()} | {"passed": d.passed}
            for d in comparison.differences
        ],
        "kinks": [vars(kink) for kink in comparison.kinks],
        "digests": [vars(digest) for digest in comparison.digests],
    }


def gradient_check_text(check: GradientCheck) -> str:
    """Return the table of every tensor at every state, and a sentence."""
    rows = [("after", "layer", "tensor", "checked", "of", "replaced", "difference", "bound", "")]
    for d in check.differences:
        counts = (str(d.checked), str(d.size), str(d.replaced))
        verdict = "pass" if d.passed else "FAIL"
        place = (pluralize(d.step, "step"), str(d.layer), d.tensor)
        rows.append((*place, *counts, f"{d.difference:.2e}", f"{d.bound:.2e}", verdict))
    text = align_columns(rows, left=3)
    if check.kinks:
        text += f"\n\nUnits at their kink within rounding, whose rows were replaced: {len(check.kinks)}."
    if check.passed:
        return f"{text}\n\nThe gradients are right: all {len(check.differences)} bounds hold."
    failed = sum(not d.passed for d in check.differences)
    text += f"\n\n{failed} of {len(check.differences)} bounds do not hold."
    if any(not d.resolved for d in check.differences):
        text += (
            f"\nA bound above {MAX_BOUND:g} of the largest gradient says nothing: the loss is too curved for "
            "differences, or its gradient too small. Scale the numbers (--number-scaling robust), or take fewer steps "
            "(--steps)."
        )
    return text


def gradient_check_json(check: GradientCheck) -> dict[str, Any]:
    """Return the check of the gradients as one JSON object."""
    return {
        "passed": check.passed,
        "gradients": [
            {key: finite_or_none(value) for key, value in vars(d).items()} | {"passed": d.passed}
            for d in check.differences
        ],
        "kinks": [vars(kink) for kink in check.kinks],
    }
