"""In which laps a time changed.

A lap's change, with its interval, is that of a comparison of this lap alone. Its part of the whole change is in
seconds: the mean over the middle half of the samples, by their time. These parts add up to the change of that mean,
which medians would not, and a few trials that are much slower than the rest do not count.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TypeVar, get_args

from results import format as form
from results.cell import Cell
from results.compare import Comparison, change_of
from results.metrics import Metric
from results.protocols import COMMAND, WHOLE, find_protocol
from results.record import LapName
from results.samples import Samples
from results.statistics import Change

SHORT = 0.01
"""share of the time under which laps are put together"""
OTHERS, REST = "others", "rest"
"""what short laps are together, and what passed between the laps of a process that is timed as a whole"""
ORDER = (*get_args(LapName), REST)
NAMED = 0.8
"""share of a change that the laps of a sentence make up"""

T = TypeVar("T")
Seconds = Mapping[str, float]
"""by lap"""


@dataclass(frozen=True)
class Part:
    """A lap, or several short ones together."""

    name: str
    before: float
    """seconds"""
    after: float
    change: Change | None
    """None where it takes no time on one side"""

    @property
    def seconds(self) -> float:
        """By which it became longer."""
        return self.after - self.before


@dataclass(frozen=True)
class Breakdown:
    """The laps that a changed time is made up of, in the order of a training."""

    row: Comparison
    parts: tuple[Part, ...]

    @property
    def whole(self) -> Part:
        """All laps; its change is that of the comparison."""
        before, after = (sum(getattr(part, side) for part in self.parts) for side in ("before", "after"))
        return Part("all", before, after, self.row.change)

    @property
    def where(self) -> str:
        """The laps that make up most of a change, such as "+4.8% of the +5.1% in train"; empty where the change is so
        small that its sign is not clear."""
        whole, change = self.whole.seconds, self.row.change
        if change is None or whole * (change.size - 1) <= 0:
            return ""
        named: list[str] = []
        left = whole
        for part in sorted(self.parts, key=lambda part: -abs(part.seconds)):
            if abs(left) <= (1 - NAMED) * abs(whole):
                break
            left -= part.seconds
            size = form.change(1 + part.seconds / whole * (change.size - 1))
            of_all = "" if named else f" of the {form.change(change.size)}"
            named.append(f"{size}{of_all} in {part.name}")
        return ", ".join(named)


def breakdown(row: Comparison) -> Breakdown | None:
    """None for what has no change of a time that laps make up."""
    cell = row.cell
    if cell is None or row.change is None:
        return None
    if not all(any(one.laps.get(row.metric.name) for one in side) for side in (cell.before, cell.after)):
        return None
    sides = _samples(cell)
    before, after = _middle_pairs(*sides) if cell.pairs else map(_middle, sides)
    laps = [lap for lap in ORDER if before.get(lap) or after.get(lap)]
    short = [lap for lap in laps if all(side.get(lap, 0) < SHORT * sum(side.values()) for side in (before, after))]
    others = short if len(short) > 1 else []
    groups = {lap: [lap] for lap in laps if lap not in others} | ({OTHERS: others} if others else {})
    return Breakdown(row, tuple(_part(cell, name, group, before, after) for name, group in groups.items()))


def _part(cell: Cell, name: str, laps: Sequence[str], before: Seconds, after: Seconds) -> Part:
    seconds = [sum(side.get(lap, 0.0) for lap in laps) for side in (before, after)]
    metric = replace(cell.metric, counts="measured trials", needs_target=False)
    sides = ([_only(one, metric, laps) for one in side] for side in (cell.before, cell.after))
    before_alone, after_alone = sides
    alone = replace(cell, metric=metric, before=before_alone, after=after_alone)
    return Part(name, *seconds, change_of(alone) if all(alone.values) else None)


def _only(one: Samples, metric: Metric, laps: Sequence[str]) -> Samples:
    """The samples with the seconds of these laps in place of the whole time; None for no time, which has no ratio."""
    seconds = (sum(split.get(lap, 0.0) for lap in laps) if split else 0.0 for split in _splits(one, metric))
    return replace(one, values={**one.values, metric.name: tuple(each if each > 0 else None for each in seconds)})


def _splits(one: Samples, metric: Metric) -> list[Seconds | None]:
    """Each trial's time by lap; None for a trial without such a time."""
    laps, values = one.laps.get(metric.name, {}), one.values[metric.name]
    protocol = find_protocol(one.facts["protocol"])
    is_whole = "total" in protocol.laps or COMMAND in laps
    counted = [lap for lap in laps if lap not in WHOLE and (is_whole or lap in protocol.laps)]
    found: list[Seconds | None] = []
    for index, value in enumerate(values):
        split = {lap: laps[lap][index] for lap in counted}
        rest = {REST: value - sum(split.values())} if is_whole and value is not None else {}
        found.append(None if value is None else split | rest)
    return found


def _samples(cell: Cell) -> tuple[list[Seconds], list[Seconds]]:
    """What the comparison's samples are, by lap: pairs, hosts, seeds or trials. Pairs are in one order."""
    sides: list[dict[object, list[Seconds]]] = [{}, {}]
    for side, found in zip((cell.before, cell.after), sides, strict=True):
        for one in side:
            for seed, host, split in zip(one.seeds, one.hosts or one.seeds, _splits(one, cell.metric), strict=True):
                if split is not None:
                    found.setdefault(_sample(cell, one, seed, host), []).append(split)
    means = [{key: _mean(splits) for key, splits in side.items()} for side in sides]
    both = [key for key in means[0] if key in means[1]]
    before, after = ([side[key] for key in both] if cell.pairs else [*side.values()] for side in means)
    return before, after


def _sample(cell: Cell, one: Samples, seed: int, host: object) -> object:
    """What tells the sample that a trial belongs to from others of its side."""
    if cell.neighbours:
        return one.interleaved, seed
    if cell.by_host:
        return host
    return seed if cell.metric.by_seed else (one.origin, seed)


def _middle(samples: Sequence[Seconds]) -> Seconds:
    return _mean(_middle_half(sorted(samples, key=lambda one: sum(one.values()))))


def _middle_pairs(before: Sequence[Seconds], after: Sequence[Seconds]) -> tuple[Seconds, Seconds]:
    pairs = sorted(zip(before, after, strict=True), key=lambda pair: sum(pair[1].values()) / sum(pair[0].values()))
    old, new = zip(*_middle_half(pairs), strict=True)
    return _mean(old), _mean(new)


def _middle_half(ordered: Sequence[T]) -> Sequence[T]:
    quarter = len(ordered) // 4
    return ordered[quarter : len(ordered) - quarter]


def _mean(samples: Sequence[Seconds]) -> Seconds:
    names = dict.fromkeys(name for one in samples for name in one)
    return {name: fmean(one.get(name, 0.0) for one in samples) for name in names}
