"""The order of an epoch: equal on all processes, each of which takes its slice of every batch."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class EpochOrder:
    """The images of an epoch in their order, and the share of this process."""

    images: Tensor
    """(M,) indices of the images of all processes"""
    shares: list[Tensor]
    """for each batch, the places in `images` that this process trains on"""

    @property
    def batches(self) -> list[Tensor]:
        """Indices of this process's images of each batch."""
        return [self.images[share] for share in self.shares]


def shuffled(
    count: int,
    batch_size: int,
    generator: torch.Generator,
    *,
    drop_last: bool,
    accumulation: int = 1,
    rank: int = 0,
    world_size: int = 1,
    weights: Tensor | None = None,
) -> EpochOrder:
    """An epoch over `count` images, drawn by `generator`.

    `batch_size` is that of all processes together; `drop_last` leaves out the images that do not fill a batch. The
    processes share each of the `accumulation` micro-batches of a batch, so that a norm sees those of one process.
    weights: (count,), by which images are drawn with replacement; None: each image once.
    """
    images = draw_order(count, weights, generator)
    if drop_last:
        images = images[: count // batch_size * batch_size]

    def share(batch: Tensor) -> Tensor:
        if accumulation == 1:
            return batch.tensor_split(world_size)[rank]
        micro_batches = batch.split(batch_size // accumulation)
        return torch.cat([part.tensor_split(world_size)[rank] for part in micro_batches])

    places = torch.arange(len(images), device=images.device)
    return EpochOrder(images, [share(batch) for batch in places.split(batch_size)])


def draw_order(count: int, weights: Tensor | None, generator: torch.Generator) -> Tensor:
    """Indices of an epoch's images: all `count` in a random order, or as many draws, with replacement, by weight."""
    if weights is None:
        return torch.randperm(count, generator=generator, device=generator.device)
    return torch.multinomial(weights, count, replacement=True, generator=generator)


def sample_weights(labels: Tensor, class_weights: Sequence[float] | None, classes: int) -> Tensor | None:
    """The probability of each image to be the next one, as torch's WeightedRandomSampler has it: float64, (N,), sum 1.

    labels: (N,). None where there are no class weights. ValueError when there is not one for each class, or none of the
    images can be drawn.
    """
    if class_weights is None:
        return None
    if len(class_weights) != classes:
        raise ValueError(f"data.class_weights has {len(class_weights)} numbers, but there are {classes} classes")
    weights = torch.tensor(class_weights, dtype=torch.float64, device=labels.device)[labels]
    if not weights.sum() > 0:
        raise ValueError("data.class_weights is zero for every class that has images: make one of them positive")
    return weights / weights.sum()
