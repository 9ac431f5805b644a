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
from pipelines.trial import GpuActivity, Spread

HERTZ = 5.0
SETTING = "applications_clocks_setting"
"""the reason that NVML gives for clocks that somebody has set"""


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


def summary(samples: Samples) -> GpuActivity:
    """Of one GPU, for a record. What NVML did not tell is None."""
    if samples.error:
        return GpuActivity(0, samples.seconds, error=samples.error)
    spreads = {name: spread(samples.values, name) for name in nvml.MOVING if name != "throttle_reasons"}
    reasons = throttle_reasons(samples.values)
    return GpuActivity(len(samples.values), samples.seconds, **spreads, throttle_reasons=reasons)


def of_all_processes(samples: Samples, world: World) -> tuple[GpuActivity, ...]:
    """The summaries of all processes, by rank; nothing of CPUs."""
    return () if world.device.type == "cpu" else tuple(world.gather(summary(samples)))


def spread(values: Sequence[dict[str, object]], name: str) -> Spread | None:
    """Of one number over the samples that have it."""
    known = [value for one in values if isinstance(value := one[name], int | float)]
    return Spread(min(known), statistics.median(known), max(known)) if known else None


def throttle_reasons(values: Sequence[dict[str, object]]) -> dict[str, float]:
    """The share of the samples in which each reason was given."""
    found = Counter(reason for one in values for reason in reasons_of(one))
    return {reason: times / len(values) for reason, times in sorted(found.items())}


def reasons_of(sample: dict[str, object]) -> list[str]:
    """The throttle reasons of one sample; none where they are unknown."""
    reasons = sample["throttle_reasons"]
    return reasons if isinstance(reasons, list) else []


def unlocked_clocks(samples: Samples) -> str | None:
    """A warning if these samples, taken while the GPU worked, show that its clocks are not locked; else None.

    NVML does not say whether clocks are locked. Locked clocks stay where they are under load, or are reported as
    limited by a setting.
    """
    busy = [one for one in samples.values if "gpu_idle" not in reasons_of(one)]
    clocks = spread(busy, "sm_clock_mhz")
    if clocks is None or clocks.min == clocks.max or SETTING in throttle_reasons(busy):
        return None
    return (
        f"warning: the GPU's clocks are not locked (SM clock {clocks.min:g} to {clocks.max:g} MHz in the warm-up), so "
        "times vary with its temperature: lock them with nvidia-smi --lock-gpu-clocks=MHZ"
    )
