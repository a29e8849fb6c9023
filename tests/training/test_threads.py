from importlib import import_module

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from lagvis.errors import RecipeError
from lagvis.training.events import Progress
from lagvis.training.loop import fit
from lagvis.training.plan import make_plan
from lagvis.training.threads import threads_for, usable_cores
from tests.conftest import open_backend
from tests.factories import classes, quick


@pytest.mark.parametrize(
    ("widths", "batch", "threads"),
    [
        ((784, 32, 32, 10), 200, 1),
        ((784, 64, 64, 64, 10), 128, 1),
        ((784, 10), 100, 1),
        ((784, 512, 512, 10), 128, usable_cores()),
        ((784, 1000, 500, 10), 1000, usable_cores()),
        ((10, 2000, 2000, 10), 10, usable_cores()),
    ],
)
def test_threads_for_large_products_is_every_core(widths, batch, threads):
    assert threads_for(widths, batch) == threads


def blas():
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_fit_uses_the_threads_of_the_plan_and_restores_them(name, threads):
    backend = open_backend(name, "float32")
    np.ones((2, 2)) @ np.ones((2, 2))
    in_force = blas if name == "numpy" else lambda: {import_module("torch").get_num_threads()}
    before = in_force()
    recipe, dataset = quick(epochs=1), classes(120)
    plan = make_plan(recipe, dataset, threads=threads)
    seen = [in_force() for event in fit(recipe, dataset, plan, backend) if isinstance(event, Progress)]
    assert seen
    assert all(pools == {threads} for pools in seen)
    assert in_force() == before


def test_make_plan_without_threads_uses_the_rule():
    assert make_plan(quick(), classes(120)).threads == 1


@pytest.mark.parametrize("threads", [0, -2])
def test_make_plan_threads_below_1_raises(threads):
    with pytest.raises(RecipeError, match=f"threads is {threads}"):
        make_plan(quick(), classes(120), threads=threads)
