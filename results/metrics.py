"""Metrics: everything that runs are compared by. To add one, add an entry to `METRICS`."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from results import format as form
from results.environment import Energy
from results.protocols import (
    RENAMED,
    known_protocols,
    seconds_by_lap,
    seconds_by_lap_to_target,
    seconds_to_target,
    total_seconds,
)
from results.record import Run, TrialRecord
from results.statistics import Change, difference_of_means, mean_of, ratio_of_times
from results.step_times import epochs_done, median_milliseconds
from results.units import per_second, unit_of


@dataclass(frozen=True)
class Test:
    """The statistical test of a metric, and the format of a change."""

    center: Callable[[Sequence[float]], float]
    """of a side's samples"""
    change: Callable[..., Change]
    """from the samples of one side to those of the other"""
    by_ranks: bool
    """whether neighbours can be compared in pairs"""
    limit: str
    """the form of a limit, as a regular expression"""
    example: str
    write: Callable[[float], str]
    """the size of a change, or a bound of its interval"""
    write_limit: Callable[[float], str]
    wider: tuple[float, ...]
    """limits to suggest where one cannot be decided"""


LONGEST = 1e9
"""epochs; more are no training"""
RATIO = Test(
    median,
    ratio_of_times,
    True,
    r"(\d+\.?\d*|\.\d+)%",
    "5%",
    form.change,
    lambda limit: f"{100 * limit:g}%",
    (0.01, 0.02, 0.03, 0.05, 0.1, 0.2),
)
"""The ratio of two quantities that are over zero."""
DIFFERENCE = Test(
    mean_of,
    difference_of_means,
    False,
    r"(\d+\.?\d*|\.\d+)",
    "0.1",
    form.points,
    lambda limit: f"{100 * limit:g} points",
    (0.001, 0.002, 0.003, 0.005, 0.01, 0.02),
)
"""The difference of two mean accuracies, in percentage points."""

Samples = Sequence[float | None]
"""one entry a trial, in their order; None for a trial that has no such number"""


@dataclass(frozen=True)
class Metric:
    """A number of a trial: its samples, its unit, its test and its default limit."""

    name: str
    """as in `--fail-on NAME:LIMIT`"""
    title: str
    """the header of a column"""
    meaning: str
    unit: str
    values: Callable[[Run, str], Samples]
    """of a run, under a protocol"""
    limit: float
    """the smallest change that counts, where no rule says another: a share of a ratio, a fraction of a difference"""
    test: Test = RATIO
    higher_is_better: bool = False
    counts: Literal["every trial", "trials that reached", "measured trials"] = "measured trials"
    """the trials that a run's figure is over; the first needs all of them to have ended, the last takes those that
    have the number"""
    needs_target: bool = False
    """the figure is given only if the mean accuracy over all trials is at or over the target"""
    write: Callable[[float | None], str] = form.number
    """a value, without its unit"""
    by_protocol: bool = False
    """whether the samples depend on the protocol"""
    laps: Callable[[TrialRecord], Mapping[str, float]] | None = None
    """of a time that is the sum of laps: the seconds of each lap of a trial, whatever the protocol"""
    by_seed: bool = False
    """whether the seed decides the number. Trials of one seed in several runs are then one sample, their center: they
    are equal where a training is deterministic"""
    cost: tuple[str, str, Callable[[float], float]] | None = None
    """of a metric of which more is better: the name, unit and value of what is better if smaller, for tools that know
    no other"""

    def samples(self, run: Run, protocol: str) -> Samples:
        """One value a trial. A ratio needs numbers over zero: a trial with another one has none."""
        values = self.values(run, protocol)
        return [value if value and value > 0 else None for value in values] if self.test is RATIO else values

    @property
    def is_timed(self) -> bool:
        """Whether it depends on how fast the machine was."""
        return self.unit in ("s", "ms") or self.unit.endswith("/s")

    def text(self, value: float | None) -> str:
        """A value with its unit."""
        if value is None:
            return form.NOTHING
        return f"{self.write(value)}{'' if self.unit == '%' else ' '}{self.unit}"

    def write_rule(self, limit: float) -> str:
        """A limit as `parse_limit` reads it, such as time:5%."""
        return f"{self.name}:{self.test.write_limit(limit).removesuffix(' points')}"

    def parse_limit(self, text: str) -> float:
        """A limit from its text, such as `5%`. ValueError for another text, and for 0."""
        found = re.fullmatch(self.test.limit, text)
        limit = float(found[1]) / 100 if found else 0
        if not limit:
            raise ValueError(f"{text!r} is not a limit of {self.name}: write {self.name}:{self.test.example}")
        return limit


def _each(of_trial: Callable[[TrialRecord], float | None]) -> Callable[[Run, str], Samples]:
    return lambda run, protocol: [of_trial(trial) for trial in run.trials]


def _timed(of_trial: Callable[[TrialRecord, str], float | None]) -> Callable[[Run, str], Samples]:
    """By a protocol; none of a run that was imported with a time by another one."""

    def samples(run: Run, protocol: str) -> Samples:
        is_known = RENAMED.get(protocol, protocol) in known_protocols(run)
        return [of_trial(trial, protocol) if is_known else None for trial in run.trials]

    return samples


def _rate(unit: str) -> Callable[[Run, str], Samples]:
    """Of runs with this unit; others have no such rate."""
    return lambda run, protocol: [per_second(run, one) if unit_of(run).name == unit else None for one in run.trials]


def peak_mebibytes(trial: TrialRecord) -> float | None:
    """Peak memory in MiB of the device, or of the host where there is no GPU; None if unknown."""
    peak = trial.peak_host_bytes if trial.peak_device_bytes is None else trial.peak_device_bytes
    return None if peak is None else peak / 2**20


def _epoch_seconds(run: Run, protocol: str) -> Samples:
    """The mean epoch, so that each image size counts by its share; none of a trial too short for all of its sizes."""
    return [_mean_epoch(run, trial) for trial in run.trials]


def _mean_epoch(run: Run, trial: TrialRecord) -> float | None:
    epochs, resolution = epochs_done(run, trial), run.options.augment.resolution
    last_size_starts = max(resolution.epochs) if resolution else 0
    if not trial.came_to_its_end or epochs is None or not last_size_starts < epochs < LONGEST:
        return None
    return trial.seconds("augment", "train") / epochs


def _energy(run: Run, protocol: str) -> Samples:
    """One sample a run: energy is counted over trials that are repeated after the timed ones."""
    energy = run.record.environment.energy
    counted = energy.joules_per_trial if isinstance(energy, Energy) else None
    return [counted if index == 0 else None for index in range(len(run.trials))]


METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            "time",
            "total s",
            "total time of the training, if the mean accuracy over all trials is at or over the target",
            "s",
            _timed(total_seconds),
            0.02,
            by_protocol=True,
            laps=seconds_by_lap,
            counts="every trial",
            needs_target=True,
        ),
        Metric(
            "time-to-target",
            "time to target s",
            "time to the first epoch at or over the target, of the trials that reached it",
            "s",
            _timed(seconds_to_target),
            0.02,
            by_protocol=True,
            laps=seconds_by_lap_to_target,
            by_seed=True,
            counts="trials that reached",
        ),
        Metric(
            "accuracy",
            "accuracy %",
            "final accuracy",
            "%",
            _each(lambda trial: trial.accuracy),
            1e-3,
            test=DIFFERENCE,
            higher_is_better=True,
            by_seed=True,
            counts="every trial",
            write=form.percent,
            cost=("error", "%", lambda accuracy: 100 * (1 - accuracy)),
        ),
        Metric(
            "compile-time",
            "compile s",
            "warm-up and compilation, once a process",
            "s",
            _each(lambda trial: trial.seconds("compile")),
            0.1,
        ),
        Metric(
            "peak-memory",
            "peak memory MiB",
            "largest memory of a process: of its GPU, or of the host where there is none",
            "MiB",
            _each(peak_mebibytes),
            0.02,
        ),
        Metric(
            "epoch-time",
            "s per epoch",
            "augmentation and training of the mean epoch, over all image sizes of the recipe",
            "s",
            _epoch_seconds,
            0.02,
        ),
        Metric(
            "images-per-second",
            "images/s",
            "training images over the time of augmentation and training",
            "images/s",
            _rate("images"),
            0.02,
            higher_is_better=True,
            cost=("seconds-per-image", "s", lambda rate: 1 / rate),
        ),
        Metric(
            "tokens-per-second",
            "tokens/s",
            "training tokens over the time of augmentation and training",
            "tokens/s",
            _rate("tokens"),
            0.02,
            higher_is_better=True,
            cost=("seconds-per-token", "s", lambda rate: 1 / rate),
        ),
        Metric(
            "step-time",
            "ms per step",
            "augmentation and training of the mean step of an epoch; the median epoch",
            "ms",
            lambda run, protocol: [median_milliseconds(run, trial) for trial in run.trials],
            0.02,
        ),
        Metric(
            "energy",
            "J per trial",
            "energy of one trial, where it was measured: one sample a run",
            "J",
            _energy,
            0.05,
        ),
    )
}

TOTAL_TIME, TIME_TO_TARGET, ACCURACY = (METRICS[name] for name in ("time", "time-to-target", "accuracy"))
EPOCH_TIME, PEAK_MEMORY, STEP_TIME = (METRICS[name] for name in ("epoch-time", "peak-memory", "step-time"))
RATES = tuple(metric for metric in METRICS.values() if metric.name.endswith("-per-second"))
DEFAULT = ("time", "time-to-target", "accuracy")
"""those that are compared where no rule asks for another"""

WITHOUT_TARGET = ("time",)
"""those of them that a run without a target has"""


def rate_of(run: Run) -> Metric:
    """The rate that the run has: of images or of tokens."""
    return METRICS[unit_of(run).metric]


def find_metric(name: str) -> Metric:
    """ValueError for an unknown name."""
    if name not in METRICS:
        raise ValueError(f"metric={name!r} is unknown: use one of {', '.join(METRICS)}")
    return METRICS[name]
