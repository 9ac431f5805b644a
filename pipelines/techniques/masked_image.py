"""Pretraining without labels: fill in the hidden patches of an image (He et al. 2022; SimMIM, Xie et al. 2022)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipelines.events import State
from pipelines.recipe import techniques
from pipelines.strategies.strategy import autocast
from pipelines.techniques.pretraining import fit


def draw_masks(count: int, size: tuple[int, int], patch: int, share: float, generator: torch.Generator) -> Tensor:
    """Which pixels are hidden: bool (count, 1, height, width), a share of each image's square patches, at least one."""
    rows, columns = (-(-side // patch) for side in size)
    ranks = torch.rand(count, rows * columns, generator=generator, device=generator.device).argsort(1).argsort(1)
    hidden = (ranks < max(1, round(share * rows * columns))).view(count, 1, rows, columns)
    return hidden.repeat_interleave(patch, 2).repeat_interleave(patch, 3)[:, :, : size[0], : size[1]]


def reconstruction_loss(output: Tensor, images: Tensor, hidden: Tensor) -> Tensor:
    """Mean squared error over the hidden pixels alone, (N, C, H, W)."""
    return F.mse_loss(output, images, reduction="none").mul(hidden).sum() / (hidden.sum() * images.shape[1])


class MaskedImage:
    """Trains the backbone, and a linear decoder that is thrown away, on all images, labelled or not."""

    def __init__(self, config: techniques.MaskedImage) -> None:
        self._config = config

    def pretrain(self, state: State) -> None:
        config, network = self._config, state.network
        images = state.pool("pool", "train").images()
        generator = torch.Generator(images.device).manual_seed(state.seed)
        decoder = nn.Linear(network.head.in_features, images[0].numel()).to(images.device)
        reconstruct = autocast(lambda batch: decoder(network.features(batch)), state.recipe, state.world)

        def objective(chosen: Tensor) -> Tensor:
            batch = images[chosen]
            hidden = draw_masks(len(batch), tuple(batch.shape[2:]), config.patch, config.share, generator)
            output = reconstruct(batch.masked_fill(hidden, 0)).view_as(batch)
            return reconstruction_loss(output.float(), batch.float(), hidden)

        losses = fit([*network.parameters(), *decoder.parameters()], objective, len(images), config, generator)
        state.notes["masked_image"] = {"loss_per_epoch": losses}
