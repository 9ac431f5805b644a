"""A writer that is killed at any moment loses no trial that it had finished."""

import random
import signal
import time
from pathlib import Path

from results.store import create, read, resume
from tests.forks import FORKS
from tests.results.builders import record, trial

SEEDS, MOST = 2_000, 100
"""of a run, and of a writer, which then waits for its end: twenty writers leave some to write"""
LARGE = {"history": ["x" * 100] * 60}  # a line longer than a block of the file system


def write(path, ends) -> None:
    """Append missing trials and send each seed after its trial is said to be on the disk."""
    run = resume(Path(path), record(seeds=list(range(SEEDS))))
    ends.send("ready")
    for seed in run.missing_seeds[:MOST]:
        run.append(trial(seed, notes=LARGE))
        ends.send(seed)
    signal.pause()


def kill_writers(root, times: int, seed: int = 0) -> None:
    path = create(root, record(seeds=list(range(SEEDS)))).path
    generator, said = random.Random(seed), []
    for _ in range(times):
        ours, theirs = FORKS.Pipe(duplex=False)
        writer = FORKS.Process(target=write, args=(path, theirs))
        writer.start()
        theirs.close()
        assert ours.recv() == "ready"
        said += [ours.recv() for _ in range(generator.randrange(4))]
        time.sleep(generator.uniform(0, 0.005))  # into the next
        writer.kill()
        writer.join()
        assert writer.exitcode == -9
        while ours.poll():
            try:
                said.append(ours.recv())
            except EOFError:
                break
        run = read(path)
        kept = [one.seed for one in run.trials]
        assert set(said) <= set(kept)
        assert kept == list(range(len(kept)))
        assert all(one.notes == LARGE for one in run.trials)


def test_twenty_killed_writers(tmp_path):
    kill_writers(tmp_path, 20)
