"""How long an all-reduce takes when the processes do nothing else."""

from statistics import median

import torch

from pipelines.distributed.process_group import World
from pipelines.host.devices import make_clock

SIZES = (2**10, 2**14, 2**18, 2**22)
"""bytes"""
REPEATS = 7


def all_reduce_seconds(world: World) -> list[tuple[int, float]]:
    """For each size in bytes, the median seconds of an all-reduce of float32 numbers, each as long as on the slowest
    process. Empty for one process. Every process has to call it."""
    return [] if world.size == 1 else [(size, _seconds(world, torch.zeros(size // 4))) for size in SIZES]


def _seconds(world: World, numbers: torch.Tensor) -> float:
    numbers = numbers.to(world.device)
    clock = make_clock(world.device)
    world.sum(numbers)  # the first one connects the processes
    for _ in range(REPEATS):
        world.barrier()
        with clock.lap("all-reduce"):
            world.sum(numbers)
    slowest = world.maximum(torch.tensor([lap.seconds for lap in clock.laps], dtype=torch.float64))
    return median(slowest.tolist())
