import pytest
import torch
from torch import nn

from pipelines import models
from pipelines.models.alexnet import ResponseNorm
from pipelines.recipe import networks


def alexnet(shape=(3, 224, 224), classes=1000, **config):
    with torch.device("meta"):
        return models.build_network(networks.AlexNet(name="alexnet", **config), shape, classes)


def test_parameters_of_the_paper():
    """Sections 3.5 and 1: 60 million parameters; each layer's from its kernels, of which 2, 4 and 5 see one column."""
    layers = [layer for layer in alexnet().modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert [tuple(layer.weight.shape) for layer in layers] == [
        (96, 3, 11, 11),
        (256, 48, 5, 5),
        (384, 256, 3, 3),
        (384, 192, 3, 3),
        (256, 192, 3, 3),
        (4096, 6 * 6 * 256),
        (4096, 4096),
        (1000, 4096),
    ]
    assert sum(layer.weight.numel() for layer in layers) == pytest.approx(61e6, rel=0.01)


def test_small_images_take_a_smaller_stride():
    small = alexnet((3, 32, 32), 10, kernel_size=5, stride=1)
    assert small(torch.empty(2, 3, 32, 32, device="meta")).shape == (2, 10)
    with pytest.raises(ValueError, match="leaves nothing of 32 x 32 images: set model.stride=1"):
        alexnet((3, 32, 32), 10)


def test_the_response_norm_is_that_of_the_paper_within_a_column():
    """b_i = a_i / (2 + 1e-4 sum over 5 neighbours of a_j^2)^0.75: section 3.3."""
    images = 30 * torch.randn(1, 8, 1, 1, generator=torch.Generator().manual_seed(0))
    expected = []
    for column in images.flatten().split(4):
        for channel in range(4):
            neighbours = column[max(0, channel - 2) : channel + 3]
            expected.append(column[channel] / (2 + 1e-4 * neighbours.square().sum()) ** 0.75)
    torch.testing.assert_close(ResponseNorm()(images).flatten(), torch.stack(expected))
