"""The table of strategies: one training shared by several processes in several ways, and what a step costs in each."""

import json
from collections.abc import Sequence
from dataclasses import replace

from results import format as form
from results import marks
from results.environment import Communication, known
from results.free_form import Bubble, noted
from results.metrics import DEFAULT, peak_mebibytes
from results.record import Run, TrialRecord
from results.samples import of_run
from results.scaling import label
from results.statistics import known_median
from results.step_times import mean_step_seconds
from results.summary import pooled, summarize
from results.tables.table import Table, legend_of, name_of
from results.units import unit_of

PLAIN = "DDP"
"""the strategy that the others are compared with"""
SENT = ("MB sent per step", "by formula")
"""headers of what `sent` returns"""
SENT_CAPTION = (
    "MB sent: by one process, counted in its collective operations as a ring sends them. By formula: what the strategy "
    "should send."
)


def strategies_table(runs: Sequence[Run], protocol: str) -> Table:
    """One row a run, in the order given. ValueError for an unknown protocol."""
    headers = ("recipe", "strategy", "processes", "accuracy %", "ms per step", f"times {PLAIN}", "MiB per process")
    plain = {conditions(run): step_seconds([run]) for run in reversed(runs) if strategy(run) == PLAIN}
    rows = []
    for run in runs:
        seconds, of_plain = step_seconds([run]), plain.get(conditions(run))
        rows.append(
            (
                name_of(run),
                strategy(run),
                str(run.record.world_size),
                summarize(run, protocol).accuracy_text,
                form.milliseconds(seconds),
                form.NOTHING if seconds is None or not of_plain else f"{seconds / of_plain:.2f}",
                form.number(peak([run])),
            )
        )
    caption = (
        "Accuracy: mean ± half of the 95% interval. Step: median. Memory: peak of the largest process (its GPU; on a "
        "CPU the whole process)."
    )
    table = with_sent(Table("strategies", headers, tuple(rows), caption), runs)
    return replace(table, caption=table.caption + legend_of(runs))


def scaling_by_strategy(runs: Sequence[Run], protocol: str) -> Table:
    """One row for each strategy and number of processes, at a fixed batch, in the order of the launches, also where the
    memory was not enough.

    `bench/scale.py --by-seed` leaves several runs a row. Columns without a value are left out. ValueError for an
    unknown protocol.
    """
    in_order = sorted(runs, key=lambda run: run.record.created)
    shown = [run for run in in_order if run.is_out_of_memory or has_steps([run])]
    together: dict[tuple[object, ...], list[Run]] = {}
    for run in shown:
        together.setdefault((run.record.recipe_hash, label(run), run.record.world_size), []).append(run)
    base = min(filter(has_steps, together.values()), key=lambda runs: runs[0].record.world_size, default=None)
    rows = [row_of(each, base, protocol) for each in together.values()]
    headers = [name for name in (rows[0] if rows else ()) if any(row[name] != form.NOTHING for row in rows)]
    cells = tuple(tuple(row[name] for name in headers) for row in rows)
    caption = (
        f"Medians. Efficiency: speed-up over the first row, divided by the ratio of processes. {SENT_CAPTION} "
        "Memory: peak of the process that used most."
    )
    if "bubble" in headers:
        caption += " Bubble: share of a step in which processes wait or send. In theory: (p-1)/(vm+p-1)."
    title = f"{shown[0].record.recipe_name}: strategies" if shown else "strategies"
    return Table(title, tuple(headers), cells, caption + legend_of(shown))


def row_of(runs: Sequence[Run], base: Sequence[Run] | None, protocol: str) -> dict[str, str]:
    """The cells of runs of one training by the heads of their columns."""
    run, *_ = runs
    seconds, processes, nothing = step_seconds(runs), run.record.world_size, form.NOTHING
    batch_size, unit = run.options.batch_size, unit_of(run)
    summary = pooled([of_run(one, protocol, DEFAULT) for one in runs])
    counted = (one.record.environment.communication for one in runs)
    row = {
        "strategy": (label(run) or strategy(run)) + marks.symbols(marks.counts(trials_of(runs))),
        "processes": str(processes),
        "outcome": "out of memory" if any(one.is_out_of_memory for one in runs) else nothing,
        "ms per step": form.milliseconds(seconds),
        unit.rate: form.number(batch_size * unit.per_sample / seconds) if batch_size and seconds else nothing,
        "efficiency": nothing,
        **dict(zip(SENT, sent(next(filter(None, counted), None)), strict=True)),
        "MiB per process": form.number(peak(runs)),
        "bubble": bubble(runs, "bubble"),
        "in theory": bubble(runs, "bubble_in_theory"),
        "accuracy %": summary.accuracy_text,
        "time to target s": form.seconds(summary.time_to_target.value),
    }
    if seconds and base and (of_base := step_seconds(base)):
        row["efficiency"] = form.share(of_base * base[0].record.world_size / (processes * seconds))
    return row


def peak(runs: Sequence[Run]) -> float | None:
    """Mebibytes that the largest process had in use at most; None where no trial knows it."""
    return max((found for trial in trials_of(runs) if (found := peak_mebibytes(trial)) is not None), default=None)


def bubble(runs: Sequence[Run], name: str) -> str:
    """A share that the trials of a pipeline have noted: the median."""
    notes = (noted(Bubble, trial.notes.get("pipeline")) for trial in trials_of(runs))
    return form.share(known_median(getattr(note, name) for note in notes if note))


def has_steps(runs: Sequence[Run]) -> bool:
    """Whether some trial has trained."""
    return step_seconds(runs) is not None


def with_sent(table: Table, runs: Sequence[Run]) -> Table:
    """A table of these runs, one a row, with the columns of `sent` where a run has counted its bytes."""
    counted = [run.record.environment.communication for run in runs]
    if not any(counted):
        return table
    rows = tuple((*row, *sent(one)) for row, one in zip(table.rows, counted, strict=True))
    return Table(table.title, (*table.headers, *SENT), rows, f"{table.caption} {SENT_CAPTION}")


def sent(counted: Communication | None) -> tuple[str, str]:
    """Megabytes that a process sends in a step, counted and by the formula."""
    if counted is None:
        return form.NOTHING, form.NOTHING
    found = (counted.bytes_per_step, counted.formula_bytes)
    return tuple(form.number(None if one is None else one / 1e6, 3) for one in found)


def conditions(run: Run) -> str:
    """What must be equal for steps to be compared: network, data, batch, number of processes and class of machine."""
    options = [run.record.recipe.get(name) for name in ("model", "data", "batch_size")]
    return json.dumps([options, run.machine], sort_keys=True)


def strategy(run: Run) -> str:
    """How the processes shared the training."""
    return known(run.record.environment.strategy) or form.NOTHING


def step_seconds(runs: Sequence[Run]) -> float | None:
    """Median over the trials, augmentation included; None without a step."""
    return known_median(map(mean_step_seconds, trials_of(runs)))


def trials_of(runs: Sequence[Run]) -> list[TrialRecord]:
    """The trials of all runs."""
    return [trial for run in runs for trial in run.trials]
