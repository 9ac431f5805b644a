"""Protocols: which laps are "the time", by whose rules. Data, not code.

There are two ways to time a training, and they never share a column. `schedule_seconds` is the whole schedule.
`crossing_seconds` is up to the end of the first epoch whose evaluation is at or over the target.
"""

from dataclasses import dataclass

from results.record import Lap, TrialRecord


@dataclass(frozen=True)
class Protocol:
    """A named set of laps whose sum is the time."""

    laps: frozenset[str]
    meaning: str
    """what is in and what is out"""
    source: str


PROTOCOLS = {
    "dawnbench": Protocol(
        frozenset({"transfer", "preprocess", "whiten", "build", "pretrain", "augment", "train"}),
        "From the copy to the device to the last step; without reading the data, compilation and every evaluation.",
        "DAWNBench as David Page read it: github.com/davidcpage/cifar10-fast, dawn.py and torch_backend.py",
    ),
    "airbench": Protocol(
        frozenset({"preprocess", "whiten", "pretrain", "augment", "train", "final_evaluate"}),
        "Preparation, training and the final evaluation with its test-time augmentation; without the copy to the "
        "device, building the network, compilation and the evaluation of each epoch.",
        "Keller Jordan: github.com/KellerJordan/cifar10-airbench, airbench94.py",
    ),
    "record": Protocol(
        frozenset({"transfer", "preprocess", "build", "whiten", "pretrain", "augment", "train", "final_evaluate"}),
        "All that a trial repeats; without reading the data, compilation and the evaluation of each epoch, which only "
        "tells how far it is.",
        "Paceline's own, the strictest that leaves compilation out",
    ),
    "cold": Protocol(
        frozenset({"total"}),
        "Everything from the start of the process to the end of its first trial: imports, data, compilation and every "
        "evaluation.",
        "tinygrad's bounty, which times the whole command; MLPerf Training counts nearly as much",
    ),
}


AFTER_THE_SCHEDULE = {"final_evaluate"}
"""Laps that belong to no epoch and come after the last of them."""


def find_protocol(name: str) -> Protocol:
    """The protocol of this name. ValueError for an unknown one."""
    if name not in PROTOCOLS:
        raise ValueError(f"protocol={name!r} is unknown: say one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def schedule_seconds(trial: TrialRecord, protocol: str) -> float | None:
    """Seconds that the whole schedule took, whether or not it led to the target.

    None for a trial that diverged or failed, which did not run the schedule, and under `cold` for every trial but the
    first of its process, which alone has the lap `total`. The number is a time to the target only if the mean accuracy
    over the trials is at or over it: see `results.tables.summary_tables`.
    """
    laps = find_protocol(protocol).laps
    if trial.outcome in ("diverged", "failed"):
        return None
    needed = "total" if "total" in laps else "train"
    if not any(lap.name == needed for lap in trial.laps):
        return None
    return sum([lap.seconds for lap in trial.laps if lap.name in laps])


def crossing(trial: TrialRecord, threshold: float | None = None) -> int | None:
    """The first epoch, counted from 1, whose accuracy is at or over the threshold, by itself the target; None if there
    is none."""
    threshold = trial.target if threshold is None else threshold
    for result in trial.epochs:
        if result.accuracy is not None and result.accuracy >= threshold:
            return result.epoch
    return None


def crossing_seconds(trial: TrialRecord, protocol: str) -> float | None:
    """Seconds up to the end of the first epoch whose accuracy is at or over the target.

    None for a trial that did not reach its target, even if an epoch on its way was over it, and as `seconds_to`.
    """
    seconds = seconds_to(trial, trial.target, protocol)
    return seconds if trial.outcome == "reached" else None


def seconds_to(trial: TrialRecord, threshold: float, protocol: str) -> float | None:
    """Seconds up to the end of the first epoch whose accuracy is at or over the threshold.

    The laps that belong to no epoch, plus those of the epochs up to the crossing. The final evaluation is left out
    under every protocol, because it comes after the schedule's last epoch. Under `cold`, `total` less all laps that
    came after the crossing: what went by between those laps stays in, so that one process is never flattered.

    None where no epoch is over it; None where the epochs up to the crossing do not all have a `train` lap of their own,
    so that their time is not known.
    """
    find_protocol(protocol)
    last = crossing(trial, threshold)
    return None if last is None else seconds_until(trial, protocol, last)


def seconds_until(trial: TrialRecord, protocol: str, last: int) -> float | None:
    """Seconds up to the end of an epoch, counted from 1, as `seconds_to` counts them; None if not known."""
    laps = find_protocol(protocol).laps
    if not set(range(1, last + 1)) <= {lap.epoch for lap in trial.laps if lap.name == "train"}:
        return None
    if "total" in laps:
        whole = schedule_seconds(trial, protocol)
        return None if whole is None else whole - sum(lap.seconds for lap in trial.laps if _is_after(lap, last))
    laps = laps - AFTER_THE_SCHEDULE
    return sum([lap.seconds for lap in trial.laps if lap.name in laps and (lap.epoch is None or lap.epoch <= last)])


def _is_after(lap: Lap, epoch: int) -> bool:
    return lap.name in AFTER_THE_SCHEDULE or (lap.epoch is not None and lap.epoch > epoch)
