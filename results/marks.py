"""Marks of trials: why the time of a trial may not be what its recipe takes. To add one, add an entry to `MARKS`."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from results.record import Run, TrialRecord

THROTTLING = frozenset({"hw_slowdown", "sw_thermal_slowdown", "hw_thermal_slowdown", "hw_power_brake_slowdown"})
"""NVML's clocks event reasons that mean heat or a failing power supply. Running at the power limit is not among them:
many cards do so whenever they are busy."""

BUSY = 0.1
"""share of the CPUs of a run from which work of other processes marks a trial"""


@dataclass(frozen=True)
class Mark:
    """A property of a trial that every table shows."""

    name: str
    symbol: str
    caption: str
    """what the symbol means, as a sentence without its full stop"""
    applies: Callable[[TrialRecord], bool]


def is_throttled(trial: TrialRecord) -> bool:
    """Whether a GPU of the trial lowered its clocks because of heat or its power supply."""
    return any(not THROTTLING.isdisjoint(gpu.throttle_reasons) for gpu in trial.gpus)


def is_busy(trial: TrialRecord) -> bool:
    """Whether other processes kept CPUs busy that the trial could have used."""
    return trial.foreign_load is not None and trial.foreign_load >= BUSY


def is_suspended(trial: TrialRecord) -> bool:
    """Whether the process of the trial was suspended: its laps went on."""
    return bool(trial.suspended_seconds)


MARKS: tuple[Mark, ...] = (
    Mark("busy", "‡", f"other processes kept at least {BUSY:.0%} of the CPUs busy during a trial", is_busy),
    Mark("throttled", "†", "a GPU was throttled by heat or its power supply during a trial", is_throttled),
    Mark("suspended", "§", "a process was suspended during a trial; its times contain that", is_suspended),
)


def counts(trials: Iterable[TrialRecord]) -> dict[str, int]:
    """Trials by the name of each mark that one of them has."""
    return dict(Counter(mark.name for trial in trials for mark in MARKS if mark.applies(trial)))


def symbols(names: Collection[str]) -> str:
    """What is written behind the name or number of what has these marks, such as " †"; empty without a mark."""
    return "".join(f" {mark.symbol}" for mark in MARKS if mark.name in names)


def numbered(counted: Mapping[str, int]) -> str:
    """How many trials have each mark, such as ", 2 †"."""
    return "".join(f", {counted[mark.name]} {mark.symbol}" for mark in MARKS if mark.name in counted)


def legend(names: Collection[str]) -> str:
    """The end of a caption, which explains these marks."""
    return "".join(f" {mark.symbol} {mark.caption}." for mark in MARKS if mark.name in names)


def discard(run: Run, names: Collection[str]) -> Run:
    """The run without the trials that have one of these marks; a warning of the run says how many are left out."""
    chosen = [mark for mark in MARKS if mark.name in names]
    left_out = tuple(trial for trial in run.trials if any(mark.applies(trial) for mark in chosen))
    if not left_out:
        return run
    kept = tuple(trial for trial in run.trials if trial not in left_out)
    warning = f"{run.path}: {len(left_out)} of {len(run.trials)} trials are left out: {' or '.join(names)}"
    return replace(run, trials=kept, discarded=left_out, warnings=(*run.warnings, warning))
