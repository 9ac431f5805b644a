"""Initializations beside PyTorch's own, in place and in float32 whatever the weights are.

Sums and factorizations are computed in float64, so that the number of threads does not change what is drawn.
"""

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
    exact = weight.double()
    mean, std = exact.mean(), exact.std()
    exact += dirac(torch.empty_like(weight))
    return weight.copy_((exact - exact.mean()) * (std / exact.std()) + mean)


def orthogonal(weight: Tensor) -> Tensor:
    """torch's `orthogonal_` with its factorization in float64, of the same random numbers."""
    drawn = torch.empty(len(weight), weight[0].numel(), device=weight.device).normal_().double()
    is_wide = drawn.shape[0] < drawn.shape[1]
    factor, triangle = torch.linalg.qr(drawn.T if is_wide else drawn)
    factor = factor * triangle.diagonal().sign()
    return weight.copy_((factor.T if is_wide else factor).reshape(weight.shape))


METHODS: dict[str, Callable[[Tensor, Initialization], object]] = {
    "default": lambda weight, config: weight,
    # only as many outputs as there are inputs can pass one through: the others keep what they had
    "dirac": lambda weight, config: dirac(weight[: weight.shape[1]]),
    "xavier_uniform": lambda weight, config: init.xavier_uniform_(weight),
    "xavier_normal": lambda weight, config: init.xavier_normal_(weight),
    "kaiming_uniform": lambda weight, config: init.kaiming_uniform_(weight, nonlinearity="relu"),
    "kaiming_normal": lambda weight, config: init.kaiming_normal_(weight, nonlinearity="relu"),
    "orthogonal": lambda weight, config: orthogonal(weight),
    "normal": lambda weight, config: init.normal_(weight, std=config.std),
    "constant": lambda weight, config: init.constant_(weight, config.value),
    "implicit_residual": lambda weight, config: implicit_residual(weight),
}


@torch.no_grad()
def initialize_convolution(weight: Tensor, config: Initialization) -> None:
    """Filters (outputs, inputs, height, width) by the recipe's `initialization.convolutions` and `gain`."""
    _draw(weight, config.convolutions, config.gain, config)


@torch.no_grad()
def initialize_head(weight: Tensor, config: Initialization) -> None:
    """The last layer's weights (classes, features) by the recipe's `initialization.head` and `head_gain`."""
    if config.head == "unit_std":
        weight /= weight.double().std().to(weight.dtype)
        weight *= config.head_gain
    else:
        _draw(weight, config.head, config.head_gain, config)


def _draw(weight: Tensor, method: str, gain: float, config: Initialization) -> None:
    drawn = weight.float().contiguous()  # a seed draws the same in every layout; torch's orthogonal takes no other
    METHODS[method](drawn, config)
    weight.copy_(drawn * gain)
