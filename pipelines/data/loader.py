"""What a loader is: the protocol, what it is made from, and the batches that it serves."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from pipelines.data.dataset import Dataset
from pipelines.data.order import EpochOrder, sample_weights, shuffled
from pipelines.distributed.process_group import World
from pipelines.recipe import Recipe


class Batches(Protocol):
    """One epoch: iterating gives (images, labels) batches on the training device, images as (N, C, H, W); or (tokens,
    targets), both int64 of shape (N, length)."""

    indices: list[Tensor]
    """of each batch, the (N,) places of this process's images in the training set"""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]: ...


class Loader(Protocol):
    """Serves one trial. The methods are called in this order, each in the lap of its name, `epoch` in `augment`. What
    happens while an epoch is iterated over counts as training."""

    def transfer(self) -> None:
        """Copy the training set to where it stays."""

    def preprocess(self) -> None:
        """Do what is done once for all epochs."""

    def plain(self, count: int | None = None) -> tuple[Tensor, Tensor]:
        """The first `count` training images (None: all), preprocessed but neither padded nor augmented, as
        (N, height, width, channels), and their labels; both on the training device."""

    def epoch(self, epoch: int) -> Batches:
        """The batches of epoch `epoch`, from 0."""

    def close(self) -> None:
        """End what runs beside the training, when the last epoch is over."""


@dataclass(frozen=True)
class LoaderContext:
    """What a loader is made from."""

    recipe: Recipe
    dataset: Dataset
    world: World
    dtype: torch.dtype
    """of the images that the network gets"""
    order_seed: int
    """the same on all processes"""
    augment_seed: int
    """the same on all processes, or another one on each: `Recipe.shares_augmentation`"""

    def epoch_order(self, count: int, generator: torch.Generator, weights: Tensor | None = None) -> EpochOrder:
        """The next epoch over `count` training images or sequences, with the batches of this process."""
        return shuffled(
            count,
            self.recipe.batch_size,
            generator,
            drop_last=self.recipe.drop_last,
            accumulation=self.recipe.accumulation,
            rank=self.world.rank,
            world_size=self.world.size,
            weights=weights,
        )

    def weights(self, labels: Tensor) -> Tensor | None:
        """The probability of each training image to be the next one; None: each comes once an epoch."""
        return sample_weights(labels, self.recipe.data.class_weights, len(self.dataset.class_names))
