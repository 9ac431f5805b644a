"""DDP: every process has the whole network, and gradients are averaged (torch's DistributedDataParallel)."""

import inspect
import warnings

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from pipelines.distributed.process_group import World
from pipelines.recipe import Recipe
from pipelines.strategies.accumulation import make_backward
from pipelines.strategies.strategy import InPlace, autocast, compiled

_PARAMETERS = inspect.signature(DistributedDataParallel).parameters
_SYNC_BUFFERS = "forward_sync_buffers" if "forward_sync_buffers" in _PARAMETERS else "broadcast_buffers"
"""torch's name for broadcasting rank 0's buffers at every step; the older one warns where the newer one exists"""


def make_strategy(recipe: Recipe, network: nn.Module, world: World) -> InPlace:
    """The network replicated on every process."""
    replicated = replicate(network, recipe, world)
    forward = autocast(compiled(replicated, recipe), recipe, world)
    backward = make_backward(recipe, recipe.batch_size // world.size, unsynchronized=replicated.no_sync)
    return InPlace("DDP", network, forward, backward)


def replicate(network: nn.Module, recipe: Recipe, world: World) -> DistributedDataParallel:
    """The network with its gradients averaged over the processes."""
    # of a convolution with one input channel two layouts are the same memory, which torch 2.13 does not see
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    changes_graph = any(technique.changes_graph for technique in recipe.techniques.chosen().values())
    # a static graph allows no backward pass before the first all-reduce, and accumulation has several
    is_static = recipe.accumulation == 1 and not changes_graph
    return DistributedDataParallel(
        network,
        device_ids=[world.device.index] if world.device.type == "cuda" else None,
        **{_SYNC_BUFFERS: False},  # `AveragedStatistics` does it once an evaluation
        bucket_cap_mb=recipe.parallel.bucket_mb,
        gradient_as_bucket_view=True,
        static_graph=is_static,
        find_unused_parameters=not is_static,
    )
