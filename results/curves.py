"""Accuracy over time: the clock at the end of each epoch, under a protocol."""

from collections import defaultdict

from results.protocols import AFTER_TRAINING, find_protocol, total_seconds
from results.record import TrialRecord


def elapsed(trial: TrialRecord, protocol: str) -> list[float | None]:
    """Seconds at the end of each epoch of `trial.epochs`, by the rules of `results.protocols.seconds_until`.

    None from the first epoch on that has no `train` lap of its own, and under `cold` for a trial without `total`.
    ValueError for an unknown protocol.
    """
    laps = find_protocol(protocol).laps
    cold = "total" in laps
    within = [lap for lap in trial.laps if lap.name not in AFTER_TRAINING and (cold or lap.name in laps)]
    by_epoch: defaultdict[int | None, float] = defaultdict(float)
    for lap in within:
        by_epoch[lap.epoch] += lap.seconds
    at: float | None = by_epoch.pop(None, 0.0)
    if cold:
        whole = total_seconds(trial, protocol)
        at = None if whole is None else whole - sum(by_epoch.values()) - trial.seconds(*AFTER_TRAINING)
    timed = {lap.epoch for lap in trial.laps if lap.name == "train"}
    times: list[float | None] = []
    last = 0
    for result in trial.epochs:
        passed = range(last + 1, result.epoch + 1)
        last = result.epoch
        at = None if at is None or not timed.issuperset(passed) else at + sum(by_epoch[epoch] for epoch in passed)
        times.append(at)
    return times
