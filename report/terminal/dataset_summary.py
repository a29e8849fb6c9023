"""Format the facts about a data set as aligned lines."""

from typing import Any

from lagvis.data.messages import pluralize, shorten
from lagvis.report.terminal.column_table import learned_lines, left_out_lines

MAX_LISTED_CLASSES = 20
KEY_WIDTH = 9


def dataset_summary(facts: dict[str, Any]) -> str:
    """Return the facts of `describe_dataset`, with "path" and "kind", a key and a value a line."""
    lines = [
        ("path", facts["path"]),
        ("kind", facts["kind"]),
        ("rows", f"{facts['training_rows']:,} training, {facts['test_rows']:,} test"),
        *feature_lines(facts),
        *(target_lines(facts["targets"], facts["unit"]) if facts["targets"] is not None else class_lines(facts)),
        *weight_lines(facts["weights"]),
        *(("" if i else "columns", line) for i, line in enumerate(learned_lines(facts["columns"] or []))),
        *(("" if i else "left out", line) for i, line in enumerate(left_out_lines(facts["columns"] or []))),
        *(("sha256", f"{digest}  {name}") for name, digest in facts["sha256"].items()),
        *(("note", notice) for notice in facts["notices"]),
        *(("warning", warning["message"]) for warning in facts["warnings"]),
    ]
    return "\n".join(f"{key:{KEY_WIDTH}} {value}".rstrip() for key, value in lines)


def feature_lines(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the lines about the shape and the values of a row."""
    shape = "x".join(map(str, facts["shape"])) if len(facts["shape"]) > 1 else facts["features"]
    lines = [
        ("a row", f"{shape} {facts['type']}"),
        ("range", " to ".join(f"{value:g}" for value in facts["range"])),
    ]
    if facts["feature_spans"] is not None:
        smallest, largest = facts["feature_spans"]
        lines.append(("spans", f"{smallest:g} to {largest:g}, the largest minus the smallest value of each feature"))
    if facts["constant_features"]:
        listed = facts["first_constant_features"]
        more = ", ..." if facts["constant_features"] > len(listed) else ""
        numbers = ", ".join(map(str, listed))
        lines.append(("constant", f"{pluralize(facts['constant_features'], 'feature')} (no. {numbers}{more})"))
    return lines


def class_lines(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the number of classes or labels, and the rows that have each in both parts."""
    kind = "labels" if facts["classes"] is None else "classes"
    classes: dict[str, dict[str, int]] = facts[kind]
    listed = list(classes.items())[:MAX_LISTED_CLASSES]
    width = max(len(shorten(name)) for name, _ in listed)
    lines = [(kind, f"{len(classes)}, with their rows in training and test:")]
    lines += [("", f"{shorten(name):{width}} {rows['training']:>9,} {rows['test']:>9,}") for name, rows in listed]
    if len(classes) > len(listed):
        lines.append(("", f"and {len(classes) - len(listed)} more"))
    return lines


def weight_lines(weights: dict[str, Any] | None) -> list[tuple[str, str]]:
    """Return the line about the weights of the training rows; none if every row counts once."""
    if weights is None:
        return []
    spread = f"{weights['least']:g} to {weights['most']:g}, mean {weights['mean']:g}"
    zeros = f"; {pluralize(weights['rows_of_weight_0'], 'row')} of weight 0" if weights["rows_of_weight_0"] else ""
    return [("weights", f"{spread}, of {weights['source']}{zeros}")]


def target_lines(targets: dict[str, dict[str, float]], unit: str | None) -> list[tuple[str, str]]:
    """Return range and mean of each target."""
    unit = f" {unit}" if unit else ""
    return [
        ("target", f"{shorten(name)}: {row['least']:g} to {row['most']:g}{unit}, mean {row['mean']:g}")
        for name, row in targets.items()
    ]
