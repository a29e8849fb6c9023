"""Train a dense network: python train.py [--device cuda] [--recipe NAME|FILE] [flags]. --help lists everything."""

import startup

if __name__ == "__main__":
    startup.stop_quietly()  # the imports below take their time

import argparse
import json
import sys
from dataclasses import replace
from typing import Any

import backends
import cli
import data
from report.progress import make_view
from report.summary import retold, summarise, summary_text
from report.text import counted, finite
from training.checkpoint import Checkpoint
from training.environment import environment
from training.events import Finished, Model, Plan, Progress
from training.loop import fit
from training.memory import estimate
from training.plan import make_plan
from training.recipe import Recipe, RecipeError
from training.resume import changes, check_data, first_point, starting_point, told
from training.run_folder import Every, RunFolder, find_checkpoint, find_run, read_network
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
    parser.set_defaults(recipe=None)  # so that --resume sees whether one was named
    output = parser.add_argument_group("output")
    flag = output.add_argument
    flag("-o", "--output-dir", default="runs", metavar="DIR", help="where run folders are made (default: runs)")
    flag("--name", help="of the run folder (default: time and widths)")
    flag("--init-from", metavar="RUN", help="begin with the weights of a run or file (default: drawn by the seed)")
    flag(
        "--resume",
        nargs="?",
        const="",
        metavar="RUN",
        help="go on with a run, without RUN the newest (default: a new run)",
    )
    flag(
        "--checkpoint-every", default="10m", metavar="Nm|N",
        help="minutes (10m) or steps (500) between checkpoints within an epoch (default: 10m)",
    )  # fmt: skip
    flag(
        "--target-accuracy", type=float, metavar="A", help="exit with 8 below this test accuracy, 0..1 (default: none)"
    )
    flag("--dry-run", action="store_true", help="say what would be done, and stop (default: train)")
    flag("--quiet", action="store_true", help="no progress and no notices (default: show them)")
    cli.add_output_flags(parser)
    return parser


def open_run(flags: argparse.Namespace, every: Every) -> RunFolder:
    """The run that --resume means; what it was computed with holds where no flag says otherwise."""
    if flags.name is not None or flags.recipe is not None or flags.init_from is not None:
        raise RecipeError("--resume goes on with a run that has all of it; leave out --name, --recipe and --init-from")
    folder = RunFolder.reopen(find_run(flags.resume, flags.output_dir), every)
    earlier = folder.earlier
    if (
        flags.backend is None
        and earlier.get("backend") in backends.BACKENDS
        and (flags.device == "auto" or earlier.get("backend") in ("torch", "jax"))
    ):
        flags.backend = earlier.get("backend")
    if flags.device == "auto" and flags.backend == earlier.get("backend"):
        flags.device = earlier.get("device", "auto")
    flags.no_compile = flags.no_compile or earlier.get("compiled") is False
    flags.threads = earlier.get("threads") if flags.threads is None else flags.threads
    return folder


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
    cli.result(json.dumps(facts) if as_json else "\n".join(f"{key:16} {value}" for key, value in facts.items()))
    return 0


def recipe_of(flags: argparse.Namespace, resumed: RunFolder | None, network: Checkpoint | None) -> Recipe:
    """What the flags ask for, of a run that goes on, of a new one, or of one that begins with a network."""
    target = flags.target_accuracy
    if target is not None and not 0.0 <= target <= 1.0:
        raise RecipeError(f"--target-accuracy is {target}; expected a share from 0 to 1")
    recipe = cli.recipe(flags, resumed.recipe if resumed else None)
    recipe = replace(recipe, data=data.absolute(recipe.data))
    if network:
        if given := [f"--{key}" for key in ("hidden", "activation") if key in flags]:
            raise RecipeError(f"--init-from brings a network of its own; leave out {' and '.join(given)}")
        recipe = replace(recipe, hidden=network.model.widths[1:-1], activation=network.model.activation)
    if target is not None and recipe.regression:
        raise RecipeError("--target-accuracy belongs to classes, and --loss mse predicts numbers")
    if resumed:
        changes(resumed.recipe, recipe)
    return recipe


def main(argv: list[str] | None = None) -> int:
    """The main door: flags in, a run folder and a result out."""
    flags = make_parser().parse(argv)
    every = Every.parse(flags.checkpoint_every)
    resumed = open_run(flags, every) if flags.resume is not None else None
    network = read_network(find_checkpoint(flags.init_from, flags.output_dir)) if flags.init_from is not None else None
    recipe = recipe_of(flags, resumed, network)
    if resumed and (report := resumed.finished(recipe)) and (words := retold(report)):
        if not flags.quiet:
            done = counted(recipe.epochs, "epoch")
            cli.say(f"{resumed.path} is finished: {done} done. With more --epochs it goes on.")
        cli.result(json.dumps(report) if flags.json else words)
        return below(flags.target_accuracy, report["test_accuracy"])
    backend = cli.select(flags, recipe.dtype)
    dataset = data.load(recipe.data, regression=recipe.regression, label=recipe.label)
    strict = resumed is not None or cli.asked_for(flags, "validation")
    plan = make_plan(recipe, dataset, strict_validation=strict, threads=flags.threads)
    recipe = replace(recipe, validation=len(plan.validation_rows))
    need = estimate(recipe, dataset, plan, on_host=backend.device == "cpu").check()
    now = environment(recipe, dataset, plan, backend, version=cli.version(), command=sys.argv)
    model = Model.of(recipe, dataset, plan.training_rows)
    start = first_point(network, model, recipe) if network else None
    if resumed:
        check_data(dataset, resumed.checkpoint, resumed.earlier)
        start = starting_point(resumed.checkpoint, model, plan, recipe) if resumed.checkpoint else None
    model = start.model if start else model
    if not flags.quiet:
        going_on = [told(start, plan, resumed.recipe, recipe, resumed.earlier, now)] if resumed else []
        for notice in (*plan.notices, *going_on):
            cli.say(notice)
    where: dict[str, Any] = {
        "backend": backend.name,
        "device": backend.device,
        "dtype": recipe.dtype,
        "seed": recipe.seed,
    }
    if flags.dry_run:
        return dry_run(where | need.facts(), model, plan, flags.json)

    folder = resumed or RunFolder.claim(flags.output_dir, flags.name, model.widths, every)
    if (lost := folder.begin(recipe, now, start)) and not flags.quiet:
        cli.say(lost)
    step = start.step if start else 0
    with stop_signals() as stop, make_view(sys.stderr, quiet=flags.quiet, device=backend.device) as view:
        for event in fit(recipe, dataset, plan, backend, start=start, seconds=folder.seconds, stop=stop.asked):
            folder.record(event)
            view.show(event)
            if isinstance(event, Progress):
                step = event.step
    assert isinstance(event, Finished), "fit ends with Finished"
    summary = summarise(event, model, {"run": str(folder.path)} | where, model.baseline(dataset.y_test))
    summary |= {key: finite(value) for key, value in folder.scores().items() if summary[key] is None}
    folder.close(summary)
    cli.result(json.dumps(summary) if flags.json else summary_text(summary))
    if event.reason == "interrupted":
        cli.say(f"Stopped after step {event.step}; {folder.path} holds what was trained, and --resume goes on with it.")
        return stop.exit_code
    if event.reason == "diverged":
        cli.say(
            f"error: the loss is no longer a number after step {step}; the rate {recipe.lr} is too high. "
            f"Try --lr {recipe.lr / 10:g}. last.safetensors holds step {event.step}, of epoch {event.epoch}."
        )
        return 6
    return below(flags.target_accuracy, summary["test_accuracy"])


def below(target: float | None, accuracy: float | None) -> int:
    """8 where a test accuracy misses --target-accuracy, with a line; else 0."""
    if target is None or accuracy is None or accuracy >= target:
        return 0
    cli.say(f"The test accuracy {accuracy} is below --target-accuracy {target}.")
    return 8


if __name__ == "__main__":
    sys.exit(cli.guarded(main))
