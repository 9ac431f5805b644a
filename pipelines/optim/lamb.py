"""LAMB: Adam whose steps are in proportion to the norms of the weights (You et al. 2020, algorithm 2)."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from pipelines.optim.lars import norms_of, ratios


class LAMB(torch.optim.Optimizer):
    """w ← w - lr r u, with Adam's direction and the decay in u = m / (sqrt(v) + eps) + decay w, m and v without their
    bias towards 0, and the ratio r = |w| / |u| of each tensor.

    r is 1 where |w| or |u| is 0, and in groups with `adaptive: False`, which are for biases and norms.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter] | list[dict],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "adaptive": True})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """One step over all groups; parameters without a gradient are left alone."""
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not parameters:
                continue
            updates = self._adam(parameters, group["betas"], group["eps"])
            torch._foreach_add_(updates, parameters, alpha=group["weight_decay"])
            if group["adaptive"]:
                torch._foreach_mul_(updates, ratios(norms_of(parameters), norms_of(updates)))
            torch._foreach_add_(parameters, updates, alpha=-group["lr"])

    def _adam(self, parameters: list[nn.Parameter], betas: tuple[float, float], eps: float) -> list[Tensor]:
        for parameter in parameters:
            if not self.state[parameter]:
                zeros = {key: torch.zeros_like(parameter) for key in ("exp_avg", "exp_avg_sq")}
                self.state[parameter] |= {"step": 0, **zeros}
            self.state[parameter]["step"] += 1
        states = [self.state[parameter] for parameter in parameters]
        gradients = [parameter.grad for parameter in parameters]
        means, squares = ([state[key] for state in states] for key in ("exp_avg", "exp_avg_sq"))
        torch._foreach_lerp_(means, gradients, 1 - betas[0])
        torch._foreach_mul_(squares, betas[1])
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - betas[1])
        denominators = torch._foreach_sqrt(squares)
        torch._foreach_div_(denominators, [(1 - betas[1] ** state["step"]) ** 0.5 for state in states])
        torch._foreach_add_(denominators, eps)
        directions = torch._foreach_div(means, [1 - betas[0] ** state["step"] for state in states])
        torch._foreach_div_(directions, denominators)
        return list(directions)
