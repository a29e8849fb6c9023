import numpy as np

from lagvis.data.checks import check_classes, check_constant_features, check_constant_targets, check_dataset
from lagvis.data.dataset import Dataset, as_regression
from lagvis.data.datasets import load_dataset
from lagvis.data.feature_ranges import FeatureRanges
from lagvis.data.source import Source


def make_dataset(x, y, y_test=()):
    x_test = np.resize(x, (len(y_test), *x.shape[1:]))
    names = ("a", "b", "c")
    return Dataset("d", x, np.array(y), x_test, np.array(y_test, int), x.shape[1:], names, (), "", {}, ())


def ranges_of(x):
    return FeatureRanges.of(x, np.arange(len(x)), x.shape[1:])


def test_check_dataset_shipped_data_give_no_warning():
    for dataset in (load_dataset("mnist"), load_dataset("jump", regression=True)):
        assert check_dataset(dataset, ranges_of(dataset.x_train)) == []


def test_check_classes_rare_and_uneven_classes_are_named():
    y = [0] * 60 + [1] * 30 + [2] * 4
    warnings = {w.check: w for w in check_classes(make_dataset(np.zeros((94, 2)), y, [0, 1]))}
    assert list(warnings) == ["few_rows", "classes_without_test_rows", "few_test_rows", "uneven_classes"]
    assert warnings["few_rows"].message == "Fewer than 10 training rows: c."
    assert warnings["few_rows"].figures == {"training_rows": {"c": 4}}
    assert warnings["classes_without_test_rows"].figures == {"classes": ["c"]}
    assert warnings["few_test_rows"].figures == {"test_rows": {"a": 1, "b": 1}}
    assert warnings["few_test_rows"].message == "Fewer than 5 test rows: a, b. They are too few to judge them by."
    assert warnings["uneven_classes"].figures == {"largest": "a", "smallest": "c", "share_of_largest": 60 / 94}
    assert "63.8% of the training rows are a, 4 are c." in warnings["uneven_classes"].message


def test_check_classes_one_row_is_in_the_singular():
    *_, warning = check_classes(make_dataset(np.zeros((90, 2)), [0] * 60 + [1] * 29 + [2], [0, 1, 2] * 5))
    assert "66.7% of the training rows are a, 1 is c." in warning.message


def test_check_constant_targets_one_value_is_named():
    x, y = np.random.default_rng(0).normal(0, 1, (60, 2)), np.full((60, 2), 7.0)
    source = Source("made", x, y, x, y, {}, target_names=("height", "price"))
    (warning,) = check_constant_targets(as_regression(source))
    assert warning.check == "constant_targets"
    assert "training rows, with nothing to learn: height, price." in warning.message
    y[3, 0] = 8
    assert check_constant_targets(as_regression(source))[0].figures == {"targets": ["price"]}
    assert check_constant_targets(make_dataset(x, [0, 1] * 30, [0, 1] * 30)) == []


def test_check_constant_features_without_any_variation_warns():
    x = np.full((3000, 3), 0.1)
    (warning,) = check_constant_features(ranges_of(x))
    assert warning.check == "constant_features"
    x[2999, 1] = 0.2
    assert check_constant_features(ranges_of(x)) == []
