"""What the flags of train.py ask for, opened and held against each other before anything is trained or written."""

import argparse
import sys
from dataclasses import dataclass, replace
from typing import Any

import backends
import cli
import data
from training.checkpoint import Checkpoint
from training.environment import environment
from training.memory import Need, estimate
from training.model import Model
from training.plan import Plan, make_plan
from training.recipe import Recipe, RecipeError
from training.resume import changes, check_data, first_point, starting_point, told
from training.run_folder import Every, RunFolder, find_checkpoint, find_run, read_network


@dataclass(frozen=True)
class Opening:
    """All that a run needs before its folder: `start` is where it goes on or the weights it begins with, if any.

    environment  as environment.json will have it
    notices      what the user should be told in a line each
    """

    recipe: Recipe
    backend: backends.Backend
    dataset: data.Dataset
    plan: Plan
    model: Model
    start: Checkpoint | None
    need: Need
    environment: dict[str, Any]
    notices: tuple[str, ...]


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
    flag("--no-plots", action="store_true", help="no pictures and no page of them (default: draw them)")
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


def open_all(
    flags: argparse.Namespace, recipe: Recipe, resumed: RunFolder | None, network: Checkpoint | None
) -> Opening:
    """Backend, data, plan and start of a run; the errors of each say what is in the way."""
    backend = cli.select(flags, recipe.dtype)
    dataset = data.load(recipe.data, regression=recipe.regression, label=recipe.label)
    strict = resumed is not None or cli.asked_for(flags, "validation")
    plan = make_plan(recipe, dataset, strict_validation=strict, threads=flags.threads)
    recipe = replace(recipe, validation=len(plan.validation_rows))
    need = estimate(recipe, dataset, plan, on_host=backend.device == "cpu").check()
    now = environment(recipe, dataset, plan, backend, version=cli.version(), command=sys.argv)
    model = Model.of(recipe, dataset, plan.training_rows)
    start, notices = first_point(network, model, recipe) if network else None, plan.notices
    if resumed:
        check_data(dataset, resumed.checkpoint, resumed.earlier)
        start = starting_point(resumed.checkpoint, model, plan, recipe) if resumed.checkpoint else None
        notices += (told(start, plan, resumed.recipe, recipe, resumed.earlier, now),)
    return Opening(recipe, backend, dataset, plan, start.model if start else model, start, need, now, notices)


def open_data(recipe: Recipe, resumed: RunFolder) -> data.Dataset:
    """What a finished run has learned from; DataError where that is gone, or has changed."""
    assert resumed.checkpoint is not None, "it is finished"
    dataset = data.load(recipe.data, regression=recipe.regression, label=recipe.label)
    check_data(dataset, resumed.checkpoint, resumed.earlier)
    resumed.checkpoint.model.check(dataset)
    return dataset


def read_start(flags: argparse.Namespace) -> Checkpoint | None:
    """The network of --init-from."""
    return read_network(find_checkpoint(flags.init_from, flags.output_dir)) if flags.init_from is not None else None
