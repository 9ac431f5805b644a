"""Summaries of runs: the one place that decides which times and accuracies a run has.

*Time to target* is over the trials that reached it, with k of n beside it. *Total time* is over all trials, and given
only if the mean accuracy over all trials is at or over the target; otherwise there is none, and `absent` says why.

Intervals and p of runs that were trained until decided are at the level of the look at which they ended
(`results.sequential`): they hold at all looks together.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from results import format as form
from results.hosts import LIMIT, HostEffect, host_effect
from results.metrics import ACCURACY, DEFAULT, TIME_TO_TARGET, Metric, find_metric
from results.protocols import seconds_to
from results.record import Run
from results.samples import Samples, of_run, plans
from results.sequential import level_of, p_over_looks
from results.statistics import LEVEL, AccuracySummary, MedianSummary, accuracy_summary, median_summary


@dataclass(frozen=True)
class Figure:
    """A metric over the trials of a run, or of several runs."""

    metric: Metric
    samples: tuple[float, ...]
    """what it is over, also where no value is given: the trials, or their seeds (`Metric.by_seed`)"""
    trials: int
    """those that it should be over: all of them, or those that reached the target"""
    without: int
    """of these, the trials that lack the number"""
    value: float | None
    """median or mean; None where there is none"""
    absent: str
    """why there is no value; empty where there is one"""
    hosts: HostEffect | None = None
    """of times over several hosts"""
    level: float = LEVEL
    """of the interval"""

    @cached_property
    def median(self) -> MedianSummary | None:
        """Of a metric that is compared by ratios. Over several hosts each host counts once."""
        if self.value is None:
            return None
        found = median_summary(self.samples, level=self.level)
        return replace(found, median=self.hosts.center, interval=self.hosts.interval) if self.hosts else found

    @property
    def text(self) -> str:
        """Median and interval, with k of n where trials lack the number; a dash where there is no value."""
        return form.median(self.median, self.metric.write) + self.missing

    @property
    def missing(self) -> str:
        """k of n in brackets, where trials lack the number."""
        is_whole = self.value is None or not self.without
        return "" if is_whole else f" ({form.count(self.trials - self.without, self.trials)})"


@dataclass(frozen=True)
class RunSummary:
    """The trials of one run, or of several that are pooled."""

    trials: int
    reached: int
    target: float | None
    """as a fraction; None before the first trial has ended"""
    accuracy_of: AccuracySummary | None
    """over the samples of the accuracy"""
    figures: Mapping[str, Figure]
    """by metric"""

    @property
    def total_time(self) -> Figure:
        return self.figures["time"]

    @property
    def time_to_target(self) -> Figure:
        return self.figures["time-to-target"]

    @property
    def accuracy(self) -> Figure:
        return self.figures["accuracy"]

    @property
    def accuracy_text(self) -> str:
        """Mean ± half of its interval, with k of n where a trial has none."""
        if self.accuracy_of is None:
            return form.NOTHING
        without = self.accuracy.without
        rest = f" ({form.count(self.trials - without, self.trials)})" if without else ""
        return form.accuracy(self.accuracy_of.mean, self.accuracy_of.interval) + rest

    @property
    def reached_text(self) -> str:
        """k of n."""
        return form.count(self.reached, self.trials) if self.trials else form.NOTHING

    @property
    def p(self) -> float | None:
        """Of a mean accuracy this high if the true one were at the target; None unless every trial has one."""
        return self.accuracy_of.p if self.accuracy_of and not self.accuracy.without else None


def summarize(run: Run, protocol: str, metrics: Iterable[str] = DEFAULT) -> RunSummary:
    """The summary of one run. ValueError for an unknown protocol or metric."""
    return pooled([of_run(run, protocol, metrics)], metrics)


def pooled(side: Sequence[Samples], metrics: Iterable[str] = DEFAULT) -> RunSummary:
    """The summary of several runs whose trials count as one set; their target is the highest."""
    targets = [one.target for one in side if one.target is not None]
    target = max(targets, default=None)
    return RunSummary(
        trials=_trials(side),
        reached=sum(one.reached for one in side),
        target=target,
        accuracy_of=None if target is None else _accuracy_of(side, target),
        figures={name: figure(find_metric(name), side) for name in dict.fromkeys((*DEFAULT, *metrics))},
    )


def _accuracy_of(side: Sequence[Samples], target: float) -> AccuracySummary | None:
    accuracies, planned = _values(ACCURACY, side), plans(side)
    if not accuracies:
        return None
    found = accuracy_summary(accuracies, target, level=level_of(planned))
    if found.p is None or found.p >= 0.5:
        return found
    return replace(found, p=p_over_looks(2 * found.p, planned) / 2)


def time_to_accuracy(run: Run, threshold: float, protocol: str) -> Figure:
    """Time to the first epoch at or over a threshold, over the trials that reached it, whatever the target was."""
    times = [seconds_to(trial, threshold, protocol) for trial in run.trials]
    known = tuple(time for time in times if time is not None)
    absent = "" if known else f"no trial reached {form.target(threshold)}"
    value = None if absent else TIME_TO_TARGET.test.center(known)
    return Figure(TIME_TO_TARGET, known, len(times), len(times) - len(known), value, absent)


def figure(metric: Metric, side: Sequence[Samples]) -> Figure:
    """One metric over the trials of these runs, which have its samples."""
    values = _values(metric, side)
    hosts = _host_effect(metric, side) if metric.is_timed else None
    absent = _absent(metric, side, values)
    if not absent and hosts and not hosts.are_alike:
        absent = f"its hosts differ by {form.share(hosts.difference)}, more than {form.share(LIMIT)}"
    trials = sum(one.reached for one in side) if metric.counts == "trials that reached" else _trials(side)
    value = None if absent else hosts.center if hosts else metric.test.center(values)
    without = trials - len(_known(metric, side))
    return Figure(metric, tuple(values), trials, without, value, absent, hosts, level_of(plans(side)))


def by_seed(metric: Metric, values: Sequence[tuple[int, float]]) -> list[float]:
    """The samples among values with their seeds: all of them, or of what the seed decides the center of each seed."""
    if not metric.by_seed:
        return [value for _, value in values]
    seeds: dict[int, list[float]] = {}
    for seed, value in values:
        seeds.setdefault(seed, []).append(value)
    return [metric.test.center(of_seed) for of_seed in seeds.values()]


def _host_effect(metric: Metric, side: Sequence[Samples]) -> HostEffect | None:
    """Of the trials of these runs that say on which host they were trained."""
    trials = [trial for one in side for trial in one.trials(metric.name)]
    times, hosts = [time for _, time, _ in trials], [host for _, _, host in trials]
    return host_effect(times, hosts, level=level_of(plans(side)))


def _absent(metric: Metric, side: Sequence[Samples], values: Sequence[float]) -> str:
    """Why these runs have no value of the metric; empty where they have one."""
    trials, reached = _trials(side), sum(one.reached for one in side)
    if not trials:
        return "every trial is left out" if any(one.discarded for one in side) else "no trial has ended"
    if all(one.has_no_target for one in side):
        return _absent_without_target(metric, side, values)
    if metric.counts == "trials that reached":
        return "" if values else f"no trial has such a time; {form.count(reached, trials)} reached the target"
    if all(one.is_benchmark for one in side):
        return ""
    if metric.counts == "every trial":
        unfinished = sum(one.unfinished for one in side) if metric.needs_target else 0
        if missing := max(unfinished, trials - len(_known(ACCURACY, side))):
            return f"{form.count(missing, trials)} trials diverged or failed"
        mean = ACCURACY.test.center(_values(ACCURACY, side))
        target = max(one.target for one in side if one.target is not None)
        if metric.needs_target and mean < target:
            return f"mean accuracy {form.target(mean)} misses the target {form.target(target)}"
    return "" if values else f"no trial has {metric.name}"


def _absent_without_target(metric: Metric, side: Sequence[Samples], values: Sequence[float]) -> str:
    """As `_absent`, of runs that were to reach no accuracy: their total time is that of the work alone."""
    if metric.counts == "trials that reached":
        return "the recipe has no target"
    if metric.needs_target and (unfinished := sum(one.unfinished for one in side)):
        return f"{form.count(unfinished, _trials(side))} trials diverged or failed"
    return "" if values else f"no trial has {metric.name}"


def _values(metric: Metric, side: Iterable[Samples]) -> list[float]:
    return by_seed(metric, _known(metric, side))


def _known(metric: Metric, side: Iterable[Samples]) -> list[tuple[int, float]]:
    """The numbers of the trials that have it, with their seeds."""
    return [(seed, value) for one in side for seed, value, _ in one.trials(metric.name) if value is not None]


def _trials(side: Iterable[Samples]) -> int:
    return sum(len(one.seeds) for one in side)
