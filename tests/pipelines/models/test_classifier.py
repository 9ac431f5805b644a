"""Networks for images are called in two parts by some techniques."""

import pytest
import torch

from tests.pipelines.models.small import DROPOUT, SMALL, build, images

every_network = pytest.mark.parametrize("name", SMALL)


@every_network
def test_the_logits_of_the_features_are_those_of_the_network(name):
    """With what belongs to neither its layers nor its head, such as dropout of the input and a factor on the logits."""
    network = build(name, dropout=DROPOUT)
    torch.manual_seed(1)
    expected = network(images())
    torch.manual_seed(1)
    assert torch.equal(network.logits(network.features(images())), expected)
    torch.manual_seed(1)
    features, logits = network.features_and_logits(images())
    assert features.shape == (4, network.head.in_features)
    assert torch.equal(logits, expected)


@pytest.mark.parametrize("name", ["convnet", "alexnet"])
def test_features_get_no_gradient_when_the_forward_function_says_so(name):
    network = build(name)
    logits = network(images(), train_features=False)
    assert torch.equal(logits, network(images()))
    logits.sum().backward()
    assert all(parameter.grad is None for parameter in network.layers.parameters())
    assert all(parameter.grad is not None for parameter in network.head.parameters())
