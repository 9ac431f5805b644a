"""Optimizers from the recipe's knobs, and the learning rates of every step."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pipelines.optim.lamb import LAMB
from pipelines.optim.lars import LARS
from pipelines.optim.lr_scaling import scaled
from pipelines.optim.muon import Muon
from pipelines.optim.parameter_groups import (
    FILTER,
    VECTORS,
    WHITENING_BIAS,
    Trained,
    bias_rates,
    depth_rates,
    depths,
    muon_rates,
    parameter_groups,
    role_of,
    trust_ratio_rates,
)
from pipelines.optim.schedules import ScheduleFunction, make_schedule, whitening_bias_schedule
from pipelines.optim.tensor_lists import cast
from pipelines.recipe import Recipe
from pipelines.recipe import optimizers as recipe_optimizers

Optimizers = list[torch.optim.Optimizer]


def sgd(trained: list[Trained], knobs: recipe_optimizers.SGD, scale: int) -> Optimizers:
    groups = parameter_groups(trained, depth_rates(knobs), scale)
    return [torch.optim.SGD(groups, momentum=knobs.momentum, nesterov=knobs.nesterov, fused=True)]


def adam(trained: list[Trained], knobs: recipe_optimizers.Adam, scale: int) -> Optimizers:
    groups = parameter_groups(trained, depth_rates(knobs))
    return [torch.optim.Adam(groups, betas=knobs.betas, eps=knobs.eps, fused=True)]


def adamw(trained: list[Trained], knobs: recipe_optimizers.AdamW, scale: int) -> Optimizers:
    groups = parameter_groups(trained, depth_rates(knobs))
    return [torch.optim.AdamW(groups, betas=knobs.betas, eps=knobs.eps, fused=True)]


def rmsprop(trained: list[Trained], knobs: recipe_optimizers.RMSProp, scale: int) -> Optimizers:
    groups = parameter_groups(trained, bias_rates(knobs))
    options = {"alpha": knobs.alpha, "eps": knobs.eps, "momentum": knobs.momentum, "centered": knobs.centered}
    return [torch.optim.RMSprop(groups, foreach=True, **options)]


def adadelta(trained: list[Trained], knobs: recipe_optimizers.Adadelta, scale: int) -> Optimizers:
    groups = parameter_groups(trained, bias_rates(knobs))
    return [torch.optim.Adadelta(groups, rho=knobs.rho, eps=knobs.eps, foreach=True)]


def lars(trained: list[Trained], knobs: recipe_optimizers.LARS, scale: int) -> Optimizers:
    return [LARS(trust_ratio_groups(trained, knobs), momentum=knobs.momentum, trust=knobs.trust)]


def lamb(trained: list[Trained], knobs: recipe_optimizers.LAMB, scale: int) -> Optimizers:
    return [LAMB(trust_ratio_groups(trained, knobs), betas=knobs.betas, eps=knobs.eps)]


def trust_ratio_groups(trained: list[Trained], knobs: recipe_optimizers.TrustRatio) -> list[dict]:
    groups = parameter_groups(trained, trust_ratio_rates(knobs))
    return [group | {"adaptive": group["role"] not in VECTORS} for group in groups]


def muon(trained: list[Trained], knobs: recipe_optimizers.Muon, scale: int) -> Optimizers:
    filters = [one.parameter for one in trained if one.role == FILTER]
    others = parameter_groups([one for one in trained if one.role != FILTER], muon_rates(knobs), scale)
    group = {"params": filters, "role": FILTER, "base_lr": knobs.lr}  # its rate knows no scale of gradients
    return [
        Muon(
            [group],
            knobs.lr,
            knobs.momentum,
            knobs.steps,
            knobs.coefficients,
            knobs.renormalize_every,
            knobs.renormalize_growth,
            knobs.filter_decay,
        ),
        torch.optim.SGD(others, momentum=knobs.sgd_momentum, nesterov=True, fused=True),
    ]


OPTIMIZERS: dict[str, Callable[[list[Trained], Any, int], Optimizers]] = {
    "sgd": sgd,
    "adamw": adamw,
    "muon": muon,
    "adam": adam,
    "rmsprop": rmsprop,
    "adadelta": adadelta,
    "lars": lars,
    "lamb": lamb,
}
"""from the parameters, the knobs, and how many times the gradient of the mean loss the optimizer sees"""


def gradient_scale(recipe: Recipe, local_batch_size: int, dtype: torch.dtype) -> int:
    """How many times the gradient of the mean loss the gradients are, in which the processes average theirs.

    dtype: of the weights. In float16 the gradients of a mean loss would be too small for its range, so they are those
    of the summed loss, whatever the recipe minimises.
    """
    return local_batch_size if recipe.loss.reduction == "sum" or dtype == torch.float16 else 1


def make_stepper(
    network: nn.Module, recipe: Recipe, *, local_batch_size: int, steps: int, steps_per_epoch: int
) -> "ScheduledOptimizer":
    """The recipe's optimizer over the parameters of `network` that are trained, with every step's learning rates."""
    depth_of = depths(network)
    parameters = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
    trained, pairs = [], []
    for name, parameter in parameters.items():
        master = parameter
        if needs_master(recipe, parameter.dtype):
            master = nn.Parameter(parameter.detach().float())
            pairs.append((parameter, master))
        trained.append(Trained(master, role_of(network, name), depth_of[name]))
    is_float16 = any(parameter.dtype == torch.float16 for parameter in parameters.values())
    scale = gradient_scale(recipe, local_batch_size, torch.float16 if is_float16 else torch.float32)
    # rates of SGD know the scale; for the others it is divided out of the gradients' float32 copies
    is_divided_out = isinstance(recipe.optimizer, recipe_optimizers.SCALE_FREE)
    assert recipe.loss.reduction == "mean" or not is_divided_out
    optimizers = OPTIMIZERS[recipe.optimizer.name](trained, recipe.optimizer, 1 if is_divided_out else scale)
    factors = {
        role: lr_factors(schedule_of(recipe, role), steps, steps_per_epoch) for role in {t.role for t in trained}
    }
    if recipe.loss.scaling == "dynamic":
        return DynamicStepper(optimizers, factors, pairs)
    loss_scale = scale if recipe.loss.reduction == "mean" else 1
    if pairs:
        return MasterStepper(optimizers, factors, pairs, loss_scale, divisor=scale if is_divided_out else 1)
    return ScheduledOptimizer(optimizers, factors, loss_scale)


def needs_master(recipe: Recipe, dtype: torch.dtype) -> bool:
    """Whether parameters of this dtype are trained through float32 copies of themselves.

    bfloat16 has too few bits for SGD's small updates; float16 has too small a range for the squares of gradients, and
    torch's GradScaler takes none in it.
    """
    wants_float32 = isinstance(recipe.optimizer, recipe_optimizers.SCALE_FREE) or recipe.loss.scaling == "dynamic"
    return dtype == torch.bfloat16 or (dtype == torch.float16 and wants_float32)


def schedule_of(recipe: Recipe, role: str) -> ScheduleFunction:
    """The factor on the learning rate of a role as a function of the epochs done."""
    own = recipe.techniques.whitening_bias
    is_own = role == WHITENING_BIAS and own and own.decay
    return scaled(whitening_bias_schedule(own) if is_own else make_schedule(recipe), recipe)


def lr_factors(schedule: ScheduleFunction, steps: int, steps_per_epoch: int) -> list[float]:
    """The factor at each step of a training: step 0 is at 0 epochs, and so on."""
    return [schedule(step / steps_per_epoch) for step in range(steps)]


class ScheduledOptimizer:
    """Optimizers whose learning rates come from tables, one factor a step for each role."""

    def __init__(
        self, optimizers: Sequence[torch.optim.Optimizer], factors: dict[str, list[float]], loss_scale: float = 1.0
    ) -> None:
        self.optimizers = optimizers
        self._groups = [(group, factors[group["role"]]) for one in optimizers for group in one.param_groups]
        # the gradient of the loss itself, which torch would make anew at every step
        self._seed = torch.full((), loss_scale, device=self._groups[0][0]["params"][0].device)

    def backward(self, loss: Tensor) -> None:
        """Leave the gradients of the loss, times the scale that `step` expects, in the parameters."""
        loss.backward(self._seed.to(loss.dtype))

    def step(self, step: int) -> None:
        """Step number `step` of the training, from 0; gradients are dropped."""
        for group, factors in self._groups:
            group["lr"] = group["base_lr"] * factors[step]
        self._update()
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)

    def _update(self) -> None:
        for optimizer in self.optimizers:
            optimizer.step()

    def scale_rates(self, factor: float) -> None:
        """From the next step on, every learning rate is this times what it would have been."""
        for group, _ in self._groups:
            group["base_lr"] *= factor

    def averageable(self, network: nn.Module) -> list[Tensor]:
        """What an average is taken over: the network's floating-point parameters and buffers, in full precision."""
        return [tensor for tensor in network.state_dict().values() if tensor.is_floating_point()]

    def publish(self) -> None:
        """Carry changes of the averageable tensors into the network."""

    def reset(self) -> None:
        """Begin anew from the network as it is now, every momentum forgotten."""
        for optimizer in self.optimizers:
            optimizer.state.clear()


class WrappedOptimizer(ScheduledOptimizer):
    """Stands between the loop and another stepper: what it does not do itself, that one does."""

    def __init__(self, inner: ScheduledOptimizer) -> None:
        self.inner = inner
        self.optimizers = inner.optimizers
        self.backward, self.scale_rates, self.averageable = inner.backward, inner.scale_rates, inner.averageable
        self.publish, self.reset = inner.publish, inner.reset


class MasterStepper(ScheduledOptimizer):
    """Steps float32 masters of half-precision parameters.

    pairs: (parameter, its float32 master); divisor: of the gradients, once they are float32. Mixed precision with
    master weights and a scaled loss: Micikevicius et al. 2018.
    """

    def __init__(
        self,
        optimizers: Sequence[torch.optim.Optimizer],
        factors: dict[str, list[float]],
        pairs: list[tuple[nn.Parameter, nn.Parameter]],
        loss_scale: float = 1.0,
        divisor: float = 1.0,
    ) -> None:
        super().__init__(optimizers, factors, loss_scale)
        self._divisor = divisor
        self.pairs = pairs
        self.parameters = [parameter for parameter, _ in pairs]
        self.masters = [master for _, master in pairs]

    def step(self, step: int) -> None:
        trained = [(parameter, master) for parameter, master in self.pairs if parameter.grad is not None]
        gradients = cast([parameter.grad for parameter, _ in trained], torch.float32)
        for (parameter, master), gradient in zip(trained, gradients, strict=True):
            parameter.grad, master.grad = None, gradient
        super().step(step)
        self.publish()

    def averageable(self, network: nn.Module) -> list[Tensor]:
        masters = dict(zip(self.parameters, self.masters, strict=True))
        tensors = network.state_dict(keep_vars=True).values()
        return [masters.get(tensor, tensor).detach() for tensor in tensors if tensor.is_floating_point()]

    @torch.no_grad()
    def reset(self) -> None:
        super().reset()
        torch._foreach_copy_(self.masters, self.parameters)

    @torch.no_grad()
    def publish(self) -> None:
        torch._foreach_copy_(self.parameters, self.masters)

    def _update(self) -> None:
        if self._divisor != 1:
            torch._foreach_div_(
                [p.grad for group, _ in self._groups for p in group["params"] if p.grad is not None], self._divisor
            )
        super()._update()


class DynamicStepper(MasterStepper):
    """Leaves out steps whose gradients are not finite, and lowers the scale of the loss after them: torch's GradScaler.

    On CUDA, optimizers that are not torch's fused ones wait for the device at each step.
    """

    def __init__(
        self,
        optimizers: Sequence[torch.optim.Optimizer],
        factors: dict[str, list[float]],
        pairs: list[tuple[nn.Parameter, nn.Parameter]],
    ) -> None:
        super().__init__(optimizers, factors, pairs)
        self.scaler = torch.amp.GradScaler(self._seed.device.type)
        self._overflows = torch.zeros((), device=self._seed.device)

    def note(self) -> dict[str, float]:
        """Steps of an optimizer that were left out, and the scale now. Waits for the device."""
        return {"overflows": int(self._overflows), "scale": self.scaler.get_scale()}

    def backward(self, loss: Tensor) -> None:
        self.scaler.scale(loss).backward()

    def _update(self) -> None:
        for optimizer in self.optimizers:
            self.scaler.unscale_(optimizer)
            self._overflows += sum(self.scaler._found_inf_per_device(optimizer).values())
            self.scaler.step(optimizer)
        self.scaler.update()
