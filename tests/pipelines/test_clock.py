import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.clock import Clock, Lap, process_started

ROOT = Path(__file__).resolve().parents[2]


class FakeDevice:
    """A clock that somebody moves, and a device that takes `backlog` seconds to finish when it is waited for."""

    def __init__(self, timed=False):
        self.time = 100.0
        self.backlog = 0.0
        self.waits = 0
        self.clock = Clock(now=lambda: self.time, synchronize=self.wait, device_timer=self if timed else None)

    def wait(self):
        self.waits += 1
        self.time += self.backlog
        self.backlog = 0.0

    def mark(self):
        return ("mark", self.time)

    def seconds(self, start, end):
        return (end[1] - start[1]) / 2


def test_laps_are_kept_in_the_order_in_which_they_end():
    device = FakeDevice()
    with device.clock.lap("transfer"):
        device.time += 2
        with device.clock.lap("train", epoch=1):
            device.time += 3
    device.time += 50
    with device.clock.lap("train", epoch=2):
        device.time += 4
    assert device.clock.laps == [Lap("train", 3, 1), Lap("transfer", 5), Lap("train", 4, 2)]


def test_seconds_are_the_sum_of_the_laps_of_these_names():
    device = FakeDevice()
    for name, seconds in [("train", 1), ("evaluate", 2), ("train", 4), ("build", 8)]:
        with device.clock.lap(name):
            device.time += seconds
    assert device.clock.seconds("train") == 5
    assert device.clock.seconds("train", "build") == 13
    assert device.clock.seconds("compile") == 0


def test_work_queued_before_a_lap_is_not_in_it_and_its_own_work_is():
    device = FakeDevice()
    device.backlog = 10
    with device.clock.lap("train"):
        device.backlog = 3
    assert device.clock.laps == [Lap("train", 3)]


def test_the_device_is_waited_for_at_the_edges_and_nowhere_else():
    device = FakeDevice()
    with device.clock.lap("train"):
        assert device.waits == 1
        device.time += 1
        assert device.waits == 1
    assert device.waits == 2
    device.clock.seconds("train")
    assert device.waits == 2


def test_a_lap_that_raises_is_not_kept_and_those_before_are():
    device = FakeDevice()
    with device.clock.lap("build"):
        device.time += 1
    with pytest.raises(ZeroDivisionError), device.clock.lap("train"):
        device.time += 1 / 0
    assert device.clock.laps == [Lap("build", 1)]


def test_the_device_s_own_seconds_are_kept_beside():
    device = FakeDevice(timed=True)
    with device.clock.lap("train", epoch=1):
        device.time += 4
        device.backlog = 6
    assert device.clock.laps == [Lap("train", 10, 1, device_seconds=2)]


def test_without_a_device_clock_there_are_no_device_seconds():
    clock, before = Clock(), time.perf_counter()
    with clock.lap("train"):
        sum(range(1000))
    assert clock.laps[0].device_seconds is None
    assert 0 < clock.laps[0].seconds <= time.perf_counter() - before


def test_the_processes_begin_a_lap_together():
    """The others wait for the first one outside of it."""
    device, waits = FakeDevice(), []

    def barrier():
        waits.append(device.waits)
        device.time += 20

    clock = Clock(now=lambda: device.time, synchronize=device.wait, barrier=barrier)
    with clock.lap("train"):
        device.time += 3
    assert clock.laps == [Lap("train", 3)]
    assert waits == [1], "after the work of the device, which takes one longer than the other"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not say it exactly")
def test_a_process_knows_when_it_was_started():
    """To the hundredth of a second in which Linux counts."""
    before = time.perf_counter()
    program = "from pipelines.clock import process_started; print(process_started())"
    child = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert before - 0.02 < float(child.stdout) < time.perf_counter()


def test_no_process_was_started_in_the_future(monkeypatch):
    """A container may have the time of another boot, and a clock may have been set back."""
    monkeypatch.setattr(time, "clock_gettime", lambda clock: 0.0)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    before = time.perf_counter()
    assert process_started() >= before
