"""Pretraining without labels: momentum contrast, MoCo (He et al. 2020; the projection head of version 2)."""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipelines.events import State
from pipelines.models.classifier import Classifier
from pipelines.recipe import techniques
from pipelines.strategies.strategy import autocast
from pipelines.techniques.mean_teacher import follow
from pipelines.techniques.pretraining import fit


def info_nce(queries: Tensor, keys: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of finding each query's own key among it and the queue (van den Oord et al. 2018).

    queries, keys: (N, features) of length 1; queue: (K, features), other images' keys. Only the queries get a gradient.
    """
    keys, queue = keys.detach(), queue.detach()
    positive = (queries * keys).sum(1, keepdim=True)
    logits = torch.cat([positive, queries @ queue.T], 1) / temperature
    return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))


class Encoder(nn.Module):
    """Images to the features that a network has of them, and these to an embedding."""

    def __init__(self, network: Classifier, projection: nn.Module) -> None:
        super().__init__()
        self.network, self.projection = network, projection

    def forward(self, images: Tensor) -> Tensor:
        return self.projection(self.network.features(images))


class Contrastive:
    """Trains the backbone so that two views of an image, labelled or not, lie closer than those of two images."""

    def __init__(self, config: techniques.Contrastive) -> None:
        self._config = config

    def pretrain(self, state: State) -> None:
        config, network = self._config, state.network
        pool = state.pool("pool", "train")
        device = state.world.device
        generator = torch.Generator(device).manual_seed(state.seed)
        width = network.head.in_features
        projection = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, config.features)).to(device)
        encoder = Encoder(network, projection)
        momentum_encoder = copy.deepcopy(encoder).requires_grad_(False)
        to_query, to_key = (autocast(one, state.recipe, state.world) for one in (encoder, momentum_encoder))
        queue = F.normalize(torch.randn(config.queue, config.features, generator=generator, device=device))
        oldest = 0

        def objective(chosen: Tensor) -> Tensor:
            nonlocal oldest
            queries = F.normalize(to_query(pool.augmented(chosen, config.views)).float())
            with torch.no_grad():
                keys = F.normalize(to_key(pool.augmented(chosen, config.views)).float())
            loss = info_nce(queries, keys, queue.clone(), config.temperature)
            queue[torch.arange(oldest, oldest + len(keys), device=device) % len(queue)] = keys
            oldest = (oldest + len(keys)) % len(queue)
            return loss

        def after_step() -> None:
            follow(list(momentum_encoder.parameters()), list(encoder.parameters()), config.momentum)

        losses = fit(encoder.parameters(), objective, len(pool), config, generator, after_step)
        state.notes["contrastive"] = {"loss_per_epoch": losses}
