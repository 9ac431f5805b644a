"""The tables of runs that have no target: what counts is throughput, and there is no column on accuracy."""

from collections.abc import Iterable, Sequence
from statistics import median

from results import format as form
from results import marks
from results.efficiency import efficiency
from results.metrics import images_per_second, peak_mebibytes
from results.protocols import total_seconds
from results.record import Run
from results.step_times import percentile, step_seconds
from results.tables.table import Table, legend_of, name_of

STEPS = ("ms a step", "5% to 95%")
TRIALS = ("seed", "outcome", "images/s", *STEPS, "total s")
SUMMARY = ("recipe", "trials", "images/s", *STEPS, "TFLOP/s", "MFU", "peak memory MiB", "machine")
CAPTION = (
    "ms a step: mean step of an epoch, augmentation included; its median and percentiles over the epochs. Images/s: "
    "over the same laps."
)


def trials_table(run: Run, protocol: str, title: str) -> Table:
    """One row a trial."""
    rows = tuple(
        (
            str(trial.seed) + marks.symbols(marks.counts([trial])),
            trial.outcome if trial.reason is None else f"{trial.outcome}: {trial.reason}",
            form.number(images_per_second(trial)),
            *_steps(step_seconds(run, trial)),
            form.seconds(total_seconds(trial, protocol)),
        )
        for trial in run.trials
    )
    return Table(title, TRIALS, rows, CAPTION + legend_of([run]))


def summary_table(runs: Sequence[Run], protocol: str, title: str) -> Table:
    """One row a run: medians over the trials. ValueError as `results.efficiency.efficiency`."""
    caption = (
        f"{CAPTION} Medians over the trials. TFLOP/s: the network's operations over the train laps. MFU: their share "
        "of the device's peak (results/peaks.yaml)."
    )
    return Table(title, SUMMARY, tuple(_summary_row(run, protocol) for run in runs), caption + legend_of(runs))


def _summary_row(run: Run, protocol: str) -> tuple[str, ...]:
    used = efficiency(run, protocol)
    return (
        name_of(run),
        form.count(len(run.trials), len(run.record.seeds)) if run.missing_seeds else str(len(run.trials)),
        form.number(_median(images_per_second(trial) for trial in run.trials)),
        *_steps([seconds for trial in run.trials for seconds in step_seconds(run, trial)]),
        form.number(None if used.flops is None else used.flops / 1e12),
        "unknown" if used.mfu is None else f"{100 * used.mfu:.1f}%",
        form.number(_median(peak_mebibytes(trial) for trial in run.trials)),
        run.machine,
    )


def _steps(seconds: Sequence[float]) -> tuple[str, str]:
    low, middle, high = (percentile(seconds, percent) for percent in (5, 50, 95))
    spread = form.NOTHING if len(seconds) < 2 else f"{form.milliseconds(low)} to {form.milliseconds(high)}"
    return form.milliseconds(middle), spread


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
