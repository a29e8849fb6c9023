"""Ratios of times that were measured in pairs.

A machine that slows down for a minute slows both measurements of a pair, so that their ratio stays nearly the same. The
medians of all first and of all second measurements have no such protection.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95
MAX_SPREAD = 0.05  # up to which a ratio is taken as known
MIN_PAIRS = 5  # fewer can agree by chance


@dataclass(frozen=True)
class Ratios:
    """The median of paired ratios and how well it is known.

    low, high  95 % confidence interval of the median; with fewer than six pairs the least and the greatest ratio
    spread     half the width of that interval, as a share of the median
    pairs      number of pairs
    """

    median: float
    low: float
    high: float
    spread: float
    pairs: int

    @property
    def is_known(self) -> bool:
        """Whether there are enough pairs, and their spread is small enough, to rely on the median."""
        return self.pairs >= MIN_PAIRS and self.spread <= MAX_SPREAD


def paired_ratios(first: Sequence[float], second: Sequence[float]) -> Ratios:
    """Return the ratios first / second of measurements that were taken in pairs; ValueError without any."""
    ratios = sorted(a / b for a, b in zip(first, second, strict=True))
    if not ratios:
        raise ValueError("there are no pairs; expected at least one measurement of each")
    skipped = skipped_ranks(len(ratios))
    low, median, high = ratios[skipped], statistics.median(ratios), ratios[-1 - skipped]
    return Ratios(median, low, high, (high - low) / (2 * median), len(ratios))


def skipped_ranks(count: int) -> int:
    """Return how many of the sorted values lie outside the confidence interval of the median, at each end.

    Each value lies below the true median with probability 1/2, whatever the distribution: at most k of them do with the
    binomial probability of k or fewer heads in `count` tosses. The interval needs no other assumption.
    """
    skipped, outside = 0, 0.0
    for k in range(count // 2):
        outside += math.comb(count, k) / 2**count
        if 2 * outside > 1 - CONFIDENCE:
            break
        skipped = k
    return skipped
