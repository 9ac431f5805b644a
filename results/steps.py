"""Steps in a history: where the level of a series of runs changed, and where only its noise is seen."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

LEVEL = 0.05
"""False alarms in histories without a step."""
SMALLEST = 0.01
"""A step counts from this change on, as a fraction of the level before it."""


@dataclass(frozen=True)
class Level:
    """The runs from `start` up to the next level's start, as positions in the series."""

    start: int
    median: float


def levels(values: Sequence[float], level: float = LEVEL, smallest: float = SMALLEST) -> list[Level]:
    """The levels of a series in the order of time, one value a run; a single one where there is no step.

    Pettitt's test (Pettitt 1979, "A non-parametric approach to the change-point problem") says from ranks alone whether
    there is a step, so that a single bad night is none; least absolute deviations say where, because the likeliest
    place by ranks leans to the middle. Both sides are then searched in their turn. The p is an approximation that is
    too high for short series: a step is found from eleven runs on, five of them before or after it. To judge the last
    night alone is the business of a gate. ValueError for a value that is not finite.
    """
    if not np.isfinite(values).all():
        raise ValueError(f"values={list(values)}: a history needs finite numbers")
    if not len(values):
        return []
    series = np.asarray(values, dtype=float)
    starts = [0, *_steps(series, 0, level), len(series)]
    for index in range(1, len(starts) - 1):  # a step found beside another that was not known yet
        starts[index] = starts[index - 1] + best_split(series[starts[index - 1] : starts[index + 1]])
    kept = _levels(series, starts[:-1])
    small = [after.start for before, after in pairwise(kept) if _change(before, after) < smallest]
    while small:
        kept = _levels(series, [one.start for one in kept if one.start != small[0]])
        small = [after.start for before, after in pairwise(kept) if _change(before, after) < smallest]
    return kept


def pettitt(values: Sequence[float]) -> float:
    """Pettitt's approximate two-sided p that a series has no step."""
    from scipy.stats import rankdata

    n = len(values)
    if n < 2:
        return 1.0
    statistic = np.abs(2 * np.cumsum(rankdata(values))[:-1] - np.arange(1, n) * (n + 1)).max()
    return min(1.0, 2 * float(np.exp(-6 * statistic**2 / (n**3 + n**2))))


def best_split(values: np.ndarray) -> int:
    """Where the second part begins if the series has a step: both parts then lie closest to their medians."""
    return min(range(1, len(values)), key=lambda at: _spread(values[:at]) + _spread(values[at:]))


def _spread(values: np.ndarray) -> float:
    return float(np.abs(values - np.median(values)).sum())


def _levels(series: np.ndarray, starts: Sequence[int]) -> list[Level]:
    return [Level(start, float(np.median(series[start:end]))) for start, end in pairwise([*starts, len(series)])]


def _change(before: Level, after: Level) -> float:
    """As a fraction of the level before."""
    change = abs(after.median - before.median)
    if not change:
        return 0.0
    return change / abs(before.median) if before.median else math.inf


def _steps(series: np.ndarray, offset: int, level: float) -> list[int]:
    if pettitt(series) >= level:
        return []
    at = best_split(series)
    return [*_steps(series[:at], offset, level), offset + at, *_steps(series[at:], offset + at, level)]
