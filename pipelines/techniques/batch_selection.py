"""Train on the part of each batch that a small proxy network finds hardest (airbench96_faster, Jordan 2024)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from pipelines import models
from pipelines.events import State
from pipelines.optim.optimizers import make_optimizer
from pipelines.recipe import techniques
from pipelines.seeds import kept_generators
from pipelines.strategies.strategy import autocast, compiled


def hardest(losses: Tensor, share: float) -> Tensor:
    """Indices of the given share of (N,) losses, at least one, that are the largest, in the order of the batch."""
    return losses.topk(max(1, round(share * len(losses)))).indices.sort().values


class BatchSelection:
    """Trains the proxy in step with the network, on the same batches.

    The proxy learns nothing from the network. airbench96_faster therefore trains it first, and keeps what it chose for
    each batch; the choices are the same.
    """

    def __init__(self, config: techniques.BatchSelection) -> None:
        self._config = config

    def trial_start(self, state: State) -> None:
        recipe, head, device = state.recipe, state.network.head, state.world.device
        image_shape = tuple(state.loader.plain(1)[0].permute(0, 3, 1, 2).shape[1:])
        with kept_generators(device):  # what the network itself draws stays the same; the proxy draws on the host
            proxy = models.build_network(self._config.proxy, image_shape, head.out_features)
            models.initialize(proxy, state.seed + 1, recipe.initialization)
        proxy = models.to_precision(proxy.to(device), head.weight.dtype, channels_last=recipe.channels_last)
        models.fit_whitening(proxy, state.loader.plain)
        self._proxy = autocast(compiled(proxy, recipe, state.world), recipe, state.world)
        self._optimizer = make_optimizer(
            proxy,
            recipe,
            local_batch_size=recipe.batch_size,
            steps=state.steps,
            steps_per_epoch=state.steps_per_epoch,
        )

    def batch_ready(self, state: State) -> None:
        learns = state.step % self._config.every == 0
        with torch.set_grad_enabled(learns):
            logits = self._proxy(state.images)
        losses = F.cross_entropy(
            logits.detach().float(),
            state.labels,
            label_smoothing=state.recipe.loss.label_smoothing,
            reduction="none",
        )
        chosen = hardest(losses, self._config.keep)
        if learns:
            self._optimizer.backward(state.loss_function(logits[chosen], state.labels[chosen]))
            self._optimizer.step(state.step)
        state.images, state.labels = state.images[chosen], state.labels[chosen]
