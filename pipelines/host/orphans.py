"""Kills processes when the one that started them is gone, also by SIGKILL."""

import contextlib
import subprocess
from collections.abc import Callable, Iterator

# `read` fails when nobody holds the other end of the pipe
PROGRAM = 'while read -r number; do set -- "$@" "$number"; done; kill -KILL "$@"'


@contextlib.contextmanager
def killed_with_us() -> Iterator[Callable[[int], None]]:
    """Until the block ends, kill processes as soon as this one is gone. Yields what takes the number of each, or the
    number of a process group, negative.

    A shell beside this process waits at a pipe that the system closes. What leaves its group is not killed with it.
    """
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(  # noqa: S603  our own program
        ["/bin/sh", "-c", PROGRAM], stdin=subprocess.PIPE, text=True, start_new_session=True, **quiet
    ) as guard:
        assert guard.stdin

        def watch(number: int) -> None:
            print(number, file=guard.stdin, flush=True)

        try:
            yield watch
        finally:
            guard.kill()
