import pytest
import torch

from pipelines import models
from pipelines.recipe import load


def build(name="cifar10/airbench94", *overrides):
    return models.build_network(load(name, ["precision=float32", *overrides]).model, (3, 32, 32), 10)


def test_logits_and_their_scale():
    network, images = build("cifar10/airbench94", "model.widths=[8,8,8]").eval(), torch.randn(2, 3, 32, 32)
    logits = network(images)
    network.logit_scale *= 2
    assert logits.shape == (2, 10)
    assert torch.allclose(network(images), 2 * logits)


def test_three_convolutions_a_stage_have_a_residual():
    network = build("cifar10/airbench94", "model.widths=[8,8,8]", "model.depth=3").eval()
    stage = network.layers[1]
    assert len(stage.convolutions) == 3
    for convolution in stage.convolutions[1:]:
        torch.nn.init.zeros_(convolution.weight)
    images = torch.randn(2, 24, 31, 31)
    first = stage.activation(stage.norms[0](stage.pool(stage.convolutions[0](images))))
    assert torch.allclose(stage(images), stage.activation(first))


def test_each_stage_may_have_a_depth_of_its_own():
    network = build("cifar10/airbench94", "model.widths=[8,8,8]", "model.depth=[2,3,2]")
    assert [len(stage.convolutions) for stage in network.layers[1:4]] == [2, 3, 2]
    assert [stage.is_residual for stage in network.layers[1:4]] == [False, True, False]
    with pytest.raises(ValueError, match="stochastic_depth needs residual branches in every stage: set depth=3"):
        build("cifar10/airbench94", "model.depth=[2,3,3]", "model.stochastic_depth=0.2")


def test_two_convolutions_a_stage_may_have_a_residual():
    network = build("cifar10/airbench94", "model.widths=[8,8,8]", "model.residual_depth=2").eval()
    stage = network.layers[1]
    torch.nn.init.zeros_(stage.convolutions[1].weight)
    images = torch.randn(2, 24, 31, 31)
    first = stage.activation(stage.norms[0](stage.pool(stage.convolutions[0](images))))
    assert torch.allclose(stage(images), stage.activation(first))
    network = build("cifar10/airbench94", "model.residual_depth=2", "model.stochastic_depth=0.2")
    assert all(stage.drop for stage in network.layers[1:4])


def test_the_last_layer_may_get_the_means_too():
    network = build("cifar10/e1", "model.mean_features=true", "model.widths=[8,8,16]").eval()
    images = torch.randn(2, 3, 32, 32)
    last = network.layers[:4](network.whiten(images))
    expected = torch.cat([last.amax((2, 3)), last.mean((2, 3))], 1)
    assert torch.allclose(network(images), network.head(expected) * network.logit_scale, atol=1e-6)
    with pytest.raises(ValueError, match="mean_features needs global_pool: true"):
        load("cifar10/airbench94", ["model.mean_features=true"])


def test_smaller_images_pass_with_a_global_pool_only():
    small = torch.randn(2, 3, 24, 24)
    assert build("cifar10/airbench94", "model.global_pool=true")(small).shape == (2, 10)
    with pytest.raises(RuntimeError):
        build("cifar10/airbench94")(small)


def test_images_that_are_too_small_are_refused():
    with pytest.raises(ValueError, match="airnet takes images of at least 25 x 25 pixels, not 8 x 8"):
        models.build_network(load("cifar10/airbench94").model, (1, 8, 8), 10)


def test_the_smallest_images_of_a_global_pool():
    config = load("cifar10/e1").model
    assert models.build_network(config, (3, 9, 9), 10)(torch.randn(2, 3, 9, 9)).shape == (2, 10)
    with pytest.raises(ValueError, match="airnet takes images of at least 9 x 9 pixels, not 8 x 8"):
        models.build_network(config, (3, 8, 8), 10)


def test_a_first_convolution_that_is_not_whitened_has_a_bias_of_zero():
    first = build("cifar10/ladder/40-airnet").layers[0]
    assert first.bias.abs().max() == 0
    assert first.weight.abs().max() > 0


def test_a_whitening_bias_that_is_not_there_has_no_start():
    with pytest.raises(ValueError, match="bias_init=zeros does nothing without a bias"):
        load("cifar10/airbench94", ["model.whitening.bias=false", "techniques.whitening_bias=null"])
