"""What the page shows of runs, as plain JSON: texts, and the figures that plotly draws; nothing that is markup."""

import json
import shlex
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from results import fidelity, marks
from results import format as form
from results.environment import known
from results.literature import Published
from results.metrics import PEAK_MEMORY, STEP_TIME, rate_of
from results.page import figures, rows
from results.page.chart import BY_PROTOCOL, Json, cut, plain
from results.page.series import METRICS, Summaries, histories, ladders, scalings, table_data
from results.protocols import DEFAULT, PROTOCOLS, epoch_reaching, known_protocols, seconds_to_target, total_seconds
from results.record import Run, TrialRecord
from results.samples import Samples, of_run
from results.scaling import strategy_of
from results.sequential import where_stopped
from results.stability import stability_warnings
from results.summary import Figure, RunSummary, pooled
from results.tables.hosts import hosts_table
from results.tables.table import pooled_from, seed_of
from results.units import IMAGES, per_second, unit_of

TRIALS = 1000
"""trials that the page of a run lists"""
DETAILED = 2000
"""trials of all runs of which the page has the curves, the trials and the environment: that keeps a page of many runs
small enough for a browser"""


def page_data(
    runs: Sequence[Run],
    published: Iterable[Published],
    samples: Mapping[str, Mapping[str, Samples]] | None = None,
    repository: str | None = None,
) -> Json:
    """All that the page knows. Runs in the order given, the oldest first: `rows`, and behind them the runs of the rows
    that are several runs.

    samples: those of every run by its id and by protocol, where they are known already. repository: web page of the
    code, to which commits are linked. Of runs with more than `DETAILED` trials, the page shows the newest of each
    recipe in detail, rows before the runs of a row.
    """
    if samples is None:
        samples = {run.record.id: {name: of_run(run, name, METRICS) for name in PROTOCOLS} for run in runs}
    listed = rows.rows(runs, {key: of[DEFAULT] for key, of in samples.items()})
    pool_of = {run.record.id: row.run.record.id for row in listed for run in row.members}
    every = [*listed, *(rows.Row(run) for run in runs if run.record.id in pool_of)]
    sides = {row.run.record.id: [samples[run.record.id] for run in row.members or (row.run,)] for row in every}
    summaries = {
        key: {name: pooled([of[name] for of in side], METRICS) for name in PROTOCOLS} for key, side in sides.items()
    }
    targets = sorted({target for of in summaries.values() if (target := of[DEFAULT].target) is not None})
    data_sets = {row.run.record.id: data_set(row.run) for row in every}
    recipes, environments = _Distinct(), _Distinct()
    detailed = newest([row.run for row in every], data_sets, summaries, pool_of)
    shown = []
    for row in every:
        run, key = row.run, row.run.record.id
        side = [of[DEFAULT] for of in sides[key]]
        one = run_data(row, data_sets[key], summaries[key], marked(side))
        one |= {"marks": list(marks_of(side)), "pool": pool_of.get(key)}
        if key in detailed:
            one |= details(row, data_sets[key], summaries[key], marked(side))
            one["recipe"] = recipes.place(run.record.recipe)
            one["environment"] = environments.place(run.record.environment.model_dump(mode="json"))
        shown.append(one)
    disturbed = {one["id"] for one in shown if one["marks"]}
    return {
        "repository": repository,
        "opening": opening([one for one in shown if not one["pool"]]),
        "marks": {mark.name: [mark.symbol, mark.caption] for mark in marks.MARKS},
        "protocols": {name: one.meaning for name, one in PROTOCOLS.items()},
        "runs": shown,
        "detailed": len(detailed),
        "recipes": recipes.values,
        "environments": environments.values,
        "styles": figures.STYLES,
        "curves": {_goal(target): figures.curves_layouts(target) for target in targets},
        "lap_names": figures.LAPS,
        "lap_bars": figures.lap_bars(),
        "laps": figures.laps_layouts(),
        "histories": histories(runs, data_sets, summaries, samples, disturbed),
        "ladders": ladders([row.run for row in listed], data_sets, summaries),
        "scalings": scalings(runs, data_sets),
        "published": [published_data(one) for one in published],
    }


def opening(runs: Sequence[Json]) -> str:
    """The data set that the page opens with: the one with the most runs that reached a target. Empty without a run."""
    counted: Counter[str] = Counter()
    for run in runs:
        counted[run["data_set"]] += run["ranked"]
    return max(counted, key=lambda name: counted[name], default="")


class _Distinct:
    """Values that many runs share, each kept once and referred to by its place."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}

    def place(self, value: Any) -> int:
        return self._places.setdefault(json.dumps(value), len(self._places))

    @property
    def values(self) -> list[Any]:
        return [json.loads(text) for text in self._places]


def newest(
    runs: Sequence[Run], data_sets: Mapping[str, str], summaries: Summaries, later: Collection[str] = ()
) -> set[str]:
    """The ids of the runs that are shown in detail: the newest of every recipe, then the second newest, and so on, with
    `DETAILED` trials together; one at least. `later`: ids of runs that come after all others."""
    seen: Counter[tuple[Any, ...]] = Counter()
    ranks = []
    for run in reversed(runs):
        record = run.record
        target = summaries[record.id][DEFAULT].target
        is_later = record.id in later
        key = (
            record.recipe_name,
            data_sets[record.id],
            run.machine,
            strategy_of(run),
            target,
            record.smoke_test,
            is_later,
        )
        ranks.append((is_later, seen[key], len(ranks), record.id, min(len(run.trials), TRIALS)))
        seen[key] += 1
    found: set[str] = set()
    trials = 0
    for *_, identifier, count in sorted(ranks):
        trials += count
        if found and trials > DETAILED:
            break
        found.add(identifier)
    return found


def run_data(row: rows.Row, data_set: str, summaries: Mapping[str, RunSummary], marked_trials: str) -> Json:
    """One row: what it is filtered and sorted by, and its cells. Without `details`."""
    run, record = row.run, row.run.record
    protocols = known_protocols(run)
    strategy = strategy_of(run)
    origin = known(record.environment.origin)
    summary = summaries[protocols[0]]
    status = status_of(row)
    seeds = list(dict.fromkeys([min(record.seeds), max(record.seeds)]))
    notes = [pooled_from(run), run.title, strategy, "" if status == "finished" else status, marked_trials]
    cells = {
        "rate": _time(summary.figures[rate_of(run).name]),
        "step": _time(summary.figures[STEP_TIME.name]),
        "accuracy": _accuracy(summary),
        "reached": [summary.reached_text, "", summary.reached / summary.trials if summary.trials else None],
        "target": _by_known(protocols, lambda name: _time(summaries[name].time_to_target)),
        "total": _by_known(protocols, lambda name: _time(summaries[name].total_time)),
        "created": [f"{record.created:%Y-%m-%d}", "", f"{record.created:%Y-%m-%dT%H:%M:%SZ}"],
        "commit": [commit(run), "", record.commit],
    }
    return {
        "id": record.id,
        "name": record.recipe_name,
        "plain": plain(record.recipe_name),
        "called": f"{record.recipe_name}, {f'{len(row.members)} runs' if row.members else f'run {record.id}'}",
        "label": plain(f"{cut(record.recipe_name, 36)} {f'{len(row.members)} runs' if row.members else record.id[:8]}"),
        "data_set": data_set,
        "machine": run.machine,
        "strategy": strategy,
        "target": summary.target,
        "has_no_target": run.has_no_target,
        "rate": unit_of(run).rate,
        "goal": "without a target" if run.has_no_target else _goal(summary.target),
        "smoke_test": record.smoke_test,
        "ranked": summary.reached > 0 and not record.smoke_test,
        "origin": origin,
        "note": " · ".join(word for word in (*notes, *run.warnings[:1]) if word),
        "cells": cells,
        "seeds": " to ".join(map(str, seeds)),
        "status": status,
        "members": [member.record.id for member in row.members],
        "directory": run.path.name,
        "command": "" if row.members else command(run),
        "count": summary.trials,
        "trials": [],
        "times": {},
        "warnings": list(run.warnings),
    }


def _goal(target: float | None) -> str:
    return "no trial yet" if target is None else f"to {form.target(target)}"


def status_of(row: rows.Row) -> str:
    """How a run ended; of several that did not end alike, how many of them ended how."""
    counted = Counter(run.record.status for run in row.members or (row.run,))
    return next(iter(counted)) if len(counted) == 1 else ", ".join(f"{count} {name}" for name, count in counted.items())


def details(row: rows.Row, data_set: str, summaries: Mapping[str, RunSummary], marked_trials: str) -> Json:
    """The curves and laps of a row, its trials and hosts, and what its page says of it."""
    run, protocols = row.run, known_protocols(row.run)
    has_hosts = hosts_table(run, protocols[0]) is not None
    hosts = _by_known(protocols, lambda name, run=run: table_data(hosts_table(run, name))) if has_hosts else None
    run = replace(run, trials=tuple(run.trials)[:TRIALS])  # they may not have been read yet
    return {
        "hosts": hosts,
        "curves": figures.curves(run, protocols),
        "laps": figures.laps(run.trials),
        "trials": [_trial(run, trial) for trial in run.trials],
        "times": {
            "target": _by_known(protocols, lambda name: [form.seconds(seconds_to_target(t, name)) for t in run.trials]),
            "total": _by_known(protocols, lambda name: [form.seconds(total_seconds(t, name)) for t in run.trials]),
        },
        "facts": facts(replace(row, run=run), data_set, summaries, protocols, marked_trials),
        "warnings": [*run.warnings, *stability_warnings(run)],
        "subtitle": " · ".join(word for word in (run.title, run.change) if word),
    }


def facts(
    row: rows.Row, data_set: str, summaries: Mapping[str, RunSummary], protocols: Sequence[str], marked_trials: str
) -> list[list[Any]]:
    """What the page of a row says of it, as pairs of a word and a text."""
    run, record, summary = row.run, row.run.record, summaries[protocols[0]]
    ends = [one.record.created for one in (*row.members[:1], run)]
    p = "" if summary.p is None else f"; p = {form.p_value(summary.p)} of a mean at least this high at the target"
    to_come = len(record.seeds) - summary.trials
    missing = f", {to_come} to come" if to_come else ""
    listed = f"the first {len(run.trials)} of {summary.trials}" if len(run.trials) < summary.trials else None

    def time(name: str, figure: str) -> str:
        found = summaries[name].figures[figure]
        return f"{found.text} s" if found.value is not None else f"{form.NOTHING} ({found.absent})"

    of_accuracy = [
        ("target", form.target(summary.target)),
        ("accuracy %", summary.accuracy_text + p),
        ("reached", summary.reached_text + missing),
        ("time to target", _by_known(protocols, lambda name: time(name, "time-to-target"))),
    ]
    of_throughput = [
        (metric.title, summary.figures[metric.name].text) for metric in (rate_of(run), STEP_TIME, PEAK_MEMORY)
    ]
    pairs = [
        ("pooled", pooled_from(run)),
        ("status", status_of(row) + (f": {record.reason}" if record.reason and not row.members else "")),
        ("origin", known(record.environment.origin)),
        ("machine", run.machine),
        ("strategy", strategy_of(run)),
        ("data set", data_set),
        *(of_throughput if run.has_no_target else of_accuracy),
        ("until decided", record.plan and where_stopped(record.plan.looks, summary.trials + len(run.discarded))),
        ("marked trials", marked_trials + marks.legend(marks.counts(run.trials))),
        ("trials below", listed),
        ("total time", _by_known(protocols, lambda name: time(name, "time"))),
        ("date", " to ".join(dict.fromkeys(f"{end:%Y-%m-%d %H:%M:%S}" for end in ends)) + " UTC"),
        ("commit", (record.commit or form.NOTHING) + (" with uncommitted changes" if record.dirty else "")),
        ("recipe hash", record.recipe_hash),
        *fidelity_of(record.recipe_name),
        ("directory", "" if row.members else run.path.name),
    ]
    return [[word, text] for word, text in pairs if text]


def data_set(run: Run) -> str:
    """The recipe's data in words: runs on data with other words do not compare. Without a name of its own, the first
    part of the recipe's."""
    data = run.options.data
    if not data.name:
        return run.record.recipe_name.partition("/")[0]
    parts = [data.name]
    if data.path:  # which may be another one of the same data, or the same one of other data
        hashes = run.record.data
        parts.append(data.path if hashes is None else f"{PurePath(data.path).name} {hashes.digest}")
    if data.made_up:
        parts.append(f"{data.made_up.size} pixels wide")
    if (unit := unit_of(run)) != IMAGES:
        parts.append(f"{unit.sample} of {unit.per_sample:,}")
    if data.limit:
        parts.append(f"{data.limit} images")
    if data.evaluate == "validation":
        parts.append("held-out images" if data.fold is None else f"fold {data.fold} of {data.folds}")
    return ", ".join(parts)


def marks_of(side: Sequence[Samples]) -> dict[str, int]:
    """The trials of these runs by the names of their marks."""
    return dict(sum((Counter(one.marks) for one in side), Counter()))


def marked(side: Sequence[Samples]) -> str:
    """How many trials have which mark, such as "2 of 5 throttled †"; empty where none has one."""
    trials = sum(len(one.seeds) for one in side)
    words = (f"{form.count(count, trials)} {name}{marks.symbols([name])}" for name, count in marks_of(side).items())
    return ", ".join(words)


def fidelity_of(recipe: str) -> list[tuple[str, str]]:
    """How near the recipe is, as it ships, to the source that it names; nothing of a recipe without one."""
    statement = fidelity.fidelity(recipe)
    if statement is None:
        return []
    differs = "; ".join(f"{one.what} ({one.cost})" for one in statement.differs)
    return [
        ("source of the recipe", statement.source),
        ("agreement of the recipe as it ships", statement.agreement),
        ("differs from its source", differs or "nothing known"),
    ]


def commit(run: Run) -> str:
    """The beginning of its hash, with a + where files differed from it."""
    return form.NOTHING if run.record.commit is None else run.record.commit[:7] + "+" * bool(run.record.dirty)


def command(run: Run) -> str:
    """The command line that trained the run, quoted for a shell. Launchers are not recorded: of several processes it is
    started by `accelerate launch`, on one machine."""
    script, *arguments = run.record.command or [""]
    if not script.endswith(".py"):
        return shlex.join(run.record.command)
    world = run.record.world_size
    launcher = ["python"] if world == 1 else ["accelerate", "launch", "--num_processes", str(world)]
    return shlex.join([*launcher, script, *arguments])


def published_data(one: Published) -> Json:
    """A published figure: as a row of a table, and as a row of a leaderboard beside ours."""
    seconds, accuracy = form.published(one.seconds), form.published(one.accuracy and 100 * one.accuracy)
    return {
        "name": one.recipe,
        "source": one.source,
        "data_set": one.dataset,
        "machine": one.hardware,
        "protocol": one.protocol,
        "accuracy": one.accuracy,
        "cells": {
            "accuracy": [accuracy, "", one.accuracy],
            "total": {BY_PROTOCOL: {one.protocol or "": [seconds, "", one.seconds]}},
        },
        "row": [accuracy, str(one.runs or form.NOTHING), seconds, one.protocol or form.NOTHING, one.hardware],
    }


def _by_known(protocols: Sequence[str], make: Callable[[str], Any]) -> Json:
    return {BY_PROTOCOL: {name: make(name) for name in protocols}}


def _accuracy(summary: RunSummary) -> list[Any]:
    """A cell: its text, what stands smaller behind it, and what it is sorted by."""
    if summary.accuracy_of is None:
        return [form.NOTHING, "", None]
    mean, _, rest = summary.accuracy_text.partition(" ")
    return [mean, f" {rest}" if rest else "", summary.accuracy_of.mean]


def _time(figure: Figure) -> list[Any]:
    """As `_accuracy`."""
    if figure.value is None or figure.median is None:
        return [form.NOTHING, "", None]
    return [form.seconds(figure.value), form.spread(figure.median) + figure.missing, figure.value]


def _trial(run: Run, trial: TrialRecord) -> list[str]:
    epoch = epoch_reaching(trial)
    return [
        seed_of(trial),
        trial.ending,
        form.percent(trial.accuracy),
        form.NOTHING if epoch is None else str(epoch),
        form.number(per_second(run, trial)),
    ]
