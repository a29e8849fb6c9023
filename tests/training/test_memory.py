import tracemalloc
from itertools import pairwise

import pytest

from lagvis.cli import train
from lagvis.cli.errors import run_cli
from lagvis.training import memory
from lagvis.training.plan import make_plan
from tests import factories

GB = 10**9


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A stand-in for Linux's small files: `machine(path, text)` writes one; without any, nothing is known."""
    monkeypatch.setattr(memory, "PROCESS", tmp_path / "proc")
    monkeypatch.setattr(memory, "GROUPS", tmp_path / "groups")

    def write(path, text):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    return write


def meminfo(kilobytes, swap=0):
    return f"MemTotal:  99999999 kB\nMemAvailable: {kilobytes} kB\nHugePages_Total: 0\nSwapFree: {swap} kB\n"


def test_a_system_without_such_files_is_not_guessed_at(machine):
    assert memory.free_memory() is None
    machine("proc/meminfo", "rubbish\n\nMemAvailable: many kB\n")
    machine("proc/self/cgroup", "0::/gone\n")
    assert memory.free_memory() is None


def test_swap_counts_because_a_run_may_use_it(machine):
    machine("proc/meminfo", meminfo(1000, swap=500))
    assert memory.free_memory() == (1024 * 1500, "free on this machine")


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
def test_the_tightest_group_holds_and_cached_files_are_not_counted_as_used(machine, version):
    machine("proc/meminfo", meminfo(8 * 10**6))
    for path, text in GROUP_FILES[version].items():
        machine(path, text)
    assert memory.free_memory() == (3 * GB // 4, "left of what this container or job may use")


def test_the_tightest_limit_of_all_is_named(machine, monkeypatch):
    resource = pytest.importorskip("resource", reason="only Unix has limits of a process")
    machine("proc/meminfo", meminfo(8 * 10**6))
    machine("proc/self/statm", "1000 1 1 1 0 1 0\n")
    monkeypatch.setattr(resource, "getrlimit", lambda which: (GB, GB))
    assert memory.free_memory() == (GB - 1000 * resource.getpagesize(), "left under ulimit -v")


@pytest.mark.parametrize("keys", [{}, {"momentum": 0.9}, {"dtype": "float64", "momentum": 0.9}, {"epochs": 0}], ids=str)
@pytest.mark.parametrize("dataset", [factories.classes(1000), factories.numbers(1000)], ids=["bytes", "numbers"])
@pytest.mark.parametrize("hidden", [(), (300, 300), (4000,)], ids=str)
def test_a_run_holds_what_was_estimated_or_more(keys, dataset, hidden):
    """NumPy's own count of its memory: were the estimate higher, it would refuse runs that fit."""
    loss = "cross-entropy" if dataset.class_names else "mse"
    recipe = factories.quick(hidden=hidden, batch_size=300, loss=loss, lr=1e-4, **({"epochs": 1} | keys))
    need = memory.estimate_memory(recipe, dataset, make_plan(recipe, dataset), on_host=True)
    tracemalloc.start()
    try:
        factories.run(recipe, dataset)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert need.device == 0
    assert need.host <= peak
    if hidden == (300, 300) and recipe.epochs:
        assert need.host >= peak / 5, "an estimate that says nothing would refuse nothing"


def test_on_a_gpu_the_host_holds_the_state_alone():
    recipe, dataset = factories.quick(hidden=(100,), momentum=0.9), factories.classes()
    plan = make_plan(recipe, dataset)
    parameters = sum((n_in + 1) * n_out for n_in, n_out in pairwise((36, 100, 4)))
    need = memory.estimate_memory(recipe, dataset, plan, on_host=False)
    assert need.host == parameters * (8 + 2 * 4), "drawn in float64, kept with a velocity in float32"
    assert need.device == parameters * 2 * 4 + 37 * 100 * 4 + 20 * (36 + 100 + 4) * 4 + 120 * 36


@pytest.mark.parametrize(
    ("keys", "cure"),
    [({"hidden": (3000,)}, "a smaller --hidden"), ({"hidden": (3000,), "batch_size": 4000}, "a smaller --batch-size")],
)
def test_enough_is_let_through_and_a_byte_less_is_refused_with_the_cure(monkeypatch, keys, cure):
    recipe, dataset = factories.quick(**keys), factories.classes(4000)
    need = memory.estimate_memory(recipe, dataset, make_plan(recipe, dataset), on_host=True)
    monkeypatch.setattr(memory, "free_memory", lambda: (need.host, "there"))
    assert need.check() is need
    monkeypatch.setattr(memory, "free_memory", lambda: None)
    assert need.check() is need
    monkeypatch.setattr(memory, "free_memory", lambda: (need.host - 1, "there"))
    with pytest.raises(memory.OutOfMemoryError, match=cure) as caught:
        need.check()
    assert caught.value.exit_code == 5


@pytest.mark.parametrize("hidden", ["100000,100000", "10000000", "10000000,10000000"])
def test_a_network_that_cannot_fit_is_refused_before_anything_is_made(tmp_path, monkeypatch, capsys, hidden):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(memory, "free_memory", lambda: (4 * GB, "free on this machine"))
    tracemalloc.start()
    try:
        code = run_cli(train.main, ["--device", "cpu", "--hidden", hidden])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    said = capsys.readouterr().err
    assert code == 5
    assert said.startswith(f"error: 784-{hidden.replace(',', '-')}-10 in batches of 100 rows takes at least ")
    assert "4.0 GB are free on this machine; use a smaller --hidden" in said
    assert said.count("\n") == 1
    assert peak < GB
    assert not list(tmp_path.iterdir())
