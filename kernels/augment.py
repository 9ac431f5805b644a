"""Crop, flip, brightness, contrast, cutout and resizing of many images, gathered from where they lie padded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from kernels.choice import is_for_triton, is_wanted, note
from kernels.cpu import build
from kernels.cpu.fused import extension
from kernels.triton_import import jit, tl, triton

CHUNK = 2000
"""images that the definition gathers at a time: keeps what is intermediate within a few MB"""
CACHED = 500
"""images that a CPU gathers at a time: they are still in its cache when they are mirrored and cut"""
BLOCK = 1024
"""values of an image that a Triton program writes"""


@dataclass(frozen=True)
class Choices:
    """The random choices for some images. Each tensor has one entry per image; None omits the step."""

    top: Tensor
    """int64, first row of the crop within the padded image"""
    left: Tensor
    """int64, first column of the crop"""
    flip: Tensor | None = None
    """bool, whether the image is mirrored"""
    shift: Tensor | None = None
    """float32, what is added to every pixel of the image"""
    scale: Tensor | None = None
    """float32, what every pixel is then multiplied by, rounded once"""
    cutout_top: Tensor | None = None
    """int64, first row of the square that is set to 0, wholly inside the image"""
    cutout_left: Tensor | None = None
    """int64, first column of it"""
    cutout: int = 0
    """side of the square in pixels"""

    def of(self, part: slice | Tensor) -> Self:
        """What is done to some of the images: a slice of them, or those at these places, (M,) int64."""
        tensors = {name: value[part] for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **tensors)


Size = tuple[int, int]
"""height and width"""


def augment(padded: Tensor, order: Tensor, out: Tensor, choices: Choices, size: Size | None = None) -> None:
    """Write image `order[i]` of `padded`, cropped, mirrored, brightened, stretched and cut out by the i-th choices, and
    resized bilinearly, to `out[i]`.

    padded: (N, H, W, channels); order: (M,), int64; out: (M, height, width, channels) of the same dtype, contiguous.
    size: of the crops before they are resized; None: that of `out`.
    """
    size = size or (out.shape[1], out.shape[2])
    is_plain = out.dtype == padded.dtype and out.is_contiguous() and padded.is_contiguous() and out.numel() > 0
    version = reference
    if is_plain and is_for_triton("augment", padded):
        version = gathered
    elif is_plain and padded.device.type == "cpu" and is_wanted("augment", padded):
        version = by_rows
        if padded.dtype == torch.bfloat16 and extension() is not None:
            version = fused
            note(fused_version())
    version(padded, order, out, choices, size)


def reference(padded: Tensor, order: Tensor, out: Tensor, choices: Choices, size: Size) -> None:
    """The definition, for images in any dtype."""
    height, width = size
    windows = padded.unfold(1, height, 1).unfold(2, width, 1).permute(0, 1, 2, 4, 5, 3)
    rows = torch.arange(height, device=out.device)[None, :, None]
    columns = torch.arange(width, device=out.device)[None, None, :]
    for start in range(0, len(out), CHUNK):
        part = slice(start, start + CHUNK)
        do = choices.of(part)
        images = windows[order[part], do.top, do.left]
        if do.flip is not None:
            images = torch.where(do.flip[:, None, None, None], images.flip(2), images)
        if do.shift is not None:
            images = images + do.shift[:, None, None, None]  # in float32: half precision would round twice
        if do.scale is not None:
            images = images * do.scale[:, None, None, None]
        if do.cutout_top is not None and do.cutout_left is not None:
            down, right = rows - do.cutout_top[:, None, None], columns - do.cutout_left[:, None, None]
            inside = (down >= 0) & (down < do.cutout) & (right >= 0) & (right < do.cutout)
            images.masked_fill_(inside[..., None], 0)
        _resize(images.to(out.dtype), out[part])


def _resize(images: Tensor, out: Tensor) -> None:
    """Write (M, height, width, channels) images to `out`."""
    if images.shape[1:3] != out.shape[1:3]:
        images = F.interpolate(images.permute(0, 3, 1, 2), out.shape[1:3], mode="bilinear").permute(0, 2, 3, 1)
    out.copy_(images)


def by_rows(padded: Tensor, order: Tensor, out: Tensor, choices: Choices, size: Size) -> None:
    """On a CPU, for contiguous images: rows are copied whole, and nothing is gone over that is not mirrored or cut."""
    (height, width), channels = size, out.shape[3]
    is_resized = size != out.shape[1:3]
    crops = out.new_empty(min(CACHED, len(out)), height, width, channels) if is_resized else out
    by_row, by_image = padded.shape[2], padded.shape[1] * padded.shape[2]
    runs = padded.as_strided((padded.numel() // channels - width + 1, width * channels), (channels, 1))
    down = by_row * torch.arange(height)
    square = (width * torch.arange(choices.cutout)[:, None] + torch.arange(choices.cutout)).flatten()
    for start in range(0, len(out), CACHED):
        part = slice(start, start + CACHED)
        do = choices.of(part)
        images = crops[: len(do.top)] if is_resized else out[part]
        first = by_image * order[part] + by_row * do.top + do.left
        rows = (first[:, None] + down).flatten()
        torch.index_select(runs, 0, rows, out=images.view(-1, width * channels))
        if do.flip is not None:
            mirrored = do.flip.nonzero()[:, 0]
            images.index_copy_(0, mirrored, images.index_select(0, mirrored).flip(2))
        if do.shift is not None or do.scale is not None:
            values = images if do.shift is None else images + do.shift[:, None, None, None]
            images.copy_(values if do.scale is None else values * do.scale[:, None, None, None])
        if do.cutout_top is not None and do.cutout_left is not None:
            corners = height * width * torch.arange(len(images)) + width * do.cutout_top + do.cutout_left
            images.view(-1, channels).index_fill_(0, (corners[:, None] + square).flatten(), 0)
        if is_resized:
            _resize(images, out[part])


def fused(padded: Tensor, order: Tensor, out: Tensor, choices: Choices, size: Size) -> None:
    """In C++, for contiguous bfloat16 images on a CPU: each value is read once and written once. Resized values may
    differ from the definition's in the last bit."""
    kernels = extension()
    assert kernels
    kernels.augment(padded, order.contiguous(), out, *size, *_drawn(choices), choices.cutout)


@cache
def fused_version() -> str:
    """What a record says of `fused`: with the instructions that it is compiled for."""
    instructions = build.instructions()
    assert instructions
    return f"augment: {instructions.name}"


def _drawn(choices: Choices) -> list[Tensor | None]:
    """The choices as the kernels take them, one after the other."""
    names = ("top", "left", "flip", "shift", "scale", "cutout_top", "cutout_left")
    tensors = (getattr(choices, name) for name in names)
    return [None if one is None else one.contiguous() for one in tensors]


@jit
def _gather(
    padded, order, out, top, left, flip, shift, scale, cutout_top, cutout_left, cutout, by_image, by_row,
    HEIGHT: tl.constexpr, WIDTH: tl.constexpr, CHANNELS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """A block of the values of an image, in the order in which they are written."""
    image = tl.program_id(0)
    places = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = places < HEIGHT * WIDTH * CHANNELS
    row, column, channel = places // (WIDTH * CHANNELS), places // CHANNELS % WIDTH, places % CHANNELS
    source_column = column
    if flip is not None:
        source_column = tl.where(tl.load(flip + image) != 0, WIDTH - 1 - column, column)
    first = tl.load(order + image) * by_image + tl.load(top + image) * by_row + tl.load(left + image) * CHANNELS
    values = tl.load(padded + first + row * by_row + source_column * CHANNELS + channel, inside, 0.0)
    if shift is not None:
        values = values.to(tl.float32) + tl.load(shift + image)
    if scale is not None:
        values = values.to(tl.float32) * tl.load(scale + image)
    if cutout_top is not None:
        down, right = row - tl.load(cutout_top + image), column - tl.load(cutout_left + image)
        is_cut = (down >= 0) & (down < cutout) & (right >= 0) & (right < cutout)
        values = tl.where(is_cut, 0.0, values.to(tl.float32))
    start = image.to(tl.int64) * (HEIGHT * WIDTH * CHANNELS)
    tl.store(out + start + places, values.to(out.dtype.element_ty), inside)


@jit
def _resize_bilinearly(
    images, out, FROM_HEIGHT: tl.constexpr, FROM_WIDTH: tl.constexpr,
    HEIGHT: tl.constexpr, WIDTH: tl.constexpr, CHANNELS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """A block of the values of an image, each blended from the four around its place."""
    image = tl.program_id(0).to(tl.int64)
    places = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = places < HEIGHT * WIDTH * CHANNELS
    row, column, channel = places // (WIDTH * CHANNELS), places // CHANNELS % WIDTH, places % CHANNELS
    y = tl.maximum((row + 0.5) * (FROM_HEIGHT / HEIGHT) - 0.5, 0.0)
    x = tl.maximum((column + 0.5) * (FROM_WIDTH / WIDTH) - 0.5, 0.0)
    top, left = y.to(tl.int32), x.to(tl.int32)
    bottom, right = tl.minimum(top + 1, FROM_HEIGHT - 1), tl.minimum(left + 1, FROM_WIDTH - 1)
    down, across = y - top, x - left
    of_image = images + image * (FROM_HEIGHT * FROM_WIDTH * CHANNELS) + channel
    top, bottom, left, right = top * FROM_WIDTH, bottom * FROM_WIDTH, left * CHANNELS, right * CHANNELS
    top_left = tl.load(of_image + top * CHANNELS + left, inside, 0.0).to(tl.float32)
    top_right = tl.load(of_image + top * CHANNELS + right, inside, 0.0).to(tl.float32)
    bottom_left = tl.load(of_image + bottom * CHANNELS + left, inside, 0.0).to(tl.float32)
    bottom_right = tl.load(of_image + bottom * CHANNELS + right, inside, 0.0).to(tl.float32)
    upper = (1 - across) * top_left + across * top_right
    lower = (1 - across) * bottom_left + across * bottom_right
    blended = (1 - down) * upper + down * lower
    tl.store(out + image * (HEIGHT * WIDTH * CHANNELS) + places, blended.to(out.dtype.element_ty), inside)


def gathered(padded: Tensor, order: Tensor, out: Tensor, choices: Choices, size: Size) -> None:
    """In Triton, for contiguous float32, float16 or bfloat16 images: each value is read once and written once. Crops
    are resized after that, by a second kernel, because torch's has one thread for each place, which goes over all
    images. Resized values may differ from the definition's in the last bit."""
    (height, width), (count, *resized, channels) = size, out.shape
    crops = out if size == out.shape[1:3] else out.new_empty(count, height, width, channels)
    _gather[count, triton.cdiv(height * width * channels, BLOCK)](
        padded, order.contiguous(), crops, *_drawn(choices), choices.cutout, *padded.stride()[:2],
        HEIGHT=height, WIDTH=width, CHANNELS=channels, BLOCK=BLOCK,
    )  # fmt: skip
    if crops is not out:
        _resize_bilinearly[count, triton.cdiv(resized[0] * resized[1] * channels, BLOCK)](
            crops, out, FROM_HEIGHT=height, FROM_WIDTH=width,
            HEIGHT=resized[0], WIDTH=resized[1], CHANNELS=channels, BLOCK=BLOCK,
        )  # fmt: skip
