"""DDP: every process has the whole network, and gradients are averaged (torch's DistributedDataParallel)."""

import inspect
import math
import warnings
from typing import Any

import torch._dynamo  # noqa: F401  DDP's constructor would import it, into what --memory-limit counts
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pipelines import models
from pipelines.distributed.process_group import World
from pipelines.distributed.ring import all_reduce
from pipelines.recipe import Recipe
from pipelines.strategies import gradient_compression
from pipelines.strategies.accumulation import make_backward
from pipelines.strategies.strategy import InPlace, autocast, compiled
from pipelines.strategies.traffic import Traffic, trained_bytes

_PARAMETERS = inspect.signature(DistributedDataParallel).parameters
_SYNC_BUFFERS = "forward_sync_buffers" if "forward_sync_buffers" in _PARAMETERS else "broadcast_buffers"
"""torch's name for broadcasting rank 0's buffers at every step; the older one warns where the newer one exists"""


def make_strategy(recipe: Recipe, network: nn.Module, world: World) -> InPlace:
    """The network replicated on every process."""
    replicated = replicate(network, recipe, world)
    forward = autocast(compiled(replicated, recipe, world), recipe, world)
    backward = make_backward(recipe, recipe.batch_size // world.size, unsynchronized=replicated.no_sync)
    begin_trial = gradient_compression.register(replicated, recipe.parallel)
    sent = all_reduce(world.size) * gradient_compression.compressed_bytes(network, recipe.parallel)
    traffic = Traffic(trained_bytes(network.parameters()), sent)
    return InPlace("DDP", network, forward, backward, traffic=traffic, begin_trial=begin_trial)


class EveryParameterUsed(nn.Module):
    """A network whose logits depend on these parameters, by a factor of zero, whether it uses them or not.

    So their gradient is zero and never missing, the graph stays the same, and DDP need not look for unused parameters,
    which ends every step with a blocking copy from the device.
    """

    def __init__(self, network: nn.Module, parameters: list[nn.Parameter]) -> None:
        super().__init__()
        self.network = network
        self._used = parameters

    def forward(self, images: Tensor, **arguments: Any) -> Tensor:
        logits = self.network(images, **arguments)
        return logits + 0 * sum(parameter.sum() for parameter in self._used).to(logits.dtype)


def frozen_later(network: nn.Module, recipe: Recipe) -> list[nn.Parameter]:
    """The parameters that have no gradient of their own after a while."""
    if freeze_out := recipe.techniques.freeze_out:
        stages = models.until_stage(network, len(freeze_out.epochs))
        return [parameter for parameter in stages.parameters() if parameter.requires_grad]
    if recipe.techniques.whitening_bias:
        return [layer.bias for layer in models.whitening_layers(network) if layer.bias is not None]
    return []


def bucket_mb(network: nn.Module, recipe: Recipe, world: World) -> float | None:
    """Largest size of a bucket of gradients in MiB; None: torch's own.

    PowerSGD (torch 2.13) reduces each bucket several times, and begins the later reductions in callbacks. gloo calls
    these in threads of its own. Those of two buckets have no order, and the processes would wait for each other.
    """
    if recipe.parallel.compression == "power_sgd" and world.device.type == "cpu":
        return math.ceil(trained_bytes(network.parameters()) / 2**20) + 1  # all of them in one
    return recipe.parallel.bucket_mb


def replicate(network: nn.Module, recipe: Recipe, world: World) -> DistributedDataParallel:
    """The network with its gradients averaged over the processes."""
    # of a convolution with one input channel two layouts are the same memory, which torch 2.13 does not see
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    if frozen := frozen_later(network, recipe):
        network = EveryParameterUsed(network, frozen)
    return DistributedDataParallel(
        network,
        device_ids=[world.device.index] if world.device.type == "cuda" else None,
        **{_SYNC_BUFFERS: False},  # `AveragedStatistics` does it once an evaluation
        bucket_cap_mb=bucket_mb(network, recipe, world),
        gradient_as_bucket_view=True,
        static_graph=recipe.accumulation == 1,  # it allows no backward pass before the first all-reduce
    )
