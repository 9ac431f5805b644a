"""What a strategy is: how the processes of a run share a network and the work of a step."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from pipelines.distributed.process_group import World
from pipelines.optim.optimizers import ScheduledOptimizer
from pipelines.recipe import Recipe
from pipelines.strategies.accumulation import Backward
from pipelines.strategies.traffic import UNKNOWN, Traffic

Forward = Callable[..., Tensor]
"""From images (N, channels, height, width) to logits (N, classes); or from tokens (N, length) to logits (N, length,
vocabulary)."""

Called = TypeVar("Called", bound=Callable[..., Any])

MakeOptimizer = Callable[[nn.Module], ScheduledOptimizer]

MOST_GRAPHS = 1024
"""of all compiled networks of a process, which share their code; beyond it torch.compile goes on without compiling"""


@dataclass(frozen=True)
class Prepared:
    """What the training loop of one trial calls."""

    forward: Forward
    backward: Backward
    optimizer: ScheduledOptimizer
    callbacks: Sequence[Any] = ()
    """what the strategy does at the events of the trial (`pipelines/events.py`), after the techniques"""


class Strategy(Protocol):
    """Shares one network after the other among the processes, one each trial.

    A trial calls `new_network`, initializes what it gets, calls `prepare`, trains, and calls `close`.
    """

    name: str
    """as the record has it, such as `DDP` or `ZeRO-1`"""
    has_whole_weights: bool
    """every process has the whole weights between two steps"""
    traffic: Traffic
    """what the processes send in a step, by the strategy's formula"""
    network: nn.Module
    """the network of the trial in progress; between trials one like it, perhaps on torch's meta device"""

    def new_network(self) -> nn.Module:
        """The network of the next trial. Its weights are to be initialized."""

    def prepare(self, make_optimizer: MakeOptimizer) -> Prepared:
        """Share the initialized network and the state of the optimizer that `make_optimizer` makes for it."""

    def close(self) -> None:
        """Free what `prepare` made. The trial is over."""


@dataclass(frozen=True)
class InPlace:
    """Every process has the whole network, which is initialized anew for each trial, so that it is compiled once."""

    name: str
    network: nn.Module
    forward: Forward
    backward: Backward
    has_whole_weights: bool = True
    traffic: Traffic = UNKNOWN
    begin_trial: Callable[[], None] = lambda: None
    """forgets what the trial before has left"""

    def new_network(self) -> nn.Module:
        return self.network

    def prepare(self, make_optimizer: MakeOptimizer) -> Prepared:
        self.begin_trial()
        return Prepared(self.forward, self.backward, make_optimizer(self.network))

    def close(self) -> None:
        """Nothing to free: the next trial uses the same network."""


class Materialized:
    """A strategy that makes a network for each trial, and shards or cuts it. Between trials the network is on torch's
    meta device."""

    has_whole_weights = False

    def __init__(self, recipe: Recipe, network: nn.Module, world: World) -> None:
        self.network = self._meta_model = network.to("meta")
        self._recipe, self._world = recipe, world

    def new_network(self) -> nn.Module:
        """The whole network, its weights uninitialized and contiguous, as sharding wants them."""
        network = copy.deepcopy(self._meta_model).to_empty(device=self._world.device)
        self.network = network.to(memory_format=torch.contiguous_format)
        return self.network

    def close(self) -> None:
        self.network = self._meta_model


def compiled(forward: Called, recipe: Recipe, world: World) -> Called:
    """The network, or what calls it, as the recipe's `compile` wants it."""
    if not recipe.compile or (recipe.compile == "auto" and world.device.type != "cuda"):
        return forward
    # one graph for each shape, all of them made in the warm-up: a graph for all shapes would be slower
    limits = torch._dynamo.config
    limits.recompile_limit = limits.accumulated_recompile_limit = MOST_GRAPHS
    mode = None if recipe.compile_mode == "default" else recipe.compile_mode
    return torch.compile(forward, dynamic=False, mode=mode)


def kept(output: Tensor) -> Tensor:
    """A float32 copy of what a network put out. CUDA graphs (`compile_mode`) put the next output in its place."""
    return output.to(torch.float32, copy=True)


def autocast(forward: Called, recipe: Recipe, world: World) -> Called:
    """The network, or what calls it, under autocast where the recipe's `precision` wants it."""
    if recipe.precision != "autocast":
        return forward
    return torch.autocast(world.device.type, torch.bfloat16)(forward)
