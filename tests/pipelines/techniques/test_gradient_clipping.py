from types import SimpleNamespace

import pytest
import torch
from torch import nn

from pipelines.distributed.process_group import World
from pipelines.recipe import RecipeError, load, techniques
from pipelines.techniques.gradient_clipping import GradientClipping
from pipelines.train import run_trial, set_up


def network_with_gradients(dtypes, size=10):
    """A frozen parameter, and one a dtype with random gradients."""
    torch.manual_seed(0)
    network = nn.ParameterList([nn.Parameter(torch.ones(3), requires_grad=False)])
    for dtype in dtypes:
        parameter = nn.Parameter(torch.zeros(size, size, dtype=dtype))
        parameter.grad = torch.randn(size, size).to(dtype)
        network.append(parameter)
    return network


def clip(network, gradient_scale=1, **limit):
    technique = GradientClipping(techniques.GradientClipping(**limit))
    state = SimpleNamespace(network=network, gradient_scale=gradient_scale)
    technique.trial_start(state)
    technique.gradients_ready(state)


def gradients(network):
    return [parameter.grad.double() for parameter in network if parameter.grad is not None]


def norm(tensors):
    return torch.cat([tensor.flatten() for tensor in tensors]).norm()


@pytest.mark.parametrize("scale", [1, 64])
@pytest.mark.parametrize("dtypes", [[torch.float32], [torch.bfloat16, torch.float32], [torch.float16, torch.float32]])
def test_a_norm_above_the_limit_becomes_the_limit(dtypes, scale):
    network = network_with_gradients(dtypes)
    before = gradients(network)
    clip(network, scale, norm=0.05)
    after = gradients(network)
    assert norm(after).item() == pytest.approx(0.05 * scale, rel=0.01 if len(dtypes) > 1 else 1e-4)
    for one, other, dtype in zip(after, before, dtypes, strict=True):
        expected = other * 0.05 * scale / norm(before)
        torch.testing.assert_close(one, expected, rtol=2 * torch.finfo(dtype).eps, atol=1e-4)


def test_the_norm_is_that_of_torch():
    ours, theirs = network_with_gradients([torch.float32] * 3), network_with_gradients([torch.float32] * 3)
    clip(ours, norm=2.0)
    nn.utils.clip_grad_norm_(theirs.parameters(), 2.0)
    torch.testing.assert_close(gradients(ours), gradients(theirs))


def test_the_norm_of_many_half_precision_entries():
    """Summed in float16 their squares overflow, and in bfloat16 the sum stalls."""
    for dtype in (torch.float16, torch.bfloat16):
        network = network_with_gradients([dtype], size=500)
        clip(network, norm=1.0)
        assert norm(gradients(network)).item() == pytest.approx(1, rel=0.005)


@pytest.mark.parametrize("limit", [{"norm": 1e6}, {"value": 1e6}])
def test_gradients_below_the_limit_stay_as_they_are(limit):
    network = network_with_gradients([torch.bfloat16, torch.float32])
    before = gradients(network)
    clip(network, **limit)
    assert all(torch.equal(one, other) for one, other in zip(gradients(network), before, strict=True))


@pytest.mark.parametrize("scale", [1, 3])
def test_values_are_cut(scale):
    network = network_with_gradients([torch.float32])
    before = gradients(network)
    clip(network, scale, value=0.5)
    torch.testing.assert_close(gradients(network)[0], before[0].clamp(-0.5 * scale, 0.5 * scale))


def test_the_limit_is_for_the_mean_loss(digits):
    """So that a summed loss takes the same path."""
    weights = []
    for reduction in ("mean", "sum"):
        overrides = ["epochs=1", "techniques.gradient_clipping={norm: 0.1}", f"loss.reduction={reduction}"]
        setup = set_up(load("digits/quick", overrides), digits, World())
        run_trial(setup, seed=0)
        weights.append({name: tensor.clone() for name, tensor in setup.network.state_dict().items()})
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("limits", ["{}", "{norm: 1, value: 1}"])
def test_one_limit_is_given(limits):
    with pytest.raises(RecipeError, match="either the norm or each value: give one of the two"):
        load("digits/quick", [f"techniques.gradient_clipping={limits}"])
