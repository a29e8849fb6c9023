import json

import pytest

from benchmarks import public_tables
from benchmarks.public_tables import (
    FAULT,
    REFUSED,
    TRAINED,
    choose_label,
    compare_reading,
    outcome_kind,
    read_with_pandas,
)

pd = pytest.importorskip("pandas")

ROWS = "".join(f'"{i}",{i % 7},{i % 3}.5,"{"yes" if i % 2 else "no"}"\n' for i in range(1, 41))
TABLE = '"","a","b","c"\n' + ROWS


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (["yes", "no"] * 20, (2, False)),
        ([1, 2, 3, 4] * 10, (2, False)),
        (list(range(40)), (2, True)),
        ([0.5, 1.5] * 20, (2, True)),
        (["01", "02", "03", "04"] * 10, (2, False)),
        (["same"] * 40, (1, False)),
        (["2026-11-27", "2026-11-28"] * 20, (1, False)),
        ([f"name {i}" for i in range(40)], (1, False)),
    ],
)
def test_choose_label_takes_the_last_column_that_can_be_one(last, expected):
    frame = pd.DataFrame({"Unnamed: 0": range(40), "a": [1, 2] * 20, "b": last})
    assert choose_label(frame.astype(str)) == expected


@pytest.mark.parametrize(
    ("code", "stderr", "expected"),
    [
        (0, ["epoch 1/1"], TRAINED),
        (3, ["error: t.csv has one row"], REFUSED),
        (2, ["train.py: error: --label x"], REFUSED),
        (1, ["error: unexpected KeyError"], FAULT),
        (3, ["Traceback (most recent call last):", "error: x"], FAULT),
        (None, [], FAULT),
        (-11, [], FAULT),
    ],
)
def test_outcome_kind_takes_only_sentences_of_usage_and_data_for_refusals(code, stderr, expected):
    assert outcome_kind({"exit": code, "stderr": stderr, "said": stderr[-1] if stderr else ""}) == expected


def test_compare_reading_equal_tables_have_no_difference(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(TABLE + '"41",NA,1.5,""\n')
    assert compare_reading(path, read_with_pandas(path)) == []


def test_compare_reading_names_what_differs(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(TABLE)
    differences = compare_reading(path, read_with_pandas(path).iloc[1:])
    assert differences == ["rows and columns differ from pandas: column 1: 40 and 39"]


@pytest.mark.slow
def test_public_tables_prints_the_outcomes_of_a_folder(tmp_path):
    (tmp_path / "good.csv").write_text(TABLE)
    (tmp_path / "short.csv").write_text('"","a","b"\n"1",1,2\n')
    written = []
    output = tmp_path / "outcomes.json"
    assert public_tables.main(["--folder", str(tmp_path), "--output", str(output)], written.append) == 0
    text = "\n".join(written)
    assert "2 tables; 1 have a feature and 4 rows beside the row numbers." in text
    assert "| trained | 1 | 1 |" in text
    assert "| short.csv | 1 x 2 | b | refused: " in text.replace(f"{tmp_path.name}/", "")
    good, short = json.loads(output.read_text())["outcomes"]
    assert (good["label"], good["rows"], good["columns"], good["with_label"]["exit"]) == ("c", 40, 3, 0)
    assert short["with_label"]["exit"] == 3
