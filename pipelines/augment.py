"""Augmentation of a whole epoch at once: choices drawn in a few bulk calls, then applied to images in memory order.

Images are (N, height, width, channels) here, so that a row of a crop is one run of memory.
"""

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from kernels import augment as kernel
from pipelines import warp
from pipelines.recipe.training import Augment


@dataclass(frozen=True)
class Choices:
    """What is done to each image of an epoch; every tensor has one entry an image, None leaves the step out."""

    top: Tensor
    """first row of the crop within the padded image"""
    left: Tensor
    """first column of the crop"""
    flip: Tensor | None
    """whether the image is mirrored"""
    cutout_top: Tensor | None
    """first row of the square that is cut out"""
    cutout_left: Tensor | None
    """first column of it"""
    affine: Tensor | None = None
    """(count, 2, 3) maps from places in the result to places in the crop"""
    elastic: Tensor | None = None
    """(count, height, width, 2) displacements of these places"""
    shift: Tensor | None = None
    """what is added to every pixel of the image"""
    scale: Tensor | None = None
    """what every pixel is then multiplied by"""

    def of(self, part: slice) -> "Choices":
        """What is done to some of the images."""
        every = (getattr(self, field.name) for field in fields(self))
        return Choices(*(None if one is None else one[part] for one in every))


def draw(
    knobs: Augment, count: int, size: tuple[int, int], generator: torch.Generator, flip_first: Tensor, epoch: int
) -> Choices:
    """Choices for `count` images of `size` (height, width).

    flip_first: bool (count,), whether each image is mirrored in epoch 0 of alternating flip; in epoch `epoch` (from 0)
    it is turned over so often that any two epochs in a row show both (airbench, Jordan 2024).
    """

    def integers(high: int) -> Tensor:
        return torch.randint(high, (count,), generator=generator, device=generator.device)

    def around(centre: float, radius: float) -> Tensor | None:
        if not radius:
            return None
        return centre + radius * (2 * torch.rand(count, generator=generator, device=generator.device) - 1)

    height, width = size
    top, left = integers(2 * knobs.crop + 1), integers(2 * knobs.crop + 1)
    if knobs.flip == "none":
        flip = None
    elif knobs.flip == "random":
        flip = integers(2).bool()
    else:
        flip = flip_first ^ bool(epoch % 2)
    cutout_top = integers(height - knobs.cutout + 1) if knobs.cutout else None
    cutout_left = integers(width - knobs.cutout + 1) if knobs.cutout else None
    affine = warp.draw_affine(knobs.affine, count, generator) if knobs.affine else None
    elastic = warp.draw_elastic(knobs.elastic, count, size, generator) if knobs.elastic else None
    shift, scale = around(0, knobs.brightness), around(1, knobs.contrast)
    return Choices(top, left, flip, cutout_top, cutout_left, affine, elastic, shift, scale)


def apply(padded: Tensor, order: Tensor, choices: Choices, cutout: int, out: Tensor) -> None:
    """Write image `order[i]` of `padded`, cropped, mirrored, brightened, stretched and cut out by the i-th choices, to
    `out[i]`.

    padded: (N, height + 2 * pad, width + 2 * pad, channels); order: (M,) indices into it; out: (M, height, width,
    channels), same dtype.
    """
    if choices.affine is None and choices.elastic is None:
        painting = _painting(choices, cutout)
        kernel.augment(padded, order, out, choices.top, choices.left, flip=choices.flip, **painting)
        return
    for start in range(0, len(out), kernel.CHUNK):
        part = slice(start, start + kernel.CHUNK)
        some, result = choices.of(part), out[part]
        kernel.augment(padded, order[part], result, some.top, some.left, flip=some.flip)
        warped = warp.warp(result, some.affine, some.elastic)
        everyone, nowhere = torch.arange(len(warped), device=out.device), torch.zeros_like(some.top)
        kernel.augment(warped, everyone, result, nowhere, nowhere, **_painting(some, cutout))


def _painting(choices: Choices, cutout: int) -> dict[str, Any]:
    """What is done to the values of the pixels, wherever they come from."""
    return {
        "shift": choices.shift,
        "scale": choices.scale,
        "cutout_top": choices.cutout_top,
        "cutout_left": choices.cutout_left,
        "cutout": cutout,
    }


def augmented(padded: Tensor, order: Tensor, knobs: Augment, generator: torch.Generator) -> Tensor:
    """Images `order` of `padded`, each with an augmentation of its own: (M, height, width, channels)."""
    height, width = padded.shape[1] - 2 * knobs.crop, padded.shape[2] - 2 * knobs.crop
    flips = torch.randint(2, (len(order),), generator=generator, device=order.device).bool()
    choices = draw(knobs, len(order), (height, width), generator, flips, epoch=0)
    images = padded.new_empty(len(order), height, width, padded.shape[3])
    apply(padded, order, choices, knobs.cutout, images)
    return images
