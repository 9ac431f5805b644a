"""Kills a command when the process that started it is gone, also by SIGKILL."""

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator

PROGRAM = """
import os, signal, sys
group = sys.stdin.buffer.readline()
sys.stdin.buffer.read()  # until nobody holds the other end
if group:
    try:
        os.killpg(int(group), signal.SIGKILL)
    except ProcessLookupError:
        pass
"""


@contextlib.contextmanager
def killed_with_us() -> Iterator[Callable[[int], None]]:
    """Until the block ends, kill a process group as soon as this process is gone. Yields what takes its number.

    A process beside this one waits at a pipe that the system closes. What leaves the group is not killed.
    """
    watcher = subprocess.Popen(  # noqa: S603  our own program
        [sys.executable, "-I", "-S", "-c", PROGRAM], stdin=subprocess.PIPE, start_new_session=True
    )
    assert watcher.stdin

    def watch(group: int) -> None:
        watcher.stdin.write(b"%d\n" % group)
        watcher.stdin.flush()

    try:
        yield watch
    finally:
        watcher.kill()
        watcher.wait()
        watcher.stdin.close()
