"""Comparisons as text: a table for the console, Markdown, CSV, JSON."""

import csv
import io
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any

from results import benchmarks, marks
from results import format as form
from results.compare import Comparison, compare
from results.measure import Measured
from results.metrics import Metric
from results.protocols import find_protocol
from results.record import Run
from results.rules import Rules
from results.samples import of_run
from results.statistics import LEVEL, Change, bounds, reached_interval
from results.tables.table import Table


def table(comparisons: Sequence[Comparison], protocol: str) -> Table:
    """One row a metric. ValueError for an unknown protocol."""
    headers = ("recipe", "metric", "before", "after", "change", "", "verdict")
    rows = tuple(
        (
            row.recipe,
            row.metric.name,
            side(row.before, row.metric, row.change),
            side(row.after, row.metric, row.change),
            change(row.change, row.metric),
            row.mark,
            f"{row.verdict}: {row.reason}" if row.reason else row.verdict,
        )
        for row in comparisons
    )
    limits = dict.fromkeys(row.metric.write_rule(row.limit) for row in comparisons)
    has_pairs = any(row.change and row.change.paired for row in comparisons)
    of_pairs = " In rows marked paired: of a typical pair." * has_pairs
    caption = (
        f"{clock(protocol)}{of_pairs} Change: estimate [95% interval], p. "
        f"+ worse, - better, = same, ? undecided, x not comparable. Limits: {', '.join(limits)}."
    )
    marked = {name for row in comparisons for one in (row.before, row.after) if one for name in one.marks}
    caption += marks.legend(marked)
    notes = note_sentences((row.recipe, row.notes) for row in comparisons)
    return Table("comparison", headers, rows, " ".join([caption, *notes]))


def note_sentences(notes: Iterable[tuple[str, Sequence[str]]]) -> list[str]:
    """The notes of rows, each once, as sentences. One that is not of all recipes names those that it is of."""
    recipes: dict[str, None] = {}
    by_note: dict[str, dict[str, None]] = {}
    for recipe, of_row in notes:
        recipes[recipe] = None
        for note in of_row:
            by_note.setdefault(note, {})[recipe] = None
    return [
        f"Note: {note}." if len(named) == len(recipes) else f"Note on {form.listed(list(named))}: {note}."
        for note, named in by_note.items()
    ]


def clock(protocol: str) -> str:
    """What the times are. ValueError for an unknown protocol."""
    if protocol == benchmarks.PROTOCOL:
        return benchmarks.CLOCK
    find_protocol(protocol)
    return f"Times: median, {protocol} protocol."


def of_pairs(
    pairs: Sequence[tuple[Run, Run]], protocol: str, across: Collection[str] = (), rules: Rules | None = None
) -> Table:
    """The two runs of each pair beside each other; `across` and `rules` as `compare` has them. Several pairs share the
    level of 5% (Bonferroni). ValueError for an unknown protocol or fact."""
    level = LEVEL / len(pairs)
    rows = []
    for runs in pairs:
        before, after = ([of_run(run, protocol, rules or ())] for run in runs)
        rows += compare(before, after, rules, across, level)
    found = table(rows, protocol)
    if len(pairs) == 1:
        return found
    shared = f" A change is significant if p is at most {level:.2g}: {LEVEL}, divided by the {len(pairs)} comparisons."
    return replace(found, caption=found.caption + shared)


def objects(comparisons: Sequence[Comparison], protocol: str) -> list[dict[str, Any]]:
    """For JSON, one a row."""
    return [_flat(row, protocol) for row in comparisons]


def as_csv(comparisons: Sequence[Comparison], protocol: str) -> str:
    """One line a row, with a line of names above."""
    rows = objects(comparisons, protocol)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {key: form.cell("; ".join(map(str, value)) if isinstance(value, list) else value) for key, value in row.items()}
        for row in rows
    )
    return text.getvalue()


def _flat(row: Comparison, protocol: str) -> dict[str, Any]:
    """Seconds, ratios, accuracies as fractions; null where there is nothing."""
    change, (low, high) = row.change, bounds(row.change)
    return {
        "recipe": row.recipe,
        "metric": row.metric.name,
        "protocol": protocol,
        "before": row.before and row.before.value,
        "before_trials": row.before and row.before.n,
        "after": row.after and row.after.value,
        "after_trials": row.after and row.after.n,
        "before_marks": [f"{count} {name}" for name, count in row.before.marks.items()] if row.before else [],
        "after_marks": [f"{count} {name}" for name, count in row.after.marks.items()] if row.after else [],
        "change": change and change.size,
        "low": low,
        "high": high,
        "p": change and change.p,
        "paired": change and change.paired,
        "limit": row.limit,
        "mark": row.mark,
        "verdict": row.verdict,
        "reason": row.reason,
        "notes": list(row.notes),
    }


def side(measured: Measured | None, metric: Metric, change: Change | None) -> str:
    """One side of a comparison, with its trials or pairs."""
    if measured is None:
        return form.NOTHING
    count = f"n = {measured.n}"
    if change and change.paired:
        count = f"{measured.n} pairs"
    elif metric.counts == "trials that reached" and measured.reached and measured.n == measured.reached[0]:
        count = f"n = {form.count(*measured.reached)}" if measured.n < measured.reached[1] else count
    text = f"{metric.text(measured.value)} ({count}{marks.numbered(measured.marks)})"
    if metric.test.by_ranks or not (measured.reached and measured.reached_by_seed):
        return text
    low, high = reached_interval(*measured.reached_by_seed, level=measured.level)
    return f"{text}, reached {form.count(*measured.reached)} [{form.share(low)}, {form.share(high)}]"


def change(found: Change | None, metric: Metric) -> str:
    """Its size, interval and p."""
    if found is None:
        return form.NOTHING
    p = "" if found.p is None else f", p = {form.p_value(found.p)}"
    return interval(found, metric) + p + ", paired" * found.paired


def interval(found: Change | None, metric: Metric) -> str:
    """Its size and interval."""
    if found is None:
        return form.NOTHING
    write = metric.test.write
    text = write(found.size)
    if found.interval is not None:
        text += f" [{write(found.interval[0])}, {write(found.interval[1])}]"
    return text
