"""Triton programs of the 2x2 max-pool before a ghost batch norm, in the passes that read and write the images anyway.

Rows are pixels of the pooled images, walked over as in `kernels/ghost_batch_norm_triton.py`; `by_image`, `by_line`,
`by_pixel` and `by_channel` are strides of the images before the pool, `width` the pixels of a line after it.
"""

from __future__ import annotations

from kernels.ghost_batch_norm_triton import image_gradient, mean_of_rows, rows_between, store_statistics, tile
from kernels.triton_import import jit, tl


@jit
def corners(first, pixels, width, by_image, by_line, by_pixel, by_channel, ROWS: tl.constexpr, CHANNELS: tl.constexpr):
    """Offsets of the upper left of the four pixels of each row from `first` on."""
    rows = first + tl.arange(0, ROWS)
    columns = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    line, pixel = rows % pixels // width, rows % width
    offsets = (rows // pixels) * by_image + 2 * (line * by_line + pixel * by_pixel)
    return offsets[:, None] + (columns * by_channel)[None, :]


@jit
def largest(images, offsets, inside, by_line, by_pixel):
    """The largest of four pixels in float32, and which of them it is: the first of equals, the last NaN."""
    value = tl.load(images + offsets, inside, 0.0).to(tl.float32)
    place = tl.zeros(offsets.shape, tl.int32)
    for corner in tl.static_range(1, 4):
        other = tl.load(images + offsets + (corner // 2) * by_line + (corner % 2) * by_pixel, inside, 0.0)
        other = other.to(tl.float32)
        is_larger = (other > value) | (other != other)
        value, place = tl.where(is_larger, other, value), tl.where(is_larger, corner, place)
    return value, place


@jit
def pool_and_sum_up(
    images, pooled, places, parts, rows, group_rows, steps, width, by_image, by_line, by_pixel, by_channel,
    pixels, channels, by_pooled_image, by_pooled_pixel, by_pooled_channel, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Pool a stretch of a group: its pixels, which of four each was, and the mean and sum of squared deviations."""
    split, group = tl.program_id(0), tl.program_id(1)
    first = group * group_rows + split * steps * ROWS
    end = tl.minimum((group + 1) * group_rows, rows)
    offsets, inside, columns = tile(
        first, end, pixels, channels, by_pooled_image, by_pooled_pixel, by_pooled_channel, ROWS, CHANNELS
    )
    sources = corners(first, pixels, width, by_image, by_line, by_pixel, by_channel, ROWS, CHANNELS)
    values, place = largest(images, sources, inside, by_line, by_pixel)
    shift = mean_of_rows(values, rows_between(first, end, ROWS))
    total = tl.zeros((ROWS, CHANNELS), tl.float32)
    square = tl.zeros((ROWS, CHANNELS), tl.float32)
    for step in range(steps):
        start = first + step * ROWS
        offsets, inside, _ = tile(
            start, end, pixels, channels, by_pooled_image, by_pooled_pixel, by_pooled_channel, ROWS, CHANNELS
        )
        sources = corners(start, pixels, width, by_image, by_line, by_pixel, by_channel, ROWS, CHANNELS)
        values, place = largest(images, sources, inside, by_line, by_pixel)
        tl.store(pooled + offsets, values.to(pooled.dtype.element_ty), inside)
        tl.store(places + offsets, place.to(tl.uint8), inside)
        deviations = tl.where(inside, values - shift[None, :], 0.0)
        total += deviations
        square += deviations * deviations
    store_statistics(parts, shift, total, square, rows_between(first, end, steps * ROWS), columns, channels)


@jit
def differentiate_pooled(
    pooled, places, gradients, outputs, sums, statistics, scales, biases, alpha, rows, group_rows,
    width, by_image, by_line, by_pixel, by_channel,
    pixels, channels, by_pooled_image, by_pooled_pixel, by_pooled_channel,
    ACTIVATION: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """The gradient of the images: of four pixels, the one that was the largest has it."""
    group = tl.program_id(1)
    first = group * group_rows + tl.program_id(0) * ROWS
    end = tl.minimum((group + 1) * group_rows, rows)
    offsets, inside, columns = tile(
        first, end, pixels, channels, by_pooled_image, by_pooled_pixel, by_pooled_channel, ROWS, CHANNELS
    )
    gradient = image_gradient(
        pooled, gradients, sums, statistics, scales, biases, alpha,
        rows_between(group * group_rows, end, group_rows), offsets, inside, columns, channels, ACTIVATION,
    )  # fmt: skip
    place = tl.load(places + offsets, inside, 0)
    targets = corners(first, pixels, width, by_image, by_line, by_pixel, by_channel, ROWS, CHANNELS)
    for corner in tl.static_range(4):
        value = tl.where(place == corner, gradient, 0.0).to(outputs.dtype.element_ty)
        tl.store(outputs + targets + (corner // 2) * by_line + (corner % 2) * by_pixel, value, inside)
