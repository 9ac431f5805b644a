"""Runs as flat tables: one row a run, a trial, an epoch or a lap, for databases, data frames and files."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, NamedTuple

from results import marks
from results.metrics import TIME_TO_TARGET, TOTAL_TIME
from results.protocols import epoch_reaching, find_protocol
from results.record import Run, TrialRecord
from results.summary import summarize
from results.units import per_second, unit_of

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
        f"{RUN} dirty:BOOLEAN smoke_test:BOOLEAN status:VARCHAR created:TIMESTAMP trials:BIGINT reached:BIGINT "
        "accuracy:DOUBLE time_to_target:DOUBLE total_time:DOUBLE path:VARCHAR"
    ),
    "trials": _columns(
        f"{RUN} smoke_test:BOOLEAN seed:HUGEINT outcome:VARCHAR accuracy:DOUBLE accuracy_plain:DOUBLE target:DOUBLE "
        "total_time:DOUBLE time_to_target:DOUBLE epochs_to_target:BIGINT steps:BIGINT samples:BIGINT "
        "rate:DOUBLE unit:VARCHAR "
        "peak_host_bytes:BIGINT peak_device_bytes:BIGINT foreign_load:DOUBLE reason:VARCHAR marks:VARCHAR "
        "started:TIMESTAMP host:VARCHAR gpus:VARCHAR"
    ),
    "epochs": _columns(
        "run:VARCHAR recipe:VARCHAR seed:HUGEINT epoch:BIGINT train_loss:DOUBLE accuracy:DOUBLE accuracy_plain:DOUBLE "
        "train_accuracy:DOUBLE"
    ),
    "laps": _columns(
        "run:VARCHAR recipe:VARCHAR seed:HUGEINT name:VARCHAR epoch:BIGINT seconds:DOUBLE device_seconds:DOUBLE"
    ),
}
"""Times are under the protocol asked for: of a run as `results.summary` gives them, of a trial as they are.
`created` and `started` are in UTC. `host` is a hash of its name, `gpus` are UUIDs with commas between them."""


def tables(runs: Iterable[Run], protocol: str, names: Collection[str] = tuple(COLUMNS)) -> Tables:
    """The named tables; the others stay empty.

    ValueError for an unknown protocol.
    """
    find_protocol(protocol)
    found = Tables([], [], [], [])
    for run in runs:
        found.runs.append(_run(run, protocol))
        times = zip(TOTAL_TIME.samples(run, protocol), TIME_TO_TARGET.samples(run, protocol), strict=True)
        for trial, (total, to_target) in zip(run.trials, times, strict=True):
            found.trials.append(_trial(run, trial, {"total_time": total, "time_to_target": to_target}))
            of = {"run": run.record.id, "recipe": run.record.recipe_name, "seed": trial.seed}
            if "epochs" in names:
                found.epochs.extend(of | asdict(result) for result in trial.epochs)
            if "laps" in names:
                found.laps.extend(_laps(of, trial))
    return found


def _common(run: Run) -> Row:
    return {
        "run": run.record.id,
        "recipe": run.record.recipe_name,
        "recipe_hash": run.record.recipe_hash,
        "machine": run.record.environment.machine,
        "world_size": run.record.world_size,
        "commit": run.record.commit,
    }


def _run(run: Run, protocol: str) -> Row:
    record, summary = run.record, summarize(run, protocol)
    return _common(run) | {
        "dirty": record.dirty,
        "smoke_test": record.smoke_test,
        "status": record.status,
        "created": _utc(record.created),
        "trials": summary.trials,
        "reached": summary.reached,
        "accuracy": summary.accuracy.value,
        "time_to_target": summary.time_to_target.value,
        "total_time": summary.total_time.value,
        "path": str(run.path),
    }


def _trial(run: Run, trial: TrialRecord, times: Row) -> Row:
    same = ("seed", "outcome", "accuracy", "accuracy_plain", "target", "steps", "samples")
    more = ("peak_host_bytes", "peak_device_bytes", "foreign_load", "reason")
    host = run.host_of(trial)
    row = _common(run) | {
        "smoke_test": run.record.smoke_test,
        **{name: getattr(trial, name) for name in (*same, *more)},
        "epochs_to_target": epoch_reaching(trial),
        "rate": per_second(run, trial),
        "unit": unit_of(run).rate,
        "marks": ", ".join(marks.counts([trial])),
        "started": trial.started and _utc(trial.started),
        "host": host and host.hash,
        "gpus": ", ".join(host.gpus) if host and host.gpus else None,
        **times,
    }
    return {column.name: row[column.name] for column in COLUMNS["trials"]}


def _utc(moment: datetime) -> str:
    return moment.replace(tzinfo=None).isoformat(" ")


def _laps(of: Row, trial: TrialRecord) -> Iterator[Row]:
    for lap in trial.laps:
        times = {"seconds": lap.seconds, "device_seconds": lap.device_seconds}
        yield of | {"name": lap.name, "epoch": lap.epoch} | times
