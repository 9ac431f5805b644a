"""What the page shows of runs, as plain JSON: numbers and texts, nothing that is markup."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import compress
from statistics import fmean
from typing import Any, get_args

from results.curves import elapsed
from results.literature import Published
from results.loaders_table import in_training
from results.page.series import histories, ladders, scalings, short
from results.protocols import PROTOCOLS, crossing, crossing_seconds, schedule_seconds
from results.record import LapName, Run, TrialRecord
from results.statistics import accuracy_summary, time_summary

Json = dict[str, Any]
Timing = Callable[[TrialRecord, str], float | None]


def page_data(runs: Sequence[Run], published: Iterable[Published]) -> Json:
    """All that the page knows. Runs in the order given, the oldest first; other parts name them by their position."""
    shown = [run_data(run) for run in runs]
    return {
        "protocols": {
            name: {"laps": sorted(one.laps), "meaning": one.meaning, "source": one.source}
            for name, one in PROTOCOLS.items()
        },
        "laps": [name for name in get_args(LapName) if name != "total"],
        "runs": shown,
        "histories": histories(shown),
        "ladders": ladders(runs, shown),
        "scalings": scalings(runs, shown),
        "published": [one.model_dump() | {"data_set": one.dataset} for one in published],
    }


def run_data(run: Run) -> Json:
    """One run: its record, the statistics of its trials under every protocol, and the trials themselves."""
    record, accuracies = run.record, run.accuracies
    known = known_protocols(record.environment)
    summary = accuracy_summary(accuracies, run.target) if run.target is not None and accuracies else None
    enough = len(accuracies) == len(run.trials) > 0 and fmean(accuracies) >= run.target
    return {
        "id": record.id,
        "directory": run.path.name,
        "name": record.recipe_name,
        "title": _text(record.recipe.get("title")),
        "trick": _text(record.recipe.get("trick")),
        "origin": _text(record.environment.get("origin")),
        "data_set": data_set(record.recipe.get("data")) or _folder(record.recipe_name),
        "machine": run.machine,
        "strategy": _text(record.environment.get("strategy")) or "none",
        "target": run.target,
        "sample": record.sample,
        "status": record.status,
        "reason": record.reason,
        "created": f"{record.created:%Y-%m-%dT%H:%M:%SZ}",
        "commit": record.commit,
        "dirty": record.dirty,
        "hash": record.recipe_hash,
        "command": list(record.command),
        "world_size": record.world_size,
        "missing_seeds": run.missing_seeds,
        "warnings": list(run.warnings),
        "recipe": record.recipe,
        "environment": record.environment,
        "accuracy": summary and asdict(summary) | {"interval": summary.interval and list(summary.interval)},
        "reached": len(run.reached),
        "enough": enough,
        "times": {
            "target": _times(run.reached, crossing_seconds, known),
            "schedule": _times(run.reached if enough else [], schedule_seconds, known),
        },
        "laps": laps_data(run.trials),
        "trials": [trial_data(trial, known) for trial in run.trials],
    }


def data_set(data: Any) -> str | None:
    """The knobs `data` in words: what has other words does not compare. None where they name no data set."""
    name = _text(data.get("name")) if isinstance(data, Mapping) else None
    if name is None:
        return None
    parts = [name]
    if data.get("limit"):
        parts.append(f"{data['limit']} images")
    if data.get("evaluate") == "validation":
        parts.append("held-out images" if data.get("fold") is None else f"fold {data['fold']} of {data.get('folds')}")
    return ", ".join(parts)


def known_protocols(environment: Mapping[str, Any]) -> list[str]:
    """The protocols by whose rules a run was timed: all of them, unless it comes from somebody who tells one alone."""
    told = environment.get("protocol")
    return [told] if isinstance(told, str) and told in PROTOCOLS else list(PROTOCOLS)


def trial_data(trial: TrialRecord, known: Sequence[str]) -> Json:
    """One trial: how it ended, its images a second, its times under the known protocols in seconds, and its curve."""
    measured = [result.accuracy is not None for result in trial.epochs]
    absent = dict.fromkeys(PROTOCOLS)
    return {
        "seed": trial.seed,
        "outcome": trial.outcome,
        "reason": trial.reason,
        "accuracy": trial.accuracy,
        "crossing": crossing(trial),
        "rate": short(in_training(trial) or None),
        "target": absent | {name: short(crossing_seconds(trial, name)) for name in known},
        "schedule": absent | {name: short(schedule_seconds(trial, name)) for name in known},
        "epochs": [result.epoch for result in trial.epochs if result.accuracy is not None],
        "accuracies": [short(result.accuracy) for result in trial.epochs if result.accuracy is not None],
        "seconds": {name: [short(at) for at in compress(elapsed(trial, name), measured)] for name in known},
    }


def laps_data(trials: Sequence[TrialRecord]) -> dict[str, float]:
    """Mean seconds of each kind of lap, over the trials that have it: those of the process, its first trial alone."""
    seconds: dict[str, list[float]] = {}
    for trial in trials:
        own: dict[str, float] = {}
        for lap in trial.laps:
            own[lap.name] = own.get(lap.name, 0) + lap.seconds
        for name, total in own.items():
            seconds.setdefault(name, []).append(total)
    return {name: short(fmean(values)) for name, values in seconds.items() if name != "total"}


def _times(trials: Sequence[TrialRecord], time: Timing, protocols: Sequence[str]) -> dict[str, Json | None]:
    """By protocol, of the trials that have such a time."""
    found: dict[str, Json | None] = dict.fromkeys(PROTOCOLS)
    for protocol in protocols:
        known = [seconds for trial in trials if (seconds := time(trial, protocol)) is not None]
        summary = time_summary(known) if known else None
        found[protocol] = summary and {
            "n": summary.n,
            "of": len(trials),
            "median": short(summary.median),
            "interval": summary.interval and [short(bound) for bound in summary.interval],
        }
    return found


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _folder(recipe_name: str) -> str:
    return recipe_name.partition("/")[0]
