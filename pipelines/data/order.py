"""The order in which an epoch goes through the training images."""

from collections.abc import Sequence

import torch
from torch import Tensor


def sample_weights(labels: Tensor, class_weights: Sequence[float], classes: int) -> Tensor:
    """The probability of each image to be the next one, as torch's WeightedRandomSampler has it: float64, (N,), sum 1.

    labels: (N,). ValueError when there is not a weight for each class, or none of the images can be drawn.
    """
    if len(class_weights) != classes:
        raise ValueError(f"data.class_weights has {len(class_weights)} numbers, but there are {classes} classes")
    weights = torch.tensor(class_weights, dtype=torch.float64, device=labels.device)[labels]
    if not weights.sum() > 0:
        raise ValueError("data.class_weights is zero for every class that has images: make one of them positive")
    return weights / weights.sum()


def draw_order(count: int, weights: Tensor | None, generator: torch.Generator) -> Tensor:
    """Indices of an epoch's images: all `count` in a random order, or as many draws, with replacement, by weight."""
    if weights is None:
        return torch.randperm(count, generator=generator, device=generator.device)
    return torch.multinomial(weights, count, replacement=True, generator=generator)
