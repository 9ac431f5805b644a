"""Gradients over the data-parallel dimension of a mesh, where the strategy of the other dimension does not average
them."""

from collections.abc import Sequence

from torch import nn
from torch.distributed.tensor import DTensor

from pipelines.distributed.average import average
from pipelines.distributed.process_group import World


def average_gradients(parameters: Sequence[nn.Parameter], data: World) -> None:
    """Make each gradient its mean over the data-parallel processes: one all-reduce after the backward pass."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    average([gradient.to_local() if isinstance(gradient, DTensor) else gradient for gradient in gradients], data)
