"""Two sides, recipe by recipe: what became faster, slower, better or worse, and what can not be said.

A change counts if it is significant AND at least as large as its rule says. No finding is "the same" only where the
trials would have found such a change 4 times out of 5; otherwise there were not enough of them. What differs in more
than what is compared is not comparable.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Literal

from results.difference import LEVEL, Change, accuracy_change, fewest_trials, rank_tests, time_change
from results.rules import DEFAULTS, METRICS, Rule
from results.samples import FACTS, Samples

Verdict = Literal["faster", "slower", "higher", "lower", "same", "not enough runs", "not comparable"]

MARKS: dict[Verdict, str] = {
    "faster": "-",
    "slower": "+",
    "higher": "-",
    "lower": "+",
    "same": "=",
    "not enough runs": "?",
    "not comparable": "x",
}
"""`+` is worse, `-` is better."""

FAIL = {"slower", "lower"}
UNDECIDED = {"not enough runs", "not comparable"}


@dataclass(frozen=True)
class Measured:
    """One side of a row: the median of times in seconds, or the mean of accuracies, of `n` trials."""

    value: float
    n: int
    reached: tuple[int, int] | None = None
    """trials that reached the target, of all; None for a published figure"""


@dataclass(frozen=True)
class Comparison:
    """One row: a metric of a recipe, or of two that are compared with each other."""

    recipe: str
    metric: str
    before: Measured | None
    after: Measured | None
    change: Change | None
    verdict: Verdict
    reason: str = ""
    """why it is not comparable, or how many runs would do"""
    notes: tuple[str, ...] = ()

    @property
    def mark(self) -> str:
        """One character for the verdict."""
        return MARKS[self.verdict]


def compare(
    before: Sequence[Samples],
    after: Sequence[Samples],
    rules: Mapping[str, Rule] | None = None,
    across: Collection[str] = (),
    level: float = LEVEL,
) -> list[Comparison]:
    """Every metric of every recipe that is on both sides; of two different recipes if each side has but one.

    `rules`: what counts, `results.rules.DEFAULTS` where it says nothing. `across`: the `FACTS` that may differ, because
    it is their effect that is asked for. `level`: the p from which on a change may be chance. ValueError for an unknown
    fact, and where the sides have no recipe in common, or a run.
    """
    if shared := {one.origin for one in before if not one.published} & {one.origin for one in after}:
        raise ValueError(f"{min(shared)} is on both sides: a run can not be compared with itself")
    if unknown := set(across) - set(FACTS):
        raise ValueError(f"across={', '.join(sorted(unknown))}: say one of {', '.join(FACTS)}")
    chosen = {**DEFAULTS, **(rules or {})}
    cells = [(name, metric, old, new) for name, old, new in _pairs(before, after) for metric in _metrics(old, new)]
    tested = _tests(cells)
    return [
        _row(name, metric, old, new, chosen[metric], across, level, tested.get(index))
        for index, (name, metric, old, new) in enumerate(cells)
    ]


def status(comparisons: Iterable[Comparison], metrics: Collection[str]) -> int:
    """Exit status: 1 something became worse, else 2 something could not be decided, else 0; of `metrics` alone."""
    verdicts = {row.verdict for row in comparisons if row.metric in metrics}
    if verdicts & FAIL:
        return 1
    return 2 if not verdicts or verdicts & UNDECIDED else 0


Cell = tuple[str, str, list[Samples], list[Samples]]
"""recipe, metric, before, after"""


def _tests(cells: Sequence[Cell]) -> dict[int, float]:
    """p of the times that are not compared with neighbours, by index: for many at once it takes a tenth of the time."""
    times = {
        index: (_values(metric, old), _values(metric, new))
        for index, (_, metric, old, new) in enumerate(cells)
        if metric != "accuracy" and _neighbours(metric, old, new) is None
    }
    times = {index: pair for index, pair in times.items() if all(pair)}
    return dict(zip(times, rank_tests(list(times.values())), strict=True))


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


def _metrics(old: Iterable[Samples], new: Iterable[Samples]) -> Iterable[str]:
    """Of a benchmark there is no more than its time."""
    return ["time"] if any(one.is_benchmark for one in (*old, *new)) else METRICS


def _by_recipe(samples: Iterable[Samples]) -> dict[str, list[Samples]]:
    grouped: dict[str, list[Samples]] = {}
    for one in samples:
        grouped.setdefault(one.recipe, []).append(one)
    return grouped


def _row(
    name: str,
    metric: str,
    old: list[Samples],
    new: list[Samples],
    rule: Rule,
    across: Collection[str],
    level: float,
    p: float | None,
) -> Comparison:
    before, after = _measured(metric, old), _measured(metric, new)
    if name not in {one.recipe for one in old}:
        across = {*across, "recipe"}  # two recipes by name: their difference is the question

    def row(verdict: Verdict, reason: str = "", change: Change | None = None) -> Comparison:
        return Comparison(name, metric, before, after, change, verdict, reason, notes(old, new))

    if differs := differences(old, new, across):
        return row("not comparable", differs)
    if before is None or after is None:
        return row(
            "not comparable", _absent(metric, old if before is None else new, "before" if before is None else "after")
        )
    if any(one.published for one in (*old, *new)):
        return row("not enough runs", "a published figure is one number without a spread")
    change, n = _change(metric, old, new, rule, level, p)
    if change.significant(level) and abs(change.size - change.none) >= rule.limit - 1e-12:
        up = change.size > change.none
        words: tuple[Verdict, Verdict] = ("higher", "lower") if metric == "accuracy" else ("slower", "faster")
        return row(words[0] if up else words[1], "", change)
    if change.needed is None or n < change.needed:
        needed = change.needed or fewest_trials(level, paired=change.paired)
        return row("not enough runs", f"{max(needed, 2) - n} more trials a side would do", change)
    return row("same", "", change)


def _change(
    metric: str, old: list[Samples], new: list[Samples], rule: Rule, level: float, p: float | None
) -> tuple[Change, int]:
    """And the trials of the smaller side, which limits what can be found."""
    if metric == "accuracy":
        before, after = (_values("accuracy", side) for side in (old, new))
        return accuracy_change(before, after, rule.limit, level=level), min(len(before), len(after))
    paired = _neighbours(metric, old, new)
    before, after = paired or (_values(metric, old), _values(metric, new))
    change = time_change(before, after, 1 + rule.limit, paired=paired is not None, level=level, p=p)
    return change, min(len(before), len(after))


def _neighbours(metric: str, old: list[Samples], new: list[Samples]) -> tuple[list[float], list[float]] | None:
    """Times of trials that came one after the other, if all of the runs took turns, two by two; else None."""
    by_turns = [{one.turns: one for one in side} for side in (old, new)]
    if None in by_turns[0] or by_turns[0].keys() != by_turns[1].keys() or len(by_turns[0]) < len(old):
        return None
    pairs = []
    for turns, one in by_turns[0].items():
        other = by_turns[1][turns]
        later = dict(zip(other.seeds, _of(metric, other), strict=True))
        pairs += [(value, later.get(seed)) for seed, value in zip(one.seeds, _of(metric, one), strict=True)]
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    return ([a for a, _ in known], [b for _, b in known]) if known else None


def _of(metric: str, one: Samples) -> tuple[float | None, ...]:
    return {"time": one.schedule, "time-to-target": one.crossing, "accuracy": one.accuracy}[metric]


def _values(metric: str, side: Iterable[Samples]) -> list[float]:
    return [value for one in side for value in _of(metric, one) if value is not None]


def _measured(metric: str, side: Sequence[Samples]) -> Measured | None:
    """None where the side has no such number: no trial, missed targets, trials without an accuracy."""
    figures = [one.published for one in side if one.published]
    if figures:
        value = {"time": figures[0].seconds, "accuracy": figures[0].accuracy}.get(metric)
        return None if value is None or len(side) > 1 else Measured(value, figures[0].runs or 1)
    values, accuracies = _values(metric, side), _values("accuracy", side)
    trials = sum(len(one.seeds) for one in side)
    if values and all(one.is_benchmark for one in side):
        return Measured(median(values), len(values))
    incomplete = metric != "time-to-target" and min(len(values), len(accuracies)) < trials
    targets = [one.target for one in side if one.target is not None]
    if not values or incomplete or (metric == "time" and fmean(accuracies) < max(targets)):
        return None
    reached = sum(one.reached for one in side), trials
    return Measured(fmean(values) if metric == "accuracy" else median(values), len(values), reached)


def _absent(metric: str, side: Sequence[Samples], where: str) -> str:
    """Why `_measured` found nothing."""
    if any(one.published for one in side):
        return f"{where}: the published figures are not one, or say nothing of it"
    trials, accuracies = sum(len(one.seeds) for one in side), _values("accuracy", side)
    if not trials:
        return f"{where}: no trial has ended"
    if len(accuracies) < trials and metric != "time-to-target":
        return f"{where}: {trials - len(accuracies)} of {trials} trials diverged or failed"
    if metric == "time-to-target":
        return f"{where}: no trial has such a time; {sum(one.reached for one in side)} of {trials} reached the target"
    if len(_values("time", side)) < trials:
        return f"{where}: not every trial has such a time"
    target = max(one.target for one in side if one.target is not None)
    return f"{where}: mean accuracy {100 * fmean(accuracies):.2f}% misses the target {100 * target:g}%"


def differences(old: Iterable[Samples], new: Iterable[Samples], across: Collection[str] = ()) -> str:
    """What differs that must not, with the values of both sides; empty if nothing does."""
    told = []
    for fact in FACTS:
        values = [sorted({one.facts[fact] for one in side if fact in one.facts}) for side in (old, new)]
        if fact not in across and all(values) and len({*values[0], *values[1]}) > 1:
            shown = _knobs(old, new) if fact == "recipe" else ""
            told.append(f"{fact}: {' and '.join(values[0])} → {' and '.join(values[1])}{shown}")
    return "; ".join(told)


def _knobs(old: Iterable[Samples], new: Iterable[Samples], most: int = 3) -> str:
    """The knobs in which the first recipes of both sides differ."""
    flat = [_flat(next(iter(side)).knobs) for side in (old, new)]
    keys = [
        key for key in {**flat[0], **flat[1]} if flat[0].get(key) != flat[1].get(key) and key not in ("title", "source")
    ]
    told = [f"{key} {flat[0].get(key, 'absent')} → {flat[1].get(key, 'absent')}" for key in keys[:most]]
    return f" ({', '.join(told)}{' …' if len(keys) > most else ''})" if told else ""


def _flat(knobs: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in knobs.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: json.dumps(value)}
    return flat


def notes(old: Sequence[Samples], new: Sequence[Samples]) -> tuple[str, ...]:
    """What differs and may, but explains a change: commit, versions; and whether drift is in the numbers."""
    told = []
    for key in dict.fromkeys(key for one in (*old, *new) for key in one.notes):
        values = [" and ".join(sorted({one.notes.get(key, "unknown") for one in side})) for side in (old, new)]
        if values[0] != values[1] and all(one.notes for one in (*old, *new)):
            told.append(f"{key} {values[0]} → {values[1]}")
    if _neighbours("time", list(old), list(new)) is None:
        told.append("the trials did not take turns: a drift of the machine between the runs counts as a change")
    return tuple(told)
