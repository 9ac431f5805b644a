"""What a reader of a comparison wants to know: what else changed, drift, and what the samples are."""

from results.also_changed import also_changed
from results.cell import Cell
from results.samples import different_seeds
from results.sequential import where_stopped
from results.stability import drift
from results.statistics import Change
from results.summary import figure

NOT_INTERLEAVED = "the trials were not interleaved: drift of the machine between the runs counts as a change"


def notes(cell: Cell, change: Change | None) -> tuple[str, ...]:
    """Of a row. change: what it shows; None for a row without a change."""
    of_sides = (*_on_sides(cell), *_on_looks(cell), *_on_drift(cell))
    return (*of_sides, *_on_hosts(cell, change), *_on_seeds(cell))


def _on_sides(cell: Cell) -> tuple[str, ...]:
    """What differs and may, but explains a change: commit, versions; and whether drift is in the numbers."""
    found = [also_changed(cell.before, cell.after)]
    hosts = [{host for one in side for host in one.hosts if host} for side in (cell.before, cell.after)]
    if cell.metric.is_timed and not cell.by_host and all(hosts) and hosts[0] != hosts[1]:
        found.append("the sides were trained on different hosts: a difference between the hosts counts as a change")
    ids = [{one.interleaved for one in side} for side in (cell.before, cell.after)]
    if None in ids[0] | ids[1] or ids[0] != ids[1]:
        found.append(NOT_INTERLEAVED)
    return tuple(filter(None, found))


def _on_looks(cell: Cell) -> list[str]:
    return [where_stopped(*one) for one in sorted(cell.planned)]


def _on_drift(cell: Cell) -> list[str]:
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


def _on_hosts(cell: Cell, change: Change | None) -> list[str]:
    """What a row's times over several hosts are."""
    if not cell.by_host:
        return []
    if change:
        return ["times over several hosts: each host is one sample, the geometric mean of its trials"]
    sides = [side for side in (cell.before, cell.after) if not any(one.published for one in side)]
    is_pooled = any(figure(cell.metric, side).hosts for side in sides)
    return ["a time over several hosts is the geometric mean of the hosts' medians"] * is_pooled


def _on_seeds(cell: Cell) -> list[str]:
    """What the samples are where runs share seeds."""
    repeats = any(different_seeds(side) < sum(len(one.seeds) for one in side) for side in (cell.before, cell.after))
    shown = cell.metric.by_seed and repeats
    found = ["accuracies and times to target: trials of one seed in several runs count as one sample"] * shown
    return found + ["every seed ended with the same accuracy on both sides"] * cell.trained_the_same
