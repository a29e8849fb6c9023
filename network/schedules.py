"""Learning-rate schedules: `schedule(t, steps, peak, warmup, xp=xp)` gives the rates at the steps t."""

from typing import Any

Array = Any


def constant(t: Array, steps: int, peak: float, warmup: float, *, xp: Any) -> Array:
    """The peak at every step t (S,) -> (S,); `steps` and `warmup` play no part."""
    return peak + 0.0 * t


def linear(t: Array, steps: int, peak: float, warmup: float, *, xp: Any) -> Array:
    """Up to the peak in equal steps over the first `warmup` (0..1) of the run, then down in equal steps towards 0.

    Steps t (S,) out of 0..T-1 and u = round(warmup T): peak (t + 1) / u while t < u, then peak (T - t) / (T - u).
    """
    rising = round(warmup * steps)
    up = (t + 1) / max(rising, 1)
    down = (steps - t) / max(steps - rising, 1)
    return peak * xp.where(t < rising, up, down)


SCHEDULES = {"constant": constant, "linear": linear}
