"""Loaders by the name that recipes give them: each serves one trial with augmented batches on the training device."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from pipelines.data.dataset import Dataset
from pipelines.data.order import sample_weights
from pipelines.data.resident import Epoch, ResidentLoader, preprocess, to_device, unpadded
from pipelines.distributed.process_group import CPU, World
from pipelines.host.extras import require
from pipelines.recipe import Recipe


class Batches(Protocol):
    """One epoch: iterating gives (images, labels) batches on the training device, images as (N, C, H, W)."""

    batch_sizes: list[int]
    """images of this process in each batch"""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]: ...


class Loader(Protocol):
    """Serves one trial. The methods are called in this order, each in the lap of its name, `epoch` in `augment`; what
    happens while an epoch is iterated over counts as training."""

    def transfer(self) -> None:
        """Bring the training set to where it stays."""

    def preprocess(self) -> None:
        """Do what is done once for all epochs."""

    def plain(self, count: int | None = None) -> tuple[Tensor, Tensor]:
        """The first `count` training images (None: all), preprocessed but neither padded nor augmented, as
        (N, height, width, channels), and their labels; both on the training device."""

    def epoch(self, epoch: int) -> Batches:
        """The batches of epoch `epoch`, from 0."""

    def close(self) -> None:
        """End what the loader started."""


@dataclass(frozen=True)
class LoaderContext:
    """What a trial tells its loader."""

    recipe: Recipe
    dataset: Dataset
    world: World
    dtype: torch.dtype
    """of the images as the network gets them"""
    order_seed: int
    """equal on all processes"""
    augment_seed: int
    """another one on each process"""

    def weights(self, labels: Tensor) -> Tensor | None:
        """The probability of each training image to be the next one; None: each comes once an epoch."""
        return sample_weights(labels, self.recipe.data.class_weights, len(self.dataset.class_names))


class Resident:
    """The training set on the training device."""

    def __init__(self, setting: LoaderContext) -> None:
        self._setting = setting
        self._home = setting.world.device

    def transfer(self) -> None:
        dataset = self._setting.dataset
        self._images, self._labels = to_device(dataset.train_images, dataset.train_labels, self._home)

    def preprocess(self) -> None:
        setting, recipe = self._setting, self._setting.recipe
        self._images = preprocess(self._images, setting.dataset, setting.dtype, pad=recipe.augment.crop)
        self._loader = ResidentLoader(
            self._images,
            self._labels,
            recipe.augment,
            batch_size=recipe.batch_size,
            drop_last=recipe.drop_last,
            channels_last=recipe.channels_last,
            order_generator=torch.Generator(self._home).manual_seed(setting.order_seed),
            augment_generator=torch.Generator(self._home).manual_seed(setting.augment_seed),
            rank=setting.world.rank,
            world_size=setting.world.size,
            weights=setting.weights(self._labels),
        )

    def plain(self, count: int | None = None) -> tuple[Tensor, Tensor]:
        device = self._setting.world.device
        images = unpadded(self._images[:count], self._setting.recipe.augment.crop)
        return images.to(device), self._labels[:count].to(device)

    def epoch(self, epoch: int) -> Batches:
        return self._loader.epoch(epoch)

    def close(self) -> None:
        pass


class Bulk(Resident):
    """The same in host memory, from where the batches are moved to the training device."""

    def __init__(self, setting: LoaderContext) -> None:
        super().__init__(setting)
        self._home = CPU

    def epoch(self, epoch: int) -> Batches:
        return DeviceBatches(self._loader.epoch(epoch), self._setting.world.device)


class DeviceBatches:
    """An epoch in host memory whose batches are moved to the device as they are asked for."""

    def __init__(self, epoch: Epoch, device: torch.device) -> None:
        self.batch_sizes = epoch.batch_sizes
        self._epoch = epoch
        self._move = move_by_pinned_memory if device.type == "cuda" else Tensor.to
        self._device = device

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels in self._epoch:
            yield self._move(images, self._device), self._move(labels, self._device)


def move_by_pinned_memory(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy without waiting for the device, which needs host memory that cannot be paged out."""
    return tensor.pin_memory().to(device, non_blocking=True)


def torchvision(setting: LoaderContext) -> Loader:
    """Image by image, through torchvision, which is imported only for this."""
    from pipelines.data.torchvision_loader import TorchvisionLoader

    return TorchvisionLoader(setting)


def dali(setting: LoaderContext) -> Loader:
    """A batch at a time, through NVIDIA's DALI, which is imported only for this."""
    from pipelines.data.dali_loader import DaliLoader

    return DaliLoader(setting)


LOADERS: dict[str, Callable[[LoaderContext], Loader]] = {
    "resident": Resident,
    "bulk": Bulk,
    "torchvision": torchvision,
    "dali": dali,
}

OPTIONAL = {"dali": "nvidia.dali"}
"""The package of each loader that comes with the extra of the loader's name."""


def check(recipe: Recipe) -> None:
    """ValueError that says what to install where the loader's package is missing."""
    name = recipe.loader.name
    if name in OPTIONAL:
        require(OPTIONAL[name], name)


def make_loader(setting: LoaderContext) -> Loader:
    """The recipe's loader, for one trial."""
    return LOADERS[setting.recipe.loader.name](setting)
