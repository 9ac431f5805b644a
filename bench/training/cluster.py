"""Tasks spread over a Ray cluster. They train in child processes of a worker, in which nothing of Ray runs.

Ray starts a task again, with the same seed, where its node dies. Every node needs this checkout under the same path.
"""

import contextlib
import itertools
import os
import signal
import socket
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

import psutil

from bench.command_line import cli
from bench.command_line.cli import ROOT
from bench.training import resources
from bench.training.tasks import Failure, Task
from pipelines.distributed import launch_variables
from pipelines.host import extras
from pipelines.host.orphans import killed_with_us

if TYPE_CHECKING:
    from types import ModuleType

T = TypeVar("T", bound=Task)

RETRIES = 3
"""times that Ray starts a trial again whose node or worker died"""
NICENESS = "RAY_worker_niceness"
"""variable of `ray start`: without it the workers, and the trials that they start, run at nice 15"""
QUIET = {
    "RAY_enable_metrics_collection": "0",
    "RAY_enable_worker_prestart": "0",
    "RAY_event_stats": "0",
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_task_events_report_interval_ms": "0",
}
"""variables that switch off what a Ray of this host does beside our tasks"""
FORWARDED = ("PACELINE_DATA",)
"""variables of this process that the workers get"""
CONNECT = 10.0
"""seconds that a cluster has to answer"""
POLL = 0.5
"""seconds between looks for a signal while trials train"""


def _train_on_node(task: Task, at_a_time: int) -> object:
    """What a Ray worker does.

    Where srun started Ray, its variables count the nodes: the processes of a trial are those that this worker starts.
    """
    for name in launch_variables.OTHER_SIZES:
        os.environ.pop(name, None)
    if niceness := os.nice(0):
        how = f"start Ray on every node, or this command, with {NICENESS}=0 and without nice"
        return Failure(cli.NO_VERDICT, f"a Ray worker runs at nice {niceness}, which slows its trials down: {how}")
    return task.train(at_a_time)


def fitting(cpus: int, gpus: float, node: Mapping[str, float]) -> int:
    """How many tasks that take so much a node with these resources does at a time; 0 where it is too small for one."""
    by_cpu = int(node.get("CPU", 0) // cpus)
    if gpus:
        return min(by_cpu, resources.places(node.get("GPU", 0), gpus))
    return by_cpu


class Cluster:
    """A Ray cluster. A context, at whose end this process leaves it."""

    def __init__(self, ray: "ModuleType", raised: Sequence[BaseException] = ()) -> None:
        """raised: what the handlers of signals have raised, each of which Ray turns into a KeyboardInterrupt."""
        self._ray = ray
        self._raised = raised

    @property
    def nodes(self) -> list[dict[str, Any]]:
        """The resources of each node that lives."""
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

    def places(self, cpus: int, gpus: float) -> int:
        """How many tasks that take so much the whole cluster does at a time."""
        return sum(fitting(cpus, gpus, node) for node in self.nodes)

    def actor(self, kind: type) -> Any:
        """An object of this class in a process of its own on this host, with Ray's handle for workers to call it."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(self._ray.get_runtime_context().get_node_id(), soft=False)
        return self._ray.remote(kind).options(num_cpus=0, scheduling_strategy=here).remote()

    def train(self, tasks: Iterable[T], at_most: int | None = None) -> Generator[tuple[T, Any], None, None]:
        """Do all tasks. Yields each as it ends, with what it returned or the failure.

        at_most: tasks that are taken at a time, of an iterable whose next ones depend on what has ended.

        The machine class of all tasks of a shape says how many the roomiest node does at a time, so that nodes of
        unequal size do not refuse each other's. ValueError for a task that no node has room for. Where the caller
        takes no more, the tasks that still train are ended.
        """
        nodes = self.nodes
        remote = self._ray.remote(_train_on_node)
        waiting = iter(tasks)
        pending: dict[Any, T] = {}
        try:
            while True:
                for task in itertools.islice(waiting, at_most and at_most - len(pending)):
                    at_a_time = max((fitting(task.cpus, task.gpus, node) for node in nodes), default=0)
                    if not at_a_time:
                        needs = f"{task.cpus} CPUs" + (f" and {task.gpus:g} GPUs" if task.gpus else "")
                        raise ValueError(f"a trial needs {needs} of one node, and no node of the cluster has them")
                    own = {"num_cpus": task.cpus, "num_gpus": task.gpus, "max_retries": RETRIES}
                    pending[remote.options(**own, scheduling_strategy="SPREAD").remote(task, at_a_time)] = task
                if not pending:
                    return
                ended, _ = self._ray.wait(list(pending), timeout=POLL)
                for reference in ended:
                    try:
                        found = self._ray.get(reference)
                    except self._ray.exceptions.RayTaskError as error:
                        raise error.cause from None
                    except self._ray.exceptions.RayError as error:
                        found = Failure(cli.INTERNAL, f"its node was lost {RETRIES + 1} times ({type(error).__name__})")
                    yield pending.pop(reference), found
        except KeyboardInterrupt as error:
            raise next(iter(self._raised), error) from None
        except GeneratorExit:
            if self._ray.is_initialized():  # else the cluster was left, which ends them
                for reference in pending:
                    self._ray.cancel(reference, force=True)
            raise


@contextlib.contextmanager
def joined(address: str | None, *, cpus: int | None = None, gpus: int | None = None) -> Iterator[Cluster]:
    """The cluster at an address (`auto`: the one of this host), or without one a cluster of this host alone.

    cpus, gpus: what a cluster of this host has. ValueError where Ray is not installed, no cluster answers, or a
    launcher started several processes of a command that is to start a cluster.
    """
    if address is None:
        launch_variables.check(os.environ)  # of several processes each would start a Ray of its own
    os.environ |= {NICENESS: "0", "RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    if address is None:
        os.environ |= QUIET
    ray = extras.require("ray", "cluster")
    variables = {name: os.environ[name] for name in FORWARDED if name in os.environ}
    variables["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    if address and address != "auto":
        _check_reachable(address)
    own = {"num_cpus": cpus, "num_gpus": gpus} if address is None else {}
    driver = psutil.Process()
    before = set(driver.children(recursive=True))
    handlers = {number: signal.getsignal(number) for number in cli.SIGNALS}
    raised: list[BaseException] = []
    try:
        ray.init(
            address=address or "local",
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            runtime_env={"env_vars": variables},
            **own,
        )
    except (ConnectionError, ray.exceptions.RayError) as error:  # the latter also without a token
        reason = " ".join(str(error).split())
        raise ValueError(
            f"no Ray cluster answers at {address}: check that it runs; it may need RAY_AUTH_MODE=token ({reason})"
        ) from None
    for number, handler in handlers.items():  # Ray's own would end this process before it records how its runs ended
        signal.signal(number, keeping(raised, handler) if callable(handler) else handler)
    try:
        with contextlib.ExitStack() as stack:
            if address is None:
                started = set(driver.children(recursive=True)) - before
                services = services_in_python(started & set(driver.children()))
                for service in services:
                    service.kill()  # SIGTERM would have the autoscaler print a traceback on our standard output
                watch = stack.enter_context(killed_with_us())
                for process in started - services:  # else Ray's agents live on for a minute, to report to what is gone
                    watch(process.pid)
            yield Cluster(ray, raised)
    finally:
        ray.shutdown()


def keeping(raised: list[BaseException], handler: Callable[[int, FrameType | None], Any]) -> Callable[..., Any]:
    """A signal's handler that also keeps what it raises."""

    def handle(number: int, frame: FrameType | None) -> Any:
        try:
            return handler(number, frame)
        except BaseException as error:
            raised.append(error)
            raise

    return handle


def services_in_python(processes: Iterable[psutil.Process]) -> set[psutil.Process]:
    """Ray's log monitor, autoscaler and dashboard, which `ray.init` always starts. No task of a Ray of this host needs
    them, and their timers interrupt trials that use every CPU."""
    found = set()
    for process in processes:
        with contextlib.suppress(psutil.Error):
            if Path(process.exe()).samefile(sys.executable):
                found.add(process)
    return found


def _check_reachable(address: str) -> None:
    """ValueError where nothing listens at HOST:PORT, for which Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT).close()
    except (OSError, ValueError) as error:
        raise ValueError(
            f"no Ray cluster answers at {address}: give HOST:PORT of `ray start --head` ({error})"
        ) from None
