"""Energy counters: of NVIDIA's GPUs by NVML, of the processor by Linux's powercap (Intel's RAPL, AMD's too).

A counter is updated some ten times a second, so that a short trial is repeated until enough of them are counted.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from pipelines.distributed.process_group import World
from pipelines.host import nvml
from pipelines.host.gpu_sampler import sampled, uuid_of
from pipelines.host.machine import machine
from pipelines.host.unknown import ANSWERS, unknown

POWERCAP = Path("/sys/class/powercap")
ENOUGH = 60.0
"""seconds that a measurement takes at least (MLPerf's power rules ask for 60 samples of a second)"""
INTERVAL = 60.0
"""seconds between two readings of the counters: at 1 kW a package's counter begins again after four minutes"""


@dataclass(frozen=True)
class Counter:
    """Something that counts joules since some moment."""

    name: str
    read: Callable[[], float]
    wraps_at: float | None = None
    """joules after which it begins again at 0; None: never"""

    def between(self, before: float, now: float) -> float:
        """Joules from one reading to a later one, not more than one round apart."""
        joules = now - before
        return joules + self.wraps_at if joules < 0 and self.wraps_at else joules


def counters(device: torch.device) -> list[Counter]:
    """Of this process's GPU, or of all packages of the host's processor; empty where none can be read."""
    found = [gpu_counter(uuid_of(device))] if device.type == "cuda" else packages()
    return [counter for counter in found if _is_readable(counter)]


def gpu_counter(uuid: str) -> Counter:
    """Of the GPU with this UUID (Volta and newer)."""
    return Counter(f"NVML GPU {uuid}", lambda: nvml.energy_joules(uuid))


def packages(root: Path = POWERCAP) -> list[Counter]:
    """Of each package of the processor. A container may show links to zones that it hides. Laptops have the zone `psys`
    beside them, which counts the packages and the rest of the machine."""
    found = []
    for zone in sorted(root.glob("intel-rapl:[0-9]*")):
        if zone.name.count(":") == 1:  # what lies below is part of it
            with contextlib.suppress(OSError):
                found.append(package(zone))
    return [counter for counter in found if counter.name.startswith("package")]


def package(zone: Path) -> Counter:
    """Of the package in this folder. OSError where its files are not there."""
    name, most = ((zone / file).read_text() for file in ("name", "max_energy_range_uj"))
    return Counter(name.strip(), lambda: int((zone / "energy_uj").read_text()) / 1e6, int(most) / 1e6)


@contextlib.contextmanager
def added_up(found: Sequence[Counter]) -> Iterator[list[float]]:
    """The joules of each counter from now to the end of the block, after which they can be read.

    A thread reads the counters meanwhile: one of a processor begins again after half an hour or less.
    """
    stood, joules, ended = [counter.read() for counter in found], [0.0] * len(found), threading.Event()

    def add() -> None:
        for place, counter in enumerate(found):
            now = counter.read()
            joules[place] += counter.between(stood[place], now)
            stood[place] = now

    def watch() -> None:
        while not ended.wait(INTERVAL):
            with contextlib.suppress(*ANSWERS):
                add()

    watcher = threading.Thread(target=watch, name="energy counters", daemon=True)
    watcher.start()
    try:
        yield joules
    finally:
        ended.set()
        watcher.join()
    add()


def measure(world: World, train: Callable[[], object], enough: float = ENOUGH) -> dict[str, object]:
    """Repeat a trial until `enough` seconds are over: joules a trial and mean power of all GPUs, or of the processors
    of all machines; and the clocks, temperatures and throttle reasons of rank 0's GPU meanwhile, once a second.

    train: trains one trial. Every process has to call it; none of the trials is a timed one.
    `{"unknown": "<why>"}` where there is a process without a counter.
    """
    found = counters(world.device)
    if not all(world.gather(bool(found))):
        return unknown(
            "no energy counter can be read: neither NVML's, of a whole GPU, nor /sys/class/powercap (for root alone)"
        )
    with sampled(world.device, hertz=1) as samples, added_up(found) as joules:
        start, trials, seconds = time.perf_counter(), 0, 0.0
        while seconds < enough:
            train()
            trials += 1
            seconds = world.broadcast_object(time.perf_counter() - start)
    # the processes of a machine share its processors
    place = machine() if world.device.type == "cpu" else f"rank {world.rank}"
    total = sum(dict(world.gather((place, sum(joules)))).values())
    names = [counter.name for counter in found]
    measured = {"trials": trials, "seconds": seconds, "joules_per_trial": total / trials, "mean_w": total / seconds}
    return {"counters": names, **measured, "during": samples.values}


def _is_readable(counter: Counter) -> bool:
    try:
        counter.read()
    except ANSWERS:
        return False
    return True
