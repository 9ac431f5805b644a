"""Statistics of two sets of samples: how large a change is, whether it is chance, and how many runs would tell.

A test answers one question, so that each change carries three numbers that say what it can answer: its interval, its p,
and `needed`, the trials a side with which a change as large as the one asked for would be found 4 times out of 5.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist, quantiles

import numpy as np

from results.statistics import CONFIDENCE, RESAMPLES

LEVEL = 0.05
"""p from which on a change may be chance"""
POWER = 0.8
"""probability with which `needed` trials find a change as large as the one asked for"""
RANK_EFFICIENCY = 3 / math.pi
"""of the rank tests against the t-test on normal samples (Pitman; Lehmann 1975, "Nonparametrics", 2.4)"""
QUARTILES_FROM = 20
"""samples from which on a spread is taken from their quartiles"""
NORMAL_QUARTILES = 2 * NormalDist().inv_cdf(0.75)
"""standard deviations between the quartiles of a normal distribution"""


@dataclass(frozen=True)
class Change:
    """From `before` to `after`: of times the ratio of medians, of accuracies the difference of means."""

    size: float
    interval: tuple[float, float] | None
    """95%; None where there are too few samples or they show no spread to draw it from"""
    p: float | None
    """two-sided, of a change this large by chance; None where no test is possible"""
    needed: int | None
    """trials a side that would find the change asked for with `POWER`; None where the spread is unknown"""
    paired: bool = False
    """trials took turns, and each was compared with its neighbour"""
    none: float = 1.0
    """the `size` of no change: 1 for a ratio, 0 for a difference"""

    def significant(self, level: float = LEVEL) -> bool:
        """Whether chance alone would do this more seldom than `level`, and the interval agrees that there is a change.

        A rank test and the interval of the median look at different sides of the samples, and on a busy machine, whose
        times have two humps, they may disagree.
        """
        agrees = self.interval is None or not self.interval[0] <= self.none <= self.interval[1]
        return agrees and self.p is not None and self.p <= level


def time_change(
    before: Sequence[float],
    after: Sequence[float],
    factor: float,
    *,
    paired: bool = False,
    level: float = LEVEL,
    p: float | None = None,
) -> Change:
    """The ratio of the medians, after to before; `factor` is the ratio, over 1, that `needed` is for.

    p by Mann and Whitney (1947), because trials now and then are slow by far and a mean follows them; given where
    `rank_tests` has it already. `paired`: the trials took turns, so that the ratio of neighbours is free of drift; its
    median, and p by Wilcoxon's signed-rank test (1945). The interval is the percentile bootstrap of the same number.

    Raises ValueError for no samples, or pairs of unequal number.
    """
    from scipy import stats

    if not before or not after or (paired and len(before) != len(after)):
        raise ValueError(f"{len(before)} and {len(after)} samples can not be compared")
    logs = np.log(before), np.log(after)
    if paired:
        ratios = np.asarray(after) / np.asarray(before)
        resampled = _resampled_medians(ratios, seed=0)
        spread, few = _spread_of_ranks(logs[1] - logs[0]), len(ratios) < 3
        p = None if not ratios.size or np.all(ratios == 1) else float(stats.wilcoxon(logs[1] - logs[0]).pvalue)
        size = float(np.median(ratios))
    else:
        resampled = _resampled_medians(after, seed=1) / _resampled_medians(before, seed=0)
        spread, few = _pooled_of_ranks(*logs), min(len(before), len(after)) < 3
        p = rank_tests([(before, after)])[0] if p is None else p
        size = float(np.median(after) / np.median(before))
    tail = 100 * (1 - CONFIDENCE) / 2
    interval = None if few else tuple(map(float, np.percentile(resampled, (tail, 100 - tail))))
    needed = None
    if spread is not None:
        sides = 1 if paired else 2
        enough = _trials(spread, math.log(factor), sides, level, RANK_EFFICIENCY)
        needed = max(enough, fewest_trials(level, paired=paired))
    return Change(size, interval, p, needed, paired)


def rank_tests(pairs: Sequence[tuple[Sequence[float], Sequence[float]]]) -> list[float]:
    """Two-sided p of Mann and Whitney's test of each pair, none of them empty.

    Pairs of one size go to scipy together, because a call costs it much more than the test; those with ties apart,
    because it takes another method for all of a call where one has them.
    """
    from scipy import stats

    alike: dict[tuple[int, int, bool], list[int]] = {}
    for index, (before, after) in enumerate(pairs):
        has_ties = len({*before, *after}) < len(before) + len(after)
        alike.setdefault((len(before), len(after), has_ties), []).append(index)
    found = [math.nan] * len(pairs)
    for indices in alike.values():
        before, after = (np.array([pairs[index][side] for index in indices]) for side in (0, 1))
        for index, p in zip(indices, stats.mannwhitneyu(after, before, axis=1).pvalue, strict=True):
            found[index] = float(p)
    return found


def accuracy_change(
    before: Sequence[float], after: Sequence[float], difference: float, *, level: float = LEVEL
) -> Change:
    """The difference of the means; `difference` is the one that `needed` is for. Accuracies and it as fractions.

    Welch's t-test (1947, "The generalization of 'Student's' problem"), which does not take the two spreads for equal.
    ValueError for no samples.
    """
    from scipy import stats

    if not before or not after:
        raise ValueError(f"{len(before)} and {len(after)} samples can not be compared")
    size = float(np.mean(after) - np.mean(before))
    spread = _pooled(np.asarray(before), np.asarray(after))
    if spread is None:
        return Change(size, None, None, None, none=0.0)
    if all(min(side) == max(side) for side in (before, after)):  # no t-test, but the ranks still speak
        return Change(size, None, smallest_p(len(before), len(after)) if size else 1.0, fewest_trials(level), none=0.0)
    test = stats.ttest_ind(after, before, equal_var=False)
    interval = test.confidence_interval(CONFIDENCE)
    needed = _trials(spread, difference, 2, level)
    return Change(size, (float(interval.low), float(interval.high)), float(test.pvalue), needed, none=0.0)


def reached_interval(reached: int, n: int) -> tuple[float, float]:
    """95% for the true share of trials that reach the target (Wilson 1927). ValueError for no trials."""
    from scipy import stats

    interval = stats.binomtest(reached, n).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def fewest_trials(level: float = LEVEL, *, paired: bool = False) -> int:
    """Trials a side under which a rank test can not come out at or under `level`, however large the change."""
    n = 1
    while smallest_p(n, n, paired=paired) > level:
        n += 1
    return n


def smallest_p(before: int, after: int, *, paired: bool = False) -> float:
    """The smallest p that so many samples can give: one order of the ranks, or of the signs, out of all."""
    return min(1.0, 2.0 ** (1 - before) if paired else 2 / math.comb(before + after, before))


def _trials(spread: float, change: float, sides: int, level: float, efficiency: float = 1.0) -> int:
    """Normal approximation with Guenther's correction (1981, "Sample size formulas for normal theory t tests")."""
    from scipy import special

    alpha, power = (float(special.ndtri(share)) for share in (1 - level / 2, POWER))
    n = sides * (spread * (alpha + power) / change) ** 2 + alpha**2 / (2 * sides)
    return max(2, math.ceil(n / efficiency))


def _resampled_medians(samples: Sequence[float] | np.ndarray, seed: int) -> np.ndarray:
    """`RESAMPLES` medians of resamples, as `scipy.stats.bootstrap` draws them, at a cost that does not depend on n."""
    lower, upper = _middles(len(samples), seed)
    ordered = np.sort(samples)
    return (ordered[lower] + ordered[upper]) / 2


@cache
def _middles(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Which of n sorted samples are the middle two (or the middle one, twice) of each resample of n.

    A resample takes the sorted samples at n·u, rounded down, for n uniform numbers u. Its k-th smallest is that of the
    k-th smallest u, which is distributed as Beta(k, n + 1 - k); and above it n - k uniform numbers are left.
    """
    random = np.random.default_rng(seed)
    k = (n + 1) // 2
    lower = random.beta(k, n + 1 - k, RESAMPLES)
    upper = lower if n % 2 else lower + (1 - lower) * random.beta(1, n - k, RESAMPLES)
    return (n * lower).astype(int), (n * upper).astype(int)


def _spread_of_ranks(samples: np.ndarray) -> float | None:
    """As a standard deviation, what a rank test has to see through: a few trials that are slow by far do not hinder it.
    From the quartiles, where there are enough samples to know them."""
    if len(samples) >= QUARTILES_FROM:
        first, _, third = quantiles(samples.tolist(), n=4, method="inclusive")  # scipy's iqr is far slower
        if third > first:
            return (third - first) / NORMAL_QUARTILES
    return float(np.std(samples, ddof=1)) if len(samples) > 1 else None


def _pooled_of_ranks(before: np.ndarray, after: np.ndarray) -> float | None:
    if min(len(before), len(after)) < QUARTILES_FROM:
        return _pooled(before, after)
    spreads = [_spread_of_ranks(side) or 0.0 for side in (before, after)]
    return math.hypot(*spreads) / math.sqrt(2)


def _pooled(before: np.ndarray, after: np.ndarray) -> float | None:
    """The standard deviation of one sample, from both sides; of one side where the other has a single sample."""
    freedom = len(before) + len(after) - 2
    if freedom == 0:
        return None
    squares = sum(float(np.sum((side - np.mean(side)) ** 2)) for side in (before, after))
    return math.sqrt(squares / freedom)
