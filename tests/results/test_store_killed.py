"""A writer that is killed at any moment loses no trial that it had finished."""

import random
import time
from pathlib import Path

from results.store import create, read, resume
from tests.forks import FORKS
from tests.results.builders import record, trial

SEEDS = 10_000
LARGE = {"history": ["x" * 100] * 60}  # a line longer than a block of the file system


def write(path, ends) -> None:
    """Append all missing trials and send each seed after its trial is said to be on the disk."""
    run = resume(Path(path), record(seeds=list(range(SEEDS))))
    ends.send("ready")
    for seed in run.missing_seeds:
        run.append(trial(seed, notes=LARGE))
        ends.send(seed)


def kill_writers(root, times: int, seed: int = 0) -> None:
    path = create(root, record(seeds=list(range(SEEDS)))).path
    generator, said = random.Random(seed), []
    for _ in range(times):
        ours, theirs = FORKS.Pipe(duplex=False)
        writer = FORKS.Process(target=write, args=(path, theirs))
        writer.start()
        theirs.close()
        assert ours.recv() == "ready"
        time.sleep(generator.uniform(0, 0.02))
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
    assert len(said) > times / 4, "the writers were killed before they wrote"


def test_twenty_killed_writers(tmp_path):
    kill_writers(tmp_path, 20)
