"""Leave out the images of each batch that were learnt best (Raju et al. 2021, arXiv:2111.12621)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from pipelines.events import State
from pipelines.recipe import techniques
from pipelines.techniques.batch_selection import hardest


class DataPruning:
    """Keeps the loss that each image had when it was last trained on.

    The losses are those of the training itself, so that they cost no forward pass. The loss of an image that is left
    out stays as it was while those of the others fall; that brings it back.
    """

    def __init__(self, config: techniques.DataPruning) -> None:
        self._config = config

    def trial_start(self, state: State) -> None:
        images = len(state.loader.plain()[1])
        self._losses = torch.full((images,), torch.inf, device=state.world.device)
        mean_loss = state.loss_function

        def loss_function(logits: Tensor, labels: Tensor) -> Tensor:
            losses = F.cross_entropy(logits.detach().float(), labels, reduction="none")
            self._losses.index_copy_(0, self._batch, losses)
            return mean_loss(logits, labels)

        state.loss_function = loss_function

    def epoch_start(self, state: State) -> None:
        sizes = [len(batch) for batch in state.batches.indices]
        self._batches = iter(torch.cat(state.batches.indices).to(state.world.device).split(sizes))

    def batch_ready(self, state: State) -> None:
        self._batch = next(self._batches)
        if self._config.acts_at(state.step, state.steps_per_epoch):
            chosen = hardest(self._losses[self._batch], self._config.keep)
            self._batch = self._batch[chosen]
            state.images, state.labels = state.images[chosen], state.labels[chosen]
