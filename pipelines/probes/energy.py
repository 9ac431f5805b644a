"""Energy counters: of NVIDIA's GPUs by NVML, of the processor by Linux's powercap (Intel's RAPL, AMD's too).

A counter is updated some ten times a second, so that a short trial is repeated until enough of them are counted.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from pipelines.distributed.process_group import World
from pipelines.host import nvml
from pipelines.host.gpu_sampler import sampled, uuid_of
from pipelines.host.unknown import ANSWERS, unknown

POWERCAP = Path("/sys/class/powercap")
ENOUGH = 60.0
"""seconds that a measurement takes at least (MLPerf's power rules ask for 60 samples of a second)"""


@dataclass(frozen=True)
class Counter:
    """Something that counts joules since some moment."""

    name: str
    read: Callable[[], float]
    wraps_at: float | None = None
    """joules after which it begins again at 0; None: never"""

    def since(self, before: float) -> float:
        """Joules since it stood at `before`, not more than one round ago."""
        joules = self.read() - before
        return joules + self.wraps_at if joules < 0 and self.wraps_at else joules


def counters(device: torch.device) -> list[Counter]:
    """Of this process's GPU, or of all packages of the host's processor; empty where none can be read."""
    found = [gpu_counter(uuid_of(device))] if device.type == "cuda" else packages()
    return [counter for counter in found if _is_readable(counter)]


def gpu_counter(uuid: str) -> Counter:
    """Of the GPU with this UUID (Volta and newer)."""
    return Counter(f"NVML GPU {uuid}", lambda: nvml.energy_joules(uuid))


def packages(root: Path = POWERCAP) -> list[Counter]:
    """Of each package of the processor."""
    return [
        Counter(
            (zone / "name").read_text().strip(),
            lambda zone=zone: int((zone / "energy_uj").read_text()) / 1e6,
            int((zone / "max_energy_range_uj").read_text()) / 1e6,
        )
        for zone in sorted(root.glob("intel-rapl:[0-9]*"))
        if zone.name.count(":") == 1  # what lies below is part of it
    ]


def measure(world: World, train: Callable[[], object], host: str, enough: float = ENOUGH) -> dict[str, object]:
    """Repeat a trial until `enough` seconds are over: joules a trial and mean power of all GPUs, or of the processors
    of all hosts; and the clocks, temperatures and throttle reasons that rank 0's GPU showed meanwhile, once a second.

    train: trains one trial. host: tells hosts apart. Every process has to call it; none of the trials is a timed one.
    `{"unknown": "<why>"}` where there is a process without a counter.
    """
    found = counters(world.device)
    if not all(world.gather(bool(found))):
        return unknown(
            "no energy counter can be read: neither NVML's nor /sys/class/powercap (which only root may read)"
        )
    with sampled(world.device, hertz=1) as samples:
        before = [counter.read() for counter in found]
        start, trials, seconds = time.perf_counter(), 0, 0.0
        while seconds < enough:
            train()
            trials += 1
            seconds = world.broadcast_object(time.perf_counter() - start)
        joules = sum(counter.since(stood) for counter, stood in zip(found, before, strict=True))
    place = host if world.device.type == "cpu" else f"{host} {world.rank}"  # processes share the processors of a host
    total = sum(dict(world.gather((place, joules))).values())
    names = [counter.name for counter in found]
    measured = {"trials": trials, "seconds": seconds, "joules_per_trial": total / trials, "mean_w": total / seconds}
    return {"counters": names, **measured, "during": samples.values}


def _is_readable(counter: Counter) -> bool:
    try:
        counter.read()
    except ANSWERS:
        return False
    return True
