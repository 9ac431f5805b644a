"""What counts as a change, as a person writes it: `time:5%`, `accuracy:0.1`."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

METRICS = {
    "time": "seconds of the whole schedule, where the mean accuracy is at or over the target on both sides",
    "time-to-target": "seconds to the first epoch at or over the target, of the trials that reached it",
    "accuracy": "final accuracy of all trials",
}


@dataclass(frozen=True)
class Rule:
    """A change counts if it is significant and at least `limit`: of times a share, of accuracies a difference."""

    metric: str
    limit: float


DEFAULTS = {
    "time": Rule("time", 0.02),
    "time-to-target": Rule("time-to-target", 0.02),
    "accuracy": Rule("accuracy", 1e-3),
}


def parse(text: str) -> Rule:
    """`time:5%` (or `time-to-target`), or `accuracy:0.1` in points of percent. ValueError for anything else."""
    metric, _, limit = text.partition(":")
    share = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)(%?)", limit)
    if metric not in METRICS or not share or float(share[1]) == 0 or (share[2] == "%") == (metric == "accuracy"):
        raise ValueError(
            f"{text!r} is no rule: say time:5% or time-to-target:5% (slower by that share), or accuracy:0.1 "
            "(lower by that many points of percent)"
        )
    return Rule(metric, float(share[1]) / 100)


def rules(texts: Iterable[str]) -> Mapping[str, Rule]:
    """By metric. ValueError for two rules on one metric."""
    parsed = [parse(text) for text in texts]
    by_metric = {rule.metric: rule for rule in parsed}
    if len(by_metric) < len(parsed):
        raise ValueError("two rules for one metric: say one of them")
    return by_metric
