import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pipelines import recipe
from pipelines.distributed.process_group import World
from pipelines.probes.layer_scales import layer_scales
from pipelines.train import run_trial, set_up


def test_layer_scales_are_those_of_a_plain_calculation():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    images, labels = torch.randn(8, 4), torch.randint(3, (8,))
    scales = layer_scales(network, F.cross_entropy, images, labels)
    assert all(parameter.grad is None for parameter in network.parameters())
    F.cross_entropy(network(images), labels).backward()
    for name, output in {"0": network[0](images), "2": network(images)}.items():
        weight = network.get_submodule(name).weight
        assert scales[name]["activation"] == pytest.approx(output.square().mean().sqrt().item())
        assert scales[name]["gradient"] == pytest.approx(weight.grad.square().mean().sqrt().item())


def test_layer_scales_change_nothing_in_the_trial(digits):
    with_scales, without = (
        run_trial(set_up(recipe.load("digits/quick", ["epochs=1", *extra]), digits, World()), seed=0)
        for extra in (["techniques.layer_scales={}"], [])
    )
    assert with_scales.epochs == without.epochs
    assert set(with_scales.notes["layer_scales"]) == {"layers.0", "layers.3", "head"}


def test_dropout_draws_nothing_that_the_training_would_draw():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5), nn.Linear(6, 3))
    images, labels = torch.randn(8, 4), torch.randint(3, (8,))
    before = torch.get_rng_state()
    layer_scales(network, F.cross_entropy, images, labels)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_technique_that_has_a_loss_of_its_own_does_not_matter(digits):
    words = ["epochs=1", "techniques={data_pruning: {}, layer_scales: {}}"]
    trial = run_trial(set_up(recipe.load("digits/quick", words), digits, World()), seed=0)
    assert set(trial.notes["layer_scales"]) == {"layers.0", "layers.3", "head"}
