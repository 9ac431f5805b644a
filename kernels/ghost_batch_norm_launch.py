"""Ghost batch norm and the activation after it in Triton: two passes over the images forward, two backward.

With a 2x2 max-pool before it: one pass over the images forward, which writes them pooled, and one that writes their
gradient; the others are over what was pooled.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import torch
from torch import Tensor

from kernels.ghost_batch_norm_triton import (
    combine_statistics,
    combine_sums,
    differentiate,
    normalize,
    sum_up_gradients,
    sum_up_images,
)
from kernels.grouping import Grouping
from kernels.pooled_ghost_batch_norm_triton import differentiate_pooled, pool_and_sum_up
from kernels.triton_import import triton

MOST_GROUPS = 4096
"""that a program combines at once"""
PROGRAMS = 1024
"""that sum up the images: enough to keep a GPU busy"""
TILE = 4096
"""elements that a program reads at a time"""


def memory_format_of(images: Tensor) -> torch.memory_format:
    is_channels_last = images.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if is_channels_last else torch.contiguous_format


@dataclass(frozen=True)
class Launch:
    """How the programs walk over the images that are normalised. Computed once for each shape, because a step of small
    kernels takes as long as the host needs to launch them."""

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
    @cache
    def over(cls, size: torch.Size, memory_format: torch.memory_format, group_size: int) -> Launch:
        count, channels, height, width = size
        pixels, groups = height * width, -(-count // group_size)
        is_channels_last = memory_format == torch.channels_last
        strides = (pixels * channels, channels, 1) if is_channels_last else (pixels * channels, 1, pixels)
        block = min(triton.next_power_of_2(channels), 64 if is_channels_last else 8)
        group_rows = min(group_size, count) * pixels
        blocks = {"ROWS": min(TILE // block, triton.next_power_of_2(group_rows)), "CHANNELS": block}
        tiles = triton.cdiv(group_rows, blocks["ROWS"])
        wanted = max(PROGRAMS // (groups * triton.cdiv(channels, block)), 1)
        splits = min(wanted, tiles, max(MOST_GROUPS // triton.next_power_of_2(groups), 1))
        shape = (pixels, channels, *strides)
        return cls(memory_format, shape, count * pixels, group_rows, groups, tiles, triton.cdiv(tiles, splits), blocks)

    def grid(self, stretches: int) -> tuple[int, int, int]:
        return stretches, self.groups, self.channel_blocks

    @cached_property
    def channel_blocks(self) -> int:
        return triton.cdiv(self.shape[1], self.blocks["CHANNELS"])

    @cached_property
    def splits(self) -> int:
        """Stretches of a group."""
        return triton.cdiv(self.tiles, self.steps)

    @cached_property
    def powers(self) -> dict[str, int]:
        return {"GROUPS": triton.next_power_of_2(self.groups), "SPLITS": triton.next_power_of_2(self.splits)}

    def pairs(self, *trailing: int, like: Tensor) -> Tensor:
        """Room for two float32 numbers of each channel and group: (channels, 2, groups, *trailing)."""
        return like.new_empty(self.shape[1], 2, self.groups, *trailing, dtype=torch.float32)

    def normalize(
        self, images: Tensor, parts: Tensor, scale: Tensor, bias: Tensor, running_mean: Tensor, running_var: Tensor,
        grouping: Grouping,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Outputs, and the statistics of the groups, from those of the stretches."""
        statistics = self.pairs(like=images)
        combine_statistics[(len(scale),)](
            parts, statistics, running_mean, running_var, grouping.momentum, grouping.eps,
            self.rows, self.group_rows, self.steps * self.blocks["ROWS"], self.groups, self.splits, **self.powers,
        )  # fmt: skip
        outputs = torch.empty_like(images)
        normalize[self.grid(self.tiles)](
            images, outputs, statistics, scale, bias, grouping.alpha, self.rows, self.group_rows, *self.shape,
            ACTIVATION=grouping.activation, **self.blocks,
        )  # fmt: skip
        return outputs, statistics

    def sum_up(
        self, images: Tensor, gradients: Tensor, statistics: Tensor, scale: Tensor, bias: Tensor, grouping: Grouping
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Both sums of each group that the gradient of the images needs, and the gradients of scale and bias."""
        parts, sums = self.pairs(self.splits, like=images), self.pairs(like=images)
        scale_gradient, bias_gradient = torch.empty_like(scale), torch.empty_like(scale)
        sum_up_gradients[self.grid(self.splits)](
            images, gradients, parts, statistics, scale, bias, grouping.alpha, self.rows, self.group_rows, self.steps,
            *self.shape, ACTIVATION=grouping.activation, **self.blocks,
        )  # fmt: skip
        combine_sums[(len(scale),)](parts, sums, scale_gradient, bias_gradient, self.groups, self.splits, **self.powers)
        return sums, scale_gradient, bias_gradient


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, images: Tensor, scale: Tensor, bias: Tensor, running_mean: Tensor, running_var: Tensor,
        grouping: Grouping,
    ) -> Tensor:  # fmt: skip
        launch = Launch.over(images.shape, memory_format_of(images), grouping.size)
        images = images.contiguous(memory_format=launch.memory_format)
        parts = launch.pairs(launch.splits, like=images)
        sum_up_images[launch.grid(launch.splits)](
            images, parts, launch.rows, launch.group_rows, launch.steps, *launch.shape, **launch.blocks
        )
        outputs, statistics = launch.normalize(images, parts, scale, bias, running_mean, running_var, grouping)
        ctx.save_for_backward(images, statistics, scale, bias)
        ctx.launch, ctx.grouping = launch, grouping
        return outputs

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradients: Tensor) -> tuple[Tensor | None, ...]:
        images, *saved = ctx.saved_tensors
        launch = ctx.launch
        gradients = gradients.contiguous(memory_format=launch.memory_format)
        sums, *others = launch.sum_up(images, gradients, *saved, ctx.grouping)
        outputs = torch.empty_like(images)
        differentiate[launch.grid(launch.tiles)](
            images, gradients, outputs, sums, *saved, ctx.grouping.alpha, launch.rows, launch.group_rows,
            *launch.shape, ACTIVATION=ctx.grouping.activation, **launch.blocks,
        )  # fmt: skip
        return outputs, *others, *[None] * 3


class _PooledAndFused(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, images: Tensor, scale: Tensor, bias: Tensor, running_mean: Tensor, running_var: Tensor,
        grouping: Grouping,
    ) -> Tensor:  # fmt: skip
        memory_format = memory_format_of(images)
        images = images.contiguous(memory_format=memory_format)
        count, channels, height, width = images.shape
        size = (count, channels, height // 2, width // 2)
        pooled = torch.empty(size, dtype=images.dtype, device=images.device, memory_format=memory_format)
        places = torch.empty_like(pooled, dtype=torch.uint8)
        launch = Launch.over(pooled.shape, memory_format, grouping.size)
        parts = launch.pairs(launch.splits, like=images)
        by_channel, by_pixel = (1, channels) if memory_format == torch.channels_last else (height * width, 1)
        source = (width // 2, channels * height * width, width * by_pixel, by_pixel, by_channel)
        pool_and_sum_up[launch.grid(launch.splits)](
            images, pooled, places, parts, launch.rows, launch.group_rows, launch.steps,
            *source, *launch.shape, **launch.blocks,
        )  # fmt: skip
        outputs, statistics = launch.normalize(pooled, parts, scale, bias, running_mean, running_var, grouping)
        ctx.save_for_backward(pooled, places, statistics, scale, bias)
        ctx.launch, ctx.grouping = launch, grouping
        ctx.source, ctx.size = source, images.shape
        return outputs

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradients: Tensor) -> tuple[Tensor | None, ...]:
        pooled, places, *saved = ctx.saved_tensors
        launch = ctx.launch
        gradients = gradients.contiguous(memory_format=launch.memory_format)
        sums, *others = launch.sum_up(pooled, gradients, *saved, ctx.grouping)
        outputs = torch.empty(ctx.size, dtype=pooled.dtype, device=pooled.device, memory_format=launch.memory_format)
        _zero_the_rest(outputs)
        differentiate_pooled[launch.grid(launch.tiles)](
            pooled, places, gradients, outputs, sums, *saved, ctx.grouping.alpha, launch.rows, launch.group_rows,
            *ctx.source, *launch.shape, ACTIVATION=ctx.grouping.activation, **launch.blocks,
        )  # fmt: skip
        return outputs, *others, *[None] * 3


def _zero_the_rest(gradients: Tensor) -> None:
    """The last line and column of an odd height and width, which no pixel after the pool is from."""
    height, width = gradients.shape[2:]
    if height % 2:
        gradients[:, :, -1] = 0
    if width % 2:
        gradients[:, :, :, -1] = 0


def fused(*arguments: Any) -> Tensor:
    """`kernels.ghost_batch_norm.ghost_batch_norm`, for float32, float16 or bfloat16 images."""
    return _Fused.apply(*arguments)


def pooled_and_fused(*arguments: Any) -> Tensor:
    """`kernels.pooled_ghost_batch_norm.pooled_ghost_batch_norm`, for float32, float16 or bfloat16 images."""
    return _PooledAndFused.apply(*arguments)
