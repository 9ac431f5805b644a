"""What more processes bring to a recipe, from its runs with several numbers of processes.

Three questions with three answers. Weak scaling keeps the batch of each process: how many more images, or tokens, a
second? Strong scaling keeps the whole batch: how much sooner is a step done? Time to target: a larger batch may need
more epochs. The cost of the gradient all-reduce is the difference to runs of the same recipe that do not synchronise
them.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import median

from results.environment import known
from results.interconnect import Link, fit
from results.protocols import epoch_reaching
from results.record import Run, TrialRecord
from results.samples import of_run, plans
from results.sequential import Planned, level_of
from results.statistics import known_median, ratio_of_times
from results.step_times import mean_step_seconds
from results.summary import Figure, pooled
from results.units import Unit, unit_of

FREE = {"batch_size", "scaling", "parallel", "title", "change", "source", "table"}
"""options in which the runs of one curve may differ: what scales, and what only describes"""


@dataclass(frozen=True)
class Point:
    """All trials of the recipe with one number of processes, at one batch, with or without the gradient all-reduce."""

    processes: int
    batch_size: int
    synchronises: bool
    runs: tuple[Run, ...]

    @property
    def trials(self) -> list[TrialRecord]:
        """The trials of all its runs."""
        return [trial for run in self.runs for trial in run.trials]

    @property
    def step_seconds(self) -> list[float]:
        """Seconds a step, augmentation included, of each trial."""
        return [seconds for trial in self.trials if (seconds := mean_step_seconds(trial)) is not None]

    @property
    def step(self) -> float:
        """Median seconds a step."""
        return median(self.step_seconds)

    @property
    def per_second(self) -> float:
        """Images or tokens in training, over all processes."""
        return self.batch_size * unit_of(self.runs[0]).per_sample / self.step

    @property
    def plans(self) -> set[Planned]:
        """Of those of its runs that were trained until decided."""
        return plans(self.runs)

    @property
    def reached(self) -> list[TrialRecord]:
        """The trials that reached the target."""
        return [trial for trial in self.trials if trial.outcome == "reached"]

    @property
    def epochs_to_target(self) -> float | None:
        """The median over the trials that reached it."""
        return known_median(map(epoch_reaching, self.reached))

    def figure(self, metric: str, protocol: str) -> Figure:
        """Of the trials of all its runs together."""
        return pooled([of_run(run, protocol, [metric]) for run in self.runs], [metric]).figures[metric]

    def time_to_target(self, protocol: str) -> Figure:
        """Of the trials that reached the target."""
        return self.figure("time-to-target", protocol)


@dataclass(frozen=True)
class Efficiency:
    """1: twice the processes do it twice as fast. With its 95% interval where there are trials enough for one."""

    value: float
    interval: tuple[float, float] | None
    speed_up: float
    """how many times as fast as the base"""


@dataclass(frozen=True)
class Curves:
    """Runs of one recipe on one kind of machine, sorted by what they show. Each curve begins with the fewest
    processes."""

    recipe_name: str
    machine: str
    strategy: str
    weak: tuple[Point, ...]
    strong: tuple[Point, ...]
    unsynchronised: tuple[Point, ...]
    """the strong curve's points once more, without the gradient all-reduce"""

    @property
    def base(self) -> Point:
        """The fewest processes."""
        return self.strong[0]

    @property
    def unit(self) -> Unit:
        """What their rates are counted in."""
        return unit_of(self.base.runs[0])

    @property
    def gradient_bytes(self) -> int | None:
        """What the processes average in a step; None where they do not all average the whole network's gradients."""
        runs = [run for point in (*self.strong, *self.weak) for run in point.runs]
        noted = {known(run.record.environment.gradient_bytes) for run in runs}
        return noted.pop() if len(noted) == 1 else None

    @property
    def all_reduces(self) -> list[tuple[int, float, float]]:
        """Processes, bytes and seconds of each all-reduce that the runs measured."""
        return [
            (point.processes, float(size), float(seconds))
            for point in (*self.weak[1:], *self.strong[1:])
            for run in point.runs
            for size, seconds in run.record.environment.all_reduce
        ]

    @property
    def link(self) -> Link | None:
        """The connection between the processes, fitted to the measured all-reduces."""
        return fit(self.all_reduces)


def curves(runs: Iterable[Run]) -> list[Curves]:
    """The scaling of every recipe that has runs with several numbers of processes, each with trials, and a batch size.

    Runs share curves if they have the recipe but for `FREE`, the kind of machine, the CPU threads of a process and the
    strategy with its options in common. One process needs no strategy: it is the base of every strategy's curves.
    """

    def key(run: Run) -> tuple[str, str, str]:
        environment = run.record.environment
        recipe = {name: value for name, value in run.record.recipe.items() if name not in FREE}
        threads = environment.threads and environment.threads.intra_op
        alike = json.dumps([recipe, threads], sort_keys=True)
        return run.record.recipe_name, alike, environment.machine or "unknown"

    found = []
    with_batch = (run for run in runs if run.options.batch_size)
    for (name, _, machine), group in groupby(sorted(with_batch, key=key), key):
        members = list(group)
        several = [run for run in members if run.record.world_size > 1 and synchronises(run)]
        by_itself = [run for run in members if run.record.world_size == 1 or not synchronises(run)]
        for options in dict.fromkeys(map(_options, several)):
            alike = [run for run in several if _options(run) == options]
            strategy = ", ".join(dict.fromkeys(map(label, alike)))  # some have the number of processes in their names
            found.append(_curves(name, machine, strategy, [*by_itself, *alike]))
    return [each for each in found if each is not None]


def strategy_of(run: Run) -> str:
    """How its processes share the network; empty for one process."""
    if run.record.world_size == 1:
        return ""
    return known(run.record.environment.strategy) or "unknown"


def label(run: Run) -> str:
    """The strategy, and how it compresses."""
    compression = run.options.parallel.compression if run.record.world_size > 1 else None
    return strategy_of(run) if compression in (None, "none") else f"{strategy_of(run)}, {compression}"


def _options(run: Run) -> str:
    """The strategy with its options, but for what its name says of the number of processes."""
    parallel = run.record.recipe.get("parallel") or {}
    options = {name: value for name, value in parallel.items() if name != "sync_gradients"}
    return json.dumps([strategy_of(run).partition(" (")[0], options], sort_keys=True)


def _curves(name: str, machine: str, strategy: str, runs: Sequence[Run]) -> Curves | None:
    has_real = any(synchronises(run) and not run.record.smoke_test for run in runs)
    points = _points([run for run in runs if not (has_real and run.record.smoke_test and synchronises(run))])
    synchronised = [point for point in points if point.synchronises]
    if len({point.processes for point in synchronised}) < 2:
        return None
    fewest = [point for point in synchronised if point.processes == synchronised[0].processes]
    base = max(fewest, key=lambda base: sum(p.batch_size == base.batch_size for p in synchronised))
    return Curves(
        name,
        machine,
        strategy,
        tuple(p for p in synchronised if p.batch_size * base.processes == base.batch_size * p.processes),
        tuple(p for p in synchronised if p.batch_size == base.batch_size),
        tuple(p for p in points if p.batch_size == base.batch_size and not p.synchronises),
    )


def synchronises(run: Run) -> bool:
    """Whether its processes average their gradients. If not, it is recorded as a smoke test: it does not train the
    recipe."""
    return run.options.parallel.sync_gradients is not False


def _points(runs: Sequence[Run]) -> list[Point]:
    def key(run: Run) -> tuple[int, int, bool]:
        return run.record.world_size, run.options.batch_size, synchronises(run)

    with_steps = sorted((run for run in runs if any(trial.steps for trial in run.trials)), key=key)
    return [Point(*what, tuple(group)) for what, group in groupby(with_steps, key)]


def efficiency(
    base: Point, point: Point, seconds: Callable[[Point], Sequence[float]], work: float = 1.0
) -> Efficiency | None:
    """How much of what `point` has more of processes than `base` shows in its time. None where one has no time.

    work: how many times the work of `base` it does in that time.
    """
    before, after = seconds(base), seconds(point)
    if not before or not after:
        return None
    if point is base:
        return Efficiency(1.0, None, 1.0)
    ratio = ratio_of_times(before, after, level=level_of({*base.plans, *point.plans}))
    ideal = work * base.processes / point.processes
    bounds = ratio.interval and (ideal / ratio.interval[1], ideal / ratio.interval[0])
    return Efficiency(ideal / ratio.size, bounds, work / ratio.size)
