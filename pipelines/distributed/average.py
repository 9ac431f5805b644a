"""The mean of tensors over processes."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pipelines.distributed.process_group import World


@torch.no_grad()
def average(tensors: Sequence[Tensor], world: World) -> None:
    """Put the mean over the processes into each tensor, in place and by a single all-reduce.

    The tensors are the same on all processes, in their order and shapes.
    """
    if world.size == 1 or not tensors:
        return
    flat = world.sum(torch.cat([tensor.flatten() for tensor in tensors])) / world.size
    for tensor, mean in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(mean.view_as(tensor))


@torch.no_grad()
def average_statistics(network: nn.Module, world: World) -> None:
    """Make the running statistics of the norms the mean over the processes, each of which has seen other images."""
    if world.size == 1:
        return
    buffers = [buffer for buffer in network.buffers() if buffer.is_floating_point() and not buffer.is_meta]
    exact = [buffer.float() for buffer in buffers]
    average(exact, world)
    for buffer, mean in zip(buffers, exact, strict=True):
        if mean is not buffer:  # its dtype is another one
            buffer.copy_(mean)
