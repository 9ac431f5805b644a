"""Batch normalisation by groups of images ("ghost" batch norm, Hoffer, Hubara & Soudry 2017), and what follows it."""

import torch
from torch import Tensor

from kernels.activations import FUSED
from kernels.choice import is_fast, is_for_triton
from kernels.ghost_batch_norm_launch import MOST_GROUPS, fused
from kernels.grouping import Grouping


def ghost_batch_norm(
    images: Tensor, scale: Tensor, bias: Tensor, running_mean: Tensor, running_var: Tensor, grouping: Grouping
) -> Tensor:
    """Normalise every group of images with its own mean and variance, then activate.

    images: (N, C, H, W) in any floating dtype and memory order. scale, bias: (C,), float32. running_mean, running_var:
    (C,), float32, moved in place. Returns the normalised images like `images`.
    """
    groups = -(-len(images) // grouping.size)
    if is_for_triton(images) and images.dim() == 4 and scale.dtype == torch.float32 and groups <= MOST_GROUPS:
        version = fused
    else:
        version = vectorized if is_fast(images) else reference
    return version(images, scale, bias, running_mean, running_var, grouping)


def reference(
    images: Tensor, scale: Tensor, bias: Tensor, running_mean: Tensor, running_var: Tensor, grouping: Grouping
) -> Tensor:
    """The definition: torch's batch norm, group by group."""
    outputs, means, inverse_stds = zip(
        *(
            torch.native_batch_norm(group, scale, bias, None, None, True, 0.0, grouping.eps)
            for group in images.split(grouping.size)
        ),
        strict=True,
    )
    _track(running_mean, running_var, torch.stack(means), torch.stack(inverse_stds), images, grouping)
    return FUSED[grouping.activation](torch.cat(outputs), grouping.alpha)


def vectorized(
    images: Tensor, scale: Tensor, bias: Tensor, running_mean: Tensor, running_var: Tensor, grouping: Grouping
) -> Tensor:
    """The same with one batch norm for all groups of one size: as many calls for many groups as for few.

    Costs a copy before and one after, which torch.compile fuses with it.
    """
    full = len(images) - len(images) % grouping.size
    parts = [(images[:full], grouping.size), (images[full:], len(images) - full)]
    outputs, means, inverse_stds = zip(
        *(_side_by_side(part, scale, bias, size, grouping.eps) for part, size in parts if len(part)), strict=True
    )
    _track(running_mean, running_var, torch.cat(means), torch.cat(inverse_stds), images, grouping)
    return FUSED[grouping.activation](outputs[0] if len(outputs) == 1 else torch.cat(outputs), grouping.alpha)


def _side_by_side(
    images: Tensor, scale: Tensor, bias: Tensor, group_size: int, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise groups of equal size as if each had channels of its own: images, means and inverse deviations."""
    groups, channels = len(images) // group_size, images.shape[1]
    grouped = images.unflatten(0, (groups, group_size))
    if images.is_contiguous(memory_format=torch.channels_last):
        wide = grouped.permute(1, 3, 4, 0, 2).flatten(3).permute(0, 3, 1, 2)
    else:
        wide = grouped.transpose(0, 1).flatten(1, 2)
    wide, means, inverse_stds = torch.native_batch_norm(
        wide, scale.repeat(groups), bias.repeat(groups), None, None, True, 0.0, eps
    )
    if images.is_contiguous(memory_format=torch.channels_last):
        normalised = wide.permute(0, 2, 3, 1).unflatten(3, (groups, channels)).permute(3, 0, 1, 2, 4)
        normalised = normalised.flatten(0, 1).permute(0, 3, 1, 2)
    else:
        normalised = wide.unflatten(1, (groups, channels)).transpose(0, 1).flatten(0, 1)
    return normalised, means.view(groups, channels), inverse_stds.view(groups, channels)


@torch.no_grad()
def _track(
    running_mean: Tensor, running_var: Tensor, means: Tensor, inverse_stds: Tensor, images: Tensor, grouping: Grouping
) -> None:
    """Move the running statistics towards the mean over the groups."""
    pixels = images[0, 0].numel()
    full = min(grouping.size, len(images)) * pixels
    last = ((len(images) - 1) % grouping.size + 1) * pixels
    # torch.compile takes them to be of the dtype of the images on a CPU, where they are float32
    means, inverse_stds = means.to(running_mean.dtype), inverse_stds.to(running_var.dtype)
    variances = inverse_stds**-2 - grouping.eps
    variances[:-1] *= full / max(full - 1, 1)  # unbiased, as in BatchNorm2d
    variances[-1] *= last / max(last - 1, 1)
    running_mean.lerp_(means.mean(0), grouping.momentum)
    running_var.lerp_(variances.mean(0), grouping.momentum)
