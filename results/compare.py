"""Compare two sides, recipe by recipe: what became worse or better, what is the same, and what cannot be said.

`worse` and `better`: the change is significant and at least as large as its rule says; also `worse` if none of the new
trials finished where the old ones did, and of a time to target if significantly fewer reached it. `same`: the 95%
interval of the change lies inside ± the rule. `undecided`: neither, with the number of trials that would decide. `not
comparable`: the sides differ in more than what is compared, or one of them has no such number.

The samples are the trials. Of times over several hosts they are the hosts, because trials of one host are not
independent of each other: pairs where both sides have the same hosts. Interleaved trials of one host stay pairs. Of
accuracies and times to target over several runs they are the seeds (`Metric.by_seed`).

Runs that were trained until decided are judged at the level of the look at which they ended (`results.sequential`):
also against other runs and together with them, where the smallest of several levels counts. Between two looks nothing
is decided, because a verdict there would be one more look.
"""

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean, geometric_mean, median, stdev
from typing import Literal

from results import format as form
from results.changes import also_changed
from results.differences import differences, mixed
from results.facts import FACTS
from results.metrics import ACCURACY, DEFAULT, TOTAL_TIME, WITHOUT_TARGET, Metric, find_metric
from results.rules import Rules
from results.samples import Samples
from results.sequential import Look, look_at, where_stopped
from results.stability import drift
from results.statistics import LEVEL, Change, Moments, difference_of_moments, fewest_trials
from results.summary import by_seed, figure

Verdict = Literal["worse", "better", "same", "undecided", "not comparable"]

FEW = 10
"""more trials up to which no wider limit is suggested"""
NOT_INTERLEAVED = "the trials were not interleaved: drift of the machine between the runs counts as a change"

MARKS: dict[Verdict, str] = {"worse": "+", "better": "-", "same": "=", "undecided": "?", "not comparable": "x"}


@dataclass(frozen=True)
class Measured:
    """One side of a row: the metric's median or mean over `n` trials; of pairs, its side of a typical pair."""

    value: float
    n: int
    reached: tuple[int, int] | None = None
    """trials that reached the target, of all; None for a published figure"""
    reached_by_seed: tuple[int, int] | None = None
    """the same where each seed counts once, whose trials in several runs are not independent"""
    marks: Mapping[str, int] = field(default_factory=dict)
    """trials by the name of each mark (`results.marks`)"""


@dataclass(frozen=True)
class Comparison:
    """One row: a metric of a recipe, or of two that are compared with each other."""

    recipe: str
    metric: Metric
    limit: float
    """the smallest change that counts"""
    before: Measured | None
    after: Measured | None
    change: Change | None
    verdict: Verdict
    reason: str = ""
    """why it is not comparable, or how many trials would decide"""
    notes: tuple[str, ...] = ()
    cell: "Cell | None" = field(default=None, repr=False, compare=False)
    """what it was made from; None where a side has no run"""

    @property
    def mark(self) -> str:
        """One character for the verdict."""
        return MARKS[self.verdict]


def compare(
    before: Sequence[Samples],
    after: Sequence[Samples],
    rules: Rules | None = None,
    across: Collection[str] = (),
    level: float = LEVEL,
) -> list[Comparison]:
    """Every metric of every recipe that is on both sides; of two different recipes if each side has but one.

    The metrics are `results.metrics.DEFAULT` and those of `rules`, which say what counts (where they say nothing: the
    limit of the metric). `across`: the `FACTS` that may differ. `level`: the p over which a change may be chance.
    ValueError for an unknown fact, and where the sides have no recipe in common, or a run.
    """
    origins = [{str(Path(one.origin).resolve()) for one in side if not one.published} for side in (before, after)]
    if shared := origins[0] & origins[1]:
        raise ValueError(f"{min(shared)} is on both sides: a run cannot be compared with itself")
    if unknown := set(across) - set(FACTS):
        raise ValueError(f"across={', '.join(sorted(unknown))}: use one of {', '.join(FACTS)}")
    rules = rules or {}
    cells = [
        Cell(name, metric, old, new)
        for name, old, new in _pairs(before, after)
        for metric in _metrics((*old, *new), rules)
    ]
    return [_row(cell, rules.get(cell.metric.name, cell.metric.limit), across, level) for cell in cells]


def _metrics(runs: Sequence[Samples], rules: Rules) -> list[Metric]:
    """Those that these runs may have. What a rule asks for is always among them."""
    if any(one.is_benchmark for one in runs):
        return [find_metric(DEFAULT[0])]
    usual = WITHOUT_TARGET if all(one.has_no_target for one in runs) else DEFAULT
    return [find_metric(name) for name in dict.fromkeys((*usual, *rules))]


def status(comparisons: Iterable[Comparison], metrics: Collection[str]) -> int:
    """Exit status: 1 something became worse, else 2 something could not be decided, else 0; of `metrics` alone."""
    verdicts = {row.verdict for row in comparisons if row.metric.name in metrics}
    if "worse" in verdicts:
        return 1
    return 2 if not verdicts or verdicts & {"undecided", "not comparable"} else 0


@dataclass(frozen=True)
class Cell:
    """What a row is made from."""

    recipe: str
    metric: Metric
    before: list[Samples]
    after: list[Samples]

    @cached_property
    def neighbours(self) -> tuple[list[float], list[float]] | None:
        """Values of trials that one host trained one after the other, if all trials of all runs did two by two."""
        by_id = [{one.interleaved: one for one in side} for side in (self.before, self.after)]
        has_two_of_one = len(by_id[0]) < len(self.before) or len(by_id[1]) < len(self.after)
        if None in by_id[0] or by_id[0].keys() != by_id[1].keys() or has_two_of_one:
            return None
        pairs = []
        for shared, one in by_id[0].items():
            other = by_id[1][shared]
            if not _alternated(one, other):
                return None
            later = {seed: (value, host) for seed, value, host in other.trials(self.metric.name)}
            for seed, value, host in one.trials(self.metric.name):
                value_of_other, host_of_other = later.get(seed, (None, host))
                if host != host_of_other:
                    return None
                pairs.append((seed, value, value_of_other))
        both = [(seed, a, b) for seed, a, b in pairs if a is not None and b is not None]
        if not both:
            return None
        before, after = [(seed, a) for seed, a, _ in both], [(seed, b) for seed, _, b in both]
        return by_seed(self.metric, before), by_seed(self.metric, after)

    @cached_property
    def by_host(self) -> tuple[dict[str, float], dict[str, float]] | None:
        """Each side's time on each host, as the geometric mean of its trials, where the samples are the hosts.

        They are where a side has several, unless neighbours are compared. None where a host is not known.
        """
        if not self.metric.is_timed or self.neighbours:
            return None
        sides: list[dict[str, list[float]]] = [{}, {}]
        for side, found in zip((self.before, self.after), sides, strict=True):
            for _, value, host in (trial for one in side for trial in one.trials(self.metric.name)):
                if value is not None and host is None:
                    return None
                if value is not None and host is not None:
                    found.setdefault(host, []).append(value)
        if max(map(len, sides)) < 2:
            return None
        before, after = ({host: geometric_mean(values) for host, values in side.items()} for side in sides)
        return before, after

    @property
    def pairs(self) -> tuple[list[float], list[float]] | None:
        """What is compared two by two: neighbours, or both sides' times on the same hosts."""
        if self.by_host and self.by_host[0].keys() == self.by_host[1].keys():
            before, after = self.by_host
            return list(before.values()), [after[host] for host in before]
        return self.neighbours

    @cached_property
    def planned(self) -> set[tuple[tuple[int, ...], int]]:
        """The looks and the trials of runs that were trained until decided."""
        return {(one.looks, len(one.seeds) + one.discarded) for one in (*self.before, *self.after) if one.looks}

    @cached_property
    def looks(self) -> list[Look | None]:
        """Those at which these runs stopped; None for one that stopped between two looks."""
        return [look_at(*one) for one in self.planned]

    def level(self, alpha: float) -> float:
        """The p at or under which a change is significant, where a false one may have the probability `alpha`."""
        return min((look.level(alpha) for look in self.looks if look), default=alpha)

    @cached_property
    def trained_the_same(self) -> bool:
        """Whether every seed ended with one accuracy on both sides: a deterministic training that has not changed."""
        sides = (self.before, self.after)
        before, after = ({trial[:2] for one in side for trial in one.trials(ACCURACY.name)} for side in sides)
        return self.metric is ACCURACY and before == after and fewest_trials() <= len(before) == _seeds(self.before)

    @property
    def values(self) -> tuple[list[float], list[float]]:
        """The samples of both sides: trials, or hosts."""
        if self.by_host:
            before, after = (list(side.values()) for side in self.by_host)
        else:
            before, after = ([*figure(self.metric, side).samples] for side in (self.before, self.after))
        return before, after


def _alternated(one: Samples, other: Samples) -> bool:
    """Whether no trial of the two runs came between two of one seed. Taken as true of records without times."""
    if len(one.started) != len(one.seeds) or len(other.started) != len(other.seeds):
        return True
    if None in one.started or None in other.started:
        return True
    order = sorted([(at, seed) for run in (one, other) for at, seed in zip(run.started, run.seeds, strict=True)])
    last = {seed: place for place, (_, seed) in enumerate(order)}
    first = {seed: place for place, (_, seed) in reversed(list(enumerate(order)))}
    return all(last[seed] - first[seed] == 1 for seed in set(one.seeds) & set(other.seeds))


def decide(
    change: Change,
    metric: Metric,
    limit: float,
    level: float = LEVEL,
    seconds: float | None = None,
    *,
    may_add: bool = True,
) -> tuple[Verdict, str]:
    """The verdict on a change by its limit; for `undecided`, how many more trials would decide.

    `seconds`: of one more trial on both sides, to say how long that takes. `may_add`: whether trials may be added to
    these runs; if not, the reason says how many new runs need.
    """

    def trials(needed: int) -> str:
        return _trials(needed - change.n, seconds) if may_add else _trials(needed, seconds, "trial", "in new runs")

    effect = change.size - change.none
    if change.significant(level) and abs(effect) >= limit - 1e-12:
        return ("better" if (effect > 0) == metric.higher_is_better else "worse"), ""
    if change.within(limit + 1e-12):
        return "same", ""
    needed = change.needed(limit, level)
    if needed is not None and change.interval is None:
        return "undecided", f"too few trials to decide: train at least {trials(needed)}"
    if needed is None:
        reason = f"the change is too close to the limit of {metric.test.write_limit(limit)}"
    else:
        reason = f"{trials(needed)} would decide if the change stays the same"
    return "undecided", reason + _suggestion(change, metric, limit, level, trials, needed)


def _trials(count: int, seconds: float | None, what: str = "more trial", where: str = "per side") -> str:
    wait = f" (about {form.duration(count * seconds)})" if seconds else ""
    return f"{count:,} {what}{'s' * (count > 1)} {where}{wait}"


def _suggestion(
    change: Change, metric: Metric, limit: float, level: float, trials: Callable[[int], str], needed: int | None
) -> str:
    """The first wider limit that a tenth of the trials decide, where that spares more than a few."""
    if needed is not None and needed - change.n <= FEW:
        return ""
    for wider in (one for one in metric.test.wider if one > limit):
        rule = metric.write_rule(wider)
        if change.within(wider):
            return f"; with the limit {rule} the verdict is same"
        fewer = change.needed(wider, level)
        if fewer is not None and (needed is None or (fewer - change.n) * 10 <= needed - change.n):
            return f"; with the limit {rule}, {trials(fewer)}"
    return ""


def _pairs(before: Sequence[Samples], after: Sequence[Samples]) -> list[tuple[str, list[Samples], list[Samples]]]:
    sides = [_by_recipe(before), _by_recipe(after)]
    both = [name for name in sides[0] if name in sides[1]]
    if both:
        return [(name, sides[0][name], sides[1][name]) for name in both]
    if len(sides[0]) == len(sides[1]) == 1:
        (old,), (new,) = sides
        return [(f"{old} → {new}", sides[0][old], sides[1][new])]
    names = [", ".join(sorted(side)) or "nothing" for side in sides]
    raise ValueError(f"the sides have no recipe in common: {names[0]} on one, {names[1]} on the other")


def _by_recipe(samples: Iterable[Samples]) -> dict[str, list[Samples]]:
    """A run without a trial counts only where a recipe has no other: it was broken off, and says nothing."""
    grouped: dict[str, list[Samples]] = {}
    for one in samples:
        grouped.setdefault(one.recipe, []).append(one)
    return {recipe: [one for one in runs if not one.is_empty] or runs for recipe, runs in grouped.items()}


def _row(cell: Cell, limit: float, across: Collection[str], level: float) -> Comparison:
    sides = (cell.before, cell.after)
    if cell.pairs:  # the difference of hosts is no part of a pair's
        sides = tuple([replace(one, hosts=()) for one in side] for side in sides)
    (before, why_before), (after, why_after) = (measure(cell.metric, side) for side in sides)
    several = ""
    if cell.recipe not in {one.recipe for one in cell.before} and "recipe" not in across:
        across = {*across, "recipe"}  # two recipes by name: their difference is the question
        several = next(filter(None, map(mixed, (cell.before, cell.after))), "")
    if cell.metric is ACCURACY:
        across = {*across, "protocol"}  # which is about times

    def row(verdict: Verdict, reason: str = "", change: Change | None = None) -> Comparison:
        about_samples = (*_note_on_hosts(cell, change), *_note_on_seeds(cell))
        shown = (*notes(cell), *_note_on_looks(cell), *_note_on_drift(cell), *about_samples)
        return Comparison(cell.recipe, cell.metric, limit, before, after, change, verdict, reason, shown, cell)

    if differs := several or differences(cell.before, cell.after, across):
        return row("not comparable", differs)
    if before is not None and after is None and _none_finished(cell.after):
        return row("worse", why_after)
    is_between = None in cell.looks
    level_of_change = cell.level(level)
    if cell.metric.counts == "trials that reached" and not _all_reached(cell):
        level_of_change = cell.level(level / 2)  # two tests share the probability of a false alarm
        if not is_between and (fewer := _reached_less(cell, level_of_change)):
            return row("worse", fewer)
    if before is None or after is None:
        return row("not comparable", f"before: {why_before}" if before is None else f"after: {why_after}")
    is_published = any(one.published for one in (*cell.before, *cell.after))
    if is_published:
        if (change := _change_of_figures(cell)) is None:
            return row("undecided", "a published figure is one number without a spread")
    else:
        change = change_of(cell)
    if change.paired:
        before, after = _typical_pair(before, after, cell.pairs or ([], []), change)
    elif cell.by_host:
        before, after = (
            replace(side, value=cell.metric.test.center(values), n=len(values))
            for side, values in zip((before, after), cell.values, strict=True)
        )
    may_add, seconds = not cell.looks, _seconds_a_trial(cell)
    verdict, reason = decide(change, cell.metric, limit, level_of_change, seconds, may_add=may_add)
    if is_between:
        verdict, reason = "undecided", "training stopped between two looks: resume both runs"
    if verdict == "undecided" and is_published:
        reason = "more trials of your own may decide; the published ones stay as they are"
    if verdict == "undecided" and cell.by_host:
        hosts = " and ".join(str(len(side)) for side in cell.by_host)
        reason = f"the samples are {hosts} hosts, which are too few or differ too much; interleave trials on each host"
    return row(verdict, reason, change)


def change_of(cell: Cell) -> Change:
    """The change between the samples of both sides, in pairs where there are any. ValueError where a side has none."""
    test = cell.metric.test
    if test.by_ranks and (pairs := cell.pairs):
        return test.change(*pairs, paired=True, level=cell.level(LEVEL))
    change = test.change(*cell.values, level=cell.level(LEVEL))
    return replace(change, size=0.0, interval=(0.0, 0.0), p=1.0) if cell.trained_the_same else change


def _typical_pair(
    before: Measured, after: Measured, pairs: tuple[list[float], list[float]], change: Change
) -> tuple[Measured, Measured]:
    """Both sides of a typical pair: its geometric mean is the median of those of all pairs, its ratio the estimate.

    The medians of the sides may move the other way, because a drift of the machine is in them.
    """
    middle = median(math.sqrt(a * b) for a, b in zip(*pairs, strict=True))
    sides = middle / math.sqrt(change.size), middle * math.sqrt(change.size)
    return tuple(replace(side, value=value, n=change.n) for side, value in zip((before, after), sides, strict=True))


def _seconds_a_trial(cell: Cell) -> float | None:
    """What one more trial on both sides takes, by the clock of the protocol."""
    sides = [[*figure(TOTAL_TIME, side).samples] for side in (cell.before, cell.after)]
    is_training = not any(one.is_benchmark for one in (*cell.before, *cell.after))
    return sum(map(median, sides)) if is_training and all(sides) else None


def _change_of_figures(cell: Cell) -> Change | None:
    """The difference of mean accuracies from or to a published figure; None of other metrics, and without a spread.

    A side whose spread is unknown, because its source does not give it, is taken to spread as the other one.
    """
    if cell.metric is not ACCURACY:
        return None
    known = [_moments(side) for side in (cell.before, cell.after)]
    std = next((one.std for one in known if one and one.std), None)
    if std is None:
        return None
    sides = [replace(one, std=one.std or std) for one in known if one]
    level = cell.level(LEVEL)
    return difference_of_moments(*sides, level=level) if len(sides) == 2 and max(one.n for one in sides) > 1 else None


def _moments(side: Sequence[Samples]) -> Moments | None:
    """Of the accuracies; `std` is 0 where it is unknown, and a figure of unknown `runs` counts as one."""
    if figure_of := side[0].published:
        return figure_of.accuracy and Moments(figure_of.accuracy, figure_of.accuracy_std or 0.0, figure_of.runs or 1)
    accuracies = figure(ACCURACY, side).samples
    return Moments(fmean(accuracies), stdev(accuracies) if len(accuracies) > 1 else 0.0, len(accuracies))


def measure(metric: Metric, side: Sequence[Samples]) -> tuple[Measured | None, str]:
    """The metric of one side; or None, and why there is none."""
    figures = [one.published for one in side if one.published]
    if figures:
        value = {"time": figures[0].seconds, "accuracy": figures[0].accuracy}.get(metric.name)
        if value is None or len(side) > 1:
            return None, "no single published figure has this metric"
        return Measured(value, figures[0].runs or 1), ""
    found = figure(metric, side)
    if found.value is None:
        return None, found.absent
    is_training = not all(one.is_benchmark for one in side)
    reached = (_reached(side), _reached_by_seed(side)) if is_training else (None, None)
    marked = sum((Counter(one.marks) for one in side), Counter())
    return Measured(found.value, len(found.samples), *reached, dict(marked)), ""


def _reached(side: Sequence[Samples]) -> tuple[int, int]:
    """Trials that reached the target, of all."""
    return sum(one.reached for one in side), sum(len(one.seeds) for one in side)


def _reached_by_seed(side: Sequence[Samples]) -> tuple[int, int]:
    """The same share of the different seeds, rounded to whole ones."""
    (reached, trials), seeds = _reached(side), _seeds(side)
    return (reached, trials) if seeds == trials else (round(reached * seeds / trials), seeds)


def _seeds(side: Iterable[Samples]) -> int:
    return len({seed for one in side for seed in one.seeds})


def _all_reached(cell: Cell) -> bool:
    return all(reached == trials for reached, trials in map(_reached, (cell.before, cell.after)))


def _reached_less(cell: Cell, level: float) -> str:
    """Says that significantly fewer of the new trials reach the target (Fisher's exact test, one-sided), if so.

    Times of those that did cannot show it: the slow trials are missing from them.
    """
    from scipy import stats

    if any(one.published for one in (*cell.before, *cell.after)):
        return ""
    sides = (_reached_by_seed(side) for side in (cell.before, cell.after))
    table = [[reached, seeds - reached] for reached, seeds in sides]
    p = float(stats.fisher_exact(table, alternative="greater").pvalue)
    before, after = _reached(cell.before), _reached(cell.after)
    counts = f"{form.count(*after)} trials reached the target, before {form.count(*before)}"
    return f"{counts} (p = {form.p_value(p)})" if p <= level else ""


def _none_finished(side: Sequence[Samples]) -> bool:
    """Whether every trial diverged or failed."""
    _, trials = _reached(side)
    return trials > 0 and sum(one.unfinished for one in side) == trials


def _note_on_looks(cell: Cell) -> list[str]:
    return [where_stopped(*one) for one in sorted(cell.planned)]


def _note_on_drift(cell: Cell) -> list[str]:
    """Which sides' trials became slower or faster one after the other, if those of the other side do not cancel it."""
    if cell.metric.unit not in ("s", "ms") or cell.metric.counts == "trials that reached" or cell.pairs:
        return []
    found = []
    for name, side in (("before", cell.before), ("after", cell.after)):
        for one in side:
            values = [value for _, value, _ in one.trials(cell.metric.name) if value is not None]
            if len(set(one.hosts)) <= 1 and (text := drift(values)):
                found.append(f"{name}: the trials became {text}")
    return found


def _note_on_hosts(cell: Cell, change: Change | None) -> list[str]:
    """What a row's times over several hosts are."""
    if not cell.by_host:
        return []
    if change:
        return ["times over several hosts: each host is one sample, the geometric mean of its trials"]
    sides = [side for side in (cell.before, cell.after) if not any(one.published for one in side)]
    is_pooled = any(figure(cell.metric, side).hosts for side in sides)
    return ["a time over several hosts is the geometric mean of the hosts' medians"] * is_pooled


def _note_on_seeds(cell: Cell) -> list[str]:
    """What the samples are where runs share seeds."""
    repeats = any(_seeds(side) < sum(len(one.seeds) for one in side) for side in (cell.before, cell.after))
    shown = cell.metric.by_seed and repeats
    found = ["accuracies and times to target: trials of one seed in several runs count as one sample"] * shown
    return found + ["every seed ended with the same accuracy on both sides"] * cell.trained_the_same


def notes(cell: Cell) -> tuple[str, ...]:
    """What differs and may, but explains a change: commit, versions; and whether drift is in the numbers."""
    found = [also_changed(cell.before, cell.after)]
    hosts = [{host for one in side for host in one.hosts if host} for side in (cell.before, cell.after)]
    if cell.metric.is_timed and not cell.by_host and all(hosts) and hosts[0] != hosts[1]:
        found.append("the sides were trained on different hosts: a difference between the hosts counts as a change")
    ids = [{one.interleaved for one in side} for side in (cell.before, cell.after)]
    if None in ids[0] | ids[1] or ids[0] != ids[1]:
        found.append(NOT_INTERLEAVED)
    return tuple(filter(None, found))
