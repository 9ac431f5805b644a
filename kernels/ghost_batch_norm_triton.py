"""Triton programs of ghost batch norm and the activation after it; `kernels/ghost_batch_norm_launch.py` starts them.

Images are seen as rows (a pixel of an image) and channels; a group is a run of rows. Each pass is a grid of stretches
of a group, groups, and blocks of channels; the stretches of a group are then combined, a channel a program.

Both numbers of a group that a pass computes lie in one tensor, (channels, 2, groups), because each tensor costs the
host time at every launch. `statistics`: mean and inverse standard deviation. `sums`: of the gradients, and of their
products with the normalised images. `parts`: what is combined to one of these, (channels, 2, groups, stretches).
"""

from __future__ import annotations

from kernels.activations import activate, derivative
from kernels.triton_import import jit, tl


@jit
def tile(first, end, pixels, channels, by_image, by_pixel, by_channel, ROWS: tl.constexpr, CHANNELS: tl.constexpr):
    """Offsets, mask and channels of the rows from `first` on, as far as `end`."""
    rows = first + tl.arange(0, ROWS)
    columns = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    offsets = ((rows // pixels) * by_image + (rows % pixels) * by_pixel)[:, None] + (columns * by_channel)[None, :]
    return offsets, (rows < end)[:, None] & (columns < channels)[None, :], columns


@jit
def rows_between(first, end, most):
    """Rows from `first` to `end`, at most so many, as a float."""
    return tl.maximum(tl.minimum(end - first, most), 0).to(tl.float32)


@jit
def mean_of_rows(values, count):
    """Of each channel; 0 where it is not finite. Deviations from it are small, so that their squares lose nothing."""
    mean = tl.sum(values, 0) / tl.maximum(count, 1.0)
    return tl.where(tl.abs(mean) < float("inf"), mean, 0.0)


@jit
def load_pair(values, place, distance, inside):
    """Both numbers at `place`, the second of which lies `distance` after the first."""
    return tl.load(values + place, inside, 0.0), tl.load(values + place + distance, inside, 0.0)


@jit
def store_pair(values, place, distance, first, second, inside):
    """Write both numbers at `place`."""
    tl.store(values + place, first, inside)
    tl.store(values + place + distance, second, inside)


@jit
def load_of_group(values, columns, inside):
    """Both numbers of some channels in the group of this program."""
    groups = tl.num_programs(1)
    return load_pair(values, columns * 2 * groups + tl.program_id(1), groups, inside)


@jit
def store_part(parts, columns, first, second, inside):
    """Both numbers of some channels in the stretch of this program."""
    splits, groups = tl.num_programs(0), tl.num_programs(1)
    place = (columns * 2 * groups + tl.program_id(1)) * splits + tl.program_id(0)
    store_pair(parts, place, groups * splits, first, second, inside)


@jit
def store_statistics(parts, shift, total, square, count, columns, channels):
    """Mean and sum of squared deviations, from the sums of `count` deviations from `shift` and of their squares."""
    deviation = tl.sum(total, 0) / tl.maximum(count, 1.0)
    square_sum = tl.sum(square, 0) - deviation * tl.sum(total, 0)
    store_part(parts, columns, shift + deviation, tl.where(square_sum < 0, 0.0, square_sum), columns < channels)


@jit
def sum_up_images(
    images, parts, rows, group_rows, steps,
    pixels, channels, by_image, by_pixel, by_channel, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Mean and sum of squared deviations of each channel over a stretch of a group."""
    split, group = tl.program_id(0), tl.program_id(1)
    first = group * group_rows + split * steps * ROWS
    end = tl.minimum((group + 1) * group_rows, rows)
    offsets, inside, columns = tile(first, end, pixels, channels, by_image, by_pixel, by_channel, ROWS, CHANNELS)
    values = tl.load(images + offsets, inside, 0.0).to(tl.float32)
    shift = mean_of_rows(values, rows_between(first, end, ROWS))
    total = tl.zeros((ROWS, CHANNELS), tl.float32)
    square = tl.zeros((ROWS, CHANNELS), tl.float32)
    for step in range(steps):
        offsets, inside, _ = tile(
            first + step * ROWS, end, pixels, channels, by_image, by_pixel, by_channel, ROWS, CHANNELS
        )
        values = tl.load(images + offsets, inside, 0.0).to(tl.float32)
        deviations = tl.where(inside, values - shift[None, :], 0.0)
        total += deviations
        square += deviations * deviations
    store_statistics(parts, shift, total, square, rows_between(first, end, steps * ROWS), columns, channels)


@jit
def combine_statistics(
    parts, statistics, running_mean, running_var, momentum, eps,
    rows, group_rows, split_rows, groups, splits, GROUPS: tl.constexpr, SPLITS: tl.constexpr,
):  # fmt: skip
    """Mean and inverse standard deviation of each group of a channel, and the channel's running statistics."""
    channel = tl.program_id(0)
    group, split = tl.arange(0, GROUPS), tl.arange(0, SPLITS)
    inside = (group < groups)[:, None] & (split < splits)[None, :]
    place = channel * 2 * groups + group
    split_mean, square = load_pair(parts, place[:, None] * splits + split[None, :], groups * splits, inside)
    first = (group * group_rows)[:, None] + (split * split_rows)[None, :]
    end = tl.minimum((group + 1) * group_rows, rows)[:, None]
    count = tl.where(inside, rows_between(first, end, split_rows), 0.0)
    total = tl.maximum(tl.sum(count, 1), 1.0)
    mean = tl.sum(split_mean * count, 1) / total
    deviation = split_mean - mean[:, None]
    square_sum = tl.sum(square + count * deviation * deviation, 1)
    store_pair(statistics, place, groups, mean, 1 / tl.sqrt(square_sum / total + eps), group < groups)
    new_mean = tl.sum(mean, 0) / groups
    new_var = tl.sum(square_sum / tl.maximum(total - 1, 1.0), 0) / groups  # unbiased, as in BatchNorm2d
    old_mean, old_var = tl.load(running_mean + channel), tl.load(running_var + channel)
    tl.store(running_mean + channel, old_mean + momentum * (new_mean - old_mean))
    tl.store(running_var + channel, old_var + momentum * (new_var - old_var))


@jit
def normalize(
    images, outputs, statistics, scales, biases, alpha, rows, group_rows,
    pixels, channels, by_image, by_pixel, by_channel,
    ACTIVATION: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """The forward pass, from the groups' statistics."""
    group = tl.program_id(1)
    first = group * group_rows + tl.program_id(0) * ROWS
    end = tl.minimum((group + 1) * group_rows, rows)
    offsets, inside, columns = tile(first, end, pixels, channels, by_image, by_pixel, by_channel, ROWS, CHANNELS)
    valid = columns < channels
    mean, inverse_std = load_of_group(statistics, columns, valid)
    scale, bias = tl.load(scales + columns, valid, 0.0), tl.load(biases + columns, valid, 0.0)
    values = tl.load(images + offsets, inside, 0.0).to(tl.float32)
    z = (values - mean[None, :]) * (inverse_std * scale)[None, :] + bias[None, :]
    tl.store(outputs + offsets, activate(z, alpha, ACTIVATION).to(outputs.dtype.element_ty), inside)


@jit
def sum_up_gradients(
    images, gradients, parts, statistics, scales, biases, alpha, rows, group_rows, steps,
    pixels, channels, by_image, by_pixel, by_channel,
    ACTIVATION: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Sum of the gradients before the activation, alone and times the normalised images, over a stretch of a group."""
    split, group = tl.program_id(0), tl.program_id(1)
    first = group * group_rows + split * steps * ROWS
    end = tl.minimum((group + 1) * group_rows, rows)
    columns = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    valid = columns < channels
    mean, inverse_std = load_of_group(statistics, columns, valid)
    scale, bias = tl.load(scales + columns, valid, 0.0), tl.load(biases + columns, valid, 0.0)
    total = tl.zeros((ROWS, CHANNELS), tl.float32)
    product = tl.zeros((ROWS, CHANNELS), tl.float32)
    for step in range(steps):
        offsets, inside, _ = tile(
            first + step * ROWS, end, pixels, channels, by_image, by_pixel, by_channel, ROWS, CHANNELS
        )
        values = tl.load(images + offsets, inside, 0.0).to(tl.float32)
        gradient = tl.load(gradients + offsets, inside, 0.0).to(tl.float32)
        normalised = (values - mean[None, :]) * inverse_std[None, :]
        gradient *= derivative(normalised * scale[None, :] + bias[None, :], alpha, ACTIVATION)
        total += tl.where(inside, gradient, 0.0)
        product += tl.where(inside, gradient * normalised, 0.0)
    store_part(parts, columns, tl.sum(total, 0), tl.sum(product, 0), valid)


@jit
def combine_sums(
    parts, sums, scale_gradient, bias_gradient, groups, splits,
    GROUPS: tl.constexpr, SPLITS: tl.constexpr,
):  # fmt: skip
    """Both sums over each group of a channel, and over all: the gradients of its bias and scale."""
    channel = tl.program_id(0)
    group, split = tl.arange(0, GROUPS), tl.arange(0, SPLITS)
    inside = (group < groups)[:, None] & (split < splits)[None, :]
    place = channel * 2 * groups + group
    total, product = load_pair(parts, place[:, None] * splits + split[None, :], groups * splits, inside)
    total, product = tl.sum(total, 1), tl.sum(product, 1)
    store_pair(sums, place, groups, total, product, group < groups)
    tl.store(bias_gradient + channel, tl.sum(total, 0))
    tl.store(scale_gradient + channel, tl.sum(product, 0))


@jit
def image_gradient(
    images, gradients, sums, statistics, scales, biases, alpha, count,
    offsets, inside, columns, channels, ACTIVATION: tl.constexpr,
):  # fmt: skip
    """The gradient of a tile of the images, from both sums of their group of `count` rows."""
    valid = columns < channels
    mean, inverse_std = load_of_group(statistics, columns, valid)
    scale, bias = tl.load(scales + columns, valid, 0.0), tl.load(biases + columns, valid, 0.0)
    total, product = load_of_group(sums, columns, valid)
    total, product = total / count, product / count
    values = tl.load(images + offsets, inside, 0.0).to(tl.float32)
    gradient = tl.load(gradients + offsets, inside, 0.0).to(tl.float32)
    normalised = (values - mean[None, :]) * inverse_std[None, :]
    gradient *= derivative(normalised * scale[None, :] + bias[None, :], alpha, ACTIVATION)
    return (gradient - total[None, :] - normalised * product[None, :]) * (inverse_std * scale)[None, :]


@jit
def differentiate(
    images, gradients, outputs, sums, statistics, scales, biases, alpha, rows, group_rows,
    pixels, channels, by_image, by_pixel, by_channel,
    ACTIVATION: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """The gradient of the images."""
    group = tl.program_id(1)
    first = group * group_rows + tl.program_id(0) * ROWS
    end = tl.minimum((group + 1) * group_rows, rows)
    offsets, inside, columns = tile(first, end, pixels, channels, by_image, by_pixel, by_channel, ROWS, CHANNELS)
    gradient = image_gradient(
        images, gradients, sums, statistics, scales, biases, alpha,
        rows_between(group * group_rows, end, group_rows), offsets, inside, columns, channels, ACTIVATION,
    )  # fmt: skip
    tl.store(outputs + offsets, gradient.to(outputs.dtype.element_ty), inside)
