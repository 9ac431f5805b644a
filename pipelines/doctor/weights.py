"""The trained matrices and filters of a network, and how large a change of one is."""

import math

from torch import Tensor

from pipelines.train import TrainingSetup


def trained_weights(setup: TrainingSetup) -> list[str]:
    """The names of the matrices and filters that are trained."""
    parameters = setup.network.named_parameters()
    return [name for name, parameter in parameters if parameter.requires_grad and parameter.ndim > 1]


def relative(change: Tensor, weights: Tensor) -> float:
    """Norm of a change, or of a gradient, over that of the weights (outputs, …).

    Weights at zero, or near it, have no scale of their own: theirs is that of torch's default initialization, whose
    standard deviation is 1 / sqrt(3 inputs). Zero is where last layers and residual branches often start (Goyal et al.
    2017, arXiv:1706.02677; Zhang et al. 2019, "Fixup").
    """
    usual = math.sqrt(len(weights) / 3)
    return change.float().norm().item() / max(weights.float().norm().item(), usual)
