import pytest
import torch
from torch import nn

from pipelines import models, recipe
from pipelines.models.resnet18 import Block


def wide_resnet(depth, factor):
    config = recipe.load("cifar10/strategies/wide-resnet", [f"model.depth={depth}", f"model.factor={factor}"]).model
    with torch.device("meta"):
        return models.build_network(config, (3, 32, 32), 10)


@pytest.mark.parametrize(("depth", "factor", "millions"), [(40, 1, 0.6), (40, 4, 8.9), (16, 8, 11.0), (28, 10, 36.5)])
def test_parameters_of_the_paper(depth, factor, millions):
    """Table 4 of arXiv 1605.07146."""
    count = sum(parameter.numel() for parameter in wide_resnet(depth, factor).parameters())
    assert count / 1e6 == pytest.approx(millions, abs=0.05)


def test_the_groups_halve_the_image_and_the_depth_counts_the_layers():
    network, sides = wide_resnet(16, 2), []
    for block in (layer for layer in network.layers if isinstance(layer, Block)):
        block.register_forward_hook(lambda module, inputs, output: sides.append(tuple(output.shape[1:3])))
    assert network(torch.empty(2, 3, 32, 32, device="meta")).shape == (2, 10)
    assert sides == [(32, 32), (32, 32), (64, 16), (64, 16), (128, 8), (128, 8)]
    convolutions = [one for one in network.modules() if isinstance(one, nn.Conv2d)]
    assert len(convolutions) == 16  # 13 of 3 x 3, and three shortcuts where the width changes


def test_a_depth_of_no_whole_blocks_is_refused():
    with pytest.raises(ValueError, match="depth=18 is not 6n \\+ 4: set depth=16"):
        recipe.load("cifar10/strategies/wide-resnet", ["model.depth=18"])
