"""FSDP2: each process has a shard of the weights, gradients and optimizer state (torch's `fully_shard`).

A block's weights are gathered for its forward and its backward pass, those outside of blocks once for both. Gradients
are averaged and scattered.
The idea is ZeRO's (Rajbhandari et al. 2020, arXiv 1910.02054), the implementation PyTorch's (Zhao et al. 2023, arXiv
2304.11277). With `parallel.size`, so many processes share the weights, and the gradients of a shard are averaged over
the copies too: HSDP.
"""

from collections.abc import Iterator

from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from pipelines.distributed.process_group import World
from pipelines.distributed.ring import all_reduce, once
from pipelines.models.torchvision import Torchvision
from pipelines.recipe import Recipe
from pipelines.strategies.accumulation import make_backward
from pipelines.strategies.strategy import MakeOptimizer, Materialized, Prepared, autocast
from pipelines.strategies.traffic import Traffic, trained_bytes


class FSDP2(Materialized):
    """`fully_shard` on every block that has weights, and on the network for the rest: whitening layer and head."""

    def __init__(self, recipe: Recipe, network: nn.Module, world: World) -> None:
        super().__init__(recipe, network, world)
        size = recipe.parallel.size or world.size
        gradients = trained_bytes(network.parameters())
        gathered_again = trained_bytes(weight for block in blocks(network) for weight in block.parameters())
        sent = once(size) * (2 * gradients + gathered_again) + all_reduce(world.size // size) * gradients / size
        self.traffic = Traffic(gradients, recipe.accumulation * sent)  # torch gathers and reduces in each micro-batch
        if size == world.size:
            self.name = "FSDP2"
            self._mesh = init_device_mesh(world.device.type, (size,))
        else:
            copies = world.size // size
            self.name = f"HSDP ({size} shards, {copies} data-parallel)"
            names = ("replicate", "shard")
            self._mesh = init_device_mesh(world.device.type, (copies, size), mesh_dim_names=names)

    def prepare(self, make_optimizer: MakeOptimizer) -> Prepared:
        for block in blocks(self.network):
            if any(True for _ in block.parameters()):
                fully_shard(block, mesh=self._mesh)
        sharded = fully_shard(self.network, mesh=self._mesh)
        optimizer = make_optimizer(sharded)
        for inner in optimizer.optimizers:
            for group in inner.param_groups:
                group.update(fused=False, foreach=True)  # DTensor has no fused SGD (torch 2.13)
        backward = make_backward(self._recipe, self._recipe.batch_size // self._world.size)
        return Prepared(autocast(sharded, self._recipe, self._world), backward, optimizer)


def blocks(network: nn.Module) -> Iterator[nn.Module]:
    """The modules that the network calls one after the other.

    Of a network of torchvision: its modules; of lists and sequences of modules, the elements.
    """
    if not isinstance(network, Torchvision):
        yield from network.layers
        return
    for part in network.network.children():
        yield from part if isinstance(part, nn.ModuleList | nn.Sequential) else [part]


make_strategy = FSDP2
