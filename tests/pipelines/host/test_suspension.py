"""Time in which a process was suspended does not count. No test waits: the clocks are given."""

import subprocess
import threading

import pytest

from pipelines.host import suspension
from pipelines.host.suspension import AwakeClock


class Times:
    """The clocks of a process, moved by hand."""

    def __init__(self):
        self.now, self.active = 100.0, 5.0

    def clock(self, longest=1.0):
        return AwakeClock(longest, now=lambda: self.now, active=lambda: self.active)


@pytest.fixture
def times():
    return Times()


def test_who_waits_for_a_cpu_is_active(tmp_path, monkeypatch):
    monkeypatch.setattr(suspension, "SCHEDSTAT", tmp_path / "schedstat")
    monkeypatch.setattr(suspension.time, "process_time", lambda: 5.0)
    assert suspension.active_seconds() == 5
    suspension.SCHEDSTAT.write_text("7000000000 2500000000 12\n")
    assert suspension.active_seconds() == 7.5


def test_what_passes_between_two_looks_counts(times):
    clock = times.clock()
    seen = []
    for _ in range(3):
        times.now += 0.75
        seen.append(clock())
    assert (seen, clock.suspended) == ([0.75, 1.5, 2.25], 0.0)


def test_a_suspension_counts_as_the_longest_time_between_two_looks(times):
    clock = times.clock()
    times.now += 0.5
    clock()
    times.now += 3600
    assert (clock(), clock.suspended) == (1.5, 3599)
    times.now += 0.5
    assert (clock(), clock.suspended) == (2.0, 3599)


def test_a_process_that_computes_is_not_suspended(times):
    """A thread that looks may wait for Python's lock."""
    clock = times.clock()
    times.now += 20
    times.active += 19.5
    assert (clock(), clock.suspended) == (20, 0)


def test_a_clock_that_threads_keep_busy_runs_no_faster_than_time(times):
    clock = times.clock()
    times.now += 2
    times.active += 16
    assert (clock(), clock.suspended) == (2, 0)


def test_a_thread_looks_until_the_block_ends(monkeypatch):
    looked = threading.Event()

    class Clock:
        count = 0

        def __call__(self):
            self.count += 1
            looked.set()

    monkeypatch.setattr(suspension, "AwakeClock", Clock)
    with suspension.watched(interval=0.001) as clock:
        assert looked.wait(60)
    count = clock.count
    assert count >= 2, "by the thread, and at the end"
    assert "suspension" not in {thread.name for thread in threading.enumerate()}


def expiring(times, seconds, result="ended", after=1000):
    """As `Popen.wait`: takes its whole time limit, or `seconds` where the process is suspended in it."""
    limits = []

    def wait(limit):
        limits.append(limit)
        times.now += seconds if len(limits) == 2 else limit
        if len(limits) > after:
            return result
        raise subprocess.TimeoutExpired("command", limit)

    return wait, limits


def test_patience_ends_when_the_process_was_awake_for_so_long(times, monkeypatch):
    monkeypatch.setattr(suspension, "AwakeClock", times.clock)
    wait, limits = expiring(times, seconds=3600)
    with pytest.raises(subprocess.TimeoutExpired):
        suspension.within(3.0, wait)
    assert limits == [0.5] * 5, "the second took a second, and a suspension"


def test_patience_is_rewarded(times, monkeypatch):
    monkeypatch.setattr(suspension, "AwakeClock", times.clock)
    wait, _ = expiring(times, seconds=3600, after=2)
    assert suspension.within(3.0, wait) == "ended"


def test_one_who_has_no_patience_left_asks_once(times, monkeypatch):
    monkeypatch.setattr(suspension, "AwakeClock", times.clock)
    wait, limits = expiring(times, seconds=1)
    with pytest.raises(subprocess.TimeoutExpired):
        suspension.within(-2.0, wait)
    assert limits == [0.0]
