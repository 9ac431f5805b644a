"""What more processes bring to a recipe: read off its runs in worlds of several sizes.

Three questions that are often mixed up, each with its own efficiency. Weak scaling: the batch of each process is fixed,
how many more images a second are there? Strong scaling: the whole batch is fixed, how much sooner is a step done? And
how much sooner is the target reached, which a larger batch may put further away? And what part the exchange of
gradients has in it: the difference to a run of the same recipe whose processes exchange none.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import median

from results.difference import time_change
from results.interconnect import Link, fit
from results.protocols import crossing, crossing_seconds
from results.record import Run, TrialRecord

FACTOR = 1.05
"""A change of times is looked at for this ratio, which decides nothing here."""


@dataclass(frozen=True)
class Point:
    """All trials of the recipe in a world of one size, at one batch, with or without exchange."""

    processes: int
    batch_size: int
    exchanges: bool
    runs: tuple[Run, ...]

    @property
    def trials(self) -> list[TrialRecord]:
        """The trials of all its runs."""
        return [trial for run in self.runs for trial in run.trials]

    @property
    def step_seconds(self) -> list[float]:
        """Seconds a step, augmentation included, of each trial."""
        return [trial.seconds("augment", "train") / trial.steps for trial in self.trials if trial.steps]

    @property
    def step(self) -> float:
        """Median seconds a step."""
        return median(self.step_seconds)

    @property
    def images_per_second(self) -> float:
        """In training, over all processes."""
        return self.batch_size / self.step

    @property
    def reached(self) -> list[TrialRecord]:
        """The trials that reached the target."""
        return [trial for trial in self.trials if trial.outcome == "reached"]

    @property
    def epochs_to_target(self) -> float | None:
        """The median over the trials that reached it."""
        epochs = [epoch for trial in self.reached if (epoch := crossing(trial)) is not None]
        return median(epochs) if epochs else None

    def to_target(self, protocol: str) -> list[float]:
        """Seconds to the first epoch at or over the target, of the trials that reached it."""
        seconds = [crossing_seconds(trial, protocol) for trial in self.reached]
        return [second for second in seconds if second is not None]


@dataclass(frozen=True)
class Efficiency:
    """1: twice the processes do it twice as fast. With its 95% interval where there are trials enough for one."""

    value: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Curves:
    """Runs of one recipe, sorted by what they show. Each curve begins with the smallest world."""

    recipe_name: str
    weak: tuple[Point, ...]
    strong: tuple[Point, ...]
    alone: tuple[Point, ...]
    """the strong curve's points once more, whose processes exchange nothing"""

    @property
    def base(self) -> Point:
        """The smallest world."""
        return self.strong[0]

    @property
    def gradient_bytes(self) -> int | None:
        """What every step exchanges, as the run of the base noted it."""
        noted = self.base.runs[0].record.environment.get("gradient_bytes")
        return noted if isinstance(noted, int) else None

    @property
    def all_reduces(self) -> list[tuple[int, float, float]]:
        """Processes, bytes and seconds of each all-reduce that the runs measured."""
        return [
            (point.processes, float(size), float(seconds))
            for point in (*self.weak[1:], *self.strong[1:])
            for run in point.runs
            for size, seconds in run.record.environment.get("all_reduce") or ()
        ]

    @property
    def link(self) -> Link | None:
        """What the all-reduces that were measured say of what joins the processes."""
        return fit(self.all_reduces)


def curves(runs: Iterable[Run]) -> list[Curves]:
    """The scaling of every recipe that has runs in worlds of more than one size, each of which ended in trials."""
    by_name = sorted(runs, key=lambda run: run.record.recipe_name)
    found = [_curves(name, list(group)) for name, group in groupby(by_name, lambda run: run.record.recipe_name)]
    return [each for each in found if each is not None]


def _curves(name: str, runs: Sequence[Run]) -> Curves | None:
    has_real = any(exchanges(run) and not run.record.sample for run in runs)
    points = _points([run for run in runs if not (has_real and run.record.sample and exchanges(run))])
    exchanging = [point for point in points if point.exchanges]
    if len({point.processes for point in exchanging}) < 2:
        return None
    base = exchanging[0]
    return Curves(
        name,
        tuple(p for p in exchanging if p.batch_size * base.processes == base.batch_size * p.processes),
        tuple(p for p in exchanging if p.batch_size == base.batch_size),
        tuple(p for p in points if p.batch_size == base.batch_size and not p.exchanges),
    )


def exchanges(run: Run) -> bool:
    """Whether its processes exchange gradients. If not, it counts as a sample: it is no training of the recipe."""
    parallel = run.record.recipe.get("parallel")
    return not isinstance(parallel, dict) or bool(parallel.get("sync_gradients", parallel.get("exchange", True)))


def _points(runs: Sequence[Run]) -> list[Point]:
    def key(run: Run) -> tuple[int, int, bool]:
        return run.record.world_size, int(run.record.recipe["batch_size"]), exchanges(run)

    with_steps = sorted((run for run in runs if any(trial.steps for trial in run.trials)), key=key)
    return [Point(*what, tuple(group)) for what, group in groupby(with_steps, key)]


def efficiency(
    base: Point, point: Point, seconds: Callable[[Point], list[float]], work: float = 1.0
) -> Efficiency | None:
    """How much of what `point` has more of processes than `base` shows in its time. None where one has no time.

    work: how many times the work of `base` it does in that time.
    """
    before, after = seconds(base), seconds(point)
    if not before or not after:
        return None
    if point is base:
        return Efficiency(1.0, None)
    ratio = time_change(before, after, FACTOR)
    ideal = work * base.processes / point.processes
    bounds = ratio.interval and (ideal / ratio.interval[1], ideal / ratio.interval[0])
    return Efficiency(ideal / ratio.size, bounds)
