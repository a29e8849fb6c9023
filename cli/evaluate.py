"""Evaluate a trained network: python evaluate.py RUN [--data PATH]."""

import json
from typing import Any

import numpy as np

from lagvis.cli import options
from lagvis.cli.errors import print_result, print_stderr
from lagvis.data.datasets import load_dataset
from lagvis.errors import CheckpointError
from lagvis.report.summary import evaluation_text, metrics_summary, run_details
from lagvis.runs.filenames import RECIPE
from lagvis.runs.lookup import StoredNetwork, load_network
from lagvis.runs.resume import check_data
from lagvis.training.evaluation import Evaluator
from lagvis.tree import tree_map


def make_parser() -> options.Parser:
    """Return the parser of the command line."""
    parser = options.Parser("evaluate", "Evaluate a trained network on the test part of its data, or on other data.")
    options.add_run_arguments(parser, "-o", "--output-dir")
    parser.add_argument("--data", metavar="PATH", help="other data to evaluate on (default: the data of the run)")
    parser.add_argument("--label", metavar="COLUMN", help="label column of other data (default: detected)")
    options.add_device_flags(parser)
    options.add_output_flags(parser)
    return parser


def data_and_label(network: StoredNetwork) -> tuple[str, str]:
    """Return the data that a network was trained on and their label column; the paper's networks learned MNIST."""
    if network.from_paper:
        return "mnist", ""
    recipe = network.read_recipe()
    if recipe is None:
        raise CheckpointError(f"there is no {RECIPE} beside {network.path} that names the data; give --data PATH")
    return recipe.data, recipe.label


def main(argv: list[str] | None = None) -> int:
    """Print loss, accuracy and confusion matrix; for regression, the errors in the unit of the targets."""
    flags = make_parser().parse(argv)
    network = load_network(flags.run, flags.runs_dir)
    checkpoint = network.checkpoint
    model = checkpoint.model
    params = checkpoint.state["params"]
    dtype = str(params[0]["W"].dtype)
    backend = options.select_backend(flags, dtype)
    name, label = (flags.data, "") if flags.data else data_and_label(network)
    dataset = load_dataset(
        name,
        regression=model.y_scaling is not None,
        label=flags.label or label,
        class_names=model.class_names,
    )
    model.check(dataset)
    if flags.data is None:
        check_data(dataset, checkpoint, {}, "give rows that it has not learned from with --data")
    elif dataset.undivided and checkpoint.data not in ("", dataset.digest):
        dataset = dataset.all_as_test()
    for notice in dataset.notices:
        print_stderr(notice)

    rows = tree_map(backend.asarray, model.prepare(dataset.x_test, dataset.y_test, dtype))
    on_device = tree_map(backend.asarray, params)
    scores = Evaluator(model, backend).evaluate(on_device, rows, np.arange(len(dataset.x_test)), confusion=True)
    result: dict[str, Any] = {
        "run": str(network.path),
        "data": dataset.name,
        "rows": len(dataset.x_test),
        "backend": backend.name,
        "device": backend.device,
        "dtype": dtype,
        **metrics_summary("test", scores),
        **run_details(scores, model, model.baseline(dataset.y_test)),
    }
    print_result(json.dumps(result) if flags.json else evaluation_text(result))
    return 0
