"""What `fit` yields and what a comparison finds: everything that `report` shows, as data."""

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
    """Data are on the device; the first step comes next."""

    model: Model
    plan: Plan


@dataclass(frozen=True)
class Progress:
    """A call of the backend has ended: where the run is, and the loss and accuracy of that call alone.

    `checkpoint` copies the state of this moment to the host (NotFiniteError where it holds numbers that are none); it
    must be asked before the run goes on.
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
    """An epoch has ended: `train` is the mean over its steps as they were taken, `checkpoint` its end on the host."""

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
        """Of the checkpoint."""
        return self.checkpoint.state


@dataclass(frozen=True)
class Finished:
    """The run is over: "completed" (then the test part has been looked at, once), "interrupted" or "diverged".

    `checkpoint` is the newest one with finite numbers; `seconds` is from the first step to the last, without the looks
    at the validation part.
    """

    reason: str
    seconds: float
    train: Metrics | None
    validation: Metrics | None
    test: Metrics | None
    checkpoint: Checkpoint

    @property
    def epoch(self) -> int:
        """Whole epochs of the checkpoint."""
        return self.checkpoint.epoch

    @property
    def step(self) -> int:
        """Steps of the checkpoint."""
        return self.checkpoint.step

    @property
    def state(self) -> HostTree:
        """Of the checkpoint."""
        return self.checkpoint.state


Event = Started | Progress | EpochEnded | Finished
