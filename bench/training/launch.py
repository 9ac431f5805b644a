"""Runs as child processes: how one is started, what it reports, and how it ends with the process that started it."""

import contextlib
import os
import secrets
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import FrameType, TracebackType

from bench.command_line.cli import NO_VERDICT, ROOT, Terminated
from bench.training import events
from bench.training.events import Event
from pipelines.host import suspension

PATIENCE = 45.0
"""seconds that children have to end after SIGTERM, before they are killed. torchrun kills its processes after 30; they
are in sessions of their own, where killing the group of torchrun does not reach them"""
REPEATED = 1.0
"""seconds after a signal from which another one counts as the second: GNU `timeout` sends its signal twice at once"""

LAUNCHER_VARIABLES = ("RANK", "WORLD_SIZE", "OMP_NUM_THREADS", events.REPORTS, events.INTERLEAVED)
LAUNCHER_PREFIXES = ("ACCELERATE_", "MASTER_", "TORCHELASTIC_", "GROUP_", "LOCAL_", "ROLE_")
"""What `accelerate launch`, torchrun and we set for the processes that are started. Our children must not see ours: a
`--command` may start a Paceline of its own."""

STARTER = """
import os, signal, sys
parent, *command = sys.argv[1:]
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG, which execve keeps
if os.getppid() != int(parent):
    sys.exit(143)
try:
    os.execvp(command[0], command)
except OSError as error:
    sys.exit(f"{command[0]}: cannot be started: {error.strerror}")
"""
"""Becomes the command, after it has asked for SIGTERM at its parent's death."""


def ending_with_us(command: Sequence[str]) -> list[str]:
    """A command that gets SIGTERM when this process ends, also by SIGKILL."""
    return [sys.executable, "-I", "-S", "-c", STARTER, str(os.getpid()), *command]


def torchrun(processes: int) -> tuple[str, ...]:
    """The launcher of so many processes on this host: for one of them, Python itself."""
    several = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes))
    return (sys.executable, *(several if processes > 1 else ()))


Show = Callable[[Event], None]
"""prints an event"""


class LaunchError(ValueError):
    """A run that was launched has failed."""


@dataclass(frozen=True)
class Launch:
    """One `bench/run.py` to start."""

    arguments: tuple[str, ...]
    """of bench/run.py"""
    launcher: tuple[str, ...] = (sys.executable,)
    """what starts it, such as `accelerate launch`"""
    checkout: Path = ROOT
    """the tree whose bench/run.py it is"""
    variables: Mapping[str, str] = field(default_factory=dict)
    """set in its environment"""
    folder: Path | None = None
    """its working directory; None: that of this process"""
    errors: Path | None = None
    """a file that takes its standard error; None: that of this process"""

    @property
    def command(self) -> list[str]:
        """As a command line."""
        return [*self.launcher, str(self.checkout / "bench" / "run.py"), *self.arguments]

    def environment(self, given: Mapping[str, str]) -> dict[str, str]:
        """The variables of the child, made from those of this process."""
        own = {events.REPORTS: "1", "OMP_NUM_THREADS": "1"}  # without it torchrun warns; bench/run.py sets its own
        return without_launcher(given) | own | self.variables


def without_launcher(variables: Mapping[str, str]) -> dict[str, str]:
    """The environment without what a launcher of this process left in it."""
    return {
        name: value
        for name, value in variables.items()
        if name not in LAUNCHER_VARIABLES and not name.startswith(LAUNCHER_PREFIXES)
    }


class Child:
    """A launch that runs, in a process group of its own: a Ctrl-C in the terminal reaches it once, through us."""

    def __init__(self, launch: Launch) -> None:
        self.launch = launch
        self._is_stopped = False
        is_interleaved = events.INTERLEAVED in launch.variables  # any other has an empty input: nobody would answer it
        with launch.errors.open("wb") if launch.errors else contextlib.nullcontext() as errors:
            self._process = subprocess.Popen(  # noqa: S603  no shell
                ending_with_us(launch.command),
                env=launch.environment(os.environ),
                stdin=subprocess.PIPE if is_interleaved else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=launch.folder,
                encoding="utf-8",
                errors="replace",
                process_group=0,
            )

    def events(self) -> Iterator[Event]:
        """What it reports until it ends. Anything else that it prints goes to standard error."""
        assert self._process.stdout
        for line in self._process.stdout:
            other, event = events.decode(line)
            print(other, end="", file=sys.stderr)
            if event:
                yield event

    def permit_trial(self) -> None:
        """Let a child that waits train its next trial."""
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):  # it has ended; its status says how
            self._process.stdin.write("\n")
            self._process.stdin.flush()

    def stop(self, number: int) -> None:
        """Send a signal, once, to the process that was started. A launcher passes it on."""
        if not self._is_stopped:
            self._is_stopped = True
            self._process.send_signal(number)

    def wait(self) -> int:
        """Its exit status, as a shell counts it: 128 + N where signal N ended it.

        2 in place of 1, which bench/run.py never returns: launchers do, whatever the status of their processes.
        """
        status = self._process.wait()
        return NO_VERDICT if status == 1 else status if status >= 0 else 128 - status

    def terminate(self) -> None:
        """Ask it to end, if it runs."""
        if self._process.poll() is None:
            self._process.terminate()

    @property
    def has_ended(self) -> bool:
        """Whether its end has been noticed. The system may then give the number of its process group to another."""
        return self._process.returncode is not None

    def kill(self) -> None:
        """Kill its process group."""
        with contextlib.suppress(ProcessLookupError):  # all have ended
            os.killpg(self._process.pid, signal.SIGKILL)

    def end(self) -> None:
        """Ask it to end, if it runs, and kill it where that takes too long."""
        self.terminate()
        try:
            suspension.wait(self._process, PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()

    def close(self) -> None:
        """Return when it has ended; kill it where that takes too long."""
        try:
            suspension.within(PATIENCE, lambda limit: self._process.communicate(timeout=limit))
        except subprocess.TimeoutExpired:
            self.kill()
            self._process.communicate()


class Children:
    """The children of a command. A context: none of them outlives it, and SIGINT and SIGTERM are passed on once. A
    second one kills the children."""

    def __init__(self) -> None:
        self._children: list[Child] = []
        self.stopped_by: int | None = None
        """the signal that came, if one did"""
        self._stopped_at = 0.0

    def __enter__(self) -> "Children":
        """ValueError in one of several processes, each of which would start the same children."""
        if os.environ.get("WORLD_SIZE", "1") != "1":
            raise ValueError("this command starts processes itself: run it with python, without a launcher")
        self._handlers = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        for child in self._children:
            child.terminate()
        for child in self._children:
            child.close()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def start(self, launch: Launch) -> Child:
        """Start one. Raises as `raise_if_stopped`."""
        self.raise_if_stopped()
        child = Child(launch)
        self._children.append(child)
        if self.stopped_by:  # in the meantime
            child.stop(self.stopped_by)
        return child

    def run(self, launch: Launch, show: Show) -> int:
        """Start one, show what it reports, and return its exit status."""
        child = self.start(launch)
        for event in child.events():
            show(event)
        return child.wait()

    def run_or_raise(self, launch: Launch, show: Show) -> None:
        """Run one to its end. LaunchError where it fails; raises as `raise_if_stopped`."""
        self._require_success(launch, self.run(launch, show))

    def interleave(self, launches: Mapping[str, Launch], trials: int, show: Callable[[str, Event], None]) -> None:
        """Train `trials` trials of each launch, one at a time: A B, B A, A B, … `show` gets the name of the launch too.

        A drift of the machine then affects all launches equally. A launch starts when those before it have warmed up,
        so that none compiles or autotunes beside another. Raises as `run_or_raise`.
        """
        shared = {events.INTERLEAVED: secrets.token_hex(4)}
        running = []
        for name, one in launches.items():
            child = self.start(replace(one, variables={**one.variables, **shared}))
            show_its = partial(show, name)
            self._until_it_waits(child, show_its)
            running.append((child, show_its))
        for _ in range(trials):
            for child, show_its in running:
                child.permit_trial()
                self._until_it_waits(child, show_its)
            running.reverse()

    def raise_if_stopped(self) -> None:
        """KeyboardInterrupt after SIGINT, Terminated after SIGTERM."""
        if self.stopped_by:
            raise KeyboardInterrupt if self.stopped_by == signal.SIGINT else Terminated(self.stopped_by)

    def _until_it_waits(self, child: Child, show: Show) -> None:
        """Return when the child waits to train its next trial, or has trained them all."""
        for event in child.events():
            if isinstance(event, events.Waiting):
                return
            show(event)
        self._require_success(child.launch, child.wait())

    def _require_success(self, launch: Launch, status: int) -> None:
        self.raise_if_stopped()
        if status:
            raise LaunchError(f"{shlex.join(launch.command)} ended with status {status}")

    def _stop(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.stopped_by is None:
            self.stopped_by, self._stopped_at = number, now
            for child in self._children:
                child.stop(number)
        elif now - self._stopped_at >= REPEATED:
            for child in self._children:
                if not child.has_ended:
                    child.kill()
