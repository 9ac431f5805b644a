"""Columns: each of two processes has one column of AlexNet (Krizhevsky et al. 2012), and half of most weights.

The processes exchange activations where a layer sees both columns: before layer 3 and before each linear layer. The
last linear layer is whole on both. No part of torch places grouped convolutions so: a DTensor of torch 2.13 does not
cut a convolution.
"""

from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed._functional_collectives import all_gather_tensor_autograd

from pipelines.distributed.process_group import World
from pipelines.distributed.ring import all_reduce, once
from pipelines.models.alexnet import BothColumns, ResponseNorm
from pipelines.models.dropout import Dropout
from pipelines.recipe import Recipe
from pipelines.strategies.sliced import Sliced
from pipelines.strategies.strategy import MakeOptimizer, Prepared
from pipelines.strategies.traffic import Traffic, trained_bytes


class Columns(Sliced):
    """A network whose `layers` are cut by their outputs, with an exchange at each `BothColumns`."""

    def __init__(self, recipe: Recipe, network: nn.Module, world: World) -> None:
        super().__init__(recipe, network, world)
        self.name = f"columns ({world.model.size}{self._copies})"
        self.traffic = self._traffic()

    def _traffic(self) -> Traffic:
        """At each exchange, half of the activations forward and half of their gradients back, but for the last
        exchange: both processes have the whole gradient of the last layer's inputs."""
        model, data = self._world.model, self._world.data
        values = torch.empty(self._recipe.batch_size // data.size, *self._meta_model.image_shape, device="meta")
        exchanged = []
        with torch.no_grad():
            for layer in self._meta_model.layers:
                values = layer(values)
                if isinstance(layer, BothColumns):
                    exchanged.append(values.nbytes)
        sent = once(model.size) * (2 * sum(exchanged) - exchanged[-1])
        halved = trained_bytes(self._meta_model.layers.parameters()) // model.size
        gradients = halved + trained_bytes(self._meta_model.head.parameters()) if data.size > 1 else 0
        return Traffic(gradients, sent + all_reduce(data.size) * gradients)

    def prepare(self, make_optimizer: MakeOptimizer) -> Prepared:
        """Leave this process its column."""
        model = self._world.model
        *others, last = [layer for layer in self.network.layers if isinstance(layer, BothColumns)]
        for layer in self.network.layers:
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.weight = nn.Parameter(layer.weight.detach().chunk(model.size)[model.rank].clone())
                layer.bias = nn.Parameter(layer.bias.detach().chunk(model.size)[model.rank].clone())
            if isinstance(layer, nn.Conv2d):
                layer.groups = 1
            if isinstance(layer, ResponseNorm):
                layer.columns = 1
            if isinstance(layer, Dropout) and layer.place != "input":
                layer.part = (model.rank, model.size)
        for layer in others:
            layer.exchange = partial(gathered, group=model.group)
        last.exchange = partial(gathered_for_all, group=model.group)
        self._trained = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        return Prepared(self.network, self.backward, make_optimizer(self.network))


make_strategy = Columns


def gathered(values: Tensor, group: dist.ProcessGroup) -> Tensor:
    """The columns of all processes side by side, along dimension 1. A gradient comes back as the sum over what each
    process has made of them."""
    return all_gather_tensor_autograd(values.contiguous(), gather_dim=1, group=group)


def gathered_for_all(values: Tensor, group: dist.ProcessGroup) -> Tensor:
    """The same for a layer that all processes compute whole: each has the whole gradient, and keeps its part."""
    columns = list(gathered(values.detach(), group).chunk(group.size(), dim=1))
    columns[group.rank()] = values
    return torch.cat(columns, 1)
