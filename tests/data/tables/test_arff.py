import datetime

import numpy as np
import pytest
from scipy.io import arff

from lagvis.data.datasets import load_dataset
from lagvis.errors import DataError
from tests.data.tables.table_files import read

IRIS = """% 1. Title
@RELATION iris
@ATTRIBUTE sepallength REAL
@ATTRIBUTE petalwidth  NUMERIC
@ATTRIBUTE class {Iris-setosa,Iris-versicolor}
@ATTRIBUTE note {a,'bc'}

@DATA
5.1,0.2,Iris-setosa,a
% a remark
4.9,?,Iris-setosa,bc
7.0,1.4,Iris-versicolor,?
6.4,1e-3,Iris-versicolor,a
"""


def written(tmp_path, *attributes, rows):
    path = tmp_path / "t.arff"
    path.write_text(
        "@relation t\n" + "".join(f"@attribute {a}\n" for a in attributes) + "@data\n" + "\n".join(rows) + "\n"
    )
    return path


def test_read_arff_equals_scipy(tmp_path):
    path = tmp_path / "iris.arff"
    path.write_text(IRIS)
    expected, meta = arff.loadarff(path)
    table = read(path)
    assert table.names == tuple(meta.names())
    for c, name in enumerate(meta.names()):
        if meta[name][0] == "numeric":
            assert np.array_equal(table.column(c).to_numpy(), expected[name], equal_nan=True)
        else:
            assert [cell or "?" for cell in table.column(c).to_list()] == [cell.decode() for cell in expected[name]]
    assert [table.row_location(row) for row in range(4)] == ["line 9", "line 11", "line 12", "line 13"]


def test_load_dataset_arff_class_is_label_by_name_else_last(tmp_path):
    (tmp_path / "iris.arff").write_text(IRIS)
    assert load_dataset(str(tmp_path / "iris.arff")).class_names == ("Iris-setosa", "Iris-versicolor")
    path = written(tmp_path, "a real", "b real", "play {yes,no}", rows=["1,2,yes", "2,3,no"] * 4)
    assert load_dataset(str(path)).class_names == ("no", "yes")


def test_read_arff_quotes_escapes_and_weights_are_read(tmp_path):
    rows = [r"'it\'s, ok',1,{0.5}", '"a % b"\t 2', "plain , 3"]
    path = written(tmp_path, "'the text' string", '"a number" integer', rows=rows)
    table = read(path)
    assert table.names == ("the text", "a number")
    assert table.frame.rows() == [("it's, ok", 1), ("a % b", 2), ("plain", 3)]
    assert table.notices == ("t.arff: the weights of the rows are not used.",)


def test_read_arff_sparse_rows_have_zero_or_first_level(tmp_path):
    path = written(tmp_path, "a numeric", "b {x,'y z'}", "c numeric", rows=["{0 1.5, 1 'y z'}", "{}", "{2 ?}, {2}"])
    assert read(path).frame.rows() == [(1.5, "y z", 0), (0, "x", 0), (0, "x", None)]


def test_read_arff_dates_are_read_by_their_format(tmp_path):
    attributes = ['a date "dd/MM/yyyy HH:mm"', "b date", "c date 'yyyy-MM-dd'"]
    path = written(tmp_path, *attributes, rows=["'01/02/2024 08:30',2024-02-01T08:30:15,2024-02-03", "?,?,?"])
    first, missing = read(path).frame.rows()
    assert first == (
        datetime.datetime(2024, 2, 1, 8, 30),
        datetime.datetime(2024, 2, 1, 8, 30, 15),
        datetime.datetime(2024, 2, 3),
    )
    assert missing == (None, None, None)


def test_read_arff_levels_that_are_numbers_stay_text(tmp_path):
    path = written(tmp_path, "a {1,2}", "b real", rows=["1,0.5", "2,1.5"])
    assert read(path).kind(0) == "text"


@pytest.mark.parametrize(
    ("attributes", "rows", "words"),
    [
        (["a real", "b {x}"], ["1,x", "2,z"], "line 6: 'b' is 'z', which is not a declared level"),
        (["a real", "b {x}"], ["y,x"], "line 5: 'a' is 'y'; expected a number"),
        (["a real", "b {x}"], ["1,x,2"], "line 5 has 3 cells, expected 2"),
        (["a real", "b string"], ["1,'x"], "line 5: quotes that are not closed"),
        (["a real", "b real"], ["{2 1}"], "line 5 holds '2 1'; expected the index of an attribute, from 0 to 1"),
        (["a real", "b real"], ["{1 1"], "line 5 is '{1 1'; expected {index value, ...}"),
        (["a real", "b relational"], ["1,2"], "line 3: the attribute 'b' is of type 'relational'"),
        (["a real", "b {x"], ["1,x"], "line 3: the levels of 'b' have no closing bracket"),
        (["a real", "b date yyyy"], ["1,x"], "line 5: 'b' is 'x'; expected a date of the declared format"),
        (["a \x85", "b real"], ["1,2"], "line 2: the attribute 'a' is of type ''"),
        (["a"], ["1"], "line 2 is '@attribute a'; expected @attribute NAME TYPE"),
        (["a real", "b real"], [], "no rows"),
        (["a real", "b real"], ["1,inf"], "is inf; expected a finite number"),
    ],
)
def test_read_arff_faulty_line_raises_data_error(tmp_path, attributes, rows, words):
    path = written(tmp_path, *attributes, rows=rows)
    with pytest.raises(DataError) as caught:
        read(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "text", ["@relation x\n", "@relation x\n@data\n1,2\n", "@relation x\n@attribute a real\nfoo\n"]
)
def test_read_arff_incomplete_header_raises_data_error(tmp_path, text):
    (tmp_path / "t.arff").write_text(text)
    with pytest.raises(DataError, match=r"@data|@attribute"):
        read(tmp_path / "t.arff")


def test_read_arff_single_quotes_within_cells_leave_lines_apart(tmp_path):
    path = written(tmp_path, "a numeric", "size string", "b numeric", rows=["1,'5\" pipe',2", "2,'6\" pipe',3"])
    assert read(path).frame.rows() == [(1, '5" pipe', 2), (2, '6" pipe', 3)]
