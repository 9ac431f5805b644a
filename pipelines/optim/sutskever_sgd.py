"""SGD with momentum as Sutskever, Martens, Dahl & Hinton 2013 write it: the learning rate is inside the momentum."""

from collections.abc import Iterable

import torch
from torch import nn


class SutskeverSGD(torch.optim.Optimizer):
    """u = -lr (g + decay w), v ← momentum v + u, w ← w + u + momentum v (Nesterov) or w ← w + v.

    torch.optim.SGD keeps the learning rate out of v, so that a new one acts on all of the past gradients at once.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter] | list[dict],
        lr: float,
        momentum: float,
        weight_decay: float = 0.0,
        *,
        nesterov: bool = True,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "nesterov": nesterov}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """One step over all groups; parameters without a gradient are left alone."""
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not parameters:
                continue
            for parameter in parameters:
                if not self.state[parameter]:
                    self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
            buffers = [self.state[parameter]["momentum_buffer"] for parameter in parameters]
            gradients = [parameter.grad for parameter in parameters]
            updates = torch._foreach_add(gradients, parameters, alpha=group["weight_decay"])
            torch._foreach_mul_(updates, -group["lr"])
            torch._foreach_mul_(buffers, group["momentum"])
            torch._foreach_add_(buffers, updates)
            if group["nesterov"]:
                torch._foreach_add_(updates, buffers, alpha=group["momentum"])
                torch._foreach_add_(parameters, updates)
            else:
                torch._foreach_add_(parameters, buffers)
