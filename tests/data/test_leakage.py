import dataclasses

import numpy as np
import pytest
from sklearn import datasets as sklearn_datasets

from lagvis.data.dataset import Dataset
from lagvis.data.leakage import check_leaking_features


def make_dataset(x, y, classes=True):
    names = tuple(map(str, range(int(y.max()) + 1))) if classes else ()
    targets = () if classes else ("price",)
    y = y.astype(np.uint8) if classes else y.reshape(-1, 1).astype(np.float64)
    return Dataset("d", x, y, x[:0], y[:0], x.shape[1:], names, targets, "", {}, ())


def leaks(y, rng):
    noise = rng.normal(size=len(y))
    return {
        "copy": y,
        "negated": -3.0 * y,
        "scaled": 1e9 + 1e-3 * y,
        "with noise": y + 0.05 * noise,
        "other codes": np.array([5, -2, 9, 0, 7, 3, 1, 8, 6, 4])[y],
    }


@pytest.mark.parametrize("kind", ["copy", "negated", "scaled", "with noise", "other codes"])
@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("rows", [400, 20_000])
def test_check_leaking_features_copies_of_the_label_are_named(kind, classes, rows):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(rows, 6)), rng.integers(0, classes, rows)
    x[:, 4] = leaks(y, rng)[kind]
    (warning,) = check_leaking_features(make_dataset(x, y))
    assert warning.check == "leaking_feature"
    assert warning.message.startswith("Feature 5 alone predicts the label of 100.0% of the rows")
    assert [(f["feature"], f["accuracy"]) for f in warning.figures["features"]] == [(5, 1.0)]


@pytest.mark.parametrize("rows", [60, 300, 3000])
def test_check_leaking_features_thresholds_between_classes_are_named(rows):
    """Rows sorted by their label, with a time that runs on: it separates the classes, wherever the halves are cut."""
    rng = np.random.default_rng(12)
    x, y = rng.normal(size=(rows, 4)), np.repeat([2, 0, 1], rows // 3)
    x[:, 1] = np.sort(rng.random(rows))
    (warning,) = check_leaking_features(make_dataset(x, y))
    assert [(f["feature"], f["accuracy"]) for f in warning.figures["features"]] == [(2, 1.0)]


@pytest.mark.parametrize("inverted", [False, True])
def test_check_leaking_features_one_hot_columns_are_named(inverted):
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(400, 8)), rng.integers(0, 4, 400)
    x[:, 2:6] = np.eye(4)[y] != inverted
    (warning,) = check_leaking_features(make_dataset(x, y))
    assert warning.message.startswith("Feature 3, feature 4, feature 5, feature 6 together are the label")
    x[:, 3] = rng.integers(0, 2, 400)  # three of four columns still tell all classes
    assert len(check_leaking_features(make_dataset(x, y))) == 1
    x[:, 4] = rng.integers(0, 2, 400)
    assert check_leaking_features(make_dataset(x, y)) == []


def test_check_leaking_features_a_pixel_that_is_the_label_is_named():
    rng = np.random.default_rng(3)
    x, y = rng.integers(0, 256, (3000, 784), dtype=np.uint8), rng.integers(0, 10, 3000)
    assert check_leaking_features(make_dataset(x, y)) == []
    x[:, 783] = 20 * y
    (warning,) = check_leaking_features(make_dataset(x, y))
    assert [feature["feature"] for feature in warning.figures["features"]] == [784]


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "digits"])
def test_check_leaking_features_real_data_give_no_warning(name):
    data = getattr(sklearn_datasets, f"load_{name}")()
    assert check_leaking_features(make_dataset(data.data, data.target)) == []


def test_check_leaking_features_identity_without_relation_gives_no_warning():
    """A feature with as many values as rows predicts the label perfectly on the rows that a rule was fitted to."""
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(1000, 3)), rng.integers(0, 2, 1000)
    x[:, 0] = rng.permutation(1000)
    assert check_leaking_features(make_dataset(x, y)) == []


@pytest.mark.parametrize("rare", [0.01, 0.05])
def test_check_leaking_features_uneven_classes_of_noise_give_no_warning(rare):
    rng = np.random.default_rng(6)
    y = (rng.random(5000) < rare).astype(int)
    assert check_leaking_features(make_dataset(rng.normal(size=(5000, 30)), y)) == []


def test_check_leaking_features_only_feature_gives_no_warning():
    y = np.arange(200) % 2
    assert check_leaking_features(make_dataset(np.stack([y, 0 * y], axis=1).astype(float), y)) == []


@pytest.mark.parametrize("kind", ["copy", "negated", "exponential", "with noise", "ranks", "few values"])
@pytest.mark.parametrize("rows", [200, 20_000])
def test_check_leaking_features_functions_of_the_target_are_named(kind, rows):
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(rows, 5)), rng.normal(size=rows)
    y = np.round(y) if kind == "few values" else y
    x[:, 3] = {
        "copy": y, "negated": -7 * y, "exponential": np.exp(3 * y), "with noise": y + 0.003 * rng.normal(size=rows),
        "ranks": y.argsort().argsort(), "few values": 2 * y,
    }[kind]  # fmt: skip
    (warning,) = check_leaking_features(make_dataset(x, y, classes=False))
    assert warning.message.startswith("Feature 4 alone predicts target price (R²")
    assert warning.figures["target"] == "price"


@pytest.mark.parametrize("name", ["diabetes", "linnerud", "related"])
def test_check_leaking_features_real_targets_give_no_warning(name):
    if name == "related":
        rng = np.random.default_rng(8)
        x = rng.normal(size=(2000, 3))
        y = x[:, 0] + 0.1 * rng.normal(size=2000)  # correlation 0.995
    else:
        x, y = getattr(sklearn_datasets, f"load_{name}")(return_X_y=True)
        y = y.reshape(len(x), -1)[:, 0]
    assert check_leaking_features(make_dataset(x, y, classes=False)) == []


def test_check_leaking_features_long_name_is_cut_within_its_quotes():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(400, 2)), rng.integers(0, 2, 400)
    x[:, 1] = y
    names = ("a", "average_temperature_in_degrees_over_the_last_thirty_days")
    dataset = dataclasses.replace(make_dataset(x, y), feature_names=names, feature_columns=(1, 2))
    (warning,) = check_leaking_features(dataset)
    assert warning.message.startswith("Column 2 ('average_temperature_in_d...') alone predicts the label")


def test_check_leaking_features_of_several_targets_are_named_with_their_target():
    rng = np.random.default_rng(13)
    x, y = rng.normal(size=(500, 6)), rng.normal(size=(500, 3))
    y[:, 0] = 4.0
    x[:, 2], x[:, 5] = y[:, 2], np.exp(y[:, 1])
    dataset = dataclasses.replace(make_dataset(x, y[:, 0], classes=False), y_train=y, target_names=("a", "b", "c"))
    warnings = check_leaking_features(dataset)
    found = [(warning.figures["target"], warning.figures["features"][0]["feature"]) for warning in warnings]
    assert found == [("b", 6), ("c", 3)]


@pytest.mark.filterwarnings("error")
def test_check_leaking_features_largest_numbers_do_not_overflow():
    most = np.finfo(np.float64).max
    y = np.arange(200) % 2
    x = np.column_stack([np.where(y, most, -most), np.random.default_rng(0).uniform(-1, 1, 200) * most])
    assert len(check_leaking_features(make_dataset(x, y))) == 1
    assert len(check_leaking_features(make_dataset(x, x[:, 0], classes=False))) == 1
