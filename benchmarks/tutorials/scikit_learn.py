"""scikit-learn: MLPClassifier with its own Adam, ten passes over the rows.

The rows are float64, as its own examples of digits have them (`X / 255.0`).
"""

import contextlib
import io
import sys
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from benchmarks.tutorials.epoch_report import PARTS, EpochReport


class VerboseOutput(io.StringIO):
    """Takes what `fit` prints with verbose=True, its only sign of an epoch, and evaluates the network then."""

    def write(self, text: str) -> int:
        if text.startswith("Iteration"):
            with contextlib.redirect_stdout(sys.__stdout__):
                report.epoch_ended(lambda part: network.score(x[part], data[f"y_{part}"]))
        return len(text)


warnings.simplefilter("ignore", ConvergenceWarning)  # ten passes are asked for
data = dict(np.load(sys.argv[1]))
x = {part: data[f"x_{part}"] / 255.0 for part in ("train", *PARTS)}
report = EpochReport()
network = MLPClassifier((64, 64, 64), batch_size=100, max_iter=10, random_state=int(sys.argv[2]), verbose=True)
with contextlib.redirect_stdout(VerboseOutput()):
    network.fit(x["train"], data["y_train"])
