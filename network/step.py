"""One training step, and one step of an evaluation: pure functions that every backend runs through `Backend.scan`.

data    {"x": (N, n_in), "y": (N,) or (N, n_out)}, for classes also {"classes": 0..K-1 (K,)}, and {"w": (N,)} if
        rows are weighted; {"pixel_mean": ()} if pixels are centred, the mean of those that the network learns from
state   {"params": tree, each of the optimizer's state_names: its state, "totals": {name: array}}
totals  running sums over rows: "loss", "weight" (); "correct" () for classes, "squared_error" (n_out,) for numbers;
        "rows" (), the row count, where rows are weighted; "objective" (), weighted, where it differs from the loss
"""

from collections.abc import Callable, Mapping
from typing import Any

from lagvis.arrays import Array, Namespace
from lagvis.network.activations import Activation
from lagvis.network.losses import one_hot
from lagvis.network.mlp import backward, forward
from lagvis.network.optimizers import Optimizer
from lagvis.tree import Tree

Loss = Callable[..., tuple[Array, Array, Array]]

PIXEL_SCALE = 1.0 / 255.0


def take_batch(data: Mapping[str, Array], indices: Array, dtype: Any, *, xp: Namespace) -> dict[str, Array]:
    """Take rows `indices` (..., B) of the data; scale bytes to 0..1, centre them, and give classes a "target"."""

    def rows(a: Array) -> Array:
        return xp.reshape(xp.take(a, xp.reshape(indices, (-1,)), axis=0), tuple(indices.shape) + tuple(a.shape[1:]))

    batch: dict[str, Array] = {name: rows(data[name]) for name in ("x", "y", "w") if name in data}
    if batch["x"].dtype == xp.uint8:
        batch["x"] = xp.astype(batch["x"], dtype) * PIXEL_SCALE
        if "pixel_mean" in data:
            batch["x"] = batch["x"] - data["pixel_mean"]
    if "classes" not in data:
        return batch | {"target": batch["y"]}
    target = one_hot(batch["y"], data["classes"], dtype, xp=xp)
    return batch | {"target": target, "classes": data["classes"]}


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
    if "classes" not in batch:
        error = z - batch["y"]
        return metrics | {"squared_error": xp.sum(error * error, axis=-2)}
    correct = xp.astype(xp.argmax(z, axis=-1) == batch["y"], losses.dtype)
    return metrics | {"correct": xp.sum(correct, axis=-1)}


def gradients(
    params: Tree, batch: dict[str, Array], *, activation: Activation, loss: Loss, xp: Namespace
) -> tuple[Tree, dict[str, Array]]:
    """Return the gradient of the mean objective l, sum(w l) / sum(w), as a tree like `params`, and the metrics."""
    z, inputs = forward(params, batch["x"], activation=activation, xp=xp)
    losses, objective, delta = loss(z, batch["target"], xp=xp)
    metrics = batch_metrics(z, losses, objective, batch, xp=xp)
    if "w" in batch:
        delta = delta * (batch["w"] / metrics["weight"][..., None])[..., None]
    else:
        delta = delta * (1.0 / losses.shape[-1])
    return backward(params, inputs, delta, activation=activation, xp=xp), metrics


def update(state: Tree, grads: Tree, learning_rate: Array, *, optimizer: Optimizer, xp: Namespace) -> Tree:
    """Return the state after one optimizer step along `grads`; the totals do not change."""
    before = {name: state[name] for name in optimizer.state_names}
    params, optimizer_state = optimizer.update(state["params"], grads, before, learning_rate, xp=xp)
    return state | {"params": params} | optimizer_state


def add_totals(totals: dict[str, Array], metrics: dict[str, Array]) -> dict[str, Array]:
    """Add the metrics of one batch to the running totals, for the names that the totals hold."""
    return {name: totals[name] + metrics[name] for name in totals}


def make_step(
    *, activation: Activation, loss: Loss, optimizer: Optimizer, keep_gradients: bool = False, xp: Namespace
) -> Callable[..., Tree]:
    """Return `step(state, indices (..., B), learning_rate (), data) -> state`.

    The step takes and scales a batch, runs forward, loss, backward and update, and adds to the totals. With
    `keep_gradients` the new state also holds the gradients of the step, a tree "grads", for comparisons.
    """

    def step(state: Tree, indices: Array, learning_rate: Array, data: dict[str, Array]) -> Tree:
        batch = take_batch(data, indices, state["params"][0]["W"].dtype, xp=xp)
        grads, metrics = gradients(state["params"], batch, activation=activation, loss=loss, xp=xp)
        new_state = update(state, grads, learning_rate, optimizer=optimizer, xp=xp)
        if keep_gradients:
            new_state = new_state | {"grads": grads}
        return new_state | {"totals": add_totals(state["totals"], metrics)}

    return step


def make_evaluation(*, activation: Activation, loss: Loss, xp: Namespace) -> Callable[..., Tree]:
    """Return `step(totals, indices (B,), params, data) -> totals`, which adds the metrics of a batch.

    If the totals hold "confusion" (K, K), target classes by row and predicted classes by column, it is counted too.
    """

    def step(totals: Tree, indices: Array, params: Tree, data: dict[str, Array]) -> Tree:
        batch = take_batch(data, indices, params[0]["W"].dtype, xp=xp)
        z, _ = forward(params, batch["x"], activation=activation, xp=xp)
        losses, objective, _ = loss(z, batch["target"], xp=xp)
        metrics = batch_metrics(z, losses, objective, batch, xp=xp)
        if "confusion" in totals:
            classes = xp.astype(xp.argmax(z, axis=-1), batch["y"].dtype)
            predicted = one_hot(classes, data["classes"], z.dtype, xp=xp)
            metrics["confusion"] = xp.matrix_transpose(batch["target"]) @ predicted
        return add_totals(totals, metrics)

    return step
