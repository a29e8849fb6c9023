"""`python -m data PATH`: tell what a file or folder holds, without training; exit 3 where it is none."""

import argparse
import hashlib
import json
from dataclasses import replace
from typing import Any

import numpy as np

from lagvis.data.dataset import Dataset
from lagvis.data.datasets import load_dataset, locate
from lagvis.data.detect import detect_format
from lagvis.data.messages import join_names, shorten
from lagvis.errors import DataError

FEW_ROWS = 10  # of a class: too few to learn it from and to judge it by
UNEVEN = 3.0  # the commonest class has so many times the rows of the rarest
MANY = 0.25  # of the labels: beyond that they are numbers to predict
SHOWN = 20  # classes, files, columns


def main(argv: list[str] | None = None) -> int:
    """Print the facts about one data set."""
    parser = argparse.ArgumentParser(prog="python -m data", description=main.__doc__, allow_abbrev=False)
    parser.add_argument("path", metavar="PATH", help="as --data of train.py takes it: mnist, jump, or a path")
    parser.add_argument("--label", default="", metavar="COLUMN", help="the label's column in a table (default: found)")
    parser.add_argument("--regression", action="store_true", help="as for --loss mse (default: classes)")
    parser.add_argument("--json", action="store_true", help="one JSON object (default: text)")
    flags = parser.parse_args(argv)
    dataset = load_either(flags.path, regression=flags.regression, label=flags.label)
    path = locate(flags.path)
    facts = {"path": str(path), "kind": detect_format(path).kind, **facts_of(dataset)}
    print(json.dumps(facts) if flags.json else text_of(facts))
    return 0


def load_either(name: str, *, regression: bool, label: str) -> Dataset:
    """As `load`; where the labels are no classes but numbers to predict, as those, and said so."""
    try:
        return load_dataset(name, regression=regression, label=label)
    except DataError as error:
        try:
            dataset = load_dataset(name, regression=True, label=label)
        except DataError:
            raise error from None
        if not are_measured(np.concatenate([dataset.y_train, dataset.y_test])):
            raise
        note = "The labels are numbers to predict, not classes; --loss mse trains on them."
        return replace(dataset, notices=(*dataset.notices, note))


def are_measured(y: np.ndarray) -> bool:
    """Whether targets (N, n_out) are no classes with a fault: many fractions or values, or nothing one-hot."""
    several = y.shape[1] > 1
    return any(
        np.mean(column != np.floor(column)) > MANY
        or len(np.unique(column)) > 0.5 * len(column)
        or (several and np.mean(~np.isin(column, (0, 1))) > MANY)
        for column in y.T
    )


def facts_of(dataset: Dataset) -> dict[str, Any]:
    """What a data set holds, ready for JSON."""
    x = dataset.x_train
    low, high = x.min(axis=0), x.max(axis=0)
    constant = np.flatnonzero(low == high)
    facts: dict[str, Any] = {
        "name": dataset.name,
        "training_rows": len(x),
        "test_rows": len(dataset.x_test),
        "shape": list(dataset.shape),
        "features": x.shape[1],
        "type": "bytes (scaled by 1/255)" if x.dtype == np.uint8 else "numbers (standardised)",
        "range": [low.min().item(), high.max().item()],
        "constant_features": len(constant),
        "first_constant_features": [int(i) + 1 for i in constant[:SHOWN]],
    }
    if x.dtype != np.uint8 and len(constant) < x.shape[1]:
        with np.errstate(over="ignore"):
            spans = np.minimum((high - low)[low < high], np.finfo(np.float64).max)
        facts["feature_spans"] = [spans.min().item(), spans.max().item()]
    if dataset.class_names:
        k = len(dataset.class_names)
        counts = [np.bincount(y, minlength=k).tolist() for y in (dataset.y_train, dataset.y_test)]
        facts["classes"] = {
            name: {"training": a, "test": b} for name, a, b in zip(dataset.class_names, *counts, strict=True)
        }
    else:
        y = dataset.y_train
        facts["unit"] = dataset.unit
        facts["targets"] = {
            name: {"least": float(y[:, i].min()), "mean": float((y[:, i] / len(y)).sum()), "most": float(y[:, i].max())}
            for i, name in enumerate(dataset.target_names)
        }
    repeated = rows_in_both(dataset)
    return facts | {
        "test_rows_in_training": repeated,
        "sha256": dataset.sha256,
        "notices": list(dataset.all_notices),
        "warnings": warnings_of(dataset, facts, repeated),
    }


def rows_in_both(dataset: Dataset) -> int:
    """How many test rows have the features of a training row."""

    def digests(x: np.ndarray) -> list[bytes]:
        rows = x if x.dtype == np.uint8 else x + 0.0  # -0.0 is 0.0
        return [hashlib.blake2b(row, digest_size=16).digest() for row in np.ascontiguousarray(rows)]

    known = set(digests(dataset.x_train))
    return sum(digest in known for digest in digests(dataset.x_test))


def warnings_of(dataset: Dataset, facts: dict[str, Any], repeated: int) -> list[str]:
    """What its owner should look at before training, a line each."""
    found = []
    if dataset.class_names:
        counts = {name: row["training"] for name, row in facts["classes"].items()}
        few = [name for name, count in counts.items() if count < FEW_ROWS]
        absent = [name for name, row in facts["classes"].items() if not row["test"]]
        most, least = max(counts, key=lambda name: counts[name]), min(counts, key=lambda name: counts[name])
        if few:
            found.append(f"Fewer than {FEW_ROWS} training rows: {join_names(few)}.")
        if absent:
            found.append(f"No test row: {join_names(absent)}.")
        if counts[most] >= UNEVEN * counts[least]:
            share = counts[most] / len(dataset.y_train)
            found.append(
                f"Uneven classes: {share:.1%} of the training rows are {shorten(most)}, {counts[least]:,} rows are "
                f"{shorten(least)}. Always guessing {shorten(most)} is right as often; --class-weights balanced helps."
            )
    if repeated:
        found.append(f"{repeated:,} of {len(dataset.x_test):,} test rows are also training rows: the test flatters.")
    if facts["constant_features"] == facts["features"]:
        found.append("Every feature is the same in all training rows: there is nothing to learn from.")
    return found


def text_of(facts: dict[str, Any]) -> str:
    """The facts in aligned lines."""
    shape = "x".join(map(str, facts["shape"]))
    lines = [
        ("path", facts["path"]),
        ("kind", facts["kind"]),
        ("rows", f"{facts['training_rows']:,} training, {facts['test_rows']:,} test"),
        ("a row", f"{shape if len(facts['shape']) > 1 else facts['features']} {facts['type']}"),
        ("range", " to ".join(f"{value:g}" for value in facts["range"])),
    ]
    if "feature_spans" in facts:
        lines.append(
            ("spans", " to ".join(f"{value:g}" for value in facts["feature_spans"]) + " from feature to feature")
        )
    if facts["constant_features"]:
        first = ", ".join(map(str, facts["first_constant_features"]))
        more = ", ..." if facts["constant_features"] > SHOWN else ""
        lines.append(("constant", f"{facts['constant_features']:,} features (numbers {first}{more})"))
    if "classes" in facts:
        lines.append(("classes", f"{len(facts['classes'])}, with their rows in training and test:"))
        classes = list(facts["classes"].items())
        width = max(len(shorten(name)) for name, _ in classes[:SHOWN])
        lines += [
            ("", f"{shorten(name):{width}} {row['training']:>9,} {row['test']:>9,}") for name, row in classes[:SHOWN]
        ]
        if len(classes) > SHOWN:
            lines.append(("", f"and {len(classes) - SHOWN} more"))
    else:
        unit = f" {facts['unit']}" if facts["unit"] else ""
        lines += [
            ("target", f"{shorten(name)}: {row['least']:g} to {row['most']:g}{unit}, mean {row['mean']:g}")
            for name, row in facts["targets"].items()
        ]
    lines += [("sha256", f"{digest}  {name}") for name, digest in facts["sha256"].items()]
    lines += [("note", line) for line in facts["notices"]]
    lines += [("warning", line) for line in facts["warnings"]]
    return "\n".join(f"{key:9} {value}".rstrip() for key, value in lines)
