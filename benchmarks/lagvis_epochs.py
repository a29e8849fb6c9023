"""`python -m benchmarks.lagvis_epochs mnist.npz SEED`: train as train.py does with that seed, and judge every epoch.

train.py tells the validation accuracy of its epochs, and the test accuracy of the last one. The same seed trains the
same network, so this process, whose time does not count, finds the other test accuracies. It also writes the rows of
that run, training, validation and test part, to the file from which other libraries read them.
"""

import sys
from functools import partial
from typing import Any

import numpy as np

import lagvis as lv
from benchmarks.tutorials.epoch_report import EpochReport


def accuracy(network: lv.TrainedModel, rows: dict[str, tuple[np.ndarray, np.ndarray]], part: str) -> float:
    """Return the accuracy of a network on a part of the rows."""
    found = network.evaluate(*rows[part]).accuracy
    assert found is not None, "the digits are classes"
    return found


def main() -> None:
    """Train, write the file and print the lines of the epochs."""
    data, report = lv.load_dataset("mnist"), EpochReport()
    rows = {"test": (data.x_test, data.y_test)}
    for event in lv.fit(data, device="cpu", seed=int(sys.argv[2])):
        if isinstance(event, lv.Started):
            for part, index in (("train", event.plan.training_rows), ("validation", event.plan.validation_rows)):
                rows[part] = data.x_train[index], data.y_train[index]
            arrays: dict[str, Any] = {f"{'xy'[i]}_{part}": pair[i] for part, pair in rows.items() for i in (0, 1)}
            np.savez(sys.argv[1], **arrays)
        if isinstance(event, lv.EpochEnded):
            report.epoch_ended(partial(accuracy, lv.TrainedModel(event.checkpoint), rows))


if __name__ == "__main__":
    main()
