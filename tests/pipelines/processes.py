"""Real processes on this machine, joined by gloo."""

import os
import socket
import time

import pytest
import torch
import torch.multiprocessing as processes

from pipelines.distributed import process_group
from pipelines.train import run_trial, set_up
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


def process(rank, size, port, job, folder):
    """The life of one process: join, do the job, leave."""
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    world = process_group.join("cpu")
    torch.save(job[0](world, *job[1:]), f"{folder}/{rank}.pt")
    process_group.leave(world)


def in_processes(folder, *job, size=2, seconds=500):
    """What a function returned in each of so many processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = processes.spawn(process, (size, port, job, str(folder)), nprocs=size, join=False)
    try:
        end = time.monotonic() + seconds
        while not context.join(1):
            if time.monotonic() > end:
                pytest.fail(f"the processes still wait for each other after {seconds} s")
    finally:
        for started in context.processes:
            started.kill()
    return [torch.load(f"{folder}/{rank}.pt") for rank in range(size)]


def train_all(world, jobs):
    return [train(chosen, dataset, world) for chosen, dataset in jobs]
