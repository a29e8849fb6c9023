import datetime
import decimal
import shlex

import numpy as np
import pytest

from lagvis.data.datasets import load_dataset
from lagvis.errors import DataError
from tests.data.tables.table_files import read

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def written(tmp_path, *columns, names=None):
    """Return the table of polars columns written as Parquet."""
    path = tmp_path / "t.parquet"
    names = names or [f"c{i}" for i in range(len(columns))]
    pl.DataFrame([pl.Series(name, column) for name, column in zip(names, columns, strict=True)]).write_parquet(path)
    return read(path)


FILLER = pl.Series([1, 2, 3])


@pytest.mark.parametrize(
    "dtype", [pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64, pl.Float32, pl.Float64]
)
def test_typed_table_numbers_of_any_width_are_numbers(tmp_path, dtype):
    table = written(tmp_path, pl.Series([1, 2, None], dtype=dtype), FILLER)
    assert table.kind(0) == "number"
    assert table.column(0).to_list() == [1, 2, None]


@pytest.mark.parametrize(
    ("cells", "expected", "kind"),
    [
        (pl.Series([decimal.Decimal("1.25"), None, decimal.Decimal("3.00")]), [1.25, None, 3.0], "number"),
        (pl.Series([2**64 - 1, 0, None], dtype=pl.UInt64), [2**64 - 1, 0, None], "number"),
        (pl.Series([1.5, float("nan"), None]), [1.5, None, None], "number"),
        (pl.Series([True, None, False]), [True, None, False], "boolean"),
        (pl.Series(["a ", " NA", "e\u0301"]), ["a", None, "é"], "text"),
        (pl.Series(["a", "b", None], dtype=pl.Categorical), ["a", "b", None], "text"),
        (pl.Series(["1", "2", None], dtype=pl.Enum(["1", "2"])), ["1", "2", None], "text"),
        (pl.Series(["1", "2.5", "?"]), [1.0, 2.5, None], "number"),
        (pl.Series(["007", "010", "100"]), ["007", "010", "100"], "text"),
        (pl.Series([None, None, None]), [None, None, None], "number"),
        (pl.Series([datetime.date(2024, 2, 29), None, None]), [datetime.date(2024, 2, 29), None, None], "date"),
        (pl.Series([datetime.time(8, 30), None, None]), [datetime.time(8, 30), None, None], "date"),
        (
            pl.Series([datetime.timedelta(minutes=1, milliseconds=500), None, datetime.timedelta(0)]),
            [60.5, None, 0.0],
            "number",
        ),
    ],
)
def test_typed_table_type_of_column_becomes_type_of_table(tmp_path, cells, expected, kind):
    table = written(tmp_path, cells, FILLER)
    assert table.column(0).to_list() == expected
    assert table.kind(0) == kind


def test_typed_table_times_with_zone_are_in_utc(tmp_path):
    local = pl.Series([datetime.datetime(2024, 7, 1, 8), None, None], dtype=pl.Datetime("ns"))
    table = written(tmp_path, local.dt.replace_time_zone("Europe/Copenhagen"), local)
    assert table.column(0).to_list() == [datetime.datetime(2024, 7, 1, 6), None, None]
    assert table.column(1).to_list() == [datetime.datetime(2024, 7, 1, 8), None, None]


@pytest.mark.parametrize(
    ("cells", "holds"),
    [
        (pl.Series([[1], [2], [3]]), "lists"),
        (pl.Series([{"a": 1}] * 3), "records"),
        (pl.Series([b"x"] * 3), "bytes"),
    ],
)
def test_typed_table_nested_column_is_unreadable(tmp_path, cells, holds):
    table = written(tmp_path, FILLER, cells, names=["a", "inner"])
    assert table.unreadable == {1: holds}
    assert table.column(1).null_count() == 3


def test_typed_table_infinite_number_raises_data_error_with_row(tmp_path):
    with pytest.raises(DataError, match=r"row 2: column 1 \('c0'\) is inf; expected a finite number"):
        written(tmp_path, pl.Series([1.0, float("inf"), 2.0]), FILLER)


def test_typed_table_category_option_keeps_numbers_as_text(tmp_path):
    pl.DataFrame({"zip": [2139.0, 10001.0, None], "flag": [True, False, None]}).write_parquet(tmp_path / "t.parquet")
    table = read(tmp_path / "t.parquet", category=("zip", "2"))
    assert table.column(0).to_list() == ["2139", "10001", None]
    assert table.column(1).to_list() == ["true", "false", None]


def test_typed_table_single_text_among_numbers_is_stray(tmp_path):
    table = written(tmp_path, pl.Series([*map(str, range(50)), "x"]), pl.Series(range(51)))
    with pytest.raises(DataError, match=r"row 51, column 1 \('c0'\) is 'x', expected a finite number; .*--category c0"):
        table.check_column(0)


def test_typed_table_numbers_as_text_are_named(tmp_path):
    table = written(tmp_path, pl.Series(["1", "2", "3"]), FILLER)
    assert table.notices == (
        "t.parquet: cells of text that are numbers are read as numbers in c0 (--category keeps text).",
    )


def test_typed_table_two_columns_of_one_name_raise_data_error(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table([[1, 2], [3, 4]], names=["a", "a"]), path)
    with pytest.raises(DataError, match="more than one occurrence"):
        read(path)


def test_typed_table_index_of_pandas_has_no_name(tmp_path):
    pd.DataFrame({"a": [1.0, 2.0]}, index=[7, 9]).to_parquet(tmp_path / "t.parquet")
    assert read(tmp_path / "t.parquet").names == ("a", "column 2")


@pytest.mark.parametrize("frame", [pl.DataFrame({"a": [1]}), pl.DataFrame(), pl.DataFrame({"a": [], "b": []})])
def test_typed_table_without_rows_or_features_raises_data_error(tmp_path, frame):
    frame.write_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"single column|no columns|no rows"):
        read(tmp_path / "t.parquet")


def test_read_columnar_file_that_claims_many_rows_raises_data_error(tmp_path):
    path = tmp_path / "t.parquet"
    pl.DataFrame({"a": np.zeros(20_000_000, np.int8), "b": np.zeros(20_000_000, np.int8)}).write_parquet(path)
    if path.stat().st_size < 200_000:
        with pytest.raises(DataError, match=r"claims 20,000,000 rows of 2 columns"):
            read(path)
    else:
        assert read(path).frame.height == 20_000_000


def test_read_columnar_feather_of_version_1_raises_data_error(tmp_path):

    (tmp_path / "t.feather").write_bytes(b"FEA1\0\0\0\0" + bytes(200))
    with pytest.raises(DataError, match="a Feather file of version 1; write it again"):
        load_dataset(str(tmp_path / "t.feather"))


def test_load_dataset_label_beyond_int64_raises_data_error(tmp_path):
    pl.DataFrame({"a": [1.0, 2.0, 3.0], "class": [1.8446744073709552e19, 1.0, 1.0]}).write_parquet(
        tmp_path / "t.parquet"
    )
    with pytest.raises(DataError, match="which is not a class"):
        load_dataset(str(tmp_path / "t.parquet"))


@pytest.mark.parametrize("name", ["v", "net weight", "-v", "it's", "last", "3", "a,b", "x" * 60])
@pytest.mark.parametrize("write", ["to_csv", "to_json"])
def test_check_column_remedy_names_the_column_as_a_shell_takes_it(tmp_path, name, write):
    rows = {name: [*(f"{i}.5" for i in range(40)), "1.2.3"], "c": [*"ab"] * 20 + ["a"]}
    path = tmp_path / "t"
    frame = pd.DataFrame(rows)
    frame.to_csv(path, index=False) if write == "to_csv" else frame.to_json(path, orient="records")
    table = read(path)
    with pytest.raises(DataError) as caught:
        table.check_column(0)
    remedy = str(caught.value).partition("take the column as text with ")[2]
    flag, value = shlex.split(remedy.replace("--category=", "--category ", 1))
    assert flag == "--category"
    read(path, category=[value]).check_column(0)
