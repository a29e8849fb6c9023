"""JAX: a jitted step, and a jitted scan over an epoch."""

from typing import Any

import numpy as np

from benchmarks.problem import LEARNING_RATE, Batches, Problem


class JaxStep:
    """One jitted step a call."""

    def __init__(self, problem: Problem) -> None:
        import jax
        import jax.numpy as jnp

        self.problem = problem
        jax.config.update("jax_default_device", jax.devices(problem.device)[0])
        jax.config.update("jax_default_matmul_precision", "highest")  # else TF32 on a GPU, unlike the others
        self.x, self.y = jnp.asarray(problem.dataset.x_train), jnp.asarray(problem.dataset.y_train.astype(np.int32))
        self.params = [(jnp.array(layer["W"]), jnp.array(layer["b"])) for layer in problem.weights()]

        def loss(params: Any, a: Any, y: Any) -> Any:
            for w, b in params[:-1]:
                a = jax.nn.relu(a @ w + b)
            w, b = params[-1]
            log_p = jax.nn.log_softmax(a @ w + b)
            return -jnp.mean(jnp.take_along_axis(log_p, y[:, None], axis=1))

        def step(params: Any, rows: Any, x: Any, y: Any) -> Any:
            a = x[rows].astype(jnp.float32) * (1 / 255)
            value, grads = jax.value_and_grad(loss)(params, a, y[rows])
            return jax.tree.map(lambda p, g: p - LEARNING_RATE * g, params, grads), value

        self.step = jax.jit(step, donate_argnums=0)
        self.scan = jax.jit(
            lambda params, rows, x, y: jax.lax.scan(lambda p, i: step(p, i, x, y), params, rows), donate_argnums=0
        )

    def epoch(self, batches: Batches) -> float | None:
        total = 0.0
        for rows in batches:
            self.params, value = self.step(self.params, rows, self.x, self.y)
            total += value * len(rows)
        return float(total) / len(self.y)

    def product(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return a @ b as the step computes it."""
        import jax

        return np.asarray(jax.jit(jax.numpy.matmul)(a, b))

    def weights(self) -> list[tuple[np.ndarray, np.ndarray]]:
        return [(np.asarray(w), np.asarray(b)) for w, b in self.params]


class JaxScan(JaxStep):
    """A whole epoch in one jitted scan."""

    def epoch(self, batches: Batches) -> float | None:
        full = [rows for rows in batches if len(rows) == len(batches[0])]
        self.params, values = self.scan(self.params, np.stack(full), self.x, self.y)
        total = values.sum() * len(full[0])
        for rows in batches[len(full) :]:
            self.params, value = self.step(self.params, rows, self.x, self.y)
            total += value * len(rows)
        return float(total) / len(self.y)  # the only synchronisation
