"""bench/run.py under accelerate launch, and on a terminal."""

import contextlib
import os
import pty
import signal
import sys
import time

import psutil
import pytest

from tests.bench.conftest import (
    EVERY_RANK_WAS_STOPPED,
    MANY,
    ONE_THREAD,
    RUN,
    SMALL,
    TIMEOUT,
    environment,
    launch,
    only_run,
    wait,
    wait_for_a_trial,
)

LONG = ("model.widths=[16]", "epochs=10")
"""digits/quick with trials that a signal comes into, not between them"""


@pytest.mark.slow
def test_a_terminal_gets_a_bar_that_is_taken_down(tmp_path):
    """A process on a pseudo-terminal, whose output is read until it ends."""
    child, terminal = pty.fork()
    if not child:
        os.chdir(tmp_path)
        os.execve(sys.executable, [sys.executable, str(RUN), *SMALL, *ONE_THREAD], environment(TERM="xterm"))
    output = b""
    try:
        while chunk := os.read(terminal, 4096):
            output += chunk
    except OSError:  # Linux says so when the other end is closed
        pass
    _, status = os.waitpid(child, 0)
    text = output.decode()
    assert os.waitstatus_to_exitcode(status) == 0, text
    assert "warming up" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1
    assert "trial 3/3, seed 2" in text


@pytest.mark.slow
def test_a_sigterm_to_the_launcher_stops_what_it_launched(tmp_path):
    """Of the one process too, which the launcher does not wait for: it would train on with nobody to see it."""
    launched = ("-m", "accelerate.commands.launch", RUN, *LONG, *ONE_THREAD, "--trials", MANY)
    process = launch(*launched, cwd=tmp_path)
    try:
        wait_for_a_trial(tmp_path, process)
        process.terminate()
        end = time.monotonic() + TIMEOUT
        while (run := only_run(tmp_path / "runs")).record.status == "running" and time.monotonic() < end:
            time.sleep(0.05)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
    assert run.record.status == "interrupted"
    assert run.record.reason in EVERY_RANK_WAS_STOPPED
    assert 1 <= len(run.trials) < MANY


WITH_TWO_GPUS = """\
import sys
from pipelines.host import runtime

def prepare(threads, before=runtime.prepare):
    before(threads)
    import torch
    torch.cuda.is_available, torch.cuda.device_count = lambda: True, lambda: 2

runtime.prepare = prepare
from bench import run
sys.exit(run.main())
"""


@pytest.mark.slow
def test_more_processes_than_gpus_end_at_once_with_one_line_each(tmp_path):
    """None waits for the others, which would take the whole --timeout. The launcher stops those that are slower."""
    (tmp_path / "with_two_gpus.py").write_text(WITH_TWO_GPUS)
    three = ("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", 3, "--main_process_port", 0)
    ended = wait(launch(*three, "with_two_gpus.py", "--timeout", 3600, cwd=tmp_path))
    assert ended.status != 0
    lines = [line for line in ended.err.splitlines() if "bench/run.py: " in line]
    message = "3 processes on this host and 2 visible CUDA devices: launch 2, or use --device cpu"
    expected = {f"[rank{rank}]: bench/run.py: error: rank {rank}: {message}" for rank in range(3)}
    assert lines
    assert len(lines) == len(set(lines))
    assert set(lines) <= expected
    assert not (tmp_path / "runs").exists()


def processes_by_rank(launcher):
    """The processes of bench/run.py that a launcher started."""
    found = {}
    for child in psutil.Process(launcher.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if (rank := child.environ().get("RANK")) is not None and str(RUN) in child.cmdline():
                found[int(rank)] = child
    return found


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_is_stopped_is_named_by_all_and_in_the_record(tmp_path, rank):
    two = ("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", 2, "--main_process_port", 0)
    process = launch(*two, RUN, *LONG, *ONE_THREAD, "--trials", MANY, cwd=tmp_path)
    try:
        wait_for_a_trial(tmp_path, process)
        processes_by_rank(process)[rank].terminate()
        ended = wait(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    run = only_run(tmp_path / "runs")
    cause = f"rank {rank} was stopped by SIGTERM"
    assert (run.record.status, run.record.reason) == ("interrupted", cause)
    assert ended.status != 0
    assert ended.err.count(cause) >= 2, ended.err
    assert 1 <= len(run.trials) < MANY
