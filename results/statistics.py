"""Statistics of samples: pure functions, recomputed from raw samples whenever somebody asks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

CONFIDENCE = 0.95
RESAMPLES = 9999


@dataclass(frozen=True)
class AccuracySummary:
    """Accuracies as fractions, of `n` trials of which `reached` were at or over the target."""

    n: int
    mean: float
    std: float | None
    """of one trial, with n - 1 in the denominator; None for n = 1"""
    interval: tuple[float, float] | None
    """95% for the mean; None for n = 1"""
    reached: int
    p: float | None
    """of a mean this high if the true mean were at the target; None for n = 1 and for equal samples"""


@dataclass(frozen=True)
class TimeSummary:
    """Seconds, of `n` trials."""

    n: int
    median: float
    interval: tuple[float, float] | None
    """95% for the median; None for n < 3"""
    mean: float
    std: float | None
    """with n - 1 in the denominator; None for n = 1"""
    min: float
    max: float


def accuracy_summary(accuracies: Sequence[float], target: float) -> AccuracySummary:
    """What the trials say about the true mean accuracy.

    Student's t-interval (Student 1908, "The probable error of a mean") and the one-sided t-test of the null hypothesis
    that the true mean is at the target or under it: a small p says that it is over it. Equal samples give an interval
    of no width and no p, because they show no spread to hold the difference against. ValueError for no samples.
    """
    from scipy import stats

    _some(accuracies)
    n, reached = len(accuracies), sum(accuracy >= target for accuracy in accuracies)
    mean, std = _mean(accuracies), _std(accuracies)
    if std is None:
        return AccuracySummary(n, mean, None, None, reached, None)
    if std == 0:
        return AccuracySummary(n, mean, 0.0, (mean, mean), reached, None)
    error = std / math.sqrt(n)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) * error
    p = float(stats.t.sf((mean - target) / error, n - 1))
    return AccuracySummary(n, mean, std, (mean - half, mean + half), reached, p)


def accuracy_difference(first: Sequence[float], second: Sequence[float]) -> tuple[float, float | None]:
    """first - second of the means, and the two-sided p of Welch's t-test (Welch 1947) that the true means are equal.

    p is None where either has a single sample, or both have no spread. ValueError for no samples.
    """
    from scipy import stats

    _some(first)
    _some(second)
    difference = _mean(first) - _mean(second)
    if min(len(first), len(second)) < 2 or _std(first) == _std(second) == 0:
        return difference, None
    return difference, float(stats.ttest_ind(first, second, equal_var=False).pvalue)


def time_summary(seconds: Sequence[float]) -> TimeSummary:
    """What the trials say about the true median time.

    The percentile bootstrap (Efron 1979, "Bootstrap methods: another look at the jackknife"), with a fixed seed. BCa,
    its refinement, needs a jackknife, which does not work for medians (Efron and Tibshirani 1993, chapter 11). Of few
    samples the interval is their range, which holds the median with probability 1 - 2^(1 - n): 75% for n = 3, 94% for
    n = 5. ValueError for no samples.
    """
    _some(seconds)
    n, median = len(seconds), float(np.median(seconds))
    low, high = min(seconds), max(seconds)
    interval = None
    if n >= 3 and low == high:
        interval = (low, high)
    elif n >= 3:
        ordered = np.sort(np.asarray(seconds, dtype=float))
        tails = [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)]
        bounds = np.percentile(ordered[_middle_of_resamples(n)].mean(axis=1), tails)
        interval = (float(bounds[0]), float(bounds[1]))
    return TimeSummary(n, median, interval, _mean(seconds), _std(seconds), low, high)


@cache
def _middle_of_resamples(n: int) -> np.ndarray:
    """(RESAMPLES, 2): which two of n ordered samples have the median of each resample between them.

    `scipy.stats.bootstrap` draws and sorts anew for every set of samples, though the draws depend on n alone: that
    would take a page of a thousand runs minutes.
    """
    drawn = np.sort(np.random.default_rng(0).integers(0, n, (RESAMPLES, n)), axis=1)
    return drawn[:, [(n - 1) // 2, n // 2]]


def _some(samples: Sequence[float]) -> None:
    if len(samples) == 0 or not np.isfinite(samples).all():
        raise ValueError(f"samples={list(samples)}: statistics need one finite number at least, and no other")


def _mean(samples: Sequence[float]) -> float:
    """The mean; of equal samples exactly that sample, which rounding would miss."""
    return samples[0] if min(samples) == max(samples) else float(np.mean(samples))


def _std(samples: Sequence[float]) -> float | None:
    if len(samples) == 1:
        return None
    return 0.0 if min(samples) == max(samples) else float(np.std(samples, ddof=1))
