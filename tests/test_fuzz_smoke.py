"""The fuzzing package without its engine: a few mutated inputs for each reader, and how a fault is recorded."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest

from fuzzing.campaign import Campaign
from fuzzing.case import pack, unpack
from fuzzing.idx import idx_seeds
from fuzzing.mutator import Mutator
from fuzzing.reader import Reader, valid_cases
from fuzzing.readers import READERS, mutate
from lagvis.errors import DataError

INPUTS = 25  # per reader; the whole file takes about 2 seconds


@pytest.fixture
def campaign(tmp_path):
    (tmp_path / "place").mkdir()
    return lambda name: Campaign(name, tmp_path / "place", tmp_path)


@pytest.mark.parametrize("name", READERS)
def test_reader_mutated_files_are_accepted_or_refused_without_faults(campaign, name):
    reader, found = READERS[name], campaign(name)
    cases = [pack(files) for files in valid_cases(reader)]
    for seed in range(INPUTS):
        found.run_case(mutate(reader, cases[seed % len(cases)], Mutator(seed, None, reader.words)))
    assert found.faults == {}
    assert found.accepted + found.refused == INPUTS
    assert found.refused > 0


@pytest.mark.parametrize("name", READERS)
def test_reader_seeds_are_mostly_accepted(campaign, name):
    found = campaign(name)
    for files in valid_cases(READERS[name]):
        found.run_case(pack(files))
    assert found.faults == {}
    assert found.accepted > found.refused


@pytest.mark.parametrize("name", READERS)
def test_unpack_returns_what_was_packed(name):
    for files in valid_cases(READERS[name]):
        assert unpack(pack(files, 3)) == files


def takes_memory(*_):
    np.ones(2**27)


def warns(*_):
    warnings.warn("strange", RuntimeWarning, stacklevel=1)


def writes_to_stderr(*_):
    os.write(2, b"words")


def refuses(*_):
    raise DataError("a sentence")


def raises(*_):
    raise ValueError("not one of our errors")


def run_twice(campaign, monkeypatch, read):
    """Run one case twice with a reader, and return the case and the campaign."""
    monkeypatch.setitem(READERS, "idx", Reader(read, idx_seeds))
    found, case = campaign("idx"), pack([("a", b"1")])
    found.run_case(case)
    found.run_case(case)
    return case, found


@pytest.mark.parametrize(
    ("read", "fault"),
    [
        (raises, "ValueError"), (takes_memory, "MemoryError"), (warns, "RuntimeWarning"),
        (writes_to_stderr, "output on stderr"),
    ],
)  # fmt: skip
def test_campaign_fault_is_recorded_and_its_case_kept(campaign, monkeypatch, capfd, read, fault):
    case, found = run_twice(campaign, monkeypatch, read)
    (recorded,) = found.faults.values()
    assert recorded["fault"].startswith(fault)
    assert recorded["times"] == 2
    assert Path(recorded["case"]).read_bytes() == case
    assert (found.accepted, found.refused) == (0, 0)


def test_campaign_refusal_is_no_fault(campaign, monkeypatch):
    _, found = run_twice(campaign, monkeypatch, refuses)
    assert (found.accepted, found.refused, found.faults) == (0, 2, {})
