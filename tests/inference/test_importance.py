"""Permutation importance of the columns of a table, compared with scikit-learn."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.inspection import permutation_importance as sklearn_permutation_importance
from sklearn.metrics import r2_score

from lagvis.data.dataset import as_classification
from lagvis.data.datasets import load_dataset
from lagvis.data.source import Source
from lagvis.inference import importance
from lagvis.inference.diagnostics import diagnose
from lagvis.inference.feature_groups import feature_groups
from lagvis.inference.importance import permutation_importance
from lagvis.inference.prediction import outputs
from lagvis.training.seeding import generator
from tests.factories import last, numbers, quick, run
from tests.inference.raw_table import RawClassifier, RawRegressor, passengers, raw_test_part, train_table


def trained(dataset, **keys):
    """Return model and parameters after a short training."""
    events = run(quick(**keys), dataset)
    return events[0].model, last(events).state["params"]


def table(rows=400, *, names=()):
    """Return four features: the second determines the class, the fourth is weakly related, the others are noise."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(rows, 4))
    y = (x[:, 1] + 0.3 * x[:, 3] > 0).astype(np.int64)
    half = rows // 2
    return as_classification(Source("t", x[:half], y[:half], x[half:], y[half:], {}, feature_names=names))


class Network(BaseEstimator):
    """A trained network with the interface of a scikit-learn estimator."""

    def __init__(self, model, params):
        self.model, self.params = model, params

    def fit(self, x, y):
        return self

    def score(self, x, y):
        output = outputs(self.model, self.params, x)
        return r2_score(y, output) if self.model.y_scaling else np.mean(output.argmax(axis=1) == y)


@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_permutation_importance_equals_scikit_learn_within_spread(kind, monkeypatch):
    monkeypatch.setattr(importance, "REPEATS", 30)
    dataset = table() if kind == "classes" else numbers(200, test_rows=200)
    model, params = trained(dataset, epochs=10, **({} if kind == "classes" else {"loss": "mse", "lr": 0.02}))
    found = diagnose(model, params, dataset, seed=0).importance
    theirs = sklearn_permutation_importance(
        Network(model, params), dataset.x_test, dataset.y_test, n_repeats=30, random_state=1
    )
    order = [int(name.removeprefix("feature ")) - 1 for name in found.names]
    assert found.mean.tolist() == sorted(found.mean, reverse=True)
    spread = np.hypot(found.deviation, theirs.importances_std[order]) / np.sqrt(30)
    assert (np.abs(found.mean - theirs.importances_mean[order]) <= 5 * spread + 1e-12).all()
    assert found.mean[0] > 20 * spread[0]
    assert (found.of, found.rows) == (dataset.x_test.shape[1], 200)


def test_importance_has_feature_names_and_depends_on_seed():
    names = ("a", "b", "c", "d")
    dataset = table(names=names)
    model, params = trained(dataset, epochs=5)
    once, again, other = (diagnose(model, params, dataset, seed).importance for seed in (3, 3, 4))
    assert sorted(once.names) == [*names]
    assert once.names[0] == "b"
    assert once.mean.tolist() == again.mean.tolist()
    assert once.mean.tolist() != other.mean.tolist()


def test_importance_columns_are_those_of_the_file(tmp_path):
    """The label is the second column, so the second feature is the third column."""
    rng = np.random.default_rng(2)
    rows = [f"{a},{'ab'[b > 0]},{b}" for a, b in rng.normal(size=(300, 2)).round(3).tolist()]
    for name, head in (("named.csv", "x,species,y\n"), ("bare.csv", "")):
        (tmp_path / name).write_text(head + "\n".join(rows))
        dataset = load_dataset(str(tmp_path / name), regression=False, label="2")
        model, params = trained(dataset, epochs=5)
        found = diagnose(model, params, dataset, seed=0).importance
        assert found.columns == (3, 1)
        assert found.names == (("y", "x") if head else ("column 3", "column 1"))
    dataset = table()
    model, params = trained(dataset, epochs=5)
    assert diagnose(model, params, dataset, seed=0).importance.columns[0] == 2


def test_importance_of_many_features_tests_largest_weights(monkeypatch):
    monkeypatch.setattr(importance, "MAX_COLUMNS", 2)
    names = ("a", "b", "c", "d")
    dataset = table(names=names)
    model, params = trained(dataset, epochs=5)
    found = diagnose(model, params, dataset, seed=0).importance
    norms = np.linalg.norm(params[0]["W"], axis=1)
    assert {*found.names} == {names[i] for i in np.argsort(norms)[-2:]}
    assert found.of == 4


def test_importance_too_few_rows_is_none():
    dataset = table(30)
    model, params = trained(dataset)
    x, y = dataset.x_test, dataset.y_test
    assert permutation_importance(model, params, x, y, feature_groups(dataset), generator(0, "diagnostics")) is None


@pytest.mark.parametrize("label", ["alive", "price"])
def test_importance_of_a_table_shuffles_the_features_of_a_column_together(label, monkeypatch, tmp_path):
    """The levels of a category, and a number with its indicator of missing cells, against raw cells in scikit-learn."""
    monkeypatch.setattr(importance, "REPEATS", 30)
    table = passengers().drop(columns={"alive": "price", "price": "alive"}[label])
    keys = {} if label == "alive" else {"loss": "mse", "lr": 0.02}
    dataset, model, params = train_table(table, tmp_path / "t.csv", label, epochs=20, **keys)
    assert {"age is missing", "port=Cherbourg"} < {*dataset.feature_names}
    found = diagnose(model, params, dataset, seed=0).importance
    assert sorted(found.names) == ["age", "noise", "port", "size"]
    assert [table.columns[number - 1] for number in found.columns] == [*found.names]
    estimator = (RawClassifier if label == "alive" else RawRegressor)(model, params)
    raw = raw_test_part(table, dataset)[[*found.names]]
    y = dataset.y_test if label == "alive" else dataset.y_test[:, 0]
    theirs = sklearn_permutation_importance(estimator, raw, y, n_repeats=30, random_state=1)
    spread = np.hypot(found.deviation, theirs.importances_std) / np.sqrt(30)
    assert (np.abs(found.mean - theirs.importances_mean) <= 5 * spread + 1e-12).all()
    assert found.mean[[*found.names].index("port")] > 0.1
