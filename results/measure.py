"""One side of a comparison: the number that a row shows."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from results.metrics import Metric
from results.reached import reached, reached_by_seed
from results.samples import Samples
from results.statistics import LEVEL
from results.summary import figure


@dataclass(frozen=True)
class Measured:
    """One side of a row: the metric's median or mean over `n` trials; of pairs, its side of a typical pair."""

    value: float
    n: int
    reached: tuple[int, int] | None = None
    """trials that reached the target, of all; None for a published figure"""
    reached_by_seed: tuple[int, int] | None = None
    """the same where each seed counts once, whose trials in several runs are not independent"""
    marks: Mapping[str, int] = field(default_factory=dict)
    """trials by the name of each mark (`results.marks`)"""
    level: float = LEVEL
    """of intervals"""


def measure(metric: Metric, side: Sequence[Samples]) -> tuple[Measured | None, str]:
    """The metric of one side; or None, and why there is none."""
    figures = [one.published for one in side if one.published]
    if figures:
        value = {"time": figures[0].seconds, "accuracy": figures[0].accuracy}.get(metric.name)
        if value is None or len(side) > 1:
            return None, "no single published figure has this metric"
        return Measured(value, figures[0].runs or 1), ""
    found = figure(metric, side)
    if found.value is None:
        return None, found.absent
    is_training = not all(one.is_benchmark for one in side)
    counts = (reached(side), reached_by_seed(side)) if is_training else (None, None)
    marked = sum((Counter(one.marks) for one in side), Counter())
    return Measured(found.value, len(found.samples), *counts, dict(marked), found.level), ""
