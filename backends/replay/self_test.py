"""Self-test of recorded steps on a device that no test of Lagvis has run on: they must give the bits of the plain loop.

The step of the test makes every kind of call that the steps of `lagvis.network` make.
"""

import numpy as np

from lagvis.arrays import Array
from lagvis.backends.backend import Backend, Explain, Step, first_line, opening_error
from lagvis.tree import Tree, named_leaves, tree_map

STEPS = 3
ROWS, INPUTS, HIDDEN, CLASSES, BATCH = 64, 48, 32, 10, 40
WORD = 0xFFFFFFFF
FACTOR = 0xD2511F53 - 2**32  # of 32 bits, so that its products with words of 32 bits fit into int64


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
        "W": draw(INPUTS, HIDDEN), "gamma": draw(HIDDEN), "V": draw(HIDDEN, CLASSES), "b": draw(CLASSES),
        "velocity": draw(INPUTS, HIDDEN), "mean": draw(HIDDEN),
        "loss": np.zeros((), backend.dtype), "correct": np.zeros((), backend.dtype),
    }  # fmt: skip
    data = {
        "x": rng.integers(0, 256, (ROWS, INPUTS), dtype=np.uint8),
        "y": rng.integers(0, CLASSES, ROWS).astype(np.uint8),
        "classes": np.arange(CLASSES, dtype=np.uint8),
        "counters": np.arange(BATCH, dtype=np.int32),
        "keys": rng.integers(-(2**31), 2**31, (2, 2)).astype(np.int32),
        "noise": draw(256),
    }
    inputs = [
        rng.integers(0, ROWS, (STEPS, BATCH)).astype(np.int32),
        {
            "rate": np.linspace(0.2, 0.1, STEPS).astype(backend.dtype),
            "step": np.arange(STEPS, dtype=np.int32),
        },
    ]
    state, data = tree_map(backend.asarray, state), tree_map(backend.asarray, data)
    run = backend.scan(make_test_step(backend))
    for steps in (STEPS, 1):
        state = run(state, tuple(tree_map(lambda a, n=steps: backend.asarray(a[:n]), inputs)), (data,))
    return {name: backend.to_numpy(leaf) for name, leaf in named_leaves(state)}


def make_test_step(backend: Backend) -> Step:
    """Return a step of a small network that makes each kind of call of `lagvis.network`.

    These are random numbers, noise, dropout, mixup, normalisation, activations, losses, reductions and an update.
    """
    xp = backend.xp

    def sign(a: Array) -> Array:
        return xp.astype(a > 0, a.dtype) - xp.astype(a < 0, a.dtype)

    def random_words(data: Tree, step: Array) -> Array:
        """Return words (BATCH, INPUTS / 2), int64, as a round of the generator computes them."""
        rows, step, keys = (xp.astype(a, xp.int64) for a in (data["counters"], step, data["keys"]))
        counters = rows[:, None] ^ (rows[: INPUTS // 2][None, :] + step)
        products = counters * FACTOR
        return ((products >> 32) + counters ^ (keys & WORD)[0, 1, ...]) & WORD

    def step(state: Tree, indices: Array, scalars: Tree, data: Tree) -> Tree:
        real = state["W"].dtype
        words = random_words(data, scalars["step"])
        mask = xp.concat([(words & (255 << shift)) >= (51 << shift) for shift in (0, 8)], axis=-1)
        halves = [xp.reshape(words & 255, (-1,)), xp.reshape(words >> 24, (-1,))]
        noise = xp.concat([xp.reshape(xp.take(data["noise"], h, axis=0), words.shape) for h in halves], axis=-1)

        x = xp.reshape(xp.take(data["x"], xp.reshape(indices, (-1,)), axis=0), (BATCH, INPUTS))
        x = xp.astype(x, real) * (1.0 / 255.0) + noise
        x = (x + 0.25 * (xp.concat([x[..., -1:, :], x[..., :-1, :]], axis=-2) - x)) * xp.astype(mask, real)
        target = xp.astype(xp.take(data["y"], indices, axis=0)[..., None] == data["classes"], real)

        products = x @ state["W"]
        shifted = products - products[..., :1, :]
        mean = xp.sum(shifted, axis=-2, keepdims=True) * (1.0 / BATCH)
        centred = shifted - mean
        inverse = 1.0 / xp.sqrt(xp.sum(centred * centred, axis=-2, keepdims=True) * (1.0 / BATCH) + 1e-5)
        hidden = centred * inverse * state["gamma"][..., None, :]
        e = xp.exp(-xp.abs(hidden))
        a = xp.maximum(xp.astype(hidden >= 0, real), e) / (1.0 + e) + xp.tanh(hidden) + xp.log1p(e)
        a = a + xp.maximum(hidden, xp.expm1(xp.minimum(hidden, 0.0)))

        z = a @ state["V"] + state["b"][..., None, :]
        shifted = z - xp.max(z, axis=-1, keepdims=True)
        powers = xp.exp(shifted)
        total = xp.sum(powers, axis=-1, keepdims=True)
        losses = xp.vecdot(target, xp.log(total) - shifted) + xp.mean(z * z, axis=-1)
        delta = (powers / total - target) * (1.0 / BATCH)
        matches = xp.astype(xp.astype(z > 0, xp.uint8) == xp.astype(target > 0, xp.uint8), real)

        back = (delta @ xp.matrix_transpose(state["V"])) * xp.astype(a > 0, real) * -xp.expm1(-xp.abs(a))
        slope = xp.sum(back * hidden, axis=-2, keepdims=True) * (1.0 / BATCH)
        gradient = xp.matrix_transpose(x) @ ((back - hidden * slope) * inverse) + 0.01 * sign(state["W"])
        norm = xp.sqrt(xp.sum(gradient * gradient, axis=(-2, -1)))
        gradient = gradient * (1.0 / xp.maximum(norm, 1.0))[..., None, None]
        velocity = 0.9 * state["velocity"] + gradient
        right = xp.astype(xp.argmax(z, axis=-1) == xp.take(data["y"], indices, axis=0), real)
        rate = scalars["rate"]
        return {
            "W": state["W"] - rate * (gradient + 0.9 * velocity),
            "gamma": state["gamma"] - rate * slope[..., 0, :],
            "V": state["V"] - rate * (xp.matrix_transpose(a) @ delta),
            "b": state["b"] - rate * xp.sum(delta, axis=-2),
            "velocity": velocity,
            "mean": state["mean"] + rate * (mean[..., 0, :] - state["mean"]),
            "loss": state["loss"] + xp.sum(losses, axis=-1),
            "correct": state["correct"] + xp.sum(right + xp.min(matches, axis=-1), axis=-1),
        }

    return step
