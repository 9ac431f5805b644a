"""Statistics against planted data, against the library's own tests, and against their promises in simulations."""

import itertools
import math
import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from results.statistics import (
    Change,
    Moments,
    accuracy_summary,
    adjust_for_many,
    difference_of_means,
    difference_of_moments,
    fewest_trials,
    median_summary,
    p_over_target,
    ratio_of_times,
    reached_interval,
    smallest_p,
)


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


# --- one side ---------------------------------------------------------------------------------------------------------


def test_accuracy_of_planted_data():
    """Mean 0.94, squared deviations 4 + 1 + 0 + 1 + 4 = 10 in units of 1e-6; t(0.975, 4) = 2.776."""
    summary = accuracy_summary([0.938, 0.939, 0.940, 0.941, 0.942], 0.9385)
    assert summary.n == 5
    assert summary.mean == pytest.approx(0.94)
    assert summary.std == pytest.approx(math.sqrt(10e-6 / 4))
    half = 2.776445 * summary.std / math.sqrt(5)
    assert summary.interval == pytest.approx((0.94 - half, 0.94 + half))
    assert summary.reached == 4


@given(st.lists(st.floats(0.9, 1), min_size=2, max_size=20, unique=True), st.floats(0.9, 1))
def test_accuracy_agrees_with_the_t_test_of_scipy(accuracies, target):
    if np.std(accuracies) < 1e-6:
        return  # scipy warns of cancellation
    summary = accuracy_summary(accuracies, target)
    over = stats.ttest_1samp(accuracies, target, alternative="greater")
    assert summary.p == pytest.approx(over.pvalue, abs=1e-12)
    interval = stats.ttest_1samp(accuracies, target).confidence_interval(0.95)
    assert summary.interval == pytest.approx((interval.low, interval.high))


def test_p_is_small_when_the_mean_is_over_the_target_and_large_when_it_is_under():
    accuracies = np.random.default_rng(0).normal(0.9405, 0.0014, 200)
    assert accuracy_summary(list(accuracies), 0.94).p < 1e-3
    assert accuracy_summary(list(accuracies), 0.941).p > 1 - 1e-3


def test_p_is_uniform_when_the_mean_is_at_the_target():
    generator = np.random.default_rng(0)
    p = [accuracy_summary(list(generator.normal(0.94, 0.0014, 8)), 0.94).p for _ in range(1000)]
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_one_accuracy_has_a_mean_and_nothing_else():
    summary = accuracy_summary([0.94], 0.94)
    assert (summary.n, summary.mean, summary.reached) == (1, 0.94, 1)
    assert (summary.std, summary.interval, summary.p) == (None, None, None)


@pytest.mark.parametrize("accuracy", [0.1, 0.94, 0.9401])
def test_equal_accuracies_have_neither_interval_nor_p(accuracy):
    summary = accuracy_summary([accuracy] * 3, 0.94)
    assert (summary.mean, summary.std, summary.interval, summary.p) == (accuracy, 0, None, None)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_an_interval_that_is_stated_holds_the_mean_also_of_few_test_images(n):
    """Of 360 test images: two trials in five draws are equal."""
    draws = np.round(np.random.default_rng(n).normal(0.964, 0.002, (1000, n)) * 360) / 360
    stated = [found for found in (accuracy_summary(draw, 0.9).interval for draw in draws.tolist()) if found]
    assert np.mean([low <= 0.964 <= high for low, high in stated]) > 0.93


def test_the_t_interval_holds_the_mean_as_often_as_it_says():
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(1000):
        low, high = accuracy_summary(list(generator.normal(0.94, 0.0014, 5)), 0.94).interval
        held += low <= 0.94 <= high
    assert 0.93 < held / 1000 < 0.97


def test_median_of_planted_data():
    summary = median_summary([3.0, 1.0, 2.0, 10.0])
    assert (summary.n, summary.median, summary.mean, summary.min, summary.max) == (4, 2.5, 4.0, 1.0, 10.0)
    assert summary.std == pytest.approx(math.sqrt((1 + 9 + 4 + 36) / 3))
    assert summary.interval is None


@pytest.mark.parametrize(("n", "first"), [(6, 1), (8, 1), (9, 2), (12, 3), (17, 5), (20, 6), (50, 18)])
def test_the_interval_of_a_median_is_between_the_order_statistics_of_the_tables(n, first):
    """Ranks as printed for 95% by Conover (1999, "Practical Nonparametric Statistics", 3.2)."""
    assert median_summary(range(1, n + 1)).interval == (first, n + 1 - first)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_fewer_than_six_samples_have_no_interval(n):
    assert median_summary([1.0, 2.0, 3.0, 4.0, 5.0][:n]).interval is None


@pytest.mark.parametrize("n", [6, 7, 10, 25])
def test_the_interval_holds_the_median_at_least_as_often_as_it_says(n):
    """Of a skewed distribution with a slow trial now and then, whose median is 1."""
    draws = np.random.default_rng(n).lognormal(0, 0.3, (2000, n)) ** 2
    held = [low <= 1 <= high for low, high in (median_summary(list(draw)).interval for draw in draws)]
    assert np.mean(held) > 0.94


@pytest.mark.parametrize("summary", [median_summary, lambda samples: accuracy_summary(samples, 0.94)])
@pytest.mark.parametrize("samples", [[], [math.nan], [1.0, math.inf]])
def test_what_is_no_sample_is_refused(summary, samples):
    with pytest.raises(ValueError, match="statistics need one finite number"):
        summary(samples)


def test_the_share_that_reaches_is_clopper_and_pearsons():
    """8 of 10: the shares under which 8 or more, and over which 8 or fewer, have a probability of 2.5%."""
    low, high = reached_interval(8, 10)
    assert stats.binom.sf(7, 10, low) == pytest.approx(0.025)
    assert stats.binom.cdf(8, 10, high) == pytest.approx(0.025)


@pytest.mark.parametrize("n", [1, 2, 3, 10, 40])
def test_the_share_that_reaches_agrees_with_scipy(n):
    for reached in range(n + 1):
        expected = stats.binomtest(reached, n).proportion_ci(0.95, method="exact")
        assert reached_interval(reached, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_no_trials_have_no_share_that_reaches():
    with pytest.raises(ValueError, match="one trial at least"):
        reached_interval(0, 0)


def test_what_a_run_ends_with_does_not_wait_for_the_import_of_scipy_stats():
    code = (
        "import sys; from results.statistics import accuracy_summary, median_summary, reached_interval;"
        "accuracy_summary([0.93, 0.94], 0.935); median_summary([1.0, 2.0]); reached_interval(1, 2);"
        "assert 'scipy.special' in sys.modules and 'scipy.stats' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- times of two sides -----------------------------------------------------------------------------------------------


def times(generator, n, factor=1.0, spread=0.02):
    return list(factor * generator.lognormal(0, spread, n))


def test_times_that_do_not_overlap_have_the_smallest_p_and_an_interval_over_all_ratios():
    before, after = [1.0, 1.1, 1.2, 1.3], [2.0, 2.2, 2.4, 2.6]
    change = ratio_of_times(before, after)
    ratios = sorted(b / a for a, b in itertools.product(before, after))
    assert change.size == pytest.approx(math.sqrt(ratios[7] * ratios[8]))
    assert change.p == pytest.approx(smallest_p(4, 4)) == pytest.approx(2 / 70)
    assert change.interval == pytest.approx((ratios[0], ratios[-1]))


@pytest.mark.parametrize(("n", "m"), [(4, 4), (5, 8), (10, 10), (20, 12)])
def test_the_interval_is_what_the_rank_test_does_not_reject(n, m):
    """The test's p passes 5% where the samples are divided by a bound of the interval."""
    generator = np.random.default_rng(n + m)
    before, after = times(generator, n), times(generator, m, 1.01)
    for bound, inside in zip(ratio_of_times(before, after).interval, (1 + 1e-9, 1 - 1e-9), strict=True):
        shifted = [[time / (bound * inside**sign) for time in after] for sign in (1, -1)]
        kept, rejected = (stats.mannwhitneyu(one, before, method="exact").pvalue for one in shifted)
        assert rejected <= 0.05 < kept


def test_the_paired_interval_is_what_the_signed_rank_test_does_not_reject():
    generator = np.random.default_rng(3)
    before, after = times(generator, 12), times(generator, 12, 1.01)
    for bound, inside in zip(ratio_of_times(before, after, paired=True).interval, (1 + 1e-9, 1 - 1e-9), strict=True):
        logs = [np.log(after) - np.log(before) - math.log(bound * inside**sign) for sign in (1, -1)]
        kept, rejected = (stats.wilcoxon(one, method="exact").pvalue for one in logs)
        assert rejected <= 0.05 < kept


@pytest.mark.parametrize("n", [4, 5, 10, 20, 60])
@pytest.mark.parametrize("paired", [False, True])
def test_the_interval_holds_the_ratio_as_often_as_it_says(n, paired):
    if paired and n < 6:
        pytest.skip("five pairs have no interval")
    generator, held = np.random.default_rng(n), 0
    for _ in range(1000):
        change = ratio_of_times(times(generator, n), times(generator, n, 1.05), paired=paired)
        held += change.interval[0] <= 1.05 <= change.interval[1]
    assert held / 1000 > 0.93


@pytest.mark.parametrize("paired", [False, True])
def test_a_change_is_significant_as_rarely_as_stated(paired):
    generator = np.random.default_rng(1)
    sides = generator.lognormal(0, 0.02, (1000, 2, 8))
    false = [ratio_of_times(list(a), list(b), paired=paired).significant() for a, b in sides]
    assert sum(false) / 1000 < 0.065


def test_pairs_are_free_of_drift():
    """A machine that slows down by a tenth a trial, and a change of 1% in every pair but for 0.1% of noise."""
    before = [1.1**index for index in range(10)]
    after = [1.01 * second * noise for second, noise in zip(before, [0.999, 1.001] * 5, strict=True)]
    paired, apart = (ratio_of_times(before, after, paired=paired) for paired in (True, False))
    assert paired.p == pytest.approx(smallest_p(10, 10, paired=True)) == pytest.approx(2**-9)
    assert paired.size == pytest.approx(1.01, abs=1e-5)
    assert 1.0089 < paired.interval[0] < paired.interval[1] < 1.0111
    assert apart.p > 0.5


def test_equal_times_are_no_change():
    for paired in (True, False):
        change = ratio_of_times([1.0] * 8, [1.0] * 8, paired=paired)
        assert (change.size, change.interval, change.p) == (1, (1, 1), 1)
        assert not change.significant()
        assert change.within(0.001)


def test_few_samples_have_no_interval_and_cannot_be_significant():
    change = ratio_of_times([1.0], [2.0])
    assert (change.interval, change.significant(), change.within(9.0)) == (None, False, False)
    assert fewest_trials() == 4  # 2 / C(8, 4) = 0.029, 2 / C(6, 3) = 0.1
    assert fewest_trials(paired=True) == 6


def test_many_samples_are_thinned_without_losing_the_estimate():
    generator = np.random.default_rng(0)
    before, after = times(generator, 30_000), times(generator, 3_000, 1.01)
    change = ratio_of_times(before, after)
    assert change.size == pytest.approx(1.01, abs=1e-3)
    assert change.interval[1] - change.interval[0] == pytest.approx(2 * 1.96 * 0.02 / math.sqrt(3000) * 1.07, rel=0.1)


@pytest.mark.parametrize("pair", [([], [1.0]), ([1.0], [])])
def test_no_samples_are_refused(pair):
    for change in (ratio_of_times, difference_of_means):
        with pytest.raises(ValueError, match="cannot be compared"):
            change(*pair)
    with pytest.raises(ValueError, match="2 and 1 samples"):
        ratio_of_times([1.0, 2.0], [1.0], paired=True)


@pytest.mark.parametrize(
    ("n", "m", "method"),
    [(5, 5, "exact"), (20, 9, "exact"), (1, 3, "exact"), (60, 1, "exact"), (3, 60, "exact"), (60, 70, "auto")],
)
def test_p_is_that_of_scipys_rank_sum_test(n, m, method):
    random = np.random.default_rng(n)
    before, after = list(random.random(n)), list(random.random(m))
    expected = stats.mannwhitneyu(after, before, method=method).pvalue
    assert ratio_of_times(before, after).p == pytest.approx(expected)


@pytest.mark.parametrize("n", [3, 12, 50])
def test_p_of_pairs_is_that_of_scipys_signed_rank_test(n):
    random = np.random.default_rng(n)
    before, after = list(random.random(n)), list(random.random(n))
    expected = stats.wilcoxon(np.log(after) - np.log(before), method="exact").pvalue
    assert ratio_of_times(before, after, paired=True).p == pytest.approx(expected)


@pytest.mark.parametrize(
    ("sizes", "has_interval"), [((20, 1), False), ((60, 1), True), ((1, 400), True), ((3000, 1), False)]
)
def test_one_sample_can_be_compared_with_many(sizes, has_interval):
    """It has an interval where its ranks are counted and one of the orders is rare enough."""
    before, after = ([1.5] if n == 1 else list(np.linspace(1, 2, n)) for n in sizes)
    change = ratio_of_times(before, after)
    assert 0.05 < change.p <= 1
    assert (change.interval is not None) == has_interval


def test_ties_count_against_a_change():
    """In 9 of 25 pairs the later one is not larger, and 69 of 252 orders have 9 such pairs or fewer."""
    change = ratio_of_times([1.0, 2.0, 2.0, 3.0, 4.0], [2.0, 3.0, 3.0, 4.0, 5.0])
    assert change.p == pytest.approx(2 * 69 / 252)


@given(
    st.lists(st.floats(0.9, 1.1), min_size=4, max_size=60),
    st.lists(st.sampled_from([0.95, 1.0, 1.05, 1.1, 1.2]), min_size=4, max_size=60),
    st.booleans(),
    st.sampled_from([0.05, 0.042, 0.0074, 0.0008]),
)
def test_the_interval_excludes_no_change_exactly_where_p_is_significant(before, after, paired, level):
    n = min(len(before), len(after))
    sides = (before[:n], after[:n]) if paired else (before, after)
    change = ratio_of_times(*sides, paired=paired, level=level)
    excluded = change.interval is not None and not change.interval[0] <= 1 <= change.interval[1]
    assert excluded == change.significant(level)


@pytest.mark.parametrize("level", [0.05, 0.0074])
def test_an_interval_of_accuracies_has_the_level_that_is_asked_for(level):
    before, after = np.random.default_rng(0).normal(0.94, 0.001, (2, 12))
    found = difference_of_means(list(before), list(after), level=level)
    expected = stats.ttest_ind(after, before, equal_var=False).confidence_interval(1 - level)
    assert found.interval == pytest.approx((expected.low, expected.high))
    assert found.level == level


# --- accuracies of two sides ------------------------------------------------------------------------------------------


def test_accuracy_is_welchs_test():
    before, after = [0.938, 0.939, 0.940, 0.941, 0.942], [0.944, 0.948, 0.946]
    change = difference_of_means(before, after)
    error = math.sqrt(2.5e-6 / 5 + 4e-6 / 3)
    freedom = error**4 / ((2.5e-6 / 5) ** 2 / 4 + (4e-6 / 3) ** 2 / 2)
    assert change.size == pytest.approx(0.006)
    assert change.p == pytest.approx(2 * stats.t.sf(0.006 / error, freedom))
    half = stats.t.ppf(0.975, freedom) * error
    assert change.interval == pytest.approx((0.006 - half, 0.006 + half))


def test_accuracies_without_a_spread_are_judged_by_their_ranks():
    assert difference_of_means([0.95] * 4, [0.94] * 4).significant()
    assert not difference_of_means([0.95] * 3, [0.94] * 3).significant()
    same = difference_of_means([0.95] * 4, [0.95] * 4)
    assert (same.significant(), same.within(0.001)) == (False, True)


def test_moments_give_the_interval_and_p_of_their_samples():
    before, after = [0.938, 0.939, 0.940, 0.941, 0.942], [0.944, 0.948, 0.946]
    moments = [Moments(np.mean(side), np.std(side, ddof=1), len(side)) for side in (before, after)]
    test = stats.ttest_ind(after, before, equal_var=False)
    change = difference_of_moments(*moments)
    assert change.p == pytest.approx(test.pvalue)
    assert change.interval == pytest.approx(tuple(test.confidence_interval(0.95)))


def test_a_published_mean_is_tested_by_what_its_source_gives():
    """hiverge/cifar10-speedrun states p = 0.0034 for its 2.015 s: mean 94.008%, standard deviation 0.132, 2000 runs."""
    assert p_over_target(Moments(0.94008, 0.00132, 2000), 0.94) == pytest.approx(0.0034, abs=5e-5)


def test_a_single_run_is_compared_with_a_spread_that_is_taken_as_known():
    change = difference_of_moments(Moments(0.94, 0.001, 1), Moments(0.943, 0.001, 10))
    half = stats.t.ppf(0.975, 9) * 0.001 * math.sqrt(1.1)
    assert change.interval == pytest.approx((0.003 - half, 0.003 + half))


def test_moments_without_a_spread_are_refused():
    for pair in ((Moments(0.9, 0, 5), Moments(0.9, 0, 5)), (Moments(0.9, 0.1, 1), Moments(0.9, 0.1, 1))):
        with pytest.raises(ValueError, match="neither shows a spread"):
            difference_of_moments(*pair)
    with pytest.raises(ValueError, match="needs two samples and a spread"):
        p_over_target(Moments(0.94, 0.001, 1), 0.94)
    with pytest.raises(ValueError, match="needs n >= 1"):
        Moments(0.94, -0.001, 1)


def test_p_of_many_comparisons_is_adjusted():
    """The smallest of four counts fourfold, the second twofold; the order is kept, and so is a missing one."""
    adjusted = adjust_for_many([0.02, None, 0.001, 0.5, 0.9])
    assert adjusted == [pytest.approx(0.04), None, pytest.approx(0.004), pytest.approx(2 / 3), pytest.approx(0.9)]
    assert adjust_for_many([None]) == [None]


# --- how many samples would decide ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "needed"),
    [
        (Change(1.0, (0.96, 1.04), 0.9, 10), 40),  # to lie inside ± 2%, half the width
        (Change(1.01, (0.99, 1.03), 0.3, 10), 40),
        (Change(1.04, (0.96, 1.12), 0.3, 10), 40),  # to exclude no change
        (Change(1.5, None, 0.1, 3), 4),
        (Change(1.5, None, None, 1), 4),
    ],
)
def test_the_interval_narrows_with_the_square_root(change, needed):
    assert change.needed(0.02) == needed


def test_a_change_at_the_limit_needs_more_than_any_number():
    assert Change(1.02 - 1e-6, (0.9, 1.14), 0.3, 10).needed(0.02) is None


@pytest.mark.parametrize("factor", [1.0, 1.05])
def test_so_many_samples_do_decide_mostly(factor):
    """With the number that a pilot of ten asked for: within the limit without a change, significant with one of 5%."""
    generator, decided = np.random.default_rng(7), []
    for _ in range(200):
        pilot = ratio_of_times(times(generator, 10, spread=0.04), times(generator, 10, factor, spread=0.04))
        needed = min(pilot.needed(0.02) or 1000, 1000)
        sides = times(generator, needed, spread=0.04), times(generator, needed, factor, spread=0.04)
        change = ratio_of_times(*sides)
        decided.append(change.within(0.02) or change.significant())
    assert np.mean(decided) > 0.5
