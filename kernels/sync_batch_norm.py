"""Batch normalisation with the statistics of all processes ("SyncBN")."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


class SumOverProcesses(torch.autograd.Function):
    """The sum of a tensor over the processes; the gradient is that of the sum of all their losses."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total


def sync_batch_norm(images: Tensor, scale: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Normalise with the mean and variance over the images of every process of torch's default group.

    images: (N, C, H, W) in any floating dtype, N may differ between the processes; scale, bias: (C,), float32.
    Returns the normalised images like `images`; mean and biased variance, (C,), float32, and the number of values that
    they are over, a scalar, all without gradient. Two exchanges forward and two backward: first the mean and then the
    squares around it, because a difference of large sums would lose float32's digits.
    """
    values = images.float()
    dimensions = (0, 2, 3)
    counted = torch.full((1,), float(images[:, 0].numel()), device=images.device)
    sums = SumOverProcesses.apply(torch.cat([values.sum(dimensions), counted]))
    count = sums[-1].detach()
    mean = sums[:-1] / count
    centred = values - mean[:, None, None]
    variance = SumOverProcesses.apply(centred.square().sum(dimensions)) / count
    factor = scale * torch.rsqrt(variance + eps)
    normalised = centred * factor[:, None, None] + bias[:, None, None]
    return normalised.to(images.dtype), mean.detach(), variance.detach(), count
