"""The training loss."""

from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from torch import Tensor

from pipelines.recipe.training import Loss


def make_loss(knobs: Loss) -> Callable[[Tensor, Tensor], Tensor]:
    """Cross-entropy of (N, classes) logits, in float32 whatever they are, with (N,) integer labels: a scalar."""
    cross_entropy = partial(F.cross_entropy, reduction=knobs.reduction, label_smoothing=knobs.label_smoothing)
    return lambda logits, labels: cross_entropy(logits.float(), labels)
