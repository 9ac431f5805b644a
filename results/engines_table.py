"""The table of engines: the same training shared among processes in several ways, and what a step costs in each."""

from collections.abc import Sequence
from statistics import median

from results.ladder import accuracy_cells
from results.record import Run
from results.tables import NOTHING, Table

PLAIN = "DDP"
"""the strategy that the others are compared with"""


def is_of_engines(runs: Sequence[Run]) -> bool:
    """Whether these are real runs of several processes each, which shared the training in more than one way."""
    are_real = all(not run.record.sample and run.record.world_size > 1 for run in runs)
    return are_real and len({strategy(run) for run in runs}) > 1


def engines_table(runs: Sequence[Run]) -> Table:
    """One row a run, in the order given."""
    headers = ("recipe", "strategy", "processes", "accuracy %", "ms a step", f"times {PLAIN}", "MiB a process")
    plain = next((step_seconds(run) for run in runs if strategy(run) == PLAIN), None)
    rows = []
    for run in runs:
        seconds, memory = step_seconds(run), peak_bytes(run)
        rows.append(
            (
                run.record.recipe_name,
                strategy(run),
                str(run.record.world_size),
                accuracy_cells(run)[0],
                NOTHING if seconds is None else f"{1000 * seconds:.2f}",
                NOTHING if seconds is None or not plain else f"{seconds / plain:.2f}",
                NOTHING if memory is None else f"{memory / 2**20:.0f}",
            )
        )
    caption = (
        "Accuracy: mean ± half of its 95% interval. A step: median over the trials of the training time by the number "
        "of steps. Memory: the most that any process had in use, on the GPU if it has one; on a CPU with Python, torch "
        "and the engine's own code in it."
    )
    return Table("engines", headers, tuple(rows), caption)


def strategy(run: Run) -> str:
    """By what the processes shared the training."""
    return str(run.record.environment.get("strategy", NOTHING))


def step_seconds(run: Run) -> float | None:
    """The median over the trials of a step's training time, in seconds; None without a step."""
    steps = [trial.seconds("train") / trial.steps for trial in run.trials if trial.steps]
    return median(steps) if steps else None


def peak_bytes(run: Run) -> int | None:
    """The most memory of the device, or of the host where there is no GPU; None where it was not measured."""
    for peaks in ([trial.peak_device_bytes for trial in run.trials], [trial.peak_host_bytes for trial in run.trials]):
        if known := [peak for peak in peaks if peak is not None]:
            return max(known)
    return None
