import contextlib
import csv
import gzip
import io
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits, load_iris

from lagvis.data.datasets import load_dataset
from lagvis.data.input_spec import InputSpec
from lagvis.data.read_options import ReadOptions
from lagvis.data.tables import reader, text
from lagvis.data.tables.csv_reader import read_csv
from lagvis.errors import DataError

ROWS = [(0.5, 1.25, "cat"), (-3.0, 2.5, "dog"), (4.0, 1e-3, "cat"), (7.5, -0.25, "dog"), (1.5, 2.0, "cat")]


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def all_rows(source):
    """Return all rows in the order of the file, by the line that `where` returns."""
    lines = [
        int(source.row_location(part, row).rsplit(" ", 1)[1])
        for part, y in (("training", source.y_train), ("test", source.y_test))
        for row in range(len(y))
    ]
    order = np.argsort(lines)
    return (
        np.concatenate([source.x_train, source.x_test])[order],
        np.concatenate([source.y_train, source.y_test])[order],
        np.sort(lines),
    )


def read(path, *, regression=False, label=""):
    return reader.read_table(path, regression=regression, options=ReadOptions(label=label))


def refusal(path, **options) -> str:
    with pytest.raises(DataError) as caught:
        load_dataset(str(path), **options)
    assert str(path) in str(caught.value)
    return str(caught.value)


def table_text(rows, separator=",", mark=".", header=None, end="\n"):
    cells = [[str(v).replace(".", mark) if isinstance(v, float) else v for v in row] for row in rows]
    return "".join(separator.join(row) + end for row in ([header] if header else []) + cells)


# Pairwise combinations: every two values of separator, header, line ending and encoding occur together in these 15.
DIALECTS = [
    (
        [",", ";", "\t", "|", " "][i],
        [None, ["a", "b", "animal"]][(3 * i + j) % 2],
        ["\n", "\r\n", "\r"][j],
        ["utf-8", "utf-8-sig", "utf-16"][(i + j) % 3],
    )
    for i in range(5)
    for j in range(3)
]


@pytest.mark.parametrize(("separator", "header", "end", "encoding"), DIALECTS)
def test_read_table_any_dialect_gives_same_rows(tmp_path, separator, header, end, encoding):
    marks = [".", ","] if separator != "," else ["."]
    for mark in marks:
        source = read(write(tmp_path / "t.csv", table_text(ROWS, separator, mark, header, end) + end * 2, encoding))
        x, y, lines = all_rows(source)
        assert x.tolist() == [list(row[:2]) for row in ROWS]
        assert y.tolist() == [row[2] for row in ROWS]
        assert lines.tolist() == list(range(2, 7) if header else range(1, 6))
        assert f"decimal {'comma' if mark == ',' else 'point'}" in source.notices[0]
        assert ("a header" if header else "no header") in source.notices[0]
        assert "--label" in source.notices[0]


def test_read_table_danish_excel_gives_numbers_and_labels(tmp_path):
    rng = np.random.default_rng(7)
    y = rng.integers(0, 4, 200)
    x = rng.integers(0, 256, (200, 64))
    text = "\n".join(
        ["label;" + ";".join(f"p{i}" for i in range(64))]
        + [f"{b};" + ";".join(f"{v / 255:.3f}".replace(".", ",") for v in a) for a, b in zip(x, y, strict=True)]
    )
    source = read(write(tmp_path / "a05.csv", text, "utf-8-sig"))
    found, labels, _ = all_rows(source)
    np.testing.assert_array_equal(found, np.round(x / 255, 3))
    np.testing.assert_array_equal(labels, y)
    assert "('label')" in source.notices[0]
    assert load_dataset(str(tmp_path / "a05.csv")).class_names == ("0", "1", "2", "3")


def test_read_table_iris_equals_scikit_learn(tmp_path):
    iris = load_iris()
    buffer = io.StringIO()
    rows = csv.writer(buffer, quoting=csv.QUOTE_NONNUMERIC)
    rows.writerow([*iris.feature_names, "species"])
    rows.writerows([*map(float, x), str(iris.target_names[y])] for x, y in zip(iris.data, iris.target, strict=True))
    x, y, _ = all_rows(read(write(tmp_path / "iris.csv", buffer.getvalue())))
    np.testing.assert_array_equal(x, iris.data)
    np.testing.assert_array_equal(y, iris.target_names[iris.target])
    assert load_dataset(str(tmp_path / "iris.csv")).class_names == ("setosa", "versicolor", "virginica")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.floats(-1e6, 1e6), st.integers(-300, 300)),
        min_size=2,
        max_size=12,
    ),
    st.sampled_from(["%r", "%.17g", "%.17e"]),
)
def test_read_table_numbers_equal_numpy_genfromtxt(tmp_path, rows, form):
    text = "\n".join(",".join(["k", *(form % v if isinstance(v, float) else str(v) for v in row)]) for row in rows)
    path = write(tmp_path / "t.csv", text)
    np.testing.assert_array_equal(read_csv(path).frame[:, 1:].to_numpy(), np.genfromtxt(path, delimiter=",")[:, 1:])


@pytest.mark.parametrize("breaks", ["", "256", "0.5", "-1"])
def test_read_table_square_of_bytes_becomes_picture(tmp_path, breaks):
    x = np.random.default_rng(3).integers(0, 256, (20, 64))
    cells = [[str(i % 2), *map(str, row)] for i, row in enumerate(x.tolist())]
    cells[10][7] = breaks or cells[10][7]
    source = read(write(tmp_path / "t.csv", "\n".join(map(",".join, cells))), label="1")
    found, _, _ = all_rows(source)
    expected = x.astype(float)
    expected[10, 6] = float(cells[10][7])
    np.testing.assert_array_equal(found.reshape(20, 64), expected)
    assert found.dtype == (np.float64 if breaks else np.uint8)
    assert found.shape == ((20, 64) if breaks else (20, 8, 8))
    assert ("pictures of 8x8" in source.notices[0]) == (not breaks)


def square_table(path, width=64, low=0, high=256):
    """Write a table of 20 rows with integer features; return the features."""
    x = np.random.default_rng(3).integers(low, high, (20, width))
    write(path, "".join(f"{i % 2},{','.join(map(str, row))}\n" for i, row in enumerate(x.tolist())))
    return x


@pytest.mark.parametrize("width", [64, 81, 784])
def test_feature_type_numbers_square_of_bytes_stays_numbers(tmp_path, width):
    x = square_table(tmp_path / "t.csv", width)
    guessed = load_dataset(str(tmp_path / "t.csv"))
    assert guessed.x_train.dtype == np.uint8
    assert "(unless --feature-type numbers)" in guessed.notices[0]
    dataset = load_dataset(str(tmp_path / "t.csv"), feature_type="numbers")
    assert dataset.x_train.dtype == np.float64
    assert dataset.shape == (width,)
    assert "picture" not in dataset.notices[0]
    assert {*map(tuple, dataset.x_train)} <= {*map(tuple, x)}


@pytest.mark.parametrize("high", [2, 17, 128])
def test_feature_type_auto_small_whole_numbers_are_numbers(tmp_path, high):
    """Counts and answers to questions end far below 255, and divided by it they would hardly vary."""
    x = square_table(tmp_path / "t.csv", high=high)
    x[:2, 0] = [0, high - 1]
    dataset = load_dataset(str(tmp_path / "t.csv"), label="1")
    assert (dataset.x_train.dtype, dataset.shape) == (np.float64, (64,))
    assert "(--feature-type pixels takes them as pictures of 8x8)" in dataset.notices[0]
    pictures = load_dataset(str(tmp_path / "t.csv"), label="1", feature_type="pixels")
    assert (pictures.x_train.dtype, pictures.shape) == (np.uint8, (8, 8))


def test_feature_type_auto_dark_test_table_is_read_as_training(tmp_path):
    square_table(tmp_path / "train.csv")
    square_table(tmp_path / "test.csv", high=9)
    dataset = load_dataset(str(tmp_path), label="1")
    assert dataset.x_train.dtype == dataset.x_test.dtype == np.uint8
    square_table(tmp_path / "train.csv", high=9)
    square_table(tmp_path / "test.csv")
    dataset = load_dataset(str(tmp_path), label="1")
    assert dataset.x_train.dtype == dataset.x_test.dtype == np.float64


def test_load_dataset_npz_of_small_bytes_equals_floats(tmp_path):
    digits = load_digits()
    np.savez(tmp_path / "bytes.npz", x=digits.images.astype(np.uint8), y=digits.target)
    np.savez(tmp_path / "floats.npz", x=digits.images, y=digits.target)
    as_bytes, as_floats = (load_dataset(str(tmp_path / f"{name}.npz")) for name in ("bytes", "floats"))
    np.testing.assert_array_equal(as_bytes.x_train, as_floats.x_train)
    assert as_bytes.x_train.dtype == np.float64
    assert "the bytes end at 16" in as_bytes.notices[0]


def test_feature_type_pixels_few_features_become_picture(tmp_path):
    square_table(tmp_path / "t.csv", 36)
    assert load_dataset(str(tmp_path / "t.csv"), label="1").x_train.dtype == np.float64
    dataset = load_dataset(str(tmp_path / "t.csv"), label="1", feature_type="pixels")
    assert (dataset.x_train.dtype, dataset.shape) == (np.uint8, (6, 6))
    assert "picture" not in dataset.notices[0]


@pytest.mark.parametrize(("width", "high", "words"), [(65, 9, "65 feature columns"), (64, 999, "line ")])
def test_feature_type_pixels_other_numbers_raise_data_error(tmp_path, width, high, words):
    x = square_table(tmp_path / "t.csv", width, high=high)
    sentence = refusal(tmp_path / "t.csv", label="1", feature_type="pixels")
    assert words in sentence
    assert "--feature-type numbers" in sentence
    if width == 64:
        assert f"line {1 + int(np.argmax((x > 255).any(axis=1)))} holds" in sentence


@pytest.mark.parametrize("feature_type", ["pixels", "numbers"])
def test_feature_type_test_table_is_read_alike(tmp_path, feature_type):
    square_table(tmp_path / "train.csv")
    square_table(tmp_path / "test.csv")
    dataset = load_dataset(str(tmp_path), feature_type=feature_type)
    assert dataset.x_train.dtype == dataset.x_test.dtype == (np.uint8 if feature_type == "pixels" else np.float64)


def test_feature_type_without_table_raises_data_error(tmp_path):
    np.savez(tmp_path / "t.npz", x=np.eye(6), y=[0, 1] * 3)
    assert "--feature-type numbers is for tables; leave that out" in refusal(tmp_path / "t.npz", feature_type="numbers")


def test_read_table_whole_numbers_with_point_are_bytes(tmp_path):
    x = np.random.default_rng(3).integers(0, 256, (9, 64))
    text = "\n".join(f"{i % 2}," + ",".join(f"{v}.0" for v in row) for i, row in enumerate(x.tolist()))
    found, y, _ = all_rows(read(write(tmp_path / "t.csv", text), label="1"))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found.reshape(9, 64), x)
    assert y.dtype == np.int64


@pytest.mark.parametrize("flag", ["b", "B", "2", "-2"])
def test_read_table_label_option_selects_column(tmp_path, flag):
    path = write(tmp_path / "t.csv", "a,b,c\n1.5,0,2.5\n3.5,1,4.5\n5.5,1,6.5\n")
    x, y, _ = all_rows(read(path, label=flag))
    assert x.tolist() == [[1.5, 2.5], [3.5, 4.5], [5.5, 6.5]]
    assert y.tolist() == [0, 1, 1]


def test_read_table_label_last_selects_last_column(tmp_path):
    path = write(tmp_path / "t.csv", "0.5,1.5,0\n2.5,3.5,1\n")
    assert all_rows(read(path, label="last"))[1].tolist() == [0, 1]


def test_read_table_several_targets_keep_order_and_names(tmp_path):
    path = write(tmp_path / "t.csv", "a;price;b;size\n1;2,5;3;4\n5;6,5;7;8\n9;1,5;2;3\n")
    source = read(path, regression=True, label="size, price")
    x, y, _ = all_rows(source)
    assert source.target_names == ("size", "price")
    assert y.tolist() == [[4, 2.5], [8, 6.5], [3, 1.5]]
    assert x.tolist() == [[1, 3], [5, 7], [9, 2]]
    dataset = load_dataset(str(path), regression=True, label="price")
    assert dataset.target_names == ("price",)


def test_load_table_one_hot_columns_are_classes_by_name(tmp_path):
    path = write(tmp_path / "t.csv", "a,cat,dog\n" + "0.5,1,0\n1.5,0,1\n" * 5)
    dataset = load_dataset(str(path), label="cat,dog")
    assert dataset.class_names == ("cat", "dog")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (["1", "2.0", "3e0"], [1, 2, 3]),
        (["-1", "+1", "-1"], [-1, 1, -1]),
        (["007", "8", "9"], ["007", "8", "9"]),
        (["1", "2", "x"], ["1", "2", "x"]),
        (["æ", "ø", "😀"], ["æ", "ø", "😀"]),
    ],
)
def test_label_arrays_keep_integers_and_text(tmp_path, written, expected):
    text = "".join(f"{label},{i}.5\n" for i, label in enumerate(written))
    assert all_rows(read(write(tmp_path / "t.csv", "label,a\n" + text)))[1].tolist() == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("label,a\n1,2\n0,x\n1,3\n1,4\n", ("line 3", "column 2 ('a')", "'x'")),
        ("label,a\n1,2\n0,inf\n1,3\n1,4\n", ("line 3", "'inf'")),
        ("label,a\n1,2\n0,1e999\n1,3\n", ("line 3", "'1e999'")),
        ("label,a\n1,2\n0,1_0\n1,3\n1,5\n", ("line 3", "'1_0'")),
        ("label,a\n1,2\n\n0,3,4\n1,3\n", ("line 4", "3 fields", "expected 2")),
        ("label;a\n1;2\n1;1.234,56\n", ("line 3", "thousands", "1.234,56")),
        ('label,a\n1,2\n1,"1,234.5"\n', ("line 3", "thousands", "1,234.5")),
        ('label,a\n1,2\n1,"1,234"\n', ("line 3", "thousands", "1,234")),
        ("label;a\n1;2.5\n1;1,5\n", ("decimal mark", "line 3", "line 2")),
        ("label;a;b\n1;2.5;1,5\n", ("line 2",)),
        ("label,a\n", ("single line", "of text")),
        ("\n\n", ("blank",)),
        ("", ("empty",)),
        ("one\ntwo\nthree\n", ("not a table",)),
        ("<!DOCTYPE html><p>1,2\n1,2\n", ("web page",)),
        ('label,a\n1,2\n"1,2\n', ("line 3", "quote")),
        ('label,a\n1,2\n"1"x,2\n', ("line 3", "quotes")),
        ("label,a\n1,2\n1,\0\n", ("not text", "00")),
        ("label,a\n1,2\n", ("single row",)),
    ],
)
def test_load_table_invalid_text_raises_data_error_with_place(tmp_path, text, words):
    sentence = refusal(write(tmp_path / "t.csv", text))
    assert all(word in sentence for word in words), sentence


def test_read_table_columns_of_one_name_are_read(tmp_path):
    source = read(write(tmp_path / "t.csv", "a,a\n1,2\n3,4\n"), label="1")
    assert sorted([*source.x_train.ravel(), *source.x_test.ravel()]) == [2, 4]


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("lable", ("did you mean label",)),
        ("9", ("'9'", "1 to 3")),
        ("0", ("'0'",)),
        ("a,a", ("twice",)),
        ("a,b,label", ("no column as a feature",)),
        ("a,nothing", ("'nothing'",)),
    ],
)
def test_parse_label_option_unknown_column_raises_data_error(tmp_path, flag, words):
    sentence = refusal(write(tmp_path / "t.csv", "label,a,b\n1,2,3\n4,5,6\n"), label=flag, regression=True)
    assert all(word in sentence for word in words), sentence


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"label,a\n1,2\n" + b"7" * 3_000_000, "longer than"),
        (b"1," * 150_000 + b"1\n", "fields"),
        (b'label,a\n1,2\n1,"' + b"7" * 200_000 + b'"\n', "expected a finite number"),
        (b'label,a\n1,"' + (b"7" * 99 + b"\n") * 30_000, "quote"),
        (b"\x81\x8d\x8f\x90\n1,2", "not text"),
        (b"\xff\xfe1", "not text"),
        (bytes(range(256)) * 10, "not text"),
        (gzip.compress(b"label,a\n1,2\n3,4\n")[:-9], "damaged gzip"),
        (b"\x1f\x8bjunk", "damaged gzip"),
        (gzip.compress(b"label,a\n" + b"1,2\n" * 200_000), "unpacks to more"),
    ],
    ids=["line", "columns", "field", "quote", "bytes", "utf-16", "binary", "cut", "no gzip", "bomb"],
)
def test_load_table_oversized_or_binary_raises_data_error(tmp_path, monkeypatch, content, words):
    monkeypatch.setattr(text, "MIN_UNPACKED_LIMIT", 1000)
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        sentence = refusal(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert words in sentence
    assert peak < 80e6


def test_read_table_gzip_and_cp1252_give_labels(tmp_path):
    text = "måling;klasse\n" + "1,5;kødbolle\n2,5;pølse\n" * 3
    write(tmp_path / "æ ø 😀.csv", text, "cp1252")
    source = read(tmp_path / "æ ø 😀.csv")
    assert set(source.y_train) | set(source.y_test) == {"kødbolle", "pølse"}
    assert "cp1252" in source.notices[0]
    (tmp_path / "packed").write_bytes(gzip.compress(text.encode()))
    dataset = load_dataset(str(tmp_path / "packed"))
    assert dataset.class_names == ("kødbolle", "pølse")


def test_read_table_sep_line_and_empty_rows_are_skipped(tmp_path):
    path = write(tmp_path / "t.csv", 'sep=;\r\nlabel;a\r\n1;0,5\r\n0;1,5\r\n;\r\n"2";"2,5"\r\n;\r\n')
    x, y, lines = all_rows(read(path))
    assert x.tolist() == [[0.5], [1.5], [2.5]]
    assert y.tolist() == [1, 0, 2]
    assert lines.tolist() == [3, 4, 6]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("header", [None, ["a", "b", "animal"]])
@pytest.mark.parametrize("ending", ["{s}", "{s} ", "{s}{s}{s}"])
def test_read_table_trailing_delimiters_are_no_columns(tmp_path, separator, header, ending):
    """Each line ends with a separator, or a spreadsheet has written columns that are empty now."""
    end = ending.format(s=separator) + "\n"
    x, y, lines = all_rows(read(write(tmp_path / "a.csv", table_text(ROWS, separator, header=header, end=end))))
    np.testing.assert_array_equal(x, [row[:2] for row in ROWS])
    assert list(y) == [row[2] for row in ROWS]
    assert lines[0] == 1 + bool(header)


def test_read_table_line_of_separators_is_skipped_with_trailing_delimiters(tmp_path):
    x, _, lines = all_rows(read(write(tmp_path / "a.csv", "a;b;label;\n1;2;1;\n;;;\n3;4;0; \n ; ;;\n5;6;1;\n")))
    assert x.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert lines.tolist() == [2, 4, 6]


def test_read_csv_last_column_with_name_or_value_is_kept(tmp_path):
    named = table_text(ROWS, header=["a", "b", "animal", "c"], end=",\n").replace("c,", "c")
    assert read_csv(write(tmp_path / "named.csv", named)).names == ("a", "b", "animal", "c")
    late = write(tmp_path / "late.csv", table_text(ROWS * 30, end=",\n") + "1,2,dog,3\n")
    assert "late.csv, line 151 has 4 fields, expected 3 as elsewhere; correct the line" in refusal(late)
    early = write(tmp_path / "early.csv", table_text(ROWS[:1], end=",1\n") + table_text(ROWS[1:], end=",\n"))
    assert read_csv(early).column(3).to_list() == [1, None, None, None, None]


def test_read_table_quoted_label_keeps_separator_quote_and_line_break(tmp_path):
    path = write(tmp_path / "t.csv", 'name,a\n"Smith, J.",1\n"say ""hi""",2\n"two\nlines",3\nx,4\n')
    table = read_csv(path)
    assert table.column(0).to_list() == ["Smith, J.", 'say "hi"', "two\nlines", "x"]
    assert table.locate_row(3) == f"{path}, line 6"


def test_read_table_numbered_header_of_pandas_is_header(tmp_path):
    assert read_csv(write(tmp_path / "t.csv", "0,1,2,3\n1,5,5,5\n0,6,6,7\n")).names == ("0", "1", "2", "3")


def test_read_tables_columns_are_matched_by_name(tmp_path):
    write(tmp_path / "my_train.csv", "label,a,b\ncat,1,2.5\ndog,3,4.5\n")
    write(tmp_path / "my_test.csv", "b;more;label;a\n6,5;9;dog;5\n")
    dataset = load_dataset(str(tmp_path))
    assert dataset.x_train.tolist() == [[1, 2.5], [3, 4.5]]
    assert dataset.x_test.tolist() == [[5, 6.5]]
    assert dataset.class_names == ("cat", "dog")
    assert dataset.y_test.tolist() == [1]
    assert list(dataset.sha256) == ["my_train.csv", "my_test.csv"]
    assert any("more" in line for line in dataset.notices)
    write(tmp_path / "my_test.csv", "a,label,b\n1,dog,2\n1,cow,2\n")
    assert "my_test.csv, line 3" in refusal(tmp_path)


def test_read_tables_missing_column_raises_data_error(tmp_path):
    write(tmp_path / "train.csv", "label,a,b\n0,1,2\n1,3,4\n")
    write(tmp_path / "test.csv", "label,a\n1,2\n")
    assert "lacks the columns b" in refusal(tmp_path)


def test_read_tables_labels_of_both_are_integers_or_text(tmp_path):
    write(tmp_path / "train.csv", "label,a\n1,1\n2,3\n")
    write(tmp_path / "test.csv", "label,a\n1.0,1\nx,3\n")
    assert "x" in refusal(tmp_path)
    write(tmp_path / "test.csv", "label,a\n1.0,1\n2,3\n")
    assert load_dataset(str(tmp_path)).y_test.tolist() == [0, 1]


def test_select_tables_two_without_train_and_test_raise_data_error(tmp_path):
    write(tmp_path / "a.csv", "label,a\n1,1.5\n2,3.5\n1,5.5\n")
    (tmp_path / ".DS_Store").write_bytes(b"junk")
    assert load_dataset(str(tmp_path)).name == "a"
    write(tmp_path / "b.csv", "label,a\n1,1\n2,3\n")
    assert "a.csv, b.csv" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "workbook"),
        (b"\x93NUMPY\1\0", "a single NumPy array"),
        (b"PAR1", "Parquet"),
        (b"\x80\4\x95", "never opened"),
        (b"\x89PNG\r\n\x1a\n", "picture"),
        (b"\0\0\x08\x01\0\0\0\1\0", "IDX"),
    ],
)
def test_load_dataset_other_format_raises_data_error_that_names_it(tmp_path, start, words):
    path = tmp_path / "t.csv"
    path.write_bytes(start)
    assert words in refusal(path)


def test_load_dataset_npz_named_csv_is_read_and_refuses_label(tmp_path):
    np.savez(tmp_path / "t.npz", x=np.eye(6), y=[0, 1] * 3)
    path = (tmp_path / "t.npz").rename(tmp_path / "t.csv")
    assert load_dataset(str(path)).x_train.shape == (5, 6)
    assert "--label" in refusal(path, label="y")


def test_load_dataset_misspelt_path_proposes_nearest(tmp_path):
    write(tmp_path / "letters.csv", "label,a\n1,2\n")
    assert f"did you mean {tmp_path / 'letters.csv'}" in refusal(tmp_path / "leters.csv")
    (tmp_path / "above" / "mine").mkdir(parents=True)
    write(tmp_path / "above" / "mine" / "letters.csv", "label,a\n1,2\n")
    assert f"mine in it does; use --data {tmp_path / 'above' / 'mine'}" in refusal(tmp_path / "above")


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | st.text(alphabet='01,;."\n\r\tax -', max_size=80).map(str.encode), st.booleans())
def test_load_dataset_any_bytes_raise_only_data_error(tmp_path, content, regression):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with contextlib.suppress(DataError):
        assert np.isfinite(load_dataset(str(path), regression=regression).x_train).all()


def test_read_table_largest_floats_are_kept(tmp_path):
    path = write(tmp_path / "t.csv", "k,0\nk,-1.7e308\nk,1.7e308\nk,-1.7e308\n")
    assert read_csv(path).column(1).to_list() == [0, -1.7e308, 1.7e308, -1.7e308]


# Found by fuzzing (docs/fuzzing.md): NUL once separated the cells of a row internally, and UTF-16 text is not checked
# byte by byte.
@pytest.mark.parametrize("character", ["\0", "\x1b", "\x08"])
def test_read_lines_control_character_in_utf_16_raises_data_error(tmp_path, character):
    text = "y,a,b\n" + "1,0.5,2\n0,0.25,3\n" * 4 + f"1,0.7{character}5,4\n"
    sentence = refusal(write(tmp_path / "t.csv", text, "utf-16"))
    assert f"line 10 holds the character {ord(character):02x}" in sentence


def test_read_tables_fractional_label_in_test_raises_data_error_with_line(tmp_path):
    write(tmp_path / "train.csv", "y,a\n" + "1,2\n0,3\n" * 4)
    write(tmp_path / "test.csv", "y,a\n1,2\n0,3\n.1,2\n")
    assert f"{tmp_path / 'test.csv'}, line 4: " in refusal(tmp_path)


def test_read_network_table_text_among_numbers_has_a_remedy_without_training(tmp_path):
    rows = [f"{i % 2},{i}.5,{i % 7}" for i in range(40)]
    encoding = load_dataset(write(tmp_path / "t.csv", "\n".join(["label,a,b", *rows]))).encoding
    spec = InputSpec((2,), is_bytes=False, class_names=("0", "1"), feature_names=("a", "b"), encoding=encoding)
    broken = write(tmp_path / "new.csv", "\n".join(["label,a,b", *rows, "1,x,2"]))
    with pytest.raises(DataError, match=r"'x', expected a finite number; correct it or empty it$"):
        load_dataset(broken, spec=spec)
