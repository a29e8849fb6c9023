"""Judge a trained network by the test part of its data, or of other data: python evaluate.py RUN [--data PATH]."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from lagvis.cli import options
from lagvis.cli.errors import print_result, print_stderr
from lagvis.data.datasets import load_dataset
from lagvis.errors import CheckpointError
from lagvis.report.summary import evaluation_text, metrics_summary, run_details
from lagvis.runs.lookup import find_checkpoint, read_network
from lagvis.runs.resume import check_data
from lagvis.training import recipe as recipes
from lagvis.training.evaluation import Evaluator
from lagvis.tree import tree_map


def make_parser() -> options.Parser:
    """All flags of this door."""
    parser = options.Parser("Judge a trained network by the test part of its data, or of other data.")
    parser.add_argument(
        "run",
        metavar="RUN",
        help="a run folder, a run's name, a .safetensors file, or saved_network/ of the paper's program",
    )
    parser.add_argument("--data", metavar="PATH", help="other data (default: what the run was trained on)")
    parser.add_argument("--label", metavar="COLUMN", help="the label's column in other data (default: found)")
    parser.add_argument(
        "-o", "--output-dir", default="runs", metavar="DIR", help="where runs are looked up by name (default: runs)"
    )
    options.add_device_flags(parser)
    options.add_output_flags(parser)
    return parser


def data_of(checkpoint: Path) -> tuple[str, str]:
    """What a network was trained on, and the label's column, by the recipe beside it; the paper's was on MNIST."""
    if checkpoint.is_dir():
        return "mnist", ""
    recipe = checkpoint.parent / "recipe.toml"
    if not recipe.is_file():
        raise CheckpointError(f"there is no {recipe}, which would name the data; say --data PATH")
    loaded = recipes.load(str(recipe))
    return loaded.data, loaded.label


def main(argv: list[str] | None = None) -> int:
    """Accuracy, loss and a confusion matrix; for numbers, the error in the user's unit."""
    flags = make_parser().parse(argv)
    path = find_checkpoint(flags.run, flags.output_dir)
    checkpoint = read_network(path)
    model = checkpoint.model
    params = checkpoint.state["params"]
    dtype = str(params[0]["W"].dtype)
    backend = options.select_backend(flags, dtype)
    name, label = (flags.data, "") if flags.data else data_of(path)
    dataset = load_dataset(
        name,
        regression=model.y_scaling is not None,
        label=flags.label or label,
        class_names=model.class_names,
    )
    model.check(dataset)
    if flags.data is None:
        check_data(dataset, checkpoint, {}, "give rows that it has not learned from with --data")
    elif dataset.held_out and checkpoint.data not in ("", dataset.digest):
        dataset = dataset.all_as_test()
    for notice in dataset.all_notices:
        print_stderr(notice)

    rows = tree_map(backend.asarray, model.prepare(dataset.x_test, dataset.y_test, dtype))
    on_device = tree_map(backend.asarray, params)
    scores = Evaluator(model, backend).evaluate(on_device, rows, np.arange(len(dataset.x_test)), confusion=True)
    result: dict[str, Any] = {
        "run": str(path),
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
