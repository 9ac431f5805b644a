"""Time in which this process was suspended: by SIGSTOP, as Slurm's gang scheduling sends it to all processes of a job,
in a container that was frozen, or on a virtual machine that was paused.

No call of the system tells it. But a process that looks at the clock again and again finds, after a suspension, that
more time has passed than it asked to wait. Whatever counts the silence of other processes takes its times from an
`AwakeClock`: they may have been suspended too, and this process could not have heard them.
"""

import contextlib
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")

INTERVAL = 0.5
"""seconds between two looks at the clock"""
SCHEDSTAT = Path("/proc/self/schedstat")
"""nanoseconds on a CPU, nanoseconds of waiting for one, and turns, of the main thread"""
LONGEST = 1.0
"""seconds between two looks that always count: as long as a busy machine may take to wake a thread"""


def active_seconds() -> float:
    """CPU time of this process, and the time in which its main thread was ready and had to wait for a CPU, as far as
    Linux counts that (Documentation/scheduler/sched-stats.rst)."""
    try:
        waited = int(SCHEDSTAT.read_text(encoding="ascii").split()[1]) / 1e9
    except OSError:
        waited = 0.0
    return time.process_time() + waited


class AwakeClock:
    """Seconds since it was made, without those in which this process was suspended.

    Look at it at intervals shorter than `longest`. What two looks lie further apart counts as far as the process was
    active meanwhile: a thread may wait long for Python's lock, and a process for a CPU. `now` must be monotonic, in
    seconds. Both are arguments so that the rule can be tested without waiting.
    """

    def __init__(
        self,
        longest: float = LONGEST,
        now: Callable[[], float] = time.monotonic,
        active: Callable[[], float] = active_seconds,
    ) -> None:
        self._longest, self._now, self._active = longest, now, active
        self._last = now(), active()
        self._seconds = 0.0
        self.suspended = 0.0
        """seconds that were left out"""

    def __call__(self) -> float:
        """Look at it."""
        before, self._last = self._last, (self._now(), self._active())
        passed, active = (now - then for now, then in zip(self._last, before, strict=True))
        counted = min(passed, self._longest + active)
        self._seconds += counted
        self.suspended += passed - counted
        return self._seconds


@contextlib.contextmanager
def watched(interval: float = INTERVAL) -> Iterator[AwakeClock]:
    """A clock that a thread looks at until the block ends."""
    clock = AwakeClock()
    with looking(interval, clock):
        yield clock
    clock()


@contextlib.contextmanager
def looking(interval: float, look: Callable[[], object]) -> Iterator[None]:
    """Call `look` every `interval` seconds, in a thread, until the block ends."""
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(interval):
            look()

    thread = threading.Thread(target=repeat, name="suspension", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def wait(process: subprocess.Popen, seconds: float) -> None:
    """Return when a process has ended; TimeoutExpired where it goes on for so long, this process being awake."""
    within(seconds, lambda limit: process.wait(limit))


def within(seconds: float, action: Callable[[float], Result]) -> Result:
    """What `action` returns, which gets a time limit and is called again while it raises TimeoutExpired, for so long.

    As `subprocess.Popen.wait` and `communicate`, which count on while this process is suspended.
    """
    clock = AwakeClock()
    while True:
        try:
            return action(min(INTERVAL, max(seconds - clock(), 0.0)))
        except subprocess.TimeoutExpired:
            if clock() >= seconds:
                raise
