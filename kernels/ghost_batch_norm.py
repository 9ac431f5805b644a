"""Batch normalisation by groups of images ("ghost" batch norm, Hoffer, Hubara & Soudry 2017)."""

import torch
from torch import Tensor


def ghost_batch_norm(
    images: Tensor, scale: Tensor, bias: Tensor, group_size: int, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise every `group_size` consecutive images with their own mean and variance.

    images: (N, C, H, W) in any floating dtype and memory order; the last group is smaller when N is no multiple.
    scale, bias: (C,), float32.
    Returns the normalised images like `images`, and each group's mean and inverse standard deviation, (groups, C),
    float32, without gradient.
    """
    outputs, means, inverse_stds = zip(
        *(
            torch.native_batch_norm(group, scale, bias, None, None, True, 0.0, eps)
            for group in images.split(group_size)
        ),
        strict=True,
    )
    return torch.cat(outputs), torch.stack(means).detach(), torch.stack(inverse_stds).detach()
