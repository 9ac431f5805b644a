"""Steps in a history: where the level of a series of runs changed, and where only its noise is seen.

E-divisive with t-tests, as in Fleming et al. 2023, "Hunter: Using change point detection to hunt for performance
regressions": likely steps are split off at a weak level first, and the least certain are then merged until all that are
left are certain. Splits minimise squares; before that, single runs far from their neighbours are replaced (Hampel 1974,
"The influence curve and its role in robust estimation"), because t-tests do not bear them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

WEAK, LEVEL = 0.01, 0.001
"""p of a step to be looked at, and to be reported; small, because p is that of the best of all places"""
SMALLEST = 0.01
"""A step counts from this change on, as a fraction of the level before it."""
RUNS = 3
"""of a level, at least"""
NEIGHBOURS, FAR = 2, 3.5
"""runs on either side that a run is held against; standard deviations from their median that are too many"""


@dataclass(frozen=True)
class Level:
    """The runs from `start` up to the next level's start, as positions in the series."""

    start: int
    median: float


def levels(values: Sequence[float], smallest: float = SMALLEST) -> list[Level]:
    """The levels of a series in the order of time, one value a run; a single one where there is no step.

    A step is found where it is from the third run after it on. To judge the last night alone is the business of a gate.
    ValueError for a value that is not finite.
    """
    if not np.isfinite(values).all():
        raise ValueError(f"values={list(values)}: a history needs finite numbers")
    if not len(values):
        return []
    series = np.asarray(values, dtype=float)
    clean = without_outliers(series)
    starts = [0, *_split(clean, 0), len(series)]
    while len(starts) > 2:
        p = [t_test(clean[a:b], clean[b:c]) for a, b, c in zip(starts, starts[1:], starts[2:], strict=False)]
        if max(p) < LEVEL:
            break
        del starts[1 + p.index(max(p))]
    kept = _levels(series, starts[:-1])
    small = [after.start for before, after in pairwise(kept) if _change(before, after) < smallest]
    while small:
        kept = _levels(series, [one.start for one in kept if one.start != small[0]])
        small = [after.start for before, after in pairwise(kept) if _change(before, after) < smallest]
    return kept


def without_outliers(series: np.ndarray) -> np.ndarray:
    """The series with the median of its neighbours in place of a run that is far from it."""
    if len(series) < 2:
        return series
    spread = 1.4826 * np.median(np.abs(np.diff(series))) / math.sqrt(2)
    around = (series[max(0, at - NEIGHBOURS) : at + NEIGHBOURS + 1] for at in range(len(series)))
    medians = np.array([np.median(some) for some in around])
    return np.where(np.abs(series - medians) > FAR * spread, medians, series)


def best_split(values: np.ndarray) -> int | None:
    """Where the second part begins if the series has a step: both parts then lie closest to their means.

    None for a series too short for two levels.
    """
    n = len(values)
    if n < 2 * RUNS:
        return None
    first = np.arange(1, n)
    sums = np.cumsum(values - values.mean())[:-1]
    between = sums**2 * n / (first * (n - first))
    return int(np.argmax(between[RUNS - 1 : n - RUNS])) + RUNS


def t_test(before: np.ndarray, after: np.ndarray) -> float:
    """Two-sided p of Student's test, that both have one mean."""
    from scipy import special

    difference, freedom = after.mean() - before.mean(), len(before) + len(after) - 2
    variance = (np.square(before - before.mean()).sum() + np.square(after - after.mean()).sum()) / freedom
    error = math.sqrt(variance * (1 / len(before) + 1 / len(after)))
    if not error:
        return 0.0 if difference else 1.0
    return 2 * float(special.stdtr(freedom, -abs(difference) / error))


def _levels(series: np.ndarray, starts: Sequence[int]) -> list[Level]:
    return [Level(start, float(np.median(series[start:end]))) for start, end in pairwise([*starts, len(series)])]


def _change(before: Level, after: Level) -> float:
    """As a fraction of the level before."""
    change = abs(after.median - before.median)
    if not change:
        return 0.0
    return change / abs(before.median) if before.median else math.inf


def _split(series: np.ndarray, offset: int) -> list[int]:
    at = best_split(series)
    if at is None or t_test(series[:at], series[at:]) >= WEAK:
        return []
    return [*_split(series[:at], offset), offset + at, *_split(series[at:], offset + at)]
