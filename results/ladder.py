"""The table of a ladder: what each rung's trick brought, beside what the literature says it brought."""

from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean, median

from results.literature import published
from results.protocols import find_protocol, schedule_seconds
from results.record import Run
from results.statistics import accuracy_summary
from results.tables import NOTHING, Table


def is_ladder(runs: Sequence[Run]) -> bool:
    """Whether these runs are rungs: more than one real run, each of a recipe that names its trick, all of one folder
    `ladder`."""
    folders = {run.record.recipe_name.rpartition("/")[0] for run in runs}
    is_one = len(folders) == 1 and folders.pop().rpartition("/")[2] == "ladder"
    return is_one and len(runs) > 1 and all(run.record.recipe.get("trick") and not run.record.sample for run in runs)


def ladder_table(runs: Sequence[Run], protocol: str) -> Table:
    """One row a rung, in the order given, the slowest first. ValueError for an unknown protocol."""
    headers = (
        "rung",
        "trick",
        "epochs",
        "accuracy %",
        "reached",
        "time s",
        "gain",
        "s an epoch",
        "gain",
        "published %",
        "published s",
    )
    times = [time_of(run, protocol) for run in runs]
    epochs = [epoch_seconds(run) for run in runs]
    rows = tuple(
        (
            run.record.recipe_name,
            str(run.record.recipe["trick"]),
            f"{run.record.recipe['epochs']:g}",
            *accuracy_cells(run),
            "missed" if time is None and run.trials else cell(time),
            gain,
            cell(epoch),
            epoch_gain,
            *published_cells(run.record.recipe_name),
        )
        for run, time, gain, epoch, epoch_gain in zip(runs, times, gains(times), epochs, gains(epochs), strict=True)
    )
    caption = (
        "Accuracy: mean ± half of its 95% interval. Time: median of the whole schedule, if the mean accuracy is at or "
        "over the target. An epoch: augmentation and training alone. Gain: over the rung above it in the table. "
        f"Published: see results/published for sources and clocks. {protocol} time: {find_protocol(protocol).meaning}"
    )
    return Table("ladder", headers, rows, caption)


def time_of(run: Run, protocol: str) -> float | None:
    """Median seconds of the whole schedule; None unless every trial has them and their mean accuracy is enough."""
    seconds = [schedule_seconds(trial, protocol) for trial in run.trials]
    known = [second for second in seconds if second is not None]
    if not known or len(known) < len(seconds) or run.target is None or fmean(run.accuracies) < run.target:
        return None
    return median(known)


def epoch_seconds(run: Run) -> float | None:
    """Median seconds of augmentation and training, an epoch."""
    epochs = run.record.recipe["epochs"]
    if not run.trials or not isinstance(epochs, int | float):
        return None
    return median(trial.seconds("augment", "train") for trial in run.trials) / epochs


def gains(values: Sequence[float | None]) -> list[str]:
    """The change of each value against the one before it, in percent."""
    changes = [
        NOTHING if before is None or after is None else f"{100 * (after / before - 1):+.0f}%"
        for before, after in pairwise(values)
    ]
    return [NOTHING, *changes]


def accuracy_cells(run: Run) -> tuple[str, str]:
    """Mean ± half-interval, and k of n reached."""
    reached = f"{len(run.reached)} of {len(run.trials)}"
    if run.target is None or not run.accuracies:
        return NOTHING, reached
    summary = accuracy_summary(run.accuracies, run.target)
    half = "" if summary.interval is None else f" ± {50 * (summary.interval[1] - summary.interval[0]):.2f}"
    return f"{100 * summary.mean:.2f}{half}", reached


def published_cells(recipe_name: str) -> tuple[str, str]:
    """Accuracy, and time with the hardware it was measured on."""
    figure = published().get(recipe_name)
    if figure is None:
        return NOTHING, NOTHING
    accuracy = NOTHING if figure.accuracy is None else f"{100 * figure.accuracy:.1f}"
    return accuracy, NOTHING if figure.seconds is None else f"{figure.seconds:g} ({figure.hardware})"


def cell(seconds: float | None) -> str:
    """Seconds as text."""
    return NOTHING if seconds is None else f"{seconds:.3g}"
