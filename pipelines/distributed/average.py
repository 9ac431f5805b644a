"""The mean of tensors over processes."""

from collections.abc import Sequence

import torch
from torch import Tensor

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
