"""A process that is blocked in a C call, as in one of NCCL's collective operations, is ended and names the cause."""

import contextlib
import ctypes
import itertools
import os
import signal
import socket
import subprocess
import time

import pytest
import torch.distributed as dist

from pipelines.distributed import failures, process_group
from pipelines.distributed.process_group import World
from tests.forks import FORKS

READY = 120
"""seconds until both processes have begun, on a machine that has other work to do"""


def life(what, rank, port, ready, errors):
    """One of two processes to which something happens once both, and the test, are ready."""
    place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    os.environ |= place | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    world = process_group.join("cpu")
    mine = (f"host of {rank}", os.getpid()) if what == "silent" else failures.place()
    places = world.gather(mine)
    with failures.Watcher(world, places, print):
        world.barrier()  # an earlier run, which both have left in good order
    with (
        contextlib.suppress(ZeroDivisionError),
        failures.Watcher(world, places, errors.write_text, silence=4, interval=0.2),
    ):
        world.barrier()
        ready.wait(READY)
        if rank == 1 and what == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if rank == 1 and what == "raises":
            raise ZeroDivisionError("planted")
        if what != "ends":
            ctypes.CDLL(None).sleep(1000)  # releases Python's lock, and lets no exception through
        elif rank == 0:
            ctypes.CDLL(None).sleep(3)  # the other one has left in good order


CAUSES = {
    "killed": "rank 1 (process {}) was killed or crashed",
    "raises": "rank 1: ZeroDivisionError: planted",
    "silent": "rank 1 (process {}) gave no sign of life for 4 s",
}


def start(what, folder):
    """Two processes, and the barrier at which they wait in their block for this one."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ready = FORKS.Barrier(3)
    pair = [
        FORKS.Process(target=life, args=(what, rank, port, ready, folder / f"{what} {rank}"), daemon=True)
        for rank in (0, 1)
    ]
    for process in pair:
        process.start()
    return pair, ready


@pytest.mark.slow
def test_a_blocked_process_ends_and_says_which_one_failed_and_how(tmp_path):
    started = {what: start(what, tmp_path) for what in (*CAUSES, "ends")}
    pairs = {what: pair for what, (pair, _) in started.items()}
    try:
        for _, ready in started.values():
            ready.wait(READY)
        os.kill(pairs["silent"][1].pid, signal.SIGSTOP)
        began = time.monotonic()
        for what, cause in CAUSES.items():
            first, second = pairs[what]
            first.join(60)
            assert first.exitcode == 1, what
            assert (tmp_path / f"{what} 0").read_text() == cause.format(second.pid)
        assert time.monotonic() - began < 60
        pairs["ends"][0].join(60)
        assert pairs["ends"][0].exitcode == 0
    finally:
        for process in (process for pair in pairs.values() for process in pair):
            process.kill()
            process.join()


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
    ended = subprocess.Popen(["true"])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    assert failures._is_gone((here[0], ended.pid), here), "a zombie, which its parent has not waited for"
    ended.wait()
    assert failures._is_gone((here[0], ended.pid), here)
    monkeypatch.setattr(failures, "process_table", lambda: "another machine of the same name")
    assert not failures._is_gone((failures.place()[0], ended.pid), here)
