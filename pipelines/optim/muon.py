"""Muon: momentum whose update is orthogonalised (Jordan et al. 2024), as airbench94_muon uses it on convolutions."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import count

import torch
from torch import Tensor, nn

from kernels.orthogonalize import Polynomial, orthogonalize


class Muon(torch.optim.Optimizer):
    """Steps filters (output channels first, any further dimensions) along the orthogonalised Nesterov momentum.

    Before a step every filter tensor is scaled to a norm of sqrt(output channels), in place of weight decay or beside
    it; `renormalizations` says before which. Filters of one shape are orthogonalised in one batch.

    dtype: what they are orthogonalised in.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter] | list[dict],
        lr: float,
        momentum: float,
        polynomials: Sequence[Polynomial],
        renormalize_every: int = 1,
        renormalize_growth: float = 0.0,
        weight_decay: float = 0.0,
        dtype: torch.dtype = torch.bfloat16,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "polynomials": tuple(polynomials),
            "weight_decay": weight_decay,
        }
        super().__init__(params, defaults)
        self._renormalize = (renormalize_every, renormalize_growth)
        self._dtype = dtype

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """One step over all groups; parameters without a gradient are left alone."""
        if not self.state:  # it is new, or made to forget
            self._renormalizations = renormalizations(*self._renormalize)
        is_due = next(self._renormalizations)
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not parameters:
                continue
            if is_due:
                renormalize(parameters)
            updates = self._nesterov(parameters, group["momentum"])
            matrices = [as_matrix(update) for update in updates]
            directions = orthogonalize(matrices, group["polynomials"], self._dtype)
            torch._foreach_copy_(matrices, directions)  # into the updates, in their dtype
            torch._foreach_add_(parameters, updates, alpha=-group["lr"])
            if group["weight_decay"]:
                torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])

    def _nesterov(self, parameters: list[nn.Parameter], momentum: float) -> list[Tensor]:
        gradients = [parameter.grad for parameter in parameters]
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        buffers = [self.state[parameter]["momentum_buffer"] for parameter in parameters]
        buffers = torch._foreach_add(gradients, buffers, alpha=momentum)  # in one pass; in place it takes two
        for parameter, buffer in zip(parameters, buffers, strict=True):
            self.state[parameter]["momentum_buffer"] = buffer
        return torch._foreach_add(gradients, buffers, alpha=momentum)


def renormalizations(every: int, growth: float) -> Iterator[bool]:
    """For each step, whether the filters are renormalised: when `every` plus `growth` times the steps done, rounded
    down, have gone by since the last time."""
    last = 0
    for step in count(1):
        is_due = step - last >= every + int(growth * step)
        last = step if is_due else last
        yield is_due


def renormalize(parameters: list[nn.Parameter]) -> None:
    """Scale each tensor to a norm of sqrt(its first dimension), in place."""
    excess = torch._foreach_norm(parameters)
    torch._foreach_div_(excess, [len(parameter) ** 0.5 for parameter in parameters])
    for parameter, factor in zip(parameters, excess, strict=True):
        parameter.div_(factor)


def as_matrix(filters: Tensor) -> Tensor:
    """Filters, output channels first, as a view of one row for each: (outputs, everything else).

    The columns come as they lie in memory: to orthogonalise them in another order would give the same in that order.
    """
    if filters.dim() == 4 and filters.is_contiguous(memory_format=torch.channels_last):
        filters = filters.permute(0, 2, 3, 1)
    return filters.view(len(filters), -1)
