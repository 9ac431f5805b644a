"""What a chain of blocks is made of."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

ACTIVATIONS = (None, "relu", "celu", "gelu", "silu")
"""in the order of csrc/activations.h"""


class Whitening(NamedTuple):
    """A frozen convolution with stride 1, whose bias may be trained, and an activation."""

    weight: Tensor
    """(outputs, channels, kernel, kernel)"""
    bias: Tensor | None
    padding: int
    activation: str | None
    alpha: float = 1.0
    """of CELU"""


class Block(NamedTuple):
    """A convolution of stride 1 that keeps the image's size, a max-pool, a batch norm and an activation."""

    weight: Tensor
    """(outputs, inputs, kernel, kernel) with an odd kernel"""
    scale: Tensor
    """(outputs,), float32, as the next three"""
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor
    momentum: float
    eps: float
    activation: str | None
    alpha: float = 1.0
    """of CELU"""
    pool: int | None = 1
    """side of the max-pool's window, without overlap; None: the whole image"""
    shortcut: int | None = None
    """earlier block whose output is added"""
    adds_before_activation: bool = True
    """where the shortcut is added"""

    def detached(self) -> "Block":
        """The same block, whose parameters get no gradient."""
        return self._replace(weight=self.weight.detach(), scale=self.scale.detach(), bias=self.bias.detach())


def window_of(block: Block, sides: Sequence[int]) -> tuple[int, int]:
    """Height and width of the block's pool over images of so many pixels."""
    return (block.pool, block.pool) if block.pool is not None else (sides[0], sides[1])
