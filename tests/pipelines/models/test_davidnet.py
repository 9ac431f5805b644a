import pytest
import torch
from torch import nn

from pipelines import models, recipe
from pipelines.models.davidnet import DavidNet
from pipelines.models.layers import BatchNorm, GhostBatchNorm, PatchWhitening, PooledGhostBatchNorm
from pipelines.recipe import networks
from pipelines.recipe.training import Initialization
from tests.kernels.versions import needs_triton

SMALL = {"name": "davidnet", "widths": (4, 4, 6, 8)}


def small(**config):
    torch.manual_seed(0)
    return DavidNet(networks.DavidNet(**SMALL | config), (3, 32, 32), 10)


def images(count=3):
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def parameters(overrides=(), classes=10):
    config = recipe.load("cifar10/davidnet-10", overrides).model
    with torch.device("meta"):
        network = models.build_network(config, (3, 32, 32), classes)
    return sum(parameter.numel() for parameter in network.parameters())


def test_parameters_of_the_published_network():
    convolutions = 9 * (64 * 128 + 2 * 128 * 128 + 128 * 256 + 256 * 512 + 2 * 512 * 512)
    norms = 2 * (64 + 3 * 128 + 256 + 3 * 512)
    rest = convolutions + norms + 512 * 10
    assert parameters(["model.whitening=null"]) == rest + 9 * 3 * 64 == pytest.approx(6.57e6, rel=1e-3)
    assert parameters() == rest + 27 * 27 + 27 * 64 == pytest.approx(6.57e6, rel=1e-3)


def test_the_logit_scale_is_a_factor_on_the_logits():
    plain, scaled = small(logit_scale=1.0).eval(), small(logit_scale=0.125).eval()
    torch.testing.assert_close(scaled(images()), plain(images()) / 8)


@pytest.mark.parametrize("pool_before_norm", [False, True])
def test_pooling_comes_before_or_after_norm_and_activation(pool_before_norm):
    network = small(pool_before_norm=pool_before_norm)
    sides = []
    for module in network.modules():
        if isinstance(module, BatchNorm):
            module.register_forward_hook(lambda module, inputs, output: sides.append(inputs[0].shape[-1]))
    network(images())
    first, second, third, fourth = (16, 8, 8, 4) if pool_before_norm else (32, 16, 16, 8)
    assert sides == [32, first, 16, 16, second, fourth, 4, 4]
    assert third == second


@pytest.mark.parametrize("pool_before_norm", [False, True])
def test_a_kernel_has_the_pools_that_ghost_norm_and_activation_follow(pool_before_norm):
    network = small(norm=networks.Norm(group_size=2), pool_before_norm=pool_before_norm)
    kinds = [type(module) for module in network.modules()]
    assert kinds.count(PooledGhostBatchNorm) == (3 if pool_before_norm else 0)
    assert kinds.count(GhostBatchNorm) == (5 if pool_before_norm else 8)
    assert kinds.count(nn.MaxPool2d) == (1 if pool_before_norm else 4)


@needs_triton
def test_it_trains_on_triton_s_norms_as_on_the_definitions(monkeypatch):
    config = {"norm": networks.Norm(group_size=2), "activation": {"name": "celu", "alpha": 0.3}}
    network = small(**config, pool_before_norm=True)
    before = {name: values.clone() for name, values in network.state_dict().items()}
    results = {}
    for version in ("reference", "fast"):
        network.load_state_dict(before)
        network.zero_grad()
        for kernel in ("ghost_batch_norm", "pooled_ghost_batch_norm"):
            monkeypatch.setattr(f"kernels.{kernel}.is_for_triton", lambda *_, version=version: version == "fast")
        logits = network(images())
        logits.square().sum().backward()
        gradients = [parameter.grad.clone() for parameter in network.parameters()]
        results[version] = [logits.detach(), *gradients, *(values.clone() for values in network.buffers())]
    for result, expected in zip(results["fast"], results["reference"], strict=True):
        torch.testing.assert_close(result, expected, rtol=1e-3, atol=1e-4)


def test_the_order_of_pooling_changes_the_logits():
    before, after = small(pool_before_norm=True), small(pool_before_norm=False)
    for mine, other in zip(before.parameters(), after.parameters(), strict=True):
        mine.data.copy_(other)
    assert not torch.allclose(before(images()), after(images()), atol=1e-3)


def test_whitening_stands_before_a_1x1_convolution():
    network = small(whitening=networks.Whitening(images=5))
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert [type(module) for module in convolutions[:2]] == [PatchWhitening, nn.Conv2d]
    assert [module.kernel_size for module in convolutions] == [(3, 3), (1, 1), *[(3, 3)] * 7]
    assert models.whitening_layers(network) == convolutions[:1]
    assert models.whitening_layers(small()) == []


def test_residual_blocks_add_their_input():
    network = small()
    for name, parameter in network.named_parameters():
        if ".branch." in name:
            nn.init.zeros_(parameter)
    residuals = [module for module in network.modules() if type(module).__name__ == "Residual"]
    assert len(residuals) == 2
    seen = torch.rand(2, 4, 8, 8)
    assert torch.equal(residuals[0](seen), seen)


def test_other_sizes_are_refused_with_a_sentence():
    with pytest.raises(ValueError, match=r"model\.name=davidnet takes images of 32 x 32 pixels, not 28 x 28"):
        DavidNet(networks.DavidNet(**SMALL), (1, 28, 28), 10)


def test_initialize_draws_everything_anew_in_place():
    network = small(whitening=networks.Whitening(), norm=networks.Norm(scale=False))
    models.initialize(network, 3, Initialization())
    first = {name: values.clone() for name, values in network.state_dict().items()}
    pointers = [values.data_ptr() for values in network.state_dict().values()]
    for values in network.state_dict().values():
        values.fill_(7)
    models.initialize(network, 3, Initialization())
    assert all(torch.equal(values, first[name]) for name, values in network.state_dict().items())
    assert [values.data_ptr() for values in network.state_dict().values()] == pointers
    models.initialize(network, 4, Initialization())
    assert not torch.equal(network.head.weight, first["head.weight"])


@pytest.mark.parametrize("channels_last", [False, True])
def test_half_precision_keeps_the_norms_in_float32(channels_last):
    network = models.to_precision(small(), torch.bfloat16, channels_last=channels_last)
    for name, module in network.named_modules():
        wanted = torch.float32 if isinstance(module, BatchNorm) else torch.bfloat16
        assert {parameter.dtype for parameter in module.parameters(recurse=False)} <= {wanted}, name
    convolution = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    assert convolution.weight.is_contiguous(memory_format=torch.channels_last) == channels_last
    assert network(images().bfloat16()).dtype == torch.bfloat16
