"""The table of laps: in which of them a time changed, below a comparison."""

import math
from collections.abc import Sequence
from typing import Any

from results import format as form
from results.breakdown import OTHERS, SHORT, Breakdown, Part
from results.statistics import bounds
from results.tables.comparison import interval
from results.tables.table import Table


def table(breakdowns: Sequence[Breakdown]) -> Table:
    """One row a lap of each, and one for all of its laps."""
    headers = ("recipe", "metric", "lap", "before s", "after s", "change", "part s")
    rows = tuple(
        (one.row.recipe, one.row.metric.name, part.name, *_cells(part, one))
        for one in breakdowns
        for part in (*one.parts, one.whole)
    )
    caption = (
        "Seconds: mean of the middle half of the trials or pairs, by their time, so that the parts add up. Change: "
        "estimate [95% interval] of the lap alone, not adjusted for the number of laps."
    )
    if any(part.name == OTHERS for one in breakdowns for part in one.parts):
        caption += f" {OTHERS}: laps under {form.share(SHORT)} of the time."
    return Table("laps", headers, rows, caption)


def objects(breakdown: Breakdown | None) -> list[dict[str, Any]]:
    """The parts for JSON: seconds, and the change as a ratio."""
    return [_object(part) for part in breakdown.parts] if breakdown else []


def _object(part: Part) -> dict[str, Any]:
    low, high = bounds(part.change)
    return {
        "lap": part.name,
        "before": part.before,
        "after": part.after,
        "change": part.change and part.change.size,
        "low": low,
        "high": high,
        "part": part.seconds,
    }


def _cells(part: Part, one: Breakdown) -> tuple[str, ...]:
    """All with as many decimals, so that a reader can add them up."""
    decimals = max(0, form.DIGITS - math.floor(math.log10(one.whole.before)))
    before, after = (f"{value:,.{decimals}f}" for value in (part.before, part.after))
    return before, after, interval(part.change, one.row.metric), f"{part.seconds:+,.{decimals}f}"
