"""The trials of a run from several hosts, with the host as a random factor.

Hosts of one machine class still differ a little. Trials of one host then say less about the class than their number
suggests, and an interval that ignores this is too narrow.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from results.statistics import LEVEL

LIMIT = 0.1
"""share by which the slowest host may be slower than the fastest; beyond it they are not one machine class"""


@dataclass(frozen=True)
class HostEffect:
    """Times over several hosts, on a logarithmic scale: spreads are shares of the time."""

    hosts: int
    center: float
    """geometric mean of the hosts' medians, in the unit of the times: each host counts once"""
    interval: tuple[float, float]
    """holds the center over all hosts of the class with the probability 1 - `level`"""
    between: float
    """standard deviation between hosts"""
    within: float
    """standard deviation between the trials of one host"""
    difference: float
    """share by which the slowest host is slower than the fastest"""
    p: float
    """of host means this far apart if all hosts were equally fast (F-test)"""

    @property
    def are_alike(self) -> bool:
        """Whether the hosts may be pooled: they differ by little, or by no more than the trials of one host explain."""
        return self.difference <= LIMIT or self.p > LEVEL

    @property
    def text(self) -> str:
        """In a few words."""
        return f"{self.hosts} hosts, spread {self.between:.1%} between them and {self.within:.1%} within one"


def host_effect(
    times: Sequence[float | None], hosts: Sequence[Hashable | None], *, level: float = LEVEL
) -> HostEffect | None:
    """The effect of the host on times, one a trial; a None among either is left out.

    The interval is Student's t over the hosts. It holds at least as often as it says, however unequal the numbers of
    trials are: unequal variances make the t-test conservative at 5% and less (Ibragimov and Müller 2010,
    "t-Statistic Based Correlation and Heterogeneity Robust Inference", after Bakirov and Székely 2006). It is never
    narrower than the trials say of equal hosts. The spread between hosts is the moment estimator from their means
    (Hedges 1983). None for a single host, and where no host has two trials. ValueError for a time that is not over
    zero.
    """
    from scipy import special

    groups: dict[Hashable, list[float]] = {}
    for time, host in zip(times, hosts, strict=True):
        if time is not None and host is not None:
            if time <= 0:
                raise ValueError(f"a time of {time} s cannot be compared between hosts")
            groups.setdefault(host, []).append(math.log(time))
    n = np.array([len(group) for group in groups.values()])
    k, freedom = len(n), int(n.sum()) - len(n)
    if k < 2 or freedom < 1:
        return None
    means = np.array([np.mean(group) for group in groups.values()])
    medians = np.array([np.median(group) for group in groups.values()])
    variance = sum(float(np.sum((np.array(group) - np.mean(group)) ** 2)) for group in groups.values()) / freedom
    between = max(0.0, float(np.var(means, ddof=1)) - variance * float(np.mean(1 / n)))

    center = float(np.mean(medians))
    tail = 1 - level / 2
    over_hosts = float(special.stdtrit(k - 1, tail)) * float(np.std(medians, ddof=1)) / math.sqrt(k)
    over_trials = float(special.stdtrit(freedom, tail)) * math.sqrt(variance * float(np.sum(1 / n))) / k
    half = max(over_hosts, over_trials)

    mean_square = float(np.sum(n * (means - np.average(means, weights=n)) ** 2)) / (k - 1)
    p = float(special.fdtrc(k - 1, freedom, mean_square / variance)) if variance else float(mean_square == 0)
    return HostEffect(
        k,
        math.exp(center),
        (math.exp(center - half), math.exp(center + half)),
        math.sqrt(between),
        math.sqrt(variance),
        math.expm1(float(means.max() - means.min())),
        p,
    )
