"""Which hosts of a run are slower or faster than its other hosts.

The total times of each host are compared with those of all others: Hodges and Lehmann's ratio with the rank-sum test
(`results.statistics.ratio_of_times`), p adjusted for the number of hosts. What differs is decided by the rule of every
comparison (`results.verdict.decide`). If all hosts are equally fast, one of them is called slower or faster in at most
5% of runs; `results.simulation.slow_host_rates` checks that.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from results.metrics import TOTAL_TIME
from results.protocols import find_protocol
from results.record import Host, Run, TrialRecord
from results.samples import plans
from results.sequential import Planned, level_of, p_over_looks
from results.statistics import LEVEL, Change, adjust_for_many, ratio_of_times
from results.verdict import Verdict, decide

Difference = Literal["slower", "faster"]
WORDS: dict[Verdict, Difference] = {"worse": "slower", "better": "faster"}


@dataclass(frozen=True)
class HostTimes:
    """The trials of a run on one of its hosts."""

    host: Host
    """with every GPU that one of these trials had"""
    trials: tuple[TrialRecord, ...]
    times: tuple[float, ...]
    """total times in seconds, of the trials that have one"""
    change: Change | None
    """from the times of the other hosts to these, with its p adjusted; None where a side has no time"""
    difference: Difference | None
    """None: none is shown"""
    level: float = LEVEL
    """of intervals"""


def compare_hosts(run: Run, protocol: str) -> list[HostTimes]:
    """Each host of a run with its trials, the slowest first; of trials whose host is known. Empty unless they come from
    several hosts. ValueError for an unknown protocol."""
    find_protocol(protocol)
    placed = zip(run.trials, TOTAL_TIME.samples(run, protocol), strict=True)
    found: dict[str, list[tuple[TrialRecord, float | None, Host]]] = {}
    for trial, time in placed:
        if host := run.host_of(trial):
            found.setdefault(host.hash, []).append((trial, time, host))
    if len(found) < 2:
        return []
    times = {name: [time for _, time, _ in of_host if time is not None] for name, of_host in found.items()}
    planned = plans([run])
    compared = changes(times, planned)
    hosts = [
        HostTimes(
            Host(hash=name, gpus=tuple(sorted({gpu for _, _, host in of_host for gpu in host.gpus}))),
            tuple(trial for trial, _, _ in of_host),
            tuple(times[name]),
            compared[name],
            difference(compared[name]),
            level_of(planned),
        )
        for name, of_host in found.items()
    ]
    return sorted(hosts, key=_slowness, reverse=True)


def _slowness(one: HostTimes) -> float:
    return one.change.size if one.change else float(bool(one.times))


def changes(times: Mapping[str, Sequence[float]], planned: Collection[Planned] = ()) -> dict[str, Change | None]:
    """Of each host, from the times of all others to its own. p is adjusted for all hosts, the intervals are not; both
    are over all looks of the plan of a run that was trained until decided."""
    found: dict[str, Change | None] = {}
    for name, own in times.items():
        others = [time for other, theirs in times.items() if other != name for time in theirs]
        found[name] = ratio_of_times(others, own, level=level_of(planned)) if own and others else None
    adjusted = adjust_for_many([None if one is None else p_over_looks(one.p, planned) for one in found.values()])
    return {name: one and replace(one, p=p) for (name, one), p in zip(found.items(), adjusted, strict=True)}


def difference(change: Change | None) -> Difference | None:
    """Whether a host is slower or faster: the adjusted p is at most 5%, and the change at least the metric's limit."""
    return WORDS.get(decide(change, TOTAL_TIME, TOTAL_TIME.limit)[0]) if change else None
