"""Arguments of the library that are of another type or value than expected, and arrays of every kind."""

import pickle

import numpy as np
import pytest

import lagvis as lv
from lagvis.errors import DeviceError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
Y = (X[:, 0] > 0).astype(int)


@pytest.fixture(scope="module")
def model():
    return lv.train(lv.Dataset.from_arrays(X, Y), hidden=3, epochs=1, device="cpu").model


@pytest.mark.parametrize("value", [None, "", 3, 0.5, [X], X, b"run", "a\0b", "\ud800"])
def test_path_that_is_none_raises_an_error_of_lagvis(model, value):
    for function in (lv.load, lv.load_dataset, lv.train, model.save, model.export):
        with pytest.raises(lv.LagvisError):
            function(value)


def test_array_where_a_name_is_expected_raises_an_error_of_lagvis(model):
    with pytest.raises(lv.LagvisError, match="targets is array"):
        lv.Dataset.from_arrays(X, Y, targets=Y)
    with pytest.raises(lv.LagvisError, match="name is of the type int; expected text"):
        lv.Dataset.from_arrays(X, Y, name=3)
    with pytest.raises(lv.LagvisError, match=r"activation is \["):
        lv.train(lv.Dataset.from_arrays(X, Y), activation=np.array(["relu", "tanh"]))
    with pytest.raises(lv.LagvisError, match="a network is exported as one of"):
        model.export("network", ["onnx"])


def test_backend_threads_and_stop_of_another_type_raise_an_error_of_lagvis():
    data = lv.Dataset.from_arrays(X, Y)
    for wrong in ({"backend": ["numpy"]}, {"threads": 10**400}, {"stop": None}):
        with pytest.raises(lv.LagvisError):
            next(lv.fit(data, **wrong))
    with pytest.raises(lv.LagvisError, match="backends is of the type int"):
        lv.compare(data, backends=3)


def test_names_in_an_array_are_those_of_the_list():
    names = ["a", "b", "c"]
    for given in (np.array(names), np.array(names, dtype=object), iter(names)):
        assert lv.Dataset.from_arrays(X, Y, feature_names=given).feature_names == ("a", "b", "c")
    assert lv.Dataset.from_arrays(X, Y, feature_names=None, target_names=None).feature_names == ()
    for wrong in (3, X, [None] * 3):
        with pytest.raises(lv.LagvisError, match=r"feature_names is of the type .*; expected a list of names"):
            lv.Dataset.from_arrays(X, Y, feature_names=wrong)


def test_frame_columns_of_any_type_are_taken_or_refused():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(np.c_[X, Y], columns=["a", "b", "c", "y"])
    for columns in (frame.columns[1:3], np.array(["b", "c"]), pandas.Series(["b", "c"])):
        assert lv.Dataset.from_frame(frame, "y", drop=columns).feature_names == ("a",)
    for wrong in (0.5, X, np.array(1.0), object()):
        with pytest.raises(lv.LagvisError, match="which names no column"):
            lv.Dataset.from_frame(frame, "y", drop=wrong)


def test_text_of_any_length_is_classes():
    if not hasattr(np.dtypes, "StringDType"):
        pytest.skip("needs NumPy 2")
    y = np.array(["low", "high"])[Y].astype(np.dtypes.StringDType())
    assert lv.Dataset.from_arrays(X, y).class_names == ("high", "low")


def test_torch_tensors_of_other_kinds_are_taken_or_refused(model):
    torch = pytest.importorskip("torch")
    x = torch.tensor(X).bfloat16()
    found = model.predict_proba(x)
    assert found.dtype == torch.float32
    np.testing.assert_array_equal(found, model.predict_proba(x.float().numpy()))
    for wrong, sentence in ((x.to_sparse(), "X is a sparse tensor"), (x.to("meta"), "'meta', which has no values")):
        with pytest.raises(lv.LagvisError, match=sentence):
            model.predict(wrong)


def test_check_of_no_rows_finds_nothing(model):
    assert model.check(X[:0]) == []


def test_data_set_keeps_its_rows_when_the_arrays_are_changed():
    x, x_test = X.copy(), X.copy()
    data = lv.Dataset.from_arrays(x, Y, X_test=x_test, y_test=Y)
    x[:], x_test[:] = 0, 0
    np.testing.assert_array_equal(data.x_train, X)
    np.testing.assert_array_equal(data.x_test, X)


@pytest.mark.parametrize(
    "classes", [[-(2**63), 2**63 - 1], [-(2**62), 5], [2**63, 2**64 - 1], ["9" * 20, "1"], ["007", "8"]]
)
def test_predict_returns_whole_numbers_of_every_size(classes):
    labels = np.array(classes)
    data = lv.Dataset.from_arrays(X, labels[Y])
    model = lv.train(data, hidden=3, epochs=30, lr=0.05, batch_size=20, validation=0, device="cpu").model
    found = model.predict(X)
    assert found.dtype == labels.dtype
    assert (found == labels[Y]).mean() > 0.9


def test_predict_numbers_for_float16_rows_holds_numbers_beyond_its_range():
    targets = 1e6 * X[:, 0]
    data = lv.Dataset.from_arrays(X.astype(np.float16), targets)
    model = lv.train(data, hidden=3, epochs=30, lr=0.05, batch_size=20, validation=0, device="cpu").model
    found = model.predict(X.astype(np.float16))
    assert found.dtype == np.float32
    assert np.corrcoef(found, targets)[0, 1] > 0.9


def test_data_set_result_and_errors_are_pickled():
    data = lv.Dataset.from_arrays(X, Y, test=0.2)
    result = lv.train(data, hidden=3, epochs=1, device="cpu")
    for value in (data, result):
        assert repr(pickle.loads(pickle.dumps(value))) == repr(value)
    again = pickle.loads(pickle.dumps(result))
    np.testing.assert_array_equal(again.model.predict_proba(X), result.model.predict_proba(X))
    error = pickle.loads(pickle.dumps(DeviceError("there is no GPU", "use the CPU")))
    assert (str(error), error.remedy) == ("there is no GPU. To fix it: use the CPU.", "use the CPU")
