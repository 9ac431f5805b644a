"""Wide residual networks for small images (Zagoruyko and Komodakis 2016, "Wide Residual Networks", arXiv 1605.07146).

WRN-16-8 is `depth: 16` and `factor: 8`. Its blocks are those of the pre-activation ResNet.
"""

from itertools import pairwise

from torch import nn

from pipelines.models.classifier import Classifier
from pipelines.models.dropout import in_a_row, make_dropout, make_head, stochastic_depth
from pipelines.models.layers import norm_and_activation
from pipelines.models.resnet18 import Block
from pipelines.recipe import networks

WIDTHS = (16, 32, 64)
"""channels of the three groups at a factor of 1"""


class WideResNet(Classifier):
    """(N, channels, height, width) images to (N, classes) logits, from the mean of each channel."""

    def __init__(self, config: networks.WideResNet, image_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        widths = [WIDTHS[0], *(config.factor * width for width in WIDTHS)]
        blocks = (config.depth - 4) // 6
        layers = [make_dropout(config.dropout, "input"), nn.Conv2d(image_shape[0], widths[0], 3, padding=1, bias=False)]
        drops = iter(stochastic_depth(config.stochastic_depth, branches=3 * blocks))
        for group, (inputs, outputs) in enumerate(pairwise(widths)):
            for number in range(blocks):
                before, stride = (outputs, 1) if number else (inputs, 2 if group else 1)
                layers += [Block(before, outputs, stride, config, next(drops)), make_dropout(config.dropout, "blocks")]
        last = norm_and_activation(widths[-1], config.norm, config.activation)
        pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        self.layers = in_a_row(*layers, *last, *pool, make_dropout(config.dropout, "head"))
        self.head = make_head(widths[-1], classes, config, bias=True)
