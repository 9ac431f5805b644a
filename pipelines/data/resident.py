"""The resident loader: the whole data set on the training device, preprocessed there once, augmented by the epoch."""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pipelines.data import augment
from pipelines.data.dataset import Dataset
from pipelines.data.order import shuffled_batches
from pipelines.recipe.training import Augment

CHUNK = 2000
"""images that are converted at a time, so that float32 copies stay small"""


def to_device(images: np.ndarray, labels: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor]:
    """uint8 images and integer labels as tensors on the device."""
    return torch.from_numpy(images).to(device), torch.from_numpy(labels).to(device)


def preprocess(images: Tensor, dataset: Dataset, dtype: torch.dtype, pad: int = 0) -> Tensor:
    """Cast, normalise by the data set's mean and std, and pad by reflection.

    images: uint8 (N, height, width, channels); returns `dtype` (N, height + 2 * pad, width + 2 * pad, channels).
    """
    count, height, width, channels = images.shape
    rows, columns = (_reflected(side, pad, images.device) for side in (height, width))
    mean = torch.tensor(dataset.mean, device=images.device)
    scale = 1 / torch.tensor(dataset.std, device=images.device)
    result = torch.empty(count, len(rows), len(columns), channels, dtype=dtype, device=images.device)
    for source, target in zip(images.split(CHUNK), result.split(CHUNK), strict=True):
        target.copy_(((source.float() - mean) * scale)[:, rows[:, None], columns])
    return result


def unpadded(images: Tensor, pad: int) -> Tensor:
    """(N, height, width, channels) images without the `pad` pixels around them."""
    return images[:, pad : images.shape[1] - pad, pad : images.shape[2] - pad]


def held_out(dataset: Dataset, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """The held-out images on the device, (N, channels, height, width), and their labels."""
    images, labels = to_device(dataset.validation_images, dataset.validation_labels, device)
    return preprocess(images, dataset, dtype).permute(0, 3, 1, 2), labels


def resized(images: Tensor, side: int) -> Tensor:
    """(N, channels, height, width) images at `side` x `side` pixels, bilinearly; themselves if that is their size."""
    if images.shape[2:] == (side, side):
        return images
    return F.interpolate(images, size=(side, side), mode="bilinear")


def check(knobs: Augment, height: int, width: int) -> None:
    """ValueError for augmentation that images of this size cannot have."""
    side = min(height, width)
    if knobs.crop >= side:
        raise ValueError(f"augment.crop={knobs.crop} reflects more than an image of {side} pixels has: give less")
    if knobs.cutout > side:
        raise ValueError(f"augment.cutout={knobs.cutout} is more than the {side} pixels of an image: give at most that")


def _reflected(side: int, pad: int, device: torch.device) -> Tensor:
    """Indices that pad `side` pixels by `pad` on both ends, mirrored at the border pixel."""
    assert pad < side
    indices = torch.arange(-pad, side + pad, device=device).abs()
    return torch.where(indices >= side, 2 * (side - 1) - indices, indices)


class ResidentLoader:
    """Serves augmented epochs of a training set that lies preprocessed on the device.

    padded: (N, height + 2 * crop, width + 2 * crop, channels); labels: (N,). `order_generator` draws the order, equal
    on all processes; `augment_generator` draws the augmentation, another one on each. This process takes the `rank`-th
    of `world_size` slices of every batch. weights: (N,), by which the images of an epoch are drawn; None: each once.
    """

    def __init__(
        self,
        padded: Tensor,
        labels: Tensor,
        knobs: Augment,
        *,
        batch_size: int,
        drop_last: bool,
        channels_last: bool,
        order_generator: torch.Generator,
        augment_generator: torch.Generator,
        rank: int = 0,
        world_size: int = 1,
        weights: Tensor | None = None,
    ) -> None:
        self._padded, self._labels, self._knobs = padded, labels, knobs
        self._batch_size, self._drop_last, self._channels_last = batch_size, drop_last, channels_last
        self._order_generator, self._augment_generator = order_generator, augment_generator
        self._rank, self._world_size, self._weights = rank, world_size, weights
        count = len(labels)
        self._flip_first = torch.randint(2, (count,), generator=order_generator, device=padded.device).bool()
        height, width, channels = padded.shape[1] - 2 * knobs.crop, padded.shape[2] - 2 * knobs.crop, padded.shape[3]
        self._images = torch.empty(0, height, width, channels, dtype=padded.dtype, device=padded.device)

    def epoch(self, epoch: int) -> "Epoch":
        """The batches of epoch `epoch` (from 0), with all augmentation already applied."""
        batches = shuffled_batches(
            len(self._labels),
            self._batch_size,
            self._order_generator,
            drop_last=self._drop_last,
            rank=self._rank,
            world_size=self._world_size,
            weights=self._weights,
        )
        order = torch.cat(batches)
        size = (self._images.shape[1], self._images.shape[2])
        choices = augment.draw(self._knobs, len(order), size, self._augment_generator, self._flip_first[order], epoch)
        if len(self._images) != len(order):
            self._images = self._images.new_empty(len(order), *self._images.shape[1:])
        augment.apply(self._padded, order, choices, self._images)
        images = self._images.permute(0, 3, 1, 2)
        if self._knobs.resolution:
            images = resized(images, self._knobs.resolution.size(epoch))
        if self._channels_last:
            images = images.contiguous(memory_format=torch.channels_last)  # CUDA resizes few channels into the other
        else:
            # strides of images with one channel fit both layouts, and torch takes them for the other: made anew
            images = images.contiguous().flatten(1).unflatten(1, images.shape[1:])
        return Epoch(images, self._labels[order], [len(batch) for batch in batches])


class Epoch:
    """An epoch in memory: iterating gives (images, labels) batches as views, without copying."""

    def __init__(self, images: Tensor, labels: Tensor, batch_sizes: list[int]) -> None:
        self.images, self.labels = images, labels
        self.batch_sizes = batch_sizes

    def __len__(self) -> int:
        return len(self.batch_sizes)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(self.images.split(self.batch_sizes), self.labels.split(self.batch_sizes), strict=True)
