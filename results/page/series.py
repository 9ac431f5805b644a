"""What the page draws of several runs together: histories, ladders, scaling."""

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import groupby, pairwise
from typing import Any

from results import change_points
from results.differences import differences
from results.format import target
from results.metrics import (
    ACCURACY,
    DEFAULT,
    EPOCH_TIME,
    PEAK_MEMORY,
    RATES,
    STEP_TIME,
    TIME_TO_TARGET,
    TOTAL_TIME,
)
from results.page import figures, history
from results.page.chart import BY_PROTOCOL, Json, by_protocol, clocked
from results.protocols import DEFAULT as DEFAULT_PROTOCOL
from results.protocols import PROTOCOLS
from results.record import Run
from results.samples import Samples
from results.scaling import Curves, curves, strategy_of
from results.summary import Figure, RunSummary
from results.tables.ladder import ladder_table
from results.tables.scaling import tables_of
from results.tables.table import Table

Summaries = Mapping[str, Mapping[str, RunSummary]]
"""by the id of a run, then by protocol"""
SamplesOf = Mapping[str, Mapping[str, Samples]]
"""likewise"""

METRICS = (*DEFAULT, *(metric.name for metric in (EPOCH_TIME, *RATES, STEP_TIME, PEAK_MEMORY)))
"""those that the page shows of a run"""


def histories(
    runs: Sequence[Run],
    data_sets: Mapping[str, str],
    summaries: Summaries,
    samples: SamplesOf,
    disturbed: Collection[str] = (),
) -> list[Json]:
    """Real runs of one recipe and target on one machine class, where there are several, the oldest first: each by
    itself, because times that differ from run to run are what a history shows.

    data_sets: by the id of a run. disturbed: ids of the runs with a marked trial.
    """
    grouped: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        if not run.record.smoke_test and run.trials:
            strategy = filter(None, [strategy_of(run)])
            goal = target(summaries[run.record.id][DEFAULT_PROTOCOL].target)
            key = (run.record.recipe_name, data_sets[run.record.id], run.machine, *strategy, goal)
            grouped.setdefault(key, []).append(run)
    several = {key: members for key, members in grouped.items() if len(members) > 1}
    return [_history(key, members, summaries, samples, disturbed) for key, members in several.items()]


def _history(
    key: Sequence[str], runs: Sequence[Run], summaries: Summaries, samples: SamplesOf, disturbed: Collection[str]
) -> Json:
    facts = [samples[run.record.id][DEFAULT_PROTOCOL] for run in runs]

    def differs(one: int, other: int) -> str:
        """Why two of the runs do not compare; empty if they do."""
        return differences([facts[one]], [facts[other]])

    changed = [at for at in range(1, len(runs)) if differs(at - 1, at)]
    marked = [run.record.id in disturbed for run in runs]
    enough = [_is_enough(next(iter(summaries[run.record.id].values()))) for run in runs]
    drawn, found = {}, {}
    for choice, metric in {"": TOTAL_TIME, "target": TIME_TO_TARGET, "accuracy": ACCURACY}.items():
        of = {name: [summaries[run.record.id][name].figures[metric.name] for run in runs] for name in PROTOCOLS}
        smallest = 0.0 if metric is ACCURACY else change_points.SMALLEST
        levels = {name: _levels(figures_of, smallest) for name, figures_of in of.items()}
        drawn[choice] = history.history(runs, of, levels, enough, marked, changed)
        found[choice] = by_protocol(lambda name, of=of, levels=levels: _steps(of[name], levels[name], differs))
    return {
        "key": " · ".join(key),
        "figures": drawn,
        "steps": found,
        "runs": [[run.record.id, run.record.commit, f"{run.record.created:%Y-%m-%d}"] for run in runs],
    }


def _steps(
    of: Sequence[Figure], levels: Sequence[change_points.Level], differs: Callable[[int, int], str]
) -> list[list[Any]]:
    """Of each step: the positions of the last run before it and of the first run after it, its size in words, whether
    it is for the worse, and why the two runs do not compare."""
    found = []
    for before, after in pairwise(levels):
        last = max(place for place in range(after.start) if of[place].value is not None)
        metric = of[last].metric
        is_worse = (after.median < before.median) == metric.higher_is_better
        size = history.step_size(metric, before.median, after.median)
        found.append([last, after.start, size, is_worse, differs(last, after.start)])
    return found


def _is_enough(summary: RunSummary) -> bool:
    mean = summary.accuracy.value
    return summary.target is None or (mean is not None and mean >= summary.target)


def _levels(of: Sequence[Figure], smallest: float) -> list[change_points.Level]:
    """Their starts as positions among all runs; runs without a value are passed over."""
    known = [(place, one.value) for place, one in enumerate(of) if one.value is not None]
    found = change_points.levels([value for _, value in known], smallest=smallest)
    return [change_points.Level(known[level.start][0], level.median) for level in found]


def ladders(runs: Sequence[Run], data_sets: Mapping[str, str], summaries: Summaries) -> list[Json]:
    """The newest real row of every step, by ladder, data set and machine class: chart and table.

    The chart shows total times (`total`), times of an epoch (`epoch`), or what is known (the empty choice): total times
    if two steps have one. A ladder that was cut short has only the others.
    """
    grouped: dict[tuple[str, str, str], dict[str, Run]] = {}
    for run in runs:
        if run.table == "ladder" and run.change and not run.record.smoke_test:
            ladder = run.record.recipe_name.rpartition("/")[0]
            grouped.setdefault((ladder, data_sets[run.record.id], run.machine), {})[run.record.recipe_name] = run
    found = []
    for (ladder, data_set, machine), newest in grouped.items():
        members = [newest[name] for name in sorted(newest)]
        if len(members) > 1:
            found.append(
                {
                    "name": ladder,
                    "data_set": data_set,
                    "machine": machine,
                    "figures": _ladder(members, summaries),
                    "tables": [by_protocol(lambda name, of=members: table_data(ladder_table(of, name), of))],
                }
            )
    return found


def _ladder(runs: Sequence[Run], summaries: Summaries) -> Json:
    shown = [(run.record.recipe_name, run.change or "") for run in runs]

    def times(metric: str) -> Json:
        return by_protocol(lambda name: [summaries[run.record.id][name].figures[metric].value for run in runs])

    total, epoch = (times(metric.name) for metric in (TOTAL_TIME, EPOCH_TIME))
    has_total = {name: sum(time is not None for time in of) > 1 for name, of in total[BY_PROTOCOL].items()}
    known = by_protocol(lambda name: (total if has_total[name] else epoch)[BY_PROTOCOL][name])
    titles = by_protocol(lambda name: f"total s, {name} time" if has_total[name] else EPOCH_TIME.title)
    return {
        "": figures.waterfall(shown, known, titles),
        "total": figures.waterfall(shown, total, clocked(TOTAL_TIME.title)),
        "epoch": figures.waterfall(shown, epoch, EPOCH_TIME.title),
    }


def scalings(runs: Sequence[Run], data_sets: Mapping[str, str]) -> list[Json]:
    """The scaling of each recipe on each machine class: a chart of all strategies, and the tables of each."""

    def key(one: Curves) -> tuple[str, str, str]:
        return one.recipe_name, data_sets[one.base.runs[0].record.id], one.machine

    found = []
    shown = [one for one in curves(runs) if not one.base.runs[0].record.smoke_test]
    for (name, data_set, machine), group in groupby(sorted(shown, key=key), key):
        members = list(group)
        tables = []
        for one in members:
            made = {protocol: [table_data(table) for table in tables_of(one, protocol)] for protocol in PROTOCOLS}
            tables += [{BY_PROTOCOL: dict(zip(made, of, strict=True))} for of in zip(*made.values(), strict=True)]
        found.append(
            {
                "name": name,
                "data_set": data_set,
                "machine": machine,
                "figures": figures.scaling(members),
                "tables": tables,
            }
        )
    return found


def table_data(table: Table, runs: Sequence[Run] = ()) -> Json:
    """A table for the page; its rows lead to these runs, one a row."""
    ids = [run.record.id for run in runs]
    return {"title": table.title, "headers": table.headers, "rows": table.rows, "caption": table.caption, "ids": ids}
