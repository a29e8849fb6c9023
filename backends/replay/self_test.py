"""Self-test of recorded steps on a device that no test of Lagvis has run on: they must give the bits of the plain loop.

The step of the test makes every kind of call that the steps of `lagvis.network` make.
"""

import numpy as np

from lagvis.arrays import Array
from lagvis.backends.backend import Backend, Explain, Step, first_line, opening_error
from lagvis.tree import Tree, named_leaves, tree_map

STEPS = 3
ROWS, INPUTS, HIDDEN, CLASSES, BATCH = 64, 48, 32, 10, 40


def use_replay(backend: Backend, remedy: str, explain: Explain | None = None) -> Backend:
    """Return `backend` with recorded steps if they pass the test; else in the plain loop, with the reason as a notice.

    The backend comes in the plain loop (`compiled` is False). If that fails, raise DeviceError, as `self_test` does for
    `remedy` and `explain`.
    """
    try:
        expected = run_steps(backend)
    except Exception as error:  # errors of any type, as in `self_test`, which makes fewer kinds of calls
        raise opening_error(error, backend.name, backend.device, remedy, explain) from None
    backend.compiled = True
    try:
        found = run_steps(backend)
    except Exception as error:  # whatever a library raises where it is called in a way that it does not expect
        reason = f"raised {type(error).__name__}: {first_line(error)}"
    else:
        wrong = [name for name, leaf in found.items() if not np.array_equal(leaf, expected[name])]
        if not wrong:
            return backend
        reason = f"differs from the plain loop in {', '.join(wrong)}"
    backend.compiled = False
    backend.notices.append(
        f"{backend.name} on {backend.device} runs every step call by call: its self-test of recorded steps {reason}."
    )
    return backend


def run_steps(backend: Backend) -> dict[str, np.ndarray]:
    """Return the state after STEPS steps and one further step, on the host, by name."""
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(backend.dtype)

    state = {
        "W": draw(INPUTS, HIDDEN), "V": draw(HIDDEN, CLASSES), "b": draw(CLASSES), "velocity": draw(INPUTS, HIDDEN),
        "loss": np.zeros((), backend.dtype), "correct": np.zeros((), backend.dtype),
    }  # fmt: skip
    data = {
        "x": rng.integers(0, 256, (ROWS, INPUTS), dtype=np.uint8),
        "y": rng.integers(0, CLASSES, ROWS).astype(np.uint8),
        "classes": np.arange(CLASSES, dtype=np.uint8),
    }
    inputs = (
        rng.integers(0, ROWS, (STEPS, BATCH)).astype(np.int32),
        np.linspace(0.2, 0.1, STEPS).astype(backend.dtype),
    )
    state, data = tree_map(backend.asarray, state), tree_map(backend.asarray, data)
    run = backend.scan(make_test_step(backend))
    for steps in (STEPS, 1):
        state = run(state, tuple(backend.asarray(a[:steps]) for a in inputs), (data,))
    return {name: backend.to_numpy(leaf) for name, leaf in named_leaves(state)}


def make_test_step(backend: Backend) -> Step:
    """Return a step of a small network that makes each kind of call: activations, losses, reductions, an update."""
    xp = backend.xp

    def step(state: Tree, indices: Array, rate: Array, data: Tree) -> Tree:
        real = state["W"].dtype
        x = xp.astype(xp.take(data["x"], xp.reshape(indices, (-1,)), axis=0), real) * (1.0 / 255.0)
        target = xp.astype(xp.take(data["y"], indices, axis=0)[..., None] == data["classes"], real)
        hidden = xp.maximum(x @ state["W"], 0.0)
        e = xp.exp(-xp.abs(hidden))
        a = xp.where(hidden > 0.5, 1.0, e) / (1.0 + e) + xp.tanh(hidden)
        z = a @ state["V"] + state["b"][..., None, :]
        shifted = z - xp.max(z, axis=-1, keepdims=True)
        powers = xp.exp(shifted)
        total = xp.sum(powers, axis=-1, keepdims=True)
        losses = xp.vecdot(target, xp.log(total) - shifted) + xp.mean(z * z, axis=-1)
        delta = (powers / total - target) * (1.0 / BATCH)
        back = (delta @ xp.matrix_transpose(state["V"])) * xp.astype(a > 0, real) * (1.0 - a * a)
        velocity = 0.9 * state["velocity"] + xp.matrix_transpose(x) @ back
        right = xp.astype(xp.argmax(z, axis=-1) == xp.take(data["y"], indices, axis=0), real)
        return {
            "W": state["W"] - rate * (xp.matrix_transpose(x) @ back + 0.9 * velocity),
            "V": state["V"] - rate * (xp.matrix_transpose(a) @ delta),
            "b": state["b"] - rate * xp.sum(delta, axis=-2),
            "velocity": velocity,
            "loss": state["loss"] + xp.sum(losses, axis=-1),
            "correct": state["correct"] + xp.sum(right, axis=-1),
        }

    return step
