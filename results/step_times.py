"""Milliseconds a step, from the laps alone: the training loop is synchronised with the device at their edges only.

A sample is the mean step of one epoch, augmentation included. Percentiles are over epochs, so that an epoch should have
few steps where single slow ones matter (`data.made_up.images`).
"""

import math
from statistics import median

from results.record import Run, TrialRecord


def epochs_done(run: Run, trial: TrialRecord) -> float | None:
    """Epochs that were trained, the last of them perhaps in part: those of the recipe, or fewer where early stopping
    ended the trial. None where the recipe does not say how many there are."""
    begun = {lap.epoch for lap in trial.laps if lap.name == "train" and lap.epoch is not None}
    return None if run.epochs is None else min(run.epochs, len(begun) or run.epochs)


def step_seconds(run: Run, trial: TrialRecord) -> list[float]:
    """The mean step of each epoch, in seconds; empty for a trial that did not come to its end."""
    epochs = epochs_done(run, trial)
    if not trial.came_to_its_end or not trial.steps or epochs is None:
        return []
    whole = trial.steps if epochs <= 1 else math.floor(trial.steps / epochs + 1e-9)
    seconds: dict[int, float] = {}
    for lap in trial.laps:
        if lap.name in ("augment", "train") and lap.epoch is not None:
            seconds[lap.epoch] = seconds.get(lap.epoch, 0.0) + lap.seconds
    steps = {epoch: min(whole, trial.steps - whole * (epoch - 1)) for epoch in seconds}
    return [seconds[epoch] / steps[epoch] for epoch in sorted(seconds) if steps[epoch] > 0]


def mean_step_seconds(trial: TrialRecord) -> float | None:
    """Of all steps of a trial, also of one that did not come to its end; None without a step."""
    return trial.seconds("augment", "train") / trial.steps if trial.steps else None


def median_milliseconds(run: Run, trial: TrialRecord) -> float | None:
    """Of the epochs of a trial."""
    seconds = step_seconds(run, trial)
    return 1000 * median(seconds) if seconds else None
