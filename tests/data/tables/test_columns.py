import time

import pytest

from lagvis.data.input_spec import InputSpec
from lagvis.data.read_options import ReadOptions
from lagvis.data.tables.columns import columns_for_training, match_test_columns
from lagvis.data.tables.network_columns import columns_for_network
from tests.data.tables.table_files import read

pl = pytest.importorskip("polars")

WIDTH = 10_000
NAMES = tuple(f"c{i}" for i in range(WIDTH))


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    path = tmp_path_factory.mktemp("wide") / "t.arrow"
    frame = pl.DataFrame({name: [1.0, 2.0] for name in NAMES} | {"label": ["a", "b"]})
    frame.write_ipc(path)
    return read(path)


def seconds_of(function):
    """Return the seconds of this process, which do not count the time that others take the processor."""
    start = time.process_time()
    function()
    return time.process_time() - start


@pytest.mark.parametrize("features", [NAMES, (",".join(NAMES),), tuple(map(str.upper, NAMES))])
def test_columns_for_training_ten_thousand_features_are_found_within_a_second(wide, features):
    options = ReadOptions(label="label", features=features)
    assert seconds_of(lambda: columns_for_training(wide, options, regression=False)) < 1
    assert columns_for_training(wide, options, regression=False).features == [*range(WIDTH)]


def test_columns_for_network_ten_thousand_features_are_matched_within_a_second(wide):
    spec = InputSpec((WIDTH,), is_bytes=False, class_names=("a", "b"), feature_names=NAMES, label_names=("label",))
    assert seconds_of(lambda: columns_for_network(wide, spec)) < 1
    assert columns_for_network(wide, spec).features == [*range(WIDTH)]


def test_match_test_columns_ten_thousand_columns_are_matched_within_a_second(wide):
    columns = columns_for_training(wide, ReadOptions(), regression=False)
    other = read_reversed(wide)
    assert seconds_of(lambda: match_test_columns(wide, other, columns)) < 1
    assert match_test_columns(wide, other, columns)[0].labels == [0]


def read_reversed(table):
    path = table.path.with_name("reversed.arrow")
    pl.read_ipc(table.path).select(["label", *reversed(NAMES)]).write_ipc(path)
    return read(path)
