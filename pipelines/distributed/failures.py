"""Which of several processes ended a run: by what the processes report in their store, and by which are still alive."""

import contextlib
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TypeVar

import psutil
import torch.distributed as dist

from pipelines.distributed.process_group import World, summary_line
from pipelines.host.machine import process_table
from pipelines.host.suspension import LONGEST, AwakeClock

Result = TypeVar("Result")

PATIENCE = 5.0
"""seconds in which the processes that are alive report what they know"""
STORE_PATIENCE = 2.0
"""seconds in which the store must answer"""
SILENCE = 60.0
"""seconds without a sign of life after which a process counts as lost"""
STOPPED = "was stopped by"
"""how the report of a process begins that a signal has ended"""
UNDECIDED = "\n?"
"""how that report ends as long as the process waits for the others, which may have got the signal too"""
_KEY = "paceline/broke_off/"
_WATCHERS = itertools.count()
_MAIN_REPORTED = "paceline/main_reported"


class PeerError(RuntimeError):
    """Another process is gone or does not answer; this one did nothing wrong."""


Place = tuple[str, int]
"""a table of processes, and the number of one in it"""


def place() -> Place:
    """Where this process runs, as `explain` needs it of all of them."""
    return process_table(), os.getpid()


def is_of_a_peer(error: BaseException) -> bool:
    """Whether communication with another process failed, and not this process."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error).lower())


def explain(world: World, error: BaseException, places: Sequence[Place]) -> str:
    """Why a run ended, with the rank that caused it, as far as this process can know.

    places: of all processes, in the order of their ranks. Takes up to PATIENCE seconds when it was another process.
    """
    own = f"{type(error).__name__}: {summary_line(error)}"
    if world.size == 1:
        return own
    if not is_of_a_peer(error):
        _report(world.rank, own)
        return f"rank {world.rank}: {own}"
    cause, silent = find_cause(world, places, PATIENCE)
    if cause or not silent:
        return cause or own
    names = _names(silent, places)
    return f"{names} did not answer: it hangs, or its machine cannot be reached (rank {world.rank}: {own})"


def find_cause(world: World, places: Sequence[Place], patience: float) -> tuple[str | None, list[int]]:
    """The error that another process reported, or that it is gone; and, if neither, the ranks that did not report.

    Reports that this process is not the cause. Takes `patience` seconds where none is found.
    """
    _report(world.rank, "")
    clock = _clock()
    while True:
        reports, gone = _look(world, places)
        if cause := _reported(_decided(reports)):
            return cause, []
        silent = [rank for rank in range(world.size) if rank not in reports and rank != world.rank]
        if gone:
            return _gone(gone, places), []
        if not silent or clock() > patience:
            return None, silent
        time.sleep(0.1)


def stopped(world: World, places: Sequence[Place], signal: str, patience: float) -> str | None:
    """Report that a signal has ended this process. Returns why the run ended, unless all processes got the signal.

    That is the error of another process, or which processes got the signal alone. A launcher sends the signal to all
    at once, or to the others when one process has ended. So a process that got it does not end before all have got it
    or `patience` seconds are over. Then it reports that it was stopped alone, for those that get it later.
    """
    report = f"{STOPPED} {signal}"
    _report(world.rank, report + UNDECIDED)
    clock = _clock()
    while True:
        reports, gone = _look(world, places)
        if cause := _reported(_decided(reports)):
            return cause
        silent = [rank for rank in range(world.size) if rank not in reports]
        if not silent:
            return None
        if gone:
            return _gone(gone, places)
        if clock() > patience:
            _report(world.rank, report)
            return _reported(reports | {world.rank: report})
        time.sleep(0.1)


def is_stop(text: str) -> bool:
    """Whether a report or a cause says that a signal ended a process."""
    return STOPPED in text


class Watcher:
    """A thread on every process that ends it when another one has failed, is gone or is not heard from.

    The main thread may be blocked in a C call, as it is in NCCL's collective operations: there it can neither raise nor
    handle a signal, and torch would abort the process without naming the cause. A process that leaves the `with` block
    first reports its own error, so that the others learn of it.

    on_failure: gets the cause, in the thread; then the process ends with status 1. silence: seconds without a sign of
    life after which a process counts as lost, without those in which this process was suspended.
    """

    def __init__(
        self,
        world: World,
        places: Sequence[Place],
        on_failure: Callable[[str], None],
        silence: float = SILENCE,
        interval: float = 1.0,
    ) -> None:
        self._world, self._places, self._on_failure = world, places, on_failure
        self._silence, self._interval = silence, interval
        self._left = threading.Event()
        number = next(_WATCHERS)  # the same on all processes, which watch in the same order
        self._alive_key, self._left_key = (f"paceline/watcher/{number}/{what}/" for what in ("alive", "left"))
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Watcher":
        if self._world.size > 1:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        if self._world.size == 1:
            return
        if isinstance(error, Exception) and not is_of_a_peer(error):
            _report(self._world.rank, f"{type(error).__name__}: {summary_line(error)}")
        _at_store(lambda store: _write(store, self._left_key, self._world.rank, ""))
        self._left.set()
        self._thread.join()  # which does not return when the thread is about to end the process

    def _watch(self) -> None:
        others = [rank for rank in range(self._world.size) if rank != self._world.rank]
        beats = dict.fromkeys(others, "")
        clock = _clock(self._interval)
        heard = dict.fromkeys(others, clock())
        count = 0
        while not self._left.wait(self._interval):
            count += 1
            ended = _ended(self._world, self._places, others)  # before it reads the store, as in `_look`
            reports, latest, left = _at_store(lambda store, count=count: self._exchange(store, count)) or ({}, {}, {})
            now = clock()
            for rank in others:
                if latest.get(rank, beats[rank]) != beats[rank]:
                    beats[rank], heard[rank] = latest[rank], now
            heard = {rank: since for rank, since in heard.items() if rank not in left}
            others = list(heard)
            cause = self._cause(reports, {rank: now - since for rank, since in heard.items()}, ended)
            if cause and not (is_stop(cause) and self._left.wait(self._interval)):
                self._on_failure(cause)
                os._exit(1)

    def _exchange(self, store: dist.Store, count: int) -> tuple[dict[int, str], dict[int, str], dict[int, str]]:
        """Give a sign of life; read the errors, the signs of life and who has left."""
        _write(store, self._alive_key, self._world.rank, str(count))
        ranks = range(self._world.size)
        return _read(store, _KEY, ranks), _read(store, self._alive_key, ranks), _read(store, self._left_key, ranks)

    def _cause(self, reports: dict[int, str], silent: dict[int, float], ended: Sequence[int]) -> str | None:
        """Why the run cannot go on; None: it can. `silent`: since how many seconds each of the others is not heard."""
        if cause := _reported(_decided(reports)):
            return cause
        if gone := [rank for rank in ended if rank in silent]:
            return _gone(gone, self._places)
        if lost := [rank for rank, seconds in silent.items() if seconds > self._silence]:
            return f"{_names(lost, self._places)} gave no sign of life for {self._silence:g} s"
        return None


def wait_for_report_of_main(world: World) -> None:
    """Wait, at most STORE_PATIENCE seconds, until rank 0 has printed the error and called this too: the launcher stops
    it as soon as another process ends."""
    if world.size == 1:
        return
    if world.is_main:
        _at_store(lambda store: store.set(_MAIN_REPORTED, ""))
    else:
        _at_store(lambda store: store.wait([_MAIN_REPORTED], timedelta(seconds=STORE_PATIENCE)))


def _clock(interval: float = 0.0) -> AwakeClock:
    """One that is looked at every `interval` seconds, and as long as the store takes."""
    return AwakeClock(interval + STORE_PATIENCE + LONGEST)


def _report(rank: int, text: str) -> None:
    _at_store(lambda store: _write(store, _KEY, rank, text))


def _look(world: World, places: Sequence[Place]) -> tuple[dict[int, str], list[int]]:
    """What the processes have reported, and which have ended without a report.

    Who has ended is found out before the reports are read: a process reports before it ends.
    """
    ended = _ended(world, places, range(world.size))
    reports = _at_store(lambda store: _read(store, _KEY, range(world.size))) or {}
    return reports, [rank for rank in ended if rank not in reports]


def _write(store: dist.Store, key: str, rank: int, text: str) -> None:
    store.set(f"{key}{rank}", text)
    store.set(f"{key}any", "")


def _read(store: dist.Store, key: str, ranks: Iterable[int]) -> dict[int, str]:
    """What each rank that has written under a key has written.

    All processes ask one store every second. So it is asked about each rank only where some have written, and others
    have not.
    """
    if not store.check([f"{key}any"]):
        return {}
    names = {rank: f"{key}{rank}" for rank in ranks}
    if not store.check([*names.values()]):
        names = {rank: name for rank, name in names.items() if store.check([name])}
    return {rank: text.decode() for rank, text in zip(names, store.multi_get([*names.values()]), strict=True)}


def _decided(reports: Mapping[int, str]) -> dict[int, str]:
    """The reports without those of processes that wait whether the others are stopped too."""
    return {rank: text for rank, text in reports.items() if not text.endswith(UNDECIDED)}


def _reported(reports: Mapping[int, str]) -> str | None:
    """The errors that the ranks have reported. A rank that is not the cause has reported an empty one."""
    parts = [(rank, text.removesuffix(UNDECIDED)) for rank, text in reports.items() if text]
    return "; ".join(f"rank {rank} {text}" if is_stop(text) else f"rank {rank}: {text}" for rank, text in parts) or None


def _gone(ranks: Iterable[int], places: Sequence[Place]) -> str:
    return "; ".join(f"rank {rank} (process {places[rank][1]}) was killed or crashed" for rank in ranks)


def _names(ranks: Iterable[int], places: Sequence[Place]) -> str:
    return " and ".join(f"rank {rank} (process {places[rank][1]})" for rank in ranks)


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


def _ended(world: World, places: Sequence[Place], ranks: Iterable[int]) -> list[int]:
    """Those of the other processes that this one can see and that have ended."""
    return [rank for rank in ranks if rank != world.rank and _is_gone(places[rank], places[world.rank])]


def _is_gone(theirs: Place, mine: Place) -> bool:
    """Whether a process that this one can see has ended. Any other is taken to live."""
    if theirs[0] != mine[0]:
        return False
    try:
        return psutil.Process(theirs[1]).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
