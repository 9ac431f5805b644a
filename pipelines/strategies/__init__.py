"""What shares the work of a step among the processes: nothing, torch's DistributedDataParallel, or an engine that also
shares out weights, gradients or the optimizer's state (`Sharding`), one file each."""

import importlib
import inspect
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.nn.parallel import DistributedDataParallel

from pipelines.distributed.process_group import WORKING_COMMAND, World
from pipelines.events import State
from pipelines.optim.steppers import ScheduledOptimizer
from pipelines.recipe import Recipe
from pipelines.strategies.accumulation import Backward

LossFunction = Callable[[Tensor, Tensor], Tensor]
MakeOptimizer = Callable[[nn.Module], ScheduledOptimizer]

SHARDED_WEIGHTS = ("FSDP2", "ZeRO-3")
"""Strategies under which no process has the whole weights, and none can call the network alone"""


@dataclass(frozen=True)
class Shared:
    """A network as the processes share it during one trial."""

    forward: Callable[..., Tensor]
    backward: Backward
    stepper: ScheduledOptimizer
    strategy: str
    close: Callable[[], None] = lambda: None
    """to be called at the end of the trial"""


class Sharding(Protocol):
    """Shares out more than the work. What it makes of a network cannot be initialised anew, so it begins every trial
    with another one."""

    def whole(self, outline: nn.Module) -> nn.Module:
        """A network like `outline`, of which nothing is shared out yet. Its weights are to be initialised."""

    def share(self, network: nn.Module, make_stepper: MakeOptimizer) -> Shared:
        """Share the network out, in place, and the state of the optimizer that steps it."""


CHANGE_THE_GRAPH = ("whitening_bias",)
"""Techniques after whose beginning other parameters have gradients than before, which a static graph forbids."""

_PARAMETERS = inspect.signature(DistributedDataParallel).parameters
_SYNC_BUFFERS = "forward_sync_buffers" if "forward_sync_buffers" in _PARAMETERS else "broadcast_buffers"
"""torch's name for sending rank 0's buffers around at every step; the older one warns where there is the newer"""


def replicate(network: nn.Module, recipe: Recipe, world: World) -> nn.Module:
    """The network with gradients averaged over the processes; itself when there is one, or no exchange is wanted."""
    if world.size == 1 or not recipe.parallel.exchange:
        return network
    # of a convolution with one input channel two layouts are the same memory, which torch 2.13 does not see
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
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


def make_sharding(recipe: Recipe, world: World) -> Sharding | None:
    """The recipe's engine; None where each process has all of the network. MissingExtraError if it is not installed."""
    if world.size == 1 or recipe.parallel.engine == "ddp" or not recipe.parallel.exchange:
        return None
    return importlib.import_module(f"pipelines.strategies.{recipe.parallel.engine}").Engine(recipe, world)


def strategy_of(network: nn.Module) -> str:
    """By what the processes really share a network, read off the object that is called."""
    if isinstance(network, DistributedDataParallel):
        return "DDP"
    if isinstance(network, FSDPModule):
        return "FSDP2"
    if hasattr(network, "zero_optimization_stage"):  # DeepSpeed's engine, which need not be installed
        return f"ZeRO-{int(network.zero_optimization_stage())}"
    return "none"


def check_launch(recipe: Recipe, variables: Mapping[str, str]) -> None:
    """ValueError where a launch file of Accelerate asks for another engine than the recipe, which decides.

    Most would be ignored in silence otherwise. A file that asks for none leaves it to the recipe.
    """
    asked = launched_for(variables)
    engine, stage = recipe.parallel.engine, recipe.parallel.zero_stage
    chosen = {"parallel.engine": engine} | ({"parallel.zero_stage": str(stage)} if engine == "deepspeed" else {})
    if any(chosen.get(knob) != value for knob, value in asked.items()):
        wanted, has = (" ".join(f"{knob}={value}" for knob, value in knobs.items()) for knobs in (asked, chosen))
        raise ValueError(
            f"the launch file asks for {wanted}, and the recipe says {has}: add {wanted} to the command, or launch "
            f"with a file that leaves it to the recipe, or {WORKING_COMMAND}"
        )


def launched_for(variables: Mapping[str, str]) -> dict[str, str]:
    """The knobs that fit what `accelerate launch` was configured for, by the variables that it sets; none for several
    plain processes."""

    def is_on(name: str) -> bool:
        return variables.get(name, "").lower() == "true"

    if is_on("ACCELERATE_USE_DEEPSPEED"):
        stage = variables.get("ACCELERATE_DEEPSPEED_ZERO_STAGE")  # is not there beside a DeepSpeed configuration file
        return {"parallel.engine": "deepspeed"} | ({"parallel.zero_stage": stage} if stage else {})
    if is_on("ACCELERATE_USE_FSDP"):
        if variables.get("FSDP_VERSION", "1") != "2":
            raise ValueError("the launch file asks for FSDP 1, and Paceline has FSDP2: say fsdp_version: 2 there")
        return {"parallel.engine": "fsdp2"}
    return {}


@torch.no_grad()
def align(network: nn.Module, world: World) -> None:
    """Give every process the weights of rank 0: unlike machines may draw or round them differently."""
    for tensor in network.state_dict().values():
        world.broadcast(tensor)


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
