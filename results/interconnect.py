"""A model of the all-reduce that averages gradients: each message costs a latency, and each byte its share of the
bandwidth (Hockney 1994, "The communication challenge for MPP", whose two parameters are called alpha and beta).

In a ring of n processes every one sends 2(n - 1) messages of an n-th of the bytes, which no algorithm can do with
fewer bytes (Patarasuk and Yuan 2009, "Bandwidth optimal all-reduce algorithms").
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Link:
    """What joins two processes."""

    latency: float
    """seconds a message (alpha)"""
    seconds_per_byte: float
    """the inverse of the bandwidth (beta)"""

    def all_reduce(self, processes: int, size: float) -> float:
        """Seconds in which so many processes add up `size` bytes."""
        messages = 2 * (processes - 1)
        return messages * (self.latency + size / processes * self.seconds_per_byte)


def fit(measured: Iterable[tuple[int, float, float]]) -> Link | None:
    """The link that explains all-reduces of so many processes, bytes and seconds best, by least squares of the relative
    errors with no number under zero. None for less than two of them."""
    from scipy.optimize import nnls

    rows = [(2 * (n - 1), 2 * (n - 1) * size / n, seconds) for n, size, seconds in measured if n > 1 and seconds > 0]
    if len(rows) < 2:
        return None
    messages, sent, seconds = np.array(rows).T
    (latency, seconds_per_byte), _ = nnls(np.stack([messages, sent], axis=1) / seconds[:, None], np.ones(len(rows)))
    return Link(float(latency), float(seconds_per_byte))
