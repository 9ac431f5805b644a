"""A command of the user's own, in any language: one process a trial, measured from outside."""

import contextlib
import math
import os
import resource
import selectors
import shlex
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from pipelines.clock import Lap
from pipelines.host import suspension
from pipelines.host.orphans import killed_with_us
from pipelines.recipe.scripts import Command
from pipelines.scripts import metrics
from pipelines.scripts.metrics import Reported
from pipelines.scripts.run import ScriptError, divergence
from pipelines.trial import Trial

SEED = "PACELINE_SEED"
"""variable with the seed, for a command that does not take it as an argument"""
LONGEST_LINE = 1 << 16
"""bytes; what a line has more is dropped. At most so many are read at a time"""
MOST_BYTES = 1 << 30
"""that a command may print"""
KEPT_LINES = 5
"""of the end of the output, for the reason of a failure"""
INTERVAL = 0.1
"""seconds between two looks at the processes"""
PATIENCE = 2.0
"""seconds in which output is read on after the command has ended: a process that it left may hold the pipe open"""


@dataclass
class Usage:
    """What the processes of a command took."""

    seconds: float = 0.0
    """until the command ended, whatever it left running"""
    user_seconds: float = 0.0
    system_seconds: float = 0.0
    peak_bytes: int = 0
    """largest sum of the resident memory of all processes at one moment"""
    processes: int = 1
    """most at one moment"""
    left_running: int = 0
    """that outlived the command, and were killed"""


@dataclass(frozen=True)
class CommandTrainer:
    """Starts a command once a trial.

    timeout: seconds without output after which it is ended.
    """

    config: Command
    timeout: float
    variables: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def run_trial(self, seed: int, on_epoch: Callable[[Reported], None] = lambda reported: None) -> Trial:
        """Start it and wait for its end. The outcome is `failed` where it fails, hangs or says no accuracy."""
        read, reported, usage = metrics.reader(self.config.metrics), Reported(), Usage()
        tail: deque[str] = deque(maxlen=KEPT_LINES)
        file = self.config.metrics_file(seed)
        before = file and _stamp(file)
        reason, laps = None, []

        def take(line: str) -> None:
            if line.strip():
                tail.append(line.strip()[:200])
            if not file and (values := read(line)):
                reported.add(values)
                on_epoch(reported)

        try:
            with killed_with_us() as watch:
                status = self._run(seed, take, usage, watch)
            if status:
                reason = f"ended with status {status}" + (f": {tail[-1]}" if tail else "")
            for line in _lines_of(file, before) if file else ():
                reported.add(read(line))
            laps = reported.laps
            if reported.accuracy is None and not reason:
                reason = "gave no accuracy" + (f"; its last line is {tail[-1]!r}" if tail else ", and no output at all")
        except _EndedError as error:
            reason = reason or str(error)
        except ScriptError as error:
            reason = reason or f"impossible result: {error}"
        return self._to_trial(seed, reported, usage, laps, reason)

    def _run(self, seed: int, take: Callable[[str], None], usage: Usage, watch: Callable[[int], None]) -> int:
        """The exit status. `take` gets each line as it comes, of standard output and standard error; `watch`,
        minus the process group of the command."""
        words = [word.replace("{seed}", str(seed)) for word in shlex.split(self.config.command)]
        variables = {**self.variables, SEED: str(seed), "PYTHONUNBUFFERED": "1"}
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        try:
            process = subprocess.Popen(  # noqa: S603  what the user asked to run
                words,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise _EndedError(f"{words[0]} cannot be started: {error.strerror}") from None
        watch(-process.pid)
        root = psutil.Process(process.pid)  # before the thread lets the number go

        def wait() -> None:
            process.wait()
            usage.seconds = time.perf_counter() - start

        waiting = threading.Thread(target=wait, daemon=True)
        waiting.start()
        try:
            with _sampled(root, usage) as family:
                for line in _lines(process, self.timeout):
                    take(line)
        finally:
            usage.left_running = _kill(process, family)
            waiting.join()
        status = process.returncode
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        usage.user_seconds = after.ru_utime - before.ru_utime
        usage.system_seconds = after.ru_stime - before.ru_stime
        return status if status >= 0 else 128 - status

    def _to_trial(self, seed: int, reported: Reported, usage: Usage, laps: list[Lap], reason: str | None) -> Trial:
        accuracy, epochs, target = reported.accuracy, tuple(reported.results), self.config.target
        lost = divergence(accuracy, epochs[-1] if epochs else None)
        is_reached = accuracy is not None and accuracy >= target
        outcome = "failed" if reason else "diverged" if lost else "reached" if is_reached else "missed"
        return Trial(
            seed=seed,
            outcome=outcome,
            reason=reason or lost,
            accuracy=None if accuracy is None or math.isnan(accuracy) else accuracy,
            accuracy_plain=None,
            target=target,
            epochs=epochs,
            laps=(Lap("command", usage.seconds), *laps),
            steps=0,
            samples=0,
            peak_host_bytes=usage.peak_bytes,
            peak_device_bytes=None,
            notes={
                "user_seconds": usage.user_seconds,
                "system_seconds": usage.system_seconds,
                "processes": usage.processes,
                "left_running": usage.left_running,
            },
        )


class _EndedError(Exception):
    """The command was ended, or gave nothing to read; the message says why."""


def _lines(process: subprocess.Popen, timeout: float) -> Iterator[str]:
    """Each line as it comes, until the command and its output have ended. A carriage return ends a line too: progress
    bars are redrawn with it. _EndedError for silence, and for a flood."""
    assert process.stdout
    silence = _EndedError(f"printed nothing for {timeout:g} s, and was ended (--timeout)")
    pipe, begun, seen = process.stdout.fileno(), b"", 0
    clock = suspension.AwakeClock()
    last, ended = clock(), None
    is_over = False  # whether patience has run out; the pipe is read once more, for what came before
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while not is_over:
            has_ended = process.poll() is not None
            is_ready, now = selector.select(INTERVAL), clock()
            if has_ended:
                ended = ended or now
            is_over = ended is not None and now - ended > PATIENCE
            if not is_ready:
                if ended is None and now - last > timeout:
                    raise silence
                continue
            if not (chunk := os.read(pipe, LONGEST_LINE)):
                break
            seen += len(chunk)
            if seen > MOST_BYTES:
                raise _EndedError(f"printed more than {MOST_BYTES:,} bytes, and was ended")
            *whole, begun = (begun + chunk).replace(b"\r", b"\n").split(b"\n")
            begun = begun[:LONGEST_LINE]
            yield from map(_text, whole)
            last = clock()
    if begun:
        yield _text(begun)
    try:  # a command may close its output and go on
        suspension.wait(process, timeout - (clock() - last))
    except subprocess.TimeoutExpired:
        raise silence from None


def _text(line: bytes) -> str:
    return line[:LONGEST_LINE].decode("utf-8", errors="replace")


@contextlib.contextmanager
def _sampled(root: psutil.Process, usage: Usage) -> Iterator[set[psutil.Process]]:
    """Look at the memory of a process and all below it until the block ends. Yields every process that was seen."""
    ended, family = threading.Event(), {root}

    def look() -> None:
        while True:
            alive = 0
            total = 0
            with contextlib.suppress(psutil.Error):
                for process in (root, *root.children(recursive=True)):
                    family.add(process)
                    with contextlib.suppress(psutil.Error):
                        total += process.memory_info().rss
                        alive += 1
            usage.peak_bytes, usage.processes = max(usage.peak_bytes, total), max(usage.processes, alive)
            if ended.wait(INTERVAL):
                return

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield family
    finally:
        ended.set()
        thread.join()


def _kill(process: subprocess.Popen, family: set[psutil.Process]) -> int:
    """End the command and whatever it has started. Returns how many processes outlived it."""
    outlived = process.poll() is not None
    left = [one for one in family if one.pid != process.pid and one.is_running()]
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    for one in left:
        with contextlib.suppress(psutil.Error):
            one.kill()
    process.wait()
    if process.stdout:
        with contextlib.suppress(ValueError, OSError):
            process.stdout.close()
    return len(left) if outlived else 0


def _stamp(path: Path) -> tuple[int, ...] | None:
    """What changes when a file is written; None where there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _lines_of(path: Path, before: tuple[int, ...] | None) -> list[str]:
    """The lines of a file that had the stamp `before` when the command began. _EndedError where it did not write it."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise _EndedError(f"wrote no {path}: {error.strerror}") from None
    if _stamp(path) == before:
        raise _EndedError(f"wrote no {path}: it is as before the trial")
    return lines
