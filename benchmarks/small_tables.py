"""`python -m benchmarks small-tables`: Lagvis on scikit-learn's five small tables beside scikit-learn's own networks.

Each table is split five times, by the seeds 0 to 4, a fifth of the rows for the test, stratified where classes are
predicted. All get the same rows, and standardise them by the training part. Nothing is chosen for a single table.

Lagvis             lagvis.MLPClassifier or MLPRegressor with their default, the recipe "table"
MLP, its defaults  MLPClassifier or MLPRegressor: 100 hidden units, Adam, at most 200 epochs
MLP, equal budget  the same with the hidden widths and the number of epochs of the Lagvis run
"""

import argparse
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.__main__ import environment
from benchmarks.table_accuracy import (
    Problem,
    behind_preparation,
    fitted_score,
    read_problem,
    score_cell,
    split,
)
from benchmarks.tables import table_head, table_row

if TYPE_CHECKING:
    import pandas as pd

LAGVIS, DEFAULTS, EQUAL = MODELS = ("Lagvis", "MLP, its defaults", "MLP, equal budget")
PROBLEMS = (
    Problem("digits", "label"),
    Problem("breast_cancer", "label"),
    Problem("wine", "label"),
    Problem("iris", "label"),
    Problem("diabetes", "label", regression=True),
)


def peer_score(
    train: "pd.DataFrame", test: "pd.DataFrame", problem: Problem, seed: int, settings: dict[str, Any]
) -> float:
    """Return accuracy or root mean square error of scikit-learn's network with some settings."""
    from sklearn import neural_network

    network = neural_network.MLPRegressor if problem.regression else neural_network.MLPClassifier
    estimator = network(random_state=seed, **settings)
    return fitted_score(lambda features: behind_preparation(estimator, features, problem), train, test, problem)


def make_network(problem: Problem, recipe: str, seed: int) -> Any:
    """Return the estimator of Lagvis for a table."""
    import lagvis

    network = lagvis.MLPRegressor if problem.regression else lagvis.MLPClassifier
    return network(recipe, random_state=seed, device="cpu")


def as_given(network: Any, features: "pd.DataFrame") -> Any:
    """Return the network itself, which prepares the features by itself."""
    return network


def measure(problem: Problem, frame: "pd.DataFrame", seeds: int, recipe: str) -> dict[str, Any]:
    """Return the scores of each model for each seed, the epochs of Lagvis and the deviations of the test labels."""
    scores: dict[str, Any] = {model: [] for model in MODELS} | {"deviations": [], "rows": len(frame)}
    for seed in range(seeds):
        train, test = split(frame, problem, seed)
        if problem.regression:
            scores["deviations"].append(float(test[problem.label].std(ddof=0)))
        network = make_network(problem, recipe, seed)
        scores[LAGVIS].append(fitted_score(partial(as_given, network), train, test, problem))
        equal = {
            "hidden_layer_sizes": network.recipe_.hidden,
            "max_iter": network.n_iter_,
            "n_iter_no_change": network.n_iter_,  # otherwise it may stop earlier
        }
        scores[DEFAULTS].append(peer_score(train, test, problem, seed, {}))
        scores[EQUAL].append(peer_score(train, test, problem, seed, equal))
        scores |= {"epochs": network.n_iter_, "network": "-".join(map(str, network.model_.widths))}
    return scores


def report(record: dict[str, dict[str, Any]]) -> str:
    """Return the results as a Markdown table: accuracy in percent, for numbers RMSE and R²."""
    lines = table_head(["table", "rows", "network of Lagvis", "epochs", *MODELS])
    for name, found in record.items():
        cells = [score_cell(found[model], found["deviations"]) for model in MODELS]
        lines.append(table_row([name, f"{found['rows']:,}", found["network"], f"{found['epochs']:,}", *cells]))
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Measure the models on the tables and print the results."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks small-tables",
        description=__doc__.splitlines()[0],
    )
    parser.add_argument("--only", default="", help="names of tables, with commas (default: all)")
    parser.add_argument("--seeds", type=int, default=5, help="splits (default: 5)")
    parser.add_argument("--recipe", default="table", help="recipe of Lagvis (default: table)")
    flags = parser.parse_args(arguments)
    facts = environment()
    print(", ".join(f"{key} {value}" for key, value in facts.items()), flush=True)
    record = {}
    with tempfile.TemporaryDirectory() as folder:
        for problem in PROBLEMS:
            if flags.only and problem.name not in flags.only.split(","):
                continue
            started = time.monotonic()
            record[problem.name] = measure(problem, read_problem(problem, Path(folder)), flags.seeds, flags.recipe)
            print(f"{problem.name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    print(f"\n{report(record)}")
    return 0
