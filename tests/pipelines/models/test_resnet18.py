import pytest
import torch
from torch import nn

from pipelines import models, recipe
from pipelines.models.layers import BatchNorm
from pipelines.models.resnet18 import Block, ResNet18
from pipelines.recipe import networks

SMALL = {"name": "resnet18", "widths": (4, 5, 6, 6)}


def small(shape=(3, 32, 32), **config):
    torch.manual_seed(0)
    return ResNet18(networks.ResNet18(**SMALL | config), shape, 10)


def images(*shape):
    return torch.randn(shape or (3, 3, 32, 32), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("rung", "duplicate"), [("00-resnet18", 1), ("01-no-duplicate", 0)])
def test_parameters_of_the_entry(rung, duplicate):
    """Counted from the layers of bkj/basenet, examples/cifar10.py at commit 49b2b61, which prints no sum."""
    config = recipe.load(f"cifar10/ladder/{rung}").model
    with torch.device("meta"):
        network = models.build_network(config, (3, 32, 32), 10)
    stages = [(64, 64), (64, 128), (128, 256), (256, 256)]
    convolutions = 9 * 3 * 64 + sum(9 * (before * after + 3 * after**2) for before, after in stages)
    projections = sum(before * after for before, after in stages[1:])
    norms = 2 * (64 * duplicate + sum(before + 3 * after for before, after in stages))
    expected = convolutions + projections + norms + 10 * 512 + 10
    assert sum(parameter.numel() for parameter in network.parameters()) == expected


def test_eighteen_layers_and_the_shortcuts():
    network = small()
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert sum(module.kernel_size == (3, 3) for module in convolutions) + 1 == 18
    assert [module.projection is None for module in network.modules() if isinstance(module, Block)] == [
        True, True, False, True, False, True, False, True,
    ]  # fmt: skip


@pytest.mark.parametrize(("stride", "outputs"), [(1, 4), (2, 4), (1, 6)])
def test_a_block_is_two_convolutions_around_a_shortcut(stride, outputs):
    torch.manual_seed(0)
    block = Block(4, outputs, stride, networks.ResNet18(**SMALL)).eval()
    activated = block.prepare(images(2, 4, 8, 8))
    nn.init.zeros_(block.branch[-1].weight)
    same = stride == 1 and outputs == 4
    expected = images(2, 4, 8, 8) if same else block.projection(activated)
    assert torch.equal(block(images(2, 4, 8, 8)), expected)
    assert expected.shape == (2, outputs, 8 // stride, 8 // stride)


def test_the_duplicate_norm_stands_before_the_first_block():
    kinds = [type(module).__name__ for module in small(duplicate_norm=True).layers]
    assert kinds[:4] == ["Conv2d", "BatchNorm", "Activation", "Block"]
    assert [type(module).__name__ for module in small().layers] == kinds[:1] + kinds[3:]


def test_the_head_sees_mean_and_maximum():
    network = small().eval()
    features = network.layers[:-1](images())
    pooled = torch.cat([features.mean((2, 3)), features.amax((2, 3))], 1)
    torch.testing.assert_close(network(images()), network.head(pooled))


def test_other_sizes_of_images_pass():
    assert small((1, 28, 28))(images(2, 1, 28, 28)).shape == (2, 10)


@pytest.mark.parametrize("half", [True, False])
def test_norms_in_half_precision(half):
    network = models.to_precision(small(norm=networks.Norm(half=half)), torch.bfloat16, channels_last=True)
    norms = [module for module in network.modules() if isinstance(module, BatchNorm)]
    wanted = torch.bfloat16 if half else torch.float32
    assert {tensor.dtype for norm in norms for tensor in norm.state_dict().values() if tensor.is_floating_point()} == {
        wanted
    }
    logits = network(images().bfloat16())
    logits.float().square().sum().backward()
    assert logits.dtype == torch.bfloat16
    assert norms[0].weight.grad.dtype == wanted
    assert network.eval()(images().bfloat16()).isfinite().all()


def test_half_norms_have_no_groups():
    with pytest.raises(recipe.RecipeError, match=r"model\.norm.*half=true cannot be combined with a group_size"):
        recipe.load("cifar10/davidnet-10", ["model.norm.half=true"])
