"""What the page shows of runs, as plain JSON: texts, and the figures that plotly draws; nothing that is markup."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from results import fidelity
from results import format as form
from results.environment import known
from results.literature import Published
from results.metrics import images_per_second
from results.page import figures
from results.page.figures import BY_PROTOCOL, cut, plain
from results.page.series import METRICS, histories, ladders, scalings
from results.protocols import PROTOCOLS, RENAMED, epoch_reaching, seconds_to_target, total_seconds
from results.record import Run, TrialRecord
from results.scaling import strategy_of
from results.summary import Figure, RunSummary, summarize

Json = dict[str, Any]


def page_data(runs: Sequence[Run], published: Iterable[Published]) -> Json:
    """All that the page knows. Runs in the order given, the oldest first."""
    data_sets = [data_set(run) for run in runs]
    summaries = {run.record.id: {name: summarize(run, name, METRICS) for name in PROTOCOLS} for run in runs}
    targets = sorted({run.target for run in runs if run.target is not None})
    recipes = {json.dumps(run.record.recipe): run.record.recipe for run in runs}
    places = {text: place for place, text in enumerate(recipes)}
    return {
        "protocols": {name: one.meaning for name, one in PROTOCOLS.items()},
        "runs": [
            run_data(run, of, summaries[run.record.id]) | {"recipe": places[json.dumps(run.record.recipe)]}
            for run, of in zip(runs, data_sets, strict=True)
        ],
        "recipes": list(recipes.values()),
        "styles": figures.STYLES,
        "curves": {str(target): figures.curves_layouts(target) for target in targets},
        "lap_names": figures.LAPS,
        "lap_bars": figures.lap_bars(),
        "laps": figures.laps_layouts(),
        "histories": histories(runs, data_sets, summaries),
        "ladders": ladders(runs, data_sets, summaries),
        "scalings": scalings(runs, data_sets),
        "published": [published_data(one) for one in published],
    }


def run_data(run: Run, data_set: str, summaries: Mapping[str, RunSummary]) -> Json:
    """One run: what it is filtered and sorted by, its cells, its curves and laps, its trials, and its environment."""
    record = run.record
    protocols = known_protocols(run)
    strategy = strategy_of(run) if record.world_size > 1 else ""
    origin = known(record.environment.origin)
    summary = summaries[protocols[0]]
    notes = [_text(record.recipe.get("title")), strategy, "" if record.status == "finished" else record.status]
    cells = {
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
        "label": plain(f"{cut(record.recipe_name, 36)} {record.id[:8]}"),
        "data_set": data_set,
        "machine": run.machine,
        "strategy": strategy,
        "target": run.target,
        "goal": "no trial yet" if run.target is None else f"to {form.target(run.target)}",
        "smoke_test": record.smoke_test,
        "origin": origin,
        "note": " · ".join(word for word in (*notes, *run.warnings[:1]) if word),
        "cells": cells,
        "curves": figures.curves(run, protocols),
        "laps": figures.laps(run.trials),
        "trials": [_trial(trial) for trial in run.trials],
        "times": {
            "target": _by_known(protocols, lambda name: [form.seconds(seconds_to_target(t, name)) for t in run.trials]),
            "total": _by_known(protocols, lambda name: [form.seconds(total_seconds(t, name)) for t in run.trials]),
        },
        "facts": facts(run, data_set, summaries, protocols),
        "warnings": list(run.warnings),
        "subtitle": " · ".join(word for word in (_text(record.recipe.get("title")), run.change) if word),
        "environment": record.environment.model_dump(mode="json"),
    }


def facts(run: Run, data_set: str, summaries: Mapping[str, RunSummary], protocols: Sequence[str]) -> list[list[Any]]:
    """What the page of a run says of it, as pairs of a word and a text."""
    record, summary = run.record, summaries[protocols[0]]
    p = "" if summary.p is None else f"; p = {form.p_value(summary.p)} of a mean at least this high at the target"
    missing = f", {len(run.missing_seeds)} to come" if run.missing_seeds else ""

    def time(name: str, figure: str) -> str:
        found = summaries[name].figures[figure]
        return f"{found.text} s" if found.value is not None else f"{form.NOTHING} ({found.absent})"

    pairs = [
        ("status", record.status + (f": {record.reason}" if record.reason else "")),
        ("origin", known(record.environment.origin)),
        ("machine", run.machine),
        ("strategy", strategy_of(run) if record.world_size > 1 else None),
        ("data set", data_set),
        ("target", form.target(run.target)),
        ("accuracy %", summary.accuracy_text + p),
        ("reached", summary.reached_text + missing),
        ("time to target", _by_known(protocols, lambda name: time(name, "time-to-target"))),
        ("total time", _by_known(protocols, lambda name: time(name, "time"))),
        ("date", f"{record.created:%Y-%m-%d %H:%M:%S} UTC"),
        ("commit", (record.commit or form.NOTHING) + (" with changes" if record.dirty else "")),
        ("recipe hash", record.recipe_hash),
        *fidelity_of(record.recipe_name),
        ("command", " ".join(record.command)),
        ("directory", run.path.name),
    ]
    return [[word, text] for word, text in pairs if text]


def data_set(run: Run) -> str:
    """The recipe's data in words: runs on data with other words do not compare. Without a name of its own, the first
    part of the recipe's."""
    data = run.record.recipe.get("data")
    name = _text(data.get("name")) if isinstance(data, Mapping) else None
    if not isinstance(data, Mapping) or name is None:
        return run.record.recipe_name.partition("/")[0]
    parts = [name]
    if data.get("limit"):
        parts.append(f"{data['limit']} images")
    if data.get("evaluate") == "validation":
        parts.append("held-out images" if data.get("fold") is None else f"fold {data['fold']} of {data.get('folds')}")
    return ", ".join(parts)


def fidelity_of(recipe: str) -> list[tuple[str, str]]:
    """How near the recipe is, as it ships, to the source that it names; nothing of a recipe without one."""
    words = {
        "source": "source of the recipe",
        "agreement": "agreement of the recipe as it ships",
        "differs": "differs from its source",
    }
    return [(word, row[key]) for row in fidelity.rows([recipe]) for key, word in words.items()]


def known_protocols(run: Run) -> list[str]:
    """The protocols by which a run was timed: all, unless it was imported with a time by one of them."""
    name = known(run.record.environment.protocol)
    name = RENAMED.get(name, name) if name else None
    return [name] if name in PROTOCOLS else list(PROTOCOLS)


def commit(run: Run) -> str:
    """The beginning of its hash, with a + where files differed from it."""
    return form.NOTHING if run.record.commit is None else run.record.commit[:7] + "+" * bool(run.record.dirty)


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


def _trial(trial: TrialRecord) -> list[str]:
    epoch = epoch_reaching(trial)
    return [
        str(trial.seed),
        trial.outcome if trial.reason is None else f"{trial.outcome}: {trial.reason}",
        form.percent(trial.accuracy),
        form.NOTHING if epoch is None else str(epoch),
        form.number(images_per_second(trial)),
    ]


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
