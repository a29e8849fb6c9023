import contextlib
import datetime
import json

import pytest

from lagvis.data.datasets import load_dataset
from lagvis.data.read_options import ReadOptions
from lagvis.data.tables.files import iter_frames
from lagvis.errors import DataError
from tests.data.tables.table_files import WRITERS, read, sample

pl = pytest.importorskip("polars")


@pytest.mark.parametrize("name", WRITERS)
def test_read_frame_any_format_equals_table_that_was_written(tmp_path, name):
    table = sample()
    WRITERS[name](table, tmp_path / name)
    found = read(tmp_path / name)
    assert found.names == tuple(table.columns)
    for c, column in enumerate(table.columns):
        expected = table[column].astype(object).where(table[column].notna(), None).tolist()
        assert found.column(c).to_list() == expected


@pytest.mark.parametrize("name", WRITERS)
def test_load_dataset_any_format_gives_arrays_of_csv(tmp_path, name):
    table = sample()
    WRITERS["t.csv"](table, tmp_path / "t.csv")
    WRITERS[name](table, tmp_path / name)
    expected, found = load_dataset(str(tmp_path / "t.csv")), load_dataset(str(tmp_path / name))
    for part in ("x_train", "x_test", "y_train", "y_test"):
        assert getattr(found, part).tobytes() == getattr(expected, part).tobytes()
    assert found.feature_names == expected.feature_names
    assert found.class_names == expected.class_names


@pytest.mark.parametrize("name", WRITERS)
def test_read_frame_file_of_another_name_is_read_by_its_bytes(tmp_path, name):
    WRITERS[name](sample(), tmp_path / name)
    (tmp_path / name).rename(tmp_path / "table.dat")
    assert read(tmp_path / "table.dat").frame.height == 60


@pytest.mark.parametrize("name", [name for name in WRITERS if name != "t.csv"])
def test_read_frame_truncated_file_raises_only_data_error(tmp_path, capfd, name):
    path = tmp_path / name
    WRITERS[name](sample(), path)
    content = path.read_bytes()
    for length in sorted({5, 8, 40, len(content) // 3, len(content) // 2, len(content) - 9}):
        path.write_bytes(content[:length])
        with contextlib.suppress(DataError):  # a text may be a smaller table
            read(path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", [name for name in WRITERS if name != "t.csv"])
def test_load_dataset_train_and_test_of_one_format_are_read(tmp_path, name):
    ending = name.partition(".")[2]
    WRITERS[name](sample(40), tmp_path / f"train.{ending}")
    WRITERS[name](sample(20), tmp_path / f"test.{ending}")
    dataset = load_dataset(str(tmp_path))
    assert (len(dataset.x_train), len(dataset.x_test)) == (40, 20)


@pytest.mark.parametrize("max_whole_bytes", [0, 2**26])
@pytest.mark.parametrize("name", WRITERS)
def test_iter_frames_pieces_together_are_the_table(tmp_path, name, max_whole_bytes):
    WRITERS[name](sample(), tmp_path / name)
    whole = read(tmp_path / name)
    pieces = list(iter_frames(tmp_path / name, ReadOptions(), 25, max_whole_bytes=max_whole_bytes))
    assert [piece.frame.height for piece in pieces] == [25, 25, 10]
    assert [row for piece in pieces for row in piece.frame.rows()] == whole.frame.rows()
    assert {piece.names for piece in pieces} == {whole.names}
    assert {piece.sha256 for piece in pieces} == {whole.sha256}
    assert [piece.row_location(2) for piece in pieces] == [whole.row_location(row) for row in (2, 27, 52)]


def test_iter_frames_text_with_blank_lines_and_quoted_lines_is_located(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes('\ufeffa;b\r\n1,5;"x\r\ny"\r\n\r\n2,5;z\r\n;\r\n3,5;"u;v"\r\n'.encode())
    pieces = list(iter_frames(path, ReadOptions(), 2, max_whole_bytes=0))
    assert [row for piece in pieces for row in piece.frame.rows()] == read(path).frame.rows()
    places = [piece.row_location(row) for piece in pieces for row in range(piece.frame.height)]
    assert places == ["line 2", "line 5", "line 7"]


def test_iter_frames_faulty_line_of_a_later_piece_is_named(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n" + "1,2\n" * 9 + "1,2,3\n")
    with pytest.raises(DataError, match=r"t\.csv, line 11 has 3 fields"):
        list(iter_frames(tmp_path / "t.csv", ReadOptions(), 4, max_whole_bytes=0))


def test_iter_frames_ndjson_with_new_keys_later_has_all_columns_in_each_piece(tmp_path):
    (tmp_path / "t.ndjson").write_text('{"a": 1}\n{"a": 2}\n{"a": NaN, "b": "x"}\n')
    pieces = list(iter_frames(tmp_path / "t.ndjson", ReadOptions(), 2, max_whole_bytes=0))
    assert [piece.names for piece in pieces] == [("a", "b")] * 2
    assert pieces[1].frame.rows() == [(None, "x")]


@pytest.mark.parametrize(
    ("name", "option", "words"),
    [
        ("t.csv", {"sheet": "a"}, "--sheet a is for a workbook"),
        ("t.parquet", {"table": "a"}, "--table a is for an SQLite database"),
        ("t.xlsx", {"table": "a"}, "--table a is for an SQLite database"),
        ("t.db", {"sheet": "a"}, "--sheet a is for a workbook"),
    ],
)
def test_read_frame_option_of_another_format_raises_data_error(tmp_path, name, option, words):
    WRITERS[name](sample(), tmp_path / name)
    with pytest.raises(DataError, match=words):
        read(tmp_path / name, **option)


def test_load_dataset_dates_of_any_type_give_same_features(tmp_path):
    days = [datetime.date(2024, 1, 1) + datetime.timedelta(days=9 * i) for i in range(40)]
    moments = [datetime.datetime.combine(day, datetime.time(i % 24, 30)) for i, day in enumerate(days)]
    typed = pl.DataFrame({"day": days, "moment": moments, "flag": [True, False] * 20, "class": ["x", "y"] * 20})
    text = typed.with_columns(pl.col("day").cast(pl.String), pl.col("moment").dt.strftime("%Y-%m-%d %H:%M:%S"))
    text.write_csv(tmp_path / "t.csv")
    typed.write_parquet(tmp_path / "t.parquet")
    typed.write_ipc(tmp_path / "t.feather")
    typed.write_excel(tmp_path / "t.xlsx")
    text.write_ndjson(tmp_path / "t.ndjson")
    (tmp_path / "t.json").write_text(json.dumps(text.to_dicts()))
    expected = load_dataset(str(tmp_path / "t.csv"))
    assert len(expected.feature_names) > 4
    for ending in ("parquet", "feather", "xlsx", "ndjson", "json"):
        found = load_dataset(str(tmp_path / f"t.{ending}"))
        assert found.feature_names == expected.feature_names
        assert found.x_train.tobytes() == expected.x_train.tobytes()
