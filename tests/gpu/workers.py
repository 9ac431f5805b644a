"""Processes that train together on any one device, joined by gloo."""

from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as processes
from torch import Tensor

from pipelines.data.dataset import Dataset
from pipelines.data.sources import digits
from pipelines.distributed.process_group import World
from pipelines.train import run_trial, set_up
from tests.gpu.trials import From, in_bulk, on_cpu, train

PLAIN = ["epochs=1", "augment.crop=0", "optimizer.lr=0.02"]


def dataset() -> Dataset:
    return digits.read(Path())


def worker(rank: int, size: int, device: str, folder: str) -> None:
    """Train, and write the weights to `<folder>/<rank>.pt`. Several may share a device, which NCCL does not allow."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=size)
    start = torch.load(f"{folder}/start.pt")
    setup = set_up(in_bulk("digits/quick", *PLAIN), dataset(), World(rank, size, torch.device(device)))
    run_trial(setup, 0, [From(start)])
    torch.save(on_cpu(setup.network.state_dict()), f"{folder}/{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def run_workers(folder: Path, device: str, size: int) -> list[dict[str, Tensor]]:
    """The weights of each process after its trial, from the weights that one process begins with."""
    start = train(in_bulk("digits/quick", *PLAIN), dataset(), torch.device(device)).start
    torch.save(start, folder / "start.pt")
    processes.spawn(worker, (size, device, str(folder)), nprocs=size)
    return [torch.load(folder / f"{rank}.pt") for rank in range(size)]
