import numpy as np
import pytest
from scipy import stats

from benchmarks.ratios import paired_ratios, skipped_ranks


def test_paired_ratios_divide_within_pairs_so_that_a_slow_minute_changes_nothing():
    found = paired_ratios([2.0, 20.0, 2.0, 2.2, 2.0], [1.0, 10.0, 1.0, 1.1, 1.0])
    assert (found.median, found.low, found.high, found.spread, found.pairs) == (2.0, 2.0, 2.0, 0.0, 5)
    assert found.is_known


def test_paired_ratios_with_fewer_than_six_pairs_have_the_range_as_interval():
    found = paired_ratios([1.0, 2.0, 3.0, 4.0, 5.0], [1.0] * 5)
    assert (found.low, found.median, found.high) == (1.0, 3.0, 5.0)
    assert found.spread == pytest.approx(2 / 3)
    assert not found.is_known


def test_paired_ratios_of_one_pair_are_not_known():
    assert not paired_ratios([1.0], [1.0]).is_known


def test_paired_ratios_with_many_pairs_leave_outliers_out_of_the_interval():
    found = paired_ratios([1.0] * 19 + [50.0], [1.0] * 20)
    assert (found.low, found.high, found.spread) == (1.0, 1.0, 0.0)


@pytest.mark.parametrize("count", [6, 9, 20, 41])
def test_skipped_ranks_are_those_of_the_sign_test(count):
    skipped = skipped_ranks(count)
    assert 2 * stats.binom.cdf(skipped, count, 0.5) <= 0.05 < 2 * stats.binom.cdf(skipped + 1, count, 0.5)


def test_paired_ratios_interval_holds_the_true_median_in_95_percent_of_experiments():
    rng = np.random.default_rng(0)
    experiments = [paired_ratios(rng.lognormal(size=15), [1.0] * 15) for _ in range(2000)]
    share = np.mean([found.low <= 1.0 <= found.high for found in experiments])
    assert 0.94 <= share <= 0.99


def test_paired_ratios_refuse_lists_of_different_lengths_and_empty_ones():
    with pytest.raises(ValueError, match="shorter"):
        paired_ratios([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="no pairs"):
        paired_ratios([], [])
