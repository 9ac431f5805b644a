import pytest
import torch

from pipelines.models.convnet import ConvNet
from pipelines.recipe import networks


def build(widths, shape=(1, 8, 8), kernel_size=3):
    return ConvNet(networks.ConvNet(name="convnet", widths=widths, kernel_size=kernel_size), shape, 10)


def test_parameters_of_the_mnist_baseline():
    network = build((16, 32), (1, 28, 28), kernel_size=5)
    expected = (16 * 25 + 16) + (32 * 16 * 25 + 32) + (32 * 7 * 7 * 10 + 10)
    assert sum(parameter.numel() for parameter in network.parameters()) == expected


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 13), (2, 28, 28)])
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_takes_images_of_any_size(shape, kernel_size):
    assert build((4, 5), shape, kernel_size)(torch.rand(3, *shape)).shape == (3, 10)


def test_each_convolution_halves_the_image():
    network = build((4, 5, 6), (1, 28, 28))
    assert network.layers(torch.rand(2, 1, 28, 28)).shape == (2, 6 * 3 * 3)


def test_too_many_convolutions_are_refused_with_a_sentence():
    build((4, 4, 4))
    with pytest.raises(ValueError, match=r"model\.widths=\[4, 4, 4, 4\] leaves nothing of 8 x 8 images: give fewer"):
        build((4, 4, 4, 4))


def config(**changes):
    return networks.ConvNet(name="convnet", widths=(4, 5), **changes)


def test_the_activation_and_the_norm_are_the_recipe_s():
    network = ConvNet(config(norm=networks.Norm(), activation=networks.Activation(name="tanh")), (1, 8, 8), 10)
    kinds = [type(module).__name__ for module in network.layers]
    assert kinds == ["Conv2d", "BatchNorm", "Activation", "MaxPool2d"] * 2 + ["Flatten"]
    values = torch.linspace(-2, 2, 9)
    assert torch.equal(network.layers[2](values.clone()), values.tanh())


def test_without_options_there_is_relu_and_no_norm():
    network = ConvNet(config(), (1, 8, 8), 10)
    assert [name for name, _ in network.named_parameters()] == [
        *("layers.0.weight", "layers.0.bias", "layers.3.weight", "layers.3.bias", "head.weight", "head.bias")
    ]
    values = torch.linspace(-2, 2, 9)
    assert torch.equal(network.layers[2](values.clone()), values.relu())


def test_parameters_of_pytorchs_example():
    config = networks.ConvNet(
        name="convnet", widths=(32, 64), kernel_size=3, padding="valid", pool_after="last", hidden=128
    )
    network = ConvNet(config, (1, 28, 28), 10)
    assert sum(parameter.numel() for parameter in network.parameters()) == 320 + 18_496 + 1_179_776 + 1_290
    kinds = [type(module).__name__ for module in network.layers]
    first, second = ["Conv2d", "Activation"], ["Conv2d", "MaxPool2d", "Activation"]
    assert kinds == [*first, *second, "Flatten", "Linear", "Activation"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_relu_after_a_max_pool_has_the_outputs_and_gradients_of_relu_before_it(dtype):
    """Also where pixels are equal, and where none is positive."""
    torch.manual_seed(0)
    network = ConvNet(config(), (1, 8, 8), 10).to(dtype)
    images = (torch.randn(64, 1, 8, 8) > 0.5).to(dtype)
    pooled_first = list(network.layers)
    assert [type(module).__name__ for module in pooled_first[1:3]] == ["MaxPool2d", "Activation"]
    pooled_last = [pooled_first[place] for place in (0, 2, 1, 3, 5, 4, 6)]
    results = []
    for layers in (pooled_first, pooled_last):
        network.zero_grad()
        output = torch.nn.Sequential(*layers)(images)
        output.float().square().sum().backward()
        results.append([output, *(each.grad for each in network.layers.parameters())])
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


def test_each_convolution_may_have_a_kernel_of_its_own():
    network = ConvNet(
        networks.ConvNet(name="convnet", widths=(4, 5), kernel_size=(5, 3), padding="valid"), (1, 28, 28), 10
    )
    assert [tuple(layer.kernel_size) for layer in network.layers if isinstance(layer, torch.nn.Conv2d)] == [
        (5, 5),
        (3, 3),
    ]
    assert network.head.in_features == 5 * 5 * 5
    with pytest.raises(ValueError, match="kernel_size has 3 sides for 2 convolutions: give one for each"):
        networks.ConvNet(name="convnet", widths=(4, 5), kernel_size=(5, 3, 3))
