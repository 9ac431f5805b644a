"""Loaders that keep the whole training set preprocessed in one memory and augment an epoch at once: `resident` on the
training device, `bulk` in host memory."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from pipelines.data import augment
from pipelines.data.loader import Batches, LoaderContext
from pipelines.data.preprocess import preprocess, to_contiguous_format, to_device, unpadded
from pipelines.distributed.process_group import CPU


class Epoch:
    """An epoch in memory: iterating gives (images, labels) batches as views, without copying."""

    def __init__(self, images: Tensor, labels: Tensor, indices: list[Tensor]) -> None:
        self.images, self.labels = images, labels
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        sizes = [len(batch) for batch in self.indices]
        return zip(self.images.split(sizes), self.labels.split(sizes), strict=True)


class ResidentLoader:
    """Serves augmented epochs of a training set that lies preprocessed on the training device.

    One generator draws the order, another one the augmentation.
    """

    def __init__(self, context: LoaderContext) -> None:
        self._context = context
        self._device = context.world.device

    def transfer(self) -> None:
        dataset = self._context.dataset
        self._images, self._labels = to_device(dataset.train_images, dataset.train_labels, self._device)

    def preprocess(self) -> None:
        context, dataset = self._context, self._context.dataset
        self._images = preprocess(self._images, dataset, context.dtype, pad=context.recipe.augment.crop)
        self._order_generator = torch.Generator(self._device).manual_seed(context.order_seed)
        self._augment_generator = torch.Generator(self._device).manual_seed(context.augment_seed)
        self._weights = context.weights(self._labels)
        count = len(self._labels)
        self._flip_first = torch.randint(2, (count,), generator=self._order_generator, device=self._device).bool()
        self._epoch_images = self._images.new_empty(0)

    def plain(self, count: int | None = None) -> tuple[Tensor, Tensor]:
        device = self._context.world.device
        images = unpadded(self._images[:count], self._context.recipe.augment.crop)
        return images.to(device), self._labels[:count].to(device)

    def epoch(self, epoch: int) -> Batches:
        """The batches of epoch `epoch`, from 0, already augmented."""
        return self._augmented(epoch)

    def _augmented(self, epoch: int) -> Epoch:
        recipe = self._context.recipe
        order = self._context.epoch_order(len(self._labels), self._order_generator, self._weights)
        batches = order.batches
        indices = torch.cat(batches)
        channels, height, width = self._context.dataset.image_shape
        size, resolution = (height, width), recipe.augment.resolution
        resized = (resolution.size(epoch),) * 2 if resolution else size
        if resolution and (side := resolution.crop(epoch)):
            size = (side, side)
        shape = (len(indices), *resized, channels)
        choices = augment.draw_share(recipe, order, size, self._augment_generator, self._flip_first, epoch)
        if size != (height, width):
            top, left = choices.top + (height - size[0]) // 2, choices.left + (width - size[1]) // 2
            choices = replace(choices, top=top, left=left)
        if self._epoch_images.shape != shape:
            self._epoch_images = self._images.new_empty(shape)
        augment.apply(self._images, indices, choices, self._epoch_images, size)
        images = self._epoch_images.permute(0, 3, 1, 2)
        if not recipe.channels_last:
            images = to_contiguous_format(images)
        return Epoch(images, self._labels[indices], batches)

    def close(self) -> None:
        """Nothing runs beside the training."""


class BulkLoader(ResidentLoader):
    """The same in host memory; its batches are copied to the training device one by one."""

    def __init__(self, context: LoaderContext) -> None:
        super().__init__(context)
        self._device = CPU

    def epoch(self, epoch: int) -> Batches:
        return DeviceBatches(self._augmented(epoch), self._context.world.device)


class DeviceBatches:
    """An epoch in host memory whose batches are copied to the device as they are asked for."""

    def __init__(self, epoch: Epoch, device: torch.device) -> None:
        self.indices = epoch.indices
        self._epoch = epoch
        self._copy = copy_by_pinned_memory if device.type == "cuda" else Tensor.to
        self._device = device

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels in self._epoch:
            yield self._copy(images, self._device), self._copy(labels, self._device)


def copy_by_pinned_memory(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy without waiting for the device, which needs page-locked host memory."""
    return tensor.pin_memory().to(device, non_blocking=True)
