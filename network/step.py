"""One training step, and one step of an evaluation: pure functions that every backend runs through `Backend.scan`.

data    {"x": (N, n_in), "y": (N,) or (N, n_out)}, for classes also {"classes": 0..K-1 (K,)}, and {"w": (N,)} if
        rows are weighted
state   {"params": tree, the optimizer's slots: trees, "sums": {name: array}}
sums    running totals: "loss", "weight" (); "correct" () for classes, "squared_error" (n_out,) for numbers; "rows" ()
        for whoever needs their number beside their weight
"""

from collections.abc import Callable
from typing import Any

from lagvis.network.activations import Activation
from lagvis.network.losses import one_hot
from lagvis.network.mlp import backward, forward
from lagvis.network.optimizers import Optimizer

Array = Any
Tree = Any
Loss = Callable[..., tuple[Array, Array]]

PIXEL_SCALE = 1.0 / 255.0


def take_batch(data: dict[str, Array], indices: Array, dtype: Any, *, xp: Any) -> dict[str, Array]:
    """Rows `indices` (..., B) of the data: bytes become numbers in 0..1, classes get a one-hot "target"."""

    def rows(a: Array) -> Array:
        return xp.reshape(xp.take(a, xp.reshape(indices, (-1,)), axis=0), tuple(indices.shape) + tuple(a.shape[1:]))

    batch: dict[str, Array] = {name: rows(data[name]) for name in ("x", "y", "w") if name in data}
    if batch["x"].dtype == xp.uint8:
        batch["x"] = xp.astype(batch["x"], dtype) * PIXEL_SCALE
    if "classes" not in data:
        return batch | {"target": batch["y"]}
    target = one_hot(batch["y"], data["classes"], dtype, xp=xp)
    return batch | {"target": target, "classes": data["classes"]}


def batch_metrics(z: Array, losses: Array, batch: dict[str, Array], *, xp: Any) -> dict[str, Array]:
    """What a batch adds to the sums, from z (..., B, n_out) and row losses (..., B).

    Errors are weighted by w if there is one; right answers are counted, whatever their rows weigh.
    """
    w = batch.get("w")
    rows = losses.shape[-1]
    sums = {
        "loss": xp.sum(losses if w is None else losses * w, axis=-1),
        "weight": rows if w is None else xp.sum(w, axis=-1),
        "rows": rows,
    }
    if "classes" not in batch:
        error = z - batch["y"]
        return sums | {"squared_error": xp.sum(error * error if w is None else error * error * w[..., None], axis=-2)}
    hit = xp.astype(xp.argmax(z, axis=-1) == batch["y"], losses.dtype)
    return sums | {"correct": xp.sum(hit, axis=-1)}


def gradients(
    params: Tree, batch: dict[str, Array], *, activation: Activation, loss: Loss, xp: Any
) -> tuple[Tree, dict[str, Array]]:
    """The gradient of the batch's mean loss, sum(w l) / sum(w), as a tree like `params`, and the batch's scores."""
    z, inputs = forward(params, batch["x"], activation=activation, xp=xp)
    losses, delta = loss(z, batch["target"], xp=xp)
    sums = batch_metrics(z, losses, batch, xp=xp)
    if "w" in batch:
        delta = delta * (batch["w"] / sums["weight"][..., None])[..., None]
    else:
        delta = delta * (1.0 / losses.shape[-1])
    return backward(params, inputs, delta, activation=activation, xp=xp), sums


def update(state: Tree, grads: Tree, rate: Array, *, optimizer: Optimizer) -> Tree:
    """The state after one move of the optimizer along `grads`; the sums stay as they were."""
    params, slots = optimizer.update(state["params"], grads, {name: state[name] for name in optimizer.slots}, rate)
    return state | {"params": params} | slots


def add_totals(sums: dict[str, Array], batch: dict[str, Array]) -> dict[str, Array]:
    """Running totals plus the scores of one more batch."""
    return {name: sums[name] + batch[name] for name in sums}


def make_step(
    *, activation: Activation, loss: Loss, optimizer: Optimizer, keep_gradients: bool = False, xp: Any
) -> Callable[..., Tree]:
    """`step(state, indices (..., B), rate (), data) -> state`: take, scale, forward, loss, backward, update, sums.

    With `keep_gradients` the state holds those of its last step, a tree "grads", for whoever compares them.
    """

    def step(state: Tree, indices: Array, rate: Array, data: dict[str, Array]) -> Tree:
        batch = take_batch(data, indices, state["params"][0]["W"].dtype, xp=xp)
        grads, sums = gradients(state["params"], batch, activation=activation, loss=loss, xp=xp)
        kept = {"grads": grads} if keep_gradients else {}
        return update(state, grads, rate, optimizer=optimizer) | kept | {"sums": add_totals(state["sums"], sums)}

    return step


def make_evaluation(*, activation: Activation, loss: Loss, xp: Any) -> Callable[..., Tree]:
    """`step(sums, indices (B,), params, data) -> sums`; sums may hold "confusion" (K, K): row true, column said."""

    def step(sums: Tree, indices: Array, params: Tree, data: dict[str, Array]) -> Tree:
        batch = take_batch(data, indices, params[0]["W"].dtype, xp=xp)
        z, _ = forward(params, batch["x"], activation=activation, xp=xp)
        losses, _ = loss(z, batch["target"], xp=xp)
        added = batch_metrics(z, losses, batch, xp=xp)
        if "confusion" in sums:
            said = one_hot(xp.astype(xp.argmax(z, axis=-1), batch["y"].dtype), data["classes"], z.dtype, xp=xp)
            added["confusion"] = xp.matrix_transpose(batch["target"]) @ said
        return add_totals(sums, added)

    return step
