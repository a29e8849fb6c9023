"""`MLPClassifier` and `MLPRegressor`: fit, partial_fit, attributes, errors and pickles."""

import copy
import inspect
import io
import math
import pickle
import subprocess
import sys

import numpy as np
import pytest

import lagvis as lv
from lagvis.api.setup import READING_KEYS
from lagvis.errors import CheckpointError
from lagvis.training.recipe import CLASSIFICATION_KEYS, LOSS_KEYS, Recipe
from lagvis.training.recipe_keys import KEYS
from tests.test_architecture import ROOT

pytest.importorskip("sklearn")

from sklearn.datasets import load_iris, make_multilabel_classification
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.metrics import accuracy_score, r2_score

X, Y = load_iris(return_X_y=True)
TARGETS = X[:, 2:]
SMALL = {"hidden": 8, "epochs": 20, "batch_size": 20, "lr": 0.03, "random_state": 0, "device": "cpu"}
RENAMED = {"seed": "random_state", "class_weights": "class_weight"}
OWN = {"recipe", "early_stopping", "warm_start", "device", "backend", "threads", "verbose"}


def classifier(**parameters):
    return lv.MLPClassifier(**(SMALL | parameters))


def regressor(**parameters):
    return lv.MLPRegressor(**(SMALL | parameters))


@pytest.fixture(scope="module")
def fitted():
    return classifier().fit(X, Y)


@pytest.mark.parametrize(
    ("estimator", "others"), [(lv.MLPClassifier, LOSS_KEYS), (lv.MLPRegressor, CLASSIFICATION_KEYS)]
)
def test_parameters_are_the_keys_of_a_recipe_that_do_not_say_how_files_are_read(estimator, others):
    keys = {RENAMED.get(key, key) for key in KEYS if key not in {"data", *READING_KEYS, *others}}
    parameters = inspect.signature(estimator).parameters
    assert {*parameters} - OWN == keys
    assert {name for name, parameter in parameters.items() if parameter.default is not None} == OWN - {
        "backend", "threads",
    }  # fmt: skip


def test_fit_equals_train_of_the_same_recipe():
    network = regressor(hidden=(5,)).fit(X[:, :2], TARGETS)
    data = lv.Dataset.from_arrays(X[:, :2], TARGETS)
    result = lv.train(data, recipe="table", hidden=(5,), epochs=20, batch_size=20, lr=0.03, seed=0, device="cpu")
    np.testing.assert_array_equal(network.predict(X[:, :2]), result.model.predict(X[:, :2]))


def test_fit_sets_the_attributes_of_scikit_learn(fitted):
    assert fitted.score(X, Y) > 0.9
    assert fitted.classes_.tolist() == [0, 1, 2]
    assert (fitted.n_iter_, fitted.n_layers_, fitted.n_outputs_, fitted.n_features_in_) == (20, 3, 3, 4)
    assert fitted.t_ == 20 * len(X)
    assert fitted.out_activation_ == "softmax"
    assert [w.shape for w in fitted.coefs_] == [(4, 8), (8, 3)]
    assert [b.shape for b in fitted.intercepts_] == [(8,), (3,)]
    assert fitted.loss_curve_ == fitted.history_["train_loss"]
    assert fitted.loss_ == fitted.loss_curve_[-1]
    assert fitted.best_loss_ == min(fitted.loss_curve_)
    assert fitted.validation_scores_ is None
    assert isinstance(fitted.model_, lv.TrainedModel)
    assert isinstance(fitted.recipe_, Recipe)
    assert fitted.recipe_.hidden == (8,)


def test_recipe_may_be_a_name_a_file_or_a_recipe(tmp_path):
    (tmp_path / "my.toml").write_text("hidden = [7]\nepochs = 2\nlr = 0.03\nvalidation = 0\n")
    recipe = Recipe(hidden=(6,), epochs=1, validation=0)
    for given, hidden in (("mnist-linear", ()), (str(tmp_path / "my.toml"), (7,)), (recipe, (6,))):
        network = lv.MLPClassifier(given, epochs=1, lr=0.05, random_state=0, device="cpu").fit(X, Y)
        assert network.recipe_.hidden == hidden


@pytest.mark.parametrize(
    "labels", [np.array(["no", "maybe", "yes"]), np.array(["b", "b ", ""], dtype=object), np.array([-1.0, 2.0, 7.0])]
)
def test_predict_returns_classes_of_any_type(labels):
    network = classifier().fit(X, labels[Y])
    np.testing.assert_array_equal(network.classes_, np.unique(labels))
    assert network.classes_.dtype == labels.dtype
    assert (network.predict(X) == labels[Y]).mean() > 0.9
    assert len({*network.model_.class_names}) == 3


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_predict_real_classes_are_not_rounded_to_the_type_of_the_rows(dtype):
    labels = np.array([2.0**24, 2.0**24 + 1, 2.0**24 + 2])
    network = classifier().fit(X.astype(dtype), labels[Y])
    found = network.predict(X.astype(dtype))
    assert found.dtype == labels.dtype
    assert (found == labels[Y]).mean() > 0.8


def test_predict_log_proba_is_the_logarithm_and_has_no_warning(fitted):
    np.testing.assert_allclose(np.exp(fitted.predict_log_proba(X)), fitted.predict_proba(X), rtol=1e-12)
    far = fitted.predict_log_proba(X[:1] * 1e6)
    assert np.isneginf(far).any()


def test_fit_labels_of_which_a_row_may_have_several():
    x, y = make_multilabel_classification(n_samples=80, n_classes=3, random_state=0)
    network = classifier(early_stopping=True).fit(x, y)
    assert network.recipe_.loss == "binary-cross-entropy"
    assert network.predict(x).shape == (80, 3)
    assert {*np.unique(network.predict(x))} == {0, 1}
    assert network.out_activation_ == "logistic"
    assert network.classes_.tolist() == [0, 1, 2]
    rows = network.recipe_.validation
    scores = np.array(network.validation_scores_) * rows
    np.testing.assert_allclose(scores, np.rint(scores), atol=1e-6)  # rows whose labels are all right


def test_uint8_rows_are_pixels_unless_they_are_zeros_and_ones():
    x = np.random.default_rng(0).integers(0, 256, (60, 6)).astype(np.uint8)
    y = (x[:, 0] > 127).astype(int)
    pixels = classifier().fit(x, y)
    assert pixels.model_.checkpoint.model.x_scaling is None
    np.testing.assert_array_equal(pixels.predict_proba(x), pixels.predict_proba(x.astype(float)))
    dummies = classifier().fit((x > 127).astype(np.uint8), y)
    assert dummies.model_.checkpoint.model.x_scaling is not None


@pytest.mark.parametrize("several", [False, True])
def test_early_stopping_scores_are_those_of_the_held_out_rows(several):
    y = TARGETS if several else TARGETS[:, 0]
    network = regressor(early_stopping=True, validation=30, patience=3, epochs=200, lr=0.3).fit(X[:, :2], y)
    assert (network.recipe_.validation, network.recipe_.patience) == (30, 3)
    assert network.n_iter_ == len(network.validation_scores_) < 200
    # the best network gives the score of its epoch on some 30 rows: those of the plan
    from lagvis.training.plan import split_rows

    _, rows = split_rows(lv.Dataset.from_arrays(X[:, :2], y), 30, 0)
    best = r2_score(y[rows], network.predict(X[rows, :2]))
    assert min(abs(best - score) for score in network.validation_scores_) < 1e-6
    assert network.best_validation_score_ == max(network.validation_scores_)


def test_early_stopping_takes_a_tenth_and_ten_epochs_unless_told():
    network = classifier(early_stopping=True, epochs=12).fit(X, Y)
    assert (network.recipe_.validation, network.recipe_.patience) == (15, 10)
    assert classifier(recipe="mnist-32-32", epochs=1).fit(X, Y).recipe_.validation == 0


def test_validation_without_early_stopping_only_scores():
    network = classifier(validation=30).fit(X, Y)
    assert network.n_iter_ == len(network.validation_scores_) == 20
    assert network.recipe_.patience == 0


def test_class_weight_dict_equals_sample_weight():
    weights = np.array([1.0, 5.0, 0.5])
    by_class = classifier(class_weight={0: 1.0, 1: 5.0, 2: 0.5}).fit(X, Y)
    by_row = classifier().fit(X, Y, sample_weight=weights[Y])
    np.testing.assert_array_equal(by_class.predict_proba(X), by_row.predict_proba(X))


@pytest.mark.parametrize("weight", ["balanced", {0: 2.0}])
def test_class_weight_of_labels_raises_value_error(weight):
    with pytest.raises(ValueError, match="class_weight is for classes, and y has labels"):
        classifier(class_weight=weight).fit(X, np.c_[Y > 0, Y > 1])


def test_class_weight_balanced_raises_the_recall_of_a_rare_class():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2))
    y = (x[:, 0] + 0.7 * rng.normal(size=300) > 1.5).astype(int)
    plain, balanced = (classifier(class_weight=weight).fit(x, y).predict(x) for weight in (None, "balanced"))
    assert balanced[y == 1].mean() > plain[y == 1].mean()


def test_sample_weight_counts_in_score():
    network = regressor().fit(X[:, :2], TARGETS[:, 0])
    w = np.linspace(0, 2, len(X))
    expected = r2_score(TARGETS[:, 0], network.predict(X[:, :2]), sample_weight=w)
    assert network.score(X[:, :2], TARGETS[:, 0], sample_weight=w) == expected


def test_random_state_none_draws_another_network_and_a_generator_goes_on():
    seeds = {classifier(random_state=None, epochs=1).fit(X, Y).recipe_.seed for _ in range(3)}
    assert len(seeds) == 3
    state = np.random.RandomState(5)
    first, second = (classifier(random_state=state, epochs=1).fit(X, Y).recipe_.seed for _ in range(2))
    assert first != second
    assert first == classifier(random_state=np.random.RandomState(5), epochs=1).fit(X, Y).recipe_.seed


def test_partial_fit_of_all_rows_equals_epochs_of_fit():
    settings = {"schedule": "constant", "optimizer": "adam", "dropout": 0.2, "weight_decay": 0.01}
    whole = classifier(**settings | {"epochs": 3, "lr": 0.01}).fit(X, Y)
    parts = classifier(**settings | {"lr": 0.01})
    for _ in range(3):
        parts.partial_fit(X, Y, classes=[0, 1, 2])
    np.testing.assert_array_equal(parts.predict_proba(X), whole.predict_proba(X))
    assert parts.history_["train_loss"] == whole.history_["train_loss"]
    assert (parts.n_iter_, parts.t_, parts.history_["epoch"]) == (1, 450, [1, 2, 3])


def test_partial_fit_of_parts_keeps_scaling_classes_and_steps():
    network = classifier(lr=0.01)
    for first in range(0, 150, 40):
        network.partial_fit(X[first : first + 40], Y[first : first + 40], classes=[0, 1, 2])
    assert network.history_["step"] == [2, 4, 6, 8]
    np.testing.assert_allclose(network.model_.checkpoint.model.x_scaling.mean, X[:40].mean(axis=0))
    assert network.predict_proba(X).shape == (150, 3)
    for _ in range(20):
        network.partial_fit(X, Y)
    assert network.score(X, Y) > 0.9


def test_partial_fit_after_fit_goes_on_from_its_steps():
    network = classifier().fit(X, Y)
    before = network.model_.checkpoint.step
    network.partial_fit(X[:10], Y[:10])
    assert network.model_.checkpoint.step == before + 1
    assert len(network.loss_curve_) == 21


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"early_stopping": True}, "does not support early_stopping=True"),
        ({"class_weight": "balanced"}, "partial_fit does not know all rows"),
        ({"hidden": 9}, r"hidden is \(9,\), and the network that is trained on has \(8,\)"),
        ({"optimizer": "sgd"}, "optimizer is 'sgd', and the network"),
    ],
)
def test_partial_fit_with_what_cannot_go_on_raises_value_error(parameters, sentence):
    network = classifier(epochs=1).fit(X, Y).set_params(**parameters)
    with pytest.raises(ValueError, match=sentence):
        network.partial_fit(X, Y)


def test_partial_fit_unknown_class_raises_value_error():
    with pytest.raises(ValueError, match=r"y has the classes \[2\], which are not among \[0, 1\]"):
        classifier().partial_fit(X, Y, classes=[0, 1])


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_training_on_with_other_targets_raises_value_error(method):
    network = regressor(epochs=1, warm_start=True).fit(X, TARGETS)
    with pytest.raises(ValueError, match="y has 1 targets a row; the network that is trained on predicts 2"):
        getattr(network, method)(X, TARGETS[:, 0])


def test_warm_start_goes_on_with_the_network_and_a_new_optimizer_state():
    network = classifier(warm_start=True, epochs=2).fit(X, Y)
    first = [w.copy() for w in network.coefs_]
    network.set_params(epochs=0).fit(X, Y)
    for before, after in zip(first, network.coefs_, strict=True):
        np.testing.assert_array_equal(before, after)
    network.set_params(epochs=3, optimizer="adam").fit(X, Y)
    assert len(network.loss_curve_) == 5
    with pytest.raises(ValueError, match="classes"):
        network.fit(X[:100], Y[:100])


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"lr": -1}, "lr is -1; expected a number above 0"),
        ({"loss": "mse"}, "loss is 'mse', which is for numbers"),
        ({"recipe": "tabel"}, "there is no recipe 'tabel'"),
        ({"recipe": 3}, "recipe is of the type int"),
        ({"hidden": "many"}, "hidden is 'many'"),
        ({"backend": "numpi"}, "there is no backend 'numpi'"),
        ({"device": "gpu"}, "there is no device 'gpu'"),
        ({"random_state": -1}, "seed is -1"),
        ({"random_state": "x"}, "cannot be used to seed"),
        ({"class_weight": "rare"}, "class_weight is 'rare'; expected None, 'balanced', or a dict"),
        ({"patience": 3}, "patience is 3, and early_stopping is False"),
        ({"optimizer": "sgd", "lr": 1e6}, "the loss is not a finite number"),
    ],
)
def test_fit_invalid_parameter_raises_value_error(parameters, sentence):
    with pytest.raises(ValueError, match=sentence):
        classifier(**parameters).fit(X, Y)


def test_fit_device_that_cannot_compute_raises_runtime_error(monkeypatch):
    from lagvis.api import setup
    from lagvis.errors import DeviceError

    def fail(*arguments):
        raise DeviceError("no card", "add one")

    monkeypatch.setattr(setup, "select", fail)
    with pytest.raises(RuntimeError, match=r"no card\. To fix it: add one"):
        classifier().fit(X, Y)


@pytest.mark.parametrize(
    ("y", "sentence"),
    [
        (Y + 0.5 * (Y == 1), "Unknown label type"),
        (np.zeros(150, int), "y has 1 class, 0; a classifier needs at least two classes"),
        (np.c_[Y, Y], "y is of the kind multiclass-multioutput"),
    ],
)
def test_fit_targets_that_are_no_classes_raise_value_error(y, sentence):
    with pytest.raises(ValueError, match=sentence):
        classifier().fit(X, y)


def test_predict_before_fit_raises_not_fitted_error():
    for method in ("predict", "predict_proba", "predict_log_proba"):
        with pytest.raises(NotFittedError):
            getattr(classifier(), method)(X)


def test_fit_column_of_targets_warns_and_predicts_a_vector():
    with pytest.warns(DataConversionWarning):
        network = regressor(epochs=1).fit(X, TARGETS[:, :1])
    assert network.predict(X).shape == (150,)


def test_fit_prints_nothing_unless_verbose(capsys):
    classifier(epochs=2).fit(X, Y)
    assert capsys.readouterr() == ("", "")
    classifier(epochs=2, verbose=True).fit(X, Y)
    assert "epoch 2/2" in capsys.readouterr().err


def test_fit_interrupted_warns_and_keeps_the_last_epoch(monkeypatch):
    from lagvis.api import estimator_base

    original = estimator_base.run_training

    def interrupted(run, **arguments):
        def stop(event):
            if event.epoch == 3:
                raise KeyboardInterrupt
            return False

        return original(run, **arguments | {"epoch_ended": stop})

    monkeypatch.setattr(estimator_base, "run_training", interrupted)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        network = classifier().fit(X, Y)
    assert network.n_iter_ == 3


def test_pickle_holds_the_bytes_of_a_safetensors_file(fitted, tmp_path):
    network = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(network.predict_proba(X), fitted.predict_proba(X))
    np.testing.assert_array_equal(network.coefs_[0], fitted.coefs_[0])
    assert network.get_params() == fitted.get_params()
    fitted.model_.save(tmp_path / "iris.safetensors")
    assert fitted.__getstate__()["checkpoint"] == (tmp_path / "iris.safetensors").read_bytes()


def test_pickle_damaged_raises_checkpoint_error(fitted):
    state = fitted.__getstate__()
    content = bytearray(state["checkpoint"])
    content[-1] ^= 1
    with pytest.raises(CheckpointError, match="the pickled MLPClassifier is damaged"):
        lv.MLPClassifier().__setstate__(state | {"checkpoint": bytes(content)})


def test_pickle_goes_on_with_partial_fit():
    network = regressor(optimizer="adam", lr=0.01, dropout=0.1).partial_fit(X[:, :2], TARGETS)
    copied, pickled = copy.deepcopy(network), pickle.loads(pickle.dumps(network))
    expected = network.partial_fit(X[:, :2], TARGETS).predict(X[:, :2])
    for estimator in (copied, pickled):
        np.testing.assert_array_equal(estimator.partial_fit(X[:, :2], TARGETS).predict(X[:, :2]), expected)
    assert pickle.loads(pickle.dumps(regressor())).get_params() == regressor().get_params()


@pytest.mark.parametrize("library", ["torch", "jax"])
def test_fit_on_other_backend_pickles_without_its_arrays(library, backend_of):
    backend_of(library)
    network = classifier(backend=library, epochs=2).fit(X, Y)
    content = pickle.dumps(network)
    assert library.encode() + b"." not in content
    np.testing.assert_array_equal(pickle.loads(content).predict(X), network.predict(X))


@pytest.fixture
def backend_of():
    return pytest.importorskip


def test_joblib_file_is_read_again(fitted):
    joblib = pytest.importorskip("joblib")
    file = io.BytesIO()
    joblib.dump(fitted, file)
    file.seek(0)
    np.testing.assert_array_equal(joblib.load(file).predict_proba(X), fitted.predict_proba(X))


def test_epochs_zero_predicts_with_the_first_weights():
    network = classifier(epochs=0).fit(X, Y)
    assert math.isnan(network.loss_)
    assert network.predict(X).shape == (150,)


def test_accuracy_is_that_of_scikit_learns_metric(fitted):
    assert fitted.score(X, Y) == accuracy_score(Y, fitted.predict(X))


PROGRAM = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "sklearn":
            raise ModuleNotFoundError("No module named 'sklearn'", name="sklearn")
sys.meta_path.insert(0, Missing())
import lagvis as lv
from lagvis import *
assert "sklearn" not in sys.modules
try:
    lv.MLPClassifier
except ImportError as error:
    print(error)
"""


def test_estimator_without_scikit_learn_raises_import_error_with_remedy():
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == (
        "MLPClassifier needs scikit-learn 1.6 or newer (No module named 'sklearn'); pip install -U scikit-learn"
    )
