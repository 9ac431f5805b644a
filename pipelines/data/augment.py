"""Augmentation of a whole epoch at once: choices drawn in a few bulk calls, then applied to images in memory order.

Images are (N, height, width, channels) here, so that a row of a crop is one run of memory.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from kernels import augment as kernel
from pipelines.data import warp
from pipelines.data.order import EpochOrder
from pipelines.recipe import Recipe
from pipelines.recipe.training import Augment

EVEN_OPTIONS = 200
"""places that an epoch's images share under `augment.draw: even`, as in cifar10-fast (new_dawn.py, max_options)"""


@dataclass(frozen=True)
class Choices(kernel.Choices):
    """What is done to each image of an epoch: by the kernel, and to where its pixels come from."""

    affine: Tensor | None = None
    """(count, 2, 3) maps from places in the result to places in the crop"""
    elastic: Tensor | None = None
    """(count, height, width, 2) displacements of these places"""


def draw(
    config: Augment, count: int, size: tuple[int, int], generator: torch.Generator, flip_first: Tensor, epoch: int
) -> Choices:
    """Choices for `count` images of `size` (height, width).

    flip_first: bool (count,), whether each image is mirrored in epoch 0 of alternating flip; in epoch `epoch` (from 0)
    it is turned over so often that any two epochs in a row show both (airbench, Jordan 2024).
    """

    def integers(high: int) -> Tensor:
        return torch.randint(high, (count,), generator=generator, device=generator.device)

    def places(rows: int, columns: int) -> tuple[Tensor, Tensor]:
        if config.draw == "independent":
            return integers(rows), integers(columns)
        drawn = evenly(rows * columns, count, generator)
        return drawn // columns, drawn % columns

    def around(centre: float, radius: float) -> Tensor | None:
        if not radius:
            return None
        return centre + radius * (2 * torch.rand(count, generator=generator, device=generator.device) - 1)

    height, width = size
    top, left = places(2 * config.crop + 1, 2 * config.crop + 1)
    if config.flip == "none":
        flip = None
    elif config.flip == "random":
        flip = (integers(2) if config.draw == "independent" else evenly(2, count, generator)).bool()
    else:
        flip = flip_first ^ bool(epoch % 2)
    cutout_top, cutout_left = None, None
    if config.cutout:
        cutout_top, cutout_left = places(height - config.cutout + 1, width - config.cutout + 1)
    affine = warp.draw_affine(config.affine, count, size, generator) if config.affine else None
    elastic = warp.draw_elastic(config.elastic, count, size, generator) if config.elastic else None
    shift, scale = around(0, config.brightness), around(1, config.contrast)
    return Choices(top, left, flip, shift, scale, cutout_top, cutout_left, config.cutout, affine, elastic)


def draw_share(
    recipe: Recipe,
    order: EpochOrder,
    size: tuple[int, int],
    generator: torch.Generator,
    flip_first: Tensor,
    epoch: int,
) -> Choices:
    """Choices for this process's images of an epoch, in the order of its batches.

    Where the processes share the stream, `generator` is in the same state on all of them. Each draws for all images of
    the epoch and keeps its share, so that an image gets the same choices whatever the number of processes. flip_first:
    bool, one for each image of the training set. The rest is as in `draw`.
    """
    share = torch.cat(order.shares)
    if not recipe.shares_augmentation:
        return draw(recipe.augment, len(share), size, generator, flip_first[order.images[share]], epoch)
    choices = draw(recipe.augment, len(order.images), size, generator, flip_first[order.images], epoch)
    return choices if len(share) == len(order.images) else choices.of(share)


def evenly(options: int, count: int, generator: torch.Generator) -> Tensor:
    """One of `options` numbers for each of `count` images, (count,), each number equally often (give or take one).

    At most EVEN_OPTIONS of the numbers are used, drawn anew at each call.
    """
    chosen = torch.randperm(options, generator=generator, device=generator.device)[:EVEN_OPTIONS]
    places = torch.randperm(count, generator=generator, device=generator.device)
    return chosen[places * len(chosen) // max(count, 1)]


def apply(padded: Tensor, order: Tensor, choices: Choices, out: Tensor, size: kernel.Size | None = None) -> None:
    """Write image `order[i]` of `padded`, cropped, mirrored, warped, brightened, stretched and cut out by the i-th
    choices, and resized bilinearly, to `out[i]`.

    padded: (N, height + 2 * pad, width + 2 * pad, channels); order: (M,) indices into it; out: (M, height, width,
    channels), same dtype. size: height and width before they are resized; None: those of `out`.
    """
    if choices.affine is None and choices.elastic is None:
        kernel.augment(padded, order, out, choices, size)
        return
    is_resized = size is not None and size != out.shape[1:3]
    for start in range(0, len(out), kernel.CHUNK):
        part = slice(start, start + kernel.CHUNK)
        do, result = choices.of(part), out[part]
        crops = result.new_empty(len(result), *size, result.shape[3]) if is_resized else result
        kernel.augment(padded, order[part], crops, kernel.Choices(do.top, do.left, do.flip))
        warped = warp.warp(crops, do.affine, do.elastic)
        everyone, nowhere = torch.arange(len(warped), device=out.device), torch.zeros_like(do.top)
        kernel.augment(warped, everyone, result, replace(do, top=nowhere, left=nowhere, flip=None), size)


def augmented(padded: Tensor, order: Tensor, config: Augment, generator: torch.Generator) -> Tensor:
    """Images `order` of `padded`, each with an augmentation of its own: (M, height, width, channels)."""
    height, width = padded.shape[1] - 2 * config.crop, padded.shape[2] - 2 * config.crop
    flips = torch.randint(2, (len(order),), generator=generator, device=order.device).bool()
    choices = draw(config, len(order), (height, width), generator, flips, epoch=0)
    images = padded.new_empty(len(order), height, width, padded.shape[3])
    apply(padded, order, choices, images)
    return images
