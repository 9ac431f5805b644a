"""The table of techniques: what each brought over the base case, and over the base case with a tuned rate and decay."""

from collections.abc import Sequence
from statistics import median

from results.ladder import accuracy_cells, cell
from results.protocols import find_protocol, schedule_seconds, seconds_to
from results.record import Run
from results.statistics import accuracy_difference
from results.tables import NOTHING, Table

BASELINES = ("base", "base-tuned")
THRESHOLDS = (0.97, 0.98)


def is_baseline(run: Run) -> bool:
    """Whether others are measured against this run, by the last part of its recipe's name."""
    return not run.record.sample and run.record.recipe_name.rpartition("/")[2] in BASELINES


def baselines(runs: Sequence[Run]) -> dict[str, Run]:
    """Those of the runs that the others are measured against, by the last part of their recipe's name."""
    real = {run.record.recipe_name.rpartition("/")[2]: run for run in runs if is_baseline(run)}
    return {name: real[name] for name in BASELINES if name in real}


def is_against_baselines(runs: Sequence[Run]) -> bool:
    """Whether these are real runs of one folder, with a baseline among them and something to compare with it."""
    folders = {run.record.recipe_name.rpartition("/")[0] for run in runs}
    return len(runs) > 1 == len(folders) and bool(baselines(runs)) and not any(run.record.sample for run in runs)


def techniques_table(runs: Sequence[Run], protocol: str) -> Table:
    """One row a run, in the order given. ValueError for an unknown protocol, or where there is no baseline."""
    against = baselines(runs)
    if not against:
        raise ValueError(f"none of the runs is of a recipe called {' or '.join(BASELINES)} to compare the others with")
    headers = (
        "recipe",
        "technique",
        "labels",
        "accuracy %",
        *(f"over {name}, p" for name in against),
        "schedule s",
        *(f"s to {100 * threshold:g}%" for threshold in THRESHOLDS),
    )
    rows = tuple(
        (
            run.record.recipe_name,
            str(run.record.recipe.get("trick") or "the base case"),
            epoch_labels(run),
            accuracy_cells(run)[0],
            *(NOTHING if run is base else difference_cell(run, base) for base in against.values()),
            cell(median_of([schedule_seconds(trial, protocol) for trial in run.trials])),
            *(times_to(run, threshold, protocol) for threshold in THRESHOLDS),
        )
        for run in runs
    )
    caption = (
        "Labels: labelled images in an epoch. Accuracy: mean ± half of its 95% interval. Over a baseline: difference "
        "of the means in percentage points and the two-sided p of Welch's t-test, which is no difference at 0.05 or "
        "more. Times: median of the whole schedule, and up to the first epoch that reached so much (of k trials, "
        f"where not all did). {protocol} time: {find_protocol(protocol).meaning}"
    )
    return Table("techniques", headers, rows, caption)


def difference_cell(run: Run, base: Run) -> str:
    """The difference of the mean accuracies in percentage points, and its p."""
    if not run.accuracies or not base.accuracies:
        return NOTHING
    difference, p = accuracy_difference(run.accuracies, base.accuracies)
    return f"{100 * difference:+.2f}" + ("" if p is None else f", {p:.1g}")


def times_to(run: Run, threshold: float, protocol: str) -> str:
    """Median seconds until an epoch's accuracy was at or over the threshold, with k of n where not all were."""
    times = [seconds_to(trial, threshold, protocol) for trial in run.trials]
    known = [time for time in times if time is not None]
    if not known:
        return NOTHING
    return cell(median(known)) if len(known) == len(times) else f"{cell(median(known))} ({len(known)} of {len(times)})"


def median_of(seconds: Sequence[float | None]) -> float | None:
    """The median of what is known; None when nothing is."""
    known = [second for second in seconds if second is not None]
    return median(known) if known else None


def epoch_labels(run: Run) -> str:
    """Labelled images in an epoch."""
    epochs = run.record.recipe["epochs"]
    if not run.trials or not isinstance(epochs, int | float) or run.trials[0].outcome == "diverged":
        return NOTHING
    return str(round(run.trials[0].samples / epochs))
