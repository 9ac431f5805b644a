"""How busy other processes keep the CPUs that this run may use, read before and after a stretch of time."""

import os
import time
from dataclasses import dataclass

import psutil

from pipelines.distributed.process_group import World

SHORTEST = 0.5
"""seconds under which the kernel's count, in hundredths of a second, says too little"""


@dataclass(frozen=True)
class Reading:
    """Counters of one moment."""

    at: float
    busy: float
    """CPU seconds of all processes on the CPUs of this run"""
    own: float
    """CPU seconds of this process and its children"""
    cpus: int


def read() -> Reading | None:
    """None where the system does not say."""
    try:
        chosen = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(psutil.cpu_count() or 1)
        times = psutil.cpu_times(percpu=True)
        busy = sum(_busy(times[number]) for number in chosen)
        own = time.process_time() + sum(_of_child(child) for child in psutil.Process().children(recursive=True))
    except (psutil.Error, OSError, IndexError):
        return None
    finished = os.times()
    return Reading(time.perf_counter(), busy, own + finished.children_user + finished.children_system, len(chosen))


def foreign_load(before: Reading | None, world: World, host: object) -> float | None:
    """The share of the CPUs that other processes kept busy since `before`: 1 where they kept all of them busy.

    The processes of this run on the same host do not count; all of them must call this together. None where it is not
    known, and for less than `SHORTEST` seconds.
    """
    after = read()
    own = None if before is None or after is None else after.own - before.own
    measured = world.gather((str(host), own))
    mine = [seconds for name, seconds in measured if name == str(host)]
    if before is None or after is None or None in mine or after.at - before.at < SHORTEST:
        return None
    foreign = after.busy - before.busy - sum(seconds for seconds in mine if seconds is not None)
    return max(0.0, foreign) / ((after.at - before.at) * after.cpus)


def wait_for_quiet(seconds: float, busy: float, world: World, host: object, interval: float = 1.0) -> float:
    """Wait until a smaller share of the CPUs than `busy` is in other hands, at most so long. Returns the seconds."""
    started = time.perf_counter()
    while True:
        before = read()
        time.sleep(interval)
        load = foreign_load(before, world, host)
        waited = time.perf_counter() - started
        is_over = load is None or load < busy or waited >= seconds
        if world.broadcast_object(is_over):
            return waited


def _busy(times: object) -> float:
    idle = times.idle + getattr(times, "iowait", 0.0)
    guest = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)  # Linux counts it under user too
    return sum(times) - idle - guest - getattr(times, "steal", 0.0)


def _of_child(child: psutil.Process) -> float:
    try:
        used = child.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return used.user + used.system
