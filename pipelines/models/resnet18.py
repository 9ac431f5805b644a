"""The pre-activation ResNet-18 of Ben Johnson's DAWNBench entry (2018), from which "How to train your ResNet" starts.

Source: bkj/basenet, examples/cifar10.py at commit 49b2b61.
"""

from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor, nn

from pipelines.models.classifier import Classifier
from pipelines.models.dropout import in_a_row, make_dropout, make_head, stochastic_depth
from pipelines.models.layers import GlobalMaxPool, norm_and_activation
from pipelines.recipe import networks


class Norms(Protocol):
    """What a block reads of a network's configuration."""

    norm: networks.Norm
    activation: networks.Activation


class Block(nn.Module):
    """Norm, activation and 3x3 convolution, twice, with a shortcut around them (He et al. 2016, "Identity mappings").

    Where the shape changes, the shortcut is a 1x1 convolution of the activated images instead of the images as they
    came. What is added to it goes through `drop` first.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, config: Norms, drop: nn.Module | None = None) -> None:
        super().__init__()
        self.prepare = nn.Sequential(*norm_and_activation(inputs, config.norm, config.activation))
        self.branch = in_a_row(
            nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
            *norm_and_activation(outputs, config.norm, config.activation),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            drop,
        )
        changes_shape = stride > 1 or inputs != outputs
        self.projection = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False) if changes_shape else None

    def forward(self, images: Tensor) -> Tensor:
        prepared = self.prepare(images)
        shortcut = self.projection(prepared) if self.projection else images
        return self.branch(prepared) + shortcut


class MeanAndMaximum(nn.Module):
    """Of each channel, (N, channels, height, width) to (N, 2 * channels)."""

    def __init__(self) -> None:
        super().__init__()
        self.maximum = GlobalMaxPool()

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([images.mean((2, 3)), self.maximum(images)], 1)


class ResNet18(Classifier):
    """(N, channels, height, width) images to (N, classes) logits, from the mean and the maximum of each channel."""

    def __init__(self, config: networks.ResNet18, image_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        first, *_, last = config.widths
        layers = [make_dropout(config.dropout, "input"), nn.Conv2d(image_shape[0], first, 3, padding=1, bias=False)]
        if config.duplicate_norm:
            layers += norm_and_activation(first, config.norm, config.activation)
        drops = iter(stochastic_depth(config.stochastic_depth, branches=8))
        for stage, (inputs, outputs) in enumerate(pairwise((first, *config.widths))):
            for before, stride in ((inputs, 2 if stage else 1), (outputs, 1)):
                layers += [Block(before, outputs, stride, config, next(drops)), make_dropout(config.dropout, "blocks")]
        self.layers = in_a_row(*layers, MeanAndMaximum(), make_dropout(config.dropout, "head"))
        self.head = make_head(2 * last, classes, config, bias=True)
