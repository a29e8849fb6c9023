"""Events of a run, as `fit` yields them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lagvis.training.checkpoint import Checkpoint
from lagvis.training.evaluation import Metrics
from lagvis.training.model import Model
from lagvis.training.plan import Plan

HostTree = Any


@dataclass(frozen=True)
class Started:
    """The data are on the device; the first step comes next."""

    model: Model
    plan: Plan


@dataclass(frozen=True)
class Progress:
    """A call of the backend has ended: the position of the run, and the metrics of that call alone.

    `checkpoint` copies the current state to the host, and raises NotFiniteError if it is not finite. Call it before the
    next event is requested.
    """

    epoch: int
    step: int
    samples: int
    learning_rate: float
    metrics: Metrics
    seconds: float
    checkpoint: Callable[[], Checkpoint]


@dataclass(frozen=True)
class EpochEnded:
    """An epoch has ended: `train` is the mean over its steps, while the parameters changed."""

    epoch: int
    step: int
    samples: int
    learning_rate: float
    train: Metrics
    validation: Metrics | None
    seconds: float
    checkpoint: Checkpoint

    @property
    def state(self) -> HostTree:
        """Parameters and optimizer state of the checkpoint, on the host."""
        return self.checkpoint.state


@dataclass(frozen=True)
class Finished:
    """The run has ended: "completed", "interrupted" or "diverged".

    Only a completed run has evaluated the test part, `test`; it is None where the data have none.
    `checkpoint` is the network, with `train` and `validation` of its epoch: the newest one with finite numbers, or with
    patience that of the best epoch. `newest` is then the state that training continues from. `stopped_early` tells
    whether a completed run ended for want of a lower validation loss, before its last epoch. `seconds` counts the steps
    and the copies of the state from the device, in all parts of the run; evaluations and the work of the caller do not
    count.
    """

    reason: str
    seconds: float
    train: Metrics | None
    validation: Metrics | None
    test: Metrics | None
    checkpoint: Checkpoint
    newest: Checkpoint
    stopped_early: bool = False

    @property
    def epoch(self) -> int:
        """Finished epochs of the run."""
        return self.newest.epoch

    @property
    def step(self) -> int:
        """Steps of the run."""
        return self.newest.step

    @property
    def restored(self) -> bool:
        """Whether the network is that of an earlier epoch than the last."""
        return self.checkpoint.step != self.newest.step

    @property
    def state(self) -> HostTree:
        """Parameters and optimizer state of the checkpoint, on the host."""
        return self.checkpoint.state


Event = Started | Progress | EpochEnded | Finished
