"""The result of a run or an evaluation: one object for programs (--json, report.json) and its few lines for people."""

from typing import Any

from lagvis.report.text import (
    align_columns,
    confusion_text,
    display_name,
    duration,
    escape_control,
    finite_or_none,
    percent,
    pluralize,
)
from lagvis.training.evaluation import Metrics
from lagvis.training.events import Finished
from lagvis.training.model import Model
from lagvis.training.plan import Plan

Summary = dict[str, Any]


def metrics_summary(part: str, scores: Metrics | None) -> Summary:
    """Loss and accuracy of a part under its name; null for what does not exist."""
    return {
        f"{part}_loss": finite_or_none(scores and scores.loss),
        f"{part}_accuracy": finite_or_none(scores and scores.accuracy),
    }


def run_details(test: Metrics | None, model: Model, baseline: float | None) -> Summary:
    """What else the test part tells: of classes how each is found, of numbers the root mean square errors."""
    if model.y_scaling is None:
        confusion = test.confusion.tolist() if test is not None and test.confusion is not None else None
        return {"classes": list(model.class_names), "confusion": confusion} | recall_summary(
            confusion, model.class_names
        )
    errors = test.errors if test is not None else (None,) * len(model.target_names)
    named = {name: finite_or_none(error) for name, error in zip(model.target_names, errors, strict=True)}
    return {"unit": model.unit or None, "test_errors": named, "baseline_loss": finite_or_none(baseline)}


def recall_summary(confusion: list[list[int]] | None, names: tuple[str, ...]) -> Summary:
    """What an accuracy hides, from confusion counts: rows and recall of each class, null where it has no row.

    "balanced_accuracy" is the mean recall of the classes that occur, "commonest_share" the accuracy of always answering
    the commonest.
    """
    if confusion is None:
        return dict.fromkeys(("counts", "recall", "balanced_accuracy", "commonest_share"))
    counts = [sum(row) for row in confusion]
    recall = [row[k] / count if count else None for k, (row, count) in enumerate(zip(confusion, counts, strict=True))]
    occurring = [share for share in recall if share is not None]
    return {
        "counts": dict(zip(names, counts, strict=True)),
        "recall": dict(zip(names, recall, strict=True)),
        "balanced_accuracy": sum(occurring) / len(occurring),
        "commonest_share": max(counts) / sum(counts),
    }


def summarise(finished: Finished, model: Model, where: Summary, baseline: float | None) -> Summary:
    """The run as one object; `where` is what the door knows (run, backend, device, dtype, seed)."""
    summary = where | {
        "network": "-".join(map(str, model.widths)),
        "parameters": model.parameters,
        "finished": finished.reason,
        "epochs": finished.epoch,
        "steps": finished.step,
        "seconds": round(finished.seconds, 4),
    }
    for part, scores in (("train", finished.train), ("validation", finished.validation), ("test", finished.test)):
        summary |= metrics_summary(part, scores)
    return summary | run_details(finished.test, model, baseline)


def plan_summary(model: Model, plan: Plan) -> Summary:
    """What a run would be, for a dry run."""
    return {
        "network": "-".join(map(str, model.widths)),
        "parameters": model.parameters,
        "training_rows": len(plan.training_rows),
        "validation_rows": len(plan.validation_rows),
        "epochs": plan.epochs,
        "steps_per_epoch": plan.steps_per_epoch,
        "steps_per_call": plan.steps_per_call,
        "threads": plan.threads,
    }


def summary_text(summary: Summary) -> str:
    """The result of a run for people."""
    place = f"{summary['backend']}, {summary['device']}, {summary['dtype']}, seed {summary['seed']}"
    rows = [
        ("network", f"{summary['network']}, {summary['parameters']:,} parameters ({place})"),
        (
            "trained",
            f"{pluralize(summary['epochs'], 'epoch')}, {pluralize(summary['steps'], 'step')}, "
            f"{duration(summary['seconds'])}",
        ),
        *(row for part in ("train", "validation", "test") for row in part_rows(summary, part)),
        *recall_rows(summary),
        *error_rows(summary),
        ("run", summary["run"]),
    ]
    return align_columns(rows, left=2)


def stored_summary_text(report: Summary) -> str:
    """`summary_text` of a report that was read from a file; nothing where it is not whole."""
    try:
        accuracy, confusion = report["test_accuracy"], report.get("confusion")
        if confusion is None:
            whole = report["unit"] is None or isinstance(report["unit"], str)
            f"{report['baseline_loss'] or 0.0:.4f}"  # a number
        else:
            names = tuple(report["classes"])
            square = [len(row) for row in confusion] == [len(names)] * len(names)
            whole = square and all(type(n) is int and 0 <= n < 2**53 for row in confusion for n in row)
            whole = whole and recall_summary(confusion, names).items() <= report.items()
        return summary_text(report) if whole and (accuracy is None or isinstance(accuracy, int | float)) else ""
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError):
        return ""


def evaluation_text(result: Summary) -> str:
    """The result of an evaluation for people."""
    rows = [
        ("network", f"{result['run']} ({result['backend']}, {result['device']}, {result['dtype']})"),
        ("data", f"{result['data']}, {result['rows']:,} test rows"),
        *part_rows(result, "test"),
        *recall_rows(result),
        *error_rows(result),
    ]
    text = align_columns(rows, left=2)
    if result.get("confusion"):
        text += "\n\n" + confusion_text(result["confusion"], tuple(result["classes"]))
    return text


def part_rows(summary: Summary, part: str) -> list[tuple[str, str]]:
    """Loss and accuracy of one part, if it has any."""
    loss, accuracy = summary[f"{part}_loss"], summary[f"{part}_accuracy"]
    if loss is None:
        return []
    return [(part, f"loss {loss:.4f}" + ("" if accuracy is None else f", accuracy {percent(accuracy)}"))]


def recall_rows(summary: Summary) -> list[tuple[str, str]]:
    """Of classes: the mean recall, and the line to beat."""
    counts, balanced = summary.get("counts"), summary.get("balanced_accuracy")
    if not counts or balanced is None:
        return []
    confusion = summary["confusion"]
    commonest, share = display_name(max(counts, key=counts.__getitem__)), percent(summary["commonest_share"])
    rows = [("", f"balanced accuracy {percent(balanced)}; always answering {commonest} gives {share}")]
    asked, answered = ([i for i, row in enumerate(m) if any(row)] for m in (confusion, zip(*confusion, strict=True)))
    if len(asked) > 1 and len(answered) == 1:
        only = display_name(summary["classes"][answered[0]])
        rows.append(("", f"every row is answered {only}: nothing was learned; a lower rate may help (--lr)"))
    return rows


def error_rows(summary: Summary) -> list[tuple[str, str]]:
    """Of numbers: how far off each target is, and what saying the mean would give."""
    unit = f" {escape_control(summary['unit'])}" if summary.get("unit") else ""
    errors = {target: error for target, error in summary.get("test_errors", {}).items() if error is not None}
    rows = [
        ("", f"{escape_control(target)}: off by {error:.3f}{unit} (root mean square)")
        for target, error in errors.items()
    ]
    if errors:
        rows.append(("", f"always saying the mean would give the loss {summary['baseline_loss']:.4f}"))
    return rows
