"""FixMatch (Sohn et al. 2020): what the network is sure of on a weakly augmented image it learns on a strong one."""

import torch
import torch.nn.functional as F
from torch import Tensor

from pipelines.events import State
from pipelines.recipe import techniques
from pipelines.strategies.strategy import autocast
from pipelines.techniques.semi_supervised import unlabelled_per_step


def consistency(weak: Tensor, strong: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Cross-entropy of the strong views' logits with the weak views' likeliest classes, where those are certain.

    weak, strong: (N, classes) logits of the same images; the target gets no gradient. Returns the mean over all N
    images, those below the threshold counting as zero, and the share of images at or above it.
    """
    confidence, guesses = weak.detach().softmax(1).max(1)
    is_certain = (confidence >= threshold).to(strong.dtype)
    return (F.cross_entropy(strong, guesses, reduction="none") * is_certain).mean(), is_certain.mean()


class FixMatch:
    """Adds the consistency on unlabelled images to the loss."""

    def __init__(self, config: techniques.FixMatch) -> None:
        self._config = config
        self._shares: list[Tensor] = []

    def trial_start(self, state: State) -> None:
        self._pool = state.pool()
        self._count = unlabelled_per_step(state, self._config.ratio)
        self._predict = autocast(state.network, state.recipe, state.world)
        state.objective = self._objective

    def epoch_start(self, state: State) -> None:
        order = self._pool.next(self._count * state.steps_per_epoch)
        weak = self._pool.augmented(order, self._config.weak).split(self._count)
        strong = self._pool.augmented(order, self._config.strong).split(self._count)
        self._views = zip(weak, strong, strict=True)

    def _objective(self, state: State, images: Tensor, labels: Tensor) -> Tensor:
        weak, strong = next(self._views)
        with torch.no_grad():
            targets = self._predict(weak).float()
        logits = state.forward(torch.cat([images, strong])).float()
        unsupervised, share = consistency(targets, logits[len(images) :], self._config.threshold)
        self._shares.append(share)
        return state.loss_function(logits[: len(images)], labels) + self._config.weight * unsupervised

    def trial_end(self, state: State) -> None:
        world = state.world.data
        shares = (world.sum(torch.stack(self._shares)) / world.size).split(state.steps_per_epoch)
        state.notes["fixmatch"] = {"certain_share_per_epoch": [round(part.mean().item(), 4) for part in shares]}
