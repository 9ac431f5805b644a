"""bench/run.py with something that happens to one process in the middle of a trial. Other files run it.

Variables: TRAP what happens, TRAP_RANK to whom, TRAP_SEED in which trial.
"""

import dataclasses
import os
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path

from bench import run
from results import store

TRAP, RANK = os.environ["TRAP"], os.environ["TRAP_RANK"]
IS_MINE = os.environ.get("RANK", "0") == RANK
KILLED = Path("killed")
"""a file that stays when the processes are started anew"""


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def fail():
    raise ZeroDivisionError("planted")


def hang():
    time.sleep(10_000)


def hang_or_give_up():
    """The others wait for it a second, and not as long as the processes may take to come together."""
    if IS_MINE:
        hang()
    from torch import distributed

    distributed.distributed_c10d._set_pg_timeout(timedelta(seconds=1))


def kill_or_wait():
    """The others wait, as in one of NCCL's collective operations, and do not fail."""
    if not IS_MINE:
        hang()
    KILLED.touch()
    kill()


OF_ONE = {"kill": kill, "raise": fail, "hang": hang}
OF_ALL = {"hang and be given up": hang_or_give_up, "kill one and let the others wait": kill_or_wait}
ACTIONS = OF_ONE | OF_ALL


class Trap:
    def step_end(self, state):
        if state.step == 3:
            ACTIONS[TRAP]()


def spring(options, planned):
    """Set the trap after the threads are settled, which comes before torch."""
    from bench.training import trainers
    from pipelines.data import sources

    whole_trial, whole_load = trainers.run_trial, sources.load

    def run_trial(bench, seed, observers):
        is_trapped = (IS_MINE or TRAP in OF_ALL) and not (RESTARTED or KILLED.exists())
        is_due = is_trapped and seed == int(os.environ["TRAP_SEED"])
        return whole_trial(bench, seed, [*observers, *([Trap()] if is_due else [])])

    def load(name, folder, download=True):
        dataset = whole_load(name, folder, download=download)
        return dataclasses.replace(dataset, train_images=255 - dataset.train_images)

    if TRAP in ACTIONS:
        trainers.run_trial = run_trial
    if TRAP == "data" and IS_MINE:
        sources.load = load
    if RESTARTED and IS_MINE:
        (run_before,) = store.find([Path("runs")])
        print(f"before the restart: {run_before.record.status}, {run_before.record.reason}", flush=True)
    return whole_train(options, planned)


RESTARTED = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"
if __name__ == "__main__":
    whole_train, run.train = run.train, spring
    sys.exit(run.main())
