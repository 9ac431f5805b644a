"""Compare two sides, recipe by recipe: what became worse or better, what is the same, and what cannot be said.

`worse` and `better`: the change is significant and at least as large as its rule says; also `worse` if none of the new
trials finished where the old ones did, and of a time to target if significantly fewer reached it. `same`: the interval
of the change lies inside ± the rule. `undecided`: neither, with the number of trials that would decide. `not
comparable`: the sides differ in more than what is compared, or one of them has no such number.

`results.cell` says what the samples are, and `results.verdict` decides on a change.
"""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean, median, stdev

from results.cell import Cell
from results.comparison_notes import notes
from results.differences import differences, mixed
from results.facts import FACTS
from results.measure import Measured, measure
from results.metrics import ACCURACY, DEFAULT, TOTAL_TIME, WITHOUT_TARGET, Metric, find_metric
from results.reached import all_reached, none_finished, reached_less
from results.rules import Rules
from results.samples import Samples
from results.sequential import Planned
from results.statistics import LEVEL, Change, Moments, difference_of_moments
from results.summary import figure
from results.verdict import MARKS, Verdict, decide


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
    cell: Cell | None = field(default=None, repr=False, compare=False)
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
    together: Planned | None = None,
) -> list[Comparison]:
    """Every metric of every recipe that is on both sides; of two different recipes if each side has but one.

    The metrics are `results.metrics.DEFAULT` and those of `rules`, which say what counts (where they say nothing: the
    limit of the metric). `across`: the `FACTS` that may differ. `level`: the p over which a change may be chance.
    `together`: as `Cell` has it.
    ValueError for an unknown fact, and where the sides have no recipe in common, or a run.
    """
    origins = [{str(Path(one.origin).resolve()) for one in side if not one.published} for side in (before, after)]
    if shared := origins[0] & origins[1]:
        raise ValueError(f"{min(shared)} is on both sides: a run cannot be compared with itself")
    if unknown := set(across) - set(FACTS):
        raise ValueError(f"across={', '.join(sorted(unknown))}: use one of {', '.join(FACTS)}")
    rules = rules or {}
    cells = [
        Cell(name, metric, old, new, together)
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
        shown = notes(cell, change)
        return Comparison(cell.recipe, cell.metric, limit, before, after, change, verdict, reason, shown, cell)

    if differs := several or differences(cell.before, cell.after, across):
        return row("not comparable", differs)
    if before is not None and after is None and none_finished(cell.after):
        return row("worse", why_after)
    is_between = None in cell.looks
    level_of_change = cell.level(level)
    if cell.metric.counts == "trials that reached" and not all(map(all_reached, sides)):
        level_of_change = cell.level(level / 2)  # two tests share the probability of a false alarm
        if not is_between and (fewer := reached_less(*sides, level_of_change)):
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
