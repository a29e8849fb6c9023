"""Weights of rows, as readers find them: a column of a table, an array."""

import numpy as np
import pytest

from lagvis.cli.data import main as data_main
from lagvis.data.dataset import Dataset
from lagvis.data.datasets import load_dataset
from lagvis.errors import DataError
from lagvis.training.plan import make_plan
from tests.factories import quick

ROWS = 40
RNG = np.random.default_rng(1)
X = RNG.normal(size=(ROWS, 2)).round(3)
W = RNG.uniform(0.1, 20.0, ROWS).round(2)
Y = np.arange(ROWS) % 2


def lines(weights, *, header=True, with_weights=True) -> list[str]:
    """Return the lines of a table: a, weight, b and the label kind."""
    named = ["a,weight,b,kind"] if header else []
    rows = [f"{a},{w},{b},{'cat' if y else 'dog'}" for (a, b), w, y in zip(X, weights, Y, strict=True)]
    if with_weights:
        return named + rows
    return [",".join(word for i, word in enumerate(line.split(",")) if i != 1) for line in named + rows]


def write(path, content) -> str:
    path.write_text("\n".join(content) + "\n")
    return str(path)


def error_message(path, **options) -> str:
    with pytest.raises(DataError) as caught:
        load_dataset(path, **options)
    return str(caught.value)


def weights_by_row(dataset: Dataset) -> dict[float, float]:
    """Return the weight of each training row by its first feature."""
    assert dataset.w_train is not None
    return dict(zip(dataset.x_train[:, 0].tolist(), dataset.w_train.tolist(), strict=True))


EXPECTED = dict(zip(X[:, 0].tolist(), W.tolist(), strict=True))


@pytest.mark.parametrize(("column", "header"), [("weight", True), ("WEIGHT", True), ("2", True), ("2", False)])
def test_load_dataset_weight_column_is_no_feature(tmp_path, column, header):
    dataset = load_dataset(write(tmp_path / "t.csv", lines(W, header=header)), weight_column=column)
    assert dataset.x_train.shape == (32, 2)
    assert weights_by_row(dataset).items() <= EXPECTED.items()
    assert dataset.weights_name == ("column 2 ('weight')" if header else "column 2")


def test_load_dataset_weight_column_follows_rows_without_a_label(tmp_path):
    content = lines(W)
    content[5] = content[5].rsplit(",", 1)[0] + ","
    content[9] = content[9].rsplit(",", 1)[0] + ","
    content[9] = content[9].replace(f",{W[8]},", ",,")  # its missing weight is not asked for
    assert weights_by_row(load_dataset(write(tmp_path / "t.csv", content), weight_column="weight")).items() <= (
        EXPECTED.items()
    )


@pytest.mark.parametrize("with_weights", [True, False])
def test_load_dataset_test_table_need_not_have_the_weight_column(tmp_path, with_weights):
    folder = tmp_path / "tables"
    folder.mkdir()
    write(folder / "train.csv", lines(W))
    write(folder / "test.csv", lines(W * -1, with_weights=with_weights))
    dataset = load_dataset(str(folder), weight_column="weight")
    assert weights_by_row(dataset) == EXPECTED
    assert dataset.x_test.shape == (40, 2)


def test_load_dataset_weight_column_of_parquet(tmp_path):
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({"a": X[:, 0], "weight": W.astype(np.float32), "kind": [str(y) for y in Y]})
    frame.write_parquet(tmp_path / "t.parquet")
    dataset = load_dataset(str(tmp_path / "t.parquet"), label="kind", weight_column="weight")
    expected = dict(zip(X[:, 0].tolist(), W.astype(np.float32).tolist(), strict=True))
    assert weights_by_row(dataset).items() <= expected.items()


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("", "line 4: its weight (column 2 ('weight')) is missing or not a number; expected a finite number from 0"),
        ("-1", "line 4: its weight (column 2 ('weight')) is -1; expected a finite number from 0"),
        ("much", "line 4, column 2 ('weight') is 'much', expected a finite number; correct it"),
        ("inf", "line 4, column 2 ('weight') is 'inf', expected a finite number; correct it"),
    ],
)
def test_load_dataset_invalid_weight_names_its_line(tmp_path, cell, expected):
    content = lines(W)
    content[3] = content[3].replace(f",{W[2]},", f",{cell},")
    assert expected in error_message(write(tmp_path / "t.csv", content), weight_column="weight")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"weight_column": "wait"}, "has no column 'wait' for --weight-column"),
        ({"weight_column": "a,weight"}, "--weight-column a,weight names 2 columns; name one"),
        ({"weight_column": "weight", "drop": ("weight",)}, "is in --drop and in --weight-column"),
        ({"weight_column": "weight", "features": ("a", "weight")}, "is in --features and in --weight-column"),
        ({"weight_column": "weight", "label": "weight"}, "is the label and in --weight-column"),
        ({"weight_column": "color"}, "is the column of weights and holds text; expected numbers from 0"),
    ],
    ids=str,
)
def test_load_dataset_weight_column_conflict_raises(tmp_path, options, expected):
    content = [f"{line},{'color' if i == 0 else ('red', 'blue', 'green')[i % 3]}" for i, line in enumerate(lines(W))]
    path = write(tmp_path / "t.csv", content)
    assert expected in error_message(path, **{"label": "kind"} | options)


def test_load_dataset_weights_that_are_all_0_raise(tmp_path):
    message = error_message(write(tmp_path / "t.csv", lines(W * 0)), weight_column="weight")
    assert "the weights of all training rows are 0 (column 2 ('weight')), so there is nothing to learn from" in message


def test_load_dataset_weight_column_for_arrays_raises(tmp_path):
    np.savez(tmp_path / "a.npz", x=X, y=Y)
    assert "--weight-column w is for tables" in error_message(str(tmp_path / "a.npz"), weight_column="w")


@pytest.mark.parametrize("names", [("x", "y", "w"), ("X", "y", "sample_weight")])
def test_load_dataset_weights_of_npz_are_split_with_its_rows(tmp_path, names):
    np.savez(tmp_path / "a.npz", **dict(zip(names, (X, Y, W), strict=True)))
    dataset = load_dataset(str(tmp_path / "a.npz"))
    assert len(dataset.w_train) == 32
    assert weights_by_row(dataset).items() <= EXPECTED.items()


@pytest.mark.parametrize("test_weights", [{}, {"w_test": W[:5]}])
@pytest.mark.parametrize("kind", ["npz", "npy"])
def test_load_dataset_w_train_of_arrays(tmp_path, kind, test_weights):
    arrays = {"x_train": X, "y_train": Y, "x_test": X[:5], "y_test": Y[:5], "w_train": W, **test_weights}
    path = tmp_path / "arrays"
    if kind == "npz":
        path = tmp_path / "a.npz"
        np.savez(path, **arrays)
    else:
        path.mkdir()
        for name, array in arrays.items():
            np.save(path / f"{name}.npy", array)
    dataset = load_dataset(str(path))
    np.testing.assert_array_equal(dataset.w_train, W)
    assert dataset.weights_name == "w_train"


@pytest.mark.parametrize(
    ("w", "expected"),
    [
        (W[:-1], "(w_train) are float64 of shape (39,); expected 40 numbers, shape (40,)"),
        (W[:, None], "(w_train) are float64 of shape (40, 1)"),
        (W.astype(str), "(w_train) are <U32 of shape (40,)"),
        (np.where(Y, W, np.nan), "a.npz: training row 1: its weight (w_train) is missing or not a number"),
        (np.where(Y, W, np.inf), "a.npz: training row 1: its weight (w_train) is inf"),
        (-W, "a.npz: training row 1: its weight (w_train) is -"),
        (W * 0, "the weights of all training rows are 0 (w_train)"),
    ],
    ids=["rows", "shape", "text", "nan", "infinity", "negative", "zero"],
)
def test_load_dataset_invalid_w_train_raises(tmp_path, w, expected):
    np.savez(tmp_path / "a.npz", x_train=X, y_train=Y, x_test=X, y_test=Y, w_train=w)
    assert expected in error_message(str(tmp_path / "a.npz"))


def test_load_dataset_w_of_another_length_than_x_raises(tmp_path):
    np.savez(tmp_path / "a.npz", x=X, y=Y, w=W[:32])  # as many as there are training rows
    assert "holds weights of shape (32,); expected one for each row, (40,)" in error_message(str(tmp_path / "a.npz"))


def test_load_dataset_rows_of_weight_0_do_not_decide_about_columns(tmp_path):
    rare = np.arange(ROWS) < 4
    levels, w = np.where(rare, "rare", "common"), np.where(rare, 0, W)
    rows = [f"{a},{weight},{level},{y}" for (a, _), weight, level, y in zip(X, w, levels, Y, strict=True)]
    path = write(tmp_path / "t.csv", ["a,weight,level,kind", *rows])
    found = load_dataset(path, label="kind", weight_column="weight").encoding
    assert found.column_names == ("a",), "level is one text in all rows that are learned from"
    assert load_dataset(path, label="kind").encoding.column_names == ("a", "weight", "level")


def test_make_plan_rows_of_weight_0_are_in_no_part_and_said(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=X, y_train=Y, x_test=X, y_test=Y, w_train=np.where(np.arange(ROWS) < 8, 0, W))
    dataset = load_dataset(str(tmp_path / "a.npz"))
    plan = make_plan(quick(validation=6), dataset, strict_validation=True)
    assert sorted([*plan.training_rows, *plan.validation_rows]) == list(range(8, 40))
    assert len(plan.validation_rows) == 6
    assert any("8 rows of weight 0 are neither learned from nor held out for validation" in n for n in plan.notices)


def test_data_command_describes_weights(tmp_path, capsys):
    path = write(tmp_path / "t.csv", lines(W))
    assert data_main([path, "--weight-column", "weight"]) == 0
    output = capsys.readouterr().out
    assert "of column 2 ('weight')" in output
    assert "weighs the rows (`weight_column`)" in output
