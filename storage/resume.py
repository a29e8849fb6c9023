"""Resume a run: check that it is the same run, find its start, and report the effect of changed settings."""

from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from lagvis.backends.cuda import CARD_VARIABLES
from lagvis.data.dataset import Dataset
from lagvis.data.messages import join_names
from lagvis.errors import CheckpointError, DataError, RecipeError
from lagvis.training.checkpoint import SCALINGS, Checkpoint
from lagvis.training.factory import first_state, scheduled_scalars
from lagvis.training.model import Model
from lagvis.training.plan import Plan
from lagvis.training.recipe import SCHEDULE_KEYS, Recipe
from lagvis.training.recipe_checks import as_toml

# Settings that a resumed run can change. Any other would change the network, the batches or the meaning of the numbers.
# (The path of the data can change; `check_data` compares their content.)
CHANGEABLE = (
    "data", "epochs", "min_steps", "patience", "lr", "momentum", "nesterov", "betas", "rho", "eps", "weight_decay",
    "schedule", *SCHEDULE_KEYS, "label_smoothing", "dropout", "input_dropout", "input_noise", "mixup", "l1", "max_norm",
    "clip_norm",
)  # fmt: skip

# Those that only change what the schedule makes of each step.
SCHEDULED = {"epochs", "min_steps", "lr", "schedule", *SCHEDULE_KEYS}

# Entries of environment.json on which the numbers do not depend, or which are checked on their own. (The variables that
# number the cards are in it for people; the card itself is compared by its UUID.)
IGNORED_KEYS = (
    "lagvis", "command", "seed", "data", "sha256", "rows", "init_from", "resumed", "rate_search", "logger",
    "threads", *CARD_VARIABLES,
)  # fmt: skip

# Fields of a model by which its rows are scaled; a network that starts training on other data keeps them.
SCALING_FIELDS = (*SCALINGS, "pixel_mean")


def changed_settings(old: Recipe, new: Recipe) -> dict[str, tuple[Any, Any]]:
    """Return the settings that differ, as {key: (old, new)}; RecipeError if a resumed run cannot change one."""
    before, after = asdict(old), asdict(new)
    differing = {key: (before[key], after[key]) for key in before if before[key] != after[key]}
    for key, (was, wanted) in differing.items():
        if key not in CHANGEABLE:
            raise RecipeError(
                f"{key} is {as_toml(was)!r} in this run, not {as_toml(wanted)!r}; begin a new run "
                f"without --resume (a resumed run can change {', '.join(CHANGEABLE)})"
            )
    return differing


def check_data(
    dataset: Dataset,
    checkpoint: Checkpoint | None,
    environment: dict[str, Any],
    run: Path,
    remedy: str = "begin a new run without --resume",
) -> None:
    """Raise DataError if the data differ from those that the run was trained on; `remedy` says what to do instead.

    `environment` is that of the run, `run` its folder or file, which `--init-from` takes where the network still fits.
    """
    if checkpoint is None or checkpoint.data in ("", dataset.digest):
        return
    model = checkpoint.model
    found = {*dataset.sha256.values()}
    files = sorted(name for name, sha256 in environment.get("sha256", {}).items() if sha256 not in found)
    changes = [rows_then_and_now(dataset, environment), *different_classes(model.class_names, dataset.class_names)]
    facts = f": {', '.join(filter(None, changes))}" if any(changes) else ""
    remedies = ["restore them", remedy]
    if (model.widths[0], model.class_names, model.target_names) == (
        dataset.x_train.shape[1], dataset.class_names, dataset.target_names,
    ):  # fmt: skip
        remedies.append(f"train on from its weights in a new run with train.py --init-from {run}")
    raise DataError(
        f"the data of this run have changed since it began (sha256 of {', '.join(files) or 'its files'}){facts}; "
        f"{', '.join(remedies[:-1])}, or {remedies[-1]}"
    )


def rows_then_and_now(dataset: Dataset, environment: dict[str, Any]) -> str:
    """Return the number of rows when the run began and now; empty if environment.json does not have it."""
    then = environment.get("rows")
    now = {"training": len(dataset.x_train), "test": len(dataset.x_test)}
    if not isinstance(then, dict) or not all(type(then.get(part)) is int for part in now):
        return ""
    before = f"{then['training']:,} training and {then['test']:,} test rows then"
    return f"{before}, {now['training']:,} and {now['test']:,} now"


def different_classes(then: Sequence[str], now: Sequence[str]) -> list[str]:
    """Return which classes are new and which are missing, a phrase each: "a is new"."""
    changes = (
        ([name for name in now if name not in {*then}], "new"),
        ([n for n in then if n not in {*now}], "missing"),
    )
    return [f"{join_names(names)} {'is' if len(names) == 1 else 'are'} {what}" for names, what in changes if names]


def resume_state(checkpoint: Checkpoint, model: Model, plan: Plan, recipe: Recipe) -> Checkpoint:
    """Return the checkpoint as the start of `fit`, with zeros for an optimizer state that it lacks.

    Raise CheckpointError if it does not belong to this model and recipe, RecipeError if it is beyond the last epoch.
    """
    differing = differing_fields(model, checkpoint.model)
    for name in ("label_columns", "transposed", "encoding"):
        if name in differing and not getattr(checkpoint.model, name):  # older versions did not store them
            differing.remove(name)
    if str(checkpoint.dtype) != recipe.dtype:
        differing.append("dtype")
    if differing:
        raise CheckpointError(
            f"checkpoint and recipe of this run differ in {', '.join(differing)}; one of them belongs to another run"
        )
    if recipe.epochs < checkpoint.epoch or plan.steps_per_epoch * recipe.epochs < checkpoint.step:
        raise RecipeError(
            f"epochs is {recipe.epochs}, but {checkpoint.step:,} steps ({checkpoint.epoch} full epochs of "
            f"{plan.steps_per_epoch:,}) are done; expected at least as many epochs"
        )
    whole, within = divmod(checkpoint.step, plan.steps_per_epoch)
    ended = (whole, within) == (checkpoint.epoch + 1, 0) and checkpoint.totals
    if not (ended or whole == checkpoint.epoch):
        raise CheckpointError(
            f"the checkpoint was taken at step {checkpoint.step} of epoch {checkpoint.epoch + 1}, which a run of this "
            f"recipe, with {plan.steps_per_epoch:,} steps an epoch, never has; it belongs to another run"
        )
    first = first_state(recipe, checkpoint.state["params"])
    kept = {name: state for name, state in checkpoint.state.items() if name in first}
    with_ranges = checkpoint.model if checkpoint.model.ranges else replace(checkpoint.model, ranges=model.ranges)
    return replace(checkpoint, model=with_ranges, state=first | kept)


def differing_fields(a: Model, b: Model) -> list[str]:
    """List the fields in which two models differ, but for ranges; of a standardisation only whether there is one.

    The mean of the pixels is not compared: a run that began with another network has that of its data.
    """
    names = [field.name for field in fields(Model) if field.name not in (*SCALING_FIELDS, "ranges")]
    differing = [name for name in names if getattr(a, name) != getattr(b, name)]
    return differing + [name for name in SCALINGS if (getattr(a, name) is None) != (getattr(b, name) is None)]


def resume_message(
    checkpoint: Checkpoint | None,
    plan: Plan,
    old: Recipe,
    new: Recipe,
    old_environment: dict[str, Any],
    environment: dict[str, Any],
) -> str:
    """Return one sentence for the user: where the run continues, and what was changed with which effect."""
    if checkpoint is None:
        parts = ["This run has no checkpoint yet: it starts from the beginning"]
    else:
        parts = [f"Resuming after step {checkpoint.step:,}, {checkpoint.epoch} of {new.epochs} epochs done"]
    settings = changed_settings(old, new)
    if settings:
        written = [f"{key} {as_toml(was)} -> {as_toml(now)}" for key, (was, now) in settings.items()]
        parts.append(", ".join(written))
    step = checkpoint.step if checkpoint else 0
    if step < plan.steps_per_epoch * new.epochs and settings.keys() & SCHEDULED:
        before, after = (learning_rate_at(recipe, plan, step) for recipe in (old, new))
        comparison = f" instead of {before:.6g}" if before != after else ", as before"
        parts.append(f"the learning rate of the next step is {after:.6g}{comparison}")
    moved = changed_environment(old_environment, environment)
    if moved:
        changes = ", ".join(f"{key} {before} -> {after}" for key, (before, after) in moved.items())
        effect = "the bytes may differ from those of an unbroken run"
        if moved.keys() == {"gpu uuid"}:
            effect = "another card of the same model"
        parts.append(f"{changes}: {effect}")
    return "; ".join(parts) + "."


def learning_rate_at(recipe: Recipe, plan: Plan, step: int) -> float:
    """Return the learning rate of step `step` (from 0); the last one where the run would be over."""
    return float(scheduled_in_run(recipe, plan, np.array([step]))["learning_rate"][0])


def scheduled_in_run(recipe: Recipe, plan: Plan, steps: np.ndarray) -> dict[str, np.ndarray]:
    """Return learning rates (N,), and momenta if they change, of steps (N,), from 0; the last ones after the end."""
    total = plan.steps_per_epoch * recipe.epochs
    return scheduled_scalars(recipe, np.minimum(steps, max(total - 1, 0)), max(total, 1))


def changed_environment(old: dict[str, Any], new: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the facts of environment.json that can change the bytes of a run and that differ, as (old, new).

    The model of the CPU counts where it computes. Runs of earlier versions, which did not record the threads of BLAS,
    had those of the training.
    """
    old = {"blas_threads": old.get("threads")} | old
    ignored = IGNORED_KEYS if new.get("device") == "cpu" else (*IGNORED_KEYS, "cpu")
    return {
        key: (old[key], value)
        for key, value in new.items()
        if key not in ignored and old.get(key) is not None and value not in (None, old[key])
    }


def is_more_patient(patience: int, other: int) -> bool:
    """Return whether a run with this patience stops no earlier than with the other; 0 never stops."""
    return patience == 0 or (other > 0 and patience >= other)


def resume_record(
    checkpoint: Checkpoint | None,
    plan: Plan,
    old: Recipe,
    new: Recipe,
    environment: dict[str, Any],
    now: dict[str, Any],
) -> list[dict[str, Any]]:
    """Return the entry `resumed` of environment.json: the steps after which a run went on with other settings.

    An entry for each is added to those of `environment`, the one before:
    {"step": 55, "epoch": 1, "changed": {"lr": [0.1, 0.05]}}. Nothing is added for a change that leaves the weights as
    they are: before the first step, of the path of the data, to more patience, or of the schedule where every step
    already done would have had the same learning rate. An earlier entry that no step followed is undone first.
    """
    earlier = environment.get("resumed") or []
    if checkpoint is None or checkpoint.step == 0:
        return []
    followed = [entry for entry in earlier if entry["step"] < checkpoint.step]
    for entry in reversed(earlier[len(followed) :]):
        before = {key: value for key, (value, _) in entry["changed"].items()}
        old = replace(old, **{key: value for key, value in before.items() if key in CHANGEABLE})
        environment = environment | {key: value for key, value in before.items() if key not in CHANGEABLE}
    settings = {key: value for key, value in changed_settings(old, new).items() if key != "data"}
    if is_more_patient(new.patience, old.patience):  # it would not have stopped the run before this step
        settings.pop("patience", None)
    if settings.keys() <= SCHEDULED:
        before, after = (scheduled_in_run(recipe, plan, np.arange(checkpoint.step)) for recipe in (old, new))
        same = before.keys() == after.keys() and all(np.array_equal(before[name], after[name]) for name in before)
        settings = {} if same else settings
    changed = settings | changed_environment(environment, now)
    added = [{"step": checkpoint.step, "epoch": checkpoint.epoch, "changed": changed}] if changed else []
    return [*followed, *added]
