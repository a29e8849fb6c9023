"""Prepare a training run: resolve the options of train.py, open everything, and check it before anything is written."""

import argparse
import math
import shlex
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from lagvis import __version__
from lagvis.backends.backend import Backend
from lagvis.backends.registry import BACKENDS
from lagvis.cli import options
from lagvis.cli.errors import print_stderr
from lagvis.cli.inputs import own_data_options
from lagvis.data.checks import check_dataset
from lagvis.data.dataset import Dataset
from lagvis.data.datasets import absolute_name, load_dataset
from lagvis.data.range_check import check_feature_ranges
from lagvis.data.tables.column_facts import column_facts
from lagvis.data.tables.encoding import ALL_NUMBERS
from lagvis.errors import RecipeError, UsageError
from lagvis.report.run_report import changes_text, training_commands
from lagvis.report.terminal.column_table import column_lines
from lagvis.run_warning import RunWarning
from lagvis.storage.environment import describe_environment, describe_init_from
from lagvis.storage.init_from import check_held_out_rows, init_from
from lagvis.storage.lookup import StoredNetwork, find_run, load_network
from lagvis.storage.resume import changed_settings, check_data, resume_message, resume_record, resume_state
from lagvis.storage.run_folder import CheckpointInterval, RunFolder, read_environment, run_of_recipe
from lagvis.tracking.tracker import CSV, TRACKERS, Tracker, open_tracker, parse_tracker_names
from lagvis.training.checkpoint import Checkpoint
from lagvis.training.factory import initial_state
from lagvis.training.float32_precision import check_float32_precision
from lagvis.training.memory import MemoryEstimate, estimate_memory
from lagvis.training.model import Model
from lagvis.training.plan import Plan, describe_few_steps, make_plan
from lagvis.training.rate_search import find_rate
from lagvis.training.recipe import Recipe
from lagvis.training.recipe_checks import FIND
from lagvis.training.threads import thread_limit


@dataclass(frozen=True)
class RunSetup:
    """All that a run needs apart from its folder.

    start        the state that it continues from or the parameters that it begins with; None: drawn from the seed
    best         with patience, the state of the best epoch before `start`, if there is one
    environment  the content of environment.json
    notices      sentences for the user
    warnings     what makes the result look better, or mean less, than it seems; known before the first step
    """

    recipe: Recipe
    backend: Backend
    dataset: Dataset
    plan: Plan
    model: Model
    start: Checkpoint | None
    best: Checkpoint | None
    memory: MemoryEstimate
    environment: dict[str, Any]
    notices: tuple[str, ...]
    warnings: tuple[RunWarning, ...]


class TrainParser(options.Parser):
    """Parser of train.py, which takes --log with the names of trackers alone as --logger.

    The recipe key `log` names columns; a column that is called as a tracker can be named in a recipe file.
    """

    def with_hyphens(self, words: list[str]) -> list[str]:
        """Return the words with --logger for --log before the name of a tracker, and as the other commands do."""
        words = super().with_hyphens(words)
        for i, word in enumerate(words):
            name, equals, value = word.partition("=")
            value = value if equals else "".join(words[i + 1 : i + 2])
            if name == "--log" and all(tracker.strip() in (CSV, *TRACKERS) for tracker in value.split(",")):
                words[i] = f"--logger{word.removeprefix('--log')}"
        return words


def make_parser() -> options.Parser:
    """Return the parser of the command line."""
    parser = TrainParser(
        "train", "Train a dense network. A recipe holds all settings; options override single settings of it."
    )
    options.add_device_flags(parser)
    parser.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="CPU threads of NumPy and PyTorch (default: by the size of the matrix products, within OMP_NUM_THREADS, "
        "OPENBLAS_NUM_THREADS, MKL_NUM_THREADS and the share of CPUs of a container)",
    )
    options.add_recipe_flags(parser)
    parser.set_defaults(recipe=None)  # so that --resume sees whether one was named
    output = parser.add_argument_group("output")
    flag = output.add_argument
    flag(
        "-o", "--output-dir", "--runs-dir", dest="runs_dir", default="runs", metavar="DIR",
        help="folder in which run folders are made and looked up by name (default: runs)",
    )  # fmt: skip
    flag("--name", help="name of the run folder (default: time and layer widths)")
    flag(
        "--init-from", metavar="RUN", help="start with the parameters of a trained network (default: draw by the seed)"
    )
    flag(
        "--resume",
        nargs="?",
        const="",
        metavar="RUN",
        help="continue a run, without RUN the newest (default: begin a new run)",
    )
    flag(
        "--checkpoint-every", default="10m", metavar="Nm|N",
        help="minutes (10m) or steps (500) between checkpoints within an epoch (default: 10m)",
    )  # fmt: skip
    flag(
        "--stop-after", type=int, metavar="STEP",
        help="stop after the group of steps that reaches this one, as Ctrl-C would, with exit code 0 (default: never)",
    )  # fmt: skip
    flag(
        "--target-accuracy", type=float, metavar="A", help="exit with 8 below this test accuracy, 0..1 (default: none)"
    )
    flag(
        "--logger", action="append", metavar="TRACKER",
        help="show the run in tensorboard or mlflow too, several with commas; csv is metrics.csv alone; also as "
        "--log TRACKER (default: csv, with --resume those of the run)",
    )  # fmt: skip
    flag("--no-plots", action="store_true", help="write no plots and no report page (default: write them)")
    flag("--dry-run", action="store_true", help="print what would be done, and exit (default: train)")
    flag("--quiet", action="store_true", help="print no progress and no notices (default: print them)")
    options.add_output_flags(parser)
    return parser


def reopen_run(flags: argparse.Namespace, every: CheckpointInterval) -> RunFolder:
    """Open the run that --resume names, and take backend, device and threads from it where no option sets them."""
    if flags.name is not None or flags.recipe is not None or flags.init_from is not None:
        raise RecipeError("--resume continues a run with its own settings; leave out --name, --recipe and --init-from")
    path = find_run(flags.resume, flags.runs_dir)
    if not (flags.resume or flags.quiet):
        print_stderr(f"--resume takes the newest run, {path}.")
    folder = RunFolder.reopen(path, every)
    previous = folder.previous_environment
    name, kind = previous.get("backend"), flags.device.partition(":")[0]
    if (
        flags.backend is None
        and name in BACKENDS
        and (kind == "auto" or (name in ("torch", "jax") and kind in BACKENDS[name][2]))
    ):
        flags.backend = name
    if flags.device == "auto" and flags.backend == name:
        flags.device = previous.get("device", "auto")
    flags.no_compile = flags.no_compile or previous.get("compiled") is False
    flags.threads = previous.get("threads") if flags.threads is None else flags.threads
    return folder


def open_trackers(flags: argparse.Namespace, resumed: RunFolder | None) -> list[Tracker]:
    """Import the trackers of --logger, or of the run that is resumed; set `flags.logger` to their names.

    Raise UsageError for one that is named and cannot be imported; print a notice about one of the run before.
    """
    if flags.logger is not None:
        flags.logger = parse_tracker_names(flags.logger)
        return [open_tracker(name) for name in flags.logger]
    previous = resumed.previous_environment.get("logger", []) if resumed else []
    flags.logger = tuple(name for name in previous if isinstance(name, str) and name in TRACKERS)
    trackers = []
    for name in flags.logger:
        try:
            trackers.append(open_tracker(name))
        except UsageError as error:
            print_stderr(f"The run goes on without {name}: {error}.")
    return trackers


def resolve_recipe(flags: argparse.Namespace, resumed: RunFolder | None, network: StoredNetwork | None) -> Recipe:
    """Return the recipe of a new run, of the resumed run, or of a run that starts with the parameters of `network`."""
    target = flags.target_accuracy
    if target is not None and not 0.0 <= target <= 1.0:
        raise RecipeError(f"--target-accuracy is {target}; expected a share from 0 to 1")
    if resumed and getattr(flags, "lr", None) == FIND:
        raise RecipeError("--resume goes on with the learning rate of the run; give --lr a number, or leave it out")
    recipe = options.resolve_recipe(flags, resumed.recipe if resumed else None, without_find=True)
    if not resumed and options.finds_rate(flags) and not recipe.epochs:
        raise RecipeError("lr is 'find', and with 0 epochs no step is taken; give lr a number, or epochs of 1 or more")
    recipe = replace(recipe, data=absolute_name(recipe.data))
    if network:
        if given := [f"--{key}" for key in ("hidden", "activation", "normalization") if key in flags]:
            raise RecipeError(f"--init-from sets the layers itself; leave out {' and '.join(given)}")
        if given := [f"--{key.replace('_', '-')}" for key in ("pixel_scaling", "number_scaling") if key in flags]:
            raise RecipeError(f"--init-from keeps the scaling of its network; leave out {' and '.join(given)}")
        initial = network.checkpoint.model
        recipe = replace(
            recipe,
            hidden=initial.widths[1:-1],
            activation=initial.activation,
            normalization=initial.normalization,
            pixel_scaling="centred" if initial.pixel_mean else "unit",
            number_scaling="robust" if initial.x_scaling and math.isfinite(initial.x_scaling.limit) else "standard",
        )
    if target is not None and recipe.regression:
        raise RecipeError(
            f"--target-accuracy is for classification, and --loss {recipe.loss} is regression; leave one out"
        )
    if resumed:
        changed_settings(resumed.recipe, recipe)
    return recipe


def prepare_run(
    flags: argparse.Namespace, recipe: Recipe, resumed: RunFolder | None, network: StoredNetwork | None
) -> RunSetup:
    """Open backend and data, make the plan and find the start of a run; each raises the error of its kind."""
    backend = options.select_backend(flags, recipe.dtype)
    stored = resumed.checkpoint.model if resumed and resumed.checkpoint else None
    data_options = own_data_options(recipe, stored)
    if network:  # the columns of a table become the features that it has learned from
        data_options["encoding"] = network.checkpoint.model.encoding or ALL_NUMBERS
    dataset = load_dataset(recipe.data, **data_options)
    previous = resumed.previous_environment if resumed else {}
    if resumed:
        check_data(dataset, resumed.checkpoint, previous, resumed.path)
    strict = resumed is not None or options.is_explicit(flags, "validation")
    plan = make_plan(recipe, dataset, strict_validation=strict, threads=flags.threads)
    recipe = replace(recipe, epochs=plan.epochs, validation=len(plan.validation_rows))
    memory = estimate_memory(
        recipe, dataset, plan, on_host=backend.device in ("cpu", "mps"), backend=backend.name
    ).check()
    environment = describe_environment(recipe, dataset, plan, backend, version=__version__, command=flags.command)
    environment |= {"init_from": None, "resumed": [], "rate_search": None, "logger": list(flags.logger)}
    model = Model.of(recipe, dataset, plan.training_rows)
    start, start_warnings = None, []
    if network:
        start = init_from(network.checkpoint, model, recipe, dataset)
        start_warnings = check_held_out_rows(network, dataset, plan) + check_initial_scale(dataset, network)
        environment["init_from"] = describe_init_from(network.path, start_warnings)
    notices = (
        card_notice(environment), threads_notice(plan, backend, resumed), stretches_notice(flags.recipe), *plan.notices,
        muon_notice(recipe), *([] if resumed else options.override_notices(flags, recipe)), *column_notices(dataset),
        few_steps_notice(flags, dataset, plan, resumed),
    )  # fmt: skip
    if not flags.quiet:
        notices += (memory.notice(),)
    if resumed:
        start = resume_state(resumed.checkpoint, model, plan, recipe) if resumed.checkpoint else None
        environment |= {key: previous.get(key) for key in ("init_from", "rate_search")}
        start_warnings = stored_warnings(environment["init_from"])
        environment["resumed"] = resume_record(start, plan, resumed.recipe, recipe, previous, environment)
        notices += (resume_message(start, plan, resumed.recipe, recipe, previous, environment),)
    best = resumed.read_best() if resumed and recipe.patience else None
    check_stop_after(flags.stop_after, start)
    assert model.ranges is not None, "the ranges of a new model are measured"
    standardised = recipe.number_scaling == "standard" and network is None
    warnings = check_dataset(dataset, model.ranges, plan.validation_rows, standardised=standardised)
    warnings += start_warnings
    model = start.model if start else model  # with the scaling of another network, if the run began with one
    warnings += check_float32_precision(dataset, model, recipe.dtype, can_rescale=network is None)
    return RunSetup(
        recipe, backend, dataset, plan, model, start, best, memory, environment, notices, tuple(warnings),
    )  # fmt: skip


def first_state(run: RunSetup) -> Any:
    """Return parameters and optimizer state before the first step of a run, on the host.

    A resumed run does not keep the parameters of --init-from: the state at the resume takes their place.
    """
    from_seed = not run.environment.get("init_from")
    return initial_state(run.recipe, run.model) if from_seed or run.start is None else run.start.state


def with_found_rate(run: RunSetup) -> RunSetup:
    """Return a run whose learning rate was found by a range test of its own steps; RecipeError if none was found."""
    state = run.start.state if run.start else initial_state(run.recipe, run.model)
    with run.backend.limited_threads(run.plan.threads):
        found = find_rate(run.recipe, run.dataset, run.plan, run.model, run.backend, state)
    environment = run.environment | {"rate_search": found.as_json()}
    return replace(run, recipe=replace(run.recipe, lr=found.rate), environment=environment)


def muon_notice(recipe: Recipe) -> str:
    """Return the line about a network in which the optimizer muon has nothing to orthogonalise; or ""."""
    if recipe.optimizer != "muon" or len(recipe.hidden) > 1:
        return ""
    return (
        "The optimizer muon trains this network by its AdamW part alone: it orthogonalises the matrices between hidden "
        "layers, and there is none; --hidden with two layers or more has one."
    )


def column_notices(dataset: Dataset) -> list[str]:
    """Return the lines on what became of the columns of a table; none for other data."""
    return column_lines(column_facts(dataset.encoding)) if dataset.encoding else []


def check_initial_scale(dataset: Dataset, network: StoredNetwork) -> list[RunWarning]:
    """Return warnings about training rows that differ from those that the network of --init-from has learned from."""
    ranges = network.checkpoint.model.ranges
    if ranges is None:
        return []
    row_name = partial(dataset.locate_row, "training")
    return check_feature_ranges(
        dataset.x_train, ranges, dataset.feature_names, dataset.name, row_name, network.checkpoint.model.encoding
    )


def stored_warnings(init_from: dict[str, Any] | None) -> list[RunWarning]:
    """Return the warnings that an entry `init_from` of environment.json holds."""
    return [RunWarning.from_json(warning) for warning in (init_from or {}).get("warnings", [])]


def card_notice(environment: dict[str, Any]) -> str:
    """Return the line that names the card of a run by model and UUID; an empty string for a run on the CPU."""
    if "gpu uuid" not in environment:
        return ""
    return f"{environment['device']} is {environment['gpu']} ({environment['gpu uuid']})."


def threads_notice(plan: Plan, backend: Backend, resumed: RunFolder | None) -> str:
    """Return the line about more threads than this process should use, by --threads or as before a resume; or ""."""
    limit = thread_limit()
    if not backend.sets_threads or plan.threads <= limit.threads:
        return ""
    if resumed and plan.threads == resumed.previous_environment.get("threads"):
        return f"The run goes on with its {plan.threads} threads, although {limit.reason}; --threads changes that."
    return f"--threads {plan.threads} is used, although {limit.reason}."


def few_steps_notice(flags: argparse.Namespace, dataset: Dataset, plan: Plan, resumed: RunFolder | None) -> str:
    """Return the line about the recipe `table` for a new run of few steps on a table, if it is by no recipe; or ""."""
    if flags.recipe or "epochs" in flags or resumed or dataset.encoding is None:
        return ""
    return describe_few_steps(plan)


def stretches_notice(recipe: str | None) -> str:
    """Return the line about a recipe.toml whose run was resumed with other settings, and the commands; or ""."""
    folder = run_of_recipe(recipe) if recipe else None
    environment = read_environment(folder) if folder else {}
    if not (resumed := environment.get("resumed")):
        return ""
    commands = "; ".join(shlex.join(command) for command in training_commands(str(folder), environment))
    return (
        f"{folder} was resumed with other settings ({changes_text(resumed)}), and its recipe holds the last ones: this "
        f"run has them from the first step on. To repeat that run: {commands}"
    )


def check_stop_after(step: int | None, start: Checkpoint | None) -> None:
    """Raise RecipeError if --stop-after names no step that is still to come."""
    done = start.step if start else 0
    if step is not None and step <= done:
        raise RecipeError(f"--stop-after is {step}; expected a step after {done}, the last that is done")


def load_run_data(recipe: Recipe, resumed: RunFolder) -> Dataset:
    """Load the data that a finished run was trained on; DataError if they are gone or have changed."""
    assert resumed.checkpoint is not None, "a finished run has a checkpoint"
    dataset = load_dataset(recipe.data, **own_data_options(recipe, resumed.checkpoint.model))
    check_data(dataset, resumed.checkpoint, resumed.previous_environment, resumed.path)
    resumed.checkpoint.model.check(dataset)
    return dataset


def read_initial_network(flags: argparse.Namespace) -> StoredNetwork | None:
    """Read the network of --init-from; None without it, or with --resume, which refuses it."""
    if flags.init_from is None or flags.resume is not None:
        return None
    return load_network(flags.init_from, flags.runs_dir)
