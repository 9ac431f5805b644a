"""The table of loaders: the same training with several data loaders, and whether it waits for its images."""

from collections.abc import Sequence

from results import format as form
from results.free_form import LoaderCosts, noted
from results.record import Run, TrialRecord
from results.statistics import known_median
from results.summary import summarize
from results.tables.table import Table, legend_of, legend_of_hosts, name_of


def loaders_table(runs: Sequence[Run], protocol: str) -> Table:
    """One row a run, in the order given. ValueError for an unknown protocol."""
    headers = (
        "recipe",
        "images/s alone",
        "images/s in training",
        "reached",
        "time to target s",
        "CPU s",
        "waits for images",
        "bottleneck",
    )
    rows = []
    summaries = [summarize(run, protocol, ["images-per-second"]) for run in runs]
    for run, summary in zip(runs, summaries, strict=True):
        waits = known_median(map(waiting_share, run.trials))
        rows.append(
            (
                name_of(run),
                form.number(known_median(map(alone, run.trials))),
                form.number(summary.figures["images-per-second"].value),
                summary.reached_text,
                form.seconds(summary.time_to_target.value),
                form.seconds(known_median(map(cpu_seconds, run.trials))),
                form.share(waits),
                form.NOTHING if waits is None else bottleneck(waits),
            )
        )
    caption = (
        "Medians. Alone: the loader without training. Waits: share of the time in which the next batch was not ready. "
        f"Time to target: {protocol} protocol{legend_of_hosts(one.time_to_target for one in summaries)}."
    )
    return Table("loaders", headers, tuple(rows), caption + legend_of(runs))


def costs(trial: TrialRecord) -> LoaderCosts | None:
    """What the technique `loader_costs` noted."""
    return noted(LoaderCosts, trial.notes.get("loader_costs"))


def alone(trial: TrialRecord) -> float | None:
    """Images a second of the loader when nothing is trained."""
    found = costs(trial)
    return found.images / found.seconds if found else None


def waiting_share(trial: TrialRecord) -> float | None:
    """Share of augmentation and training spent waiting for images: preparing the epoch, and its batches."""
    found, seconds = costs(trial), trial.seconds("augment", "train")
    return (trial.seconds("augment") + found.waited_seconds) / seconds if found and seconds else None


def cpu_seconds(trial: TrialRecord) -> float | None:
    """CPU time of training and evaluation, in all processes."""
    found = costs(trial)
    return found and found.cpu_seconds


def bottleneck(waiting: float) -> str:
    """What takes more of the time."""
    return "data" if waiting > 0.5 else "compute"
