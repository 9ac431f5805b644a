"""Local SGD: every process steps on its own gradients, and the weights are averaged every few steps.

Stich 2019, arXiv 1805.09767. Post-local SGD reduces the gradients at every step of a first phase (Lin et al. 2020,
arXiv 1808.07217). Both by torch's PostLocalSGDOptimizer, which averages weights alone: momentum stays a process's own.
"""

from collections.abc import Iterable

from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.post_localSGD_hook import PostLocalSGDState, post_localSGD_hook
from torch.distributed.algorithms.model_averaging.averagers import ModelAverager
from torch.distributed.optim import PostLocalSGDOptimizer

from pipelines.distributed.average import average
from pipelines.distributed.process_group import World
from pipelines.events import State
from pipelines.recipe import Recipe
from pipelines.recipe.parallel import Parallel
from pipelines.strategies.accumulation import make_backward
from pipelines.strategies.ddp import replicate
from pipelines.strategies.strategy import Forward, MakeOptimizer, Prepared, autocast, compiled
from pipelines.strategies.traffic import whole_passes


class Averager(ModelAverager):
    """Averages the weights after every so many steps, once the first phase is over.

    torch's PeriodicModelAverager gives the parameters other memory that is not in the order of `channels_last` (torch
    2.13). The fused optimizers then take a weight for another.
    """

    def __init__(self, config: Parallel, world: World) -> None:
        super().__init__()
        self._config, self._world = config, world

    def average_parameters(self, params: Iterable[dict[str, list[nn.Parameter]]]) -> None:
        """params: the groups of an optimizer."""
        self.step += 1
        local_steps = self.step - self._config.local_sgd_start
        if local_steps > 0 and local_steps % self._config.local_sgd_period == 0:
            average([parameter for group in params for parameter in group["params"]], self._world)


class AveragedWeights:
    """Averages the weights before an evaluation, in which every process sees other images. The training goes on from
    the average."""

    def __init__(self, world: World) -> None:
        self._world = world

    def evaluation_start(self, state: State) -> None:
        average(list(state.network.parameters()), self._world)


class LocalSGD:
    """DDP whose all-reduce ends with the first phase, and optimizers that average the weights from then on."""

    has_whole_weights = True

    def __init__(self, recipe: Recipe, network: nn.Module, world: World) -> None:
        self.name = "post-local SGD" if recipe.parallel.local_sgd_start else "local SGD"
        self.network = network
        self.traffic = whole_passes(network, world.size, 2 / recipe.parallel.local_sgd_period)
        self._recipe, self._world = recipe, world
        self._state = PostLocalSGDState(
            None, None, recipe.parallel.local_sgd_start, post_local_gradient_allreduce=False
        )
        replicated = replicate(network, recipe, world)
        replicated.register_comm_hook(self._state, post_localSGD_hook)
        self._forward: Forward = autocast(compiled(replicated, recipe, world), recipe, world)
        self._backward = make_backward(recipe, recipe.batch_size // world.size, unsynchronized=replicated.no_sync)

    def new_network(self) -> nn.Module:
        return self.network

    def prepare(self, make_optimizer: MakeOptimizer) -> Prepared:
        self._state.iter = 0
        optimizer = make_optimizer(self.network)
        optimizer.optimizers = [
            PostLocalSGDOptimizer(one, Averager(self._recipe.parallel, self._world)) for one in optimizer.optimizers
        ]
        return Prepared(self._forward, self._backward, optimizer, (AveragedWeights(self._world),))

    def close(self) -> None:
        """Nothing to free: the next trial uses the same network."""


make_strategy = LocalSGD
