"""Supervised pretraining on another task, and a new last layer for this one (Yosinski et al. 2014)."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipelines.data import augment
from pipelines.data.dataset import Dataset
from pipelines.data.preprocess import preprocess, to_device
from pipelines.data.sources import digits
from pipelines.events import State
from pipelines.recipe import techniques
from pipelines.strategies.strategy import autocast
from pipelines.techniques.pretraining import fit


def enlarge(images: Tensor, size: tuple[int, int], pad: int = 0) -> Tensor:
    """(N, height, width, channels) images, bilinearly enlarged to `size` (height, width), then padded by reflection."""
    enlarged = F.interpolate(images.permute(0, 3, 1, 2), size, mode="bilinear", antialias=True)
    return F.pad(enlarged, (pad,) * 4, mode="reflect").permute(0, 2, 3, 1)


class Pretrained:
    """Trains the network on scikit-learn's digits, enlarged, before the trial's own data."""

    def __init__(self, config: techniques.Pretrained) -> None:
        self._config = config

    def pretrain(self, state: State) -> None:
        network, device = state.network, state.world.device
        source: Dataset = digits.read(Path())
        *size, channels = state.loader.plain(1)[0].shape[1:]
        raw, labels = to_device(source.train_images, source.train_labels, device)
        images = enlarge(preprocess(raw, source, torch.float32), tuple(size), pad=self._config.views.crop)
        images = images.expand(-1, -1, -1, channels)
        generator = torch.Generator(device).manual_seed(state.seed)
        source_head = nn.Linear(network.head.in_features, len(source.class_names)).to(device)
        classify = autocast(lambda batch: source_head(network.features(batch)), state.recipe, state.world)

        def objective(chosen: Tensor) -> Tensor:
            batch = augment.augmented(images, chosen, self._config.views, generator).permute(0, 3, 1, 2)
            return F.cross_entropy(classify(batch).float(), labels[chosen])

        parameters = [*network.parameters(), *source_head.parameters()]
        losses = fit(parameters, objective, len(images), self._config, generator)
        state.notes["pretrained"] = {"source": source.name, "loss_per_epoch": losses}
