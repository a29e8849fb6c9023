"""The threads that share the calls of a step: all tasks, errors, interrupts, forks, and the bits of one thread."""

import os
import random
import threading
import time
from functools import partial

import numpy as np
import pytest

import lagvis as lv
from lagvis.backends.replay.shared_calls import shared_functions
from lagvis.backends.row_blocks import BLOCKS, blas_has_blocks, may_be_cut, row_bounds
from lagvis.backends.thread_pool import ThreadPool, thread_pool
from lagvis.tree import named_leaves

RNG = np.random.default_rng(0)
X = RNG.normal(size=(512, 300))
Y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)
needs_blocks = pytest.mark.skipif(not blas_has_blocks(), reason="products of this BLAS have no blocks of rows")


def shared(*tasks, threads=3, pool=None):
    pool = pool or ThreadPool()
    with pool.limited(threads):
        pool.run(tasks)


def test_thread_pool_runs_every_task_once():
    for count in (0, 1, 2, 50):
        done = []
        shared(*(partial(done.append, i) for i in range(count)))
        assert sorted(done) == list(range(count))


def test_thread_pool_returns_after_the_last_task_whoever_runs_it():
    pool = ThreadPool()

    def wait(seconds, ended):
        time.sleep(seconds)
        ended.append(seconds)

    for delays in ((0.0, 0.02, 0.01), (0.02, 0.0, 0.0), (0.0, 0.0, 0.02)):
        ended = []
        shared(*(partial(wait, delay, ended) for delay in delays), pool=pool)
        assert len(ended) == 3


def test_thread_pool_task_raises_in_the_caller_after_the_others_ended():
    pool, ended = ThreadPool(), []

    def fail():
        raise ValueError("of a task")

    for order in ([fail, lambda: (time.sleep(0.02), ended.append(1))], [lambda: time.sleep(0.01), fail, fail]):
        with pytest.raises(ValueError, match="of a task"):
            shared(*order, pool=pool)
    done = []
    shared(*(partial(done.append, i) for i in range(5)), pool=pool)
    assert len(done) == 5


def test_thread_pool_interrupt_of_the_caller_waits_for_running_tasks():
    caller, both, ended = threading.get_ident(), threading.Barrier(2), []

    def task():
        both.wait(10)
        if threading.get_ident() == caller:
            raise KeyboardInterrupt
        time.sleep(0.02)
        ended.append(1)

    with pytest.raises(KeyboardInterrupt):
        shared(task, task, threads=2)
    assert ended == [1]


def test_thread_pool_starts_no_thread_for_one_thread():
    before = threading.active_count()
    shared(*(partial(int, i) for i in range(5)), threads=1)
    assert threading.active_count() == before


def test_thread_pool_where_no_thread_can_start_runs_every_task_in_the_caller(monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    done = []
    shared(*(partial(done.append, i) for i in range(4)))
    assert done == [0, 1, 2, 3]


def test_thread_pool_of_two_callers_runs_the_tasks_of_both():
    pool, done = ThreadPool(), [[], []]

    def call(i):
        for _ in range(50):
            shared(*(partial(done[i].append, j) for j in range(4)), threads=2 + i, pool=pool)

    callers = [threading.Thread(target=call, args=(i,)) for i in range(2)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(30)
    assert [len(d) for d in done] == [200, 200]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning", "ignore:.*fork.*:RuntimeWarning")  # of Python, of JAX
def test_thread_pool_in_a_forked_process_starts_its_own_threads():
    pool = thread_pool()
    shared(*(partial(time.sleep, 0.001) for _ in range(4)), pool=pool)
    child = os.fork()
    if child == 0:
        done = []
        shared(*(partial(done.append, i) for i in range(4)), pool=pool)
        os._exit(0 if len(done) == 4 else 1)
    deadline = time.monotonic() + 20
    ended = (0, 0)
    while ended[0] == 0 and time.monotonic() < deadline:
        ended = os.waitpid(child, os.WNOHANG)
        time.sleep(0.005)
    assert ended == (child, 0)


@pytest.mark.parametrize(
    ("rows", "parts", "block", "bounds"),
    [(100, 2, 16, [0, 48, 100]), (128, 4, 16, [0, 32, 64, 96, 128]), (20, 8, 16, [0, 16, 20]), (5, 3, 16, [0, 5])],
)
def test_row_bounds_are_multiples_of_the_block(rows, parts, block, bounds):
    assert row_bounds(rows, parts, block) == bounds


def test_may_be_cut_other_bits_in_a_part_false():
    a, b = RNG.random((64, 40), np.float32), RNG.random((40, 48), np.float32)
    assert not may_be_cut(a, b, np.nextafter(a @ b, np.float32(2)), row_bounds(64, 2, BLOCKS[0]))


def test_may_be_cut_zeros_are_tested_by_random_numbers():
    a, b = np.ones((64, 40), np.float32), np.zeros((40, 48), np.float32)
    assert may_be_cut(a, b, np.full((64, 48), np.nan, np.float32), [0, 64])


def wide_network(threads, **settings):
    """Train a network whose steps are shared, and return its layers and the number of shared steps."""
    jobs, run = [], ThreadPool.run
    data = lv.Dataset.from_arrays(X, Y)
    given = {"hidden": (256, 160), "batch_size": 128, "epochs": 3, "lr": 0.05, "validation": 100} | settings
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ThreadPool, "run", lambda self, tasks: (jobs.append(len(tasks)), run(self, tasks)))
        network = lv.train(data, device="cpu", backend="numpy", threads=threads, **given).model.layers
    return dict(named_leaves(network)), len(jobs)


SETTINGS = {
    "plain": {},
    "float64-adam": {"dtype": "float64", "optimizer": "adam", "lr": 0.001},
    "batch-norm-dropout": {"normalization": "batch", "dropout": 0.2, "batch_size": 200},
    "accumulate": {"accumulate": 2, "activation": "tanh", "hidden": (128, 128), "momentum": 0.9, "ema": 0.99},
    "clipped": {"clip_norm": 0.01},
}
OTHER_SETTINGS = {
    "layer-norm": {"normalization": "layer", "optimizer": "adamw", "weight_decay": 0.1},
    "muon": {"optimizer": "muon", "clip_norm": 0.5, "max_norm": 1.0, "l1": 1e-4, "mixup": 0.2},
}


@pytest.fixture
def small_calls_shared(monkeypatch):
    monkeypatch.setattr("lagvis.backends.replay.schedule.MIN_OPERATIONS", 2e6)
    monkeypatch.setattr("lagvis.backends.replay.schedule.MIN_CALL_OPERATIONS", 1e5)
    monkeypatch.setattr("lagvis.backends.replay.shared_calls.MIN_PART_OPERATIONS", 1e5)


@needs_blocks
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_train_any_number_of_threads_gives_the_bits_of_one(small_calls_shared, settings):
    expected, jobs = wide_network(1, **settings)
    assert jobs == 0
    for threads in (2, 3, 4):
        found, jobs = wide_network(threads, **settings)
        assert jobs > 0
        for name, leaf in expected.items():
            assert found[name].tobytes() == leaf.tobytes(), (threads, name)


def random_settings(seed):
    """Return settings of a training, each of them set in a third of the cases."""
    draw = random.Random(seed)
    choices = {
        "optimizer": ("adam", "rmsprop", "lion", "muon"), "weight_decay": (0.01,), "l1": (1e-4,), "dropout": (0.2,),
        "input_noise": (0.1,), "mixup": (0.3,), "max_norm": (1.0,), "clip_norm": (0.01, 0.5), "ema": (0.9,),
        "accumulate": (2, 3), "normalization": ("batch", "layer"), "activation": ("tanh", "gelu"),
        "batch_size": (96, 150), "dtype": ("float64",),
    }  # fmt: skip
    hidden = tuple(draw.choice((64, 100, 160)) for _ in range(draw.randint(1, 3)))
    chosen = {name: draw.choice(values) for name, values in choices.items() if draw.random() < 1 / 3}
    return {"hidden": hidden, "epochs": 1, "lr": 0.01} | chosen


@needs_blocks
@pytest.mark.parametrize("seed", range(8))
def test_train_random_settings_three_threads_give_the_bits_of_one(small_calls_shared, seed):
    settings = random_settings(seed)
    expected, found = (wide_network(threads, **settings)[0] for threads in (1, 3))
    assert {name: leaf.tobytes() for name, leaf in found.items()} == {n: a.tobytes() for n, a in expected.items()}


def accesses(phase):
    """Return (work, call, array, whether it is written, whether by rows) for each array of each call of a phase."""
    found = []
    for work in phase.works:
        for call in work.calls:
            if call.owner is call:
                found.append((work, call, call.value, True, work.rows > 0))
                by_row = work.operands[call].by_row if call in work.operands else []
                found += [(work, call, node.value, False, node in by_row) for node in call.operands()]
    return found


def same_rows(a, b):
    starts = [array.__array_interface__["data"][0] for array in (a, b)]
    return starts[0] == starts[1] and (a.shape[0], a.strides[0]) == (b.shape[0], b.strides[0])


@needs_blocks
@pytest.mark.parametrize("settings", [*SETTINGS.values(), *OTHER_SETTINGS.values()], ids=[*SETTINGS, *OTHER_SETTINGS])
def test_shared_calls_no_task_touches_memory_that_another_writes(small_calls_shared, monkeypatch, settings):
    checked = []

    def check(recorder, calls, phases):
        for phase in phases:
            found = accesses(phase)
            for work, call, array, _, _ in [access for access in found if access[3]]:
                for other_work, other, memory, _, by_row in found:
                    alone = work is other_work and (not work.rows or (by_row and same_rows(array, memory)))
                    assert alone or not np.shares_memory(array, memory), (call.name, array.shape, other.name)
            checked.append(phase)
        return shared_functions(recorder, calls, phases)

    monkeypatch.setattr("lagvis.backends.replay.numpy_recorder.shared_functions", check)
    wide_network(2, **settings)
    assert checked
