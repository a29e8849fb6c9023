"""Train a dense network: python train.py [--device cuda] [--recipe NAME|FILE] [flags]. --help lists everything."""

import startup

if __name__ == "__main__":
    startup.stop_quietly()  # the imports below take their time

import argparse
import json
import sys
from dataclasses import replace
from typing import Any

import cli
import data
from report.keepsakes import keepsakes
from report.progress import make_view
from report.summary import summarise, summary_text
from training.checkpoint import Checkpoint
from training.environment import environment
from training.events import Finished, Model, Plan, Progress
from training.findings import find
from training.loop import fit
from training.memory import estimate
from training.plan import make_plan
from training.recipe import Recipe, RecipeError, dumps
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
        "--checkpoint-every", type=every, default=every("10m"), metavar="Nm|N",
        help="minutes (10m) or steps (500) between checkpoints within an epoch (default: 10m)",
    )  # fmt: skip
    flag(
        "--target-accuracy", type=float, metavar="A", help="exit with 8 below this test accuracy, 0..1 (default: none)"
    )
    flag("--no-plots", action="store_true", help="no pictures and no page of them (default: draw them)")
    flag("--dry-run", action="store_true", help="say what would be done, and stop (default: train)")
    flag("--quiet", action="store_true", help="no progress and no notices (default: show them)")
    cli.add_output_flags(parser)
    return parser


def every(words: str) -> Every:
    """--checkpoint-every."""
    try:
        return Every.parse(words)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{words!r} found, a number of steps (500) or of minutes (10m) expected"
        ) from None


def open_run(flags: argparse.Namespace) -> RunFolder:
    """The run that --resume means; what it was computed with holds where no flag says otherwise."""
    if flags.name is not None or flags.recipe is not None or flags.init_from is not None:
        raise RecipeError("--resume goes on with a run that has all of it; leave out --name, --recipe and --init-from")
    folder = RunFolder.reopen(find_run(flags.resume, flags.output_dir), flags.checkpoint_every)
    earlier = folder.earlier
    if flags.backend is None and (flags.device == "auto" or earlier.get("backend") in ("torch", "jax")):
        flags.backend = earlier.get("backend")
    if flags.device == "auto" and flags.backend == earlier.get("backend"):
        flags.device = earlier.get("device", "auto")
    flags.no_compile = flags.no_compile or earlier.get("compiled") is False
    flags.threads = flags.threads or earlier.get("threads")
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
    print(json.dumps(facts) if as_json else "\n".join(f"{key:16} {value}" for key, value in facts.items()))
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
    resumed = open_run(flags) if flags.resume is not None else None
    network = read_network(find_checkpoint(flags.init_from, flags.output_dir)) if flags.init_from is not None else None
    recipe = recipe_of(flags, resumed, network)
    if resumed and (report := resumed.finished(recipe, drawn=not flags.no_plots)):
        cli.say(f"{resumed.path} is finished: {recipe.epochs} epochs are done. With more --epochs it goes on.")
        print(json.dumps(report) if flags.json else summary_text(report))
        return below(flags.target_accuracy, report["test_accuracy"])
    backend = cli.select(flags, recipe.dtype)
    dataset = data.load(recipe.data, regression=recipe.regression, label=recipe.label)
    plan = make_plan(recipe, dataset, strict_validation="validation" in flags, threads=flags.threads)
    need = estimate(recipe, dataset, plan, on_host=backend.device == "cpu").check()
    now = environment(recipe, dataset, plan, backend, version=cli.version(), command=sys.argv)
    model = Model.of(recipe, dataset, plan.training_rows)
    start = first_point(network, model, recipe) if network else None
    if resumed:
        check_data(dataset, resumed.earlier)
        start = starting_point(resumed.checkpoint, model, plan, recipe) if resumed.checkpoint else None
    if not flags.quiet:
        going_on = [told(start, plan, resumed.recipe, recipe, resumed.earlier, now)] if resumed else []
        for notice in (*plan.notices, *going_on):
            cli.say(notice)
    where: dict[str, Any] = {"backend": backend.name, "device": backend.device, "dtype": recipe.dtype}
    where["seed"] = recipe.seed
    if flags.dry_run:
        return dry_run(where | need.facts(), model, plan, flags.json)

    folder = resumed or RunFolder.claim(flags.output_dir, flags.name, model.widths, flags.checkpoint_every)
    folder.begin(recipe, now, start)
    step = start.step if start else 0
    with stop_signals() as stop, make_view(sys.stderr, quiet=flags.quiet) as view:
        for event in fit(recipe, dataset, plan, backend, start=start, seconds=folder.seconds, stop=stop.asked):
            folder.record(event)
            view.show(event)
            if isinstance(event, Progress):
                step = event.step
    assert isinstance(event, Finished), "fit ends with Finished"
    summary = summarise(event, model, {"run": str(folder.path)} | where, model.baseline(dataset.y_test))
    summary |= {key: value for key, value in folder.scores().items() if summary[key] is None}
    folder.close(summary)
    print(json.dumps(summary) if flags.json else summary_text(summary))
    if event.reason == "interrupted":
        cli.say(f"Stopped after step {event.step}; {folder.path} holds what was trained, and --resume goes on with it.")
        return stop.exit_code
    if event.reason == "diverged":
        cli.say(
            f"error: the loss is no longer a number after step {step}; the rate {recipe.lr} is too high. "
            f"Try --lr {recipe.lr / 10:g}. last.safetensors holds step {event.step}, of epoch {event.epoch}."
        )
        return 6
    if not flags.no_plots and not stop.asked():
        with stop_signals() as stop:
            found = find(model, event.state["params"], dataset, recipe.seed)
            folder.keep(keepsakes(summary, event, model, found, folder.history(), dumps(recipe), now), stop.asked)
        if stop.asked():
            cli.say(f"Stopped while drawing; the run in {folder.path} is whole, and --resume draws what is missing.")
            return stop.exit_code
    return below(flags.target_accuracy, summary["test_accuracy"])


def below(target: float | None, accuracy: float | None) -> int:
    """8 where a test accuracy misses --target-accuracy, with a line; else 0."""
    if target is None or accuracy is None or accuracy >= target:
        return 0
    cli.say(f"The test accuracy {accuracy} is below --target-accuracy {target}.")
    return 8


if __name__ == "__main__":
    sys.exit(cli.guarded(main))
