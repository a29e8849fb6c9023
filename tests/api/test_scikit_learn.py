"""The estimators within scikit-learn: its own checks, and its meta-estimators, selections and metadata routing."""

import os
import pickle
import subprocess
import sys
import warnings
from importlib.util import find_spec

import numpy as np
import pytest

import lagvis as lv
from tests.test_architecture import ROOT

pytest.importorskip("sklearn")

import sklearn
from sklearn import compose, datasets, ensemble, inspection, model_selection, pipeline, preprocessing
from sklearn.calibration import CalibratedClassifierCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import check_estimator

X, Y = datasets.load_iris(return_X_y=True)
SMALL = {"hidden": 8, "epochs": 10, "batch_size": 20, "lr": 0.03, "random_state": 0, "device": "cpu"}
EXPECTED = {
    "check_sample_weight_equivalence_on_dense_data": "dropout is drawn for each row, batches and scalings count rows",
    "check_sample_weights_invariance": "the name of that check before scikit-learn 1.7",
}


def classifier(**parameters):
    return lv.MLPClassifier(**(SMALL | parameters))


def regressor(**parameters):
    return lv.MLPRegressor(**(SMALL | parameters))


@pytest.mark.slow
@pytest.mark.parametrize("estimator", [lv.MLPClassifier, lv.MLPRegressor])
def test_check_estimator_passes(estimator):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(
            estimator(hidden=16, epochs=20, lr=0.02, device="cpu"),
            expected_failed_checks=EXPECTED, on_skip=None, on_fail=None,
        )  # fmt: skip
    failed = {result["check_name"]: str(result["exception"]) for result in results if result["status"] == "failed"}
    assert failed == {}
    assert sum(result["status"] == "passed" for result in results) > 40


def test_grid_search_tunes_keys_of_a_recipe_in_a_pipeline():
    steps = pipeline.make_pipeline(preprocessing.StandardScaler(), classifier())
    grid = {"mlpclassifier__hidden": [(4,), (8,)], "mlpclassifier__lr": [0.001, 0.03]}
    search = model_selection.GridSearchCV(steps, grid, cv=2).fit(X, Y)
    assert search.best_params_["mlpclassifier__lr"] == 0.03
    assert search.score(X, Y) > 0.85


@pytest.mark.slow
def test_grid_search_in_processes_equals_one_process():
    grid = {"lr": [0.01, 0.03]}
    scores = [
        model_selection.GridSearchCV(classifier(), grid, cv=2, n_jobs=n).fit(X, Y).cv_results_["mean_test_score"]
        for n in (1, 2)
    ]
    np.testing.assert_array_equal(*scores)


def test_cross_val_score_and_invalid_fold():
    scores = model_selection.cross_val_score(classifier(), X, Y, cv=3)
    assert scores.mean() > 0.85
    with pytest.warns(model_selection._validation.FitFailedWarning):
        found = model_selection.cross_val_score(classifier(), X[:60], Y[:60] * (np.arange(60) > 50), cv=[
            ([0, 1, 2], [55, 3]), ([0, 1, 50, 51, 52], [4, 55]),
        ], error_score=np.nan)  # fmt: skip
    assert np.isnan(found).tolist() == [True, False]


def test_column_transformer_gives_columns_of_a_frame():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"length": X[:, 2], "kind": np.array(["a", "b", "c"])[Y]})
    columns = compose.make_column_transformer(
        (preprocessing.OneHotEncoder(), ["kind"]), remainder="passthrough", sparse_threshold=0
    )
    steps = pipeline.make_pipeline(columns, classifier()).fit(frame, Y)
    assert steps.score(frame, Y) == 1.0


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_have_their_names_checked(library):
    module = pytest.importorskip(library)
    frame = module.DataFrame({"a": X[:, 2], "b": X[:, 3]})
    network = classifier().fit(frame, module.Series(Y))
    assert network.feature_names_in_.tolist() == ["a", "b"]
    assert network.model_.checkpoint.model.feature_names == ("a", "b")
    assert network.predict(frame).shape == (150,)
    with pytest.raises(ValueError, match="Feature names must be in the same order"):
        network.predict(frame[["b", "a"]])


@pytest.fixture(scope="module")
def survey():
    """Return a frame with every kind of column, some cells missing, and targets that two columns decide."""
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame(
        {
            "size": rng.normal(size=200),
            "kind": rng.choice(["a", "b", "c"], 200),
            "day": pandas.Timestamp("2020-01-01") + pandas.to_timedelta(rng.integers(0, 300, 200), "D"),
            "set": pandas.Categorical(rng.choice(["x", "y"], 200)),
        }
    )
    y = pandas.Series(np.where((frame["kind"] == "a") | (frame["size"] > 0.5), "yes", "no"), name="answer")
    frame.loc[3, "kind"] = None
    frame.loc[5, "size"] = np.nan
    return frame, y


def test_frame_with_text_is_learned_as_from_frame_reads_it(survey):
    frame, y = survey
    network = classifier().fit(frame, y)
    data = lv.Dataset.from_frame(frame.assign(answer=y), "answer")
    result = lv.train(data, "table", seed=0, hidden=8, epochs=10, batch_size=20, lr=0.03, device="cpu")
    np.testing.assert_array_equal(network.predict_proba(frame), result.model.predict_proba(frame))
    assert (network.n_features_in_, network.classes_.tolist()) == (4, ["no", "yes"])
    assert network.model_.checkpoint.model.label_names == ("answer",)
    assert network.score(frame, y) > 0.9


def test_frame_with_text_of_polars_equals_that_of_pandas(survey):
    polars = pytest.importorskip("polars")
    frame, y = survey
    same = polars.DataFrame(
        {name: frame[name].astype(object).where(frame[name].notna(), None).tolist() for name in frame}
    )
    first, second = classifier(epochs=2).fit(frame, y), classifier(epochs=2).fit(same, y.tolist())
    np.testing.assert_array_equal(first.predict_proba(frame), second.predict_proba(same))


def test_arrow_table_with_text_equals_the_frame(survey):
    arrow = pytest.importorskip("pyarrow")
    frame, y = survey
    table = arrow.Table.from_pandas(frame, preserve_index=False)
    first, second = classifier(epochs=2).fit(frame, y), classifier(epochs=2).fit(table, y)
    np.testing.assert_array_equal(first.predict_proba(frame), second.predict_proba(table))


def test_frame_with_text_goes_on_in_partial_fit_pickles_and_meta_estimators(survey):
    frame, y = survey
    network = classifier(epochs=2).fit(frame, y).partial_fit(frame[:50], y[:50])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(network)).predict(frame), network.predict(frame))
    assert model_selection.cross_val_score(classifier(epochs=20), frame, y, cv=2).mean() > 0.8
    numbers = np.random.default_rng(0).normal(size=(200, 2))
    assert regressor(epochs=1).fit(frame, numbers, sample_weight=np.arange(200)).predict(frame).shape == (200, 2)
    labels = (numbers > 0).astype(int)
    assert classifier(epochs=1).fit(frame, labels).predict(frame).shape == (200, 2)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (lambda frame: frame[["kind", "size", "day", "set"]], "must be in the same order"),
        (lambda frame: frame[["size"]], "now missing"),
        (lambda frame: np.zeros((3, 4)), "X is of the type ndarray, and the network learned from a data frame"),
    ],
)
def test_predict_other_rows_than_the_frame_of_training_raises_value_error(survey, rows, sentence):
    frame, y = survey
    with pytest.raises(ValueError, match=sentence):
        classifier(epochs=1).fit(frame, y).predict(rows(frame))


def test_calibrated_classifier_has_calibrated_probabilities():
    calibrated = CalibratedClassifierCV(classifier(), cv=2).fit(X, Y)
    np.testing.assert_allclose(calibrated.predict_proba(X).sum(axis=1), 1.0)
    assert calibrated.score(X, Y) > 0.85


@pytest.mark.parametrize("kind", [ensemble.VotingClassifier, ensemble.StackingClassifier])
def test_ensembles_take_networks(kind):
    parts = [("network", classifier()), ("tree", DecisionTreeClassifier(max_depth=2))]
    options = {"voting": "soft"} if kind is ensemble.VotingClassifier else {"cv": 2}
    assert kind(parts, **options).fit(X, Y).score(X, Y) > 0.85


def test_multi_output_and_bagging_of_regressors():
    several = MultiOutputRegressor(regressor(epochs=2)).fit(X[:, :2], X[:, 2:])
    assert several.predict(X[:, :2]).shape == (150, 2)
    bag = ensemble.BaggingRegressor(regressor(epochs=2), n_estimators=2, random_state=0).fit(X[:, :2], X[:, 2])
    assert bag.predict(X[:, :2]).shape == (150,)


def test_transformed_target_regressor_inverts_the_transformation():
    network = compose.TransformedTargetRegressor(regressor(epochs=30), func=np.log, inverse_func=np.exp)
    assert network.fit(X[:, :3], X[:, 3]).score(X[:, :3], X[:, 3]) > 0.7


def test_permutation_importance_finds_the_columns_that_count():
    noise = np.random.default_rng(0).normal(size=(150, 1))
    x = np.c_[X[:, 2:], noise]
    found = inspection.permutation_importance(classifier().fit(x, Y), x, Y, n_repeats=2, random_state=0)
    assert found.importances_mean[2] < found.importances_mean[:2].max()


def test_metadata_routing_sends_weights_to_fit_and_score():
    w = np.r_[np.ones(100), np.zeros(50)]
    with sklearn.config_context(enable_metadata_routing=True):
        network = classifier().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        found = model_selection.cross_validate(network, X, Y, params={"sample_weight": w}, cv=2, return_estimator=True)
    for estimator in found["estimator"]:
        assert not (estimator.predict(X) == 2).any()  # rows of weight 0 are not learned from
    assert found["test_score"].mean() > 0.9
    assert hasattr(network, "set_partial_fit_request")


def test_clone_keeps_parameters_and_not_the_network():
    network = classifier(recipe="default", betas=[0.9, 0.99], optimizer="adam").fit(X, Y)
    copied = sklearn.base.clone(network)
    assert copied.get_params() == network.get_params()
    assert not hasattr(copied, "model_")
    assert "recipe='default'" in repr(copied)


def test_callbacks_are_called_for_each_epoch_and_see_the_network():
    callback = pytest.importorskip("sklearn.callback")
    monitor = callback.ScoringMonitor(scoring="accuracy")
    network = classifier(epochs=4).set_callbacks(monitor).fit(X, Y)
    scores = [row["accuracy"] for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert len(scores) == 4
    assert scores[-1] == network.score(X, Y)
    assert network.set_params(epochs=0).fit(X, Y).n_iter_ == 0


def test_callback_that_stops_ends_the_fit_after_its_epoch():
    pytest.importorskip("sklearn.callback")
    network = classifier(epochs=50).set_callbacks(StopAfter(3)).fit(X, Y)
    assert network.n_iter_ == 3


def test_callbacks_of_a_fit_that_stops_early_see_the_end_of_each_epoch_that_began():
    pytest.importorskip("sklearn.callback")
    callback = StopAfter(-1)
    network = classifier(epochs=100, early_stopping=True, patience=1, lr=0.5).set_callbacks(callback).fit(X, Y)
    assert callback.began == network.n_iter_ == -1 - callback.left < 100


class StopAfter:
    """Callback of scikit-learn that stops after some epochs."""

    def __init__(self, epochs):
        self.left = epochs
        self.began = 0

    def setup(self, estimator, context): ...

    def teardown(self, estimator, context): ...

    def on_fit_task_begin(self, estimator, context):
        self.began += context.task_name == "epoch"

    def on_fit_task_end(self, estimator, context):
        if context.task_name == "epoch":
            self.left -= 1
        return self.left == 0


ARRAYS = """
import sys
import numpy as np, sklearn, lagvis as lv
from importlib import import_module
from sklearn.datasets import load_iris
X, Y = load_iris(return_X_y=True)
SMALL = dict(hidden=8, epochs=2, batch_size=20, random_state=0, device="cpu")
plain = lv.MLPClassifier(**SMALL).fit(X, Y)
for library in sys.argv[1:]:
    xp = import_module(library)
    x, y = xp.asarray(X), xp.asarray(Y)
    with sklearn.config_context(array_api_dispatch=True):
        network = lv.MLPClassifier(**SMALL).fit(x, y)
        found = network.predict_proba(x)
        assert isinstance(found, type(x)) and isinstance(network.predict(x), type(x))
        if found.dtype == x.dtype == xp.float64:
            np.testing.assert_array_equal(np.asarray(found), plain.predict_proba(X))
        assert abs(float(network.score(x, y)) - plain.score(X, Y)) < 1e-6
        assert isinstance(network.predict(X), np.ndarray)  # what is fitted stays in NumPy
        named = lv.MLPClassifier(**SMALL).fit(x, np.array(["a", "b", "c"])[Y])
        assert set(named.predict(x)) <= {"a", "b", "c"}
        numbers = lv.MLPRegressor(**SMALL).fit(x[:, :2], x[:, 2:])
        predicted = numbers.predict(x[:, :2])
        assert isinstance(predicted, type(x)) and predicted.dtype == x.dtype
    if library != "array_api_strict":
        assert isinstance(network.predict(x), np.ndarray)
    print(library)
"""


@pytest.mark.slow
def test_array_api_dispatch_returns_the_library_of_the_rows():
    installed = [name for name in ("array_api_strict", "torch", "jax.numpy") if find_spec(name.partition(".")[0])]
    environment = os.environ | {"SCIPY_ARRAY_API": "1"}
    words = [sys.executable, "-W", "error", "-c", ARRAYS, *installed]
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == installed
