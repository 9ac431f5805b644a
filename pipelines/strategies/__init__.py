"""Strategies by the name that recipes give them. The strategy `fsdp2` is made by `make_strategy` of
`pipelines/strategies/fsdp2.py`."""

from importlib import import_module
from types import ModuleType

from torch import nn

from pipelines.distributed.process_group import World
from pipelines.recipe import Recipe
from pipelines.strategies.strategy import Strategy


def make_strategy(recipe: Recipe, network: nn.Module, world: World) -> Strategy:
    """The recipe's strategy for networks like `network`; the single process's where there is nothing to share.

    MissingExtraError if its package is not installed.
    """
    strategy: Strategy = load(recipe, world).make_strategy(recipe, network, world)
    return strategy


def load(recipe: Recipe, world: World) -> ModuleType:
    """The strategy's module, which imports the parts of torch that it needs."""
    is_alone = world.size == 1 or not recipe.parallel.sync_gradients
    return import_module(f"pipelines.strategies.{'single_process' if is_alone else recipe.parallel.strategy}")
