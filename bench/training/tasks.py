"""Trainings as tasks for whatever executes them: this process, or a worker of a Ray cluster.

A task trains in child processes of its own, and returns what was recorded there.
"""

import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from bench.command_line.cli import NO_VERDICT
from bench.training.launch import Child, Launch, torchrun
from pipelines.host import runtime
from pipelines.host.suspension import INTERVAL, AwakeClock, looking
from results import store
from results.files import read_sources
from results.record import Run

SIGNALS = 128
"""what a shell adds to the number of the signal that ended a process"""


@dataclass(frozen=True)
class Failure:
    """A task that left no record."""

    status: int
    """exit status, as a command's"""
    reason: str
    """in one line"""


@dataclass(frozen=True)
class Trained:
    """A trial that ended."""

    run: Run
    """of this trial alone, as it was recorded where it was trained"""
    sources: Mapping[str, str]
    """texts to keep beside the record, by file name"""


class Task(Protocol):
    """What a worker does, and the resources that it needs."""

    @property
    def cpus(self) -> int: ...

    @property
    def gpus(self) -> float: ...

    def train(self, at_a_time: int = 1) -> object:
        """at_a_time: the tasks that share its node."""


@dataclass(frozen=True)
class TrialTask:
    """One trial of one recipe."""

    arguments: tuple[str, ...]
    """of bench/run.py: all but the trials, the seed, the device, the threads and where the run is recorded"""
    seed: int
    folder: Path
    """that relative paths start from; it must exist on every node"""
    processes: int = 1
    """that train it together"""
    threads: int = 1
    """CPU threads a process"""
    device: str = "cpu"
    gpus_per_process: float = 0
    """1, a part of one that others share, or 0 for training on the CPU"""
    timeout: float | None = None
    """seconds that it may take, start included, without those in which this process was suspended"""

    @property
    def cpus(self) -> int:
        """CPUs that are reserved for it."""
        return self.processes * self.threads

    @property
    def gpus(self) -> float:
        """GPUs that are reserved for it."""
        return self.processes * self.gpus_per_process

    def launch(self, out: Path, at_a_time: int = 1) -> Launch:
        """Its bench/run.py."""
        where = ("--device", self.device, "--threads", str(self.threads), "--out", str(out))
        variables = {runtime.AT_A_TIME: str(at_a_time)} if at_a_time > 1 else {}
        arguments = (*self.arguments, "--trials", "1", "--seed", str(self.seed), *where)
        return Launch(arguments, torchrun(self.processes), variables=variables, folder=self.folder)

    def train(self, at_a_time: int = 1) -> Trained | Failure:
        """Train it in child processes of this one, and read what they recorded."""
        with tempfile.TemporaryDirectory(prefix="paceline-") as name:
            out = Path(name)
            launch = replace(self.launch(out / "runs", at_a_time), errors=out / "stderr")
            try:
                status = _run(Child(launch), self.timeout)
            except TimeoutError:
                return Failure(NO_VERDICT, f"did not end within --timeout {self.timeout:g} s")
            except OSError as error:
                return Failure(NO_VERDICT, f"could not be started: {error}")
            if (number := status - SIGNALS) in signal.valid_signals():
                return Failure(status, f"was ended by signal {number} ({signal.strsignal(number)})")
            if status:
                return Failure(status, last_line(out / "stderr") or f"ended with status {status}")
            return recorded(out / "runs")


def one_after_another(tasks: Sequence[TrialTask]) -> Iterator[tuple[TrialTask, Trained | Failure]]:
    """Train all trials from this process. Yields each as it ends, with what it left or why it left nothing."""
    for task in tasks:
        yield task, task.train()


def _run(child: Child, timeout: float | None) -> int:
    """The status of a child. TimeoutError for one that had to be stopped."""
    clock, is_late = AwakeClock(), threading.Event()

    def look() -> None:
        if timeout and clock() > timeout and not is_late.is_set():
            is_late.set()
            child.end()

    try:
        with looking(INTERVAL, look):
            for _ in child.events():
                pass
            status = child.wait()
    finally:
        child.end()
        child.close()
    if is_late.is_set():
        raise TimeoutError
    return status


def recorded(folder: Path) -> Trained:
    """The one run of a folder."""
    (run,) = store.find([folder])
    return Trained(run, read_sources(run.path))


def last_line(errors: Path) -> str:
    """What a child said last on standard error."""
    text = errors.read_text(encoding="utf-8", errors="replace")
    lines = [line.strip() for line in text.splitlines() if any(map(str.isalnum, line))]  # torchrun draws rules
    said = [line for line in lines if "bench/run.py: " in line]  # a launcher's own lines may follow
    return (said or lines or [""])[-1]
