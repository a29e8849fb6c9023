"""Begin a run with the parameters of a trained network (--init-from): check that it fits, and what it may know."""

from dataclasses import replace

import numpy as np

from lagvis.data.dataset import Dataset
from lagvis.data.messages import join_names
from lagvis.errors import CheckpointError, DataError
from lagvis.network.step import evaluated_layers, split_running
from lagvis.run_warning import RunWarning
from lagvis.storage.lookup import StoredNetwork
from lagvis.storage.resume import SCALING_FIELDS, different_classes
from lagvis.training.checkpoint import Checkpoint, all_finite
from lagvis.training.factory import first_state
from lagvis.training.model import Model
from lagvis.training.plan import Plan, split_rows
from lagvis.training.recipe import Recipe
from lagvis.tree import tree_map

CHECK = "init_from_may_know_held_out_rows"


def init_from(network: Checkpoint, model: Model, recipe: Recipe, dataset: Dataset) -> Checkpoint:
    """Return the parameters of another network as the start of a run.

    CheckpointError if they do not fit the data or the model that the recipe describes.
    """
    check_fits(network.model, model, dataset)
    with np.errstate(over="ignore"):
        layers = tree_map(lambda a: np.asarray(a, dtype=recipe.dtype, order="C"), evaluated_layers(network.state))
    if not all_finite(layers):
        raise CheckpointError(f"the initial network has weights too large for {recipe.dtype}; use --dtype float64")
    # the weights were trained with that scaling, so it is kept for the new data
    found = model.y_scaling
    model = replace(model, **{name: getattr(network.model, name) for name in SCALING_FIELDS})
    is_another_loss = (model.loss, model.loss_settings) != (network.model.loss, network.model.loss_settings)
    if found is not None and model.y_scaling is not None and is_another_loss:
        # 0 is the best constant of the loss: the centre changes with the loss and its settings, and no prediction does
        shift = (model.y_scaling.mean - found.mean) / model.y_scaling.deviation
        model = replace(model, y_scaling=model.y_scaling.centred(found.mean))
        layers[-1] = layers[-1] | {"b": layers[-1]["b"] + shift.astype(recipe.dtype)}
    params, running = split_running(layers)
    return Checkpoint(model, first_state(recipe, params, running), 0, 0)


def check_fits(initial: Model, model: Model, dataset: Dataset) -> None:
    """Raise CheckpointError unless the initial network predicts what the run learns, from rows of the same kind.

    Classes are compared by name: with one more, the outputs behind it would stand for other classes.
    """
    if (initial.y_scaling is None) != (model.y_scaling is None):
        learned, wanted = ("classes", "numbers") if initial.y_scaling is None else ("numbers", "classes")
        raise CheckpointError(
            f"the initial network predicts {learned}, and this run learns {wanted}; train without --init-from, or "
            f"with --loss {initial.loss}"
        )
    if initial.multi_label != model.multi_label:
        learned, wanted = "classes", "labels of which a row may have several"
        if initial.multi_label:
            learned, wanted = wanted, learned
        raise CheckpointError(
            f"the initial network predicts {learned}, and this run learns {wanted}; train without --init-from, or with "
            f"--loss {initial.loss}"
        )
    then, now = initial.class_names, model.class_names
    if then != now:
        raise CheckpointError(
            f"the initial network knows {len(then)} classes ({join_names(then)}), the data have {len(now)}: "
            f"{', '.join(different_classes(then, now)) or 'in another order'}; train without --init-from, or on rows "
            "of the same classes"
        )
    if (initial.target_names, initial.unit) != (model.target_names, model.unit):
        names = [", ".join(m.target_names) + (f" in {m.unit}" if m.unit else "") for m in (initial, model)]
        raise CheckpointError(
            f"the initial network predicts {names[0]}, and this run learns {names[1]}; train without --init-from"
        )
    try:
        initial.check(dataset)
        initial.check_type(dataset)
    except DataError as error:
        raise CheckpointError(
            f"the initial network does not fit the data: {error} (without --init-from a new network is trained)"
        ) from None
    if initial.widths != model.widths:
        raise CheckpointError(f"the initial network has the layers {initial.widths}, the recipe {model.widths}")


def check_held_out_rows(network: StoredNetwork, dataset: Dataset, plan: Plan) -> list[RunWarning]:
    """Return a warning if the initial network may have learned from rows that this run holds out; none if it cannot.

    It cannot where data, seed and size of the validation part are those of its own run, and its own start, if it had
    one, gave no such warning. With the same data and another split the rows are counted.
    """
    validation, test, named = plan.validation_rows, len(dataset.x_test), f"The network of --init-from ({network.path})"
    figures = {"validation_rows": len(validation), "test_rows": test, "known_validation_rows": None}
    if network.checkpoint.data != dataset.digest:
        reason = "was trained on other data" if network.checkpoint.data else "does not record its data"
        message = (
            f"{named} {reason}: rows held out now ({len(validation):,} for validation, {test:,} for the test) may be "
            "rows that it has learned from, and results on them may look better than they are. evaluate.py with --data "
            "judges by rows that are new to it."
        )
        return [RunWarning(CHECK, message, figures)]
    own = network.read_recipe()
    if own is None:
        message = (
            f"{named} has no recipe beside it: the {len(validation):,} validation rows held out now may be rows that "
            "it has learned from, and the validation result may look better than it is. The test rows are those of "
            "its own run."
        )
        return [RunWarning(CHECK, message, figures)] if len(validation) else []
    own_validation = split_rows(dataset, own.validation, own.seed)[1]
    known = len(np.setdiff1d(validation, own_validation))
    if known:
        message = (
            f"{named} was trained on {known:,} of the {len(validation):,} validation rows: the validation result, by "
            "which the best epoch is chosen, will look better than it is. The test rows are those of its own run; "
            f"with --seed {own.seed} --validation {own.validation} the rows are split as they were for it."
        )
        return [RunWarning(CHECK, message, figures | {"known_validation_rows": known})]
    own_start = network.read_environment().get("init_from") or {}
    if any(warning["check"] == CHECK for warning in own_start.get("warnings", [])):
        message = (
            f"{named} itself began with one that may have learned from rows held out now: results on them may look "
            "better than they are."
        )
        return [RunWarning(CHECK, message, figures)]
    return []
