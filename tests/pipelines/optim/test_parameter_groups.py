import pytest
import torch
from torch import nn

from pipelines import models, recipe
from pipelines.optim.optimizers import make_optimizer
from pipelines.optim.parameter_groups import Trained, depths, parameter_groups, role_of

DEPTHS = ["optimizer.depth_lr_factor=0.5", "optimizer.depth_weight_decay_factor=3"]


def network_of(name, *overrides):
    chosen = recipe.load(name, ["precision=float32", *overrides])
    shape = (1, 8, 8) if chosen.data.name == "digits" else (3, 32, 32)
    return models.build_network(chosen.model, shape, 10), chosen


def rates_by_name(name, *overrides):
    """Rate and decay of each trained parameter, and the optimizer's groups."""
    network, chosen = network_of(name, *overrides)
    optimizer = make_optimizer(network, chosen, local_batch_size=8, steps=1, steps_per_epoch=1)
    groups = [group for inner in optimizer.optimizers for group in inner.param_groups]
    of = {id(parameter): group for group in groups for parameter in group["params"]}
    found = {name: of[id(p)] for name, p in network.named_parameters() if p.requires_grad}
    return {name: (group["base_lr"], group["weight_decay"]) for name, group in found.items()}, groups


def test_depths_of_the_convnet():
    network, _ = network_of("digits/quick", "model.widths=[4,5,6]")
    expected = {"layers.0": 3, "layers.3": 2, "layers.6": 1, "head": 0}
    assert depths(network) == {f"{layer}.{end}": d for layer, d in expected.items() for end in ("weight", "bias")}


def test_a_norm_belongs_to_the_layer_before_it():
    network = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Sequential(nn.Linear(2, 2, bias=False))
    )
    expected = {"0.weight": 1, "0.bias": 1, "1.weight": 1, "1.bias": 1, "3.0.weight": 0}
    assert depths(network) == expected


def test_depths_of_davidnet():
    """Eight convolutions and the whitening one before the head."""
    network, _ = network_of("cifar10/davidnet-10")
    found = depths(network)
    assert found.keys() == dict(network.named_parameters()).keys()
    assert (found["whiten.weight"], found["head.weight"]) == (9, 0)
    filters = [found[name] for name, p in network.named_parameters() if p.ndim == 4 and not name.startswith("whiten")]
    assert filters == [8, 7, 6, 5, 4, 3, 2, 1]


def test_roles():
    network = nn.Module()
    network.convolution = nn.Conv2d(1, 2, 3)
    network.norm = nn.BatchNorm2d(2)
    network.hidden = nn.Linear(2, 2)
    network.head = nn.Linear(2, 2)
    roles = {name: role_of(network, name) for name, _ in network.named_parameters()}
    assert {role for name, role in roles.items() if name.endswith("bias")} == {"bias"}
    assert {name: role for name, role in roles.items() if name.endswith("weight")} == {
        "convolution.weight": "filter",
        "norm.weight": "scale",
        "hidden.weight": "weight",
        "head.weight": "head",
    }


def test_groups_are_of_equal_role_rate_and_decay():
    parameters = [nn.Parameter(torch.zeros(size)) for size in range(5)]
    roles = ["weight", "bias", "weight", "weight", "bias"]
    trained = [Trained(p, role, depth) for depth, (p, role) in enumerate(zip(parameters, roles, strict=True))]
    groups = parameter_groups(trained, lambda one: (1.0 if one.depth < 3 else 0.5, 0.1), gradient_scale=2)
    assert [(g["role"], g["lr"], g["base_lr"], g["weight_decay"]) for g in groups] == [
        ("weight", 0.5, 0.5, 0.2),
        ("bias", 0.5, 0.5, 0.2),
        ("weight", 0.25, 0.25, 0.2),
        ("bias", 0.25, 0.25, 0.2),
    ]
    assert [[len(parameter) for parameter in group["params"]] for group in groups] == [[0, 2], [1], [3], [4]]


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_layer_wise_rates_and_decays(optimizer):
    config = f"optimizer={{name: {optimizer}, lr: 0.1, weight_decay: 0.01, bias_lr_factor: 2}}"
    found, _ = rates_by_name("digits/quick", "model.widths=[4,5,6]", config, *DEPTHS)
    for depth, layer in enumerate(["head", "layers.6", "layers.3", "layers.0"]):
        assert found[f"{layer}.weight"] == pytest.approx((0.1 * 0.5**depth, 0.01 * 3**depth))
        assert found[f"{layer}.bias"] == pytest.approx((0.2 * 0.5**depth, 0.01 * 3**depth))


def test_layer_wise_rates_under_a_summed_loss():
    plain, _ = rates_by_name("cifar10/davidnet-10", "loss.reduction=mean", *DEPTHS)
    summed, _ = rates_by_name("cifar10/davidnet-10", "loss.reduction=sum", *DEPTHS)
    assert len(set(plain.values())) == 9 + 8  # a rate a layer, and those of the biases
    for name, (lr, decay) in plain.items():
        assert summed[name] == pytest.approx((lr / 8, decay * 8))


def test_factors_of_one_leave_one_group_of_matrices_and_one_of_biases():
    explicit = ["optimizer.depth_lr_factor=1", "optimizer.depth_weight_decay_factor=1"]
    (found, groups), (same, _) = (rates_by_name("cifar10/davidnet-10", *more) for more in ([], explicit))
    assert [group["role"] for group in groups] == ["filter", "bias"]
    assert found == same
    assert recipe.load("cifar10/davidnet-10", explicit).hash == recipe.load("cifar10/davidnet-10").hash


@pytest.mark.parametrize("optimizer", ["rmsprop", "adadelta", "lars, lr: 1", "lamb, lr: 1"])
def test_other_optimizers_have_no_factors_for_depth(optimizer):
    with pytest.raises(recipe.RecipeError, match="optimizer.depth_lr_factor: there is no such option"):
        recipe.load("digits/quick", [f"optimizer={{name: {optimizer}}}", "optimizer.depth_lr_factor=0.5"])


@pytest.mark.parametrize("optimizer", ["lars", "lamb"])
def test_biases_and_norms_are_exempt_from_trust_ratio_and_decay(optimizer):
    config = f"optimizer={{name: {optimizer}, lr: 2, weight_decay: 0.01, bias_lr_factor: 3}}"
    found, groups = rates_by_name("cifar10/davidnet-10", "loss.reduction=mean", "model.norm.scale=true", config)
    for name, rate in found.items():
        is_scale = name.endswith("layers.1.weight") or name.endswith("layers.2.weight")
        expected = (6, 0) if name.endswith("bias") else (2, 0) if is_scale else (2, 0.01)
        assert rate == pytest.approx(expected), name
    assert {group["role"]: group["adaptive"] for group in groups} == {
        "filter": True,
        "scale": False,
        "bias": False,
    }
