"""The ladder against the literature: what can be checked without training."""

import math

import pytest
import torch

from pipelines import recipe as recipes
from pipelines.data.sources import blank
from pipelines.estimate import estimate
from results.literature import published

LADDER = [name for name in recipes.names() if name.startswith("cifar10/ladder/")]
CPU = torch.device("cpu")


def float32(name: str) -> recipes.Recipe:
    """The recipe without what a CPU may not have."""
    return recipes.load(name, ["precision=float32"])


@pytest.mark.parametrize("name", sorted(set(LADDER) | set(published())))
def test_epochs_are_the_published_ones(name):
    assert recipes.load(name).epochs == published()[name].epochs


@pytest.mark.parametrize("name", [name for name, entry in published().items() if entry.petaflop])
def test_operations_are_the_published_ones(name):
    costs = estimate(float32(name), blank("cifar10"), CPU)
    assert costs.train_flops / 1e15 == pytest.approx(
        published()[name].petaflop, rel=0.06
    )  # they count the evaluations too


@pytest.mark.parametrize(
    ("name", "parameters", "megaflop", "steps"),
    [
        ("cifar10/ladder/20-davidnet-on-device", 6.573e6, 760, 24 * 97),
        ("cifar10/davidnet-10", 6.574e6, 760, 970),
        ("cifar10/airbench94", 1.973e6, 236, 476),
        ("cifar10/airbench94-muon", 1.973e6, 236, 200),
    ],
)
def test_size_of_the_networks(name, parameters, megaflop, steps):
    costs = estimate(float32(name), blank("cifar10"), CPU)
    assert costs.parameters == pytest.approx(parameters, rel=1e-3)
    assert costs.flops_per_image / 1e6 == pytest.approx(megaflop, rel=5e-3)
    assert costs.steps == steps


@pytest.mark.parametrize(
    ("rung", "page"),
    [
        ("cifar10/ladder/30-ten-epochs", "cifar10/davidnet-10"),
        ("cifar10/ladder/47-airnet-alternating-flip", "cifar10/airbench94"),
        ("cifar10/ladder/49-airnet-muon", "cifar10/airbench94-muon"),
    ],
)
def test_the_top_of_each_ladder_is_the_recipe_on_one_page(rung, page):
    assert recipes.load(rung).hash == recipes.load(page).hash


@pytest.mark.parametrize("name", LADDER)
def test_every_rung_says_what_its_trick_is(name):
    assert recipes.load(name).trick


@pytest.mark.parametrize("name", LADDER)
def test_the_peak_of_the_schedule_is_within_the_training(name):
    recipe = recipes.load(name)
    assert recipe.schedule.epochs[-1] <= recipe.epochs
    assert max(recipe.schedule.values) == 1
    assert math.isclose(recipe.schedule.epochs[0], 0)
