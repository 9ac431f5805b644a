"""Comparisons as text: a table for the console, Markdown, CSV, JSON."""

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from results import benchmarks
from results.compare import Comparison, Measured, compare
from results.difference import Change, reached_interval
from results.protocols import find_protocol
from results.record import Run
from results.samples import of_run
from results.tables import NOTHING, Table


def table(comparisons: Sequence[Comparison], protocol: str) -> Table:
    """One row a metric. ValueError for an unknown protocol."""
    headers = ("recipe", "what", "before", "after", "change", "", "verdict")
    rows = tuple(
        (
            row.recipe,
            row.metric,
            _side(row.before, row.metric),
            _side(row.after, row.metric),
            _change(row.change, row.metric),
            row.mark,
            f"{row.verdict}: {row.reason}" if row.reason else row.verdict,
        )
        for row in comparisons
    )
    told = dict.fromkeys(note for row in comparisons for note in row.notes)
    caption = (
        "Before and after: median seconds, or mean accuracy with the trials that reached the target and the 95% "
        "interval of their share. Change: ratio of the times, difference of the accuracies in points [95% interval]; "
        "p, of one that large by chance. + worse, - better, = the same, ? not enough runs, x not comparable. "
        f"{_clock(protocol)}"
    )
    return Table("comparison", headers, rows, " ".join([caption, *(f"Note: {note}." for note in told)]))


def _clock(protocol: str) -> str:
    return (
        benchmarks.CLOCK if protocol == benchmarks.PROTOCOL else f"{protocol} time: {find_protocol(protocol).meaning}"
    )


def of_runs(before: Run, after: Run, protocol: str) -> Table:
    """Two runs beside each other. ValueError for an unknown protocol."""
    return table(compare([of_run(before, protocol)], [of_run(after, protocol)]), protocol)


def rendered(comparisons: Sequence[Comparison], protocol: str, form: str) -> str:
    """As `markdown`, `csv` or `json`."""
    if form == "markdown":
        return table(comparisons, protocol).markdown()
    rows = [_flat(row, protocol) for row in comparisons]
    return _csv(rows) if form == "csv" else json.dumps(rows, indent=2, ensure_ascii=False) + "\n"


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(row | {"notes": "; ".join(row["notes"])} for row in rows)
    return text.getvalue()


def _flat(row: Comparison, protocol: str) -> dict[str, Any]:
    """Seconds, ratios, accuracies as fractions; null where there is nothing."""
    change = row.change
    return {
        "recipe": row.recipe,
        "metric": row.metric,
        "protocol": protocol,
        "before": row.before and row.before.value,
        "before_trials": row.before and row.before.n,
        "after": row.after and row.after.value,
        "after_trials": row.after and row.after.n,
        "change": change and change.size,
        "low": change and change.interval and change.interval[0],
        "high": change and change.interval and change.interval[1],
        "p": change and change.p,
        "paired": change and change.paired,
        "needed_trials": change and change.needed,
        "mark": row.mark,
        "verdict": row.verdict,
        "reason": row.reason,
        "notes": list(row.notes),
    }


def _side(side: Measured | None, metric: str) -> str:
    if side is None:
        return NOTHING
    if metric != "accuracy":
        return f"{side.value:.4g} s (n = {side.n})"
    text = f"{100 * side.value:.2f}% (n = {side.n})"
    if side.reached is None:
        return text
    low, high = reached_interval(*side.reached)
    return f"{text}, reached {side.reached[0]} of {side.reached[1]} [{100 * low:.0f}%, {100 * high:.0f}%]"


def _change(change: Change | None, metric: str) -> str:
    if change is None:
        return NOTHING
    scale, form = (100, "{:+.2f}") if metric == "accuracy" else (1, "{:.3f}")
    text = form.format(scale * change.size)
    if change.interval is not None:
        text += f" [{form.format(scale * change.interval[0])}, {form.format(scale * change.interval[1])}]"
    return text + ("" if change.p is None else f", p = {change.p:.2g}") + (", paired" if change.paired else "")
