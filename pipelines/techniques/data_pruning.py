"""Leave out of each batch some of the images that were learnt best (InfoBatch, Qin et al. 2024, arXiv:2303.04947)."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from pipelines.events import State
from pipelines.recipe import techniques


def weighted_loss(
    of_batch: Callable[[Tensor, Tensor], Tensor],
    logits: Tensor,
    labels: Tensor,
    weights: tuple[float, float],
    hard: int,
) -> Tensor:
    """The loss of the first `hard` images and that of the rest, each with its weight."""
    parts = (of_batch(logits[:hard], labels[:hard]), of_batch(logits[hard:], labels[hard:]))
    return weights[0] * parts[0] + weights[1] * parts[1]


class DataPruning:
    """Keeps the loss that each image had when it was last trained on.

    The losses are those of the training itself, so that they cost no forward pass. The loss of an image that is left
    out stays as it was while those of the others fall; that brings it back.
    """

    def __init__(self, config: techniques.DataPruning) -> None:
        self._config = config

    def trial_start(self, state: State) -> None:
        device, is_mean = state.world.device, state.recipe.loss.reduction == "mean"
        self._losses = torch.full((state.train_images,), torch.inf, device=device)
        self._generator = torch.Generator(device).manual_seed(state.seed)
        of_batch = state.loss_function

        def loss_function(logits: Tensor, labels: Tensor) -> Tensor:
            losses = F.cross_entropy(logits.detach().float(), labels, reduction="none")
            self._losses.index_copy_(0, self._batch, losses)
            hard, easy, rest = self._sizes
            if not rest:
                return of_batch(logits, labels)
            weights = (hard / (hard + easy), easy / (hard + easy)) if is_mean else (1.0, easy / rest)
            return weighted_loss(of_batch, logits, labels, weights, hard)

        state.loss_function = loss_function

    def epoch_start(self, state: State) -> None:
        sizes = [len(batch) for batch in state.batches.indices]
        self._batches = iter(torch.cat(state.batches.indices).to(state.world.device).split(sizes))

    def batch_ready(self, state: State) -> None:
        self._batch = next(self._batches)
        self._sizes = len(self._batch), 0, 0
        if self._config.acts_at(state.step, state.steps_per_epoch):
            hard, easy, rest = self._sizes = self._config.sizes(len(self._batch))
            places = self._losses[self._batch].argsort(descending=True)
            drawn = torch.randperm(easy, generator=self._generator, device=places.device)[:rest]
            chosen = torch.cat([places[:hard], places[hard:][drawn]])
            self._batch = self._batch[chosen]
            state.images, state.labels = state.images[chosen], state.labels[chosen]
