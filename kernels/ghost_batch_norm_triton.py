"""Ghost batch norm and the activation after it in Triton: two passes over the images forward, two backward.

Images are seen as rows (a pixel of an image) and channels; a group is a run of rows. Each pass is a grid of stretches
of a group, groups, and blocks of channels; the stretches of a group are then combined, a channel a program.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kernels.activations import activate, derivative
from kernels.triton_import import jit, tl, triton

MOST_GROUPS = 4096
"""that a program combines at once"""
PROGRAMS = 1024
"""that sum up the images: enough to keep a GPU busy"""
TILE = 4096
"""elements that a program reads at a time"""


@jit
def _tile(first, end, pixels, channels, by_image, by_pixel, by_channel, ROWS: tl.constexpr, CHANNELS: tl.constexpr):
    """Offsets, mask and channels of the rows from `first` on, as far as `end`."""
    rows = first + tl.arange(0, ROWS)
    columns = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    offsets = ((rows // pixels) * by_image + (rows % pixels) * by_pixel)[:, None] + (columns * by_channel)[None, :]
    return offsets, (rows < end)[:, None] & (columns < channels)[None, :], columns


@jit
def _count(first, end, most):
    """Rows from `first` to `end`, at most so many, as a float."""
    return tl.maximum(tl.minimum(end - first, most), 0).to(tl.float32)


@jit
def _statistics(
    images, means, squares, rows, group_rows, steps,
    pixels, channels, by_image, by_pixel, by_channel, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Mean and sum of squared deviations of each channel over a stretch of a group."""
    split, group = tl.program_id(0), tl.program_id(1)
    first = group * group_rows + split * steps * ROWS
    end = tl.minimum((group + 1) * group_rows, rows)
    offsets, inside, columns = _tile(first, end, pixels, channels, by_image, by_pixel, by_channel, ROWS, CHANNELS)
    values = tl.load(images + offsets, inside, 0.0).to(tl.float32)
    # deviations from the mean of the first rows: small, so that their squares lose nothing
    shift = tl.sum(values, 0) / tl.maximum(_count(first, end, ROWS), 1.0)
    shift = tl.where(tl.abs(shift) < float("inf"), shift, 0.0)
    total = tl.zeros((ROWS, CHANNELS), tl.float32)
    square = tl.zeros((ROWS, CHANNELS), tl.float32)
    for step in range(steps):
        offsets, inside, _ = _tile(
            first + step * ROWS, end, pixels, channels, by_image, by_pixel, by_channel, ROWS, CHANNELS
        )
        values = tl.load(images + offsets, inside, 0.0).to(tl.float32)
        deviations = tl.where(inside, values - shift[None, :], 0.0)
        total += deviations
        square += deviations * deviations
    deviation = tl.sum(total, 0) / tl.maximum(_count(first, end, steps * ROWS), 1.0)
    square_sum = tl.sum(square, 0) - deviation * tl.sum(total, 0)
    places = (columns * tl.num_programs(1) + group) * tl.num_programs(0) + split
    tl.store(means + places, shift + deviation, columns < channels)
    tl.store(squares + places, tl.where(square_sum < 0, 0.0, square_sum), columns < channels)


@jit
def _combine_statistics(
    split_means, split_squares, means, inverse_stds, running_mean, running_var, momentum, eps,
    rows, group_rows, split_rows, groups, splits, GROUPS: tl.constexpr, SPLITS: tl.constexpr,
):  # fmt: skip
    """Mean and inverse standard deviation of each group of a channel, and the channel's running statistics."""
    channel = tl.program_id(0)
    group, split = tl.arange(0, GROUPS), tl.arange(0, SPLITS)
    inside = (group < groups)[:, None] & (split < splits)[None, :]
    places = (channel * groups + group)[:, None] * splits + split[None, :]
    split_mean, square = tl.load(split_means + places, inside, 0.0), tl.load(split_squares + places, inside, 0.0)
    first = (group * group_rows)[:, None] + (split * split_rows)[None, :]
    end = tl.minimum((group + 1) * group_rows, rows)[:, None]
    count = tl.where(inside, _count(first, end, split_rows), 0.0)
    total = tl.maximum(tl.sum(count, 1), 1.0)
    mean = tl.sum(split_mean * count, 1) / total
    deviation = split_mean - mean[:, None]
    square_sum = tl.sum(square + count * deviation * deviation, 1)
    tl.store(means + channel * groups + group, mean, group < groups)
    tl.store(inverse_stds + channel * groups + group, 1 / tl.sqrt(square_sum / total + eps), group < groups)
    new_mean = tl.sum(mean, 0) / groups
    new_var = tl.sum(square_sum / tl.maximum(total - 1, 1.0), 0) / groups  # unbiased, as in BatchNorm2d
    old_mean, old_var = tl.load(running_mean + channel), tl.load(running_var + channel)
    tl.store(running_mean + channel, old_mean + momentum * (new_mean - old_mean))
    tl.store(running_var + channel, old_var + momentum * (new_var - old_var))


@jit
def _normalize(
    images, outputs, means, inverse_stds, scales, biases, alpha, rows, group_rows,
    pixels, channels, by_image, by_pixel, by_channel,
    ACTIVATION: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """The forward pass, from the groups' statistics."""
    group = tl.program_id(1)
    first = group * group_rows + tl.program_id(0) * ROWS
    end = tl.minimum((group + 1) * group_rows, rows)
    offsets, inside, columns = _tile(first, end, pixels, channels, by_image, by_pixel, by_channel, ROWS, CHANNELS)
    valid, place = columns < channels, columns * tl.num_programs(1) + group
    mean, inverse_std = tl.load(means + place, valid, 0.0), tl.load(inverse_stds + place, valid, 0.0)
    scale, bias = tl.load(scales + columns, valid, 0.0), tl.load(biases + columns, valid, 0.0)
    values = tl.load(images + offsets, inside, 0.0).to(tl.float32)
    z = (values - mean[None, :]) * (inverse_std * scale)[None, :] + bias[None, :]
    tl.store(outputs + offsets, activate(z, alpha, ACTIVATION).to(outputs.dtype.element_ty), inside)


@jit
def _sums(
    images, gradients, sums, products, means, inverse_stds, scales, biases, alpha, rows, group_rows, steps,
    pixels, channels, by_image, by_pixel, by_channel,
    ACTIVATION: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Sum of the gradients before the activation, alone and times the normalised images, over a stretch of a group."""
    split, group = tl.program_id(0), tl.program_id(1)
    first = group * group_rows + split * steps * ROWS
    end = tl.minimum((group + 1) * group_rows, rows)
    columns = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    valid, place = columns < channels, columns * tl.num_programs(1) + group
    mean, inverse_std = tl.load(means + place, valid, 0.0), tl.load(inverse_stds + place, valid, 0.0)
    scale, bias = tl.load(scales + columns, valid, 0.0), tl.load(biases + columns, valid, 0.0)
    total = tl.zeros((ROWS, CHANNELS), tl.float32)
    product = tl.zeros((ROWS, CHANNELS), tl.float32)
    for step in range(steps):
        offsets, inside, _ = _tile(
            first + step * ROWS, end, pixels, channels, by_image, by_pixel, by_channel, ROWS, CHANNELS
        )
        values = tl.load(images + offsets, inside, 0.0).to(tl.float32)
        gradient = tl.load(gradients + offsets, inside, 0.0).to(tl.float32)
        normalised = (values - mean[None, :]) * inverse_std[None, :]
        gradient *= derivative(normalised * scale[None, :] + bias[None, :], alpha, ACTIVATION)
        total += tl.where(inside, gradient, 0.0)
        product += tl.where(inside, gradient * normalised, 0.0)
    places = place * tl.num_programs(0) + split
    tl.store(sums + places, tl.sum(total, 0), valid)
    tl.store(products + places, tl.sum(product, 0), valid)


@jit
def _combine_sums(
    split_sums, split_products, sums, products, scale_gradient, bias_gradient, groups, splits,
    GROUPS: tl.constexpr, SPLITS: tl.constexpr,
):  # fmt: skip
    """Both sums over each group of a channel, and over all: the gradients of its bias and scale."""
    channel = tl.program_id(0)
    group, split = tl.arange(0, GROUPS), tl.arange(0, SPLITS)
    inside = (group < groups)[:, None] & (split < splits)[None, :]
    places = (channel * groups + group)[:, None] * splits + split[None, :]
    total = tl.sum(tl.load(split_sums + places, inside, 0.0), 1)
    product = tl.sum(tl.load(split_products + places, inside, 0.0), 1)
    tl.store(sums + channel * groups + group, total, group < groups)
    tl.store(products + channel * groups + group, product, group < groups)
    tl.store(bias_gradient + channel, tl.sum(total, 0))
    tl.store(scale_gradient + channel, tl.sum(product, 0))


@jit
def _gradient(
    images, gradients, outputs, sums, products, means, inverse_stds, scales, biases, alpha, rows, group_rows,
    pixels, channels, by_image, by_pixel, by_channel,
    ACTIVATION: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """The gradient of the images, from both sums of their groups."""
    group = tl.program_id(1)
    first = group * group_rows + tl.program_id(0) * ROWS
    end = tl.minimum((group + 1) * group_rows, rows)
    offsets, inside, columns = _tile(first, end, pixels, channels, by_image, by_pixel, by_channel, ROWS, CHANNELS)
    valid, place = columns < channels, columns * tl.num_programs(1) + group
    mean, inverse_std = tl.load(means + place, valid, 0.0), tl.load(inverse_stds + place, valid, 0.0)
    scale, bias = tl.load(scales + columns, valid, 0.0), tl.load(biases + columns, valid, 0.0)
    count = _count(group * group_rows, end, group_rows)
    total, product = tl.load(sums + place, valid, 0.0) / count, tl.load(products + place, valid, 0.0) / count
    values = tl.load(images + offsets, inside, 0.0).to(tl.float32)
    gradient = tl.load(gradients + offsets, inside, 0.0).to(tl.float32)
    normalised = (values - mean[None, :]) * inverse_std[None, :]
    gradient *= derivative(normalised * scale[None, :] + bias[None, :], alpha, ACTIVATION)
    gradient = (gradient - total[None, :] - normalised * product[None, :]) * (inverse_std * scale)[None, :]
    tl.store(outputs + offsets, gradient.to(outputs.dtype.element_ty), inside)


@dataclass(frozen=True)
class _Launch:
    """How the kernels walk over the images."""

    memory_format: torch.memory_format
    shape: tuple[int, ...]
    """pixels, channels, and the strides of image, pixel and channel"""
    rows: int
    group_rows: int
    groups: int
    tiles: int
    """of rows in a group"""
    steps: int
    """tiles of rows in a stretch"""
    blocks: dict[str, int]

    @classmethod
    def of(cls, images: Tensor, group_size: int) -> _Launch:
        count, channels, height, width = images.shape
        pixels, groups = height * width, -(-count // group_size)
        is_channels_last = images.is_contiguous(memory_format=torch.channels_last)
        strides = (pixels * channels, channels, 1) if is_channels_last else (pixels * channels, 1, pixels)
        block = min(triton.next_power_of_2(channels), 64 if is_channels_last else 8)
        group_rows = min(group_size, count) * pixels
        blocks = {"ROWS": min(TILE // block, triton.next_power_of_2(group_rows)), "CHANNELS": block}
        tiles = triton.cdiv(group_rows, blocks["ROWS"])
        wanted = max(PROGRAMS // (groups * triton.cdiv(channels, block)), 1)
        splits = min(wanted, tiles, max(MOST_GROUPS // triton.next_power_of_2(groups), 1))
        memory_format = torch.channels_last if is_channels_last else torch.contiguous_format
        shape = (pixels, channels, *strides)
        return cls(memory_format, shape, count * pixels, group_rows, groups, tiles, triton.cdiv(tiles, splits), blocks)

    def grid(self, stretches: int) -> tuple[int, int, int]:
        return stretches, self.groups, triton.cdiv(self.shape[1], self.blocks["CHANNELS"])

    @property
    def splits(self) -> int:
        """Stretches of a group."""
        return triton.cdiv(self.tiles, self.steps)

    @property
    def powers(self) -> dict[str, int]:
        return {"GROUPS": triton.next_power_of_2(self.groups), "SPLITS": triton.next_power_of_2(self.splits)}

    def two(self, *trailing: int, like: Tensor) -> Tensor:
        """Two float32 tensors, (channels, groups, *trailing) each."""
        return like.new_empty(2, self.shape[1], self.groups, *trailing, dtype=torch.float32)


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, images: Tensor, scale: Tensor, bias: Tensor, running_mean: Tensor, running_var: Tensor,
        group_size: int, momentum: float, eps: float, activation: str | None, alpha: float,
    ) -> Tensor:  # fmt: skip
        launch = _Launch.of(images, group_size)
        images = images.contiguous(memory_format=launch.memory_format)
        split_rows = launch.steps * launch.blocks["ROWS"]
        parts, (means, inverse_stds) = launch.two(launch.splits, like=images), launch.two(like=images)
        _statistics[launch.grid(launch.splits)](
            images, *parts, launch.rows, launch.group_rows, launch.steps, *launch.shape, **launch.blocks
        )
        _combine_statistics[(len(scale),)](
            *parts, means, inverse_stds, running_mean, running_var, momentum, eps,
            launch.rows, launch.group_rows, split_rows, launch.groups, launch.splits, **launch.powers,
        )  # fmt: skip
        outputs = torch.empty_like(images)
        _normalize[launch.grid(launch.tiles)](
            images, outputs, means, inverse_stds, scale, bias, alpha, launch.rows, launch.group_rows, *launch.shape,
            ACTIVATION=activation, **launch.blocks,
        )  # fmt: skip
        ctx.save_for_backward(images, means, inverse_stds, scale, bias)
        ctx.launch, ctx.activation, ctx.alpha = launch, activation, alpha
        return outputs

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradients: Tensor) -> tuple[Tensor | None, ...]:
        images, *saved = ctx.saved_tensors
        launch, scale = ctx.launch, saved[2]
        gradients = gradients.contiguous(memory_format=launch.memory_format)
        parts, sums = launch.two(launch.splits, like=images), launch.two(like=images)
        scale_gradient, bias_gradient = torch.empty_like(scale), torch.empty_like(scale)
        place = (launch.rows, launch.group_rows)
        how = {"ACTIVATION": ctx.activation, **launch.blocks}
        _sums[launch.grid(launch.splits)](
            images, gradients, *parts, *saved, ctx.alpha, *place, launch.steps, *launch.shape, **how
        )
        _combine_sums[(len(scale),)](
            *parts, *sums, scale_gradient, bias_gradient, launch.groups, launch.splits, **launch.powers
        )
        outputs = torch.empty_like(images)
        _gradient[launch.grid(launch.tiles)](
            images, gradients, outputs, *sums, *saved, ctx.alpha, *place, *launch.shape, **how
        )
        return outputs, scale_gradient, bias_gradient, *[None] * 7


def fused(*arguments: Any) -> Tensor:
    """`kernels.ghost_batch_norm.ghost_batch_norm`, for float32, float16 or bfloat16 images."""
    return _Fused.apply(*arguments)
