"""One process or many: who this process is, and what it adds up with the others."""

import gc
import os
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from accelerate import PartialState
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pipelines.devices import find_device

CPU = torch.device("cpu")


@dataclass(frozen=True)
class World:
    """This process among all processes of the run."""

    rank: int = 0
    size: int = 1
    device: torch.device = CPU
    """where this process computes, and what its group of processes can send"""

    @property
    def is_main(self) -> bool:
        """Whether this process writes the record and speaks to the terminal."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes, on every one of them."""
        return self._reduce(values, dist.ReduceOp.SUM)

    def maximum(self, values: Tensor) -> Tensor:
        """The maximum over all processes, on every one of them."""
        return self._reduce(values, dist.ReduceOp.MAX)

    def _reduce(self, values: Tensor, operation: dist.ReduceOp.RedOpType) -> Tensor:
        if self.size == 1:
            return values
        on_device = values.to(self.device)  # nccl knows nothing of host memory
        dist.all_reduce(on_device, operation)
        return on_device.to(values.device)

    def share(self, value: Any) -> Any:
        """Rank 0's value, on every process."""
        values = [value]
        if self.size > 1:
            dist.broadcast_object_list(values)
        return values[0]

    def wait(self) -> None:
        """Return when every process has come here."""
        if self.size > 1:
            dist.barrier()


def join(device: str) -> World:
    """Join the processes that `accelerate launch` or torchrun started, and find this one's device.

    ValueError when the processes do not add up, or there is no such device.
    """
    state = PartialState(cpu=device == "cpu" or not torch.cuda.is_available())
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if state.num_processes != started:
        raise ValueError(
            f"the launcher started {started} processes, but this one sees {state.num_processes}; on CPUs launch with "
            "`accelerate launch --multi_gpu --num_processes N bench/run.py … --device cpu`"
        )
    found = find_device(device, state.local_process_index)
    if found.type == "cuda":
        torch.cuda.set_device(found)
    return World(state.process_index, state.num_processes, found)


def replicate(network: nn.Module, world: World, *, accumulates: bool = False) -> nn.Module:
    """The network with gradients averaged over the processes; itself when there is one process.

    accumulates: it is called several times a step. A static graph takes no backward pass before its first exchange.
    """
    if world.size == 1:
        return network
    devices = [world.device.index] if world.device.type == "cuda" else None
    return DistributedDataParallel(
        network,
        device_ids=devices,
        gradient_as_bucket_view=True,
        static_graph=not accumulates,
        find_unused_parameters=accumulates,  # which a static graph finds by itself
    )


def leave(world: World) -> None:
    """Leave the process group. Call it when nothing holds a replicated network any more: gloo's threads live as long
    as the network does, and abort the interpreter at its end."""
    gc.collect()
    if world.size > 1:
        dist.destroy_process_group()
