"""Going on with a run: from where, whether it is still the same run, and what a changed setting does to it."""

from dataclasses import asdict, fields, replace
from typing import Any

import numpy as np

from lagvis.data.dataset import Dataset
from lagvis.errors import CheckpointError, DataError, RecipeError
from lagvis.network.initializers import zero_optimizer_state
from lagvis.network.schedules import SCHEDULES
from lagvis.training.checkpoint import Checkpoint, all_finite
from lagvis.training.factory import make_optimizer
from lagvis.training.model import Model
from lagvis.training.plan import Plan
from lagvis.training.recipe import Recipe
from lagvis.tree import tree_map

# Settings that may change between two parts of a run; any other makes another network, other batches or other numbers.
# (`data` may have moved: `check_data` holds that they are the same.)
CHANGEABLE = ("data", "epochs", "lr", "momentum", "nesterov", "schedule", "warmup", "label_smoothing")


# What environment.json holds and the numbers do not depend on, or what is judged by itself.
IGNORED_KEYS = ("lagvis", "command", "seed", "data", "sha256", "init_from", "resumed")


# What a model tells of the rows that it saw, and a network can go over to others from.
DATA_FIELDS = ("shape", "feature_names", "label_names", "mnist_style", "background")


def changed_settings(old: Recipe, new: Recipe) -> dict[str, tuple[Any, Any]]:
    """The settings that differ, as (old, new); RecipeError for one that a run cannot change on its way."""
    before, after = asdict(old), asdict(new)
    differing = {key: (before[key], after[key]) for key in before if before[key] != after[key]}
    for key, (was, would_be) in differing.items():
        if key not in CHANGEABLE:
            raise RecipeError(
                f"{key} was {was!r} and would be {would_be!r}: that would be another run; train it without --resume "
                f"(a resumed run can change {', '.join(CHANGEABLE)})"
            )
    return differing


def check_data(
    dataset: Dataset,
    checkpoint: Checkpoint | None,
    environment: dict[str, Any],
    cure: str = "train anew without --resume",
) -> None:
    """DataError unless the data are, byte for byte, those that the run was trained on."""
    if checkpoint is not None and checkpoint.data not in ("", dataset.digest):
        there = {*dataset.sha256.values()}
        files = sorted(name for name, sha256 in environment.get("sha256", {}).items() if sha256 not in there)
        raise DataError(
            f"the data of this run have changed since it began ({', '.join(files) or 'its files'}, by its sha256); "
            f"bring the old ones back, or {cure}"
        )


def resume_state(checkpoint: Checkpoint, model: Model, plan: Plan, recipe: Recipe) -> Checkpoint:
    """The checkpoint as a start of `fit`: held against the recipe's model and calls, optimizer states it lacks at 0."""
    differing = differing_fields(model, checkpoint.model)
    if str(checkpoint.state["params"][0]["W"].dtype) != recipe.dtype:
        differing.append("dtype")
    if differing:
        raise CheckpointError(
            f"the checkpoint and the recipe of this run differ in {', '.join(differing)}; one of them is not its own"
        )
    if recipe.epochs < checkpoint.epoch or plan.steps_per_epoch * recipe.epochs < checkpoint.step:
        raise RecipeError(
            f"epochs is {recipe.epochs}, and {checkpoint.step:,} steps ({checkpoint.epoch} whole epochs of "
            f"{plan.steps_per_epoch:,}) are done already; expected at least as many epochs as that"
        )
    whole, within = divmod(checkpoint.step, plan.steps_per_epoch)
    ended = (whole, within) == (checkpoint.epoch + 1, 0) and checkpoint.totals
    on_grid = within % plan.steps_per_call == 0 or within in (plan.full_batches, plan.steps_per_epoch)
    if not (ended or (whole == checkpoint.epoch and on_grid)):
        raise CheckpointError(
            f"the checkpoint stands at step {checkpoint.step} of epoch {checkpoint.epoch + 1}, where a run of this "
            "recipe never stops; it is not its own"
        )
    params = checkpoint.state["params"]
    zero = zero_optimizer_state(make_optimizer(recipe), params)
    kept = {name: state for name, state in checkpoint.state.items() if name in zero}
    return replace(checkpoint, state={"params": params} | zero | kept)


def init_from(network: Checkpoint, model: Model, recipe: Recipe) -> Checkpoint:
    """The parameters of another network as the start of a run; CheckpointError where they mean something else there."""
    differing = [name for name in differing_fields(model, network.model) if name not in DATA_FIELDS]
    if model.feature_names and network.model.feature_names and model.feature_names != network.model.feature_names:
        differing.append("feature_names")
    if differing:
        raise CheckpointError(
            f"the network to begin with differs from that of the recipe and its data in {', '.join(differing)}; "
            "make them equal"
        )
    with np.errstate(over="ignore"):
        params = tree_map(lambda a: np.asarray(a, dtype=recipe.dtype, order="C"), network.state["params"])
    if not all_finite(params):
        raise CheckpointError(
            f"the network to begin with has weights too large for {recipe.dtype}; use --dtype float64"
        )
    # its standardisation belongs to its weights, whatever rows these are
    model = replace(model, x_scaling=network.model.x_scaling, y_scaling=network.model.y_scaling)
    return Checkpoint(model, {"params": params} | zero_optimizer_state(make_optimizer(recipe), params), 0, 0)


def differing_fields(a: Model, b: Model) -> list[str]:
    """The fields in which two models differ; of standardisations only whether there is one."""
    there = [replace(model, x_scaling=None, y_scaling=None) for model in (a, b)]
    differing = [
        field.name for field in fields(Model) if getattr(there[0], field.name) != getattr(there[1], field.name)
    ]
    scalings = ("x_scaling", "y_scaling")
    return differing + [name for name in scalings if (getattr(a, name) is None) != (getattr(b, name) is None)]


def resume_message(
    checkpoint: Checkpoint | None,
    plan: Plan,
    old: Recipe,
    new: Recipe,
    environment: dict[str, Any],
    now: dict[str, Any],
) -> str:
    """One line before the first step: from where it goes on, what changed, and what that does to rate and bytes."""
    if checkpoint is None:
        line = "Nothing of this run was saved yet: it begins anew"
    else:
        line = f"Going on after step {checkpoint.step:,}, {checkpoint.epoch} of {new.epochs} epochs done"
    differing = changed_settings(old, new)
    if differing:
        line += "; " + ", ".join(f"{key} {was} -> {becomes}" for key, (was, becomes) in differing.items())
        step = checkpoint.step if checkpoint else 0
        rates = [learning_rate_at(recipe, plan, step) for recipe in (old, new)]
        if step < plan.steps_per_epoch * new.epochs and {*differing} & {"epochs", "lr", "schedule", "warmup"}:
            line += f"; the rate of the next step is {rates[1]:.6g}"
            line += f" instead of {rates[0]:.6g}" if rates[0] != rates[1] else ", as before"
    moved = [f"{key} {old} -> {new}" for key, (old, new) in changed_environment(environment, now).items()]
    if moved:
        line += f"; {', '.join(moved)}: the bytes will not be those of an unbroken run"
    return line + "."


def learning_rate_at(recipe: Recipe, plan: Plan, step: int) -> float:
    """Return the learning rate of step `step` (from 0); the last one where the run would be over."""
    return float(learning_rates(recipe, plan, np.array([step]))[0])


def learning_rates(recipe: Recipe, plan: Plan, steps: np.ndarray) -> np.ndarray:
    """Return the learning rates (N,) of steps (N,), from 0; the last one for steps after the end of the run."""
    total = plan.steps_per_epoch * recipe.epochs
    steps = np.minimum(steps, max(total - 1, 0))
    return np.asarray(SCHEDULES[recipe.schedule](steps, max(total, 1), recipe.lr, recipe.warmup, xp=np))


def changed_environment(old: dict[str, Any], new: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the facts of environment.json that can change the bytes of a run and that differ, as (old, new)."""
    return {
        key: (old[key], value)
        for key, value in new.items()
        if key not in IGNORED_KEYS and old.get(key) is not None and value not in (None, old[key])
    }


def resume_record(
    checkpoint: Checkpoint | None,
    plan: Plan,
    old: Recipe,
    new: Recipe,
    environment: dict[str, Any],
    now: dict[str, Any],
) -> list[dict[str, Any]]:
    """Return the entry `resumed` of environment.json: the steps after which a run went on with other settings.

    An entry for each is added to those of `environment`, the one before: {"step": 55, "changed": {"lr": [0.1, 0.05]}}.
    Nothing is added for a change that leaves the weights as they are: before the first step, of the path of the data,
    or of the schedule where every step already done would have had the same learning rate.
    """
    earlier = environment.get("resumed") or []
    if checkpoint is None or checkpoint.step == 0:
        return list(earlier)
    settings = {key: value for key, value in changed_settings(old, new).items() if key != "data"}
    if settings.keys() <= {"epochs", "lr", "schedule", "warmup"}:
        before, after = (learning_rates(recipe, plan, np.arange(checkpoint.step)) for recipe in (old, new))
        settings = {} if np.array_equal(before, after) else settings
    changed = settings | changed_environment(environment, now)
    return [*earlier, {"step": checkpoint.step, "changed": changed}] if changed else list(earlier)
