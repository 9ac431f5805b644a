"""Batch normalisation by groups of images ("ghost" batch norm, Hoffer, Hubara & Soudry 2017), and what follows it."""

import torch
from torch import Tensor

from kernels.activations import FUSED
from kernels.choice import is_for_triton
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
    is_plain = images.dim() == 4 and scale.dtype == torch.float32 and groups <= MOST_GROUPS
    if is_plain and is_for_triton("ghost_batch_norm", images):
        version = fused
    else:  # on CUDA a call for each group costs more than the copies that one call for all of them needs
        version = vectorized if images.is_cuda else reference
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
    rest = len(images) % grouping.size
    if 0 < rest < len(images):  # split and not sliced: a slice's gradient is written into zeros
        parts = list(zip(images.split([len(images) - rest, rest]), (grouping.size, rest), strict=True))
    else:
        parts = [(images, rest or grouping.size)]
    outputs, means, inverse_stds = zip(
        *(_side_by_side(part, scale, bias, size, grouping) for part, size in parts), strict=True
    )
    _track(running_mean, running_var, torch.cat(means), torch.cat(inverse_stds), images, grouping)
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


def _side_by_side(
    images: Tensor, scale: Tensor, bias: Tensor, group_size: int, grouping: Grouping
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise groups of equal size as if each had channels of its own, and activate: images, means and inverse
    deviations."""
    groups, channels = len(images) // group_size, images.shape[1]
    if images.is_contiguous(memory_format=torch.channels_last):
        # ungrouped with its channels last, so that the copy of the backward pass has them last too
        grouped = images.permute(0, 2, 3, 1).unflatten(0, (groups, group_size))
        wide = grouped.permute(1, 2, 3, 0, 4).flatten(3).permute(0, 3, 1, 2)
    else:
        wide = images.unflatten(0, (groups, group_size)).transpose(0, 1).flatten(1, 2)
    wide, means, inverse_stds = torch.native_batch_norm(
        wide, scale.repeat(groups), bias.repeat(groups), None, None, True, 0.0, grouping.eps
    )
    wide = FUSED[grouping.activation](wide, grouping.alpha)  # in place, which costs copies in a view
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
