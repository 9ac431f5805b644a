"""LARS: SGD whose steps are in proportion to the norms of the weights (You, Gitman & Ginsburg 2017)."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class LARS(torch.optim.Optimizer):
    """v ← momentum v + lr r (g + decay w), w ← w - v, with the ratio r = trust |w| / (|g| + decay |w|) of each tensor.

    r is 1 where |w| or the denominator is 0, and in groups with `adaptive: False`, which are for biases and norms.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter] | list[dict],
        lr: float = 1.0,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 1e-3,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust, "adaptive": True}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """One step over all groups; parameters without a gradient are left alone."""
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not parameters:
                continue
            gradients = [parameter.grad for parameter in parameters]
            decay = group["weight_decay"]
            updates = torch._foreach_add(gradients, parameters, alpha=decay)
            if group["adaptive"]:
                norms = norms_of(parameters)
                torch._foreach_mul_(updates, ratios(group["trust"] * norms, norms_of(gradients) + decay * norms))
            for parameter in parameters:
                if not self.state[parameter]:
                    self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
            buffers = [self.state[parameter]["momentum_buffer"] for parameter in parameters]
            torch._foreach_mul_(buffers, group["momentum"])
            torch._foreach_add_(buffers, updates, alpha=group["lr"])
            torch._foreach_sub_(parameters, buffers)


def norms_of(tensors: list[Tensor]) -> Tensor:
    """The L2 norms of n tensors, (n)."""
    return torch.stack(torch._foreach_norm(tensors))


def ratios(numerators: Tensor, denominators: Tensor) -> list[Tensor]:
    """The n quotients of two (n) tensors that are not negative, as scalars; 1 where either is 0."""
    both = (numerators > 0) & (denominators > 0)
    return list(torch.where(both, numerators / denominators, 1.0).unbind())
