import dataclasses
import json
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest

from lagvis.cli import train
from lagvis.cli.errors import run_cli
from lagvis.training import memory, system_files, system_memory
from lagvis.training.plan import make_plan
from tests import factories

GB = 10**9


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Return `machine(path, text)`, which writes a fake system file of Linux; without files no limit is known."""
    monkeypatch.setattr(system_files, "PROCESS", tmp_path / "proc")
    monkeypatch.setattr(system_files, "GROUPS", tmp_path / "groups")

    def write(path, text):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    return write


def meminfo(kilobytes, swap=0):
    return f"MemTotal:  99999999 kB\nMemAvailable: {kilobytes} kB\nHugePages_Total: 0\nSwapFree: {swap} kB\n"


def test_free_memory_without_system_files_is_unknown(machine):
    assert system_memory.free_memory() is None
    machine("proc/meminfo", "rubbish\n\nMemAvailable: many kB\n")
    machine("proc/self/cgroup", "0::/gone\n")
    assert system_memory.free_memory() is None


def test_free_memory_includes_free_swap(machine):
    machine("proc/meminfo", meminfo(1000, swap=500))
    assert system_memory.free_memory() == (1024 * 1500, "free on this machine")


GROUP_FILES = {
    "2": {
        "proc/self/cgroup": "0::/a/b\n",
        "groups/a/memory.max": f"{GB}\n",
        "groups/a/memory.stat": f"anon {GB // 4}\nfile {GB // 2}\n",
        "groups/a/b/memory.max": "max\n",
    },
    "1": {
        "proc/self/cgroup": "8:pids:/x\n4:cpu,memory:/a/b\n0::/\n",
        "groups/memory/a/memory.limit_in_bytes": f"{GB}\n",
        "groups/memory/a/memory.stat": f"cache {GB // 2}\ntotal_rss {GB // 4}\n",
        "groups/memory/a/b/memory.limit_in_bytes": "9223372036854771712\n",
    },
    "2, seen from inside": {"proc/self/cgroup": "0::/\n", "groups/memory.max": f"{3 * GB // 4}\n"},
}


@pytest.mark.parametrize("version", GROUP_FILES)
def test_free_memory_in_groups_is_the_tightest_without_cached_files(machine, version):
    machine("proc/meminfo", meminfo(8 * 10**6))
    for path, text in GROUP_FILES[version].items():
        machine(path, text)
    assert system_memory.free_memory() == (3 * GB // 4, "left of what this container or job may use")


def test_free_memory_names_the_tightest_limit(machine, monkeypatch):
    resource = pytest.importorskip("resource", reason="only Unix has limits of a process")
    machine("proc/meminfo", meminfo(8 * 10**6))
    machine("proc/self/statm", "1000 1 1 1 0 1 0\n")
    monkeypatch.setattr(resource, "getrlimit", lambda which: (GB, GB))
    assert system_memory.free_memory() == (GB - 1000 * resource.getpagesize(), "left under ulimit -v")


@pytest.mark.parametrize("keys", [{}, {"momentum": 0.9}, {"dtype": "float64", "momentum": 0.9}, {"epochs": 0}], ids=str)
@pytest.mark.parametrize("dataset", [factories.classes(1000), factories.numbers(1000)], ids=["bytes", "numbers"])
@pytest.mark.parametrize("hidden", [(), (300, 300), (4000,)], ids=str)
def test_estimate_memory_minimum_is_at_most_what_numpy_allocates(keys, dataset, hidden):
    """The minimum is at most the peak that NumPy allocates: a higher estimate would reject runs that fit."""
    loss = "cross-entropy" if dataset.class_names else "mse"
    recipe = factories.quick(hidden=hidden, batch_size=300, loss=loss, lr=1e-4, **({"epochs": 1} | keys))
    estimate = memory.estimate_memory(recipe, dataset, make_plan(recipe, dataset), on_host=True)
    tracemalloc.start()
    try:
        factories.run(recipe, dataset)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert estimate.device == 0
    assert estimate.host <= peak
    if hidden == (300, 300) and recipe.epochs:
        assert estimate.host >= peak / 5, "a useless estimate would reject nothing"


def test_estimate_memory_gpu_host_holds_state_only():
    recipe, dataset = factories.quick(hidden=(100,), momentum=0.9), factories.classes()
    plan = make_plan(recipe, dataset)
    parameters = sum((n_in + 1) * n_out for n_in, n_out in pairwise((36, 100, 4)))
    estimate = memory.estimate_memory(recipe, dataset, plan, on_host=False)
    assert estimate.host == parameters * (8 + 2 * 4), "drawn in float64, kept with a velocity in float32"
    assert estimate.device == parameters * 2 * 4 + 37 * 100 * 4 + 20 * (36 + 100 + 4) * 4 + 120 * 36


@pytest.mark.parametrize(
    ("keys", "suggestion"),
    [({"hidden": (3000,)}, "a smaller --hidden"), ({"hidden": (3000,), "batch_size": 4000}, "a smaller --batch-size")],
)
def test_check_one_byte_below_the_minimum_raises_with_suggestion(monkeypatch, keys, suggestion):
    recipe, dataset = factories.quick(**keys), factories.classes(4000)
    estimate = memory.estimate_memory(recipe, dataset, make_plan(recipe, dataset), on_host=True)
    monkeypatch.setattr(memory, "free_memory", lambda: (estimate.host, "there"))
    assert estimate.check() is estimate
    monkeypatch.setattr(memory, "free_memory", lambda: None)
    assert estimate.check() is estimate
    monkeypatch.setattr(memory, "free_memory", lambda: (estimate.host - 1, "there"))
    with pytest.raises(memory.OutOfMemoryError, match=suggestion) as caught:
        estimate.check()
    assert caught.value.exit_code == 5


@pytest.mark.parametrize("hidden", ["100000,100000", "10000000", "10000000,10000000"])
def test_train_network_beyond_memory_exits_5_and_writes_nothing(tmp_path, monkeypatch, capsys, hidden):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(memory, "free_memory", lambda: (4 * GB, "free on this machine"))
    tracemalloc.start()
    try:
        code = run_cli(train.main, ["--device", "cpu", "--hidden", hidden])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    stderr = capsys.readouterr().err
    assert code == 5
    assert stderr.startswith(f"error: 784-{hidden.replace(',', '-')}-10 in batches of 100 rows takes at least ")
    assert "4.0 GB are free on this machine; use a smaller --hidden" in stderr
    assert stderr.count("\n") == 1
    assert peak < GB
    assert not list(tmp_path.iterdir())


def test_estimate_memory_peak_exists_only_for_measured_libraries_on_the_cpu():
    recipe, dataset = factories.quick(), factories.classes()
    plan = make_plan(recipe, dataset)
    assert memory.estimate_memory(recipe, dataset, plan, on_host=False, backend="torch").peak is None
    assert memory.estimate_memory(recipe, dataset, plan, on_host=True, backend="strict").peak is None
    for backend in memory.LIBRARIES:
        estimate = memory.estimate_memory(recipe, dataset, plan, on_host=True, backend=backend)
        assert estimate.peak >= estimate.host + memory.LIBRARIES[backend].imported
        assert estimate.facts()["host_peak_mb"] == estimate.peak // 10**6


def test_estimate_memory_peak_on_jax_counts_the_code_of_each_kind_of_random_numbers(monkeypatch):
    monkeypatch.setattr(memory, "resident_memory", lambda: (0, 0))  # of a process that has run tests

    def peak(**keys):
        recipe, dataset = factories.quick(**keys), factories.classes()
        return memory.estimate_memory(recipe, dataset, make_plan(recipe, dataset), on_host=True, backend="jax").peak

    code = memory.LIBRARIES["jax"].drawn
    one, two = peak(dropout=0.5), peak(dropout=0.5, input_dropout=0.2)
    assert one > peak() + code
    assert two == one + code


@pytest.mark.parametrize(("free", "warned"), [(3 * GB, False), (3 * GB - 1, True)])
def test_check_peak_beyond_free_memory_only_warns(monkeypatch, free, warned):
    recipe, dataset = factories.quick(hidden=(3000,)), factories.classes()
    estimate = memory.estimate_memory(recipe, dataset, make_plan(recipe, dataset), on_host=True, backend="numpy")
    estimate = dataclasses.replace(estimate, host=GB, peak=4 * GB)
    monkeypatch.setattr(memory, "resident_memory", lambda: (GB, GB))
    monkeypatch.setattr(memory, "free_memory", lambda: (free, "free on this machine"))
    assert estimate.check() is estimate
    if warned:
        assert "will probably take 3.0 GB of memory more, and 3.0 GB are free on this machine" in estimate.notice()
        assert estimate.notice().endswith("use a smaller --hidden.")
    else:
        assert estimate.notice() == ""


def test_train_prints_the_memory_notice_and_trains(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.savez("few.npz", x=np.arange(80).reshape(40, 2) % 7 / 7, y=np.arange(40) % 2)
    monkeypatch.setattr(memory.MemoryEstimate, "notice", lambda self: "Memory may run out.")
    assert run_cli(train.main, ["--device", "cpu", "--data", "few.npz", "-e", "1", "--no-plots"]) == 0
    assert "Memory may run out." in capsys.readouterr().err


def test_dry_run_prints_minimum_peak_and_free_memory(capsys):
    assert run_cli(train.main, ["--device", "cpu", "--backend", "numpy", "--dry-run", "--json", "--quiet"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert 0 < facts["host_mb"] < facts["host_peak_mb"]
    assert facts["host_free_mb"] is None or facts["host_free_mb"] > 0
