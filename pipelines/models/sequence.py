"""A network as a sequence of modules, which strategies cut into stages."""

from collections.abc import Sequence
from functools import cache
from itertools import accumulate, pairwise

import torch
from torch import Tensor, nn

from pipelines.models.layers import scaled

Named = list[tuple[str, nn.Module]]


class Stage(nn.Module):
    """Consecutive modules of a network; with the last of them, the factor on the logits."""

    def __init__(self, modules: Sequence[nn.Module], scale: float = 1.0) -> None:
        super().__init__()
        self.layers = nn.Sequential(*modules)
        self._scale = scale

    def forward(self, values: Tensor) -> Tensor:
        return scaled(self.layers(values), self._scale).contiguous()


def in_sequence(network: nn.Module) -> Named:
    """The modules of a network with their names, in the order in which it calls them."""
    first = [(name, module) for name in ("input_dropout", "whiten") if (module := getattr(network, name, None))]
    middle = [(f"layers.{name}", module) for name, module in network.layers.named_children()]
    return [*first, *middle, ("head", network.head)]


def units(network: nn.Module) -> list[Named]:
    """The parts that no cut divides: a module with trained weights, and those without that follow it. The first part
    also has the modules before it, such as a frozen whitening layer: a stage has something to train."""
    found: list[Named] = [[]]
    for name, module in in_sequence(network):
        if _is_trained(module) and any(_is_trained(one) for _, one in found[-1]):
            found.append([])
        found[-1].append((name, module))
    return found


def _is_trained(module: nn.Module) -> bool:
    """Whether it has weights, beside biases and scales, that are trained."""
    return any(parameter.requires_grad and parameter.ndim > 1 for parameter in module.parameters())


def cut(network: nn.Module, stages: int, costs: Sequence[int], names: Sequence[str] = ()) -> list[Named]:
    """The network in so many stages, in order.

    costs: of each unit. names: the modules with which the second and later stages begin; without, the most expensive
    stage is as cheap as can be. ValueError where the network cannot be cut so.
    """
    parts = units(network)
    if stages > len(parts):
        raise ValueError(
            f"a network of {len(parts)} layers with trained weights has no {stages} stages: use a smaller parallel.size"
        )
    starts = [part[0][0] for part in parts]
    if names:
        if len(names) != stages - 1 or [start for start in starts[1:] if start in names] != [*names]:
            raise ValueError(
                f"parallel.cut={[*names]}: {stages} stages need {stages - 1} of {starts[1:]}, in their order"
            )
        bounds = [0, *map(starts.index, names), len(parts)]
    else:
        bounds = cheapest_bounds(costs, stages)
    return [[named for part in parts[begin:end] for named in part] for begin, end in pairwise(bounds)]


def cheapest_bounds(costs: Sequence[int], stages: int) -> list[int]:
    """The units with which the stages begin, and the end: the most expensive stage is as cheap as can be. Of several
    such cuts, the one whose stages begin earliest, from the first stage on."""
    sums = [0, *accumulate(costs)]

    @cache
    def least(begin: int, left: int) -> int:
        """The cost of the most expensive of `left` stages from unit `begin` to the end, cut as well as can be."""
        if left == 1:
            return sums[-1] - sums[begin]
        return min(max(sums[end] - sums[begin], least(end, left - 1)) for end in range(begin + 1, len(sums) - left + 1))

    most, bounds = least(0, stages), [0]
    for left in range(stages - 1, 0, -1):
        begin = bounds[-1]
        ends = range(begin + 1, len(sums) - left)
        bounds.append(next(end for end in ends if max(sums[end] - sums[begin], least(end, left)) <= most))
    return [*bounds, len(costs)]


def shapes(stages: Sequence[nn.Module], images: Tensor) -> list[torch.Size]:
    """What comes into each stage and out of the last one for such images, without computing it: on the meta device,
    where the stages are."""
    values = torch.empty(images.shape, device="meta")
    found = [values.shape]
    with torch.no_grad():
        for stage in stages:
            values = stage(values)
            found.append(values.shape)
    return found
