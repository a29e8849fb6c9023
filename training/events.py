"""What `fit` yields and what a comparison finds: everything that `report` shows, as data."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from training.checkpoint import Checkpoint
from training.evaluation import Scores
from training.files import PAGE, PLOTS, TEXT
from training.findings import Calibration, Findings, Importance, Mistake, Weights
from training.model import Model
from training.plan import Plan

__all__ = [
    "PAGE",
    "PLOTS",
    "TEXT",
    "Calibration",
    "Comparison",
    "Difference",
    "EpochEnded",
    "Event",
    "Findings",
    "Finished",
    "Importance",
    "Kink",
    "Mistake",
    "Model",
    "Plan",
    "Progress",
    "Scores",
    "Started",
    "Weights",
]

HostTree = Any


@dataclass(frozen=True)
class Started:
    """Data are on the device; the first step comes next."""

    model: Model
    plan: Plan


@dataclass(frozen=True)
class Progress:
    """A span has ended: where the run is, and the loss and accuracy of that span alone.

    `checkpoint` copies the state of this moment to the host (NotFiniteError where it holds numbers that are none); it
    must be asked before the run goes on.
    """

    epoch: int
    step: int
    images: int
    rate: float
    scores: Scores
    seconds: float
    checkpoint: Callable[[], Checkpoint]


@dataclass(frozen=True)
class EpochEnded:
    """An epoch has ended: `train` is the mean over its steps as they were taken, `checkpoint` its end on the host."""

    epoch: int
    step: int
    images: int
    rate: float
    train: Scores
    validation: Scores | None
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
    train: Scores | None
    validation: Scores | None
    test: Scores | None
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


@dataclass(frozen=True)
class Difference:
    """One tensor of one backend against the reference, of the step that came nearest to its bound."""

    backend: str
    device: str
    tensor: str
    absolute: float
    relative: float
    bound: float
    free_run: float

    @property
    def share(self) -> float:
        """How much of the bound is used up; 1 is all of it."""
        return self.relative / self.bound

    @property
    def passed(self) -> bool:
        """Whether the bound holds; a NaN never does."""
        return self.share <= 1.0


@dataclass(frozen=True)
class Kink:
    """A ReLU unit whose z lies within rounding of zero, where two right answers may differ."""

    step: int
    layer: int
    row: int
    unit: int
    z: float


@dataclass(frozen=True)
class Comparison:
    """All differences, and the units near a kink, whose rows were replaced in the judged steps."""

    differences: list[Difference]
    kinks: list[Kink]

    @property
    def passed(self) -> bool:
        """Whether every bound holds."""
        return all(difference.passed for difference in self.differences)
