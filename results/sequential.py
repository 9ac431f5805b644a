"""Looks at a comparison while its trials are trained, at levels that keep the error rates of a single look.

A group sequential design (Jennison and Turnbull 2000, "Group Sequential Methods with Applications to Clinical Trials",
chapters 2 and 7). At each planned look the changes are judged at a nominal level. The probability that any look finds a
change by chance is then 5% in all, so that training may stop at each of them, for whatever reason. Likewise the
intervals at these levels hold the true change at all looks together with 95% (repeated confidence intervals, Jennison
and Turnbull 1989).
"""

import math
from collections.abc import Sequence
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
    spent = 4 * special.ndtr(special.ndtri(alpha / 4) / np.sqrt(shares))
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


def _excess(end: float, sums: np.ndarray, density: np.ndarray, spending: float, step: float) -> float:
    """By how much the probability that the next sum is beyond ± `end` exceeds `spending`; `sums` in units of `step`."""
    from scipy import special

    return 2 * float(density @ special.ndtr(sums - end / step)) - spending
