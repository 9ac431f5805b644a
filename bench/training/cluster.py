"""Trials spread over a Ray cluster. A trial trains in a child process of its own, in which nothing of Ray runs.

A Ray task is one trial. It starts `bench/run.py` on its node, waits, and returns the run that was recorded there. Ray
starts the task again, with the same seed, where its node dies. Every node needs this checkout under the same path.
"""

import contextlib
import os
import socket
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from bench.command_line.cli import INTERNAL, NO_VERDICT
from bench.training.launch import ROOT, Child, Launch, torchrun
from pipelines.host import extras, runtime
from results import store
from results.record import Run

if TYPE_CHECKING:
    from types import ModuleType

RETRIES = 3
"""times that Ray starts a trial again whose node or worker died"""
NICENESS = "RAY_worker_niceness"
"""variable of `ray start`: without it the workers, and the trials that they start, run at nice 15"""
FORWARDED = ("PACELINE_DATA",)
"""variables of this process that the workers get"""
CONNECT = 10.0
"""seconds that a cluster has to answer"""
ROUNDING = 1e-9
"""of shares of a GPU: ten of 0.1 fit, although 1 // 0.1 is 9"""
POLL = 0.5
"""seconds between looks for a signal while trials train"""


@dataclass(frozen=True)
class TrialTask:
    """One trial of one recipe."""

    arguments: tuple[str, ...]
    """of bench/run.py: all but the trials, the seed and where the run is recorded"""
    seed: int
    folder: Path
    """that relative paths start from; it must exist on every node"""
    processes: int = 1
    """that train it together"""
    threads: int = 1
    """CPU threads a process"""
    gpus: float = 0
    """a process: 1, a part of one that others share, or 0 for training on the CPU"""
    timeout: float | None = None
    """seconds that it may take, start included"""

    @property
    def cpus(self) -> int:
        """CPUs that Ray reserves for it."""
        return self.processes * self.threads

    def launch(self, out: Path, at_a_time: int = 1) -> Launch:
        """Its bench/run.py. at_a_time: the trials that share its node."""
        own = ("--trials", "1", "--seed", str(self.seed), "--threads", str(self.threads), "--out", str(out))
        device = ("--device", "cuda" if self.gpus else "cpu")
        variables = {runtime.AT_A_TIME: str(at_a_time)} if at_a_time > 1 else {}
        return Launch((*self.arguments, *own, *device), torchrun(self.processes), variables=variables)


@dataclass(frozen=True)
class Failure:
    """A trial that left no record."""

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
    """the user's own texts that were trained, by file name"""


def train(task: TrialTask, at_a_time: int = 1) -> Trained | Failure:
    """Train one trial in child processes of this one, and read what they recorded."""
    with tempfile.TemporaryDirectory(prefix="paceline-") as name:
        out = Path(name)
        with (out / "stderr").open("w+", encoding="utf-8", errors="replace") as errors:
            launch = task.launch(out / "runs", at_a_time)
            try:
                status = _run(Child(launch, folder=task.folder, errors=errors), task.timeout)
            except TimeoutError:
                return Failure(NO_VERDICT, f"did not end within --timeout {task.timeout:g} s")
            except OSError as error:
                return Failure(NO_VERDICT, f"could not be started: {error}")
            if status:
                return Failure(status, _last_line(errors) or f"ended with status {status}")
        (run,) = store.find([out / "runs"])
        sources = {path.name: path.read_text(encoding="utf-8") for path in run.path.glob("source/*")}
        return Trained(run, sources)


def _run(child: Child, timeout: float | None) -> int:
    """The status of a child. TimeoutError for one that had to be stopped."""
    is_late = threading.Event()

    def stop() -> None:
        is_late.set()
        child.end()

    timer = threading.Timer(timeout or 0, stop)
    if timeout:
        timer.start()
    try:
        for _ in child.events():
            pass
        status = child.wait()
    finally:
        timer.cancel()
        child.end()
        child.close()
    if is_late.is_set():
        raise TimeoutError
    return status


def _last_line(errors: IO[str]) -> str:
    """What a child said last on standard error."""
    errors.seek(0)
    lines = [line.strip() for line in errors if line.strip()]
    said = [line for line in lines if "bench/run.py: " in line]  # a launcher's own lines may follow
    return (said or lines or [""])[-1]


def _train_on_node(task: TrialTask, at_a_time: int) -> Trained | Failure:
    """`train` in a Ray worker."""
    if niceness := os.nice(0):
        how = f"start Ray on every node with {NICENESS}=0"
        return Failure(NO_VERDICT, f"a Ray worker runs at nice {niceness}, which slows its trials down: {how}")
    return train(task, at_a_time)


def fitting(task: TrialTask, cpus: float, gpus: float) -> int:
    """How many trials like this one a node with these resources trains at a time."""
    places = cpus // task.cpus
    if task.gpus:
        places = min(places, gpus / (task.gpus * task.processes) + ROUNDING)
    return max(1, int(places))


class Cluster:
    """A Ray cluster. A context, at whose end this process leaves it."""

    def __init__(self, ray: "ModuleType") -> None:
        self._ray = ray

    @property
    def nodes(self) -> list[dict[str, Any]]:
        """The resources of each node that lives."""
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

    def train(self, tasks: Sequence[TrialTask]) -> Iterator[tuple[TrialTask, Trained | Failure]]:
        """Train all trials. Yields each as it ends, with what it left or why it left nothing.

        The machine class of all trials of a task's shape says how many the roomiest node trains at a time, so that
        nodes of unequal size do not refuse each other's. ValueError for a trial that no node has room for.
        """
        nodes = self.nodes
        for task in tasks:
            gpus = task.gpus * task.processes
            if not any(node.get("CPU", 0) >= task.cpus and node.get("GPU", 0) >= gpus for node in nodes):
                needs = f"{task.cpus} CPUs" + (f" and {gpus:g} GPUs" if gpus else "")
                raise ValueError(f"a trial needs {needs} of one node, and no node of the cluster has them")
        remote = self._ray.remote(_train_on_node)
        pending = {
            remote.options(
                num_cpus=task.cpus,
                num_gpus=task.gpus * task.processes,
                max_retries=RETRIES,
                scheduling_strategy="SPREAD",
            ).remote(task, max(fitting(task, node.get("CPU", 0), node.get("GPU", 0)) for node in nodes)): task
            for task in tasks
        }
        while pending:
            ended, _ = self._ray.wait(list(pending), timeout=POLL)
            for reference in ended:
                try:
                    found = self._ray.get(reference)
                except self._ray.exceptions.RayTaskError as error:
                    raise error.cause from None
                except self._ray.exceptions.RayError as error:
                    found = Failure(INTERNAL, f"its node was lost {RETRIES + 1} times ({type(error).__name__})")
                yield pending.pop(reference), found


@contextlib.contextmanager
def joined(address: str | None, *, cpus: int | None = None, gpus: int | None = None) -> Iterator[Cluster]:
    """The cluster at an address (`auto`: the one of this host), or without one a cluster of this host alone.

    cpus, gpus: what a cluster of this host has. ValueError where Ray is not installed, or no cluster answers.
    """
    os.environ |= {NICENESS: "0", "RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    ray = extras.require("ray", "cluster")
    variables = {name: os.environ[name] for name in FORWARDED if name in os.environ}
    variables["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    if address and address != "auto":
        _check_reachable(address)
    own = {"num_cpus": cpus, "num_gpus": gpus} if address is None else {}
    try:
        ray.init(
            address=address or "local",
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            runtime_env={"env_vars": variables},
            **own,
        )
    except ConnectionError as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"no Ray cluster answers at {address}: is it up, and does it want RAY_AUTH_MODE=token? ({reason})"
        ) from None
    try:
        yield Cluster(ray)
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """ValueError where nothing listens at HOST:PORT, for which Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT).close()
    except (OSError, ValueError) as error:
        raise ValueError(
            f"no Ray cluster answers at {address}: give HOST:PORT of `ray start --head` ({error})"
        ) from None
