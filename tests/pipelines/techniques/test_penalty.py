from types import SimpleNamespace

import pytest
import torch
from torch import nn

from pipelines.distributed.process_group import World
from pipelines.recipe import RecipeError, load, techniques
from pipelines.techniques.penalty import Penalty, penalised
from pipelines.train import run_trial, set_up


def make_network(dtype=torch.float32):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))
    network[3].weight.data[0, 0] = 0
    return network.to(dtype)


@pytest.mark.parametrize("scale", [1, 64])
@pytest.mark.parametrize(("l1", "l2"), [(0.1, 0), (0, 0.2), (0.1, 0.2)])
def test_the_gradient_is_that_of_the_penalty_in_the_loss(l1, l2, scale):
    network, reference = make_network(), make_network()
    images = torch.randn(5, 1, 4, 4)
    network(images).square().sum().mul(scale).backward()
    technique = Penalty(techniques.Penalty(l1=float(l1), l2=float(l2)))
    state = SimpleNamespace(network=network, gradient_scale=scale)
    technique.trial_start(state)
    technique.gradients_ready(state)
    penalty = sum(l1 * w.abs().sum() + l2 / 2 * w.square().sum() for w in (reference[0].weight, reference[3].weight))
    ((reference(images).square().sum() + penalty) * scale).backward()
    for parameter, expected in zip(network.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, expected.grad, rtol=1e-4, atol=1e-5)


def test_half_precision_weights_and_weights_without_a_gradient():
    network = make_network(torch.bfloat16)
    network[0].weight.grad = torch.zeros_like(network[0].weight)
    state = SimpleNamespace(network=network, gradient_scale=1)
    technique = Penalty(techniques.Penalty(l1=1.0, l2=0.5))
    technique.trial_start(state)
    technique.gradients_ready(state)
    weight = network[0].weight.detach()
    torch.testing.assert_close(network[0].weight.grad, weight.sign() + 0.5 * weight)
    assert network[3].weight.grad is None


def test_biases_norms_and_frozen_weights_are_exempt():
    network = make_network()
    network[0].weight.requires_grad = False
    assert [id(weight) for weight in penalised(network)] == [id(network[3].weight)]


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_in_sgd_the_l2_penalty_is_weight_decay(digits, reduction):
    """The same weights and the same training loss, which is that of the data alone."""
    plain = ["epochs=1", f"loss.reduction={reduction}", "optimizer.bias_weight_decay_factor=0"]
    outcomes = []
    for overrides in (["optimizer.weight_decay=0.05"], ["optimizer.weight_decay=0", "techniques.penalty={l2: 0.05}"]):
        setup = set_up(load("digits/quick", [*plain, *overrides]), digits, World())
        trial = run_trial(setup, seed=0)
        weights = {name: tensor.clone() for name, tensor in setup.network.state_dict().items()}
        outcomes.append((weights, trial.epochs[0].train_loss))
    torch.testing.assert_close(outcomes[1][0], outcomes[0][0], rtol=1e-4, atol=1e-5)
    assert outcomes[1][1] == pytest.approx(outcomes[0][1], rel=1e-5)


def test_a_penalty_of_nothing_is_refused():
    with pytest.raises(RecipeError, match="techniques.penalty does nothing"):
        load("digits/quick", ["techniques.penalty={}"])
