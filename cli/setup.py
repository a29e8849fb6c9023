"""What the flags of train.py ask for, opened and held against each other before anything is trained or written."""

import argparse
import sys
from dataclasses import dataclass, replace
from typing import Any

from lagvis import __version__
from lagvis.backends.backend import Backend
from lagvis.backends.registry import BACKENDS
from lagvis.cli import options
from lagvis.data.dataset import Dataset
from lagvis.data.datasets import absolute_name, load_dataset
from lagvis.data.shared_rows import shared_rows_notice
from lagvis.errors import RecipeError
from lagvis.runs.environment import describe_environment, describe_init_from
from lagvis.runs.lookup import find_checkpoint, find_run, read_network
from lagvis.runs.resume import changed_settings, check_data, init_from, resume_message, resume_record, resume_state
from lagvis.runs.run_folder import CheckpointInterval, RunFolder
from lagvis.training.checkpoint import Checkpoint
from lagvis.training.memory import MemoryEstimate, estimate_memory
from lagvis.training.model import Model
from lagvis.training.plan import Plan, make_plan
from lagvis.training.recipe import Recipe


@dataclass(frozen=True)
class RunSetup:
    """All that a run needs before its folder: `start` is where it goes on or the weights it begins with, if any.

    environment  as environment.json will have it
    notices      what the user should be told in a line each
    """

    recipe: Recipe
    backend: Backend
    dataset: Dataset
    plan: Plan
    model: Model
    start: Checkpoint | None
    need: MemoryEstimate
    environment: dict[str, Any]
    notices: tuple[str, ...]


def make_parser() -> options.Parser:
    """All flags of this door."""
    parser = options.Parser("Train a dense network. A recipe says everything; flags override it key by key.")
    options.add_device_flags(parser)
    parser.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="of NumPy and PyTorch on the CPU (default: by the size of the products)",
    )
    options.add_recipe_flags(parser)
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
    options.add_output_flags(parser)
    return parser


def reopen_run(flags: argparse.Namespace, every: CheckpointInterval) -> RunFolder:
    """The run that --resume means; what it was computed with holds where no flag says otherwise."""
    if flags.name is not None or flags.recipe is not None or flags.init_from is not None:
        raise RecipeError("--resume goes on with a run that has all of it; leave out --name, --recipe and --init-from")
    folder = RunFolder.reopen(find_run(flags.resume, flags.output_dir), every)
    earlier = folder.earlier
    if (
        flags.backend is None
        and earlier.get("backend") in BACKENDS
        and (flags.device == "auto" or earlier.get("backend") in ("torch", "jax"))
    ):
        flags.backend = earlier.get("backend")
    if flags.device == "auto" and flags.backend == earlier.get("backend"):
        flags.device = earlier.get("device", "auto")
    flags.no_compile = flags.no_compile or earlier.get("compiled") is False
    flags.threads = earlier.get("threads") if flags.threads is None else flags.threads
    return folder


def resolve_recipe(flags: argparse.Namespace, resumed: RunFolder | None, network: Checkpoint | None) -> Recipe:
    """What the flags ask for, of a run that goes on, of a new one, or of one that begins with a network."""
    target = flags.target_accuracy
    if target is not None and not 0.0 <= target <= 1.0:
        raise RecipeError(f"--target-accuracy is {target}; expected a share from 0 to 1")
    recipe = options.resolve_recipe(flags, resumed.recipe if resumed else None)
    recipe = replace(recipe, data=absolute_name(recipe.data))
    if network:
        if given := [f"--{key}" for key in ("hidden", "activation") if key in flags]:
            raise RecipeError(f"--init-from brings a network of its own; leave out {' and '.join(given)}")
        recipe = replace(recipe, hidden=network.model.widths[1:-1], activation=network.model.activation)
    if target is not None and recipe.regression:
        raise RecipeError("--target-accuracy belongs to classes, and --loss mse predicts numbers")
    if resumed:
        changed_settings(resumed.recipe, recipe)
    return recipe


def prepare_run(
    flags: argparse.Namespace, recipe: Recipe, resumed: RunFolder | None, network: Checkpoint | None
) -> RunSetup:
    """Backend, data, plan and start of a run; the errors of each say what is in the way."""
    backend = options.select_backend(flags, recipe.dtype)
    dataset = load_dataset(
        recipe.data, regression=recipe.regression, label=recipe.label, feature_type=recipe.feature_type
    )
    strict = resumed is not None or options.is_explicit(flags, "validation")
    plan = make_plan(recipe, dataset, strict_validation=strict, threads=flags.threads)
    recipe = replace(recipe, validation=len(plan.validation_rows))
    need = estimate_memory(recipe, dataset, plan, on_host=backend.device == "cpu").check()
    now = describe_environment(recipe, dataset, plan, backend, version=__version__, command=sys.argv)
    model = Model.of(recipe, dataset, plan.training_rows)
    start = init_from(network, model, recipe) if network else None
    notices = plan.notices if flags.quiet else (*plan.notices, shared_rows_notice(dataset))
    now["init_from"], now["resumed"] = None, []
    if network:
        now["init_from"] = describe_init_from(find_checkpoint(flags.init_from, flags.output_dir))
    if resumed:
        check_data(dataset, resumed.checkpoint, resumed.earlier)
        start = resume_state(resumed.checkpoint, model, plan, recipe) if resumed.checkpoint else None
        now["init_from"] = resumed.earlier.get("init_from")
        now["resumed"] = resume_record(start, plan, resumed.recipe, recipe, resumed.earlier, now)
        notices += (resume_message(start, plan, resumed.recipe, recipe, resumed.earlier, now),)
    return RunSetup(recipe, backend, dataset, plan, start.model if start else model, start, need, now, notices)


def load_run_data(recipe: Recipe, resumed: RunFolder) -> Dataset:
    """What a finished run has learned from; DataError where that is gone, or has changed."""
    assert resumed.checkpoint is not None, "it is finished"
    dataset = load_dataset(
        recipe.data, regression=recipe.regression, label=recipe.label, feature_type=recipe.feature_type
    )
    check_data(dataset, resumed.checkpoint, resumed.earlier)
    resumed.checkpoint.model.check(dataset)
    return dataset


def read_initial_network(flags: argparse.Namespace) -> Checkpoint | None:
    """The network of --init-from."""
    return read_network(find_checkpoint(flags.init_from, flags.output_dir)) if flags.init_from is not None else None
