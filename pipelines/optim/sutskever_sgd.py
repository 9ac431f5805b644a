"""SGD with momentum as Sutskever, Martens, Dahl & Hinton 2013 write it: the learning rate is inside the momentum."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from pipelines.optim.tensor_lists import by_dtype

BROKEN = {("cpu", torch.float16), ("cpu", torch.bfloat16)}
"""as of torch 2.13; recipes train float32 masters of them there"""
SMALLEST = 2.0**-127
"""rates under it count as 0"""


class SutskeverSGD(torch.optim.Optimizer):
    """v ← momentum v + u with u = lr (g + decay w), then w ← w - u - momentum v (Nesterov) or w ← w - v.

    torch.optim.SGD keeps the learning rate out of v, so that a new one acts on all of the past gradients at once. Its
    fused kernel does the step nevertheless. The rate is split into a fraction in [0.5, 1) and a power of two. The
    kernel divides the gradients by the power, as by the scale of a loss, which is exact; the fraction is its learning
    rate, and the buffer holds v / fraction. A buffer is multiplied where the fraction has changed; its range is that of
    v.
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
        kinds = {(one.device.type, one.dtype) for group in self.param_groups for one in group["params"]}
        assert not kinds & BROKEN, "torch's fused SGD skips elements of half-precision tensors on a CPU"
        device = self.param_groups[0]["params"][0].device
        self._powers = (torch.arange(256, dtype=torch.int32, device=device) << 23).view(torch.float32)
        """2^(i - 127) at i, by the bits of float32, from 1 on; infinity at 255"""

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """One step over all groups. Leaves parameters without a gradient alone; changes the gradients."""
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not parameters:
                continue
            fraction, exponent = split(group["lr"])
            divisor = self._powers[127 - int(max(exponent, -128))]
            states = [self.state[parameter] for parameter in parameters]
            for parameter, state in zip(parameters, states, strict=True):
                if not state:
                    state |= {"momentum_buffer": torch.zeros_like(local(parameter)), "fraction": fraction}
            for ratio in {state["fraction"] / fraction for state in states} - {1.0}:
                stale = [state["momentum_buffer"] for state in states if state["fraction"] / fraction == ratio]
                for (buffers,) in by_dtype(stale):
                    torch._foreach_mul_(buffers, ratio)
            for state in states:
                state["fraction"] = fraction
            gradients = [local(parameter.grad) for parameter in parameters]
            buffers = [state["momentum_buffer"] for state in states]
            for lists in by_dtype([local(parameter) for parameter in parameters], gradients, buffers):
                torch._fused_sgd_(
                    *lists,
                    weight_decay=group["weight_decay"] * 2.0**exponent,
                    momentum=group["momentum"],
                    lr=fraction,
                    dampening=0.0,
                    nesterov=group["nesterov"],
                    maximize=False,
                    is_first_step=False,
                    grad_scale=divisor,
                )


def split(rate: float) -> tuple[float, float]:
    """A fraction in [0.5, 1) and an exponent of 2; 0 is 0.5 times 2 to the minus infinity."""
    return math.frexp(rate) if rate >= SMALLEST else (0.5, -math.inf)


def local(tensor: Tensor) -> Tensor:
    """This process's shard of a DTensor, which has no fused SGD (torch 2.13); any other tensor as it is."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor
