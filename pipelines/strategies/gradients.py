"""Gradients over the data-parallel dimension of a mesh, where the strategy of the other dimension does not average
them."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from pipelines.distributed.process_group import World


@torch.no_grad()
def average_gradients(parameters: Sequence[nn.Parameter], data: World) -> None:
    """Make each gradient its mean over the data-parallel processes: one all-reduce after the backward pass."""
    if data.size == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    local = [gradient.to_local() if isinstance(gradient, DTensor) else gradient for gradient in gradients]
    flat = data.sum(torch.cat([gradient.flatten() for gradient in local])) / data.size
    for gradient, mean in zip(local, flat.split([gradient.numel() for gradient in local]), strict=True):
        gradient.copy_(mean.view_as(gradient))
