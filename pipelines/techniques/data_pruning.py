"""Leave out of each batch some of the images that were learnt best (InfoBatch, Qin et al. 2024, arXiv:2303.04947)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from pipelines.events import State
from pipelines.recipe import techniques


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
            if not self._parts:
                return of_batch(logits, labels)
            hard, easy, rest = self._sizes
            of_hard, of_rest = (of_batch(logits[part], labels[part]) for part in self._parts)
            if is_mean:
                return (hard * of_hard + easy * of_rest) / (hard + easy)
            of_all = of_hard + easy / rest * of_rest
            share = (hard + rest) / (hard + easy)  # the loss is reported as the sum over the images that are left
            return share * of_all.detach() + (of_all - of_all.detach())

        state.loss_function = loss_function

    def epoch_start(self, state: State) -> None:
        sizes = [len(batch) for batch in state.batches.indices]
        indices = torch.cat(state.batches.indices).to(state.world.device, non_blocking=True)
        self._batches = iter(indices.split(sizes))

    def batch_ready(self, state: State) -> None:
        self._batch = next(self._batches)
        self._parts: tuple[Tensor, ...] = ()
        if self._config.acts_at(state.step, state.steps_per_epoch):
            hard, easy, rest = self._sizes = self._config.sizes(len(self._batch))
            places = self._losses[self._batch].argsort(descending=True)
            drawn = torch.randperm(easy, generator=self._generator, device=places.device)[:rest]
            kept, order = torch.cat([places[:hard], places[hard:][drawn]]).sort()  # a ghost norm's groups stay random
            if rest:
                self._parts = order.argsort().split([hard, rest])
            self._batch = self._batch[kept]
            state.images, state.labels = state.images[kept], state.labels[kept]
