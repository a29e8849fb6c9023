"""Predict with a trained network from your own pictures and rows: python predict.py RUN FILE..."""

import shutil
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from lagvis.cli import options
from lagvis.cli.errors import print_result, print_stderr, terminal_width
from lagvis.cli.inputs import make_input_spec
from lagvis.cli.streams import write_stderr, write_stdout
from lagvis.data.input_spec import MNIST_STYLE, RAW, RESIZE, InputSpec
from lagvis.data.predict_input import InputBatch, InputError, Inputs, read_inputs
from lagvis.data.range_check import to_shades
from lagvis.errors import DataError
from lagvis.inference.orientation import check_orientation
from lagvis.inference.prediction import outputs as network_outputs
from lagvis.report.terminal.prediction_table import draw_image, predictions_text, row_name
from lagvis.storage.lookup import load_network
from lagvis.training.checkpoint import Checkpoint
from lagvis.training.model import Model


def make_parser() -> options.Parser:
    """Return the parser of predict.py."""
    parser = options.Parser(
        "predict",
        "Predict with a trained network from your own pictures and rows. For a network that was trained on digits in "
        "the style of MNIST, pictures are prepared likewise: white on black, cropped, fitted into 20x20, centred by "
        "mass in 28x28.",
    )
    options.add_run_arguments(parser, "-o", "--output-dir")
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        help="a picture, a folder of pictures, a table, an .npz or .npy, IDX images; - is standard input",
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--raw", action="store_true", help="do not change pictures, except to grey (default: make them fit)"
    )
    how.add_argument(
        "--centre", action="store_true", help="prepare pictures as MNIST's digits (default: if trained on such)"
    )
    parser.add_argument("--label", metavar="COLUMN", help="label column in tables that have one (default: detect)")
    options.add_table_flags(parser)
    options.add_range_flag(parser)
    options.add_transpose_flag(parser, "as the run's recipe says, else those of EMNIST, by the name")
    options.add_output_flags(parser)
    parser.add_argument(
        "--show",
        action="store_true",
        help="also draw the network's input, on stderr with --json (default: only predict)",
    )
    return parser


# Of every prediction; null where a key belongs to classes and the network predicts numbers, or the other way round.
PREDICTION_KEYS = (
    "file", "row", "answer", "probability", "runner_up", "runner_up_probability", "probabilities", "values", "unit",
    "label", "notes",
)  # fmt: skip


def prediction_rows(model: Model, batch: InputBatch, outputs: np.ndarray) -> list[dict[str, Any]]:
    """Return a JSON object for each row of a batch; outputs (N, n_out) are those of the network."""
    rows = []
    for i, output in enumerate(outputs.tolist()):
        row: dict[str, Any] = dict.fromkeys(PREDICTION_KEYS)
        row |= {"file": batch.file, "row": None if batch.image else i + 1}
        if model.y_scaling is not None:
            row |= {"values": dict(zip(model.target_names, output, strict=True)), "unit": model.unit or None}
        else:
            blank = batch.image is not None and batch.image.blank
            order = () if blank else np.argsort(-outputs[i], kind="stable")[:2]
            best = [*((model.class_names[k], output[k]) for k in order), (None, None), (None, None)]
            row |= {"answer": best[0][0], "probability": best[0][1]}
            row |= {"runner_up": best[1][0], "runner_up_probability": best[1][1]}
            row["probabilities"] = None if blank else dict(zip(model.class_names, output, strict=True))
        if batch.labels is not None:
            label = batch.labels[i]
            row["label"] = dict(zip(model.target_names, label, strict=True)) if isinstance(label, list) else label
        rows.append(row | {"notes": list(batch.image.notes) if batch.image else []})
    return rows


def draw_rows(spec: InputSpec, batches: list[InputBatch], encoding: str) -> Iterator[str]:
    """Yield every row as a picture below its name, in the width of the terminal."""
    width = shutil.get_terminal_size().columns
    for batch in batches:
        for i, row in enumerate(to_shades(batch.x, spec)):
            picture = draw_image(row.reshape(spec.shape), width=width, encoding=encoding)
            yield f"{row_name(batch.file, None if batch.image else i + 1)}\n{picture}\n"


def predict_inputs(checkpoint: Checkpoint, inputs: Inputs) -> list[dict[str, Any]]:
    """Predict all batches at once; one with numbers too large for the network becomes an error of its file."""
    model = checkpoint.model
    if not inputs.batches:
        return []
    with np.errstate(all="ignore"):
        outputs = network_outputs(
            model, checkpoint.state["params"], np.concatenate([batch.x for batch in inputs.batches])
        )
    rows: list[dict[str, Any]] = []
    predicted: list[InputBatch] = []
    ends = np.cumsum([len(batch.x) for batch in inputs.batches])[:-1]
    for batch, output in zip(inputs.batches, np.split(outputs, ends), strict=True):
        not_finite = np.flatnonzero(~np.isfinite(output).all(axis=1))
        if len(not_finite):
            name = row_name(batch.file, None if batch.image else int(not_finite[0]) + 1)
            reason = "holds numbers too large for the network; are they in the unit that it was trained on?"
            inputs.errors.append(InputError(batch.file, f"{name} {reason}"))
        else:
            predicted.append(batch)
            rows += prediction_rows(model, batch, output)
    inputs.batches = predicted
    return rows


def main(argv: list[str] | None = None) -> int:
    """Print class, probability and runner-up of every row; for numbers, those in their unit."""
    flags = make_parser().parse(argv)
    network = load_network(flags.run, flags.runs_dir)
    model = network.checkpoint.model
    if flags.show and len(model.shape) != 2:
        shape = "x".join(map(str, model.shape))
        raise DataError(f"the network takes rows of {shape} numbers, not pictures; leave --show out")
    mnist_style = flags.centre or (not flags.raw and model.mnist_style)
    image_mode = MNIST_STYLE if mnist_style else RAW if flags.raw else RESIZE
    spec = make_input_spec(
        network,
        flags.label or "",
        flags.transpose,
        image_mode,
        check_ranges=not flags.no_range_check,
        sheet=flags.sheet,
        table=flags.table,
    )
    inputs = read_inputs(flags.files, spec)
    predictions = predict_inputs(network.checkpoint, inputs)
    warnings = [*inputs.warnings, *(warning for batch in inputs.batches for warning in batch.warnings)]
    for batch in inputs.batches:
        if batch.image is None:
            params = network.checkpoint.state["params"]
            warnings += check_orientation(model, params, batch.x, batch.file, transposed=batch.transposed)
    for line in (*inputs.notices, *(warning.message for warning in warnings)):
        print_stderr(line)
    if flags.show:
        stream, write = (sys.stderr, write_stderr) if flags.json else (sys.stdout, write_stdout)
        for drawing in draw_rows(spec, inputs.batches, stream.encoding):
            write(drawing)
    if flags.json:
        errors = [{"file": error.file, "message": error.message} for error in inputs.errors]
        result = {"run": str(network.path), "predictions": predictions, "errors": errors}
        print_result(result | {"warnings": [warning.as_json() for warning in warnings]})
    elif predictions:
        print_result(predictions_text(predictions, terminal_width(sys.stdout)))
    for error in inputs.errors:
        print_stderr(f"error: {error.message}")
    return DataError.exit_code if inputs.errors else 0
