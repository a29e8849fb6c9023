"""Predict with a trained network from your own pictures and rows: python predict.py RUN FILE..."""

import shutil
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lagvis.cli import options
from lagvis.cli.errors import print_result, print_stderr, terminal_width
from lagvis.cli.inputs import make_input_spec
from lagvis.cli.output_path import find_network
from lagvis.cli.prediction_output import OutputOptions, write_predictions
from lagvis.cli.prediction_rows import predict_inputs
from lagvis.cli.streams import write_stderr, write_stdout
from lagvis.data.input_spec import MNIST_STYLE, RAW, RESIZE, InputSpec
from lagvis.data.messages import pluralize, shorten
from lagvis.data.predict_input import InputBatch, InputError, Inputs, read_inputs
from lagvis.data.range_check import to_shades
from lagvis.errors import DataError, UsageError
from lagvis.inference.orientation import check_orientation
from lagvis.report.terminal.prediction_table import draw_image, predictions_text, row_name
from lagvis.run_warning import RunWarning
from lagvis.storage.lookup import StoredNetwork

MAX_LISTED_COLUMNS = 8


def make_parser() -> options.Parser:
    """Return the parser of predict.py."""
    parser = options.Parser(
        "predict",
        "Predict with a trained network from your own pictures and rows. For a network that was trained on digits in "
        "the style of MNIST, pictures are prepared likewise: white on black, cropped, fitted into 20x20, centred by "
        "mass in 28x28.",
    )
    options.add_run_arguments(parser, "--output-dir")
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
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="write the predictions to a file instead, replaced if it exists: .csv, .tsv, .parquet, .json, .ndjson, "
        ".arrow, or .xlsx (needs the extra excel)",
    )
    parser.add_argument(
        "--id",
        metavar="COLUMNS",
        help="with --output: columns of a table that name a row, which are copied (default: those of the run)",
    )
    parser.add_argument(
        "--proba", action="store_true", help="with --output: also the probabilities, a column a class (default: no)"
    )
    parser.add_argument(
        "--columns",
        metavar="NAMES",
        help="with --output: names of its columns, in order, with commas between them (default: the id or file and "
        "row, answer or the targets, the classes)",
    )
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


def draw_rows(spec: InputSpec, batches: list[InputBatch], encoding: str) -> Iterator[str]:
    """Yield every row as a picture below its name, in the width of the terminal."""
    width = shutil.get_terminal_size().columns
    for batch in batches:
        for i, row in enumerate(to_shades(batch.x, spec)):
            picture = draw_image(row.reshape(spec.shape), width=width, encoding=encoding)
            yield f"{row_name(batch.file, None if batch.image else i + 1)}\n{picture}\n"


def main(argv: list[str] | None = None) -> int:
    """Print class, probability and runner-up of every row; for numbers, those in their unit; or write them."""
    parser = make_parser()
    flags = parser.parse(argv)
    for option in ("id", "proba", "columns"):
        if getattr(flags, option) and not flags.output:
            parser.error(f"--{option} belongs to --output FILE, which is missing")
    network = find_network(flags.run, flags.runs_dir, flags.output)
    model = network.checkpoint.model
    if flags.show and len(model.shape) != 2:
        shape = "x".join(map(str, model.shape))
        raise DataError(f"the network takes rows of {shape} numbers, not pictures; leave --show out")
    if flags.proba and model.y_scaling is not None:
        raise UsageError("the network predicts numbers, which have no probabilities; leave --proba out")
    mnist_style = flags.centre or (not flags.raw and model.mnist_style)
    image_mode = MNIST_STYLE if mnist_style else RAW if flags.raw else RESIZE
    spec = make_input_spec(
        network,
        flags.label or "",
        flags.transpose,
        image_mode,
        check_ranges=not flags.no_range_check,
        ids=(flags.id,) if flags.id else (),
        sheet=flags.sheet,
        table=flags.table,
    )
    if flags.output is not None:
        return predict_to_file(flags, network, spec)
    inputs = read_inputs(flags.files, spec)
    predictions = predict_inputs(network.checkpoint, inputs)
    notices, warnings = inputs_report(network, inputs)
    for line in (*notices, *(warning.message for warning in warnings)):
        print_stderr(line)
    if flags.show:
        show_rows(flags, spec, inputs)
    if flags.json:
        print_json(network, predictions, inputs.errors, warnings)
    elif predictions:
        print_result(predictions_text(predictions, terminal_width(sys.stdout)))
    return report_errors(inputs.errors)


def predict_to_file(flags: Namespace, network: StoredNetwork, spec: InputSpec) -> int:
    """Write the predictions to the file of --output; print how many there are, or the JSON result."""
    lines: dict[str, None] = {}
    warnings: list[RunWarning] = []

    def report(inputs: Inputs) -> None:
        notices, found = inputs_report(network, inputs)
        lines.update(dict.fromkeys(notices))
        warnings.extend(found)
        if flags.show:
            show_rows(flags, spec, inputs)

    columns = tuple(name.strip() for name in flags.columns.split(",")) if flags.columns else ()
    wanted = OutputOptions(flags.output, columns, flags.proba, flags.json)
    written = write_predictions(network, spec, flags.files, wanted, report)
    for line in (*lines, *(warning.message for warning in warnings), *written.notices):
        print_stderr(line)
    if flags.json:
        print_json(network, written.predictions, written.errors, warnings, written.path)
    elif written.path:
        names = ", ".join(map(shorten, written.columns[:MAX_LISTED_COLUMNS]))
        more = ", ..." if len(written.columns) > MAX_LISTED_COLUMNS else ""
        print_result(f"{flags.output}: {pluralize(written.rows, 'row')} of {names}{more}")
    return report_errors(written.errors)


def inputs_report(network: StoredNetwork, inputs: Inputs) -> tuple[list[str], list[RunWarning]]:
    """Return the notices and the warnings about inputs."""
    model, params = network.checkpoint.model, network.checkpoint.layers
    warnings = [*inputs.warnings, *(warning for batch in inputs.batches for warning in batch.warnings)]
    for batch in inputs.batches:
        if batch.image is None and not batch.first_row:
            warnings += check_orientation(model, params, batch.x, batch.file, transposed=batch.transposed)
    return inputs.notices, warnings


def show_rows(flags: Namespace, spec: InputSpec, inputs: Inputs) -> None:
    """Draw every row, on stderr with --json."""
    stream, write = (sys.stderr, write_stderr) if flags.json else (sys.stdout, write_stdout)
    for drawing in draw_rows(spec, inputs.batches, stream.encoding):
        write(drawing)


def print_json(
    network: StoredNetwork,
    predictions: list[dict[str, Any]],
    errors: list[InputError],
    warnings: list[RunWarning],
    output: Path | None = None,
) -> None:
    """Print the result as JSON."""
    print_result(
        {
            "run": str(network.path),
            "predictions": predictions,
            "output": None if output is None else str(output),
            "errors": [{"file": error.file, "message": error.message} for error in errors],
            "warnings": [warning.as_json() for warning in warnings],
        }
    )


def report_errors(errors: list[InputError]) -> int:
    """Print the errors of files on stderr; return the exit code."""
    for error in errors:
        print_stderr(f"error: {error.message}")
    return DataError.exit_code if errors else 0
