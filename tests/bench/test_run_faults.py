"""Many real processes, one of which fails: all of them end soon, it is said which one and why, and trials are kept."""

import contextlib
import os
import re
import signal
import socket
import sys
import time

import psutil
import pytest

from tests.bench.conftest import (
    EVERY_RANK_WAS_STOPPED,
    MANY,
    RUN,
    SMALL,
    TRAPPED,
    environment,
    launch,
    only_run,
    wait,
    wait_for_a_trial,
)

pytestmark = pytest.mark.slow
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node")
QUIET = (*SMALL, "--device", "cpu", "--threads", "1", "--quiet", "--trials", "3", "--timeout", "3600")
"""a run that ended after its --timeout alone would count as hung"""


def trapped(folder, what, *options, rank=1, size=2, launcher=TORCHRUN):
    """How a run ended in which something happened to a process in its second trial."""
    variables = environment(TRAP=what, TRAP_RANK=str(rank), TRAP_SEED="1", OMP_NUM_THREADS="1")
    process = launch(*launcher, size, TRAPPED, *QUIET, *options, cwd=folder, variables=variables)
    ended = wait(process)
    assert ended.status != 0
    check_nobody_is_left(process.pid)
    return ended


def check_nobody_is_left(session):
    """`launch` gives every command a session of its own."""

    def is_left(process):
        with contextlib.suppress(psutil.Error, OSError):
            return os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE
        return False

    end = time.monotonic() + 60
    while left := [process for process in psutil.process_iter() if is_left(process)]:
        assert time.monotonic() < end, left
        time.sleep(0.1)


def check_resumed(folder, run):
    """`--resume` completes a run that has its first trial."""
    ended = wait(launch(*TORCHRUN, 2, RUN, *QUIET[2:6], "--resume", run.path, cwd=folder))
    assert ended.status == 0, ended.err
    resumed = only_run(folder / "runs")
    assert (resumed.record.status, [trial.seed for trial in resumed.trials]) == ("finished", [0, 1, 2])
    assert resumed.trials[0] == run.trials[0]


def test_the_other_rank_says_which_one_hangs(tmp_path):
    ended = trapped(tmp_path, "hang and be given up")
    cause = r"rank 1 \(process \d+\) did not answer: it hangs, or .*[Tt]imed out"
    run = only_run(tmp_path / "runs")
    assert run.record.status == "failed"
    assert re.search(cause, run.record.reason), (run.record.reason, ended.err)
    assert re.search(cause, ended.err)
    assert [trial.seed for trial in run.trials] == [0]


def test_an_elastic_restart_goes_on_from_the_last_finished_trial(tmp_path):
    """The other rank said which one was killed, and recorded it, before torchrun started both again."""
    variables = environment(TRAP="kill", TRAP_RANK="1", TRAP_SEED="1", OMP_NUM_THREADS="1")
    elastic = (*TORCHRUN[:-1], "--max_restarts", "1", TORCHRUN[-1])
    ended = wait(launch(*elastic, 2, TRAPPED, *QUIET, cwd=tmp_path, variables=variables))
    assert ended.status == 0, ended.err
    cause = r"rank 1 \(process \d+\) was killed or crashed"
    assert re.search(cause, ended.err)
    assert re.search(f"before the restart: failed, {cause}", ended.out), ended.out
    run = only_run(tmp_path / "runs")
    assert (run.record.status, [trial.seed for trial in run.trials]) == ("finished", [0, 1, 2])
    assert "trial 1/3, seed 0" in ended.out
    assert "trial 1/2, seed 1" in ended.out


def test_a_restart_over_two_machines_meets_again_and_goes_on(tmp_path):
    """Two launchers, as on two machines. That of rank 0 counts no restart: none of its processes has failed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    what = "kill one and let the others wait"
    variables = environment(TRAP=what, TRAP_RANK="1", TRAP_SEED="1", OMP_NUM_THREADS="1")
    meeting = ("--rdzv_backend", "c10d", "--rdzv_id", "two", "--rdzv_endpoint", f"127.0.0.1:{port}")
    nodes = ("-m", "torch.distributed.run", "--nnodes", "2", "--nproc_per_node", "1", "--max_restarts", "1", *meeting)
    options = (*QUIET, "--timeout", "60")
    processes = [launch(*nodes, TRAPPED, *options, cwd=tmp_path, variables=variables) for _ in range(2)]
    try:
        ended = [wait(process) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [one.status for one in ended] == [0, 0], ended
    run = only_run(tmp_path / "runs")
    assert (run.record.status, [trial.seed for trial in run.trials]) == ("finished", [0, 1, 2])


def test_rank_0_is_killed(tmp_path):
    ended = trapped(tmp_path, "kill", rank=0)
    assert re.search(r"\[rank1\]: .*error: rank 0 \(process \d+\) was killed or crashed", ended.err), ended.err
    run = only_run(tmp_path / "runs")
    assert [trial.seed for trial in run.trials] == [0]
    check_resumed(tmp_path, run)


def test_one_of_three_raises(tmp_path):
    ended = trapped(tmp_path, "raise", "batch_size=48", rank=2, size=3)
    run = only_run(tmp_path / "runs")
    assert (run.record.status, run.record.reason) == ("failed", "rank 2: ZeroDivisionError: planted")
    assert [trial.seed for trial in run.trials] == [0]
    assert "rank 2: ZeroDivisionError: planted" in ended.err


def test_unlike_processes_are_refused_before_anything_is_written(tmp_path):
    """Each says why, unless the launcher stops it before because the other has ended."""
    ended = trapped(tmp_path, "data")
    message = "the processes must have the same data: rank 0 has '"
    counts = [ended.err.count(f"[rank{rank}]: bench/run.py: error: {message}") for rank in (0, 1)]
    assert set(counts) in ({1}, {0, 1}), ended.err
    assert not (tmp_path / "runs").exists()


def test_one_process_where_two_were_asked_for(tmp_path):
    """What `accelerate launch --cpu` does without a word."""
    two = ("-m", "accelerate.commands.launch", "--cpu", "--num_processes", 2)
    ended = wait(launch(*two, RUN, *QUIET, cwd=tmp_path))
    assert ended.status != 0
    assert "error: accelerate launch was asked for several processes and started one" in ended.err
    assert "accelerate launch --multi_gpu --num_processes N" in ended.err
    assert not (tmp_path / "runs").exists()


def test_a_sigterm_to_torchrun_is_no_failure(tmp_path):
    process = launch(*TORCHRUN, 2, RUN, *QUIET, "epochs=20", "--trials", MANY, cwd=tmp_path)
    try:
        wait_for_a_trial(tmp_path, process)
        process.send_signal(signal.SIGTERM)
        ended = wait(process)
    finally:
        process.kill()
    run = only_run(tmp_path / "runs")
    assert run.record.status == "interrupted", ended.err
    assert run.record.reason in EVERY_RANK_WAS_STOPPED, ended.err
    check_nobody_is_left(process.pid)


@pytest.mark.skipif(sys.platform != "linux", reason="the memory of a process is limited on Linux alone")
@pytest.mark.parametrize("launcher", [(), (*TORCHRUN, "2")])
def test_a_training_that_exceeds_the_memory_limit_fails_with_one_line(tmp_path, launcher):
    words = ("digits/quick", "model.widths=[512,512]", "--memory-limit", "40MiB", "--threads", "1", "--device", "cpu")
    ended = wait(launch(*launcher, RUN, *words, cwd=tmp_path, variables=environment(OMP_NUM_THREADS="1")))
    assert ended.status != 0
    (message,) = [line for line in ended.err.splitlines() if "--resume" in line]
    assert "OutOfMemoryError: " in message
    assert "(--memory-limit 40 MiB); finished trials are kept" in message
    assert "Traceback (most recent call last)" not in ended.err.partition(message)[0]
    run = only_run(tmp_path / "runs")
    assert (run.record.status, run.is_out_of_memory) == ("failed", True)
