"""A process that is blocked in a C call, as in one of NCCL's collective operations, is ended and names the cause."""

import contextlib
import ctypes
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from types import SimpleNamespace

import pytest
import torch.distributed as dist

from pipelines.distributed import failures, process_group
from pipelines.distributed.process_group import World
from pipelines.host.suspension import AwakeClock
from tests.forks import FORKS
from tests.pipelines.processes import meeting_place

PATIENCE = 120
"""seconds until each pair has ended, on a machine that has other work to do"""


def life(what, rank, variables, errors):
    """One of two processes to which something happens."""
    place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    os.environ |= place | variables
    world = process_group.join("cpu")
    mine = (f"host of {rank}", os.getpid()) if what == "silent" else failures.place()
    places = world.gather(mine)
    with failures.Watcher(world, places, print):
        world.barrier()  # an earlier run, which both have left in good order
    errors.with_suffix(".begins").touch()
    silence = 4 if what == "silent" else failures.SILENCE  # the others may have to wait for a processor
    with (
        contextlib.suppress(ZeroDivisionError),
        failures.Watcher(world, places, errors.write_text, silence=silence, interval=0.2),
    ):
        world.barrier()
        errors.with_suffix(".watches").touch()
        while not errors.with_name(f"{what} 0.watches").exists():
            time.sleep(0.01)
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
    """Two processes, and the store in which they meet."""
    store, variables = meeting_place()
    pair = [
        FORKS.Process(target=life, args=(what, rank, variables, folder / f"{what} {rank}"), daemon=True)
        for rank in (0, 1)
    ]
    for process in pair:
        process.start()
    return pair, store


@pytest.mark.slow
def test_a_blocked_process_ends_and_says_which_one_failed_and_how(tmp_path):
    started = {what: start(what, tmp_path) for what in (*CAUSES, "ends")}
    pairs = {what: pair for what, (pair, _) in started.items()}
    try:
        while not (tmp_path / "silent 1.begins").exists():
            assert pairs["silent"][1].is_alive()
            time.sleep(0.01)
        os.kill(pairs["silent"][1].pid, signal.SIGSTOP)
        for what, cause in CAUSES.items():
            first, second = pairs[what]
            first.join(PATIENCE)
            assert first.exitcode == 1, what
            assert (tmp_path / f"{what} 0").read_text() == cause.format(second.pid)
        pairs["ends"][0].join(PATIENCE)
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


LIVES = [("host", 1), ("host", 2)]
"""where two processes run"""


@pytest.fixture
def store(monkeypatch):
    """The store of all processes, in this one."""
    made = dist.HashStore()
    monkeypatch.setattr(failures, "_at_store", lambda action: action(made))
    return made


@pytest.mark.parametrize("wait", [failures.find_cause, failures.stopped])
def test_a_process_that_reports_its_error_and_ends_during_a_look_is_the_cause(monkeypatch, store, wait):
    def is_gone(theirs, mine):
        failures._write(store, failures._KEY, 1, "ZeroDivisionError: planted")
        return True

    monkeypatch.setattr(failures, "_is_gone", is_gone)
    arguments = ("SIGTERM",) if wait is failures.stopped else ()
    found = wait(World(0, 2), LIVES, *arguments, patience=0)
    assert (found if wait is failures.stopped else found[0]) == "rank 1: ZeroDivisionError: planted"


def silence_of_another(monkeypatch, steps):
    """When a watcher gives up a process that says nothing: at which of its looks, which lie so many seconds apart."""
    now, looks = 0.0, []

    class EndError(Exception):
        pass

    def on_failure(cause):
        looks.append(cause)
        raise EndError

    def wait(interval):
        nonlocal now
        looks.append(now)
        now += steps[len(looks) - 1] if len(looks) <= len(steps) else interval
        return False

    monkeypatch.setattr(failures, "AwakeClock", partial(AwakeClock, now=lambda: now, active=lambda: 0.0))
    watcher = failures.Watcher(World(0, 2), [("here", 1), ("there", 2)], on_failure, silence=60, interval=1.0)
    watcher._left = SimpleNamespace(wait=wait)
    with pytest.raises(EndError):
        watcher._watch()
    *times, cause = looks
    assert cause == "rank 1 (process 2) gave no sign of life for 60 s"
    return times[-1]


@pytest.mark.usefixtures("store")
def test_silence_while_this_process_was_suspended_does_not_count(monkeypatch):
    assert silence_of_another(monkeypatch, steps=[]) == 60
    assert 3650 < silence_of_another(monkeypatch, steps=[1, 1, 3600, 1]) < 3660


def test_a_process_that_leaves_in_good_order_and_ends_during_a_look_is_no_failure(monkeypatch, store):
    causes, looked = [], threading.Event()
    watcher = failures.Watcher(World(0, 2), LIVES, causes.append, interval=0.01)

    def is_gone(theirs, mine):
        failures._write(store, watcher._left_key, 1, "")
        looked.set()
        return True

    monkeypatch.setattr(failures, "_is_gone", is_gone)
    monkeypatch.setattr(failures.os, "_exit", sys.exit)  # it ends the thread alone
    with watcher:
        assert looked.wait(PATIENCE)
    assert causes == []
