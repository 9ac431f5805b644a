"""Real processes on this machine, joined by gloo."""

import contextlib
import gc
import os
import queue
import time
import traceback

import psutil
import pytest
import torch
import torch.distributed as dist

from pipelines.distributed import process_group
from pipelines.train import run_trial, set_up
from tests.forks import FORKS
from tests.pipelines.calling import calling


class KeepLaps:
    """Keeps this process's own laps."""

    def trial_end(self, state):
        self.laps = list(state.laps)


def train(chosen, dataset, world):
    """What a test wants to know of a trial, as plain objects and tensors."""
    setup = set_up(chosen, dataset, world)
    forward, evaluated = setup.strategy.forward, []

    def counting(images, **arguments):
        if not setup.network.training:
            evaluated.extend(images.float().flatten(1).sum(1).tolist())
        return forward(images, **arguments)

    observer = KeepLaps()
    trial = run_trial(calling(setup, counting), seed=5, observers=[observer])
    return {
        "weights": {name: tensor.clone() for name, tensor in setup.network.state_dict().items()},
        "losses": [result.train_loss for result in trial.epochs],
        "accuracies": [result.accuracy for result in trial.epochs],
        "evaluated": evaluated,
        "own": [lap.seconds for lap in observer.laps],
        "laps": [lap.seconds for lap in trial.laps],
        "samples": trial.samples,
    }


def meeting_place():
    """A store in which processes meet, and the variables by which they find it, as torchrun has them.

    The store listens before they start. A port that was free a moment ago may be taken when rank 0 wants it.
    """
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    variables = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "TORCHELASTIC_USE_AGENT_STORE": "True"}
    return store, variables


def wait_for_end(numbers, seconds=60):
    """Return when the processes with these numbers have ended.

    One whose parent has ended may stay as a zombie: in a container often nobody fetches its status.
    """
    end = time.monotonic() + seconds
    while running := [number for number in numbers if is_running(number)]:
        assert time.monotonic() < end, f"{running} still run"
        time.sleep(0.02)


def is_running(number):
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(number).status() != psutil.STATUS_ZOMBIE
    return False


class Processes:
    """Processes that have joined each other and do one job after another: starting them takes longer than most jobs."""

    def __init__(self, size):
        self._store, variables = meeting_place()
        self._jobs = [FORKS.Queue() for _ in range(size)]
        self._results = FORKS.Queue()
        arguments = [(rank, size, variables, jobs, self._results) for rank, jobs in enumerate(self._jobs)]
        self._processes = [FORKS.Process(target=life, args=each, daemon=True) for each in arguments]
        for process in self._processes:
            process.start()

    def do(self, folder, job, seconds):
        """What a function returned in each process. An error in one of them is raised here, and ends all."""
        for jobs in self._jobs:
            jobs.put((folder, *job))
        end = time.monotonic() + seconds
        for _ in self._processes:
            while True:
                try:
                    rank, error = self._results.get(timeout=1)
                    break
                except queue.Empty:
                    if time.monotonic() > end:
                        self.kill()
                        pytest.fail(f"the processes still wait for each other after {seconds} s")
                    if not all(process.is_alive() for process in self._processes):
                        self.kill()
                        pytest.fail("a process has died")
            if error:
                self.kill()
                pytest.fail(f"rank {rank}: {error}")
        return [torch.load(f"{folder}/{rank}.pt") for rank in range(len(self._processes))]

    def kill(self):
        for process in self._processes:
            process.kill()


def life(rank, size, variables, jobs, results):
    """The life of one process: join, and do one job after another."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size)}
    os.environ |= variables
    torch.set_num_threads(1)
    world = process_group.join("cpu")
    gc.freeze()  # every trial collects garbage, and the libraries are none
    while True:
        folder, job, *arguments = jobs.get()
        torch.set_num_threads(1)
        try:
            torch.save(job(world, *arguments), f"{folder}/{rank}.pt")
            results.put((rank, None))
        except BaseException:
            results.put((rank, traceback.format_exc()))
            raise


_IDLE = {}
"""By their number, processes that wait for a job. Most tests share them."""


def in_processes(folder, *job, size=2, seconds=500):
    """What a function, called with a World and these arguments, returned in each of so many processes."""
    idle = _IDLE.setdefault(size, [])
    processes = idle.pop() if idle else Processes(size)
    results = processes.do(str(folder), job, seconds)
    idle.append(processes)  # those that have failed are not used again
    return results


def train_all(world, jobs):
    return [train(chosen, dataset, world) for chosen, dataset in jobs]
