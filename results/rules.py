"""What counts as a change, as a person writes it: `time:5%`, `accuracy:0.1`."""

from collections.abc import Iterable, Mapping

from results.metrics import find_metric

Rules = Mapping[str, float]
"""By metric: a change counts if it is significant and at least this large, as a share of a ratio or as a difference."""


def rules(texts: Iterable[str]) -> Rules:
    """Of texts METRIC:LIMIT, such as `time:5%` or `accuracy:0.1` (points). ValueError for others, and for two of one
    metric."""
    found: dict[str, float] = {}
    for text in texts:
        name, _, limit = text.partition(":")
        metric = find_metric(name)
        if name in found:
            raise ValueError("two rules for one metric: give one of them")
        found[name] = metric.parse_limit(limit)
    return found
