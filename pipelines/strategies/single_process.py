"""One process that trains alone. Several do so where the recipe does not synchronize their gradients."""

from torch import nn

from pipelines.distributed.process_group import World
from pipelines.recipe import Recipe
from pipelines.strategies.accumulation import make_backward
from pipelines.strategies.strategy import InPlace, autocast, compiled
from pipelines.strategies.traffic import Traffic, trained_bytes


def make_strategy(recipe: Recipe, network: nn.Module, world: World) -> InPlace:
    """The network as it is."""
    forward = autocast(compiled(network, recipe, world), recipe, world)
    backward = make_backward(recipe, recipe.batch_size // world.size)
    return InPlace("none", network, forward, backward, traffic=Traffic(trained_bytes(network.parameters()), 0.0))
