"""Blocks of convolution, max-pool, batch norm and activation, one after the other, perhaps behind a whitening layer."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from kernels import choice, ghost_batch_norm
from kernels.activations import FUSED
from kernels.cpu.blocks import ACTIVATIONS, Block, Whitening, window_of
from kernels.cpu.fused import extension, fused, fused_version
from kernels.grouping import Grouping

LEAST_GROUP = 32
"""images of a group, or of the batch, from which on the C++ version is the faster: as many as fill a cell"""
LARGEST_KERNEL = 15
LARGEST_PATCH = 32
"""values of a whitened patch, its bias included"""
LARGEST_IMAGE = 256
"""pixels of an image that a max-pool takes whole"""


def convolution_chain(
    images: Tensor,
    blocks: Sequence[Block],
    whitening: Whitening | None = None,
    *,
    training: bool,
    group_size: int | None = None,
) -> Tensor:
    """The blocks' outputs one after the other: (N, C, H, W) images to (N, outputs, height, width).

    training: normalise with the statistics of the images, and move the running ones in place; else with the latter.
    group_size: consecutive images that are normalised together, as in `kernels.ghost_batch_norm`; None: all.
    """
    groups = group_size if training else None
    is_fast = choice.is_wanted("convolution_chain", images) and is_faster(images, blocks, whitening, groups)
    if is_fast:
        choice.note(fused_version())
    version = fused if is_fast else reference
    return version(images, blocks, whitening, training=training, group_size=group_size)


def reference(
    images: Tensor,
    blocks: Sequence[Block],
    whitening: Whitening | None = None,
    *,
    training: bool,
    group_size: int | None = None,
) -> Tensor:
    """The definition, in plain PyTorch."""
    if whitening:
        images = F.conv2d(images, whitening.weight, whitening.bias, padding=whitening.padding)
        images = FUSED[whitening.activation](images, whitening.alpha)
    outputs: list[Tensor] = []
    for block in blocks:
        images = F.conv2d(images, block.weight, padding=block.weight.shape[2] // 2)
        if (window := window_of(block, images.shape[2:])) != (1, 1):
            images = F.max_pool2d(images, window)
        images = _normalize(images, block, training, group_size)
        activation = FUSED[block.activation]
        if block.shortcut is None:
            images = activation(images, block.alpha)
        elif block.adds_before_activation:
            images = activation(images + outputs[block.shortcut], block.alpha)
        else:
            images = activation(images, block.alpha) + outputs[block.shortcut]
        outputs.append(images)
    return images


def _normalize(images: Tensor, block: Block, training: bool, group_size: int | None) -> Tensor:
    statistics = (block.running_mean, block.running_var)
    if training and group_size is not None:
        grouping = Grouping(group_size, block.momentum, block.eps)
        return ghost_batch_norm.reference(images, block.scale, block.bias, *statistics, grouping)
    return F.batch_norm(images, *statistics, block.scale, block.bias, training, block.momentum, block.eps)


def is_faster(
    images: Tensor, blocks: Sequence[Block], whitening: Whitening | None = None, group_size: int | None = None
) -> bool:
    """Whether `fused` takes these tensors, on this machine, and is the faster version for them."""
    return min(len(images), group_size or len(images)) >= LEAST_GROUP and is_supported(images, blocks, whitening)


def is_supported(images: Tensor, blocks: Sequence[Block], whitening: Whitening | None = None) -> bool:
    """Whether `fused` takes these tensors, on this machine."""
    return _are_for_fused(images, blocks, whitening) and extension() is not None


def _are_for_fused(images: Tensor, blocks: Sequence[Block], whitening: Whitening | None) -> bool:
    filters = [block.weight for block in blocks] + ([whitening.weight] if whitening else [])
    vectors = [each for block in blocks for each in block[1:5]]
    if not blocks or images.dim() != 4 or not images.numel() or torch.compiler.is_compiling():
        return False
    if torch.is_autocast_enabled("cpu") or any(each.device.type != "cpu" for each in (images, *filters, *vectors)):
        return False
    if any(each.dtype != torch.bfloat16 for each in (images, *filters)) or any(
        each.dtype != torch.float32 for each in vectors
    ):
        return False
    sides, channels = list(images.shape[2:]), images.shape[1]
    if whitening:
        patch = whitening.weight[0].numel()
        is_for_whitening = (
            patch < LARGEST_PATCH
            and whitening.weight.shape[1] == channels
            and whitening.activation in ACTIVATIONS
            and whitening.weight.shape[2] == whitening.weight.shape[3]
            and whitening.padding < whitening.weight.shape[2]
            and not (images.requires_grad or whitening.weight.requires_grad)
            and (whitening.bias is None or whitening.bias.dtype == torch.bfloat16)
        )
        if not is_for_whitening:
            return False
        sides = [side + 2 * whitening.padding - whitening.weight.shape[2] + 1 for side in sides]
        channels = len(whitening.weight)
    outputs: list[tuple[int, ...]] = []
    for block in blocks:
        if block.weight.shape[1] != channels:
            return False
        channels = len(block.weight)
        kernel = block.weight.shape[2:]
        if block.pool not in (1, 2, None) or min(sides) < 1:
            return False
        window = window_of(block, sides)
        sides = [side // of for side, of in zip(sides, window, strict=True)]
        if kernel[0] != kernel[1] or kernel[0] % 2 == 0 or kernel[0] > LARGEST_KERNEL or min(sides) < 1:
            return False
        if block.activation not in ACTIVATIONS:
            return False
        if block.pool is None and window[0] * window[1] > LARGEST_IMAGE:
            return False
        earlier = block.shortcut
        outputs.append((channels, *sides))
        if earlier is not None and not (0 <= earlier < len(outputs) - 1 and outputs[earlier] == outputs[-1]):
            return False
    return True
