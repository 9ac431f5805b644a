"""Strategies by the name that recipes give them. The strategy `fsdp2` is made by `make_strategy` of
`pipelines/strategies/fsdp2.py`."""

from importlib import import_module

from torch import nn

from pipelines.distributed.process_group import World
from pipelines.recipe import Recipe
from pipelines.strategies.strategy import Strategy


def make_strategy(recipe: Recipe, network: nn.Module, world: World) -> Strategy:
    """The recipe's strategy for networks like `network`; the single process's where there is nothing to share.

    MissingExtraError if its package is not installed.
    """
    is_alone = world.size == 1 or not recipe.parallel.sync_gradients
    module = import_module(f"pipelines.strategies.{'single_process' if is_alone else recipe.parallel.strategy}")
    strategy: Strategy = module.make_strategy(recipe, network, world)
    return strategy
