"""Tensor: each process has a slice of every linear layer's weights (torch's `parallelize_module`, Shoeybi et al. 2019,
Megatron-LM, arXiv 1909.08053).

Of two linear layers in a row, the first has its outputs cut and the second its inputs, so that one all-reduce follows
the two. Every process computes the other layers whole: a DTensor of torch 2.13 does not cut a convolution by its
outputs (its shape is wrong, and the backward pass fails).
"""

import torch
from torch import nn
from torch.distributed.tensor import Replicate
from torch.distributed.tensor.parallel import ColwiseParallel, ParallelStyle, RowwiseParallel, parallelize_module

from pipelines.distributed.process_group import World
from pipelines.distributed.ring import all_reduce, once
from pipelines.models.dropout import Dropout
from pipelines.models.sequence import in_sequence
from pipelines.recipe import Recipe
from pipelines.strategies.sliced import Sliced
from pipelines.strategies.strategy import MakeOptimizer, Prepared, autocast
from pipelines.strategies.traffic import Traffic, trained_bytes


class TensorParallel(Sliced):
    """`parallelize_module` on the linear layers that the network calls one after the other."""

    def __init__(self, recipe: Recipe, network: nn.Module, world: World) -> None:
        super().__init__(recipe, network, world)
        self._plan = plan(network, world.model.size)
        self.traffic = self._traffic()
        self.name = f"tensor ({world.model.size} slices{self._copies})"

    def _traffic(self) -> Traffic:
        """Sums of what the linear layers put out and of the gradients of what they get; an all-reduce of the weights'
        gradients over the copies."""
        model, data = self._world.model, self._world.data
        values = 0.0  # for each image
        sliced = 0
        for name, style in self._plan.items():
            layer = self._meta_model.get_submodule(name)
            if isinstance(style, ColwiseParallel):
                values += all_reduce(model.size) * layer.in_features
                sliced += trained_bytes(layer.parameters())
            else:
                is_whole_before = style.input_layouts == (Replicate(),)  # its gradient is gathered
                values += all_reduce(model.size) * layer.out_features
                values += once(model.size) * layer.in_features if is_whole_before else 0
                sliced += trained_bytes([layer.weight])
        itemsize = (torch.bfloat16 if self._recipe.precision == "autocast" else torch.float32).itemsize
        images = self._recipe.batch_size // data.size
        gradients = trained_bytes(self._meta_model.parameters()) - sliced + sliced // model.size if data.size > 1 else 0
        return Traffic(gradients, values * images * itemsize + all_reduce(data.size) * gradients)

    def prepare(self, make_optimizer: MakeOptimizer) -> Prepared:
        assert self._world.mesh is not None
        parallelize_module(self.network, self._world.mesh["model"], self._plan)
        is_cut = False  # what comes out of the module before
        for name, module in in_sequence(self.network):
            if name in self._plan:
                is_cut = isinstance(self._plan[name], ColwiseParallel)
                if is_cut:  # an activation in place may not change a view of a DTensor
                    module.register_forward_hook(lambda module, inputs, output: output.clone())
            elif is_cut and isinstance(module, Dropout):
                module.part = (self._world.model.rank, self._world.model.size)
        self._trained = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        optimizer = make_optimizer(self.network)
        for inner in optimizer.optimizers:
            for group in inner.param_groups:
                group.update(fused=False, foreach=False)  # neither takes tensors and DTensors together (torch 2.13)
        return Prepared(autocast(self.network, self._recipe, self._world), self.backward, optimizer)


make_strategy = TensorParallel


def plan(network: nn.Module, size: int) -> dict[str, ParallelStyle]:
    """How each linear layer is cut: from the last one backwards, by inputs and by outputs in turn. ValueError where a
    layer has not the same share for each of `size` processes."""
    linear = [(name, module) for name, module in in_sequence(network) if isinstance(module, nn.Linear)]
    styles: dict[str, ParallelStyle] = {}
    for place, (name, module) in enumerate(reversed(linear), start=1):
        is_by_inputs = place % 2 == 1
        features = module.in_features if is_by_inputs else module.out_features
        if features % size:
            raise ValueError(
                f"parallel.strategy=tensor cuts the {features} features of {name} into equal slices, and {size} "
                "processes share them: use another parallel.size"
            )
        is_first = place == len(linear)
        if is_by_inputs:
            styles[name] = RowwiseParallel(input_layouts=Replicate()) if is_first else RowwiseParallel()
        else:
            styles[name] = ColwiseParallel()
    return styles
