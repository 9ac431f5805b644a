"""The table of strategies: one training shared by several processes in several ways, and what a step costs in each."""

from collections.abc import Sequence
from statistics import median

from results import format as form
from results.environment import Communication, known
from results.metrics import peak_mebibytes
from results.record import Run
from results.samples import of_run
from results.summary import pooled, summarize
from results.tables.table import Table, legend_of, name_of
from results.units import IMAGES, unit_of

TARGET = "time-to-target"
PLAIN = "DDP"
"""the strategy that the others are compared with"""
SENT = ("MB sent a step", "by formula")
"""headers of what `sent` returns"""


def strategies_table(runs: Sequence[Run], protocol: str) -> Table:
    """One row a run, in the order given. ValueError for an unknown protocol."""
    headers = ("recipe", "strategy", "processes", "accuracy %", "ms a step", f"times {PLAIN}", "MiB a process")
    plain = next((step_seconds(run) for run in runs if strategy(run) == PLAIN), None)
    rows = []
    for run in runs:
        seconds = step_seconds(run)
        peaks = [peak for trial in run.trials if (peak := peak_mebibytes(trial)) is not None]
        rows.append(
            (
                name_of(run),
                strategy(run),
                str(run.record.world_size),
                summarize(run, protocol).accuracy_text,
                form.milliseconds(seconds),
                form.NOTHING if seconds is None or not plain else f"{seconds / plain:.2f}",
                form.number(max(peaks) if peaks else None),
            )
        )
    counted = [run.record.environment.communication for run in runs]
    if any(counted):
        headers += SENT
        rows = [(*row, *sent(one)) for row, one in zip(rows, counted, strict=True)]
    caption = (
        "Accuracy: mean ± half of the 95% interval. Step: median. Memory: peak of the largest process (its GPU; on a "
        "CPU the whole process)."
    )
    if any(counted):
        caption += " Sent: by a process, counted in its collectives, for a ring; and from the size of the gradients."
    return Table("strategies", headers, tuple(rows), caption + legend_of(runs))


def scaling_by_strategy(runs: Sequence[Run], protocol: str) -> Table:
    """One row a run, at a fixed batch, in the order of the launches. ValueError for an unknown protocol."""
    with_steps = [run for run in sorted(runs, key=lambda run: run.record.created) if step_seconds(run)]
    base = min(with_steps, key=lambda run: run.record.world_size, default=None)
    unit = unit_of(base) if base else IMAGES
    headers = ("strategy", "processes", "ms a step", unit.rate, "efficiency", *SENT)
    headers += ("MiB a process", "accuracy %", "time to target s")
    rows = []
    for run in with_steps:
        seconds, processes = step_seconds(run), run.record.world_size
        used = step_seconds(base) * base.record.world_size
        peaks = [peak for trial in run.trials if (peak := peak_mebibytes(trial)) is not None]
        found = summarize(run, protocol)
        rows.append(
            (
                label(run),
                str(processes),
                form.milliseconds(seconds),
                form.number(run.record.recipe["batch_size"] * unit.per_sample / seconds),
                form.share(used / (processes * seconds)),
                *sent(run.record.environment.communication),
                form.number(max(peaks) if peaks else None),
                found.accuracy_text,
                form.seconds(pooled([of_run(run, protocol, [TARGET])], [TARGET]).figures[TARGET].value),
            )
        )
    caption = (
        "Medians. Efficiency: speed-up over the ratio of processes, against the fewest. Sent: by a process, counted in "
        "its collectives, for a ring; and from the size of the gradients. Memory: peak of the largest process."
    )
    title = f"{with_steps[0].record.recipe_name}: strategies" if with_steps else "strategies"
    return Table(title, headers, tuple(rows), caption + legend_of(runs))


def label(run: Run) -> str:
    """The strategy, and how it compresses."""
    parallel = run.record.recipe.get("parallel") or {}
    compression = parallel.get("compression", "none") if run.record.world_size > 1 else "none"
    return strategy(run) if compression == "none" else f"{strategy(run)}, {compression}"


def sent(counted: Communication | None) -> tuple[str, str]:
    """Megabytes that a process sends in a step, counted and by the formula."""
    if counted is None:
        return form.NOTHING, form.NOTHING
    found = (counted.bytes_per_step, counted.formula_bytes)
    return tuple(form.number(None if one is None else one / 1e6, 3) for one in found)


def strategy(run: Run) -> str:
    """How the processes shared the training."""
    return known(run.record.environment.strategy) or form.NOTHING


def step_seconds(run: Run) -> float | None:
    """Median seconds of a step's training; None without a step."""
    steps = [trial.seconds("train") / trial.steps for trial in run.trials if trial.steps]
    return median(steps) if steps else None
