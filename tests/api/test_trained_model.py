"""`TrainedModel`: predictions for arrays of any library, evaluation, saving and loading."""

import numpy as np
import pytest

import lagvis as lv
from lagvis.errors import CheckpointError, DataError, UsageError
from lagvis.interchange import to_numpy
from tests.conftest import open_backend

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4))
SETTINGS = {"hidden": 8, "epochs": 4, "batch_size": 20, "lr": 0.1, "device": "cpu"}


def trained(x, y, **settings):
    return lv.train(lv.Dataset.from_arrays(x, y), **SETTINGS | settings).model


@pytest.fixture(scope="module")
def model():
    return trained(X, (X[:, 0] > 0).astype(int) + 5)


@pytest.fixture(scope="module")
def pixels():
    images = RNG.integers(0, 256, (90, 3, 3)).astype(np.uint8)
    return trained(images, np.arange(90) % 2), images


def test_predict_whole_number_classes_are_integers(model):
    found = model.predict(X)
    assert found.dtype == np.int64
    assert set(found.tolist()) == {5, 6}
    assert (found == 5 + model.predict_proba(X).argmax(axis=1)).all()
    assert np.allclose(model.predict_proba(X).sum(axis=1), 1)


def test_predict_values_that_overflow_raise_data_error(model):
    with pytest.raises(
        DataError, match="row 2 of X has values so large that the outputs of the network are not finite"
    ):
        model.predict(np.where(np.arange(90)[:, None] == 2, 1e300, X))


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        (np.array(["a", "b"])[np.arange(90) % 2], ["a", "b"]),
        (np.arange(90) % 2 == 1, [False, True]),
        (np.array([-3, 12])[np.arange(90) % 2], [-3, 12]),
        (np.array(["01", "1"])[np.arange(90) % 2], ["01", "1"]),
    ],
    ids=["text", "bool", "int", "codes"],
)
def test_predict_classes_come_as_they_were_given(y, expected):
    found = trained(X, y, epochs=1).predict(X)
    assert set(found.tolist()) <= set(expected)
    assert found.dtype.kind == np.asarray(y).dtype.kind


def test_predict_numbers_have_the_shape_of_the_targets():
    one, two = trained(X, X[:, 0] * 3), trained(X, X[:, :2])
    assert one.predict(X).shape == (90,)
    assert two.predict(X).shape == (90, 2)
    with pytest.raises(UsageError, match="use predict"):
        one.predict_proba(X)


def test_predict_labels_are_0_and_1():
    found = trained(X, (X[:, :2] > 0).astype(int)).predict(X)
    assert found.shape == (90, 2)
    assert set(np.unique(found)) <= {0, 1}


@pytest.mark.parametrize(
    "name",
    [
        "torch",
        "jax",
        "strict",
        *(pytest.param(name, marks=pytest.mark.gpu(name)) for name in ("cupy", "torch-cuda", "jax-cuda")),
    ],
)
def test_predict_array_of_another_library_returns_its_own_kind(model, name):
    backend = open_backend(name, "float32")
    given = backend.asarray(X.astype(np.float32))
    labels, probability = model.predict(given), model.predict_proba(given)
    assert type(labels) is type(probability) is type(given)
    assert labels.device == probability.device == given.device
    assert probability.dtype == given.dtype
    assert (to_numpy(labels, "labels") == model.predict(X)).all()
    assert np.allclose(to_numpy(probability, "p"), model.predict_proba(X), atol=1e-6)


def test_predict_tensor_with_a_graph_is_taken(model, torch):
    given = torch.tensor(X, requires_grad=True)
    assert (model.predict(given).numpy() == model.predict(X)).all()


def test_train_arrays_of_torch_gives_the_network_of_numpy(torch):
    y = (X[:, 0] > 0).astype(int)
    assert (trained(torch.tensor(X), torch.tensor(y)).layers[0]["W"] == trained(X, y).layers[0]["W"]).all()


def test_predict_list_and_float32_array(model):
    assert (model.predict(X.tolist()) == model.predict(X)).all()
    assert model.predict_proba(X.astype(np.float32)).dtype == np.float32


def test_predict_no_rows_returns_no_rows(model):
    assert model.predict(X[:0]).shape == (0,)
    assert model.predict_proba(X[:0]).shape == (0, 2)


def test_predict_pixels_takes_bytes_of_any_shape_and_type(pixels):
    model, images = pixels
    expected = model.predict(images)
    assert (model.predict(images.reshape(90, 9)) == expected).all()
    assert (model.predict(images.astype(float)) == expected).all()


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (X[:, :3], r"shape \(90, 3\); expected \(rows, 4\)"),
        (X[0], r"shape \(4,\).*X\[None\] makes one row"),
        (np.array([["a"] * 4]), "expected numbers"),
        (np.where(X[8, 1] == X, np.nan, X), "row 8 of X has a NaN"),
    ],
)
def test_predict_other_rows_raise_data_error(model, x, message):
    with pytest.raises(DataError, match=message):
        model.predict(x)


@pytest.mark.parametrize("scale", [1 / 255, 2.0])
def test_predict_pixels_on_another_scale_raise_data_error(pixels, scale):
    model, images = pixels
    with pytest.raises(DataError, match="trained on bytes; expected whole numbers from 0 to 255"):
        model.predict(images * scale)


def test_evaluate_returns_the_metrics_of_the_rows(model):
    y = (X[:, 0] > 0).astype(int) + 5
    metrics = model.evaluate(X, y)
    assert metrics.accuracy == (model.predict(X) == y).mean()
    assert metrics.confusion.sum() == 90


def test_evaluate_unknown_class_raises_data_error(model):
    with pytest.raises(DataError, match="label 4, which the network does not know"):
        model.evaluate(X, np.full(90, 4))


def test_save_and_load_keep_every_prediction(model, tmp_path):
    model.save(tmp_path / "m.safetensors")
    again = lv.load(tmp_path / "m.safetensors")
    assert (again.predict_proba(X) == model.predict_proba(X)).all()
    assert again.class_names == ("5", "6")


def test_save_another_suffix_raises_usage_error(model, tmp_path):
    with pytest.raises(UsageError, match=r"name the file m\.pt\.safetensors"):
        model.save(tmp_path / "m.pt")


def test_save_missing_folder_raises_checkpoint_error(model, tmp_path):
    with pytest.raises(CheckpointError, match="its folder does not exist"):
        model.save(tmp_path / "none" / "m.safetensors")


def test_load_nothing_raises_checkpoint_error(tmp_path):
    with pytest.raises(CheckpointError, match="there is no run"):
        lv.load(tmp_path / "none")


def test_load_run_folder_of_the_command_predicts(tmp_path):
    from lagvis.cli.train import main

    assert main(["--data", "jump", "--epochs", "1", "--loss", "mse", "--quiet", "--no-plots", "--device", "cpu",
                 "-o", str(tmp_path), "--name", "r"]) == 0  # fmt: skip
    model = lv.load(tmp_path / "r")
    data = lv.load_dataset("jump", targets="numbers")
    assert model.predict(data.x_test).shape == data.y_test.shape


def test_predict_rows_on_another_scale_raise_data_error_unless_asked(model):
    with pytest.raises(DataError, match=r"on the scale of training.*check_ranges=False"):
        model.predict(X * 1000)
    assert len(model.predict(X * 1000, check_ranges=False)) == 90


def test_predict_float_pictures_in_another_range_raise_data_error():
    images = RNG.integers(0, 256, (90, 8, 8)) / 255
    model = trained(images, np.arange(90) % 2, epochs=1)
    with pytest.raises(DataError, match=r"pictures of 0\.\.255, and the network learned from pictures of 0\.\.1"):
        model.predict_proba(images * 255)
