"""Batch normalisation by groups of images ("ghost" batch norm, Hoffer, Hubara & Soudry 2017), and what follows it."""

import torch
from torch import Tensor

from kernels.activations import FUSED
from kernels.choice import is_fast, is_for_triton
from kernels.ghost_batch_norm_launch import MOST_GROUPS, fused


def ghost_batch_norm(
    images: Tensor,
    scale: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    group_size: int,
    momentum: float,
    eps: float,
    activation: str | None = None,
    alpha: float = 1.0,
) -> Tensor:
    """Normalise every `group_size` consecutive images with their own mean and variance, then activate.

    images: (N, C, H, W) in any floating dtype and memory order; the last group is smaller when N is no multiple.
    scale, bias: (C,), float32. running_mean, running_var: (C,), float32; they go the share `momentum` of the way to the
    mean over the groups of mean and unbiased variance, in place.
    activation: one of `kernels.activations.FUSED`; alpha: of CELU.
    Returns the normalised images like `images`.
    """
    groups = -(-len(images) // group_size)
    if is_for_triton(images) and images.dim() == 4 and scale.dtype == torch.float32 and groups <= MOST_GROUPS:
        version = fused
    else:
        version = vectorized if is_fast(images) else reference
    return version(images, scale, bias, running_mean, running_var, group_size, momentum, eps, activation, alpha)


def reference(
    images: Tensor,
    scale: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    group_size: int,
    momentum: float,
    eps: float,
    activation: str | None = None,
    alpha: float = 1.0,
) -> Tensor:
    """The definition: torch's batch norm, group by group."""
    outputs, means, inverse_stds = zip(
        *(
            torch.native_batch_norm(group, scale, bias, None, None, True, 0.0, eps)
            for group in images.split(group_size)
        ),
        strict=True,
    )
    statistics = torch.stack(means), torch.stack(inverse_stds)
    _track(running_mean, running_var, *statistics, images, group_size, momentum, eps)
    return FUSED[activation](torch.cat(outputs), alpha)


def vectorized(
    images: Tensor,
    scale: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    group_size: int,
    momentum: float,
    eps: float,
    activation: str | None = None,
    alpha: float = 1.0,
) -> Tensor:
    """The same with one batch norm for all groups of one size: as many calls for many groups as for few.

    Costs a copy before and one after, which torch.compile fuses with it.
    """
    full = len(images) - len(images) % group_size
    parts = [(images[:full], group_size), (images[full:], len(images) - full)]
    outputs, means, inverse_stds = zip(
        *(_side_by_side(part, scale, bias, size, eps) for part, size in parts if len(part)), strict=True
    )
    _track(running_mean, running_var, torch.cat(means), torch.cat(inverse_stds), images, group_size, momentum, eps)
    return FUSED[activation](outputs[0] if len(outputs) == 1 else torch.cat(outputs), alpha)


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
    running_mean: Tensor,
    running_var: Tensor,
    means: Tensor,
    inverse_stds: Tensor,
    images: Tensor,
    group_size: int,
    momentum: float,
    eps: float,
) -> None:
    """Move the running statistics towards the mean over the groups."""
    pixels = images[0, 0].numel()
    full = min(group_size, len(images)) * pixels
    last = ((len(images) - 1) % group_size + 1) * pixels
    # torch.compile takes them to be of the dtype of the images on a CPU, where they are float32
    means, inverse_stds = means.to(running_mean.dtype), inverse_stds.to(running_var.dtype)
    variances = inverse_stds**-2 - eps
    variances[:-1] *= full / max(full - 1, 1)  # unbiased, as in BatchNorm2d
    variances[-1] *= last / max(last - 1, 1)
    running_mean.lerp_(means.mean(0), momentum)
    running_var.lerp_(variances.mean(0), momentum)
