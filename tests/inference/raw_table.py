"""Tables of mixed columns, and a trained network as a scikit-learn estimator that takes their raw cells."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import r2_score

from lagvis.data.dataset import Dataset
from lagvis.data.datasets import load_dataset
from lagvis.inference.prediction import outputs
from lagvis.training.model import Model
from tests.factories import last, quick, run

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")


def passengers(rows: int = 500, seed: int = 0) -> pd.DataFrame:
    """Return numbers, categories and missing cells; the outcome and the price depend on all of them but one."""
    rng = np.random.default_rng(seed)
    age = rng.normal(30, 12, rows).round(1)
    port = rng.choice(["Cherbourg", "Queenstown", "Southampton"], rows)
    size = rng.integers(1, 5, rows)
    noise = rng.normal(0, 1, rows).round(3)
    score = (port == "Cherbourg") * 2.0 - 0.05 * (age - 30) + 0.4 * size
    table = pd.DataFrame({"age": age, "port": port, "size": size, "noise": noise})
    table["alive"] = np.where(score + rng.normal(0, 0.3, rows) > 1.6, "yes", "no")
    table["price"] = (20 * score + rng.normal(0, 1, rows)).round(2)
    table.loc[rng.random(rows) < 0.2, "age"] = np.nan
    return table


def train_table(table: pd.DataFrame, path: Path, label: str, **keys):
    """Write a table as a CSV file and train on it; return data set, model and parameters."""
    table.to_csv(path, index=False)
    regression = keys.get("loss") == "mse"
    dataset = load_dataset(str(path), regression=regression, label=label)
    events = run(quick(**keys), dataset)
    return dataset, events[0].model, last(events).state["params"]


class RawNetwork(BaseEstimator):
    """A trained network that takes the cells of a table as they are in its file."""

    def __init__(self, model: Model, params):
        self.model, self.params = model, params
        self.classes_ = np.arange(model.widths[-1])
        self.fitted_ = True

    def fit(self, x, y):
        return self

    def outputs(self, x: pd.DataFrame) -> np.ndarray:
        encoding = self.model.encoding
        cells = [pl.Series(x[column.name].tolist(), strict=False) for column in encoding.columns]
        cells = [series.fill_nan(None) if series.dtype.is_float() else series for series in cells]
        return outputs(self.model, self.params, encoding.apply(cells))


class RawClassifier(ClassifierMixin, RawNetwork):
    """A network for classes."""

    def predict_proba(self, x):
        return self.outputs(x)

    def predict(self, x):
        return self.outputs(x).argmax(axis=1)

    def score(self, x, y):
        return float(np.mean(self.predict(x) == y))


class RawRegressor(RegressorMixin, RawNetwork):
    """A network for one number."""

    def predict(self, x):
        return self.outputs(x)[:, 0]

    def score(self, x, y):
        return r2_score(y, self.predict(x))


def raw_test_part(table: pd.DataFrame, dataset: Dataset) -> pd.DataFrame:
    """Return the cells of the test part, in its order."""
    assert dataset.held_out is not None
    return table.iloc[dataset.held_out.test_rows].reset_index(drop=True)
