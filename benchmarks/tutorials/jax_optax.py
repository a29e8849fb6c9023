"""JAX by hand: a jitted step with Adam of optax, which takes its batch by indices from one array of bytes."""

import sys
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.tutorials.epoch_report import PARTS, EpochReport

data = dict(np.load(sys.argv[1]))
x = {part: jnp.asarray(data[f"x_{part}"]) for part in ("train", *PARTS)}
y = {part: jnp.asarray(data[f"y_{part}"], jnp.int32) for part in x}
seed = int(sys.argv[2])
widths = (784, 64, 64, 64, 10)
keys = jax.random.split(jax.random.key(seed), len(widths) - 1)
draw = jax.nn.initializers.he_normal()
params: Any = [(draw(key, shape), jnp.zeros(shape[1])) for key, shape in zip(keys, pairwise(widths), strict=True)]
optimizer = optax.adam(1e-3)
state = optimizer.init(params)
report = EpochReport()


def logits(params: Any, pixels: Any) -> Any:
    """Return the outputs before the softmax."""
    inputs = pixels.astype(jnp.float32) * (1 / 255)
    for w, b in params[:-1]:
        inputs = jax.nn.relu(inputs @ w + b)
    w, b = params[-1]
    return inputs @ w + b


def mean_loss(params: Any, pixels: Any, labels: Any) -> Any:
    """Return the mean cross-entropy of a batch."""
    return optax.softmax_cross_entropy_with_integer_labels(logits(params, pixels), labels).mean()


@partial(jax.jit, donate_argnums=(0, 1))
def step(params: Any, state: Any, pixels: Any, labels: Any, rows: Any) -> Any:
    """Return parameters and state of the optimizer after a step on these rows."""
    grads = jax.grad(mean_loss)(params, pixels[rows], labels[rows])
    updates, state = optimizer.update(grads, state, params)
    return optax.apply_updates(params, updates), state


def accuracy(part: str) -> float:
    """Return the accuracy on a part of the data."""
    return float(jnp.mean(jnp.argmax(logits(params, x[part]), axis=1) == y[part]))


rng = np.random.default_rng(seed)
for _ in range(10):
    order = rng.permutation(len(y["train"])).astype(np.int32)
    for first in range(0, len(order), 100):
        params, state = step(params, state, x["train"], y["train"], order[first : first + 100])
    jax.block_until_ready(params)
    report.epoch_ended(accuracy)
