"""The verdict on a change: whether it counts, and how many trials would decide where that cannot be said."""

from collections.abc import Callable
from typing import Literal

from results import format as form
from results.metrics import Metric
from results.statistics import LEVEL, Change

Verdict = Literal["worse", "better", "same", "undecided", "not comparable"]

MARKS: dict[Verdict, str] = {"worse": "+", "better": "-", "same": "=", "undecided": "?", "not comparable": "x"}

FEW = 10
"""more trials up to which no wider limit is suggested"""


def decide(
    change: Change,
    metric: Metric,
    limit: float,
    level: float = LEVEL,
    seconds: float | None = None,
    *,
    may_add: bool = True,
) -> tuple[Verdict, str]:
    """The verdict on a change by its limit; for `undecided`, how many more trials would decide.

    `seconds`: of one more trial on both sides, to say how long that takes. `may_add`: whether trials may be added to
    these runs; if not, the reason says how many new runs need.
    """

    def trials(needed: int) -> str:
        return _trials(needed - change.n, seconds) if may_add else _trials(needed, seconds, "trial", "in new runs")

    effect = change.size - change.none
    if change.significant(level) and abs(effect) >= limit - 1e-12:
        return ("better" if (effect > 0) == metric.higher_is_better else "worse"), ""
    if change.within(limit + 1e-12):
        return "same", ""
    needed = change.needed(limit, level)
    if needed is not None and change.interval is None:
        return "undecided", f"too few trials to decide: train at least {trials(needed)}"
    if needed is None:
        reason = f"the change is too close to the limit of {metric.test.write_limit(limit)}"
    else:
        reason = f"{trials(needed)} would decide if the change stays the same"
    return "undecided", reason + _suggestion(change, metric, limit, level, trials, needed)


def _trials(count: int, seconds: float | None, what: str = "more trial", where: str = "per side") -> str:
    wait = f" (about {form.duration(count * seconds)})" if seconds else ""
    return f"{count:,} {what}{'s' * (count > 1)} {where}{wait}"


def _suggestion(
    change: Change, metric: Metric, limit: float, level: float, trials: Callable[[int], str], needed: int | None
) -> str:
    """The first wider limit that a tenth of the trials decide, where that spares more than a few."""
    if needed is not None and needed - change.n <= FEW:
        return ""
    for wider in (one for one in metric.test.wider if one > limit):
        rule = metric.write_rule(wider)
        if change.within(wider):
            return f"; with the limit {rule} the verdict is same"
        fewer = change.needed(wider, level)
        if fewer is not None and (needed is None or (fewer - change.n) * 10 <= needed - change.n):
            return f"; with the limit {rule}, {trials(fewer)}"
    return ""
