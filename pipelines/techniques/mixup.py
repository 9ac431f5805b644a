"""Mixup: training on weighted means of two images and of their labels (Zhang et al. 2018, arXiv 1710.09412)."""

from collections.abc import Callable

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from pipelines.events import State
from pipelines.recipe import techniques
from pipelines.recipe.techniques.batches import Interval


def soft_labels(labels: Tensor, classes: int) -> Tensor:
    """(N,) class numbers as (N, classes) probabilities in float32; probabilities stay as they are."""
    return labels if labels.ndim == 2 else F.one_hot(labels, classes).float()


def mixup(images: Tensor, labels: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Each image, and its label, gives way to the one before it in the batch by `share`, 0 to 1.

    images: (N, C, H, W); labels: (N, classes) probabilities. Both are left as they are; the new images lie in memory as
    the old ones do.
    """
    return images.lerp(images.roll(1, 0), share), labels.lerp(labels.roll(1, 0), share)


def is_on(config: Interval) -> Callable[[State], bool]:
    """Whether the trial is within the epochs in which images are mixed."""
    end = float("inf") if config.until is None else config.until
    return lambda state: config.from_epoch <= state.step / state.steps_per_epoch < end


def generator_of(seed: int, rank: int, purpose: str) -> np.random.Generator:
    """Random numbers of this trial, process and purpose alone. torch's own generator is not used.

    rank: 0 on all processes where they are to draw the same.
    """
    return np.random.default_rng([seed, rank, *purpose.encode()])


class MixUp:
    """Mixes every batch with itself, by one share a batch, the same on all processes.

    A process mixes its own images with each other, so that another number of processes makes other pairs.
    """

    def __init__(self, config: techniques.MixUp) -> None:
        self._alpha = config.alpha
        self._is_on = is_on(config)

    def trial_start(self, state: State) -> None:
        self._generator = generator_of(state.seed, 0, "mixup")
        self._classes = state.network.head.out_features

    def batch_ready(self, state: State) -> None:
        if self._is_on(state):
            share = self._generator.beta(self._alpha, self._alpha)
            state.images, state.labels = mixup(state.images, soft_labels(state.labels, self._classes), share)
