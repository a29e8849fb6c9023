"""What the feature columns of a table hold: the pixels of a square image, or numbers."""

import math

AUTO, PIXELS, NUMBERS = FEATURE_TYPES = ("auto", "pixels", "numbers")
MIN_PIXELS = 64  # from this many feature columns on, AUTO takes a square number of whole numbers 0..255 as an image
MIN_BRIGHTEST = 128  # if the largest is at least this: counts and answers to questions are smaller


def image_side(n_features: int) -> int:
    """Return the side of a square image of so many pixels; 0 where they are too few for AUTO, or no square."""
    side = math.isqrt(n_features)
    return side if n_features >= MIN_PIXELS and side * side == n_features else 0
