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
from typing import TypeVar

Result = TypeVar("Result")

INTERVAL = 0.5
"""seconds between two looks at the clock"""
LONGEST = 1.0
"""seconds between two looks that always count: as long as a busy machine may take to wake a thread"""


class AwakeClock:
    """Seconds since it was made, without those in which this process was suspended.

    Look at it at intervals shorter than `longest`. What two looks lie further apart counts as far as the process has
    computed meanwhile: a thread may wait long for Python's lock. `now` must be monotonic, in seconds; `computed` is the
    CPU time of this process. Both are arguments so that the rule can be tested without waiting.
    """

    def __init__(
        self,
        longest: float = LONGEST,
        now: Callable[[], float] = time.monotonic,
        computed: Callable[[], float] = time.process_time,
    ) -> None:
        self._longest, self._now, self._computed = longest, now, computed
        self._last = now(), computed()
        self._seconds = 0.0
        self.suspended = 0.0
        """seconds that were left out"""

    def __call__(self) -> float:
        """Look at it."""
        before, self._last = self._last, (self._now(), self._computed())
        passed, computed = (now - then for now, then in zip(self._last, before, strict=True))
        counted = min(passed, self._longest + computed)
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
