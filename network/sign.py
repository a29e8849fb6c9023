"""The sign of each element, for penalties, losses and optimizers."""

from lagvis.arrays import Array, Namespace


def sign(a: Array, *, xp: Namespace) -> Array:
    """Return -1, 0 or 1 for each element, of the dtype of a; xp.sign of CuPy waits for the device."""
    return xp.astype(a > 0, a.dtype) - xp.astype(a < 0, a.dtype)
