"""Evaluate a trained network on the test part of its data, or on other data: python evaluate.py RUN [--data PATH]."""

import sys
from argparse import Namespace
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from lagvis.cli import options
from lagvis.cli.errors import print_result, print_stderr, terminal_width
from lagvis.cli.inputs import make_input_spec, own_data_options
from lagvis.data.checks import check_test_ranges
from lagvis.data.dataset import Dataset
from lagvis.data.datasets import SHIPPED, load_dataset
from lagvis.data.images.transposed import BY_NAME
from lagvis.data.input_spec import MNIST_STYLE, RESIZE
from lagvis.data.range_check import fit_to_training
from lagvis.data.shared_rows import check_shared_rows
from lagvis.errors import CheckpointError, DataError
from lagvis.inference.binary_curves import find_binary_curves, find_label_curves
from lagvis.inference.orientation import check_orientation
from lagvis.report.summary import evaluation_text, metrics_summary, run_details
from lagvis.run_warning import RunWarning
from lagvis.storage.filenames import RECIPE
from lagvis.storage.lookup import StoredNetwork, load_network
from lagvis.storage.resume import check_data
from lagvis.training.evaluation import Evaluator
from lagvis.training.outcome import judge_evaluation
from lagvis.tree import tree_map


def make_parser() -> options.Parser:
    """Return the parser of evaluate.py."""
    parser = options.Parser("evaluate", "Evaluate a trained network on the test part of its data, or on other data.")
    options.add_run_arguments(parser, "-o", "--output-dir")
    parser.add_argument("--data", metavar="PATH", help="other data (default: what the run was trained on)")
    parser.add_argument("--label", metavar="COLUMN", help="label column in a table of other data (default: detect)")
    options.add_table_flags(parser)
    options.add_range_flag(parser)
    options.add_transpose_flag(parser, "as the run's recipe says, else those of EMNIST, by the name")
    options.add_device_flags(parser)
    options.add_output_flags(parser)
    return parser


def read_data(flags: Namespace, network: StoredNetwork) -> Dataset:
    """Read the data of --data by the columns of the network, else the data that the run was trained on."""
    checkpoint = network.checkpoint
    model = checkpoint.model
    common: dict[str, Any] = {"regression": model.y_scaling is not None, "class_names": model.class_names}
    common["multi_label"] = model.multi_label
    given_options = {key: value for key in ("label", "transpose", "sheet", "table") if (value := getattr(flags, key))}
    recipe = network.read_recipe()
    own = own_data_options(recipe, model) | common | given_options if recipe else {}
    if flags.data is not None:
        given = flags.transpose or (BY_NAME if flags.data in SHIPPED else None)
        image_mode = MNIST_STYLE if model.mnist_style else RESIZE
        spec = make_input_spec(network, flags.label or "", given, image_mode, sheet=flags.sheet, table=flags.table)
        dataset = load_dataset(flags.data, spec=spec, **common)
        if recipe and len(model.shape) == 2 and dataset.digest == checkpoint.data:
            # The data of the run, whose pictures are read as in training, whatever their files are called now.
            return load_dataset(flags.data, **own)
        return dataset
    if network.from_paper:
        return load_dataset("mnist", label=flags.label or "", transpose=flags.transpose or BY_NAME, **common)
    if recipe is None:
        raise CheckpointError(f"there is no {network.path.parent / RECIPE} that names the data; use --data PATH")
    try:
        return load_dataset(recipe.data, **own)
    except DataError:
        # A class that was added is unknown to the network; that the data have changed says more.
        check_unchanged(load_dataset(recipe.data, **own | {"class_names": ()}), network)
        raise


def check_unchanged(dataset: Dataset, network: StoredNetwork) -> None:
    """Raise DataError if the data of a run are not those that it was trained on."""
    remedy = "give rows that it has not learned from with --data"
    check_data(dataset, network.checkpoint, network.read_environment(), network.path, remedy)


def check_learned_rows(dataset: Dataset, network: StoredNetwork) -> list[RunWarning]:
    """Return a warning about rows to evaluate that are also training rows of the network.

    Other data than those of the run are compared with these, where they are still at their place and unchanged.
    """
    checkpoint = network.checkpoint
    if checkpoint.data in ("", dataset.digest):
        single_row = dataset.held_out is not None and dataset.held_out.rows == 1  # it is in both parts
        return [] if single_row else check_shared_rows(dataset)
    recipe = network.read_recipe()
    if recipe is None:
        return []
    try:
        trained_on = load_dataset(recipe.data, **own_data_options(recipe, checkpoint.model))
    except DataError:
        return []
    return (
        check_shared_rows(replace(dataset, x_train=trained_on.x_train)) if trained_on.digest == checkpoint.data else []
    )


def check_test_part(
    dataset: Dataset, network: StoredNetwork, *, check_ranges: bool
) -> tuple[Dataset, list[RunWarning]]:
    """Return the data set with its test part on the scale of training, and warnings; DataError for other scales.

    The test part of the training data is used as it was in training.
    """
    checkpoint = network.checkpoint
    if checkpoint.data == dataset.digest and checkpoint.model.ranges and check_ranges:
        return dataset, check_test_ranges(dataset, checkpoint.model.ranges)
    spec = make_input_spec(network, "", None, check_ranges=check_ranges)
    x_test, warnings = fit_to_training(dataset.x_test, spec, dataset.name, partial(dataset.locate_row, "test"))
    return replace(dataset, x_test=x_test), warnings


def main(argv: list[str] | None = None) -> int:
    """Print accuracy, loss and confusion matrix; for numbers, the error in their unit."""
    flags = make_parser().parse(argv)
    network = load_network(flags.run, flags.runs_dir)
    checkpoint = network.checkpoint
    model = checkpoint.model
    params = checkpoint.layers
    dtype = str(checkpoint.dtype)
    backend = options.select_backend(flags, dtype)
    dataset = read_data(flags, network)
    model.check(dataset)
    if flags.data is None:
        check_unchanged(dataset, network)
    elif dataset.held_out and checkpoint.data not in ("", dataset.digest):
        dataset = dataset.all_as_test()
    dataset, warnings = check_test_part(dataset, network, check_ranges=not flags.no_range_check)
    warnings += [*dataset.warnings, *check_learned_rows(dataset, network)]
    warnings += check_orientation(model, params, dataset.x_test, dataset.name, transposed=dataset.transposed)
    for line in (*dataset.all_notices, *(warning.message for warning in warnings)):
        print_stderr(line)

    rows = tree_map(backend.asarray, model.prepare(dataset.x_test, dataset.y_test, dtype))
    on_device = tree_map(backend.asarray, params)
    metrics = Evaluator(model, backend).evaluate(on_device, rows, np.arange(len(dataset.x_test)), details=True)
    outcome = judge_evaluation(metrics, model, backend, params, dataset)
    curves = find_binary_curves(model, params, dataset.x_test, dataset.y_test)
    result: dict[str, Any] = {
        "run": str(network.path),
        "data": dataset.name,
        "rows": len(dataset.x_test),
        "backend": backend.name,
        "device": backend.device,
        "dtype": dtype,
        **metrics_summary("test", metrics, model),
        **run_details(
            metrics,
            model,
            model.baseline(dataset.y_test),
            model.baseline_errors(dataset.y_test),
            curves,
            baseline_absolute_errors=model.baseline_absolute_errors(dataset.y_test),
            label_curves=find_label_curves(model, params, dataset.x_test, dataset.y_test),
        ),
        "warnings": [warning.as_json() for warning in (*warnings, *outcome.warnings)],
    }
    print_result(result if flags.json else evaluation_text(result, terminal_width(sys.stdout)))
    if outcome.error:
        print_stderr(f"error: {outcome.error}")
    return outcome.exit_code
