import pytest
import torch
from torch import nn

from pipelines import models, recipe
from pipelines.host.torchvision_import import import_torchvision
from pipelines.models.torchvision import Torchvision
from pipelines.optim.parameter_groups import HEAD, role_of
from pipelines.recipe import networks
from pipelines.recipe.training import Initialization


def build(architecture, shape=(3, 32, 32), classes=7):
    return Torchvision(networks.Torchvision(name="torchvision", architecture=architecture), shape, classes)


@pytest.mark.parametrize("architecture", ["resnet18", "vit_b_32", "squeezenet1_1", "googlenet"])
def test_gives_one_logit_a_class_in_training(architecture):
    with torch.device("meta"):
        assert build(architecture).train()(torch.empty(2, 3, 32, 32)).shape == (2, 7)


def test_inception_has_no_auxiliary_logits_in_training():
    with torch.device("meta"):
        assert build("inception_v3", (3, 96, 96)).train()(torch.empty(2, 3, 96, 96)).shape == (2, 7)


@pytest.mark.parametrize(
    ("architecture", "shape", "message"),
    [
        ("alexnet", (3, 32, 32), "does not take images of 32 x 32 pixels"),
        ("vit_b_16", (3, 36, 36), "does not take images of 36 x 36 pixels"),
        ("vit_b_16", (3, 32, 64), "takes square images, not 32 x 64"),
        ("resnet18", (1, 32, 32), "takes images with 3 channels, not 1"),
        ("resnet19", (3, 32, 32), "torchvision has no such network; it has alexnet, "),
    ],
)
def test_images_and_names_that_do_not_fit_are_refused(architecture, shape, message):
    with pytest.raises(ValueError, match=message) as error, torch.device("meta"):
        build(architecture, shape)
    assert "\n" not in str(error.value)


def test_weights_are_those_that_torchvision_draws():
    network = build("resnet18")
    models.initialize(network, 3, Initialization())
    torch.manual_seed(3)
    expected = import_torchvision().models.resnet18(num_classes=7).state_dict()
    found = network.network.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_initialization_resets_the_statistics_of_the_norms():
    network = build("resnet18")
    network.train()(torch.rand(4, 3, 32, 32))
    models.initialize(network, 3, Initialization())
    norms = [one for one in network.modules() if isinstance(one, nn.BatchNorm2d)]
    assert all(not one.running_mean.any() and not one.num_batches_tracked for one in norms)


def test_the_last_layer_is_the_head():
    network = build("resnet18")
    assert network.head is network.network.fc
    assert [name for name, _ in network.named_parameters() if role_of(network, name) == HEAD] == ["network.fc.weight"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["precision=half"], "set precision=autocast"),
        (["techniques={linear_probe: {}}"], "techniques.linear_probe needs the layers"),
        (["techniques={progressive_dropout: {end_epoch: 1}}"], "progressive_dropout cannot change the dropout"),
        (["model.architecture=squeezenet1_1", "techniques={mixup: {}}"], "mixup needs a linear last layer"),
    ],
)
def test_what_needs_a_network_of_ours_is_refused(overrides, message):
    model = "model={name: torchvision, architecture: resnet18}"
    with pytest.raises(ValueError, match=message):
        recipe.load("cifar10/davidnet-10", ["precision=float32", model, *overrides])
