"""The training loss."""

from collections.abc import Callable
from functools import partial

from torch import Tensor

from kernels.label_smoothing_cross_entropy import label_smoothing_cross_entropy
from pipelines.recipe.training import Loss


def make_loss(config: Loss) -> Callable[[Tensor, Tensor], Tensor]:
    """Cross-entropy of (N, classes) logits, in float32 whatever they are, with (N,) integer labels: a scalar."""
    return partial(label_smoothing_cross_entropy, smoothing=config.label_smoothing, reduction=config.reduction)
