"""Runs as flat tables: one row a run, a trial, an epoch or a lap, for databases, data frames and files."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from results.protocols import crossing, crossing_seconds, find_protocol, schedule_seconds
from results.record import Run, TrialRecord

Row = dict[str, Any]


class Column(NamedTuple):
    """A column of a table: its name, and its type in SQL."""

    name: str
    sql: str


def _columns(text: str) -> tuple[Column, ...]:
    return tuple(Column(*word.split(":")) for word in text.split())


@dataclass(frozen=True)
class Tables:
    """Rows by table, in the order of the runs. Accuracies are fractions, times seconds."""

    runs: list[Row]
    trials: list[Row]
    epochs: list[Row]
    laps: list[Row]


RUN = "run:VARCHAR recipe:VARCHAR recipe_hash:VARCHAR machine:VARCHAR world_size:BIGINT commit:VARCHAR"
COLUMNS = {
    "runs": _columns(
        f"{RUN} dirty:BOOLEAN sample:BOOLEAN status:VARCHAR created:TIMESTAMPTZ trials:BIGINT path:VARCHAR"
    ),
    "trials": _columns(
        f"{RUN} sample:BOOLEAN seed:HUGEINT outcome:VARCHAR accuracy:DOUBLE accuracy_plain:DOUBLE target:DOUBLE "
        "time:DOUBLE time_to_target:DOUBLE epochs_to_target:BIGINT steps:BIGINT samples:BIGINT peak_host_bytes:BIGINT "
        "peak_device_bytes:BIGINT reason:VARCHAR"
    ),
    "epochs": _columns(
        "run:VARCHAR recipe:VARCHAR seed:HUGEINT epoch:BIGINT train_loss:DOUBLE accuracy:DOUBLE accuracy_plain:DOUBLE "
        "train_accuracy:DOUBLE"
    ),
    "laps": _columns(
        "run:VARCHAR recipe:VARCHAR seed:HUGEINT name:VARCHAR epoch:BIGINT seconds:DOUBLE device_seconds:DOUBLE"
    ),
}
"""`time` is the whole schedule's, `time_to_target` the first crossing's, both under the protocol asked for."""


def tables(runs: Iterable[Run], protocol: str) -> Tables:
    """ValueError for an unknown protocol."""
    find_protocol(protocol)
    found = Tables([], [], [], [])
    for run in runs:
        found.runs.append(_run(run))
        for trial in run.trials:
            found.trials.append(_trial(run, trial, protocol))
            of = {"run": run.record.id, "recipe": run.record.recipe_name, "seed": trial.seed}
            found.epochs.extend(of | result.model_dump() for result in trial.epochs)
            found.laps.extend(_laps(of, trial))
    return found


def _common(run: Run) -> Row:
    kind = run.record.environment.get("machine_class")
    return {
        "run": run.record.id,
        "recipe": run.record.recipe_name,
        "recipe_hash": run.record.recipe_hash,
        "machine": kind if isinstance(kind, str) else None,
        "world_size": run.record.world_size,
        "commit": run.record.commit,
    }


def _run(run: Run) -> Row:
    record = run.record
    return _common(run) | {
        "dirty": record.dirty,
        "sample": record.sample,
        "status": record.status,
        "created": record.created.isoformat(),
        "trials": len(run.trials),
        "path": str(run.path),
    }


def _trial(run: Run, trial: TrialRecord, protocol: str) -> Row:
    same = ("seed", "outcome", "accuracy", "accuracy_plain", "target", "steps", "samples")
    more = ("peak_host_bytes", "peak_device_bytes", "reason")
    row = _common(run) | {
        "sample": run.record.sample,
        **{name: getattr(trial, name) for name in (*same, *more)},
        "time": schedule_seconds(trial, protocol),
        "time_to_target": crossing_seconds(trial, protocol),
        "epochs_to_target": crossing(trial),
    }
    return {column.name: row[column.name] for column in COLUMNS["trials"]}


def _laps(of: Row, trial: TrialRecord) -> Iterator[Row]:
    for lap in trial.laps:
        times = {"seconds": lap.seconds, "device_seconds": lap.device_seconds}
        yield of | {"name": lap.name, "epoch": lap.epoch} | times
