"""A few mutated inputs of each reader of scripts/fuzz, without its engine; and that it would tell a fault."""

import importlib.machinery
import importlib.util
import os
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from lagvis.errors import DataError

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "fuzz"
READERS = ("idx", "gzip", "npz", "csv", "checkpoint", "paper", "recipe", "pictures", "predict", "folder", "run")
INPUTS = 25  # a reader; the whole file takes about 2 seconds


@pytest.fixture(scope="module")
def script():
    loader = importlib.machinery.SourceFileLoader("fuzz_script", str(SCRIPT))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("fuzz_script", loader))
    sys.modules["fuzz_script"] = module  # where dataclasses look for their module
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.dont_write_bytecode", True)
        loader.exec_module(module)
    return module


@pytest.fixture
def fuzz(script, tmp_path):
    (tmp_path / "place").mkdir()
    return lambda name: script.Fuzz(name, tmp_path / "place", tmp_path)


def test_every_reader_is_here(script):
    assert tuple(script.READERS) == READERS


@pytest.mark.parametrize("name", READERS)
def test_a_few_mutated_inputs_are_taken_or_refused_and_nothing_else(script, fuzz, name):
    reader, found = script.READERS[name], fuzz(name)
    cases = [script.pack(files) for files in script.good_files(reader)]
    for seed in range(INPUTS):
        mutator = script.Mutator(seed, None, reader.words)
        found.one(script.mutate(reader, cases[seed % len(cases)], mutator))
    assert found.faults == {}
    assert found.accepted + found.refused == INPUTS
    assert found.refused > 0


@pytest.mark.parametrize("name", READERS)
def test_most_good_files_are_taken(script, fuzz, name):
    found = fuzz(name)
    for files in script.good_files(script.READERS[name]):
        found.one(script.pack(files))
    assert found.faults == {}
    assert found.accepted > found.refused


@pytest.mark.parametrize("name", READERS)
def test_a_case_survives_its_packing(script, name):
    for files in script.good_files(script.READERS[name]):
        assert script.unpack(script.pack(files, 3)) == files


def takes_memory(*_):
    np.ones(2**27)


def warns(*_):
    warnings.warn("strange", RuntimeWarning, stacklevel=1)


def speaks(*_):
    os.write(2, b"words")


def refuses(*_):
    raise DataError("a sentence")


def stumbles(*_):
    raise ValueError("no sentence of ours")


@pytest.mark.parametrize(
    ("read", "fault"),
    [
        (stumbles, "ValueError"), (takes_memory, "MemoryError"), (warns, "RuntimeWarning"),
        (speaks, "words on stderr"), (refuses, None),
    ],
)  # fmt: skip
def test_a_fault_is_told_and_its_input_kept(script, fuzz, monkeypatch, tmp_path, capfd, read, fault):
    monkeypatch.setitem(script.READERS, "idx", script.Reader(read, script.idx_seeds))
    found, case = fuzz("idx"), script.pack([("a", b"1")])
    found.one(case)
    found.one(case)
    if fault is None:
        assert (found.refused, found.faults) == (2, {})
        return
    (told,) = found.faults.values()
    assert told["fault"].startswith(fault)
    assert told["times"] == 2
    assert Path(told["case"]).read_bytes() == case
