"""The training loss."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from kernels.label_smoothing_cross_entropy import label_smoothing_cross_entropy
from pipelines.distributed.process_group import World
from pipelines.recipe import Recipe
from pipelines.recipe.training import Loss


def make_loss(config: Loss) -> Callable[[Tensor, Tensor], Tensor]:
    """Cross-entropy of (N, classes) logits, in float32 whatever they are, with (N,) integer labels: a scalar.

    Of tokens, (N, length, classes) logits and (N, length) labels, it is that of all positions.
    """
    cross_entropy = partial(label_smoothing_cross_entropy, smoothing=config.label_smoothing, reduction=config.reduction)

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        last = logits.dim() - 2
        return cross_entropy(logits.flatten(0, last), labels.flatten(0, last))

    return loss


def mean_loss(losses: list[Tensor], batch_sizes: list[int], recipe: Recipe, world: World) -> float:
    """The mean training loss per image, or per token, over the epoch and over all processes."""
    sizes = torch.tensor(batch_sizes, dtype=torch.float64)
    sums = torch.stack(losses).double().cpu()
    if recipe.loss.reduction == "mean":
        sums = sums * sizes
    total, images = world.sum(torch.stack([sums.sum(), sizes.sum()])).tolist()
    return total / images
