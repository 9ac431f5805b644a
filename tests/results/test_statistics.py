"""Statistics against planted data, against the library's own test, and against their promise in a simulation."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from results.statistics import RESAMPLES, accuracy_summary, time_summary


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


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
def test_equal_accuracies_have_an_interval_of_no_width_and_no_p(accuracy):
    summary = accuracy_summary([accuracy] * 3, 0.94)
    assert (summary.mean, summary.std, summary.interval, summary.p) == (accuracy, 0, (accuracy, accuracy), None)


def test_the_t_interval_holds_the_mean_as_often_as_it_says():
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(1000):
        low, high = accuracy_summary(list(generator.normal(0.94, 0.0014, 5)), 0.94).interval
        held += low <= 0.94 <= high
    assert 0.93 < held / 1000 < 0.97


def test_time_of_planted_data():
    summary = time_summary([3.0, 1.0, 2.0, 10.0])
    assert (summary.n, summary.median, summary.mean, summary.min, summary.max) == (4, 2.5, 4.0, 1.0, 10.0)
    assert summary.std == pytest.approx(math.sqrt((1 + 9 + 4 + 36) / 3))
    assert summary.interval == (1.0, 10.0)


@pytest.mark.parametrize("n", [1, 2])
def test_too_few_times_have_no_interval(n):
    assert time_summary([1.0, 2.0][:n]).interval is None
    assert (time_summary([1.0, 2.0][:n]).std is None) == (n == 1)


def test_equal_times_have_an_interval_of_no_width():
    summary = time_summary([0.1] * 3)
    assert (summary.median, summary.mean, summary.std, summary.interval) == (0.1, 0.1, 0.0, (0.1, 0.1))


def test_the_same_times_have_the_same_interval():
    times = list(np.random.default_rng(0).lognormal(0, 0.1, 30))
    assert time_summary(times) == time_summary(times)


@pytest.mark.parametrize("n", [3, 4, 10, 25])
def test_the_bootstrap_interval_is_that_of_scipy(n):
    seconds = np.sort(np.random.default_rng(n).lognormal(size=n))
    theirs = stats.bootstrap(
        (seconds,), np.median, n_resamples=RESAMPLES, method="percentile", rng=np.random.default_rng(0)
    )
    assert time_summary(list(seconds[::-1])).interval == pytest.approx(tuple(theirs.confidence_interval))


@pytest.mark.parametrize(("n", "promise"), [(3, 0.75), (10, 0.95), (25, 0.95)])
def test_the_bootstrap_interval_holds_the_median_about_as_often_as_it_says(n, promise):
    """Of a skewed distribution with one slow trial now and then, whose median is 1."""
    generator = np.random.default_rng(1)
    held = 0
    for _ in range(200):
        low, high = time_summary(list(generator.lognormal(0, 0.3, n))).interval
        held += low <= 1 <= high
    assert abs(held / 200 - promise) < 0.06


@pytest.mark.parametrize("summary", [time_summary, lambda samples: accuracy_summary(samples, 0.94)])
@pytest.mark.parametrize("samples", [[], [math.nan], [1.0, math.inf]])
def test_what_is_no_sample_is_refused(summary, samples):
    with pytest.raises(ValueError, match="statistics need one finite number"):
        summary(samples)
