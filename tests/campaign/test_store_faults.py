"""Writers of runs that are killed, stopped, slowed down or out of room: no trial is lost and none is there twice.

A writer is a forked process. It tells its parent through a pipe of every trial that `append` has returned from.
"""

import contextlib
import json
import os
import random
import resource
import select
import signal
import time
from collections import Counter
from datetime import timedelta

import pytest

from results import cache, samples, store
from tests.campaign.conftest import Row
from tests.results.builders import CREATED, record, trial

pytestmark = pytest.mark.campaign
ROUNDS = 200
SEEDS = list(range(20_000))


def new_run(tmp_path, **changes):
    return store.create(tmp_path / "runs", record(**({"seeds": SEEDS} | changes))).path


def write(path, pipe, slow=0.0, clock=lambda number: 0.0):
    """Resume the run and append trials until something ends the process."""
    if slow:
        fsync = os.fsync
        os.fsync = lambda file: (time.sleep(slow), fsync(file))
    run = store.resume(path, record(seeds=SEEDS))
    for number, seed in enumerate(run.missing_seeds):
        started = CREATED + timedelta(seconds=clock(number))
        run.append(trial(seed, started=started, ended=started + timedelta(seconds=1)))
        os.write(pipe, b"%d\n" % seed)


def forked(work, fault, at_work=True):
    """The seeds that a forked writer reported before `fault`, which gets its process number, had ended it.

    at_work: the fault comes once the first trial is written; else at any time, also while the run is opened.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        with contextlib.suppress(OSError):
            work(writing)
        os._exit(0)
    os.close(writing)
    if at_work:
        select.select([reading], [], [], 60)
    fault(child)
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(reading) as file:
        return [int(line) for line in file.read().split("\n")[:-1]]


def check(name, path, told, rounds):
    run = store.read(path)
    found = Counter(one.seed for one in run.trials)
    lost = len(set(told) - set(found))
    lines = (path / store.TRIALS).read_bytes().split(b"\n")
    seeds = []
    for line in lines:
        with contextlib.suppress(ValueError):
            seeds.append(json.loads(line)["seed"])
    twice = sum(times > 1 for times in Counter(seeds).values())
    assert told, "no trial was written"
    return Row(name, rounds, len(told), lost, twice, len(run.warnings))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("killed at a random moment", {}),
        ("killed, on a disk that takes 5 ms to flush", {"slow": 0.005}),
        ("killed, with a clock that steps back and forth", {"clock": lambda number: (-1) ** number * 3600.0 * number}),
    ],
)
def test_kills(tmp_path, report, name, options):
    path, draw, told = new_run(tmp_path), random.Random(name), []
    for _ in range(ROUNDS):
        pause = draw.uniform(0.0, 0.05)
        at_work = draw.random() < 0.75
        told += forked(lambda pipe: write(path, pipe, **options), lambda child, pause=pause: time.sleep(pause), at_work)
    report(check(name, path, told, ROUNDS))


def test_stops(tmp_path, report):
    path, draw, told = new_run(tmp_path), random.Random(1), []

    def stop(child):
        for _ in range(5):
            time.sleep(draw.uniform(0.0, 0.02))
            os.kill(child, signal.SIGSTOP)
            time.sleep(draw.uniform(0.0, 0.01))
            os.kill(child, signal.SIGCONT)

    for _ in range(20):
        told += forked(lambda pipe: write(path, pipe), stop)
    report(check("stopped and continued, five times a round", path, told, 20))


def test_files_that_may_not_grow(tmp_path, report):
    path, draw, told = new_run(tmp_path), random.Random(2), []
    for _ in range(ROUNDS // 4):
        room = max((path / name).stat().st_size for name in (store.RECORD, store.TRIALS)) + draw.randrange(1, 30_000)

        def work(pipe, room=room):
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
            write(path, pipe)

        told += forked(work, lambda child: os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT))
    report(check("no room in the file (RLIMIT_FSIZE)", path, told, ROUNDS // 4))


def test_files_that_are_torn(tmp_path, report):
    path, draw, told = new_run(tmp_path), random.Random(3), []
    for _ in range(ROUNDS // 4):
        told += forked(lambda pipe: write(path, pipe), lambda child: time.sleep(0.05))
        file = path / store.TRIALS
        if last := [line for line in file.read_bytes().split(b"\n") if line][-1:]:
            size = file.stat().st_size
            os.truncate(file, size - 1 - draw.randrange(1, len(last[0])))
            kept = {one.seed for one in store.read(path).trials}
            told = [seed for seed in told if seed in kept]  # what was torn off is gone; nothing else may be
            assert len(kept) >= len(told)
    report(check("the last line torn off", path, told, ROUNDS // 4))


def test_eight_writers_and_a_reader(tmp_path, report, monkeypatch):
    monkeypatch.setattr(cache, "KEEP_FROM", 1)
    paths = [new_run(tmp_path, id=f"id0{number}", seeds=SEEDS[:1000]) for number in range(8)]
    children = []
    for path in paths:
        if not (child := os.fork()):
            run = store.resume(path, record(seeds=SEEDS[:1000]))
            for seed in run.missing_seeds:
                run.append(trial(seed))
            os._exit(0)
        children.append(child)
    left = set(children)
    while left:  # reads all the while, through the cache
        found = samples.of_runs(store.locate([tmp_path / "runs"]))
        assert not [one for one in found if isinstance(one, ValueError)]
        left -= {child for child in left if os.waitpid(child, os.WNOHANG)[0]}
    counts = [len({one.seed for one in store.read(path).trials}) for path in paths]
    kept = samples.of_runs(store.locate([tmp_path / "runs"]))
    assert [len(one["strict"].seeds) for one in kept] == counts
    rows = [check("", path, SEEDS[:1000], 1) for path in paths]
    sums = [sum(getattr(row, name) for row in rows) for name in ("written", "lost", "twice", "damaged")]
    report(Row("8 writers × 1,000 trials, and a reader", 1, *sums))
