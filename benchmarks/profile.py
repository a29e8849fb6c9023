"""`python -m benchmarks.profile [NETWORK]`: time of each call of one replayed NumPy step."""

import contextlib
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.problem import NETWORKS, Problem
from lagvis.backends.registry import select
from lagvis.backends.replay.numpy_recorder import NumpyRecorder
from lagvis.backends.replay.tape import Tape
from lagvis.training.evaluation import zero_totals
from lagvis.training.factory import initial_state, make_training_step
from lagvis.training.model import Model

EPOCHS = 5


def describe(call: Callable[[], Any]) -> str:
    """Return function and shapes of the operands and of the result as text."""
    if not isinstance(call, partial):
        return "a call without out="
    method_of = getattr(call.func, "__self__", None)
    arrays = [a for a in (method_of, *call.args, *call.keywords.values()) if isinstance(a, np.ndarray)]
    return f"{call.func.__name__:18} {' '.join(str(a.shape).replace(' ', '') for a in arrays)}"


def main() -> int:
    """Replay epochs with a clock around each call, and print microseconds a step, largest first."""
    network = sys.argv[1] if len(sys.argv) > 1 else next(iter(NETWORKS))
    if network not in NETWORKS:
        print(f"error: there is no network {network!r}; expected one of {'; '.join(NETWORKS)}", file=sys.stderr)
        return 2
    problem, backend = Problem(network), select("cpu", "numpy")
    recipe = problem.recipe
    model = Model.of(recipe, problem.dataset, problem.plan.training_rows)
    step = make_training_step(recipe, xp=backend.xp)
    state = initial_state(recipe, model) | {"totals": zero_totals(model, recipe.dtype)}
    data = model.prepare(problem.dataset.x_train, problem.dataset.y_train, recipe.dtype)
    batches = [rows[None] for rows in problem.batches(1) if len(rows) == problem.plan.batch_size]
    scalars = {"learning_rate": np.full(1, recipe.lr, recipe.dtype)}
    with backend.limited_threads(problem.plan.threads):
        tape = Tape(step, state, (batches[0], scalars), (data,), NumpyRecorder(backend.xp))
        state = tape.run(state, (batches[0], scalars))
        unclocked = time.perf_counter()
        for rows in batches:
            state = tape.run(state, (rows, scalars))
        unclocked = (time.perf_counter() - unclocked) / len(batches)
        spent = [0.0] * len(tape.program)
        indices: Any = tape.inputs[0].value
        for _ in range(EPOCHS):
            for rows in batches:
                indices[...] = rows[0]
                for i, call in enumerate(tape.program):
                    started = time.perf_counter()
                    call()
                    spent[i] += time.perf_counter() - started
    microseconds = [1e6 * s / EPOCHS / len(batches) for s in spent]
    print(f"{network}: {1e6 * unclocked:.0f} us a step; {len(spent)} calls, {sum(microseconds):.0f} us with clocks")
    for spent_here, call in sorted(zip(microseconds, tape.program, strict=True), key=lambda pair: -pair[0]):
        print(f"{spent_here:8.1f}  {describe(call)}")
    return 0


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):  # as with | head
        sys.exit(main())
