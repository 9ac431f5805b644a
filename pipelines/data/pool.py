"""Pools: images that techniques draw beside the batches, above all those whose labels the training never sees."""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from pipelines.data import augment
from pipelines.data.dataset import Dataset
from pipelines.data.preprocess import preprocess, to_device
from pipelines.recipe.training import Augment

Part = Literal["train", "pool"]


class ImagePool:
    """Images of a data set on the device, preprocessed, to be drawn and augmented by the batch.

    parts: of the data set, by default `pool`, the training images that have no labels; their labels are kept only
    to grade guesses for the record. `seed` draws which images come next and what is done to them.
    """

    def __init__(self, dataset: Dataset, dtype: torch.dtype, device: torch.device, seed: int, *parts: Part) -> None:
        parts = parts or ("pool",)
        assert "pool" not in parts or len(dataset.pool_images), "preflight checks it"
        images, labels = (
            np.concatenate([getattr(dataset, f"{part}_{kind}") for part in parts]) for kind in ("images", "labels")
        )
        self._bytes, self._labels = to_device(images, labels, device)
        self._dataset, self._dtype = dataset, dtype
        self._generator = torch.Generator(device).manual_seed(seed)
        self._order = self._labels[:0]
        self._padded: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return len(self._labels)

    def padded(self, pad: int) -> Tensor:
        """All images as (N, height + 2 * pad, width + 2 * pad, channels)."""
        if pad not in self._padded:
            self._padded[pad] = preprocess(self._bytes, self._dataset, self._dtype, pad)
        return self._padded[pad]

    def images(self) -> Tensor:
        """All images as (N, channels, height, width), as they are."""
        return self.padded(0).permute(0, 3, 1, 2)

    def next(self, count: int) -> Tensor:
        """Indices of the next `count` images: a new random order whenever all were given once."""
        while len(self._order) < count:
            more = torch.randperm(len(self), generator=self._generator, device=self._order.device)
            self._order = torch.cat([self._order, more])
        taken, self._order = self._order[:count], self._order[count:]
        return taken

    def draw(self, high: int, count: int) -> Tensor:
        """`count` random integers from 0 to `high` - 1."""
        return torch.randint(high, (count,), generator=self._generator, device=self._order.device)

    def augmented(self, order: Tensor, config: Augment) -> Tensor:
        """Images `order`, each with its own augmentation: (len(order), channels, height, width)."""
        return augment.augmented(self.padded(config.crop), order, config, self._generator).permute(0, 3, 1, 2)

    def correct(self, indices: Tensor, guesses: Tensor) -> int:
        """How many guesses are right. For the record: a training that used it would have seen the labels."""
        return int((self._labels[indices] == guesses).sum())
