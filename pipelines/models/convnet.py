"""The plain ConvNet of the MNIST baselines."""

from itertools import pairwise
from math import prod

from torch import nn

from pipelines.models.classifier import Classifier
from pipelines.models.dropout import in_a_row, make_dropout, make_head
from pipelines.models.layers import Activation, make_norm, make_pool, pooled
from pipelines.recipe import networks


class ConvNet(Classifier):
    """(N, channels, height, width) images to (N, classes) logits."""

    def __init__(self, config: networks.ConvNet, image_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        channels, *sides = image_shape
        layers = [make_dropout(config.dropout, "input")]
        last = len(config.widths) - 1
        shapes = zip(pairwise((channels, *config.widths)), config.kernel_sizes, strict=True)
        for index, ((inputs, outputs), side) in enumerate(shapes):
            layers += [
                nn.Conv2d(inputs, outputs, side, padding=config.padding),
                make_norm(outputs, config.norm) if config.norm else None,
            ]
            activation, pool = Activation(config.activation), None
            if config.padding == "valid":
                sides = [max(0, length - side + 1) for length in sides]
            if config.pool_after == "each" or index == last:
                pool = make_pool(config.pool)
                sides = [pooled(length, config.pool) for length in sides]
            # ReLU and a max-pool commute, their gradients included, and after the pool ReLU has a quarter to do
            commute = config.activation.name == "relu" and config.pool.name == "max"
            layers += [pool, activation] if commute else [activation, pool]
            layers.append(make_dropout(config.dropout, "blocks") if pool else None)
        if min(sides) == 0:
            size = " x ".join(map(str, image_shape[1:]))
            raise ValueError(f"model.widths={list(config.widths)} leaves nothing of {size} images: give fewer")
        features = config.widths[-1] * prod(sides)
        layers.append(nn.Flatten())
        if config.hidden:
            layers += [nn.Linear(features, config.hidden), Activation(config.activation)]
            features = config.hidden
        self.layers = in_a_row(*layers, make_dropout(config.dropout, "head"))
        self.head = make_head(features, classes, config, bias=True)
