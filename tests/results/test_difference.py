"""Changes against planted data, against scipy's own bootstrap, and against their promises in simulations."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from results.difference import (
    Change,
    accuracy_change,
    fewest_trials,
    rank_tests,
    reached_interval,
    smallest_p,
    time_change,
)


def times(generator, n, median=1.0, spread=0.02):
    return list(median * generator.lognormal(0, spread, n))


def test_times_that_do_not_overlap_have_the_smallest_p():
    change = time_change([1.0, 1.1, 1.2, 1.3], [2.0, 2.2, 2.4, 2.6], 1.02)
    assert change.size == pytest.approx(2)
    assert change.p == pytest.approx(smallest_p(4, 4)) == pytest.approx(2 / 70)
    low, high = change.interval
    assert 2.0 / 1.3 <= low < 2 < high <= 2.6 / 1.0


def test_pairs_are_free_of_drift():
    """A machine that slows down by a tenth a trial, and a change of 1% in every pair but for 0.1% of noise."""
    before = [1.1**index for index in range(10)]
    after = [1.01 * second * noise for second, noise in zip(before, [0.999, 1.001] * 5, strict=True)]
    paired, apart = (time_change(before, after, 1.01, paired=paired) for paired in (True, False))
    assert paired.p == pytest.approx(smallest_p(10, 10, paired=True)) == pytest.approx(2**-9)
    assert paired.size == pytest.approx(1.01)
    assert 1.0089 < paired.interval[0] < paired.interval[1] < 1.0111
    assert apart.p > 0.5
    assert paired.needed == fewest_trials(paired=True) == 6
    assert apart.needed > 1000


def test_equal_times_are_no_change():
    for paired in (True, False):
        change = time_change([1.0] * 8, [1.0] * 8, 1.02, paired=paired)
        assert (change.size, change.interval) == (1, (1, 1))
        assert not change.significant()


def test_a_test_that_the_interval_does_not_bear_out_is_not_significant():
    """Two humps, as of a machine that had other work in half of the trials: the ranks differ, the medians need not."""
    change = Change(0.88, (0.71, 1.02), 0.04, 100)
    assert not change.significant()
    assert dataclasses.replace(change, interval=(0.71, 0.99)).significant()
    assert not dataclasses.replace(change, interval=(0.71, 0.99)).significant(level=0.01)
    assert not Change(-0.01, (-0.02, 0.01), 0.04, 100, none=0.0).significant()


def test_many_rank_tests_at_once_are_those_of_each():
    """Of several sizes, with ties and without, so that scipy takes its exact and its asymptotic method."""
    random = np.random.default_rng(5)
    pairs = [(list(random.random(n)), list(random.random(m))) for n, m in ((5, 5), (5, 5), (20, 20), (20, 9), (1, 3))]
    pairs += [([1.0, 2.0, 2.0, 3.0, 4.0], [2.0, 3.0, 3.0, 4.0, 5.0]), ([1.0] * 5, [1.0] * 5)]
    assert rank_tests(pairs) == pytest.approx([stats.mannwhitneyu(a, b).pvalue for a, b in pairs])
    assert rank_tests([]) == []


def test_few_samples_have_no_interval_and_can_not_be_significant():
    change = time_change([1.0], [2.0], 1.02)
    assert (change.interval, change.needed, change.significant()) == (None, None, False)
    assert fewest_trials() == 4  # 2 / C(8, 4) = 0.029, 2 / C(6, 3) = 0.1


@pytest.mark.parametrize("pair", [([], [1.0]), ([1.0], [])])
def test_no_samples_are_refused(pair):
    for change in (time_change, accuracy_change):
        with pytest.raises(ValueError, match="can not be compared"):
            change(*pair, 1.1)
    with pytest.raises(ValueError, match="2 and 1 samples"):
        time_change([1.0, 2.0], [1.0], 1.1, paired=True)


@pytest.mark.parametrize(("n", "m"), [(5, 8), (20, 20), (31, 12)])
def test_the_interval_is_that_of_scipys_bootstrap(n, m):
    generator = np.random.default_rng(n)
    before, after = times(generator, n, spread=0.1), times(generator, m, 1.1, spread=0.1)
    theirs = stats.bootstrap(
        (np.array(after), np.array(before)),
        lambda a, b, axis: np.median(a, axis) / np.median(b, axis),
        method="percentile",
        rng=np.random.default_rng(3),
    ).confidence_interval
    assert time_change(before, after, 1.02).interval == pytest.approx((theirs.low, theirs.high), rel=0.01)


def test_the_interval_holds_the_ratio_about_as_often_as_it_says():
    generator, held = np.random.default_rng(0), 0
    for _ in range(400):
        low, high = time_change(times(generator, 15), times(generator, 15, 1.05), 1.02).interval
        held += low <= 1.05 <= high
    assert 0.92 < held / 400 < 0.99


def test_p_is_under_its_level_as_seldom_as_it_says():
    generator = np.random.default_rng(1)
    false = [time_change(times(generator, 8), times(generator, 8), 1.02).significant() for _ in range(1000)]
    assert sum(false) / 1000 < 0.065


@pytest.mark.parametrize("paired", [False, True])
def test_so_many_trials_find_the_change_four_times_out_of_five(paired):
    generator = np.random.default_rng(2)
    pilot = time_change(times(generator, 4000), times(generator, 4000), 1.02, paired=paired)
    found = [
        time_change(times(generator, pilot.needed), times(generator, pilot.needed, 1.02), 1.02, paired=paired).p
        for _ in range(400)
    ]
    assert 0.74 < np.mean(np.array(found) <= 0.05) < 0.9


@pytest.mark.parametrize("paired", [False, True])
def test_a_few_trials_that_are_slow_by_far_ask_for_few_more(paired):
    generator = np.random.default_rng(3)
    sides = [times(generator, 40), times(generator, 40)]
    clean = time_change(*sides, 1.02, paired=paired).needed
    sides[0][:2] = sides[0][0] * 3, sides[0][1] * 3
    assert time_change(*sides, 1.02, paired=paired).needed < 2 * clean
    few = [side[:10] for side in sides]
    assert time_change(*few, 1.02, paired=paired).needed > 10 * clean


def test_accuracy_is_welchs_test():
    before, after = [0.938, 0.939, 0.940, 0.941, 0.942], [0.944, 0.948, 0.946]
    change = accuracy_change(before, after, 0.001)
    error = math.sqrt(2.5e-6 / 5 + 4e-6 / 3)
    freedom = error**4 / ((2.5e-6 / 5) ** 2 / 4 + (4e-6 / 3) ** 2 / 2)
    assert change.size == pytest.approx(0.006)
    assert change.p == pytest.approx(2 * stats.t.sf(0.006 / error, freedom))
    half = stats.t.ppf(0.975, freedom) * error
    assert change.interval == pytest.approx((0.006 - half, 0.006 + half))


def test_trials_needed_for_an_accuracy_are_those_of_the_textbook():
    """Means half a standard deviation apart: 64 a side (Cohen 1988, table 2.3.5: two-sided, 5%, 80%)."""
    sample = list(stats.norm.ppf((np.arange(2000) + 0.5) / 2000, 0.94, 0.002))
    assert accuracy_change(sample, sample, 0.001).needed == pytest.approx(64, abs=1)


def test_accuracies_without_a_spread_are_judged_by_their_ranks():
    assert accuracy_change([0.95] * 4, [0.94] * 4, 0.001).significant()
    assert not accuracy_change([0.95] * 3, [0.94] * 3, 0.001).significant()
    assert not accuracy_change([0.95] * 4, [0.95] * 4, 0.001).significant()


def test_the_share_that_reaches_is_wilsons():
    """8 of 10: Brown, Cai and DasGupta 2001's formula by hand."""
    z2 = 1.959964**2
    centre, half = (0.8 + z2 / 20) / (1 + z2 / 10), math.sqrt(z2) * math.sqrt(0.016 + z2 / 400) / (1 + z2 / 10)
    assert reached_interval(8, 10) == pytest.approx((centre - half, centre + half), abs=1e-6)
