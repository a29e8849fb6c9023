"""Where the validation loss of a run turned: the epoch in which it was lowest, if that was not the last one."""

from collections.abc import Sequence
from typing import Any

from lagvis.data.messages import decimals, percent, pluralize
from lagvis.storage.metrics_file import finite_value

MIN_RISE = 0.01  # of the validation loss, relative to the lowest one: a smaller rise is not reported
MIN_MULTIPLE = 10  # from which a rise is a multiple of the lowest loss instead of a percentage
MAX_MULTIPLE = 1e6  # from which it is written with an exponent

History = Sequence[dict[str, float | None]]


def validation_turn(history: History) -> dict[str, Any] | None:
    """Return where the validation loss turned, from the epochs of metrics.csv; None if it was lowest at the end.

    {"epoch": of the lowest loss, "last_epoch": the newest, "validation_loss": [in that epoch, in the newest],
    "train_loss": as before, "overfitting": whether the training loss fell further while the validation loss rose}
    """
    losses = [finite_value(row, "validation_loss") for row in history]
    known = [loss for loss in losses if loss is not None]
    if not known or losses[-1] is None:
        return None
    low, high = min(known), losses[-1]
    best, last = history[losses.index(low)], history[-1]
    if best is last:
        return None
    before, after = finite_value(best, "train_loss"), finite_value(last, "train_loss")
    fell = before is not None and after is not None and after < before
    return {
        "epoch": int(best["epoch"] or 0),
        "last_epoch": int(last["epoch"] or 0),
        "validation_loss": [low, high],
        "train_loss": [before, after],
        "overfitting": fell and high > low,
    }


def describe_rise(low: float, high: float) -> str:
    """Return how much higher a loss is than the lowest, in parentheses; "" beside a loss of 0."""
    if low <= 0:
        return ""
    ratio = high / low
    if ratio < MIN_MULTIPLE:
        return f" ({percent(ratio - 1)} higher)"
    return f" ({ratio:,.0f} times as high)" if ratio < MAX_MULTIPLE else f" ({ratio:.3g} times as high)"


def turn_sentence(summary: dict[str, Any]) -> str:
    """Return one sentence on the epoch where validation turned, and on whose weights are kept; "" if it did not."""
    turn = summary["validation_turn"]
    if turn is None:
        return ""
    low, high = turn["validation_loss"]
    epoch, waited = turn["epoch"], pluralize(turn["last_epoch"] - turn["epoch"], "epoch")
    text = (
        f"the validation loss was lowest in epoch {epoch}: {decimals(low)}; {waited} later it is "
        f"{decimals(high)}{describe_rise(low, high)}"
    )
    if turn["overfitting"]:
        before, after = turn["train_loss"]
        text += f", while the training loss fell from {decimals(before)} to {decimals(after)}: a sign of overfitting"
    if summary["restored_epoch"] is None and summary["run"] is None:  # of the library, which writes no files
        return f"{text}. A patience above 0 keeps the weights of epoch {epoch}"
    if summary["restored_epoch"] is None:
        return f"{text}. best.safetensors has the weights of epoch {epoch}; --resume with --patience keeps them"
    kept = f"the weights of epoch {epoch} are kept"
    return (
        f"{text}. Training stopped early, and {kept}" if summary["stopped_early"] else f"{text}. With patience {kept}"
    )
