"""Ends a function of the user's own that hangs."""

import contextlib
import signal
import threading
from collections.abc import Iterator

from pipelines.host.suspension import AwakeClock, looking
from pipelines.scripts.run import Run, ScriptError

INTERVAL = 0.1
"""seconds between two looks at the clock"""


@contextlib.contextmanager
def limited(seconds: float | None, run: Run) -> Iterator[None]:
    """Raise ScriptError in the block where `run` gives no sign for so long: no lap begins or ends, nothing is reported.

    By SIGALRM from a thread: it comes between two instructions of Python, so that a single call into C is not
    interrupted. Does nothing outside the main thread, which alone gets signals.
    """
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    clock, signs, is_over = AwakeClock(), 0, False
    heard = signs, 0.0
    """how many signs there were when one was last seen, and when that was"""

    def count() -> None:
        nonlocal signs
        signs += 1

    def look() -> None:
        nonlocal heard
        now = clock()
        if signs != heard[0]:
            heard = signs, now
        elif now - heard[1] > seconds:
            heard = signs, now  # again, where the function goes on
            signal.pthread_kill(threading.main_thread().ident, signal.SIGALRM)

    def end(number: int, frame: object) -> None:
        if not is_over:
            raise ScriptError(f"no lap began or ended, and nothing was reported, for {seconds:g} s (--timeout)")

    before = signal.signal(signal.SIGALRM, end)
    run.on_sign = count
    try:
        with looking(INTERVAL, look):
            try:
                yield
            finally:
                is_over = True
    finally:
        run.on_sign = lambda: None
        signal.signal(signal.SIGALRM, before)
