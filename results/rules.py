"""What counts as a change, as a person writes it: `time:5%`, `accuracy:0.1`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from results.metrics import METRICS, find_metric


@dataclass(frozen=True)
class Rule:
    """A change of a metric counts if it is significant and at least `limit`: a share of a ratio, or a difference."""

    metric: str
    limit: float


DEFAULTS = {name: Rule(name, metric.limit) for name, metric in METRICS.items()}


def parse(text: str) -> Rule:
    """`METRIC:LIMIT`, such as `time:5%` or `accuracy:0.1` (percentage points). ValueError for anything else."""
    name, _, limit = text.partition(":")
    return Rule(name, find_metric(name).parse_limit(limit))


def rules(texts: Iterable[str]) -> Mapping[str, Rule]:
    """By metric. ValueError for two rules on one metric."""
    parsed = [parse(text) for text in texts]
    by_metric = {rule.metric: rule for rule in parsed}
    if len(by_metric) < len(parsed):
        raise ValueError("two rules for one metric: give one of them")
    return by_metric
