"""A process that is blocked in a C call, as in one of NCCL's collective operations, is ended and names the cause."""

import itertools
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
import torch.distributed as dist

from pipelines.distributed import failures
from pipelines.distributed.process_group import World

PROGRAM = """
import ctypes, os, signal, sys
from pipelines.distributed import failures, process_group

what, rank = sys.argv[1:]
world = process_group.join("cpu")
say = lambda cause: print("cause:", cause, file=sys.stderr, flush=True)
mine = (f"host of {rank}", os.getpid()) if what == "silent" else failures.place()
places = world.gather(mine)
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


class Asked:
    """A store that counts what it is asked."""

    def __init__(self):
        self._store, self.count = dist.HashStore(), 0

    def __getattr__(self, name):
        self.count += 1
        return getattr(self._store, name)


def test_a_look_asks_the_store_as_little_for_many_processes_as_for_two(monkeypatch):
    """All processes look every second, and one thread answers them."""
    monkeypatch.setattr(failures, "_WATCHERS", itertools.repeat(0))
    counts = []
    for size in (2, 200):
        store, places = Asked(), [("host", rank) for rank in range(size)]
        watchers = [failures.Watcher(World(rank, size), places, print) for rank in range(size)]
        for watcher in watchers:
            watcher._exchange(store, 7)
        store.count = 0
        assert watchers[0]._exchange(store, 8) == ({}, {0: "8"} | dict.fromkeys(range(1, size), "7"), {})
        counts.append(store.count)
    assert counts[0] == counts[1]


def test_of_many_processes_those_that_have_written_are_read():
    store = dist.HashStore()
    for rank in (1, 3):
        failures._write(store, "key/", rank, f"of {rank}")
    assert failures._read(store, "key/", range(5)) == {1: "of 1", 3: "of 3"}


def test_a_process_of_another_machine_is_not_looked_for_here(monkeypatch):
    """Its number may be that of no process here, or of another one."""
    here = failures.place()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert failures._is_gone((here[0], ended.pid), here)
    monkeypatch.setattr(failures, "process_table", lambda: "another machine of the same name")
    assert not failures._is_gone((failures.place()[0], ended.pid), here)
