"""Laps: named, timed phases. The device is synchronised at the start and end of each lap, never inside. Processes begin
a lap together."""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psutil


@dataclass(frozen=True)
class Lap:
    """A named, timed phase of one epoch (counted from 1) or of the whole trial, in seconds."""

    name: str
    seconds: float
    epoch: int | None = None
    device_seconds: float | None = None
    """between two events on the device's own clock; None where it has none"""


class DeviceTimer(Protocol):
    """Takes marks on the device's own time line."""

    def mark(self) -> Any: ...

    def seconds(self, start: Any, end: Any) -> float | None: ...


class NoDeviceTimer:
    """For devices without a clock of their own."""

    def mark(self) -> None:
        return None

    def seconds(self, start: None, end: None) -> None:
        return None


class HostTimer:
    """The host's own clock, for what a host does without a device."""

    def mark(self) -> float:
        return time.perf_counter()

    def seconds(self, start: float, end: float) -> float:
        return end - start


class Clock:
    """Records laps in the order in which they end.

    `now` must be monotonic, in seconds; `synchronize` returns when the device has done all its work. Both are
    arguments so that the arithmetic can be tested without a device and without waiting. `barrier` returns when all
    processes have called it: a lap has no waiting for what another process did before it.
    """

    def __init__(
        self,
        now: Callable[[], float] = time.perf_counter,
        synchronize: Callable[[], None] = lambda: None,
        device_timer: DeviceTimer | None = None,
        barrier: Callable[[], None] = lambda: None,
    ) -> None:
        self.laps: list[Lap] = []
        self.now = now
        self.synchronize = synchronize
        self._barrier = barrier
        self._device_timer = device_timer or NoDeviceTimer()

    @contextlib.contextmanager
    def lap(self, name: str, epoch: int | None = None) -> Iterator[None]:
        """Time the body of the `with` statement. A lap that ends with an exception is dropped."""
        self.synchronize()
        self._barrier()
        first_mark = self._device_timer.mark()
        start = self.now()
        yield
        last_mark = self._device_timer.mark()
        self.synchronize()
        seconds = self.now() - start
        self.laps.append(Lap(name, seconds, epoch, self._device_timer.seconds(first_mark, last_mark)))

    def seconds(self, *names: str) -> float:
        """The sum of all laps of these names."""
        return sum(lap.seconds for lap in self.laps if lap.name in names)


def process_started() -> float:
    """When this process was started, before Python began, on the clock that laps are measured with.

    Linux counts hundredths of a second since the boot. psutil adds them to the time of the boot without its fraction of
    a second: up to a second too early, by another amount after each boot. In a container that has the time of another
    boot, this is now.
    """
    if sys.platform == "linux":
        fields = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    else:
        age = time.time() - psutil.Process().create_time()
    return time.perf_counter() - max(age, 0.0)
