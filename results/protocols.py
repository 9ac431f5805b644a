"""Protocols: which laps make up the time of a trial. Data, not code.

A training has two times, which never share a column. `total_seconds` is the time of the whole training;
`seconds_to_target` ends with the first epoch whose evaluation is at or over the target. Both are of one trial.
`results.summary` says when a run has them.
"""

import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from results.environment import known
from results.record import Lap, LapName, Run, TrialRecord

DEFAULT = "strict"
RENAMED = {"record": "strict"}
"""old names, which records and command lines of earlier versions use"""


@dataclass(frozen=True)
class Protocol:
    """A named set of laps whose sum is the time."""

    laps: frozenset[str]
    meaning: str
    """what is in and what is out"""
    source: str
    counts_command: bool = False
    """a command is timed as a whole, from its start to its end; otherwise it has no total time"""


PROTOCOLS = {
    "dawnbench": Protocol(
        frozenset({"transfer", "preprocess", "whiten", "build", "pretrain", "augment", "train"}),
        "From the copy to the device to the last step. Reading the data, compilation and all evaluation are left out.",
        "DAWNBench as David Page read it: github.com/davidcpage/cifar10-fast, dawn.py and torch_backend.py",
    ),
    "airbench": Protocol(
        frozenset({"preprocess", "whiten", "pretrain", "augment", "train", "final_evaluate"}),
        "Preprocessing, training and the final evaluation with its test-time augmentation. The copy to the device, "
        "building the network, compilation and the evaluation after each epoch are left out.",
        "Keller Jordan: github.com/KellerJordan/cifar10-airbench, airbench94.py",
    ),
    "strict": Protocol(
        frozenset({"transfer", "preprocess", "build", "whiten", "pretrain", "augment", "train", "final_evaluate"}),
        "Everything that each trial repeats. Reading the data, compilation and the evaluation after each epoch are "
        "left out.",
        "Paceline's own, the strictest that leaves compilation out",
        counts_command=True,
    ),
    "cold": Protocol(
        frozenset({"total"}),
        "Everything from the start of the process to the end of its first trial, including imports, reading the data, "
        "compilation and all evaluation.",
        "tinygrad's bounty, which times the whole command; MLPerf Training counts nearly as much",
        counts_command=True,
    ),
}

COMMAND: LapName = "command"
"""The lap of a whole process. Its parts are known only as far as the process says them."""
WHOLE = {"total", COMMAND}
"""Laps that hold other laps."""
AFTER_TRAINING = {"final_evaluate"}
"""Laps that belong to no epoch and come after the last of them."""


def find_protocol(name: str) -> Protocol:
    """The protocol of this name, or of its old name. ValueError for an unknown one."""
    name = RENAMED.get(name, name)
    if name not in PROTOCOLS:
        raise ValueError(f"protocol={name!r} is unknown: use one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def parse(name: str) -> str:
    """A protocol's name from a command line. An old name is accepted and answered by a line on stderr."""
    find_protocol(name)
    if name in RENAMED:
        print(f"note: the protocol {name!r} is now called {RENAMED[name]!r}", file=sys.stderr)
    return RENAMED.get(name, name)


def known_protocols(run: Run) -> list[str]:
    """The protocols by which a run was timed: all, unless it was imported with a time by one of them."""
    name = known(run.record.environment.protocol)
    name = RENAMED.get(name, name) if name else None
    return [name] if name in PROTOCOLS else list(PROTOCOLS)


def total_seconds(trial: TrialRecord, protocol: str) -> float | None:
    """Seconds of the whole training, whether or not it reached the target.

    None for a trial that diverged or failed, and under `cold` for every trial but the first of its process, which alone
    has the lap `total`.
    """
    laps = find_protocol(protocol).laps
    if trial.outcome in ("diverged", "failed"):
        return None
    if COMMAND in {lap.name for lap in trial.laps}:
        return trial.seconds(COMMAND) if find_protocol(protocol).counts_command else None
    needed = "total" if "total" in laps else "train"
    if not any(lap.name == needed for lap in trial.laps):
        return None
    return sum([lap.seconds for lap in trial.laps if lap.name in laps])


def command_rest(trial: TrialRecord) -> float:
    """Seconds of a command beside the laps that it reported; 0 for any other trial."""
    reported = sum(lap.seconds for lap in trial.laps if lap.name not in WHOLE)
    return max(0.0, trial.seconds(COMMAND) - reported)


def seconds_by_lap(trial: TrialRecord) -> dict[str, float]:
    """The seconds of each lap of a trial, over all of its epochs."""
    return _by_name(trial.laps)


def seconds_by_lap_to_target(trial: TrialRecord) -> dict[str, float]:
    """As far as `seconds_to_target` counts laps; nothing of a trial that did not reach its target."""
    last = epoch_reaching(trial)
    if last is None or trial.outcome != "reached":
        return {}
    before = (lap for lap in trial.laps if lap.name not in AFTER_TRAINING | WHOLE)
    return _by_name(lap for lap in before if lap.epoch is None or lap.epoch <= last)


def _by_name(laps: Iterable[Lap]) -> dict[str, float]:
    seconds: dict[str, float] = {}
    for lap in laps:
        seconds[lap.name] = seconds.get(lap.name, 0.0) + lap.seconds
    return seconds


def epoch_reaching(trial: TrialRecord, threshold: float | None = None) -> int | None:
    """The first epoch, counted from 1, whose accuracy is at or over the threshold (default: the target); None if there
    is none."""
    threshold = trial.target if threshold is None else threshold
    for result in trial.epochs:
        if threshold is not None and result.accuracy is not None and result.accuracy >= threshold:
            return result.epoch
    return None


def seconds_to_target(trial: TrialRecord, protocol: str) -> float | None:
    """Seconds to the end of the first epoch whose accuracy is at or over the target.

    None for a trial that did not reach its target, even if an earlier epoch was over it, and as `seconds_to`.
    """
    seconds = seconds_to(trial, trial.target, protocol)
    return seconds if trial.outcome == "reached" else None


def seconds_to(trial: TrialRecord, threshold: float | None, protocol: str) -> float | None:
    """Seconds to the end of the first epoch whose accuracy is at or over the threshold, as `elapsed` counts them.

    None where no epoch is over it.
    """
    find_protocol(protocol)
    last = epoch_reaching(trial, threshold)
    return None if last is None else elapsed(trial, protocol)[last]


def elapsed(trial: TrialRecord, protocol: str) -> dict[int, float | None]:
    """Seconds to the end of each epoch of `trial.epochs`, by its number.

    The laps that belong to no epoch, plus those of the epochs up to this one. The final evaluation is left out under
    every protocol, because it comes after the last epoch. Under `cold` it is `total` less all laps that came later, so
    that what passed between laps is counted.

    None where the epochs up to this one do not all have a `train` lap of their own, and under `cold` for a trial
    without `total`: their time is not known. ValueError for an unknown protocol.
    """
    counted = find_protocol(protocol).laps
    is_cold = "total" in counted
    seconds: defaultdict[int | None, float] = defaultdict(float)
    for lap in trial.laps:
        if lap.name not in AFTER_TRAINING and (is_cold or lap.name in counted):
            seconds[lap.epoch] += lap.seconds
    at: float | None = seconds.pop(None, 0.0)
    if is_cold:
        whole = total_seconds(trial, protocol)
        at = None if whole is None else whole - sum(seconds.values()) - trial.seconds(*AFTER_TRAINING)
    trained = {lap.epoch for lap in trial.laps if lap.name == "train"}
    found: dict[int, float | None] = {}
    last = 0
    for result in trial.epochs:
        passed = range(last + 1, result.epoch + 1)
        last = result.epoch
        at = None if at is None or not trained.issuperset(passed) else at + sum(seconds[epoch] for epoch in passed)
        found[last] = at
    return found
