"""Initialisations beside PyTorch's own, in place and in float32 whatever the weights are."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import init

from pipelines.recipe.training import Initialization


def dirac(weight: Tensor) -> Tensor:
    """`torch.nn.init.dirac_` in place, in two kernels: each output passes the input of its number through."""
    weight.zero_()
    weight[:, :, weight.shape[2] // 2, weight.shape[3] // 2].fill_diagonal_(1)
    return weight


def implicit_residual(weight: Tensor) -> Tensor:
    """The identity where inputs and outputs are as many; else what is there plus the identity, brought back to the mean
    and spread that it had (hlb-CIFAR10 0.7, which has no residual connections for it)."""
    if weight.shape[0] == weight.shape[1]:
        return dirac(weight)
    mean, std = weight.mean(), weight.std()
    weight += dirac(torch.empty_like(weight))
    return weight.sub_(weight.mean()).mul_(std / weight.std()).add_(mean)


METHODS: dict[str, Callable[[Tensor, Initialization], object]] = {
    "default": lambda weight, knobs: weight,
    # only as many outputs as there are inputs can pass one through: the others keep what they had
    "dirac": lambda weight, knobs: dirac(weight[: weight.shape[1]]),
    "xavier_uniform": lambda weight, knobs: init.xavier_uniform_(weight),
    "xavier_normal": lambda weight, knobs: init.xavier_normal_(weight),
    "kaiming_uniform": lambda weight, knobs: init.kaiming_uniform_(weight, nonlinearity="relu"),
    "kaiming_normal": lambda weight, knobs: init.kaiming_normal_(weight, nonlinearity="relu"),
    "orthogonal": lambda weight, knobs: init.orthogonal_(weight),
    "normal": lambda weight, knobs: init.normal_(weight, std=knobs.std),
    "constant": lambda weight, knobs: init.constant_(weight, knobs.value),
    "implicit_residual": lambda weight, knobs: implicit_residual(weight),
}


@torch.no_grad()
def initialize_convolution(weight: Tensor, knobs: Initialization) -> None:
    """Filters (outputs, inputs, height, width) by the recipe's `initialization.convolutions` and `gain`."""
    _draw(weight, knobs.convolutions, knobs.gain, knobs)


@torch.no_grad()
def initialize_head(weight: Tensor, knobs: Initialization) -> None:
    """The last layer's weights (classes, features) by the recipe's `initialization.head` and `head_gain`."""
    if knobs.head == "unit_std":
        weight /= weight.float().std().to(weight.dtype)
        weight *= knobs.head_gain
    else:
        _draw(weight, knobs.head, knobs.head_gain, knobs)


def _draw(weight: Tensor, method: str, gain: float, knobs: Initialization) -> None:
    drawn = weight.float().contiguous()  # a seed draws the same in every layout; torch's orthogonal takes no other
    METHODS[method](drawn, knobs)
    weight.copy_(drawn * gain)
