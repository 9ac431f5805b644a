"""What is dropped at random in training: values (dropout), weights (DropConnect), residual branches (stochastic depth).

What is left is scaled up, so that in evaluation all of it is the plain network.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipelines.host.torchvision_import import import_torchvision
from pipelines.recipe import networks

Place = Literal["input", "blocks", "head"]


class Dropout(nn.Module):
    """Dropout (Srivastava et al. 2014) at a rate that a technique may change at any step.

    The rate is a tensor, because a compiled network takes the `p` of nn.Dropout for a constant and is compiled anew
    whenever it changes. `reset_parameters` brings the recipe's rate back.
    """

    keep: Tensor
    part: tuple[int, int] = (0, 1)
    """which of how many equal parts of the values, along dimension 1, this process has: 0 of 1 is all of them"""

    def __init__(self, rate: float, place: Place) -> None:
        super().__init__()
        self.rate = rate
        self.place = place
        self.register_buffer("keep", torch.empty((), dtype=torch.float32), persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        self.set_rate(self.rate)

    def set_rate(self, rate: float) -> None:
        """Drop each value with this probability, at least 0 and less than 1, from now on."""
        self.keep.fill_(1 - rate)

    def forward(self, values: Tensor) -> Tensor:
        if not self.training:
            return values
        kept = self._draw(values) < self.keep
        return values * (kept / self.keep).to(values.dtype)

    def _draw(self, values: Tensor) -> Tensor:
        """A number from 0 to 1 for each value. Processes that share the values draw for all of them, as one process
        does, and take their part."""
        index, parts = self.part
        if parts == 1:
            return torch.rand_like(values, dtype=self.keep.dtype)
        images, features, *sides = values.shape
        whole = torch.rand(images, features * parts, *sides, dtype=self.keep.dtype, device=values.device)
        return whole.chunk(parts, dim=1)[index]

    def extra_repr(self) -> str:
        return f"rate={self.rate}, place={self.place!r}"


class DropConnect(nn.Linear):
    """A linear layer that drops its weights, one mask for the whole batch (Wan et al. 2013); the bias stays."""

    def __init__(self, features: int, outputs: int, *, bias: bool, rate: float) -> None:
        super().__init__(features, outputs, bias=bias)
        self.rate = rate

    def forward(self, features: Tensor) -> Tensor:
        return F.linear(features, F.dropout(self.weight, self.rate, self.training), self.bias)


def make_dropout(config: networks.Dropout, place: Place) -> Dropout | None:
    """The recipe's dropout at a place; None at a rate of 0."""
    rate = getattr(config, place)
    return Dropout(rate, place) if rate else None


def make_head(features: int, classes: int, config: networks.Regularized, *, bias: bool) -> nn.Linear:
    """The last layer, (N, features) to (N, classes)."""
    if config.drop_connect:
        return DropConnect(features, classes, bias=bias, rate=config.drop_connect)
    return nn.Linear(features, classes, bias=bias)


def in_a_row(*layers: nn.Module | None) -> nn.Sequential:
    """An nn.Sequential in which None is left out and a dropout takes no number, but is `dropout0`, `dropout1` …: so the
    other layers, and what a checkpoint calls them, have the same names with and without."""
    row, numbered, dropouts = nn.Sequential(), 0, 0
    for layer in layers:
        if isinstance(layer, Dropout):
            row.add_module(f"dropout{dropouts}", layer)
            dropouts += 1
        elif layer is not None:
            row.add_module(str(numbered), layer)
            numbered += 1
    return row


def stochastic_depth(last: float, branches: int) -> list[nn.Module | None]:
    """For each residual branch, what leaves it out for some of the images; None for all at a rate of 0.

    The rate grows linearly with the depth, from `last` / branches to `last` (Huang et al. 2016).
    """
    if not last:
        return [None] * branches
    layer = import_torchvision().ops.StochasticDepth  # imported when used: it takes seconds
    return [layer(last * number / branches, "row") for number in range(1, branches + 1)]
