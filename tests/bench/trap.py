"""bench/run.py with something that happens to one process in the middle of a trial. Run by test_run_faults.py.

Variables: TRAP what happens, TRAP_RANK to whom, TRAP_SEED in which trial.
"""

import dataclasses
import os
import signal
import sys
import time
from pathlib import Path

from bench import run
from results import store

TRAP, RANK = os.environ["TRAP"], os.environ["TRAP_RANK"]
IS_MINE = os.environ["RANK"] == RANK
KILLED = Path("killed")
"""a file that stays when the processes are started anew"""


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def fail():
    raise ZeroDivisionError("planted")


def hang():
    time.sleep(10_000)


def kill_or_wait():
    """The others wait, as in one of NCCL's collective operations, and do not fail."""
    if not IS_MINE:
        hang()
    KILLED.touch()
    kill()


ACTIONS = {"kill": kill, "raise": fail, "hang": hang, "kill one and let the others wait": kill_or_wait}


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
        is_trapped = (IS_MINE or ACTIONS[TRAP] is kill_or_wait) and not (RESTARTED or KILLED.exists())
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
