"""The trials of a run from several hosts, with the host as a random factor.

Hosts of one machine class still differ a little. Trials of one host then say less about the class than their number
suggests, and an interval that ignores this is too narrow.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from results.statistics import CONFIDENCE, LEVEL

LIMIT = 0.1
"""share by which the slowest host may be slower than the fastest; beyond it they are not one machine class"""


@dataclass(frozen=True)
class HostEffect:
    """Times over several hosts, on a logarithmic scale: spreads are shares of the time."""

    hosts: int
    center: float
    """weighted geometric mean over the hosts, in the unit of the times"""
    interval: tuple[float, float]
    """95% for the center over all hosts of the class"""
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


def host_effect(times: Sequence[float | None], hosts: Sequence[Hashable | None]) -> HostEffect | None:
    """The effect of the host on times, one a trial; a None among either is left out.

    Variance between hosts by DerSimonian and Laird (1986, "Meta-analysis in clinical trials"), with one variance within
    hosts for all of them, since they are of one class. The interval is by Hartung and Knapp (2001), with Student's t
    of k - 1 degrees of freedom: the normal one is too narrow for few hosts. None for a single host, and where no host
    has two trials. ValueError for a time that is not over zero.
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
    variance = sum(float(np.sum((np.array(group) - np.mean(group)) ** 2)) for group in groups.values()) / freedom

    # n in place of 1 / variance of a mean: the common variance cancels, and may be 0
    fixed = float(np.sum(n * means) / n.sum())
    excess = float(np.sum(n * (means - fixed) ** 2)) - (k - 1) * variance
    between = max(0.0, excess / float(n.sum() - np.sum(n**2) / n.sum()))
    errors = between + variance / n
    weights = 1 / errors if np.all(errors > 0) else n.astype(float)
    center = float(np.sum(weights * means) / weights.sum())
    scatter = float(np.sum(weights * (means - center) ** 2)) / (k - 1)
    if np.all(errors > 0):
        scatter = max(1.0, scatter)  # never narrower than the variances say (Roever, Knapp and Friede 2015)
    mean_square = float(np.sum(n * (means - fixed) ** 2)) / (k - 1)
    p = float(special.fdtrc(k - 1, freedom, mean_square / variance)) if variance else float(mean_square == 0)
    half = float(special.stdtrit(k - 1, (1 + CONFIDENCE) / 2)) * math.sqrt(scatter / weights.sum())
    return HostEffect(
        k,
        math.exp(center),
        (math.exp(center - half), math.exp(center + half)),
        math.sqrt(between),
        math.sqrt(variance),
        math.expm1(float(means.max() - means.min())),
        p,
    )
