"""Two checkouts of the code train one recipe in turns, a trial each, so that a drift of the machine meets both alike.

Each trains in a process of its own (`bench/run.py --turns`), which waits on its standard input for its turn.
"""

import contextlib
import os
import secrets
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

WAITING = "waiting for its turn"
"""the line with which a process says that it does nothing until it is sent one"""


class Player:
    """A process that trains a recipe's trials when it is told to, one at a time."""

    def __init__(self, checkout: Path, launcher: str, arguments: Sequence[str]) -> None:
        paths = os.pathsep.join(filter(None, [str(checkout), os.environ.get("PYTHONPATH")]))
        self._command = [*shlex.split(launcher), str(checkout / "bench" / "run.py"), *arguments]
        self._process = subprocess.Popen(  # noqa: S603  no shell
            self._command,
            env=os.environ | {"PYTHONPATH": paths},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "Player":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Leave no process behind, whatever happened to the other one."""
        if self._process.poll() is None:
            self._process.terminate()
        self._process.communicate()

    def until_it_waits(self) -> bool:
        """Let it go on until it waits for its turn; False when it has trained all of its trials instead.

        CalledProcessError if it fails.
        """
        assert self._process.stdout
        if any(line.rstrip("\n") == WAITING for line in self._process.stdout):
            return True
        if status := self._process.wait():
            raise subprocess.CalledProcessError(status, self._command)
        return False

    def play(self) -> bool:
        """One trial; returns as `until_it_waits`."""
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):  # it has ended, and how is told next
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        return self.until_it_waits()


def train(recipe: str, trials: int, checkouts: Sequence[Path], out: Sequence[Path], launcher: str) -> None:
    """As many trials of each checkout, with records in `out`. Who comes first changes from trial to trial.

    CalledProcessError if one fails; then the other one is ended.
    """
    turns = ["--turns", secrets.token_hex(4), "--trials", str(trials), "--quiet"]
    first, second = (
        Player(checkout, launcher, [recipe, *turns, "--out", str(folder)])
        for checkout, folder in zip(checkouts, out, strict=True)
    )
    with first, second:
        waiting = [player.until_it_waits() for player in (first, second)]
        assert all(waiting)
        order = (first, second)
        for _ in range(trials):
            for player in order:
                player.play()
            order = order[::-1]


def wait_for_turn() -> None:
    """Say that we wait, and wait for a line. ValueError where none comes any more."""
    print(WAITING, flush=True)
    if not sys.stdin.readline():
        raise ValueError("--turns: standard input ended before this trial's turn came; bench/gate.py gives the turns")
