"""A network as a sequence of modules, which strategies cut into stages."""

from collections.abc import Sequence
from itertools import combinations, pairwise

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
    """The parts that no cut divides: a module with weights, and those without that follow it."""
    found: list[Named] = [[]]
    for name, module in in_sequence(network):
        has_weights = any(parameter.ndim > 1 for parameter in module.parameters())
        if has_weights and any(parameter.ndim > 1 for _, one in found[-1] for parameter in one.parameters()):
            found.append([])
        found[-1].append((name, module))
    return found


def cut(network: nn.Module, stages: int, costs: Sequence[int], names: Sequence[str] = ()) -> list[Named]:
    """The network in so many stages, in order.

    costs: of each unit. names: the modules with which the second and later stages begin; without, the most expensive
    stage is as cheap as can be. ValueError where the network cannot be cut so.
    """
    parts = units(network)
    if stages > len(parts):
        raise ValueError(
            f"a network of {len(parts)} layers with weights has no {stages} stages: use a smaller parallel.size"
        )
    starts = [part[0][0] for part in parts]
    if names:
        if len(names) != stages - 1 or [start for start in starts[1:] if start in names] != [*names]:
            raise ValueError(
                f"parallel.cut={[*names]}: {stages} stages need {stages - 1} of {starts[1:]}, in their order"
            )
        bounds = [0, *map(starts.index, names), len(parts)]
    else:
        choices = ([0, *inner, len(parts)] for inner in combinations(range(1, len(parts)), stages - 1))
        bounds = min(choices, key=lambda choice: max(sum(costs[a:b]) for a, b in pairwise(choice)))
    return [[named for part in parts[begin:end] for named in part] for begin, end in pairwise(bounds)]


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
