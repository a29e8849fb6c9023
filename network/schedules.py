"""Learning-rate schedules: `schedule(t, steps, max_lr, warmup, xp=xp)` returns the learning rates at the steps t."""

from lagvis.arrays import Array, Namespace


def constant(t: Array, steps: int, max_lr: float, warmup: float, *, xp: Namespace) -> Array:
    """Return max_lr at every step t (S,) -> (S,); `steps` and `warmup` are not used."""
    return max_lr + 0.0 * t


def linear(t: Array, steps: int, max_lr: float, warmup: float, *, xp: Namespace) -> Array:
    """Rise to max_lr in equal steps over the first `warmup` (0..1) of the run, then fall in equal steps towards 0.

    Steps t (S,) out of 0..T-1 and u = round(warmup T): max_lr (t + 1) / u while t < u, then max_lr (T - t) / (T - u).
    """
    rising = round(warmup * steps)
    up = (t + 1) / max(rising, 1)
    down = (steps - t) / max(steps - rising, 1)
    return max_lr * xp.where(t < rising, up, down)


SCHEDULES = {"constant": constant, "linear": linear}
