"""Schedules of the learning rate, and of momentum: functions of the number of a step alone.

schedule.lr_share(t, steps, xp=xp)               share of the recipe's lr at the steps t (S,), floats of 0..steps-1
schedule.momentum(t, steps, momentum, xp=xp)     momentum at these steps; None where it does not change
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from lagvis.arrays import Array, Namespace

ONE_CYCLE_START = 1 / 25  # share of lr at the first step of one-cycle


class Schedule(NamedTuple):
    """Learning rate and momentum of a run; see the head of this file."""

    lr_share: Callable[..., Array]
    momentum: Callable[..., Array] | None = None


class ScheduleEntry(NamedTuple):
    """Entry of the table of schedules.

    make      builds the schedule from the recipe keys `settings`, given by keyword
    settings  the recipe keys that it takes, each with its default for this schedule
    """

    make: Callable[..., Schedule]
    settings: dict[str, Any]


def constant(*, warmup: float) -> Schedule:
    """lr at every step after the warm-up."""
    return with_warmup(warmup, lambda s, n, xp: 1.0 + 0.0 * s)


def linear(*, warmup: float, min_lr_ratio: float) -> Schedule:
    """Fall in equal steps: 1 - s / n, towards min_lr_ratio instead of 0."""
    return with_warmup(warmup, lambda s, n, xp: min_lr_ratio + (1.0 - min_lr_ratio) * ((n - s) / n))


def cosine(*, warmup: float, min_lr_ratio: float) -> Schedule:
    """Fall along half a cosine: (1 + cos(pi s / n)) / 2, towards min_lr_ratio instead of 0 (arXiv:1608.03983)."""
    half = 0.5 * (1.0 - min_lr_ratio)
    return with_warmup(warmup, lambda s, n, xp: min_lr_ratio + half * (1.0 + xp.cos(math.pi * s / n)))


def step(*, warmup: float, min_lr_ratio: float, lr_step_size: float, lr_gamma: float) -> Schedule:
    """Multiply by lr_gamma after each lr_step_size (a share of the run), down to min_lr_ratio."""

    def lr_share(t: Array, steps: int, *, xp: Namespace) -> Array:
        size = max(round(lr_step_size * steps), 1)
        stairs = with_warmup(warmup, lambda s, n, xp: xp.maximum(lr_gamma ** xp.floor(s / size), min_lr_ratio))
        return stairs.lr_share(t, steps, xp=xp)

    return Schedule(lr_share)


def one_cycle(*, warmup: float, min_lr_ratio: float, base_momentum: float) -> Schedule:
    """Rise from ONE_CYCLE_START to 1 and fall to min_lr_ratio, both along a cosine, while momentum falls and rises.

    Smith and Topin 2018 (arXiv:1708.07120), with the two phases of PyTorch's OneCycleLR.
    """

    def nearness(t: Array, steps: int, xp: Namespace) -> tuple[Array, Array]:
        """Return which steps are before the peak, and how near to it each is: 1 there, 0 at both ends."""
        peak = max(warmup * steps - 1.0, 0.0)
        rises = t < peak
        if steps == 1:
            return rises, 1.0 + 0.0 * t
        way = xp.where(rises, t / (peak or 1.0), (steps - 1.0 - t) / (steps - 1.0 - peak))
        return rises, 0.5 * (1.0 - xp.cos(math.pi * way))

    def lr_share(t: Array, steps: int, *, xp: Namespace) -> Array:
        rises, near = nearness(t, steps, xp)
        low = xp.where(rises, ONE_CYCLE_START + 0.0 * t, min_lr_ratio + 0.0 * t)
        return low + (1.0 - low) * near

    def momentum_at(t: Array, steps: int, momentum: float, *, xp: Namespace) -> Array:
        return momentum + (base_momentum - momentum) * nearness(t, steps, xp)[1]

    return Schedule(lr_share, momentum_at)


def with_warmup(warmup: float, decay: Callable[[Array, int, Namespace], Array]) -> Schedule:
    """Rise in equal steps over the first u = round(warmup T) steps of T: (t + 1) / u; then decay(t - u, T - u, xp)."""

    def lr_share(t: Array, steps: int, *, xp: Namespace) -> Array:
        rising = round(warmup * steps)
        fallen = decay(xp.maximum(t - rising, 0.0), max(steps - rising, 1), xp)
        return xp.where(t < rising, (t + 1) / max(rising, 1), fallen)

    return Schedule(lr_share)


# "warmup" is a share of the run, "min_lr_ratio" of lr. One-cycle ends at 1/10,000 of its first rate.
SCHEDULES = {
    "constant": ScheduleEntry(constant, {"warmup": 0.0}),
    "linear": ScheduleEntry(linear, {"warmup": 0.3, "min_lr_ratio": 0.0}),
    "cosine": ScheduleEntry(cosine, {"warmup": 0.1, "min_lr_ratio": 0.0}),
    "step": ScheduleEntry(step, {"warmup": 0.0, "min_lr_ratio": 0.0, "lr_step_size": 0.3, "lr_gamma": 0.1}),
    "one-cycle": ScheduleEntry(one_cycle, {"warmup": 0.3, "min_lr_ratio": 4e-6, "base_momentum": 0.85}),
}
