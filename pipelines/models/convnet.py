"""The plain ConvNet of the MNIST baselines."""

from itertools import pairwise
from math import prod

from torch import Tensor, nn

from pipelines.models.dropout import in_a_row, make_dropout, make_head
from pipelines.models.layers import Activation, make_norm, make_pool, pooled
from pipelines.recipe import networks


class ConvNet(nn.Module):
    """(N, channels, height, width) images to (N, classes) logits."""

    def __init__(self, knobs: networks.ConvNet, image_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        channels, *sides = image_shape
        layers = [make_dropout(knobs.dropout, "input")]
        last = len(knobs.widths) - 1
        shapes = zip(pairwise((channels, *knobs.widths)), knobs.kernel_sizes, strict=True)
        for index, ((inputs, outputs), side) in enumerate(shapes):
            layers += [
                nn.Conv2d(inputs, outputs, side, padding=knobs.padding),
                make_norm(outputs, knobs.norm) if knobs.norm else None,
                Activation(knobs.activation),
            ]
            if knobs.padding == "valid":
                sides = [max(0, length - side + 1) for length in sides]
            if knobs.pool_after == "each" or index == last:
                layers += [make_pool(knobs.pool), make_dropout(knobs.dropout, "blocks")]
                sides = [pooled(length, knobs.pool) for length in sides]
        if min(sides) == 0:
            size = " x ".join(map(str, image_shape[1:]))
            raise ValueError(f"model.widths={list(knobs.widths)} leaves nothing of {size} images: give fewer")
        features = knobs.widths[-1] * prod(sides)
        layers.append(nn.Flatten())
        if knobs.hidden:
            layers += [nn.Linear(features, knobs.hidden), Activation(knobs.activation)]
            features = knobs.hidden
        self.layers = in_a_row(*layers, make_dropout(knobs.dropout, "head"))
        self.head = make_head(features, classes, knobs, bias=True)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.layers(images))
