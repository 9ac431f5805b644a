from copy import deepcopy
from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from kernels.whiten import patch_covariance
from pipelines.models.layers import (
    Activation,
    BatchNorm,
    GhostBatchNorm,
    PatchWhitening,
    make_norm,
    make_pool,
    norm_and_activation,
)
from pipelines.recipe import networks


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def reference_norm(layer):
    """torch's BatchNorm2d with the same config, parameters and statistics."""
    norm = nn.BatchNorm2d(layer.num_features, eps=layer.eps, momentum=layer.momentum)
    norm.load_state_dict(layer.state_dict())
    return norm.train(layer.training)


def running_after_each_group(layer, images):
    """The mean over the groups of the running statistics that a BatchNorm2d has after that group alone."""
    means, variances = [], []
    for group in images.split(layer.group_size):
        norm = reference_norm(layer)
        norm(group)
        means.append(norm.running_mean)
        variances.append(norm.running_var)
    return torch.stack(means).mean(0), torch.stack(variances).mean(0)


@pytest.mark.parametrize("group_size", [None, 4])
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_is_torch_s(group_size, training):
    layer = make_norm(3, networks.Norm(momentum=0.4, eps=1e-3, group_size=group_size))
    for values in layer.state_dict().values():
        values.copy_(values + 1)
    layer.train(training and group_size is None)
    expected = reference_norm(layer)
    images = noise(6, 3, 4, 4)
    torch.testing.assert_close(layer(images), expected(images), rtol=0, atol=0)
    assert torch.equal(layer.running_mean, expected.running_mean)
    assert torch.equal(layer.running_var, expected.running_var)


def check_ghost_statistics(count, group_size, momentum, seed):
    layer = make_norm(2, networks.Norm(group_size=group_size, momentum=momentum))
    images = noise(count, 2, 3, 3, seed=seed) * 2 + 1
    for step in range(3):
        mean, variance = running_after_each_group(layer, images + step)
        layer(images + step)
        torch.testing.assert_close(layer.running_mean, mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(layer.running_var, variance, rtol=1e-4, atol=1e-5)


@given(st.integers(1, 4), st.integers(2, 5), st.floats(0.01, 1), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=20)
def test_ghost_statistics_are_the_mean_over_the_groups(groups, group_size, momentum, seed):
    check_ghost_statistics(groups * group_size, group_size, momentum, seed)


@given(st.integers(1, 9), st.integers(2, 5), st.floats(0.01, 1), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=20)
def test_a_smaller_last_group_is_a_group_like_the_others(count, group_size, momentum, seed):
    check_ghost_statistics(count, group_size, momentum, seed)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", ["celu", "gelu", "mish"])
def test_norm_and_activation_are_one_module_where_a_kernel_has_both(name, training):
    norm, activation = networks.Norm(group_size=3), networks.Activation(name=name)
    together = nn.Sequential(*norm_and_activation(4, norm, activation)).train(training)
    assert len(together) == (2 if name == "mish" else 1)
    apart = nn.Sequential(make_norm(4, norm), Activation(activation)).train(training)
    images = noise(7, 4, 3, 3)
    assert torch.equal(together(images), apart(images))
    assert torch.equal(together[0].running_var, apart[0].running_var)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("name", "pool", "modules"), [("celu", "max", 1), ("celu", "average", 2), ("mish", "max", 3)])
def test_a_pool_before_them_is_in_the_module_where_a_kernel_has_it(name, pool, modules, training):
    norm, activation, pool = networks.Norm(group_size=3), networks.Activation(name=name), networks.Pool(name=pool)
    together = nn.Sequential(*norm_and_activation(4, norm, activation, pool)).train(training)
    assert len(together) == modules
    apart = nn.Sequential(make_pool(pool), make_norm(4, norm), Activation(activation)).train(training)
    images = noise(7, 4, 6, 6)
    assert torch.equal(together(images), apart(images))
    assert [values.tolist() for values in together.buffers()] == [values.tolist() for values in apart.buffers()]


def test_the_recipe_s_group_size_chooses_the_norm():
    assert type(make_norm(2, networks.Norm())) is BatchNorm
    assert type(make_norm(2, networks.Norm(group_size=2))) is GhostBatchNorm


@pytest.mark.parametrize("group_size", [None, 2])
def test_a_frozen_scale_stays_one(group_size):
    layer = make_norm(2, networks.Norm(scale=False, group_size=group_size))
    layer(noise(4, 2, 3, 3)).square().sum().backward()
    assert layer.weight.grad is None
    assert layer.bias.grad is not None
    assert layer.weight.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("config", "function"),
    [
        ({"name": "relu"}, F.relu),
        ({"name": "celu", "alpha": 0.3}, lambda x: F.celu(x, 0.3)),
        ({"name": "gelu"}, F.gelu),
        ({"name": "silu"}, F.silu),
        ({"name": "elu", "alpha": 0.3}, lambda x: F.elu(x, 0.3)),
        ({"name": "leaky_relu"}, lambda x: F.leaky_relu(x, 0.01)),
        ({"name": "leaky_relu", "slope": 0.2}, lambda x: F.leaky_relu(x, 0.2)),
        ({"name": "mish"}, F.mish),
        ({"name": "tanh"}, torch.tanh),
        ({"name": "sigmoid"}, torch.sigmoid),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_activations(config, function, dtype):
    values = noise(50).to(dtype).requires_grad_()
    activation = Activation(networks.Activation(**config))
    output, expected = activation(values.clone()), function(values)
    assert torch.equal(output, expected)
    gradients = [torch.autograd.grad(result.square().sum(), values)[0] for result in (output, expected)]
    # in place, bfloat16's gradient is made from the rounded output
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-5 if dtype == torch.float32 else 0.02)


@pytest.mark.parametrize("name", get_args(networks.Activation.model_fields["name"].annotation))
@pytest.mark.parametrize("option", ["alpha", "slope"])
def test_a_option_that_a_function_does_not_have_is_refused(name, option):
    if name in {"alpha": ("celu", "elu"), "slope": ("leaky_relu",)}[option]:
        assert getattr(networks.Activation(**{"name": name, option: 0.3}), option) == 0.3
    else:
        with pytest.raises(ValueError, match=f"{option}=0.3 does nothing for {name}"):
            networks.Activation(**{"name": name, option: 0.3})


def correlated_images(count=40, side=9, channels=2):
    """Noise smoothed over neighbours and mixed between channels, so that a patch's pixels are far from independent."""
    images = F.avg_pool2d(noise(count, channels, side + 2, side + 2), 3, stride=1)
    images[:, 1] += 0.8 * images[:, 0]
    return (images + 0.5).permute(0, 2, 3, 1)


def test_whitened_patches_have_identity_covariance():
    images = correlated_images()
    layer = PatchWhitening(2, networks.Whitening(eps=1e-9, padding=0))
    layer.fit(images)
    whitened = layer(images.permute(0, 3, 1, 2)).transpose(0, 1).flatten(1)
    assert len(whitened) == 18
    torch.testing.assert_close(torch.cov(whitened, correction=0), torch.eye(18), rtol=0, atol=0.02)


def test_eps_is_added_to_the_eigenvalues():
    images = correlated_images()
    layer = PatchWhitening(2, networks.Whitening(eps=0.5, padding=0))
    layer.fit(images)
    whitened = layer(images.permute(0, 3, 1, 2)).transpose(0, 1).flatten(1)
    eigenvalues = torch.linalg.eigvalsh(patch_covariance(images.permute(0, 3, 1, 2), 3)).flip(0)
    expected = torch.diag(eigenvalues / (eigenvalues + 0.5)).float()
    torch.testing.assert_close(torch.cov(whitened, correction=0), expected, rtol=0, atol=1e-3)


def test_whitening_is_fitted_in_float32_whatever_the_dtype():
    images = correlated_images().bfloat16()
    layers = [PatchWhitening(2, networks.Whitening()) for _ in range(2)]
    layers[0].bfloat16().fit(images)
    layers[1].fit(images.float())
    assert torch.equal(layers[0].weight, layers[1].weight.bfloat16())


def test_training_leaves_whitening_alone():
    images = correlated_images()
    layer = PatchWhitening(2, networks.Whitening())
    layer.fit(images)
    fitted = deepcopy(layer.state_dict())
    network = nn.Sequential(layer, nn.Conv2d(18, 2, 1))
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=1, weight_decay=0.1)
    network(images.permute(0, 3, 1, 2)).square().mean().backward()
    optimizer.step()
    assert layer.weight.grad is None
    assert torch.equal(layer.weight, fitted["weight"])
    assert [name for name, parameter in network.named_parameters() if parameter.requires_grad] == ["1.weight", "1.bias"]


def test_both_signs_of_every_output():
    images = correlated_images()
    layer = PatchWhitening(2, networks.Whitening(kernel_size=2, padding=0, both_signs=True, bias=True))
    layer.fit(images)
    whitened = layer(images.permute(0, 3, 1, 2)) - layer.bias[:, None, None]
    assert whitened.shape[1] == 2 * 2 * 2 * 2
    torch.testing.assert_close(whitened[:, :8], -whitened[:, 8:])
