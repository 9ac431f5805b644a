"""Which of several processes ended a run: by what the processes report in their store, and by which are still alive."""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TypeVar

import psutil
import torch.distributed as dist

from pipelines.distributed.process_group import World, first_line

Result = TypeVar("Result")

PATIENCE = 5.0
"""seconds in which the processes that are alive report what they know"""
STORE_PATIENCE = 2.0
"""seconds in which the store must answer"""
_KEY = "paceline/broke_off/"
_MAIN_REPORTED = "paceline/main_reported"


class PeerError(RuntimeError):
    """Another process is gone or does not answer; this one did nothing wrong."""


Place = tuple[str, int]
"""the host and the number of a process"""


def place(host: object) -> Place:
    """Where this process runs, as `explain` needs it of all of them."""
    return str(host), os.getpid()


def is_of_a_peer(error: BaseException) -> bool:
    """Whether communication with another process failed, and not this process."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error).lower())


def explain(world: World, error: BaseException, places: Sequence[Place]) -> str:
    """Why a run ended, with the rank that caused it, as far as this process can know.

    places: of all processes, in the order of their ranks. Takes up to PATIENCE seconds when it was another process.
    """
    own = f"{type(error).__name__}: {first_line(error)}"
    if world.size == 1:
        return own
    if not is_of_a_peer(error):
        _report(world.rank, own)
        return f"rank {world.rank}: {own}"
    cause, silent = find_cause(world, places, PATIENCE)
    if cause or not silent:
        return cause or own
    names = " and ".join(f"rank {rank} (process {places[rank][1]})" for rank in silent)
    return f"{names} did not answer: it hangs, or its machine cannot be reached (rank {world.rank}: {own})"


def find_cause(world: World, places: Sequence[Place], patience: float) -> tuple[str | None, list[int]]:
    """The error that another process reported, or that it is gone; and, if neither, the ranks that did not report.

    Reports that this process is not the cause. Takes `patience` seconds where none is found.
    """
    _report(world.rank, "")
    end = time.monotonic() + patience
    while True:
        reports = _reports(world)
        if causes := [f"rank {rank}: {text}" for rank, text in reports.items() if text]:
            return "; ".join(causes), []
        silent = [rank for rank in range(world.size) if rank not in reports and rank != world.rank]
        if gone := [rank for rank in silent if _is_gone(places[rank], places[world.rank])]:
            return "; ".join(f"rank {rank} (process {places[rank][1]}) was killed or crashed" for rank in gone), []
        if not silent or time.monotonic() > end:
            return None, silent
        time.sleep(0.1)


def wait_for_report_of_main(world: World) -> None:
    """Wait, at most STORE_PATIENCE seconds, until rank 0 has printed the error and called this too: the launcher stops
    it as soon as another process ends."""
    if world.size == 1:
        return
    if world.is_main:
        _at_store(lambda store: store.set(_MAIN_REPORTED, ""))
    else:
        _at_store(lambda store: store.wait([_MAIN_REPORTED], timedelta(seconds=STORE_PATIENCE)))


def _report(rank: int, text: str) -> None:
    _at_store(lambda store: store.set(f"{_KEY}{rank}", text))


def _reports(world: World) -> dict[int, str]:
    """The error of each rank that has reported; empty for a rank that is not the cause."""

    def read(store: dist.Store) -> dict[int, str]:
        keys = {rank: f"{_KEY}{rank}" for rank in range(world.size)}
        return {rank: store.get(key).decode() for rank, key in keys.items() if store.check([key])}

    return _at_store(read) or {}


def _at_store(action: Callable[[dist.Store], Result]) -> Result | None:
    """What an action on the store returns; None where the store is gone, with its process or behind a cut link.

    In a thread of its own, because torch waits for an answer without limit.
    """
    results: list[Result] = []

    def act() -> None:
        with contextlib.suppress(dist.DistError, RuntimeError, ValueError):
            results.append(action(dist.distributed_c10d._get_default_store()))

    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    thread.join(STORE_PATIENCE)
    return results[0] if results else None


def _is_gone(theirs: Place, mine: Place) -> bool:
    """Whether a process of this host has ended. One of another host is taken to live."""
    if theirs[0] != mine[0]:
        return False
    try:
        return psutil.Process(theirs[1]).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
