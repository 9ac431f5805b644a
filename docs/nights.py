"""Write the nights of the gate's worked example: python docs/nights.py nights/

Their times are made up: the laps of one committed trial, which vary by 1% from trial to trial and by 0.4% from night to
night. `nights/baseline` has five nights, `nights/quiet` one more without a change, `nights/slower` one whose laps all
take 5% longer.
"""

import random
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

if __name__ == "__main__":  # this tree, whatever else is installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from results import store
from results.record import Run

MEASURED = Path(__file__).resolve().parents[1] / "results" / "measured"
SOURCE = "interleaved/*_digits-short_*"
FACTORS = {"baseline": [1.0] * 5, "quiet": [1.0], "slower": [1.05]}
"""what multiplies the laps of each night of a folder"""
TRIALS, NIGHTS = 0.01, 0.004
"""standard deviations, as fractions"""


def main(folder: Path) -> None:
    (source,) = store.find([next(MEASURED.glob(SOURCE))])
    draw = random.Random(0)
    nights = [(name, factor) for name, factors in FACTORS.items() for factor in factors]
    for number, (name, factor) in enumerate(nights):
        write(folder / name, source, number, factor * draw.gauss(1, NIGHTS), draw)
        print(f"written: {folder / name}, night {number + 1}")


def write(folder: Path, source: Run, number: int, factor: float, draw: random.Random) -> None:
    """One night: the trials of `source`, with the laps of its first one, `factor` times as long."""
    created = source.record.created + timedelta(days=number)
    changes = {"id": f"night{number + 1}", "created": created, "interleaved": None, "status": "running"}
    run = store.create(folder, source.record.model_copy(update=changes))
    for trial in source.trials:
        scale = factor * draw.gauss(1, TRIALS)
        laps = tuple(replace(lap, seconds=scale * lap.seconds) for lap in source.trials[0].laps)
        run.append(trial.model_copy(update={"laps": laps}))
    run.finish("finished")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
