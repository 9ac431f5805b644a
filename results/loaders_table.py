"""The table of loaders: the same training fed in several ways, and whether it waits for its images."""

from collections.abc import Callable, Sequence
from statistics import median

from results.ladder import accuracy_cells, cell
from results.protocols import crossing_seconds, find_protocol
from results.record import Run, TrialRecord
from results.tables import NOTHING, Table


def is_of_loaders(runs: Sequence[Run]) -> bool:
    """Whether these are real runs, more than one, that all noted what their loader costs."""
    return len(runs) > 1 and all(not run.record.sample and any(costs(trial) for trial in run.trials) for run in runs)


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
    meaning = find_protocol(protocol).meaning
    rows = []
    for run in runs:
        waits = median_over(run, waiting_share)
        rows.append(
            (
                run.record.recipe_name,
                rate(median_over(run, alone)),
                rate(median_over(run, in_training)),
                accuracy_cells(run)[1],
                cell(median_over(run, lambda trial: crossing_seconds(trial, protocol))),
                cell(median_over(run, cpu_seconds)),
                NOTHING if waits is None else f"{100 * waits:.0f}%",
                NOTHING if waits is None else bottleneck(waits),
            )
        )
    caption = (
        "Medians over the trials. Alone: an epoch drawn without training on it. Time to target: to the first epoch at "
        "or over it, of the trials that reached it. CPU: of the training and its evaluations, the loader's processes "
        "included. Waits for images: share of augmentation and training in which no step was under way because the "
        f"next batch was not there; over half of it, data is the bottleneck. {protocol} time: {meaning}"
    )
    return Table("loaders", headers, tuple(rows), caption)


def costs(trial: TrialRecord) -> dict[str, float]:
    """What the technique `loader_costs` noted; empty where it noted nothing."""
    noted = trial.notes.get("loader_costs")
    return noted if isinstance(noted, dict) else {}


def alone(trial: TrialRecord) -> float | None:
    """Images a second that the loader serves when nothing is trained."""
    noted = costs(trial)
    return noted["images"] / noted["seconds"] if noted else None


def in_training(trial: TrialRecord) -> float | None:
    """Images a second over augmentation and training."""
    seconds = trial.seconds("augment", "train")
    return trial.samples / seconds if seconds else None


def waiting_share(trial: TrialRecord) -> float | None:
    """Share of augmentation and training that was spent on waiting for images: preparing the epoch, and its batches."""
    noted, seconds = costs(trial), trial.seconds("augment", "train")
    return (trial.seconds("augment") + noted["waited_seconds"]) / seconds if noted and seconds else None


def cpu_seconds(trial: TrialRecord) -> float | None:
    """CPU time of the training and its evaluations, in all processes."""
    return costs(trial).get("cpu_seconds")


def bottleneck(waiting: float) -> str:
    """Who takes more of the time."""
    return "data" if waiting > 0.5 else "compute"


def median_over(run: Run, value: Callable[[TrialRecord], float | None]) -> float | None:
    """The median over the trials that have it; None where none has."""
    known = [number for trial in run.trials if (number := value(trial)) is not None]
    return median(known) if known else None


def rate(images: float | None) -> str:
    """Images a second as text, to three digits."""
    return NOTHING if images is None else f"{float(f'{images:.3g}'):,.0f}"
