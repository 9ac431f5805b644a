"""What a GPU's clocks, power and heat do during a trial, sampled by a thread beside the training."""

import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import pynvml
import torch

from pipelines.distributed.process_group import World
from pipelines.host import nvml
from pipelines.host.unknown import unknown

HERTZ = 5.0
THROTTLING = {"hw_slowdown", "sw_thermal_slowdown", "hw_thermal_slowdown", "hw_power_brake_slowdown"}
"""Reasons that mark a trial as throttled: heat, and what protects the supply of power. Running at the power limit is
not among them: it is how many cards run whenever they are busy."""


@dataclass
class Samples:
    """Filled while the thread runs."""

    values: list[dict[str, object]] = field(default_factory=list)
    """`nvml.MOVING`, one entry a sample"""
    seconds: float = 0.0
    """that the thread spent in NVML"""
    error: str | None = None
    """why there are no values"""


def uuid_of(device: torch.device) -> str:
    """Of a CUDA device, as NVML knows it."""
    index = torch.cuda.current_device() if device.index is None else device.index
    return str(torch.cuda.get_device_properties(index).uuid)


@contextmanager
def sampled(device: torch.device, hertz: float = HERTZ) -> Iterator[Samples]:
    """What NVML says of the device in the meantime, from the start on; nothing of a CPU."""
    samples = Samples()
    if device.type != "cuda":
        yield samples
        return
    ended = threading.Event()

    def watch(uuid: str) -> None:
        try:
            with nvml.opened(uuid) as gpu:
                while True:
                    started = time.perf_counter()
                    samples.values.append(nvml.fields_of(gpu, nvml.MOVING))
                    samples.seconds += time.perf_counter() - started
                    if ended.wait(1 / hertz):
                        return
        except pynvml.NVMLError as error:
            samples.error = f"{type(error).__name__}: {error}"

    watcher = threading.Thread(target=watch, args=(uuid_of(device),), name="gpu sampler", daemon=True)
    watcher.start()
    try:
        yield samples
    finally:
        ended.set()
        watcher.join()


def summary(samples: Samples) -> dict[str, object]:
    """Minimum, median and maximum of each number, the share of the samples with each throttle reason, and whether the
    GPU was throttled, for a record; `{"unknown": "<why>"}` where nothing could be read."""
    if samples.error:
        return unknown(samples.error)
    numbers: dict[str, object] = {}
    for name in nvml.MOVING:
        known = [value for one in samples.values if isinstance(value := one[name], int | float)]
        if known:
            numbers[name] = {"min": min(known), "median": statistics.median(known), "max": max(known)}
    reasons = throttle_reasons(samples.values)
    return {
        "samples": len(samples.values),
        "sampling_s": samples.seconds,
        **numbers,
        "throttle_reasons": reasons,
        "throttled": not THROTTLING.isdisjoint(reasons),
    }


def notes(samples: Samples, world: World) -> dict[str, object]:
    """The summaries of all processes, by rank, for the notes of a trial; nothing of CPUs."""
    return {} if world.device.type == "cpu" else {"gpus": world.gather(summary(samples))}


def throttle_reasons(values: Sequence[dict[str, object]]) -> dict[str, float]:
    """The share of the samples in which each reason was given."""
    known = (one["throttle_reasons"] for one in values)
    found = Counter(reason for reasons in known if isinstance(reasons, list) for reason in reasons)
    return {reason: times / len(values) for reason, times in sorted(found.items())}
