"""Initialisations beside PyTorch's own, in place and in float32 whatever the weights are."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import init

CONVOLUTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "default": lambda weight: weight,
    # only as many outputs as there are inputs can pass one through: the others keep what they had
    "dirac": lambda weight: init.dirac_(weight[: weight.shape[1]]),
    "xavier_uniform": init.xavier_uniform_,
    "xavier_normal": init.xavier_normal_,
    "kaiming_uniform": lambda weight: init.kaiming_uniform_(weight, nonlinearity="relu"),
    "kaiming_normal": lambda weight: init.kaiming_normal_(weight, nonlinearity="relu"),
    "orthogonal": init.orthogonal_,
}


@torch.no_grad()
def initialize_convolution(weight: Tensor, name: str) -> None:
    """Filters (outputs, inputs, height, width) by the recipe's `initialization.convolutions`."""
    drawn = weight.float()
    CONVOLUTIONS[name](drawn)
    weight.copy_(drawn)


@torch.no_grad()
def initialize_head(weight: Tensor, name: str) -> None:
    """The last layer's weights (classes, features) by the recipe's `initialization.head`."""
    if name == "unit_std":
        weight /= weight.float().std().to(weight.dtype)
