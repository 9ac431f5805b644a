"""Ends a function of the user's own that hangs."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import NoReturn

from pipelines.scripts.run import Run, ScriptError


@contextlib.contextmanager
def limited(seconds: float | None, run: Run) -> Iterator[None]:
    """Raise ScriptError in the block where `run` gives no sign for so long: no lap begins or ends, nothing is reported.

    By an alarm of the system: it comes between two instructions of Python, so that a single call into C is not
    interrupted. Does nothing outside the main thread, which alone gets signals.
    """
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def restart() -> None:
        signal.setitimer(signal.ITIMER_REAL, seconds, seconds)  # again, where the function goes on

    def end(number: int, frame: object) -> NoReturn:
        raise ScriptError(f"no lap began or ended, and nothing was reported, for {seconds:g} s (--timeout)")

    before = signal.signal(signal.SIGALRM, end)
    run.on_sign = restart
    restart()
    try:
        yield
    finally:
        run.on_sign = lambda: None
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
