"""A process that is blocked in a C call, as in one of NCCL's collective operations, is ended and names the cause."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

PROGRAM = """
import ctypes, os, signal, sys
from pipelines.distributed import failures, process_group

what, rank = sys.argv[1:]
world = process_group.join("cpu")
say = lambda cause: print("cause:", cause, file=sys.stderr, flush=True)
places = world.gather(failures.place(f"host of {rank}" if what == "silent" else "host"))
with failures.Watcher(world, places, print):
    world.barrier()  # an earlier run, which both have left in good order
with failures.Watcher(world, places, say, silence=4, interval=0.2):
    world.barrier()
    print("process", os.getpid(), flush=True)
    if rank == "1" and what == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if rank == "1" and what == "raises":
        raise ZeroDivisionError("planted")
    if what != "ends":
        ctypes.CDLL(None).sleep(1000)  # releases Python's lock, and lets no exception through
    elif rank == "0":
        ctypes.CDLL(None).sleep(3)  # the other one has left in good order
"""
CAUSES = {
    "killed": "cause: rank 1 (process {}) was killed or crashed",
    "raises": "cause: rank 1: ZeroDivisionError: planted",
    "silent": "cause: rank 1 (process {}) gave no sign of life for 4 s",
}


def start(what):
    """Two processes, and the number of the second once both are in their block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    pair = []
    for rank in ("0", "1"):
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
        variables = os.environ | place | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", PROGRAM, what, rank]
        pair.append(subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    return pair


@pytest.mark.slow
def test_a_blocked_process_ends_and_says_which_one_failed_and_how():
    pairs = {what: start(what) for what in (*CAUSES, "ends")}
    try:
        for first, second in pairs.values():
            assert first.stdout.readline() == f"process {first.pid}\n", first.stderr.read()
            assert second.stdout.readline() == f"process {second.pid}\n"
        os.kill(pairs["silent"][1].pid, signal.SIGSTOP)
        began = time.monotonic()
        for what, cause in CAUSES.items():
            first, second = pairs[what]
            _, err = first.communicate(timeout=60)
            assert cause.format(second.pid) in err, (what, err)
            assert first.returncode == 1
        assert time.monotonic() - began < 60
        _, err = pairs["ends"][0].communicate(timeout=60)
        assert pairs["ends"][0].returncode == 0, err
    finally:
        for process in (process for pair in pairs.values() for process in pair):
            process.kill()
            process.wait()
