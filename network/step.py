"""One training step, and one step of an evaluation: pure functions that every backend runs through `Backend.scan`.

data    {"x": (N, n_in)} and the targets: {"y": (N,), "classes": 0..K-1 (K,)} for classes, {"labels": (N, n_out)} of 0
        and 1, or {"y": (N, n_out)} for numbers; {"w": (N,)} of mean 1 if rows are weighted; {"pixel_mean": ()} if
        pixels are centred, the mean of those that the network learns from; if the step draws random numbers
        {"random_keys": (10, 2), "counters": 0, 1, ... (at least B and all widths)} int32, and {"noise": (65536,)} if
        inputs have noise
scalars {"learning_rate": ()}, and what else changes from step to step: "step" () int32, counted from 0, if the step
        draws random numbers; those of the optimizer; "running_rate" () with batch normalisation, "mixup" and
        "ema_rate" () if they are used
state   {"params": tree, each of the optimizer's state_names: its state, "totals": {name: array}}; with batch
        normalisation "running", its statistics for each hidden layer; with an average of the weights "ema"
totals  running sums over rows: "loss", "weight" (); "correct" () for classes; for labels "correct", the share of
        each row's labels that are right, and "exact" (), rows whose labels are all right; "squared_error" (n_out,) for
        numbers; "rows" (), the row count, where rows are weighted; "objective" (), weighted, where it is not the loss
"""

from collections.abc import Callable, Mapping
from typing import Any

from lagvis.arrays import Array, Namespace
from lagvis.network.activations import Activation
from lagvis.network.dropout import dropout_masks, input_noise
from lagvis.network.losses import Loss, one_hot
from lagvis.network.mixup import mix_rows
from lagvis.network.mlp import Masks, Pass, backward, forward
from lagvis.network.normalization import RUNNING, Normalization, fold, update_running
from lagvis.network.optimizers import Optimizer
from lagvis.network.regularization import NONE as NO_REGULARIZATION
from lagvis.network.regularization import Regularization, add_l1, bound_weights, clip_by_norm, move_average
from lagvis.tree import Tree, tree_map

Loop = Callable[..., Tree]

PIXEL_SCALE = 1.0 / 255.0


def take_batch(data: Mapping[str, Array], indices: Array, dtype: Any, *, xp: Namespace) -> dict[str, Array]:
    """Take rows `indices` (..., B) of the data, scale bytes to 0..1, centre them, and add the "target" of the loss."""

    def rows(a: Array) -> Array:
        return xp.reshape(xp.take(a, xp.reshape(indices, (-1,)), axis=0), tuple(indices.shape) + tuple(a.shape[1:]))

    batch: dict[str, Array] = {name: rows(data[name]) for name in ("x", "y", "labels", "w") if name in data}
    if batch["x"].dtype == xp.uint8:
        batch["x"] = xp.astype(batch["x"], dtype) * PIXEL_SCALE
        if "pixel_mean" in data:
            batch["x"] = batch["x"] - data["pixel_mean"]
    if "classes" in data:
        return batch | {"target": one_hot(batch["y"], data["classes"], dtype, xp=xp), "classes": data["classes"]}
    if "labels" in data:
        return batch | {"target": xp.astype(batch["labels"], dtype)}
    return batch | {"target": batch["y"]}


def batch_metrics(
    z: Array, losses: Array, objective: Array, batch: dict[str, Array], *, xp: Namespace
) -> dict[str, Array]:
    """Return what a batch adds to the totals, from z (..., B, n_out), row losses and objectives (..., B).

    Only the objective is weighted by w; losses, squared errors and correct answers are those of the rows as they are.
    """
    w = batch.get("w")
    rows = losses.shape[-1]
    loss = xp.sum(losses, axis=-1)
    metrics = {"loss": loss, "objective": loss, "weight": rows, "rows": rows}
    if w is not None:
        metrics |= {"objective": xp.sum(objective * w, axis=-1), "weight": xp.sum(w, axis=-1)}
    elif objective is not losses:
        metrics["objective"] = xp.sum(objective, axis=-1)
    if "classes" in batch:
        correct = xp.astype(xp.argmax(z, axis=-1) == batch["y"], losses.dtype)
        return metrics | {"correct": xp.sum(correct, axis=-1)}
    if "labels" in batch:
        right = xp.astype(xp.astype(z > 0, batch["labels"].dtype) == batch["labels"], losses.dtype)
        correct, exact = xp.mean(right, axis=-1), xp.min(right, axis=-1)
        return metrics | {"correct": xp.sum(correct, axis=-1), "exact": xp.sum(exact, axis=-1)}
    error = z - batch["target"]
    return metrics | {"squared_error": xp.sum(error * error, axis=-2)}


def gradients(
    params: Tree,
    batch: dict[str, Array],
    *,
    activation: Activation,
    loss: Loss,
    normalization: Normalization | None = None,
    masks: Masks = (),
    rows: int = 0,
    xp: Namespace,
) -> tuple[Tree, dict[str, Array], Pass]:
    """Return the gradient of the sum of w l over the batch / rows, l the objective of a row, the metrics and the pass.

    `rows` are those of the whole step; 0: of the batch alone.
    """
    done = forward(params, batch["x"], activation=activation, normalization=normalization, masks=masks, xp=xp)
    losses, objective, delta = loss(done.z, batch["target"], xp=xp)
    metrics = batch_metrics(done.z, losses, objective, batch, xp=xp)
    if "w" in batch:
        delta = delta * batch["w"][..., None]
    delta = delta * (1.0 / (rows or losses.shape[-1]))
    grads = backward(params, done, delta, activation=activation, normalization=normalization, masks=masks, xp=xp)
    return grads, metrics, done


def update(
    state: Tree,
    grads: Tree,
    scalars: dict[str, Array],
    *,
    optimizer: Optimizer,
    regularization: Regularization = NO_REGULARIZATION,
    xp: Namespace,
) -> Tree:
    """Return the state after one optimizer step along `grads`; totals and running statistics do not change."""
    if regularization.l1:
        grads = add_l1(grads, state["params"], regularization.l1, xp=xp)
    if regularization.clip_norm:
        grads = clip_by_norm(grads, regularization.clip_norm, xp=xp)
    before = {name: state[name] for name in optimizer.state_names}
    params, optimizer_state = optimizer.update(state["params"], grads, before, scalars, xp=xp)
    if regularization.max_norm:
        params = bound_weights(params, regularization.max_norm, xp=xp)
    return state | {"params": params} | optimizer_state


def add_totals(totals: dict[str, Array], metrics: dict[str, Array]) -> dict[str, Array]:
    """Add the metrics of one batch to the running totals, for the names that the totals hold."""
    return {name: totals[name] + metrics[name] for name in totals}


def make_step(
    *,
    activation: Activation,
    loss: Loss,
    optimizer: Optimizer,
    normalization: Normalization | None = None,
    regularization: Regularization = NO_REGULARIZATION,
    keep_gradients: bool = False,
    loop: Loop | None = None,
    xp: Namespace,
) -> Callable[..., Tree]:
    """Return `step(state, indices (..., B), scalars, data) -> state`.

    The step takes and scales a batch, runs forward, loss, backward and update, and adds to the totals. With the `loop`
    of a backend it takes several batches, a list of indices (K, ..., B), and updates by the sum of their gradients.
    With `keep_gradients` the new state also holds the gradients of the step, a tree "grads", for comparisons. Which
    parts a step has depends on these settings alone, never on a value of an array.
    """

    def take_gradients(
        state: Tree, indices: Array, positions: Array, rows: int, scalars: dict[str, Array], data: dict[str, Array]
    ) -> tuple[Tree, Tree]:
        """Return the gradient of one batch, its share of a step of so many rows, and the new totals and statistics.

        `positions` (B,) are those of its rows in the step.
        """
        params = state["params"]
        batch = take_batch(data, indices, params[0]["W"].dtype, xp=xp)
        if regularization.mixup:
            batch = mix_rows(batch, scalars["mixup"], xp=xp)
        masks: Masks = ()
        if regularization.is_random:
            batch, masks = add_randomness(params, batch, positions, regularization, scalars["step"], data, xp=xp)
        grads, metrics, done = gradients(
            params, batch, activation=activation, loss=loss, normalization=normalization, masks=masks, rows=rows, xp=xp
        )
        counted = {"totals": add_totals(state["totals"], metrics)}
        if "running" in state:
            counted["running"] = move_running(state["running"], done, indices.shape[-1], scalars["running_rate"])
        return grads, counted

    def sum_gradients(
        state: Tree, batches: list[Array], scalars: dict[str, Array], data: dict[str, Array]
    ) -> tuple[Tree, Tree]:
        """Return the gradient of several batches, and the new totals and statistics; in memory is one at a time."""
        assert loop is not None, "a step of several batches has a loop"
        sizes = [(indices.shape[0], indices.shape[-1]) for indices in batches]
        rows, first = sum(k * b for k, b in sizes), 0

        def add_batch(carry: Tree, indices: Array, positions: Array) -> Tree:
            grads, counted = take_gradients(state | carry["counted"], indices, positions, rows, scalars, data)
            return {"grads": tree_map(lambda total, g: total + g, carry["grads"], grads), "counted": counted}

        carry = {"grads": tree_map(xp.zeros_like, state["params"])}
        carry["counted"] = {name: state[name] for name in ("totals", "running") if name in state}
        for indices, (k, b) in zip(batches, sizes, strict=True):
            positions = indices  # of this shape, and not used without random numbers
            if regularization.is_random:
                positions = xp.reshape(data["counters"][first : first + k * b], (k, b))
            carry, first = loop(add_batch, carry, (indices, positions)), first + k * b
        return carry["grads"], carry["counted"]

    def step(state: Tree, indices: Any, scalars: dict[str, Array], data: dict[str, Array]) -> Tree:
        if loop is None:
            positions = data["counters"][: indices.shape[-1]] if regularization.is_random else indices
            grads, counted = take_gradients(state, indices, positions, 0, scalars, data)
        else:
            grads, counted = sum_gradients(state, indices, scalars, data)
        new_state = update(state, grads, scalars, optimizer=optimizer, regularization=regularization, xp=xp) | counted
        if regularization.ema:
            new_state = new_state | {"ema": move_average(state["ema"], trained_layers(new_state), scalars["ema_rate"])}
        if keep_gradients:
            new_state = new_state | {"grads": grads}
        return new_state

    return step


def add_randomness(
    params: Tree,
    batch: dict[str, Array],
    positions: Array,
    regularization: Regularization,
    step: Array,
    data: Mapping[str, Array],
    *,
    xp: Namespace,
) -> tuple[dict[str, Array], Masks]:
    """Return the batch with noise on its inputs, and the masks of dropout, for rows at `positions` (B,) in a step."""
    noise, dropout, input_dropout = regularization.input_noise, regularization.dropout, regularization.input_dropout
    if noise:
        x = batch["x"]
        batch = batch | {"x": x + input_noise(x.shape[-1], positions, step=step, data=data, xp=xp)}
    if not (dropout or input_dropout):
        return batch, ()
    masks = dropout_masks(params, positions, dropout=dropout, input_dropout=input_dropout, step=step, data=data, xp=xp)
    return batch, masks


def move_running(running: Tree, done: Pass, rows: int, rate: Array) -> Tree:
    """Return the running statistics of all hidden layers after a batch of so many rows."""
    batch = [layer.normalized for layer in done.hidden if layer.normalized is not None]
    return [update_running(old, normalized, rows, rate) for old, normalized in zip(running, batch, strict=True)]


def trained_layers(state: Tree) -> Tree:
    """Return the layers of a state with their running statistics, if they have any."""
    running = state.get("running", [])
    return [{**layer, **(running[i] if i < len(running) else {})} for i, layer in enumerate(state["params"])]


def split_running(layers: Tree) -> tuple[Tree, Tree]:
    """Return the parameters of `trained_layers` and their running statistics, None without any."""
    running = [{name: layer[name] for name in RUNNING if name in layer} for layer in layers[:-1]]
    params = [{name: a for name, a in layer.items() if name not in RUNNING} for layer in layers]
    return params, running if any(running) else None


def evaluated_layers(state: Tree) -> Tree:
    """Return the layers by which a network is judged and used: their moving average if the state keeps one."""
    return state["ema"] if "ema" in state else trained_layers(state)


def make_evaluation(
    *, activation: Activation, loss: Loss, normalization: Normalization | None = None, xp: Namespace
) -> Callable[..., Tree]:
    """Return `step(totals, indices (B,), layers, data) -> totals`, which adds the metrics of a batch.

    `layers` are `evaluated_layers`. If the totals hold "predicted" (B,), it becomes the predicted classes of the batch.
    If they hold "absolute_error" (n_out,), the absolute errors of numbers are added, and if they hold "positives" (L,),
    the rows that have each label, with "predicted_positives" and "true_positives", which have it in both.
    """

    def step(totals: Tree, indices: Array, layers: Tree, data: dict[str, Array]) -> Tree:
        batch = take_batch(data, indices, layers[0]["W"].dtype, xp=xp)
        z = forward(fold(layers, xp=xp), batch["x"], activation=activation, normalization=normalization, xp=xp).z
        losses, objective, _ = loss(z, batch["target"], xp=xp)
        metrics = batch_metrics(z, losses, objective, batch, xp=xp)
        if "positives" in totals:
            predicted = xp.astype(z > 0, z.dtype)
            metrics |= {
                "positives": xp.sum(batch["target"], axis=-2),
                "predicted_positives": xp.sum(predicted, axis=-2),
                "true_positives": xp.sum(batch["target"] * predicted, axis=-2),
            }
        if "absolute_error" in totals:
            metrics["absolute_error"] = xp.sum(xp.abs(z - batch["target"]), axis=-2)
        if "predicted" not in totals:
            return add_totals(totals, metrics)
        added = add_totals({name: total for name, total in totals.items() if name != "predicted"}, metrics)
        return added | {"predicted": xp.astype(xp.argmax(z, axis=-1), totals["predicted"].dtype)}

    return step
