"""The plain ConvNet of the MNIST baselines."""

from itertools import pairwise
from math import prod

from torch import Tensor, nn

from pipelines.models.dropout import in_a_row, make_dropout, make_head
from pipelines.models.layers import Activation, make_norm, make_pool, pooled
from pipelines.recipe import networks


class ConvNet(nn.Module):
    """(N, channels, height, width) images to (N, classes) logits; pooling follows each convolution."""

    def __init__(self, knobs: networks.ConvNet, image_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        channels, *sides = image_shape
        layers = [make_dropout(knobs.dropout, "input")]
        for inputs, outputs in pairwise((channels, *knobs.widths)):
            layers += [
                nn.Conv2d(inputs, outputs, knobs.kernel_size, padding="same"),
                make_norm(outputs, knobs.norm) if knobs.norm else None,
                Activation(knobs.activation),
                make_pool(knobs.pool),
                make_dropout(knobs.dropout, "blocks"),
            ]
            sides = [pooled(side, knobs.pool) for side in sides]
        if min(sides) == 0:
            size = " x ".join(map(str, image_shape[1:]))
            raise ValueError(f"model.widths={list(knobs.widths)} pools {size} images to nothing: give fewer")
        self.layers = in_a_row(*layers, nn.Flatten(), make_dropout(knobs.dropout, "head"))
        self.head = make_head(knobs.widths[-1] * prod(sides), classes, knobs, bias=True)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.layers(images))
