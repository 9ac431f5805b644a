"""bench/run.py in a process of its own, and its `main` in this one, both with a temporary --out."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest
import torch

from bench import run
from bench.command_line import jobs
from bench.training import run_trials
from bench.training.live_view import TrialLines, make_views
from pipelines.distributed.process_group import World
from pipelines.host import runtime
from results import store
from results.record import Run, TrialRecord

ROOT = Path(__file__).resolve().parents[2]
RUN = ROOT / "bench" / "run.py"
TRAPPED = Path(__file__).with_name("trap.py")
"""bench/run.py in which something happens in the middle of a trial"""
TIMEOUT = 400
"""seconds until a process counts as hung, on a machine that has other work to do"""
MANY = 1000
"""trials that do not end before a test has seen the first and sends a signal, however late it gets to run"""

ONE_THREAD = ("--threads", "1", "--device", "cpu")
SMALL = ("model.widths=[4]", "epochs=2")
"""digits/quick so small that starting up is all the time it takes"""
EVERY_RANK_WAS_STOPPED = ("SIGTERM", "rank 0 was stopped by SIGTERM", "rank 1 was stopped by SIGTERM")
"""reasons in the record of two processes: a rank may learn of the other's signal before it gets its own"""


class Ended(NamedTuple):
    """What the caller of a command sees."""

    status: int
    out: str
    err: str


def environment(**changes: str) -> dict[str, str]:
    """Variables for a process that finds this tree, and chooses its threads by itself."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "PYTEST_"))}
    return kept | {"PYTHONPATH": str(ROOT)} | changes


def with_default_signals() -> None:
    """A shell's background jobs ignore Ctrl-C, those of nohup SIGHUP, and so would what we start from one."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def launch(
    *command: object, cwd: Path, variables: dict[str, str] | None = None, stdin: int | None = None
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *map(str, command)],
        cwd=cwd,
        env=variables or environment(),
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=with_default_signals,
    )


def wait(process: subprocess.Popen[str], timeout: float = TIMEOUT) -> Ended:
    """Wait for the end; a process that hangs is killed with its children."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return Ended(process.returncode, out, err)


def command(*arguments: object, cwd: Path, variables: dict[str, str] | None = None) -> Ended:
    """`python bench/run.py …` in a process of its own. Records go to `cwd`/runs."""
    return wait(launch(RUN, *arguments, cwd=cwd, variables=variables))


def only_run(folder: Path) -> Run:
    """The one run under a folder."""
    (found,) = store.find([folder])
    return found


def measured(trial: TrialRecord) -> dict[str, object]:
    """What a seed decides: all of a trial but times, memory and its place in the run."""
    return trial.model_dump(
        exclude={"index", "laps", "peak_host_bytes", "peak_device_bytes", "started", "ended"}
        | {"foreign_load", "suspended_seconds"}
    )


def train(*arguments: str, view: TrialLines | None = None, world: World | None = None) -> Run:
    """The first job of a command line, trained in this process."""
    options = jobs.parse([*ONE_THREAD, "--trials", "2", *arguments])
    (job, *_) = jobs.jobs(options)
    return run_trials.train(job, options, world or World(), view or make_views(1, is_main=False)[0])


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """As under `--threads 1`: what is summed by one thread is the same every time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def call(tmp_path, monkeypatch, capsys, one_thread):
    """Calls the `main` of a command in this process, in `tmp_path`."""
    monkeypatch.setattr(runtime, "prepare", lambda threads: None)  # it wants to come before torch
    monkeypatch.chdir(tmp_path)

    def call(command: ModuleType, *arguments: object) -> Ended:
        words = list(map(str, arguments))
        monkeypatch.setattr(sys, "argv", [f"bench/{Path(command.__file__).name}", *words])
        try:
            status = command.main(words)
        except SystemExit as leaving:
            status = leaving.code
        return Ended(status, *capsys.readouterr())

    return call


@pytest.fixture
def main(call):
    """`bench/run.py …` in this process. Records go to `tmp_path`/runs."""
    return partial(call, run, *ONE_THREAD)


def wait_for_a_trial(folder, process):
    """Return when a whole line is in trials.jsonl."""
    end = time.monotonic() + TIMEOUT
    while not any(path.read_bytes().count(b"\n") for path in folder.glob("runs/*/trials.jsonl")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.005)


def settled(run):
    return [measured(trial) for trial in run.trials]


def error_of(ended):
    """The one line on stderr of a command that its caller can mend."""
    assert ended.status == 2, ended
    assert ended.err.startswith("bench/run.py: error: ")
    assert ended.err.endswith("\n")
    assert ended.err.count("\n") == 1, ended.err
    return ended.err


@pytest.fixture(scope="session")
def first_run(tmp_path_factory):
    """(what the caller saw, seconds, folder) of a shortened first run, in which a warning of ours would be an error."""
    folder = tmp_path_factory.mktemp("first")
    start = time.monotonic()
    ended = wait(launch("-W", "error::UserWarning", RUN, *SMALL, *ONE_THREAD, cwd=folder))
    return ended, time.monotonic() - start, folder


@pytest.fixture(autouse=True)
def ctrl_c_interrupts() -> Iterator[None]:
    """Also where the tests run in the background, whose shell has Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
