"""FSDP2: each process has a shard of the weights, gradients and optimizer state (torch's `fully_shard`).

A block's weights are gathered for its forward and its backward pass, and its gradients averaged and scattered after it.
The idea is ZeRO's (Rajbhandari et al. 2020, arXiv 1910.02054), the way of doing it PyTorch's (Zhao et al. 2023, arXiv
2304.11277).
"""

import copy

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from pipelines import strategies
from pipelines.distributed.process_group import World
from pipelines.recipe import Recipe
from pipelines.strategies import MakeOptimizer, Shared, accumulation


class Engine:
    """`fully_shard` on every block that has weights, and on the network for what is left: whitening layer and head."""

    def __init__(self, recipe: Recipe, world: World) -> None:
        self._recipe = recipe
        self._world = world
        self._mesh = init_device_mesh(world.device.type, (world.size,))

    def whole(self, outline: nn.Module) -> nn.Module:
        network = copy.deepcopy(outline).to_empty(device=self._world.device)
        return network.to(memory_format=torch.contiguous_format)  # others cannot be sharded

    def share(self, network: nn.Module, make_stepper: MakeOptimizer) -> Shared:
        for block in network.layers:
            if any(True for _ in block.parameters()):
                fully_shard(block, mesh=self._mesh)
        sharded = fully_shard(network, mesh=self._mesh)
        stepper = make_stepper(sharded)
        for optimizer in stepper.optimizers:
            for group in optimizer.param_groups:
                group.update(fused=False, foreach=True)  # DTensor knows no fused SGD (torch 2.13)
        forward = sharded
        if self._recipe.precision == "autocast":
            forward = torch.autocast(self._world.device.type, torch.bfloat16)(forward)
        backward = accumulation.make_backward(self._recipe, sharded, self._recipe.batch_size // self._world.size)
        return Shared(forward, backward, stepper, strategies.strategy_of(sharded))
