"""The lines that a script prints about its epochs, and that benchmarks/command.py reads."""

import json
import time
from collections.abc import Callable

PARTS = ("validation", "test")


class EpochReport:
    """Print for each epoch when its network was ready and how accurate it is.

    Evaluation does not count: `seconds_evaluating` is the time that it took in earlier epochs, which is taken out of
    the clock.
    """

    def __init__(self) -> None:
        self.epoch, self.seconds_evaluating = 0, 0.0

    def epoch_ended(self, accuracy: Callable[[str], float]) -> None:
        """Note the time, call `accuracy("validation")` and `accuracy("test")`, and print the line of the epoch."""
        ready = time.time()
        self.epoch += 1
        accuracies = {part: float(accuracy(part)) for part in PARTS}
        line = {"epoch": self.epoch, "time": ready - self.seconds_evaluating, **accuracies}
        self.seconds_evaluating += time.time() - ready
        print(json.dumps(line | {"seconds_evaluating": self.seconds_evaluating}), flush=True)
