"""Predict with a trained network: python predict.py RUN FILE..."""

import json
import shutil
import sys
from typing import Any, TextIO

import numpy as np

from lagvis.cli import options
from lagvis.cli.errors import print_result, print_stderr
from lagvis.data.predict_input import MNIST_STYLE, RAW, RESIZE, InputBatch, InputSpec, read_inputs
from lagvis.errors import DataError
from lagvis.inference.prediction import outputs
from lagvis.report.terminal.prediction_table import draw_image, predictions_text, row_name
from lagvis.runs.lookup import load_network
from lagvis.training.model import Model


def make_parser() -> options.Parser:
    """Return the parser of the command line."""
    parser = options.Parser(
        "predict",
        "Predict with a trained network for images and table rows. For a network trained on MNIST-style digits, images "
        "are prepared in the same way: dark background, cropped, scaled into 20x20, centred by mass in 28x28.",
    )
    options.add_run_arguments(parser, "-o", "--output-dir")
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        help="image, folder of images, table (CSV), .npz or IDX images; - reads standard input",
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--raw", action="store_true", help="use images as they are, in grey (default: fit them)")
    how.add_argument(
        "--centre", action="store_true", help="prepare images as digits (default: if the network learned from such)"
    )
    parser.add_argument("--label", metavar="COLUMN", help="label column of tables that have one (default: detected)")
    options.add_output_flags(parser)
    parser.add_argument(
        "--show", action="store_true", help="draw the input of the network, on stderr with --json (default: do not)"
    )
    return parser


def predictions_of(model: Model, given: InputBatch, said: np.ndarray) -> list[dict[str, Any]]:
    """A JSON object for each row of a file; `said` (N, n_out) is what the network puts out."""
    found = []
    for i, output in enumerate(said.tolist()):
        row: dict[str, Any] = {"file": given.file, "row": None if given.seen else i + 1}
        if model.y_scaling is not None:
            row |= {"values": dict(zip(model.target_names, output, strict=True)), "unit": model.unit}
        else:
            blank = given.seen is not None and given.seen.blank
            order = () if blank else np.argsort(-said[i], kind="stable")[:2]
            best = [*((model.class_names[k], output[k]) for k in order), (None, None), (None, None)]
            row |= {"answer": best[0][0], "probability": best[0][1]}
            row |= {"runner_up": best[1][0], "runner_up_probability": best[1][1]}
            row["probabilities"] = None if blank else dict(zip(model.class_names, output, strict=True))
        if given.labels is not None:
            label = given.labels[i]
            row["label"] = dict(zip(model.target_names, label, strict=True)) if isinstance(label, list) else label
        found.append(row | {"notes": list(given.seen.notes) if given.seen else []})
    return found


def show(shape: tuple[int, ...], given: list[InputBatch], stream: TextIO) -> None:
    """Draw every row, if rows are pictures, in the terminal's width."""
    if len(shape) != 2:
        raise DataError(f"the network takes rows of {'x'.join(map(str, shape))} numbers, no pictures; leave --show out")
    width = shutil.get_terminal_size().columns
    for one in given:
        for i, row in enumerate(one.x):
            print(row_name(one.file, None if one.seen else i + 1), file=stream)
            print(draw_image(row.reshape(shape), width=width, encoding=stream.encoding), file=stream)


def main(argv: list[str] | None = None) -> int:
    """Answer, probability and runner-up of every row; for numbers, those in the user's unit."""
    flags = make_parser().parse(argv)
    network = load_network(flags.run, flags.runs_dir)
    model, recipe = network.checkpoint.model, network.read_recipe()
    digits = flags.centre or (not flags.raw and model.mnist_style)
    wanted = InputSpec(
        model.shape,
        is_bytes=model.x_scaling is None,
        pictures=MNIST_STYLE if digits else RAW if flags.raw else RESIZE,
        classes=model.class_names,
        targets=model.target_names,
        features=model.feature_names,
        labels=model.label_names,
        told=flags.label or "",
        label=recipe.label if recipe else "",
    )
    given, notices = read_inputs(flags.files, wanted)
    for notice in notices:
        print_stderr(notice)
    with np.errstate(all="ignore"):
        said = outputs(model, network.checkpoint.state["params"], np.concatenate([one.x for one in given]))
    if len(bad := np.flatnonzero(~np.isfinite(said).all(axis=1))):
        rows = [row_name(one.file, None if one.seen else i + 1) for one in given for i in range(len(one.x))]
        raise DataError(
            f"{rows[bad[0]]} holds numbers too large for the network; are they of the unit that it was trained on?"
        )

    results: list[dict[str, Any]] = []
    for one in given:
        results += predictions_of(model, one, said[len(results) : len(results) + len(one.x)])
    if flags.show:
        show(model.shape, given, sys.stderr if flags.json else sys.stdout)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print_result(
        json.dumps({"run": str(network.path), "predictions": results})
        if flags.json
        else predictions_text(results, width)
    )
    return 0
