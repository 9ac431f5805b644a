"""L1 and L2 penalties on the weights (Tibshirani 1996; Krogh & Hertz 1991)."""

import torch
from torch import Tensor, nn

from pipelines.events import State
from pipelines.recipe import techniques


@torch.no_grad()
def add_gradient(weights: list[Tensor], l1: float, l2: float) -> None:
    """Add the gradient of l1 * sum(|w|) + l2 / 2 * sum(w**2) to each weight's that has one; that of |0| is 0."""
    weights = [weight for weight in weights if weight.grad is not None]
    gradients = [weight.grad for weight in weights]
    if l1:
        torch._foreach_add_(gradients, torch._foreach_sign(weights), alpha=l1)
    if l2:
        torch._foreach_add_(gradients, weights, alpha=l2)


def penalised(network: nn.Module) -> list[Tensor]:
    """The trained weights; not the biases and norms, which have one dimension."""
    return [parameter for parameter in network.parameters() if parameter.requires_grad and parameter.ndim > 1]


class Penalty:
    """Adds the gradients of the penalties to those of the loss."""

    def __init__(self, config: techniques.Penalty) -> None:
        self._config = config

    def trial_start(self, state: State) -> None:
        self._weights = penalised(state.network)
        self._l1, self._l2 = (factor * state.gradient_scale for factor in (self._config.l1, self._config.l2))

    def gradients_ready(self, state: State) -> None:
        add_gradient(self._weights, self._l1, self._l2)
