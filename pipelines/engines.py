"""What shares the work of a step among the processes: nothing, or torch's DistributedDataParallel."""

import inspect
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pipelines.parallel import World
from pipelines.recipe import Recipe
from pipelines.techniques import State

LossFunction = Callable[[Tensor, Tensor], Tensor]

CHANGE_THE_GRAPH = ("whitening_bias",)
"""Techniques after whose beginning other parameters have gradients than before, which a static graph forbids."""

_PARAMETERS = inspect.signature(DistributedDataParallel).parameters
_SYNC_BUFFERS = "forward_sync_buffers" if "forward_sync_buffers" in _PARAMETERS else "broadcast_buffers"
"""torch's name for sending rank 0's buffers around at every step; the older one warns where there is the newer"""


def replicate(network: nn.Module, recipe: Recipe, world: World) -> nn.Module:
    """The network with gradients averaged over the processes; itself when there is one, or no exchange is wanted."""
    if world.size == 1 or not recipe.parallel.exchange:
        return network
    # a static graph takes no backward pass before its first exchange, which accumulation has
    is_static = recipe.accumulation == 1 and not any(getattr(recipe.techniques, name) for name in CHANGE_THE_GRAPH)
    return DistributedDataParallel(
        network,
        device_ids=[world.device.index] if world.device.type == "cuda" else None,
        **{_SYNC_BUFFERS: False},  # `SharedStatistics` does what is needed, once an evaluation
        bucket_cap_mb=recipe.parallel.bucket_mb,
        gradient_as_bucket_view=True,
        static_graph=is_static,
        find_unused_parameters=not is_static,
    )


def strategy_of(network: nn.Module) -> str:
    """By what the processes really share a network, read off the object that is called."""
    return "DDP" if isinstance(network, DistributedDataParallel) else "none"


@torch.no_grad()
def align(network: nn.Module, world: World) -> None:
    """Give every process the weights of rank 0: unlike machines may draw or round them differently."""
    for tensor in network.state_dict().values():
        world.spread(tensor)


class SharedStatistics:
    """Before an evaluation, makes the norms' running statistics the mean over the processes, each of which has seen
    other images."""

    def __init__(self, world: World) -> None:
        self._world = world

    @torch.no_grad()
    def evaluation_start(self, state: State) -> None:
        buffers = [buffer for buffer in state.network.buffers() if buffer.is_floating_point()]
        if not buffers:
            return
        flat = self._world.sum(torch.cat([buffer.float().flatten() for buffer in buffers])) / self._world.size
        for buffer, mean in zip(buffers, flat.split([buffer.numel() for buffer in buffers]), strict=True):
            buffer.copy_(mean.view_as(buffer))


class UnevenBatch:
    """Makes an epoch's last batch exact where the processes have unequal shares of it.

    The processes average the gradients of their mean losses, each with the same weight, whereas the mean over the
    batch weighs them by their images. The value of the loss stays as it is.
    """

    def __init__(self, images: int, world: World) -> None:
        """images: in the last batch, over all processes."""
        share = images // world.size + (world.rank < images % world.size)
        self._last = share * world.size / images
        self._weight = 1.0

    def batch_ready(self, state: State) -> None:
        self._weight = self._last if (state.step + 1) % state.steps_per_epoch == 0 else 1.0

    def weighted(self, loss_function: LossFunction) -> LossFunction:
        """The mean loss, with its gradient multiplied by this process's weight in the batch."""

        def weighted_loss(logits: Tensor, labels: Tensor) -> Tensor:
            loss = loss_function(logits, labels)
            return loss.detach() + self._weight * (loss - loss.detach())

        return weighted_loss


def exact(
    loss_function: LossFunction, recipe: Recipe, images: int, world: World
) -> tuple[LossFunction, list[SharedStatistics | UnevenBatch]]:
    """The loss, and what must hook into the loop, so that several processes train as one does. images: in an epoch."""
    if world.size == 1:
        return loss_function, []
    rest = 0 if recipe.drop_last else images % recipe.batch_size
    if rest % world.size == 0 or recipe.loss.reduction == "sum":
        return loss_function, [SharedStatistics(world)]
    uneven = UnevenBatch(rest, world)
    return uneven.weighted(loss_function), [uneven, SharedStatistics(world)]
