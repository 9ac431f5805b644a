"""Every statistic that Paceline states: pure functions of raw samples.

Times are compared by ranks, because a few trials are much slower than the rest. Test, estimate and interval belong
together (Mann and Whitney 1947; Wilcoxon 1945; Hodges and Lehmann 1963; Hollander, Wolfe and Chicken 2014,
"Nonparametric Statistical Methods", 3.2-3.3 and 4.2-4.3). They assume no distribution, only that a change multiplies
all times by one factor. Accuracies are compared by Welch's t-test.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import median

import numpy as np

LEVEL = 0.05
"""p at or under which a change is significant, and probability with which an interval misses the true value"""
EXACT = 50
"""samples a side up to which ranks are counted exactly, and of unequal sides as many pairs of samples; over it the
normal approximation is as good"""
FEWEST_FOR_A_TREND = 8
"""samples under which chance makes too many trends"""
PAIRS = 4_000_000
"""pairs of samples over which the larger sets are thinned to evenly spaced order statistics"""


@dataclass(frozen=True)
class AccuracySummary:
    """Accuracies as fractions, of `n` trials of which `reached` were at or over the target."""

    n: int
    mean: float
    std: float | None
    """of one trial, with n - 1 in the denominator; None for n = 1"""
    interval: tuple[float, float] | None
    """holds the mean with the probability 1 - `level`; None for n = 1 and for equal samples"""
    reached: int
    p: float | None
    """of a mean this high if the true mean were at the target; None for n = 1 and for equal samples"""
    level: float = LEVEL


@dataclass(frozen=True)
class Moments:
    """All that a t-test needs of `n` samples, so that published figures can be tested as our own trials are."""

    mean: float
    std: float
    """of one sample, with n - 1 in the denominator"""
    n: int

    def __post_init__(self) -> None:
        if self.n < 1 or self.std < 0 or not math.isfinite(self.mean + self.std):
            raise ValueError(f"{self}: needs n >= 1, std >= 0 and finite numbers")


@dataclass(frozen=True)
class MedianSummary:
    """`n` samples of a time or another quantity over zero."""

    n: int
    median: float
    interval: tuple[float, float] | None
    """holds the median with the probability 1 - `level`; None where the range holds it with less: at 5%, for n < 6"""
    mean: float
    std: float | None
    """with n - 1 in the denominator; None for n = 1"""
    min: float
    max: float
    level: float = LEVEL


@dataclass(frozen=True)
class Change:
    """From `before` to `after`: a ratio of times, or a difference of mean accuracies."""

    size: float
    interval: tuple[float, float] | None
    """holds the true change with the probability 1 - `level`; None where there are too few samples for one"""
    p: float | None
    """two-sided, of a change this large by chance; None where no test is possible"""
    n: int
    """samples of the smaller side, or pairs"""
    paired: bool = False
    """trials were interleaved, and each was compared with its neighbour"""
    none: float = 1.0
    """the `size` of no change: 1 for a ratio, 0 for a difference"""
    level: float = LEVEL

    def significant(self, level: float = LEVEL) -> bool:
        """Whether chance alone would do this no more often than `level`. An interval of that level then excludes
        `none`."""
        return self.p is not None and self.p <= level

    def within(self, limit: float) -> bool:
        """Whether the interval lies inside ± `limit`: two one-sided tests (Schuirmann 1987), each at half its level."""
        return self.interval is not None and all(abs(bound - self.none) <= limit for bound in self.interval)

    def needed(self, limit: float, level: float = LEVEL) -> int | None:
        """Samples a side that would decide against `limit`, if the change stays as large as it is.

        The interval narrows with the square root of n. It decides once it lies inside the limit or, for a change over
        the limit, once it excludes no change. None where the change is too close to the limit for any number.
        """
        from scipy import special

        fewest = fewest_trials(level, paired=self.paired)
        if self.interval is None:
            return max(fewest, self.n + 1)
        effect = abs(self.size - self.none)
        gap = effect if effect >= limit else limit - effect
        half = (self.interval[1] - self.interval[0]) / 2
        if effect >= limit:
            half *= float(special.ndtri(1 - level / 2) / special.ndtri(1 - self.level / 2))
        if gap < half / 100:
            return None
        return max(fewest, self.n + 1, math.ceil(self.n * (half / gap) ** 2 - 1e-9))


def accuracy_summary(accuracies: Sequence[float], target: float, *, level: float = LEVEL) -> AccuracySummary:
    """What the trials say about the true mean accuracy.

    Student's t-interval (Student 1908, "The probable error of a mean") and the one-sided t-test of the null hypothesis
    that the true mean is at the target or under it: a small p says that it is over it. Equal samples, which are no rare
    chance among few trials on few test images, show no spread and so have neither. ValueError for no samples.
    """
    from scipy import special

    _check(accuracies)
    n, reached = len(accuracies), sum(accuracy >= target for accuracy in accuracies)
    mean, std = mean_of(accuracies), _std(accuracies)
    if not std:
        return AccuracySummary(n, mean, std, None, reached, None, level)
    half = float(special.stdtrit(n - 1, 1 - level / 2)) * std / math.sqrt(n)
    p = p_over_target(Moments(mean, std, n), target)
    return AccuracySummary(n, mean, std, (mean - half, mean + half), reached, p, level)


def p_over_target(moments: Moments, target: float) -> float:
    """One-sided p of a mean this high if the true mean were at `target` (Student's t-test).

    ValueError for fewer than two samples, and for a standard deviation of 0.
    """
    from scipy import special

    if moments.n < 2 or not moments.std:
        raise ValueError(f"{moments}: a t-test needs two samples and a spread")
    error = moments.std / math.sqrt(moments.n)
    return float(special.stdtr(moments.n - 1, (target - moments.mean) / error))


def median_summary(samples: Sequence[float], *, level: float = LEVEL) -> MedianSummary:
    """What the samples say about the true median.

    The interval is between two order statistics, so that its coverage is exact for any distribution and at least
    1 - `level` (David and Nagaraja 2003, "Order Statistics", 7.1). Fewer than six samples have none at 5%: the range of
    five holds the median with probability 1 - 2 / 2**5 = 94%, that of three with 75%. ValueError for no samples.
    """
    _check(samples)
    ordered = sorted(samples)
    n, left_out = len(ordered), _left_out_of_median(len(ordered), level / 2)
    interval = None if left_out is None else (ordered[left_out], ordered[n - 1 - left_out])
    return MedianSummary(
        n, float(np.median(ordered)), interval, mean_of(ordered), _std(ordered), ordered[0], ordered[-1], level
    )


def mean_of(samples: Sequence[float]) -> float:
    """The mean; of equal samples exactly that sample, which rounding would miss."""
    return samples[0] if min(samples) == max(samples) else float(np.mean(samples))


def bounds(of: AccuracySummary | MedianSummary | Change | None) -> tuple[float, float] | tuple[None, None]:
    """The ends of an interval; None twice where there is none."""
    return (of and of.interval) or (None, None)


def known_median(values: Iterable[float | None]) -> float | None:
    """The median of the values that are known; None where none is."""
    known = [value for value in values if value is not None]
    return median(known) if known else None


def ratio_of_times(
    before: Sequence[float], after: Sequence[float], *, paired: bool = False, level: float = LEVEL
) -> Change:
    """The factor by which `after` is longer than `before`, with its interval and p.

    The Hodges-Lehmann estimate: the median of the ratios of every `after` to every `before`, with the interval and p of
    the rank-sum test. `paired`: of the ratios of neighbours, with the signed-rank test. The interval holds the ratios
    that the test does not reject, so that it excludes 1 exactly where p <= `level`. Equal samples count against a
    change. ValueError for no samples, or pairs of unequal number.
    """
    if not before or not after or (paired and len(before) != len(after)):
        raise ValueError(f"{len(before)} and {len(after)} samples cannot be compared")
    if paired:
        values = _pair_means(np.log(after) - np.log(before))
        ranks = _signed_ranks(len(before))
    else:
        values = _pair_differences(np.log(before), np.log(after))
        ranks = _rank_sums(len(before), len(after))
    left_out = ranks.left_out(level / 2)
    size, interval = _center(values, left_out and left_out * values.size // ranks.most)
    fewer = min(np.count_nonzero(values <= 0), np.count_nonzero(values >= 0))
    p = min(1.0, 2 * ranks.tail(int(fewer) * ranks.most // values.size))
    ratios = interval and (math.exp(interval[0]), math.exp(interval[1]))
    return Change(math.exp(size), ratios, p, min(len(before), len(after)), paired, level=level)


def difference_of_means(before: Sequence[float], after: Sequence[float], *, level: float = LEVEL) -> Change:
    """The mean of `after` less that of `before`, by Welch's t-test, which lets the two spreads differ (Welch 1947).

    Where no side has a spread the ranks are tested instead, and the interval has no width where the samples are enough
    for a verdict at `level`: from four a side on at 5%. ValueError for no samples.
    """
    if not before or not after:
        raise ValueError(f"{len(before)} and {len(after)} samples cannot be compared")
    size, n = mean_of(after) - mean_of(before), min(len(before), len(after))
    if all(min(side) == max(side) for side in (before, after)):
        p = smallest_p(len(before), len(after)) if size else 1.0
        return Change(size, (size, size) if n >= fewest_trials(level) else None, p, n, none=0.0, level=level)
    if n < 2:
        return Change(size, None, None, n, none=0.0, level=level)
    sides = (Moments(mean_of(side), _std(side) or 0.0, len(side)) for side in (before, after))
    return difference_of_moments(*sides, level=level)


def difference_of_moments(before: Moments, after: Moments, *, level: float = LEVEL) -> Change:
    """The mean of `after` less that of `before`, by Welch's t-test of means, standard deviations and numbers alone.

    A side of one sample has no spread of its own: its `std` is taken as known, and the degrees of freedom are those of
    the other side. ValueError where neither side has a spread, or both have but one sample.
    """
    from scipy import special

    size, n = after.mean - before.mean, min(before.n, after.n)
    variances = [side.std**2 / side.n for side in (before, after)]
    shares = [v**2 / (side.n - 1) for v, side in zip(variances, (before, after), strict=True) if side.n > 1]
    if not sum(shares):
        raise ValueError(f"{before} and {after} cannot be compared: neither shows a spread")
    error = math.sqrt(sum(variances))
    freedom = sum(variances) ** 2 / sum(shares)
    if before.n == 1 or after.n == 1:
        freedom = max(before.n, after.n) - 1
    half = float(special.stdtrit(freedom, 1 - level / 2)) * error
    p = 2 * float(special.stdtr(freedom, -abs(size) / error))
    return Change(size, (size - half, size + half), p, n, none=0.0, level=level)


def trend(samples: Sequence[float]) -> Change | None:
    """The ratio of the last to the first, along the trend of samples in their order; without an interval. None for
    fewer than `FEWEST_FOR_A_TREND`.

    Kendall's rank correlation with the order (Mann 1945), and the median of the slopes between all pairs, of logarithms
    (Sen 1968).
    """
    if len(samples) < FEWEST_FOR_A_TREND:
        return None
    from scipy import stats

    _check(samples)
    order = np.arange(len(samples))
    slope = stats.theilslopes(np.log(samples), order).slope
    return Change(math.exp(slope * order[-1]), None, float(stats.kendalltau(order, samples).pvalue), len(samples))


def adjust_for_many(p_values: Sequence[float | None]) -> list[float | None]:
    """p of many comparisons, adjusted so that of those at or under 5% at most 5% are false on average.

    Benjamini and Hochberg 1995, "Controlling the false discovery rate"; it also holds where all are compared with one
    base (positive dependence: Benjamini and Yekutieli 2001). None, of a comparison without a test, stays None.
    """
    from scipy import stats

    known = [p for p in p_values if p is not None]
    adjusted = iter(stats.false_discovery_control(known) if known else ())
    return [None if p is None else float(next(adjusted)) for p in p_values]


def reached_interval(reached: int, n: int, *, level: float = LEVEL) -> tuple[float, float]:
    """Holds the true share of trials that reach the target with at least 1 - `level` (Clopper and Pearson 1934).

    ValueError for no trials.
    """
    from scipy import special

    if n < 1:
        raise ValueError("the share of trials that reach the target needs one trial at least")
    low = special.betaincinv(reached, n - reached + 1, level / 2) if reached else 0.0
    high = special.betaincinv(reached + 1, n - reached, 1 - level / 2) if reached < n else 1.0
    return float(low), float(high)


def fewest_trials(level: float = LEVEL, *, paired: bool = False) -> int:
    """Trials a side under which a rank test cannot come out at or under `level`, however large the change."""
    n = 1
    while smallest_p(n, n, paired=paired) > level:
        n += 1
    return n


def smallest_p(before: int, after: int, *, paired: bool = False) -> float:
    """The smallest p that so many samples can give: one order of the ranks, or of the signs, out of all."""
    return min(1.0, 2.0 ** (1 - before) if paired else 2 / math.comb(before + after, before))


def _center(values: np.ndarray, left_out: int | None) -> tuple[float, tuple[float, float] | None]:
    """The median of the values, and their range without so many at either end. Reorders the values."""
    middle = [(values.size - 1) // 2, values.size // 2]
    ends = [] if left_out is None else [left_out, values.size - 1 - left_out]
    values.partition(sorted({*middle, *ends}))  # once for all of them: there may be a million
    center = float(values[middle].mean())
    return center, (float(values[ends[0]]), float(values[ends[1]])) if ends else None


def _pair_differences(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    most = math.isqrt(PAIRS)
    if before.size * after.size > PAIRS:
        before, after = (np.quantile(side, np.linspace(0, 1, min(side.size, most))) for side in (before, after))
    return np.subtract.outer(after, before).ravel()


def _pair_means(values: np.ndarray) -> np.ndarray:
    """Of all pairs, each value with itself included (Walsh averages)."""
    first, second = np.triu_indices(values.size)
    return (values[first] + values[second]) / 2


@cache
def _left_out_of_median(n: int, tail: float) -> int | None:
    """Ordered samples beyond each end of the interval of the median, which it is beyond with `tail` at most."""
    from scipy import special  # scipy.stats takes longer to import than a short run to train

    left_out = int(np.searchsorted(special.bdtr(np.arange(n + 1), n, 0.5), tail)) - 1
    return left_out if left_out >= 0 else None


@dataclass(frozen=True)
class _Ranks:
    """The distribution of a rank statistic where both sides are alike."""

    most: int
    """its largest value, which is also the number of pairs that it counts"""
    cumulative: np.ndarray | None
    """its exact distribution; None for the normal approximation"""
    spread: float

    def tail(self, value: int) -> float:
        """The probability of this value or a smaller one."""
        from scipy import special

        if self.cumulative is not None:
            return float(self.cumulative[value])
        return float(special.ndtr((value + 0.5 - self.most / 2) / self.spread))

    def left_out(self, tail: float) -> int | None:
        """Ordered pairs beyond each end of an interval: the largest value whose probability is at most `tail`."""
        from scipy import special

        if self.cumulative is None:
            left_out = math.floor(self.most / 2 + float(special.ndtri(tail)) * self.spread - 0.5)
            return left_out if left_out >= 0 else None
        inside = int(np.searchsorted(self.cumulative, tail, side="right"))
        return inside - 1 if inside else None


@cache
def _rank_sums(n: int, m: int) -> _Ranks:
    """Mann and Whitney's U: pairs of a sample of each side of which the first is the smaller."""
    spread = math.sqrt(n * m * (n + m + 1) / 12)
    if n * m > EXACT**2:  # of few against many the approximation is bad, and the exact distribution is small
        return _Ranks(n * m, None, spread)
    row = [np.ones(1) for _ in range(m + 1)]
    for i in range(1, n + 1):  # by which side has the largest sample
        new = [np.ones(1)]
        for j in range(1, m + 1):
            sums = np.zeros(i * j + 1)
            sums[j:] += row[j] * (i / (i + j))
            sums[: new[-1].size] += new[-1] * (j / (i + j))
            new.append(sums)
        row = new
    return _Ranks(n * m, np.cumsum(row[m]), spread)


@cache
def _signed_ranks(n: int) -> _Ranks:
    """Wilcoxon's sum of the ranks of positive differences: pairs of differences with a positive mean."""
    most, spread = n * (n + 1) // 2, math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
    if n > EXACT:
        return _Ranks(most, None, spread)
    sums = np.ones(1)
    for rank in range(1, n + 1):
        longer = np.zeros(sums.size + rank)
        longer[: sums.size] += sums / 2
        longer[rank:] += sums / 2
        sums = longer
    return _Ranks(most, np.cumsum(sums), spread)


def _check(samples: Sequence[float]) -> None:
    if len(samples) == 0 or not np.isfinite(samples).all():
        raise ValueError(f"samples={list(samples)}: statistics need one finite number at least, and no other")


def _std(samples: Sequence[float]) -> float | None:
    if len(samples) == 1:
        return None
    return 0.0 if min(samples) == max(samples) else float(np.std(samples, ddof=1))
