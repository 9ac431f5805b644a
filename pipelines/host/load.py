"""How busy other processes keep the CPUs that this run may use, read before and after a stretch of time."""

import os
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import psutil

from pipelines.distributed.process_group import World
from pipelines.host.machine import machine

SHORTEST = 0.5
"""seconds under which the kernel's count, in hundredths of a second, says too little"""
COUNTERS = Path("/proc/stat")


@dataclass(frozen=True)
class Reading:
    """Counters of one moment."""

    at: float
    busy: Mapping[int, float]
    """CPU seconds of all processes on each CPU that this process may use"""
    own: float
    """CPU seconds of this process and of all below it"""


@dataclass(frozen=True)
class Stretch:
    """What happened between two readings, in seconds."""

    seconds: float
    busy: Mapping[int, float]
    own: float


def read() -> Reading | None:
    """None where the system does not say."""
    try:
        numbers = cpu_numbers()
        times = dict(zip(numbers, psutil.cpu_times(percpu=True), strict=True))
        chosen = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else numbers
        busy = {number: _busy(times[number]) for number in chosen}
        return Reading(time.perf_counter(), busy, cpu_seconds())
    except (psutil.Error, OSError, KeyError, ValueError):
        return None


def cpu_seconds() -> float:
    """CPU time of this process and of all below it, user and system, including those that have ended."""
    ended = os.times()
    below = sum(map(_of_child, psutil.Process().children(recursive=True)))
    return time.process_time() + ended.children_user + ended.children_system + below


def cpu_numbers() -> list[int]:
    """The numbers of the CPUs in psutil's order, which leaves out those that are offline."""
    if sys.platform != "linux":
        return list(range(psutil.cpu_count() or 1))
    names = (line.split(maxsplit=1)[0] for line in COUNTERS.read_text().splitlines() if line.startswith("cpu"))
    return [int(name.removeprefix("cpu")) for name in names if name != "cpu"]


def foreign_load(before: Reading | None, world: World) -> float | None:
    """The share of the CPUs that other processes kept busy since `before`: 1 where they kept all of them busy.

    The CPUs are those of all processes of this run on a machine, which do not count. Of several machines it is the
    load of the busiest, for which the others wait. All processes must call this together. None where no machine knows
    it, and for less than `SHORTEST` seconds.
    """
    machines: dict[str, list[Stretch | None]] = defaultdict(list)
    for name, stretch in world.gather((machine(), _between(before, read()))):
        machines[name].append(stretch)
    loads = [_foreign_load(stretches) for stretches in machines.values()]
    return max((load for load in loads if load is not None), default=None)


def _foreign_load(stretches: Sequence[Stretch | None]) -> float | None:
    """On one machine. None where one of its processes does not know."""
    known = [stretch for stretch in stretches if stretch is not None and stretch.seconds >= SHORTEST]
    if len(known) < len(stretches):
        return None
    busy = {number: seconds for stretch in known for number, seconds in stretch.busy.items()}
    foreign = sum(busy.values()) - sum(stretch.own for stretch in known)
    return max(0.0, foreign) / (fmean(stretch.seconds for stretch in known) * len(busy))


def wait_for_quiet(seconds: float, busy: float, world: World, interval: float = 1.0) -> float:
    """Wait until a smaller share of the CPUs than `busy` is in other hands, at most so long. Returns the seconds."""
    started = time.perf_counter()
    while True:
        before = read()
        time.sleep(interval)
        load = foreign_load(before, world)
        waited = time.perf_counter() - started
        is_over = load is None or load < busy or waited >= seconds
        if world.broadcast_object(is_over):
            return waited


def _between(before: Reading | None, after: Reading | None) -> Stretch | None:
    """None where a reading is missing, or this process may use other CPUs than before."""
    if before is None or after is None or before.busy.keys() != after.busy.keys():
        return None
    busy = {number: seconds - before.busy[number] for number, seconds in after.busy.items()}
    return Stretch(after.at - before.at, busy, after.own - before.own)


def _busy(times: object) -> float:
    """What a hypervisor gave to other virtual machines (`steal`) counts: this one wanted to compute meanwhile."""
    idle = times.idle + getattr(times, "iowait", 0.0)
    guest = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)  # Linux counts it under user too
    return sum(times) - idle - guest


def _of_child(child: psutil.Process) -> float:
    """With what its own children used that have ended: a compiler that a worker of torch.compile started."""
    try:
        used = child.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return used.user + used.system + used.children_user + used.children_system
