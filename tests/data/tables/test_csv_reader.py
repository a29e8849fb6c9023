"""Tables as text: what every cell becomes, beside the readers of polars and pandas."""

import gzip
import io
from unicodedata import normalize

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lagvis.data.datasets import load_dataset
from lagvis.data.tables import csv_reader
from lagvis.data.tables.csv_reader import read_csv
from lagvis.data.tables.dialect import MISSING_VALUES
from lagvis.data.tables.hints import TableHints
from lagvis.errors import DataError

pandas = pytest.importorskip("pandas")
polars = pytest.importorskip("polars")


def table(tmp_path, content, encoding="utf-8", label="", **hints):
    """Return a table read from text or bytes."""
    path = tmp_path / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return read_csv(path, label, TableHints(**hints))


def sentence_of(tmp_path, content, **options):
    """Return the sentence with which a table is refused."""

    def read_and_check():
        found = table(tmp_path, content, **options)
        for c in range(len(found.names)):
            found.check_column(c)

    with pytest.raises(DataError) as caught:
        read_and_check()
    sentence = str(caught.value)
    assert sentence.startswith(str(tmp_path / "t.csv")), sentence
    return sentence


def types(found):
    return [str(dtype) for dtype in found.frame.dtypes]


@pytest.mark.parametrize("missing", sorted(MISSING_VALUES))
@pytest.mark.parametrize("case", [str.lower, str.upper, str.title, lambda text: f' "{text}"'])
def test_read_csv_missing_cells_are_null(tmp_path, missing, case):
    cell = case(missing)
    found = table(tmp_path, f"a,b,c\n1,2.5,x\n{cell},{cell},{cell}\n3,{cell},z\n4,5,w\n{cell},6,x\n")
    rows = [[1, 3, 4, None], [2.5, None, 5, 6], ["x", "z", "w", "x"]]
    if missing:
        rows = [[1, None, 3, 4, None], [2.5, None, None, 5, 6], ["x", None, "z", "w", "x"]]
    assert [found.column(c).to_list() for c in range(3)] == rows
    assert types(found) == ["Int64", "Float64", "String"]


@pytest.mark.parametrize("sign", [".", "-"])
def test_read_csv_dash_and_point_are_missing_among_numbers_only(tmp_path, sign):
    found = table(tmp_path, f"a,b\n1,x\n{sign},{sign}\n3,y\n")
    assert found.frame.rows() == [(1, "x"), (None, sign), (3, "y")]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_read_csv_missing_last_cell_is_null_and_short_row_is_not(tmp_path, end):
    found = table(tmp_path, end.join(["a,b,c", "1,2,3", "4,5,", "", "6,7,", "8,9,1", ""]))
    assert found.frame.rows() == [(1, 2, 3), (4, 5, None), (6, 7, None), (8, 9, 1)]
    assert found.locate_row(2).endswith("line 5")
    sentence = sentence_of(tmp_path, end.join(["a,b,c", "1,2,3", "4,5,", "", "6,7", "8,9,1", ""]))
    assert "line 5 has 2 fields, expected 3 as elsewhere; correct the line" in sentence


@pytest.mark.parametrize("quoted", ["x", '"x"', '"x,y"', '"two\nlines"'])
def test_read_csv_short_row_among_quotes_raises_data_error(tmp_path, quoted):
    text = "a,b,c\n" + f"1,{quoted},3\n" * 5 + f"4,{quoted}\n" + f"1,{quoted},3\n"
    line = 7 + 5 * quoted.count("\n")
    assert f"line {line} has 2 fields, expected 3" in sentence_of(tmp_path, text)


def test_read_csv_last_line_cut_off_is_said(tmp_path):
    sentence = sentence_of(tmp_path, "a,b,c\n1,2,3\n4,5,6\n7,8")
    assert "line 4 has 2 fields, expected 3 as elsewhere; it is the last line, and the file may be cut off" in sentence


@pytest.mark.parametrize("late", [False, True])
def test_read_csv_types_by_all_rows(tmp_path, late):
    """What the first rows show may be wrong: 200 rows of small whole numbers come before the others."""
    columns = [
        (["1", "0.5"], [1, 0.5], "Float64"),
        (["9007199254740993", "-9007199254740992"], [9007199254740993, -9007199254740992], "Int64"),
        (["99999999999999999999", "1"], [1e20, 1], "Float64"),
        (["007", "8"], ["007", "8"], "String"),
        (["+5", "-6"], [5, -6], "Int64"),
        (["1e3", ".5"], [1000, 0.5], "Float64"),
        (["x", "y"], ["x", "y"], "String"),
    ]
    for cells, expected, dtype in columns:
        before = [str(i % 9) if dtype != "String" or cells[0] == "007" else "z" for i in range(200 * late)]
        found = table(tmp_path, "a,b\n" + "".join(f"{cell},1\n" for cell in before + cells))
        assert found.column(0).to_list()[200 * late :] == expected, cells
        assert types(found) == [dtype, "Int64"]


@pytest.mark.parametrize("flag", ["code", "CODE", "1", "x,code"])
def test_read_csv_text_columns_stay_as_written(tmp_path, flag):
    found = table(tmp_path, "code,b\n1.0,1\n 2,2\n1e3,3\nNA,4\n", text=[flag])
    assert found.column(0).to_list() == ["1.0", "2", "1e3", None]


def test_read_csv_text_has_no_blanks_and_is_composed(tmp_path):
    written = ["får", normalize("NFD", "får"), "får ", " får", '"får\u00a0"', '"\tfår"', '" får\u2003"']
    found = table(tmp_path, "a,b\n" + "".join(f"{i},{word}\n" for i, word in enumerate(written)))
    assert set(found.column(1).to_list()) == {"får"}


def test_read_csv_true_and_false_are_boolean(tmp_path):
    found = table(tmp_path, "a,b,c\nTRUE,True,1\nFALSE,NA,2\nTRUE,false,3\n")
    assert found.frame.rows() == [(True, True, 1), (False, None, 2), (True, False, 3)]
    assert [found.kind(c) for c in range(3)] == ["boolean", "boolean", "number"]


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (["1", "2", "x", "3"], "line 4, column 2 ('a b') is 'x', expected a finite number"),
        (["1", "-", "x", "y", "3", "4"], "line 4, column 2 ('a b') is 'x', expected a finite number"),
        (["1", "inf", "2"], "line 3, column 2 ('a b') is 'inf', expected a finite number"),
        (["1", "2", "-Infinity"], "line 4, column 2 ('a b') is '-Infinity', expected a finite number"),
        (["1", "1e999", "2"], "line 3, column 2 ('a b') is '1e999', expected a finite number"),
        (["1", '"1,234"', "2"], "line 3, column 2 ('a b') is '1,234', with a mark for thousands"),
        (["1", '"1,234,567.5"', "2"], "line 3, column 2 ('a b') is '1,234,567.5', with a mark for thousands"),
        (["1", "12'345", "2"], "line 3, column 2 ('a b') is \"12'345\", with a mark for thousands"),
        (["1", "1\u202f234", "2"], "with a mark for thousands"),
        (["1", "1_000", "2", "3"], "line 3, column 2 ('a b') is '1_000', expected a finite number"),
        (["1", "0x10", "2", "3"], "line 3, column 2 ('a b') is '0x10', expected a finite number"),
    ],
)
def test_check_column_text_among_numbers_raises_data_error_with_remedy(tmp_path, cells, words):
    text = "label,a b\n" + "".join(f"{i % 2},{cell}\n" for i, cell in enumerate(cells))
    sentence = sentence_of(tmp_path, text)
    assert words in sentence
    assert sentence.endswith("or take the column as text with --category 'a b'")
    assert table(tmp_path, text, text=["a b"]).column(1).dtype == polars.String
    with pytest.raises(DataError, match="--category 'a b'"):
        load_dataset(str(tmp_path / "t.csv"))


@pytest.mark.parametrize("state", ["a", "1"])
def test_find_label_text_among_numbers_is_no_label(tmp_path, state):
    """A column of numbers with a mistake is not the only column of text."""
    rows = [f"{i}.5,{i % 7},{state}\n" for i in range(40)]
    rows[20] = '"2,500.5",3,b\n'
    (tmp_path / "t.csv").write_text("u,v,state\n" + "".join(rows))
    with pytest.raises(DataError, match=r"line 22, column 1 \('u'\) is '2,500\.5', with a mark for thousands"):
        load_dataset(str(tmp_path / "t.csv"))


@pytest.mark.parametrize(("texts", "is_text"), [(5, False), (6, True), (60, True)])
def test_check_column_many_texts_among_numbers_make_text(tmp_path, texts, is_text):
    cells = [f"PC {i}" for i in range(texts)] + [str(i) for i in range(40)]
    found = table(tmp_path, "a,b\n" + "".join(f"1,{cell}\n" for cell in cells))
    assert found.column(1).to_list() == cells
    assert (found.strays == {}) == is_text


@pytest.mark.parametrize("row", [0, 3, 149])
@pytest.mark.parametrize("with_text", [False, True])
def test_read_csv_repeated_header_raises_data_error_with_line(tmp_path, row, with_text):
    names = "time,a,state" if with_text else "time,a,b"
    rows = [f"{i},{i / 2},{'xyz'[i % 3] if with_text else i}" for i in range(150)]
    rows.insert(row + 1, names)
    sentence = sentence_of(tmp_path, "\n".join([names, *rows]))
    assert f"line {row + 3} holds the names of the columns among numbers" in sentence
    assert "remove the line" in sentence


@pytest.mark.parametrize("units", ["s,mV,mV,", "s,mV,mV,1", "[s],[mV],,"])
def test_read_csv_units_below_header_raise_data_error_with_line(tmp_path, units):
    rows = "".join(f"{i},{i}.5,{2 * i},{'ab'[i % 2]}\n" for i in range(9))
    sentence = sentence_of(tmp_path, f"time,u,v,state\n{units}\n{rows}")
    assert "line 2 holds " in sentence
    assert "above numbers, as a line of units" in sentence


REMARKS = [
    "# Logger 7\n# started 27-11-2026 10:15\n\n",
    "|1x3 Cross validator\n",
    "Report of the week\n\n\n",
    "% a, b\n%\n",
    "\n\n\n",
    "// made by hand, twice, on a Monday\n",
]


@pytest.mark.parametrize("remarks", REMARKS)
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("header", ["time,a,b\n", ""])
def test_read_csv_remarks_above_header_are_skipped_and_said(tmp_path, remarks, separator, header):
    if remarks.startswith("//") and not header and separator == ",":
        pytest.skip("three names behind a comment sign are a header")
    body = (header + "1,2,3\n4,5,6\n7,8,9\n").replace(",", separator)
    found = table(tmp_path, remarks + body)
    assert found.frame.rows() == [(1, 2, 3), (4, 5, 6), (7, 8, 9)]
    assert found.has_header == bool(header)
    assert ("skipped as remark" in found.description) == bool(remarks.strip())
    assert found.locate_row(0).endswith(f"line {remarks.count(chr(10)) + 1 + bool(header)}")


def test_read_csv_header_of_numpy_savetxt_has_names(tmp_path):
    x = np.arange(6.0).reshape(3, 2)
    for delimiter in (" ", ",", ";", "\t"):
        np.savetxt(tmp_path / "t.csv", x, delimiter=delimiter, header=delimiter.join("ab"))
        found = read_csv(tmp_path / "t.csv")
        assert (found.names, found.frame.rows()) == (("a", "b"), [(0, 1), (2, 3), (4, 5)])


@pytest.mark.parametrize("name", ["#", "# of rooms", "% fat", "#id"])
def test_read_csv_name_with_number_sign_is_kept(tmp_path, name):
    found = table(tmp_path, f"{name},a\n1,2\n3,4\n")
    assert (found.names, found.frame.height) == ((name, "a"), 2)


@pytest.mark.parametrize("rows", ["a,p\na,q\nb,q\nb,p\n", "a,p\n" * 5])
def test_read_csv_table_of_text_alone_is_read(tmp_path, rows):
    found = table(tmp_path, "shape,odour\n" + rows)
    assert (found.names, found.frame.height) == (("shape", "odour"), rows.count("\n"))
    assert not table(tmp_path, rows).has_header


@pytest.mark.parametrize("separator", [";", "\t", "|", " "])
def test_read_csv_two_decimal_marks_raise_data_error_with_both_lines(tmp_path, separator):
    for lines, words in ((["1,5;2", "2.5;3"], "comma in line 2 and a point in line 3"), (["1.5;2,5"], "line 2")):
        text = "\n".join(["a;b", *lines, ""]).replace(";", separator)
        assert words in sentence_of(tmp_path, text)
    late = "a;b\n" + "1,5;2\n" * 200 + "2;1.234\n"
    assert "comma in line 2 and a point in line 202" in sentence_of(tmp_path, late.replace(";", separator))


def test_read_csv_point_in_text_beside_decimal_comma_is_no_decimal_mark(tmp_path):
    found = table(tmp_path, "a;b\n1,5;v1.2\n2,5;v.3\n")
    assert found.frame.rows() == [(1.5, "v1.2"), (2.5, "v.3")]


@pytest.mark.parametrize(
    "text",
    [
        '"a", "b c", "d"\n1, "x, y", 2.5\n3, "z", 4.5\n',
        'a , b c , d\n 1 ,"x, y", 2.5\n3 , z , 4.5 \n',
        'a;b c;d;\n1;"x, y";2,5;\n;;;\n3;z;4,5;\n',
        'a\tb c\td\r"1"\t"x, y"\t2.5\r\r3\tz\t"4.5"\r',
        'a  "b c" d\n1   "x, y"  2.5\n3 z    4.5\n',
        "sep=|\na|b c|d\n1|x, y|2.5\n3|z|4.5\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gzip"])
def test_read_csv_unusual_dialects_give_same_cells(tmp_path, text, encoding):
    content = gzip.compress(text.encode()) if encoding == "gzip" else text.encode(encoding)
    found = table(tmp_path, content)
    assert found.names == ("a", "b c", "d")
    assert found.frame.rows() == [(1, "x, y", 2.5), (3, "z", 4.5)]


def test_read_csv_cp1252_text_is_decoded(tmp_path):
    found = table(tmp_path, "sted;a\nÅrhus;1,5\nKøge;2,5\n", "cp1252")
    assert found.frame.rows() == [("Århus", 1.5), ("Køge", 2.5)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('a,b\n1,x\n2,"y\n3,z\n', "line 3: a quote is opened and never closed"),
        ('a,b\n1,x\n"2"0,y\n3,z\n', "line 3 cannot be read"),
        ("a,b\n1,x\n2,y\n3,z,4\n", "line 4 has 3 fields, expected 2 as elsewhere"),
        ("a,b\n" + "1,x\n" * 300 + "2," + "y" * 2_200_000 + "\n", "line 302 is longer than"),
    ],
    ids=["open", "within", "long row", "long line"],
)
def test_read_csv_broken_lines_raise_data_error_with_line(tmp_path, text, words):
    assert words in sentence_of(tmp_path, text)


@pytest.mark.parametrize("mark", ['5" pipe', '5"', 'a "b', "5 x 3 4 5 6"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_read_csv_quotes_and_numbers_within_text_are_text(tmp_path, mark, separator, place):
    names = ["n", "x"]
    rows = [[str(i), str(i % 7)] for i in range(60)]
    names.insert(place, "text")
    for i, row in enumerate(rows):
        row.insert(place, f"{mark} {i % 5}" if i % 3 else "other")
    found = table(tmp_path, "".join(separator.join(row) + "\n" for row in [names, *rows]))
    assert found.names == tuple(names)
    assert [list(map(str, row)) for row in found.frame.rows()] == rows


@pytest.mark.parametrize("separator", [";", "\t", "|"])
@pytest.mark.parametrize("with_header", [True, False])
def test_read_csv_one_column_with_decimal_commas_does_not_make_the_comma_the_separator(
    tmp_path, separator, with_header
):
    header, rows = ["litter", "mother", "weight"], [["AB"[i % 2], "AIJ"[i % 3], f"{i},5"] for i in range(60)]
    found = table(tmp_path, "".join(separator.join(row) + "\n" for row in [header] * with_header + rows))
    assert found.has_header == with_header
    assert found.frame.rows() == [("AB"[i % 2], "AIJ"[i % 3], i + 0.5) for i in range(60)]


cell_text = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=8)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.none() | st.integers(-(2**62), 2**62),
            st.none() | st.floats(allow_nan=False, allow_infinity=False),
            st.none() | st.integers(0, 300),
            cell_text,
        ),
        min_size=1,
        max_size=150,
    ),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(["NA", "", "?", "NaN"]),
)
def test_read_csv_tables_of_pandas_equal_their_cells(tmp_path, rows, separator, missing):
    """Integers beyond 2^53 are exact, numbers equal Python's, missing cells and texts are those that were written."""
    buffer = io.StringIO()
    names = ["whole", "number", "code", "text of any kind"]
    cells = [["1", "0.5", "7", "text"], *([missing if cell is None else str(cell) for cell in row] for row in rows)]
    pandas.DataFrame(cells, columns=names, dtype=object).to_csv(buffer, sep=separator, index=False)
    found = table(tmp_path, buffer.getvalue(), text=["text of any kind"])
    expected = [(1, 0.5, 7, "text")]
    for row in rows:
        text = normalize("NFC", "".join(row[3]).strip())
        expected.append((*row[:3], None if text.lower() in MISSING_VALUES else text))
    with_text = [any(cell is not None for cell in row[:3]) or "".join(row[3]).strip() for row in rows]
    expected = [row for row, kept in zip(expected, [True, *with_text], strict=True) if missing or kept]
    assert found.names == tuple(names)
    assert found.frame.rows() == expected


def numbers_table(rows=400, seed=0):
    """Return a table of numbers and texts, with missing cells, as polars columns."""
    rng = np.random.default_rng(seed)
    missing = rng.random((rows, 4)) < 0.1
    frame = polars.DataFrame(
        {
            "a": rng.normal(size=rows),
            "b": rng.integers(-(10**6), 10**6, rows),
            "c": rng.choice(["red", "green", "light, blue", 'say "x"'], rows),
            "d": rng.normal(size=rows).round(3) * 1e6,
        }
    )
    return frame.with_columns(
        [polars.when(polars.lit(~missing[:, c])).then(polars.col(name)) for c, name in enumerate(frame.columns)]
    )


@pytest.mark.parametrize("null", ["", "NA", "?"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_read_csv_equals_polars_and_pandas(tmp_path, null, separator):
    path = tmp_path / "t.csv"
    numbers_table().write_csv(path, null_value=null, separator=separator)
    found = read_csv(path)
    by_polars = polars.read_csv(path, null_values=null or None, separator=separator, infer_schema_length=None)
    by_pandas = pandas.read_csv(path, na_values=["?"], sep=separator)
    assert found.names == tuple(by_polars.columns) == tuple(by_pandas.columns)
    assert found.frame.rows() == by_polars.rows()
    assert found.frame.height == len(by_pandas)
    for c, name in enumerate(found.names):
        assert found.column(c).null_count() == by_pandas[name].isna().sum()


def test_read_csv_typed_as_text_and_by_line_give_same_cells(tmp_path, monkeypatch):
    path = tmp_path / "t.csv"
    numbers_table().write_csv(path, null_value="NA")
    expected = read_csv(path)
    with monkeypatch.context() as patch:
        patch.setattr(csv_reader, "sample_type", lambda dialect, c: polars.String())
        as_text = read_csv(path)
    with monkeypatch.context() as patch:
        patch.setattr(csv_reader, "parse_with_polars", lambda content, dialect, schema: None)
        by_line = read_csv(path)
    for found in (as_text, by_line):
        assert found.frame.equals(expected.frame)
