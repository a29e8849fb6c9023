"""Data frames of pandas and polars against the same table in a Parquet file."""

import datetime
import decimal
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import datasets as sklearn_datasets

from lagvis.data.dataset import Dataset
from lagvis.data.datasets import load_dataset
from lagvis.data.read_options import ReadOptions
from lagvis.data.tables.data_frame import is_frame, pandas_column, read_data_frame
from lagvis.errors import DataError, LagvisError, UsageError
from lagvis.option_text import messages_for_python

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")
ROWS = 24
ARRAYS = ("x_train", "y_train", "x_test", "y_test")


def summary(make, **given):
    """Return all that a data set holds but the digest and the kind of its source, or the message of its error."""
    try:
        data = make(**given)
    except LagvisError as error:
        return from_zero(str(error))
    fields = {key: getattr(data, key) for key in Dataset.__dataclass_fields__ if key not in (*ARRAYS, "sha256")}
    fields["locate_row"] = from_zero(data.locate_row("training", 3))
    fields["held_out"] = data.held_out.test_rows.tolist() if data.held_out else None
    fields["notices"] = [notice.partition("; the label")[2] or notice for notice in data.notices]
    fields["w_train"] = None if data.w_train is None else data.w_train.tolist()
    return fields | {key: (getattr(data, key).dtype, getattr(data, key).tolist()) for key in ARRAYS}


def from_zero(text):
    """Return a message about a row without its number: files count rows from 1, frames from 0."""
    return re.sub(", row [0-9]+", ", row", text)


def from_file(path, targets="classes", **options):
    kinds = {"regression": targets == "numbers", "multi_label": targets == "labels"}
    with messages_for_python():
        return summary(load_dataset, name=str(path), **kinds, **options)


def from_frame(frame, path, test=0.2, **options):
    return summary(Dataset.from_frame, frame=frame, test=test, name=str(path), **options)


def complete(values):
    return st.lists(values, min_size=ROWS, max_size=ROWS)


def with_missing(values):
    return complete(st.one_of(values, st.none()))


SHORT_TEXT = st.sampled_from(["a", "b", " c", "é", "e\u0301", "", "NA", "1", "2.5", "True", "2020-01-31", "x, y"])
DAYS = st.dates(datetime.date(1990, 1, 1), datetime.date(2030, 1, 1))
TIMES = st.datetimes(datetime.datetime(1990, 1, 1), datetime.datetime(2030, 1, 1))
FLOATS = st.one_of(st.floats(-1e6, 1e6, width=32), st.integers(-5, 5).map(float))
PANDAS_COLUMNS = {  # dtype: its values; None is a missing cell
    "int64": complete(st.integers(-5, 5)),
    "uint8": complete(st.integers(0, 255)),
    "float64": with_missing(FLOATS).map(lambda cells: [np.nan if cell is None else cell for cell in cells]),
    "bool": complete(st.booleans()),
    "Int64": with_missing(st.integers(-9, 9)),
    "Float32": with_missing(FLOATS),
    "boolean": with_missing(st.booleans()),
    "string": with_missing(SHORT_TEXT),
    "object": st.one_of(
        with_missing(SHORT_TEXT), with_missing(DAYS), with_missing(st.decimals(-99, 99, places=2)),
        with_missing(st.booleans()), with_missing(st.integers(-9, 9)), with_missing(st.just([1])),
    ),
    "category": with_missing(SHORT_TEXT),
    "datetime64[ns]": with_missing(TIMES),
    "datetime64[s]": with_missing(DAYS),
    "datetime64[us, Asia/Tokyo]": with_missing(TIMES),
    "timedelta64[us]": with_missing(st.timedeltas(datetime.timedelta(0), datetime.timedelta(9))),
    "int16[pyarrow]": with_missing(st.integers(-9, 9)),
}  # fmt: skip


@st.composite
def pandas_frames(draw):
    """Return a pandas frame of mixed columns, the label last."""
    columns = {}
    for c, dtype in enumerate(draw(st.lists(st.sampled_from([*PANDAS_COLUMNS]), min_size=1, max_size=5))):
        columns[f"{dtype} {c}"] = pd.Series(draw(PANDAS_COLUMNS[dtype]), dtype=dtype)
    columns["y"] = pd.Series([i % 3 for i in range(ROWS)])
    return pd.DataFrame(columns)


@settings(max_examples=40)
@given(pandas_frames())
def test_from_frame_pandas_equals_parquet(tmp_path_factory, frame):
    path = tmp_path_factory.mktemp("frame") / "t.parquet"
    frame.to_parquet(path, index=False)
    assert from_frame(frame, path, label="y") == from_file(path, label="y")


@st.composite
def polars_frames(draw):
    """Return a polars frame of mixed columns, the label last."""
    kinds = st.sampled_from(
        [
            (pl.Int32, st.integers(-5, 5)), (pl.Float64, FLOATS), (pl.Boolean, st.booleans()), (pl.String, SHORT_TEXT),
            (pl.Categorical, SHORT_TEXT), (pl.Enum(["1", "2", "3"]), st.sampled_from(["1", "2", "3"])), (pl.Date, DAYS),
            (pl.Datetime("us", "Asia/Tokyo"), TIMES), (pl.List(pl.Int64), st.lists(st.integers(0, 9), max_size=2)),
            (pl.Time, st.times()), (pl.Decimal(10, 2), st.decimals(-99, 99, places=2)), (pl.Null, st.none()),
        ]
    )  # fmt: skip
    drawn = draw(st.lists(kinds, min_size=1, max_size=5))
    columns = [pl.Series(f"c{c}", draw(with_missing(values)), dtype=dtype) for c, (dtype, values) in enumerate(drawn)]
    return pl.DataFrame([*columns, pl.Series("y", [i % 3 for i in range(ROWS)])])


@settings(max_examples=20)
@given(polars_frames())
def test_from_frame_polars_equals_parquet(tmp_path_factory, frame):
    path = tmp_path_factory.mktemp("frame") / "t.parquet"
    frame.write_parquet(path)
    assert from_frame(frame, path, label="y") == from_file(path, label="y")


def flowers(rows=60):
    """Return a pandas frame of a number with missing cells, a category and a label of two classes."""
    rng = np.random.default_rng(0)
    length = rng.normal(0, 1, rows)
    frame = pd.DataFrame({"length": length, "colour": rng.choice(["red", "blue"], rows), "kind": length > 0})
    frame.loc[3, "length"] = np.nan
    return frame.assign(kind=np.where(frame.kind, "big", "small"))


@pytest.mark.parametrize(
    ("name", "targets"),
    [("iris", "classes"), ("wine", "classes"), ("breast_cancer", "classes"), ("diabetes", "numbers")],
)
def test_from_frame_real_table_equals_parquet(tmp_path, name, targets):
    frame = getattr(sklearn_datasets, f"load_{name}")(as_frame=True).frame
    frame.to_parquet(tmp_path / "t.parquet")
    expected = from_file(tmp_path / "t.parquet", targets, label="target")
    assert expected["x_train"]
    assert from_frame(frame, tmp_path / "t.parquet", targets=targets, label="target") == expected


@pytest.mark.parametrize(
    ("targets", "options"),
    [
        ("classes", {"category": ("b",), "drop": ("d",), "id": ("a",)}),
        ("classes", {"features": ("b", "d"), "log": ("b",), "weight_column": "c"}),
        ("numbers", {"label": "b,c", "number": ("d",)}),
        ("labels", {"label": "y,z"}),
    ],
)
def test_from_frame_options_equal_those_of_parquet(tmp_path, targets, options):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.integers(0, 9, (60, 4)), columns=list("abcd"))
    frame["y"], frame["z"] = rng.integers(0, 2, 60), rng.choice(["on", "off"], 60)
    frame.to_parquet(tmp_path / "t.parquet")
    options = {"label": "y"} | options
    expected = from_file(tmp_path / "t.parquet", targets, **options)
    assert isinstance(expected, dict), expected
    assert from_frame(frame, tmp_path / "t.parquet", targets=targets, **options) == expected
    several = options | {"label": options["label"].split(",")}
    assert from_frame(frame, tmp_path / "t.parquet", targets=targets, **several) == expected


def test_from_frame_test_frame_equals_folder_of_two_tables(tmp_path):
    frame, test = flowers(), flowers(20).assign(more=1)[["more", "kind", "colour", "length"]]
    test.loc[2, "colour"] = "green"
    frame.to_parquet(tmp_path / "train.parquet")
    test.to_parquet(tmp_path / "test.parquet")
    expected = load_dataset(str(tmp_path), label="kind")
    data = Dataset.from_frame(frame, "kind", test_frame=test)
    for key in ARRAYS:
        np.testing.assert_array_equal(getattr(data, key), getattr(expected, key))
    assert data.encoding == expected.encoding
    assert [warning.figures for warning in data.warnings] == [warning.figures for warning in expected.warnings]
    assert data.locate_row("test", 4) == "test_frame, row 4"


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_from_frame_test_share_is_stratified_and_encoded_by_the_training_rows(share):
    frame = flowers()
    data = Dataset.from_frame(frame, "kind", test=share)
    assert len(data.x_test) == round(share * 60)
    counts = [np.bincount(part) for part in (data.y_train, data.y_test)]
    np.testing.assert_allclose(counts[1] / counts[0], share / (1 - share), atol=0.08)
    assert data.encoding.columns[0].fill == pytest.approx(frame.length[data.held_out.training_rows].mean())


def test_from_frame_other_frames_of_the_same_cells_are_equal():
    frame = flowers().astype({"colour": "category"})
    expected = Dataset.from_frame(frame, "kind", test=0.2)
    columns = pl.from_pandas(frame)
    for other in (columns, columns.lazy(), columns.to_arrow(), columns.cast({"colour": pl.Enum(["red", "blue"])})):
        data = Dataset.from_frame(other, "kind", test=0.2)
        np.testing.assert_array_equal(data.x_test, expected.x_test)
        assert (data.encoding, data.digest) == (expected.encoding, expected.digest)


def test_digest_other_cells_names_or_types_differ():
    frame = flowers()
    changed = [
        frame.assign(length=frame.length.fillna(0)),
        frame.rename(columns={"length": "width"}),
        frame.assign(colour=frame.colour.str.upper()),
        frame.iloc[::-1],
        frame[["colour", "length", "kind"]],
        frame.astype({"length": "float32"}),
    ]
    digests = [read_data_frame(other, ReadOptions()).sha256 for other in (frame, *changed)]
    assert len({*digests}) == len(digests)
    assert read_data_frame(frame, ReadOptions(category=("length",))).sha256 == digests[0]


def test_digest_other_process_is_the_same():
    imports = "import pandas as pd; from lagvis.data.tables.data_frame import read_data_frame, ReadOptions"
    digest = "read_data_frame(pd.DataFrame({'a': list('xy'), 'b': [1.5, None]}), ReadOptions()).sha256"
    code = f"{imports}; print({digest})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == eval(digest)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (pd.Series([1, 2, None], dtype="category"), ["1", "2", None]),
        (pd.Series([1, "a", None], dtype=object), ["1", "a", None]),
        (pd.Series(["\ud800", "é"], dtype=object), ["?", "é"]),
        (pd.Series([1.0, True, pd.NA, np.int8(3)], dtype=object), [1, 1, None, 3]),
        (pd.Series([decimal.Decimal("0.5"), 2, np.nan], dtype=object), [0.5, 2, None]),
        (pd.arrays.SparseArray([0, 0, 5]), [0, 0, 5]),
        (
            pd.period_range("2024-01", periods=2, freq="M"),
            [datetime.datetime(2024, 1, 1), datetime.datetime(2024, 2, 1)],
        ),
        (pd.cut(pd.Series([1.0, 2.0]), [0, 1, 2]), ["(0, 1]", "(1, 2]"]),
        (
            pd.Series([pd.Timestamp("2024-01-01 12:00", tz="Asia/Tokyo"), pd.NaT], dtype=object),
            [datetime.datetime(2024, 1, 1, 3), None],
        ),
    ],
)
def test_pandas_column_dtypes_that_parquet_lacks(cells, expected):
    assert pandas_column(pd.Series(cells)).to_list() == expected


def test_from_frame_unreadable_columns_are_left_out_with_the_reason():
    frame = flowers().assign(tags=[[1]] * 60, thing=[object()] * 60, z=1j, raw=b"x")
    left_out = Dataset.from_frame(frame, "kind", test=0.2).encoding.left_out
    assert {column.name: column.reason for column in left_out} == {
        "tags": "holds lists", "thing": "holds objects", "z": "holds objects", "raw": "holds bytes",
    }  # fmt: skip


def test_from_frame_index_is_no_column_and_locates_rows():
    frame = flowers().set_index(pd.Index(range(100, 160), name="plant"))
    data = Dataset.from_frame(frame, "kind", test=0.2)
    assert data.encoding.column_names == ("length", "colour")
    assert "frame: the index 'plant' is not read; frame.reset_index() makes it a column." in data.notices
    frame.loc[104, "length"] = np.inf
    with pytest.raises(
        DataError, match=r"^frame, row 4 \(index 104\): column 1 \('length'\) is inf; expected a finite"
    ):
        Dataset.from_frame(frame, "kind")


def test_from_frame_column_numbers_as_names():
    x, y = sklearn_datasets.load_iris(return_X_y=True)
    frame = pd.DataFrame(np.column_stack([x, y]))
    data = Dataset.from_frame(frame, 4, test=0.2, drop=0)
    assert data.feature_names == ("1", "2", "3")
    with pytest.raises(DataError, match="label has 7, which names no column; the frame has 0, 1, 2, 3, 4"):
        Dataset.from_frame(frame, 7)


@pytest.mark.parametrize(
    ("frame", "options", "message"),
    [
        (pd.DataFrame([[1, 2, 0]] * 4, columns=["a", "a", "y"]), {}, "frame has several columns of the name 'a'"),
        (flowers().groupby("kind").agg(["min", "max"]), {}, "frame has column names of 2 levels; expected one name"),
        (flowers()[:0], {}, "frame has columns and no rows; expected a row for each example"),
        (flowers(), {"label": "kid"}, "frame has no column 'kid' for .*did you mean kind"),
        (flowers(), {"test_frame": flowers().drop(columns="kind")}, "test_frame has no label in 'kind', by which"),
        (flowers(), {"test_frame": flowers().drop(columns="length")}, "test_frame lacks the columns length, which"),
        (flowers().rename(columns={"length": "a,b"}), {"label": ["a,b", "colour"]}, "'a,b' of one has a comma"),
    ],
)  # fmt: skip
def test_from_frame_unusable_raises_data_error(frame, options, message):
    with pytest.raises(DataError, match=message):
        Dataset.from_frame(frame, **{"label": frame.columns[-1]} | options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test": 1.5}, "test is 1.5; expected the share of rows"),
        ({"test": 0.2, "test_frame": flowers()}, "test is 0.2 and test_frame is given; use one of them"),
        ({"targets": "auto"}, "targets is 'auto'; expected 'classes' or 'labels' or 'numbers'"),
        ({"feature_type": "pixel"}, "feature_type is 'pixel'; expected 'auto', 'pixels', 'numbers'"),
    ],
)
def test_from_frame_bad_arguments_raise_usage_error(options, message):
    with pytest.raises(UsageError, match=message):
        Dataset.from_frame(flowers(), "kind", **options)


@pytest.mark.parametrize("data", [flowers().length, np.eye(3), pl.Series([1]), {"a": [1]}, "t.csv"], ids=type)
def test_from_frame_other_object_raises_usage_error(data):
    with pytest.raises(UsageError, match="expected a data frame of pandas or polars, or an Arrow table"):
        Dataset.from_frame(data, "y")


def test_is_frame_other_objects_are_none():
    frame = flowers()
    assert all(map(is_frame, (frame, pl.from_pandas(frame), pl.from_pandas(frame).lazy(), pa.table({"a": [1]}))))
    assert not any(map(is_frame, (frame.length, frame.to_numpy(), pl.Series([1]), [[1]], "t.csv", None)))


def test_is_frame_array_imports_no_library_of_frames():
    code = (
        "import sys, numpy as np; from lagvis.data.tables.data_frame import is_frame; is_frame(np.zeros(2));"
        "sys.exit(any(name in sys.modules for name in ('pandas', 'polars', 'pyarrow')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
