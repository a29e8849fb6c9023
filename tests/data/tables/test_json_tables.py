import gzip
import json

import pytest

from lagvis.errors import DataError
from tests.data.tables.table_files import read, sample

pd = pytest.importorskip("pandas")


def refusal(path, text):
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        read(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_read_json_records_with_other_keys_equal_pandas(tmp_path):
    path = tmp_path / "t.json"
    path.write_text('[{"a": 1, "b": "x"}, {"c": true}, {"b": null, "a": 2.5, "c": false}]')
    expected = pd.read_json(path, orient="records")
    table = read(path)
    assert table.names == tuple(expected.columns)
    assert table.frame.rows() == [(1.0, "x", None), (None, None, True), (2.5, None, False)]


def test_read_ndjson_types_that_change_after_many_rows_are_read(tmp_path):
    records = [{"a": i, "b": i} for i in range(3000)] + [{"a": 0.5, "b": "NA", "late": 1}]
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(map(json.dumps, records)) + "\n\n")
    table = read(path)
    assert table.names == ("a", "b", "late")
    assert table.frame.row(-1) == (0.5, None, 1)
    assert table.column(1).null_count() == 1
    assert table.column(2).null_count() == 3000


@pytest.mark.parametrize(
    "content", ['[{"a": NaN, "b": 1}, {"a": 2, "b": 3}]', '{"a": NaN, "b": 1}\n{"a": 2, "b": 3}\n']
)
def test_read_json_nan_is_missing(tmp_path, content):
    (tmp_path / "t").write_text(content)
    assert read(tmp_path / "t").frame.rows() == [(None, 1), (2.0, 3)]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("code", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("lines", [False, True])
def test_read_json_any_encoding_gives_same_table(tmp_path, packed, code, lines):
    content = sample().to_json(orient="records", lines=lines, force_ascii=False).encode(code)
    (tmp_path / "t").write_bytes(gzip.compress(content) if packed else content)
    assert (
        read(tmp_path / "t").column(2).to_list()
        == sample()["colour"].astype(object).where(sample()["colour"].notna(), None).tolist()
    )


def test_read_json_nested_values_are_unreadable(tmp_path):
    for content in ('[{"a": 1, "in": {"x": 1}, "l": [1]}, {"a": 2}]', '{"a": 1, "in": {"x": 1}, "l": [1]}\n{"a": 2}\n'):
        (tmp_path / "t").write_text(content)
        table = read(tmp_path / "t")
        assert {*table.unreadable} == {1, 2}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[{"a": 1, "b": 2}, 3]', "row 2 is 3; expected a list of objects"),
        ("[[1, 2], [3, 4]]", r"row 1 is \[1, 2\]; expected a list of objects"),
        ('{"a": [1, 2], "b": [1]}', "'a' has 2 values and 'b' 1"),
        ('{"columns": ["a"],\n "data": 3}', "'data' holds 3; expected a list of objects"),
        ('{"a": {"0": 1}, "b": {"0": 2}}', "'a' holds .*; expected a list of objects"),
        (
            '{"columns": ["a", "b"], "index": [0], "data": [[1, 2]]}',
            "'columns' has 2 values and 'data' 1, which are no",
        ),
        ('[{"a": 1, "b": 2}', "not valid JSON"),
        ('{"a": 1, "b": 2}\n{"a": 1,, "b": 2}\n', "line 2 is not valid JSON"),
        ('{"a": 1, "b": 2}\n[1, 2]\n', "row 2 is"),
        ("[]", "no columns"),
        ("[" * 100_000, "nested too deeply"),
        ('[{"a": 1e999, "b": 2}]', "is inf; expected a finite number"),
        ('{"a": 1e999, "b": 2}\n{"a": 1, "b": 2}\n', "is inf; expected a finite number"),
    ],
)
def test_read_json_other_values_raise_data_error(tmp_path, text, words):
    import re

    assert re.search(words, refusal(tmp_path / "t.json", text))


def test_read_ndjson_with_very_long_lines_is_read(tmp_path):
    record = {f"column {i}": i for i in range(9000)}
    (tmp_path / "t.ndjson").write_text("\n".join([json.dumps(record)] * 3))
    assert read(tmp_path / "t.ndjson").frame.shape == (3, 9000)


def test_read_ndjson_line_after_an_escaped_quote_is_named(tmp_path):
    lines = ['{"size": "5\\" pipe", "n": 1}', '{"size": "6\\" pipe", "n": 2}', '{"size": broken}']
    assert "line 3 is not valid JSON" in refusal(tmp_path / "t.jsonl", "\n".join(lines))


@pytest.mark.parametrize(("value", "what"), [({"a": 1}, "records"), ([1], "lists"), ([], "lists"), ({}, "records")])
def test_read_json_nested_values_are_named(tmp_path, value, what):
    path = tmp_path / "t.json"
    path.write_text(json.dumps([{"x": value, "v": i, "y": "a"} for i in range(3)]))
    assert read(path).unreadable == {0: what}
