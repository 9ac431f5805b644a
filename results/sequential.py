"""Looks at a comparison while its trials are trained, at levels that keep the error rates of a single look.

A group sequential design (Jennison and Turnbull 2000, "Group Sequential Methods with Applications to Clinical Trials",
chapters 2 and 7). At each planned look the changes are judged at a nominal level. The probability that any look finds a
change by chance is then 5% in all, so that training may stop at each of them, for whatever reason. Likewise the
intervals at these levels hold the true value at all looks together with 95% (repeated confidence intervals, Jennison
and Turnbull 1989), also those of one side alone.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np

from results import format as form
from results.statistics import LEVEL, smallest_p

LOOKS = 5
"""at equal distances, those without enough trials for a verdict included"""
FEWEST = 8
"""trials a side that have two looks"""
FAR = 40.0
"""standard deviations beyond which nothing lies"""
NODES = 128
"""of each integral (Gauss-Legendre)"""
TINY, MOST = 1e-30, 1 - 1e-9
"""p under which no smaller one is told from it; the largest probability of a false finding"""

Planned = tuple[tuple[int, ...], int]
"""the looks of a plan, and the trials a side that there are"""


@dataclass(frozen=True)
class Look:
    """A look of a plan, counted from 1."""

    number: int
    looks: tuple[int, ...]

    def level(self, alpha: float = LEVEL) -> float:
        """The p at or under which a change is significant here, where that is `alpha` over all looks."""
        return nominal_levels(self.looks, alpha)[self.number - 1]

    def __str__(self) -> str:
        trials = f"{self.looks[self.number - 1]} of {self.looks[-1]} trials"
        return f"look {self.number} of {len(self.looks)}, {trials}; level {form.p_value(100 * self.level())}%"


def look_at(looks: tuple[int, ...], trials: int) -> Look | None:
    """The look with so many trials a side; None between two looks."""
    return Look(looks.index(trials) + 1, looks) if trials in looks else None


def where_stopped(looks: tuple[int, ...], trials: int) -> str:
    """At which look training stopped, with the level there."""
    look = look_at(looks, trials)
    return f"stopped at {look}" if look else f"stopped between two looks, after {trials} of {looks[-1]} trials"


def level_of(planned: Iterable[Planned], alpha: float = LEVEL) -> float:
    """The p at or under which something is significant that is said of runs with these plans; of several the smallest.

    That of the look at which training stopped. Between two looks that of the one before, or of the first. `alpha`
    without a plan.
    """
    return min((nominal_levels(looks, alpha)[_place(looks, trials)] for looks, trials in planned), default=alpha)


def p_over_looks(p: float, planned: Iterable[Planned]) -> float:
    """The smallest probability of a false finding over all looks with which a two-sided `p` is significant.

    A p-value as of a single look, for tables that adjust it further (repeated p-value, Jennison and Turnbull 2000,
    section 9.5); `p` itself without a plan.
    """
    from scipy import optimize

    def found(looks: tuple[int, ...], place: int) -> float:
        aim = max(p, TINY)
        if nominal_levels(looks, MOST)[place] <= aim:
            return 1.0
        least = float(_spent(aim, looks[-1] / looks[place])) / 2  # no level is over what is spent up to its look
        return optimize.brentq(lambda alpha: nominal_levels(looks, alpha)[place] - aim, least, MOST, xtol=aim / 1000)

    return max((found(looks, _place(looks, trials)) for looks, trials in planned), default=p)


def _place(looks: tuple[int, ...], trials: int) -> int:
    """Of the last look that has been reached, or of the first."""
    return max(bisect_right(looks, trials) - 1, 0)


def plan_looks(most: int) -> tuple[int, ...]:
    """The trials a side at each look, at equal distances up to `most`, where pairs are enough for a verdict.

    ValueError where these are fewer than two.
    """
    looks = tuple(dict.fromkeys(math.ceil(number * most / LOOKS) for number in range(1, LOOKS + 1)))
    while len(looks) > 1 and nominal_levels(looks)[0] < smallest_p(looks[0], looks[0], paired=True):
        looks = looks[1:]
    if len(looks) < 2:
        raise ValueError(f"too few for two looks: give {FEWEST} or more")
    return looks


@cache
def nominal_levels(looks: Sequence[int], alpha: float = LEVEL) -> tuple[float, ...]:
    """The two-sided p at or under which a change is significant at each look.

    `looks`: the number of samples at each, ascending. `alpha`: the probability of a false one at any of them.

    Each side spends half of it as a share t of the samples is there: 2 - 2Φ(z / √t), where z leaves alpha / 4 beyond it
    (Lan and DeMets 1983, "Discrete sequential boundaries for clinical trials", whose boundaries are close to those of
    O'Brien and Fleming 1979). Early looks need strong evidence, and the last level is little under `alpha`. The
    statistics of the looks are sums of independent normal samples, integrated from look to look (Armitage, McPherson
    and Rowe 1969).
    """
    from scipy import optimize, special

    shares = np.asarray(looks) / looks[-1]
    spent = _spent(alpha, shares)
    levels = [spent[0]]
    points, weights = np.polynomial.legendre.leggauss(NODES)
    end = -special.ndtri(spent[0] / 2) * math.sqrt(shares[0])
    sums = end * points  # not yet significant, with their density times the weight of the point
    density = end * weights * np.exp(-(sums**2) / (2 * shares[0])) / math.sqrt(2 * math.pi * shares[0])
    for (before, share), spending in zip(pairwise(shares), np.diff(spent), strict=True):
        step = math.sqrt(share - before)
        end = optimize.brentq(_excess, 0, FAR, (sums / step, density, spending, step))
        levels.append(2 * special.ndtr(-end / math.sqrt(share)))
        moved = (end * points[:, None] - sums) / step
        density = end * weights * (np.exp(-(moved**2) / 2) @ density) / (step * math.sqrt(2 * math.pi))
        sums = end * points
    return tuple(map(float, levels))


def _spent(alpha: float, share: "float | np.ndarray") -> np.ndarray:
    """What both sides have spent of `alpha` once there is this share of the samples."""
    from scipy import special

    return 4 * special.ndtr(special.ndtri(alpha / 4) / np.sqrt(share))


def _excess(end: float, sums: np.ndarray, density: np.ndarray, spending: float, step: float) -> float:
    """By how much the probability that the next sum is beyond ± `end` exceeds `spending`; `sums` in units of `step`."""
    from scipy import special

    return 2 * float(density @ special.ndtr(sums - end / step)) - spending
