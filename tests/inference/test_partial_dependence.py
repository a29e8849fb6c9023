"""Partial dependence on the columns of a table, compared with scikit-learn."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.inspection import partial_dependence as sklearn_partial_dependence

from lagvis.data.datasets import load_dataset
from lagvis.inference import partial_dependence
from lagvis.inference.diagnostics import diagnose
from lagvis.inference.feature_groups import feature_groups
from lagvis.inference.prediction import outputs
from tests.factories import classes, last, numbers, quick, run
from tests.inference.raw_table import RawClassifier, RawRegressor, passengers, raw_test_part, train_table

pd = pytest.importorskip("pandas")


def panels_of(dataset, model, params):
    """Return the panels by the name of the column, and the part of a date."""
    found = diagnose(model, params, dataset, seed=0).dependences
    return {panel.name + panel.grid.part: panel for panel in found.panels}


@pytest.mark.parametrize("label", ["alive", "price"])
def test_partial_dependence_of_raw_columns_equals_scikit_learn(label, tmp_path):
    table = passengers().drop(columns={"alive": "price", "price": "alive"}[label])
    keys = {} if label == "alive" else {"loss": "mse", "lr": 0.02}
    dataset, model, params = train_table(table, tmp_path / "t.csv", label, epochs=10, **keys)
    estimator = (RawClassifier if label == "alive" else RawRegressor)(model, params)
    raw = raw_test_part(table, dataset)[["age", "port", "size", "noise"]].astype({"size": float})
    panels = panels_of(dataset, model, params)
    assert set(panels) == {*raw.columns}
    for name, panel in panels.items():
        values = [*panel.grid.labels] or panel.grid.values
        theirs = sklearn_partial_dependence(
            estimator, raw, [name], kind="average", method="brute", custom_values={name: np.array(values, dtype=object)}
        )["average"]
        ours = panel.mean.T if label == "price" else panel.mean[:, 1:].T
        np.testing.assert_allclose(ours, theirs, rtol=1e-4)
    found, everywhere = panels["age"].missing, estimator.outputs(raw.assign(age=np.nan))
    np.testing.assert_allclose(found, everywhere.mean(axis=0), rtol=1e-4)
    assert panels["port"].missing is None


class Features(RegressorMixin, BaseEstimator):
    """A network that takes features, as the data set has them."""

    def __init__(self, model, params):
        self.model, self.params, self.fitted_ = model, params, True

    def fit(self, x, y):
        return self

    def predict(self, x):
        return outputs(self.model, self.params, x)[:, 0]


def test_partial_dependence_of_arrays_equals_scikit_learn(monkeypatch):
    monkeypatch.setattr(partial_dependence, "MAX_POINTS", 100)  # every value, as scikit-learn with few of them
    dataset = numbers(200, test_rows=60)
    events = run(quick(loss="mse", lr=0.02, epochs=5), dataset)
    model, params = events[0].model, last(events).state["params"]
    for panel in diagnose(model, params, dataset, seed=0).dependences.panels:
        theirs = sklearn_partial_dependence(
            Features(model, params), dataset.x_test, [panel.column - 1], method="brute", grid_resolution=1000
        )
        np.testing.assert_allclose(panel.grid.values, theirs["grid_values"][0])
        np.testing.assert_allclose(panel.mean[:, 0], theirs["average"][0], rtol=1e-4)


def dated(rows=300):
    """Return dates with a time of day, and a number that depends on every part of them."""
    days = pd.date_range("2023-01-01", periods=rows, freq="53h")
    value = 3 * np.cos(2 * np.pi * days.month / 12) + (days.day_of_week >= 5) * 4 + np.arange(rows) / 100
    return pd.DataFrame({"when": days.strftime("%Y-%m-%d %H:%M"), "income": np.exp(value), "value": value.round(3)})


def test_partial_dependence_of_dates_is_split_into_time_and_parts(tmp_path):
    dataset, model, params = train_table(dated(), tmp_path / "d.csv", "value", epochs=10, loss="mse", lr=0.02)
    panels = panels_of(dataset, model, params)
    names = dataset.feature_names
    assert {"when", "whenmonth", "whenweekday", "whenhour"} < {*panels}
    time = panels["when"]
    first, last_time = (np.datetime64(int(end), "s").astype("datetime64[Y]") for end in time.grid.values[[0, -1]])
    assert (str(first), str(last_time)) == ("2023", "2024")
    x = dataset.x_test.copy()
    x[:, names.index("when")] = time.grid.values[3] - dataset.encoding.columns[0].origin
    np.testing.assert_allclose(time.mean[3], outputs(model, params, x).mean(axis=0))
    weekday = panels["whenweekday"]
    assert weekday.grid.labels == ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
    raw = pd.to_datetime(dated().when.iloc[dataset.held_out.test_rows])
    assert weekday.grid.sample.tolist() == np.bincount(raw.dt.day_of_week, minlength=7).tolist()
    saturday = dataset.x_test[[*raw.dt.day_of_week].index(5)]
    x = dataset.x_test.copy()
    for wave in ("sine", "cosine"):
        place = names.index(f"when weekday ({wave})")
        x[:, place] = saturday[place]
    np.testing.assert_allclose(weekday.mean[5], outputs(model, params, x).mean(axis=0), rtol=1e-6)
    month = panels["whenmonth"]
    months = raw.dt.strftime("%b").value_counts()
    assert dict(zip(month.grid.labels, month.grid.sample.tolist(), strict=True)) == months.to_dict()
    hour = panels["whenhour"]
    np.testing.assert_allclose(np.sort(hour.grid.sample), np.sort(raw.dt.hour + raw.dt.minute / 60), atol=1e-6)


def test_partial_dependence_of_a_logarithm_is_over_the_numbers(tmp_path):
    dated()[["income", "value"]].to_csv(tmp_path / "l.csv", index=False)
    dataset = load_dataset(str(tmp_path / "l.csv"), regression=True, label="value", log=("income",))
    events = run(quick(loss="mse", lr=0.02), dataset)
    (panel,) = diagnose(events[0].model, last(events).state["params"], dataset, seed=0).dependences.panels
    income = dated().income.iloc[dataset.held_out.test_rows]
    assert panel.grid.has_log
    np.testing.assert_allclose(np.sort(panel.grid.sample), np.sort(income), rtol=1e-9)
    ends = np.quantile(income, [0.05, 0.95], method="closest_observation")
    np.testing.assert_allclose(panel.grid.values[[0, -1]], ends, rtol=1e-9)


def test_partial_dependence_of_many_levels_keeps_the_commonest(monkeypatch, tmp_path):
    monkeypatch.setattr(partial_dependence, "MAX_LEVELS", 2)
    rng = np.random.default_rng(1)
    table = pd.DataFrame(
        {"town": rng.choice(["a", "b", "c"], 400, p=[0.1, 0.5, 0.4]), "label": rng.choice(["x", "y"], 400)}
    )
    dataset, model, params = train_table(table, tmp_path / "t.csv", "label")
    (panel,) = panels_of(dataset, model, params).values()
    assert panel.grid.labels == ("b", "c")
    assert panel.grid.hidden == 1


def test_partial_dependence_columns_without_variation_have_no_panel(tmp_path):
    table = passengers(100)[["age", "size", "alive"]]
    dataset, model, params = train_table(table, tmp_path / "t.csv", "alive")
    place = dataset.feature_names.index("size")
    dataset.x_test[:, place] = 2.0
    assert [*panels_of(dataset, model, params)] == ["age"]
    dataset.x_test[:] = dataset.x_test[0]
    assert diagnose(model, params, dataset, seed=0).dependences is None


def test_diagnose_outputs_not_finite_have_no_dependences(tmp_path):
    dataset, model, params = train_table(
        passengers(100)[["age", "size", "price"]], tmp_path / "t.csv", "price", loss="mse"
    )
    huge = [{name: np.full_like(leaf, 3e38) for name, leaf in layer.items()} for layer in params]
    assert diagnose(model, huge, dataset, seed=0).dependences is None


def test_diagnose_pictures_have_no_dependences():
    events = run(quick(epochs=0), classes(60))
    assert diagnose(events[0].model, last(events).state["params"], classes(60), seed=0).dependences is None
    assert len(feature_groups(classes(60))) == 36
