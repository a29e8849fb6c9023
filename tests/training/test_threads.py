from importlib import import_module

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from lagvis.errors import RecipeError
from lagvis.training import system_files
from lagvis.training.loop import fit
from lagvis.training.plan import make_plan
from lagvis.training.threads import THREAD_VARIABLES, thread_limit, threads_for
from tests.conftest import open_backend
from tests.factories import classes, quick


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Return `machine(path, text)`, which writes a fake system file; there are eight cores and no limit before."""
    monkeypatch.setattr(system_files, "PROCESS", tmp_path / "proc")
    monkeypatch.setattr(system_files, "GROUPS", tmp_path / "groups")
    monkeypatch.setattr("lagvis.training.threads.usable_cores", lambda: 8)
    for name in THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)

    def write(path, text):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    return write


@pytest.mark.parametrize(
    ("name", "value", "threads"),
    [
        *((name, "3", 3) for name in THREAD_VARIABLES),
        ("OMP_NUM_THREADS", "2,4", 2),
        ("OMP_NUM_THREADS", " 1 ", 1),
        ("OMP_NUM_THREADS", "0", 8),
        ("OMP_NUM_THREADS", "many", 8),
        ("OMP_NUM_THREADS", "", 8),
        ("OMP_NUM_THREADS", "64", 8),
    ],
)
def test_thread_limit_variable_is_an_upper_bound(machine, monkeypatch, name, value, threads):
    monkeypatch.setenv(name, value)
    assert thread_limit().threads == threads
    assert (name in thread_limit().reason) == (threads < 8)
    assert threads_for((784, 1000, 10), 1000) == threads
    assert threads_for((784, 10), 10) == 1


@pytest.mark.parametrize(
    ("files", "threads"),
    [
        ({"proc/self/cgroup": "0::/\n", "groups/cpu.max": "200000 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/\n", "groups/cpu.max": "50000 100000\n"}, 1),
        ({"proc/self/cgroup": "0::/\n", "groups/cpu.max": "350000 100000\n"}, 3),
        ({"proc/self/cgroup": "0::/\n", "groups/cpu.max": "max 100000\n"}, 8),
        ({"proc/self/cgroup": "0::/\n", "groups/cpu.max": "rubbish\n"}, 8),
        ({"proc/self/cgroup": "0::/a/b\n", "groups/a/cpu.max": "200000 100000\n", "groups/a/b/cpu.max": "max 1\n"}, 2),
        (
            {
                "proc/self/cgroup": "3:cpu,cpuacct:/a\n0::/\n",
                "groups/cpu/a/cpu.cfs_quota_us": "400000\n",
                "groups/cpu/a/cpu.cfs_period_us": "100000\n",
            },
            4,
        ),
        (
            {
                "proc/self/cgroup": "3:cpu:/\n",
                "groups/cpu/cpu.cfs_quota_us": "-1\n",
                "groups/cpu/cpu.cfs_period_us": "100000\n",
            },
            8,
        ),
    ],
)
def test_thread_limit_share_of_a_control_group_is_an_upper_bound(machine, files, threads):
    for path, text in files.items():
        machine(path, text)
    assert thread_limit().threads == threads
    assert ("this container or job may use" in thread_limit().reason) == (threads < 8)


@pytest.mark.parametrize(
    ("widths", "batch", "threads"),
    [
        ((784, 32, 32, 10), 200, 1),
        ((784, 64, 64, 64, 10), 128, 1),
        ((784, 10), 100, 1),
        ((784, 512, 512, 10), 128, thread_limit().threads),
        ((784, 1000, 500, 10), 1000, thread_limit().threads),
        ((10, 2000, 2000, 10), 10, thread_limit().threads),
    ],
)
def test_threads_for_large_products_is_every_usable_core(widths, batch, threads):
    assert threads_for(widths, batch) == threads


def blas():
    """Return the threads of NumPy's BLAS; SciPy loads another one where an earlier test imports it."""
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    return {pool["num_threads"] for pool in [p for p in pools if "numpy" in p["filepath"]] or pools}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_fit_uses_the_threads_of_the_plan_within_the_run_alone(name, threads):
    backend = open_backend(name, "float32")
    np.ones((2, 2)) @ np.ones((2, 2))
    in_force = blas if name == "numpy" else lambda: {import_module("torch").get_num_threads()}
    before = in_force()
    recipe, dataset = quick(epochs=1), classes(120)
    plan = make_plan(recipe, dataset, threads=threads)
    within = []  # `stop` is called by the run, between its steps
    events = fit(recipe, dataset, plan, backend, stop=lambda: within.append(in_force()) or False)
    between = [in_force() for _ in events]
    assert within
    assert all(pools == {backend.blas_threads(threads)} for pools in within)
    assert all(pools == before for pools in [*between, in_force()])


def test_make_plan_without_threads_uses_the_rule():
    assert make_plan(quick(), classes(120)).threads == 1


@pytest.mark.parametrize("threads", [0, -2])
def test_make_plan_threads_below_1_raises(threads):
    with pytest.raises(RecipeError, match=f"threads is {threads}"):
        make_plan(quick(), classes(120), threads=threads)
