"""What ghost batch norm does to groups of images, in whatever version."""

from typing import NamedTuple


class Grouping(NamedTuple):
    """Groups, what their statistics leave behind, and what follows the norm."""

    size: int
    """consecutive images that are normalised together; the last group is smaller where they do not divide"""
    momentum: float
    """share of the way that the running statistics go to the mean over the groups of mean and unbiased variance"""
    eps: float
    """added to the variance"""
    activation: str | None = None
    """one of `kernels.activations.FUSED`"""
    alpha: float = 1.0
    """of CELU"""
