"""The tables of runs that have no target: what counts is throughput, and there is no column on accuracy."""

from collections.abc import Sequence
from statistics import quantiles

from results import format as form
from results.efficiency import efficiency
from results.literature import rates
from results.metrics import peak_mebibytes
from results.protocols import total_seconds
from results.record import Run
from results.statistics import known_median
from results.step_times import step_seconds
from results.tables.strategies import with_sent
from results.tables.table import Table, legend_of, name_of, seed_of
from results.units import Unit, per_second, unit_of

STEPS = ("ms per step", "5% to 95%")


def _caption(run: Run) -> str:
    return (
        "ms per step: mean step of an epoch, augmentation included; its median and percentiles over the epochs. "
        f"{unit_of(run).rate.capitalize()}: over the same laps."
    )


def trials_table(run: Run, protocol: str, title: str) -> Table:
    """One row a trial."""
    rows = tuple(
        (
            seed_of(trial),
            trial.ending,
            form.number(per_second(run, trial)),
            *_steps(step_seconds(run, trial)),
            form.seconds(total_seconds(trial, protocol)),
        )
        for trial in run.trials
    )
    headers = ("seed", "outcome", unit_of(run).rate, *STEPS, "total s")
    return Table(title, headers, rows, _caption(run) + legend_of([run]))


def summary_tables(runs: Sequence[Run], protocol: str, title: str) -> list[Table]:
    """A table of the runs on images and one of those on tokens, each followed by what is published of its recipes.

    ValueError as `results.efficiency.efficiency`.
    """
    by_unit: dict[Unit, list[Run]] = {}
    for run in runs:
        by_unit.setdefault(unit_of(run), []).append(run)
    tables = [
        table
        for unit, of_unit in by_unit.items()
        for table in (_summary_table(of_unit, protocol, title), _published_table(of_unit, unit))
    ]
    return [table for table in tables if table.rows]


def _published_table(runs: Sequence[Run], unit: Unit) -> Table:
    """Of the recipes of these runs, smoke tests apart."""
    recipes = {run.record.recipe_name for run in runs if not run.record.smoke_test}
    headers = ("recipe", "hardware", "GPUs", "precision", unit.rate, "MFU", "source")
    rows = tuple(
        (
            one.recipe,
            one.hardware,
            str(one.gpus),
            one.precision,
            form.number(one.per_second),
            form.NOTHING if one.mfu is None else f"{100 * one.mfu:.1f}%",
            one.source,
        )
        for one in rates()
        if one.recipe in recipes
    )
    return Table(f"published {unit.rate}, on other machines", headers, rows)


def _summary_table(runs: Sequence[Run], protocol: str, title: str) -> Table:
    """One row a run: medians over the trials."""
    headers = ("recipe", "trials", unit_of(runs[0]).rate, *STEPS, "TFLOP/s", "MFU", "peak memory MiB")
    caption = (
        f"{_caption(runs[0])} Medians over the trials. TFLOP/s: the network's operations over the train laps. MFU: "
        "their share of the device's peak (results/peaks.yaml)."
    )
    table = with_sent(Table(title, headers, tuple(_summary_row(run, protocol) for run in runs), caption), runs)
    rows = tuple((*row, run.machine) for row, run in zip(table.rows, runs, strict=True))
    return Table(title, (*table.headers, "machine"), rows, table.caption + legend_of(runs))


def _summary_row(run: Run, protocol: str) -> tuple[str, ...]:
    used = efficiency(run, protocol)
    return (
        name_of(run),
        form.count(len(run.trials), len(run.record.seeds)) if run.missing_seeds else str(len(run.trials)),
        form.number(known_median(per_second(run, trial) for trial in run.trials)),
        *_steps([seconds for trial in run.trials for seconds in step_seconds(run, trial)]),
        form.number(None if used.flops is None else used.flops / 1e12),
        "unknown" if used.mfu is None else f"{100 * used.mfu:.1f}%",
        form.number(known_median(peak_mebibytes(trial) for trial in run.trials)),
    )


def _steps(seconds: Sequence[float]) -> tuple[str, str]:
    middle = form.milliseconds(known_median(seconds))
    if len(seconds) < 2:
        return middle, form.NOTHING
    low, *_, high = quantiles(seconds, n=20, method="inclusive")
    return middle, f"{form.milliseconds(low)} to {form.milliseconds(high)}"
