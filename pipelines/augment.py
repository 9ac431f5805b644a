"""Augmentation of a whole epoch at once: choices drawn in a few bulk calls, then applied to images in memory order.

Images are (N, height, width, channels) here, so that a row of a crop is one run of memory.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from pipelines.recipe.training import Augment

CHUNK = 2000
"""images that are gathered at a time: keeps what is intermediate within a few MB"""


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
    shift: Tensor | None = None
    """what is added to every pixel of the image"""
    scale: Tensor | None = None
    """what every pixel is then multiplied by"""


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
    shift, scale = around(0, knobs.brightness), around(1, knobs.contrast)
    return Choices(top, left, flip, cutout_top, cutout_left, shift, scale)


def apply(padded: Tensor, order: Tensor, choices: Choices, cutout: int, out: Tensor) -> None:
    """Write image `order[i]` of `padded`, cropped, mirrored, brightened, stretched and cut out by the i-th choices, to
    `out[i]`.

    padded: (N, height + 2 * pad, width + 2 * pad, channels); order: (M,) indices into it; out: (M, height, width,
    channels), same dtype.
    """
    height, width = out.shape[1:3]
    windows = padded.unfold(1, height, 1).unfold(2, width, 1).permute(0, 1, 2, 4, 5, 3)
    rows = torch.arange(height, device=out.device)[None, :, None]
    columns = torch.arange(width, device=out.device)[None, None, :]
    for start in range(0, len(out), CHUNK):
        part = slice(start, start + CHUNK)
        images = windows[order[part], choices.top[part], choices.left[part]]
        if choices.flip is not None:
            images = torch.where(choices.flip[part, None, None, None], images.flip(2), images)
        if choices.shift is not None:
            images = images + choices.shift[part, None, None, None]  # in float32: half precision would round twice
        if choices.scale is not None:
            images = images * choices.scale[part, None, None, None]
        if choices.cutout_top is not None and choices.cutout_left is not None:
            top, left = choices.cutout_top[part, None, None], choices.cutout_left[part, None, None]
            inside = (rows >= top) & (rows < top + cutout) & (columns >= left) & (columns < left + cutout)
            images.masked_fill_(inside[..., None], 0)
        out[part] = images
