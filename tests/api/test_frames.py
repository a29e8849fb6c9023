"""Data frames in the library: as a data set, to predict, and to evaluate on."""

import json

import numpy as np
import pytest
from sklearn.datasets import load_iris

import lagvis as lv
from lagvis.cli import predict
from lagvis.errors import DataError, UsageError

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
SETTINGS = {"hidden": 8, "epochs": 4, "batch_size": 20, "lr": 0.1, "device": "cpu"}


def passengers(rows=120):
    """Return a frame of categories, numbers with missing cells, and a label of true and false."""
    rng = np.random.default_rng(0)
    sex, age = rng.choice(["man", "woman"], rows), rng.integers(1, 80, rows).astype(float)
    age[5] = np.nan
    return pd.DataFrame({"sex": sex, "age": age, "survived": sex == "woman"})


@pytest.fixture(scope="module")
def model():
    return lv.train(lv.Dataset.from_frame(passengers(), "survived"), **SETTINGS).model


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_predict_frame_equals_prediction_of_its_features(model, library):
    frame = passengers()
    data = lv.Dataset.from_frame(frame, "survived")
    expected = model.predict(data.x_train)
    given = frame[["age", "sex"]].assign(ticket="A1")
    found = model.predict(given if library == "pandas" else pl.from_pandas(given))
    assert found.dtype == np.bool_
    np.testing.assert_array_equal(found, expected)
    assert (found == frame.survived).mean() > 0.9
    np.testing.assert_array_equal(model.predict_proba(given), model.predict_proba(data.x_train))


def test_predict_frame_without_columns_names_them_all(model):
    with pytest.raises(
        DataError, match=r"^X lacks 2 columns that the network needs, 'sex', 'age'; it has the columns "
    ):
        model.predict(passengers()[["survived"]])


def test_check_frame_reports_what_training_did_not_have(model):
    frame = passengers().drop(columns="survived")
    assert model.check(frame) == []
    (warning,) = model.check(frame.assign(sex=["dog", *frame.sex[1:]]))
    assert warning.check == "unseen_levels"
    assert warning.message.startswith("X holds values that no training row has, in 'sex' (dog: 1 row)")
    with pytest.raises(DataError, match=r"bring it to that scale, or check_ranges=False takes the values"):
        model.check(frame.assign(age=frame.age * 365))
    with pytest.raises(DataError, match="network learned from real numbers from 2 to 79"):
        model.predict(frame.assign(age=frame.age * 365))
    assert len(model.predict(frame.assign(age=frame.age * 365), check_ranges=False)) == 120


def test_check_array_values_out_of_range_are_reported(model):
    rows = lv.Dataset.from_frame(passengers(), "survived").x_train
    assert model.check(rows) == []
    rows[3, model.checkpoint.model.feature_names.index("age")] = 4000.0
    assert [warning.check for warning in model.check(rows)] == ["outside_range"]


def test_evaluate_frame_takes_the_label_of_its_name(model):
    frame = passengers()
    metrics = model.evaluate(frame)
    assert metrics.accuracy == (model.predict(frame) == frame.survived).mean()
    assert model.evaluate(frame.drop(columns="survived"), frame.survived).loss == pytest.approx(metrics.loss)
    with pytest.raises(
        DataError, match="expected 3 with the label survived: add it, or predict rows without labels wi"
    ):
        model.evaluate(frame.drop(columns="survived"))
    with pytest.raises(UsageError, match="y is missing"):
        model.evaluate(frame.to_numpy())


def test_load_dataset_frame_is_from_frame():
    data = lv.load_dataset(passengers(), label="survived", drop="age")
    assert (data.feature_names, len(data.x_test)) == (("sex=man", "sex=woman"), 24)
    with pytest.raises(UsageError, match="load_dataset has no option 'sheet'"):
        lv.load_dataset(passengers(), label="survived", sheet="1")


def test_messages_of_the_library_name_arguments():
    frame = passengers().rename(columns={"sex": "class"})
    with pytest.raises(DataError, match=r'name it with label="class" \(2 classes\) or label="survived" \(2 classes\)'):
        lv.Dataset.from_frame(frame)
    with pytest.raises(
        DataError, match=r'name the label column with label=\.\.\., or predict .* with targets="numbers"'
    ):
        lv.Dataset.from_frame(frame.assign(age=np.linspace(0, 1, 120)), "age")
    notices = lv.Dataset.from_frame(frame.assign(n=["1"] * 120), "survived", drop="class").notices
    assert "(category=... keeps text)" in notices[1]


def test_from_arrays_frame_of_numbers_keeps_the_names():
    x, y = load_iris(return_X_y=True, as_frame=True)
    other = x[x.columns[::-1]]
    data = lv.Dataset.from_arrays(x, y, X_test=pl.from_pandas(other), y_test=y)
    np.testing.assert_array_equal(data.x_train, x)
    np.testing.assert_array_equal(data.x_test, x)
    assert data.feature_names == tuple(x.columns)
    model = lv.train(data, **SETTINGS).model
    np.testing.assert_array_equal(model.predict(other), model.predict(x.to_numpy()))


def test_from_arrays_frame_of_other_cells_raises_data_error():
    frame = passengers()
    with pytest.raises(
        DataError, match=r"^X has other cells than numbers, or missing ones, in 'sex', 'age'; Dataset.from_f"
    ):
        lv.Dataset.from_arrays(frame[["sex", "age"]], frame.survived)


def test_predict_frame_equals_command_on_the_same_table(model, tmp_path, capsys):
    frame = passengers().drop(columns="survived")
    frame.to_csv(tmp_path / "rows.csv", index=False)
    model.save(tmp_path / "model.safetensors")
    assert predict.main([str(tmp_path / "model.safetensors"), str(tmp_path / "rows.csv"), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["predictions"]
    assert [row["answer"] == "true" for row in rows] == model.predict(frame).tolist()
    assert (lv.load(tmp_path / "model.safetensors").predict(frame) == model.predict(frame)).all()


def test_predict_frame_without_rows_returns_no_rows(model):
    assert model.predict(passengers()[:0]).shape == (0,)
    assert model.check(passengers()[:0]) == []
