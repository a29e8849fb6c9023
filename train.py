"""Train a dense network: python train.py [--device cuda] [--recipe NAME|FILE] [flags]. --help lists everything."""

import json
import platform
import sys
from dataclasses import replace
from typing import Any

import numpy as np

import cli
import data
from backends import Backend
from report.progress import make_view
from report.summary import summarise, summary_text
from training.events import Finished, Model, Plan, Progress
from training.loop import fit
from training.plan import make_plan
from training.recipe import Recipe, RecipeError
from training.run_folder import RunFolder
from training.signals import stop_signals


def make_parser() -> cli.Parser:
    """All flags of this door."""
    parser = cli.Parser("Train a dense network. A recipe says everything; flags override it key by key.")
    cli.add_device_flags(parser)
    parser.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="of NumPy and PyTorch on the CPU (default: by the size of the products)",
    )
    cli.add_recipe_flags(parser)
    output = parser.add_argument_group("output")
    flag = output.add_argument
    flag("-o", "--output-dir", default="runs", metavar="DIR", help="where run folders are made (default: runs)")
    flag("--name", help="of the run folder (default: time and widths)")
    flag(
        "--target-accuracy", type=float, metavar="A", help="exit with 8 below this test accuracy, 0..1 (default: none)"
    )
    flag("--dry-run", action="store_true", help="say what would be done, and stop (default: train)")
    flag("--quiet", action="store_true", help="no progress and no notices (default: show them)")
    cli.add_output_flags(parser)
    return parser


def environment(recipe: Recipe, dataset: data.Dataset, plan: Plan, backend: Backend) -> dict[str, Any]:
    """What the result depends on and the recipe does not say."""
    return {
        "lagvis": cli.version(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "numpy": np.__version__,
        "backend": backend.name,
        "device": backend.device,
        "compiled": backend.compiled,
        "span": plan.span,
        "threads": plan.threads if backend.sets_threads else None,
        **backend.versions(),
        "command": sys.argv,
        "seed": recipe.seed,
        "data": str(data.locate(recipe.data)),
        "sha256": dataset.sha256,
    }


def dry_run(where: dict[str, Any], model: Model, plan: Plan, as_json: bool) -> int:
    """Say what would be done."""
    facts = where | {
        "network": "-".join(map(str, model.widths)),
        "parameters": model.parameters,
        "training_rows": len(plan.training_rows),
        "validation_rows": len(plan.validation_rows),
        "epochs": plan.epochs,
        "steps_per_epoch": plan.steps_per_epoch,
        "span": plan.span,
        "threads": plan.threads,
    }
    print(json.dumps(facts) if as_json else "\n".join(f"{key:16} {value}" for key, value in facts.items()))
    return 0


def main(argv: list[str] | None = None) -> int:
    """The main door: flags in, a run folder and a result out."""
    flags = make_parser().parse(argv)
    target = flags.target_accuracy
    if target is not None and not 0.0 <= target <= 1.0:
        raise RecipeError(f"--target-accuracy is {target}; expected a share from 0 to 1")
    recipe = cli.recipe(flags)
    recipe = replace(recipe, data=data.absolute(recipe.data))
    if target is not None and recipe.regression:
        raise RecipeError("--target-accuracy belongs to classes, and --loss mse predicts numbers")
    backend = cli.select(flags, recipe.dtype)
    dataset = data.load(recipe.data, regression=recipe.regression, label=recipe.label)
    plan = make_plan(recipe, dataset, strict_validation="validation" in flags, threads=flags.threads)
    if not flags.quiet:
        for notice in plan.notices:
            cli.say(notice)
    where: dict[str, Any] = {
        "backend": backend.name,
        "device": backend.device,
        "dtype": recipe.dtype,
        "seed": recipe.seed,
    }
    model = Model.of(recipe, dataset, plan.training_rows)
    if flags.dry_run:
        return dry_run(where, model, plan, flags.json)

    folder = RunFolder.claim(
        flags.output_dir, flags.name, recipe, model.widths, environment(recipe, dataset, plan, backend)
    )
    step = 0
    with stop_signals() as stop, make_view(sys.stderr, quiet=flags.quiet) as view:
        for event in fit(recipe, dataset, plan, backend, stop=stop.asked):
            folder.record(event)
            view.show(event)
            if isinstance(event, Progress):
                step = event.step
    assert isinstance(event, Finished), "fit ends with Finished"
    summary = summarise(event, model, {"run": str(folder.path)} | where, model.baseline(dataset.y_test))
    folder.close(summary)
    print(json.dumps(summary) if flags.json else summary_text(summary))
    if event.reason == "interrupted":
        cli.say(f"Stopped after step {event.step}; {folder.path / 'last.safetensors'} holds what was trained.")
        return stop.exit_code
    if event.reason == "diverged":
        cli.say(
            f"error: the loss is no longer a number after step {step}; the rate {recipe.lr} is too high. "
            f"Try --lr {recipe.lr / 10:g}. last.safetensors holds epoch {event.epoch}."
        )
        return 6
    if target is not None and summary["test_accuracy"] < target:
        cli.say(f"The test accuracy {summary['test_accuracy']} is below --target-accuracy {target}.")
        return 8
    return 0


if __name__ == "__main__":
    sys.exit(cli.guarded(main))
