"""Write the simulated runs of the worked examples: python docs/nights.py nights/

Their times are made up: the laps of one committed trial, which vary by 1% from trial to trial and by 0.4% from night to
night. `nights/baseline` has five nights, `nights/quiet` one more without a change, `nights/slower` one whose laps all
take 5% longer. `nights/array` is a job array: a run of one trial for each task, on four hosts. One of them takes 5%
longer.
"""

import hashlib
import random
import sys
from dataclasses import replace
from datetime import timedelta
from itertools import cycle
from pathlib import Path

if __name__ == "__main__":  # this tree, whatever else is installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from results import store
from results.record import Run, TrialRecord

MEASURED = Path(__file__).resolve().parents[1] / "results" / "measured"
SOURCE = "interleaved/*_digits-short_*"
FACTORS = {"baseline": [1.0] * 5, "quiet": [1.0], "slower": [1.05]}
"""what multiplies the laps of each night of a folder"""
TRIALS, NIGHTS = 0.01, 0.004
"""standard deviations, as fractions"""
HOSTS = {"node01": 1.0, "node02": 1.0, "node03": 1.05, "node04": 1.0}
"""what multiplies the laps on each host of the job array"""


def main(folder: Path) -> None:
    (source,) = store.find([next(MEASURED.glob(SOURCE))])
    draw = random.Random(0)
    nights = [(name, factor) for name, factors in FACTORS.items() for factor in factors]
    for number, (name, factor) in enumerate(nights):
        write(folder / name, source, number, factor * draw.gauss(1, NIGHTS), draw)
        print(f"written: {folder / name}, night {number + 1}")
    write_array(folder / "array", source, draw)
    print(f"written: {folder / 'array'}, {len(source.trials)} tasks")


def write(folder: Path, source: Run, number: int, factor: float, draw: random.Random) -> None:
    """One night: the trials of `source`, with the laps of its first one, `factor` times as long."""
    created = source.record.created + timedelta(days=number)
    changes = {"id": f"night{number + 1}", "created": created, "interleaved": None, "status": "running"}
    run = store.create(folder, source.record.model_copy(update=changes))
    for trial in source.trials:
        run.append(timed(trial, source, factor * draw.gauss(1, TRIALS)))
    run.finish("finished")


def write_array(folder: Path, source: Run, draw: random.Random) -> None:
    """A run for each trial of `source`, with the laps of its first one. The tasks are dealt out to the hosts."""
    for number, (trial, host) in enumerate(zip(source.trials, cycle(HOSTS))):
        environment = {"host_hash": hashlib.sha256(f"paceline {host}".encode()).hexdigest()[:16]}
        changes = {
            "id": f"task{number}",
            "created": source.record.created + timedelta(seconds=number),
            "seeds": [trial.seed],
            "interleaved": None,
            "status": "running",
            "environment": source.record.environment.model_copy(update=environment),
        }
        run = store.create(folder, source.record.model_copy(update=changes))
        run.append(timed(trial, source, HOSTS[host] * draw.gauss(1, TRIALS)))
        run.finish("finished")


def timed(trial: TrialRecord, source: Run, factor: float) -> TrialRecord:
    """A trial with the laps of the first trial of `source`, `factor` times as long."""
    laps = tuple(replace(lap, seconds=factor * lap.seconds) for lap in source.trials[0].laps)
    return trial.model_copy(update={"laps": laps})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
