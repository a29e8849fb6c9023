"""The library within another program: its settings, threads and warnings stay as they are."""

import gc
import subprocess
import sys
import threading
import time
from importlib.util import find_spec

import numpy as np
import pytest
from threadpoolctl import threadpool_info

import lagvis as lv
from lagvis.backends.blas_threads import BlasThreads
from lagvis.training.threads import usable_cores
from tests.cli.commands import ROOT, environment
from tests.conftest import open_backend

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 40))
Y = (X[:, 0] > 0).astype(int)


def blas_threads():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def train(threads, backend="numpy", **settings):
    data = lv.Dataset.from_arrays(X, Y)
    given = {"hidden": (300, 300), "epochs": 3, "lr": 0.05, "validation": 0} | settings
    return lv.train(data, device="cpu", backend=backend, threads=threads, **given).model.layers


@pytest.mark.parametrize("backend", ["numpy", "torch", "jax"])
def test_train_in_two_threads_with_other_numbers_of_threads_gives_the_bytes_of_each_alone(backend):
    open_backend(backend, "float32")
    numbers = [1, min(2, usable_cores()), 1]
    alone = [train(number, backend, seed=i) for i, number in enumerate(numbers)]
    together = {}

    def work(i, number):
        together[i] = train(number, backend, seed=i)

    before = blas_threads()
    workers = [threading.Thread(target=work, args=pair) for pair in enumerate(numbers)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for i, expected in enumerate(alone):
        for layer, other in zip(expected, together[i], strict=True):
            assert (layer["W"] == other["W"]).all()
    assert blas_threads() == before


def test_fit_between_events_leaves_the_number_of_blas_threads():
    before = blas_threads()
    for _ in lv.fit(lv.Dataset.from_arrays(X, Y), epochs=2, hidden=8, device="cpu", threads=1):
        assert blas_threads() == before


def test_blas_threads_nested_blocks_restore_the_outer_number():
    threads, before = BlasThreads(), blas_threads()
    with threads.limited(1):
        with threads.limited(max(before)):
            assert blas_threads() == before
        assert set(blas_threads()) == {1}
    assert blas_threads() == before


@pytest.fixture
def held_block():
    """Another Python thread holds a block of 1: the BLAS threads, a function that ends the block, the number before."""
    threads, opened, close, before = BlasThreads(), threading.Event(), threading.Event(), blas_threads()

    def hold():
        with threads.limited(1):
            opened.set()
            close.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    opened.wait(10)

    def end():
        close.set()
        holder.join()

    yield threads, end, before
    end()


def test_blas_threads_block_that_another_thread_closes_last_restores_the_number():
    before = blas_threads()
    with BlasThreads().limited(max(before)):  # from now on threadpoolctl 3.8 takes numbers from this thread alone
        pass
    threads, both = BlasThreads(), threading.Barrier(2)
    found = []

    def work():
        with threads.limited(1):
            both.wait(10)
            both.wait(10)
            found.append(blas_threads())

    worker = threading.Thread(target=work)
    with threads.limited(1):
        worker.start()
        both.wait(10)
    both.wait(10)
    worker.join()
    assert set(found[0]) == {1}
    assert blas_threads() == before


def test_blas_threads_interrupted_while_the_number_is_restored_restore_it(monkeypatch):
    threads, before = BlasThreads(), blas_threads()
    original, calls = threads._set, []

    def interrupted_once(numbers):
        calls.append(numbers)
        if len(calls) == 2:
            raise KeyboardInterrupt
        original(numbers)

    monkeypatch.setattr(threads, "_set", interrupted_once)
    with pytest.raises(KeyboardInterrupt), threads.limited(1):
        assert set(blas_threads()) == {1}
    assert blas_threads() == before


def test_blas_threads_in_a_forked_process_wait_for_no_thread_of_the_parent(held_block):
    threads, end, before = held_block
    threads.reset_after_fork()
    assert blas_threads() == before
    with threads.limited(max(before)):
        pass
    end()


def test_blas_threads_blocks_open_in_the_order_in_which_they_were_asked_for():
    threads, opened = BlasThreads(), []

    def block(number):
        with threads.limited(number):
            opened.append(number)

    workers = [threading.Thread(target=block, args=(number,)) for number in (2, 1, 2)]
    with threads.limited(1):
        for waiting, worker in enumerate(workers, start=1):
            worker.start()
            while len(threads._queue) < waiting:
                time.sleep(0.001)
        assert opened == []  # the second asks for the number that is set, and the first was there before it
    for worker in workers:
        worker.join()
    assert opened == [2, 1, 2]


def test_blas_threads_interrupted_wait_leaves_the_outer_block_open(monkeypatch):
    threads, before = BlasThreads(), blas_threads()
    waits, wait_for = [], threads._changed.wait_for

    def interrupted_once(predicate):
        waits.append(predicate)
        if len(waits) == 1:
            raise KeyboardInterrupt
        return wait_for(predicate)

    with threads.limited(1):
        monkeypatch.setattr(threads._changed, "wait_for", interrupted_once)
        with pytest.raises(KeyboardInterrupt), threads.limited(max(before)):
            pass
        assert set(blas_threads()) == {1}
    assert blas_threads() == before


def test_jax_settings_stay_after_a_training_in_both_dtypes():
    open_backend("jax", "float32")
    import jax

    before = jax.config.jax_enable_x64, jax.config.jax_default_matmul_precision
    for dtype in ("float32", "float64"):
        layers = train(1, "jax", dtype=dtype, hidden=4, epochs=1)
        assert layers[0]["W"].dtype == dtype
    assert (jax.config.jax_enable_x64, jax.config.jax_default_matmul_precision) == before


def test_training_leaves_no_array_in_a_reference_cycle():
    train(1, hidden=4, epochs=1)  # what is made once
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        train(1, hidden=4, epochs=1)
        gc.collect()
        kept = [a for o in gc.garbage for a in gc.get_referents(o) if isinstance(a, np.ndarray) and a.size >= X.size]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
    assert kept == []


FRONT_PAGE = """
import threading
import lagvis as lv
from sklearn.datasets import load_digits

def main():
    X, y = load_digits(return_X_y=True)
    data = lv.Dataset.from_arrays(X, y, test=0.2)
    result = lv.train(data, hidden=(64, 64), epochs=3)
    assert result.test.accuracy > 0.8, result
    result.model.save("digits.safetensors")
    assert (lv.load("digits.safetensors").predict(X[:5]) == result.model.predict(X[:5])).all()

main()
thread = threading.Thread(target=main)
thread.start()
thread.join()
"""


def test_library_with_warnings_as_errors_in_an_empty_folder_twice_and_in_a_thread(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FRONT_PAGE],
        cwd=tmp_path, env=environment(PYTHONPATH=str(ROOT)), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [path.name for path in tmp_path.iterdir()] == ["digits.safetensors"]


def test_api_exports_what_lagvis_exports():
    from lagvis import api

    assert lv.__all__ == api.__all__
    assert all(hasattr(lv, name) for name in lv.__all__)


def test_unknown_name_raises_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        lv.trian  # noqa: B018


def test_docstring_examples_of_the_api_are_true(capsys):
    import doctest

    from lagvis import api

    names = [*lv.__all__, *(lv._ESTIMATORS if find_spec("sklearn") else [])]
    named = [("api", api), *((name, getattr(api, name)) for name in names)]
    tried = 0
    for name, value in named:
        for test in doctest.DocTestFinder(recurse=value in (lv.Dataset, lv.TrainedModel, lv.TrainingResult)).find(
            value, name
        ):
            result = doctest.DocTestRunner().run(test)
            assert result.failed == 0, capsys.readouterr().out
            tried += result.attempted
    assert tried > 15
