"""Optimizers from the recipe's knobs: what each parameter is to them, its rate, decay and schedule."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from pipelines.models.layers import PatchWhitening
from pipelines.muon import Muon as MuonOptimizer
from pipelines.recipe import Recipe
from pipelines.recipe.optimizers import SGD, AdamW, Muon, Optimizer
from pipelines.schedules import ScheduleFunction, make_schedule, whitening_bias_schedule

WEIGHT, FILTER, HEAD, BIAS, WHITENING_BIAS = "weight", "filter", "head", "bias", "whitening_bias"
Roles = dict[str, list[nn.Parameter]]


def role_of(network: nn.Module, name: str) -> str:
    """What a parameter is to the optimizer: every recipe's groups are made of these."""
    parameter = network.get_parameter(name)
    if name.endswith("bias"):
        module = network.get_submodule(name.rpartition(".")[0])
        return WHITENING_BIAS if isinstance(module, PatchWhitening) else BIAS
    if name == "head.weight":
        return HEAD
    return FILTER if parameter.ndim == 4 else WEIGHT


def rates(knobs: Optimizer) -> dict[str, tuple[float, float]]:
    """Learning rate and weight decay of each role, for the mean loss."""
    if isinstance(knobs, Muon):
        by_rate = {BIAS: knobs.bias_lr, WHITENING_BIAS: knobs.bias_lr, HEAD: knobs.head_lr, WEIGHT: knobs.bias_lr}
        return {FILTER: (knobs.lr, 0.0)} | {role: (lr, knobs.decay / lr) for role, lr in by_rate.items()}
    plain = (knobs.lr, knobs.weight_decay)
    bias = (knobs.lr * knobs.bias_lr_factor, knobs.weight_decay * knobs.bias_weight_decay_factor)
    return {WEIGHT: plain, FILTER: plain, HEAD: plain, WHITENING_BIAS: plain, BIAS: bias}


def parameter_groups(roles: Roles, knobs: Optimizer, gradient_scale: int) -> list[dict]:
    """One group a role, as torch's optimizers take them.

    `gradient_scale` is how many times the gradient of the mean loss the optimizer sees (the batch of one process under
    `loss.reduction: sum`, since DDP takes the mean over the processes): rate and decay are divided and multiplied by
    it, so that the weights take the same path.
    """
    groups = []
    for role, parameters in roles.items():
        lr, decay = rates(knobs)[role]
        lr, decay = lr / gradient_scale, decay * gradient_scale
        groups.append({"params": parameters, "role": role, "lr": lr, "base_lr": lr, "weight_decay": decay})
    return groups


def sgd(roles: Roles, knobs: SGD, scale: int) -> list[torch.optim.Optimizer]:
    groups = parameter_groups(roles, knobs, scale)
    return [torch.optim.SGD(groups, momentum=knobs.momentum, nesterov=knobs.nesterov, fused=True)]


def adamw(roles: Roles, knobs: AdamW, scale: int) -> list[torch.optim.Optimizer]:
    assert scale == 1
    return [torch.optim.AdamW(parameter_groups(roles, knobs, scale), betas=knobs.betas, eps=knobs.eps, fused=True)]


def muon(roles: Roles, knobs: Muon, scale: int) -> list[torch.optim.Optimizer]:
    others = {role: parameters for role, parameters in roles.items() if role != FILTER}
    filters = {"params": roles[FILTER], "role": FILTER, "base_lr": knobs.lr}  # its rate knows no scale of gradients
    return [
        MuonOptimizer([filters], knobs.lr, knobs.momentum, knobs.steps, knobs.coefficients, knobs.renormalize_every),
        torch.optim.SGD(parameter_groups(others, knobs, scale), momentum=knobs.sgd_momentum, nesterov=True, fused=True),
    ]


OPTIMIZERS: dict[str, Callable[..., list[torch.optim.Optimizer]]] = {"sgd": sgd, "adamw": adamw, "muon": muon}


def make_stepper(
    network: nn.Module, recipe: Recipe, *, local_batch_size: int, steps: int, steps_per_epoch: int
) -> "Stepper":
    """The recipe's optimizer over the parameters of `network` that are trained, with every step's learning rates."""
    trained = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
    masters = {
        name: nn.Parameter(parameter.detach().float()) if parameter.dtype == torch.bfloat16 else parameter
        for name, parameter in trained.items()
    }
    roles: Roles = {}
    for name, master in masters.items():
        roles.setdefault(role_of(network, name), []).append(master)
    scale = local_batch_size if recipe.loss.reduction == "sum" else 1
    optimizers = OPTIMIZERS[recipe.optimizer.name](roles, recipe.optimizer, scale)
    factors = {role: lr_factors(schedule_of(recipe, role), steps, steps_per_epoch) for role in roles}
    pairs = [(trained[name], master) for name, master in masters.items() if master is not trained[name]]
    return MasterStepper(optimizers, factors, pairs) if pairs else Stepper(optimizers, factors)


def schedule_of(recipe: Recipe, role: str) -> ScheduleFunction:
    """The factor on the learning rate of a role as a function of the epochs done."""
    own = recipe.techniques.whitening_bias
    return whitening_bias_schedule(own) if role == WHITENING_BIAS and own and own.decay else make_schedule(recipe)


def lr_factors(schedule: ScheduleFunction, steps: int, steps_per_epoch: int) -> list[float]:
    """The factor at each step of a training: step 0 is at 0 epochs, and so on."""
    return [schedule(step / steps_per_epoch) for step in range(steps)]


class Stepper:
    """Optimizers whose learning rates come from tables, one factor a step for each role."""

    def __init__(self, optimizers: Sequence[torch.optim.Optimizer], factors: dict[str, list[float]]) -> None:
        self.optimizers = optimizers
        self._groups = [(group, factors[group["role"]]) for one in optimizers for group in one.param_groups]

    def step(self, step: int) -> None:
        """Step number `step` of the training, from 0; gradients are dropped."""
        for group, factors in self._groups:
            group["lr"] = group["base_lr"] * factors[step]
        for optimizer in self.optimizers:
            optimizer.step()
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)

    def averageable(self, network: nn.Module) -> list[Tensor]:
        """What an average is taken over: the network's floating-point parameters and buffers, in full precision."""
        return [tensor for tensor in network.state_dict().values() if tensor.is_floating_point()]

    def publish(self) -> None:
        """Carry changes of the averageable tensors into the network."""


class MasterStepper(Stepper):
    """Steps float32 masters of bfloat16 parameters, whose 8 bits would lose most of SGD's small updates.

    pairs: (bfloat16 parameter, its float32 master). Mixed precision with master weights: Micikevicius et al. 2018.
    """

    def __init__(
        self,
        optimizers: Sequence[torch.optim.Optimizer],
        factors: dict[str, list[float]],
        pairs: list[tuple[nn.Parameter, nn.Parameter]],
    ) -> None:
        super().__init__(optimizers, factors)
        self.parameters = [parameter for parameter, _ in pairs]
        self.masters = [master for _, master in pairs]

    def step(self, step: int) -> None:
        for parameter, master in zip(self.parameters, self.masters, strict=True):
            master.grad = None if parameter.grad is None else parameter.grad.float()
            parameter.grad = None
        super().step(step)
        self.publish()

    def averageable(self, network: nn.Module) -> list[Tensor]:
        masters = {p.data_ptr(): master.detach() for p, master in zip(self.parameters, self.masters, strict=True)}
        return [masters.get(tensor.data_ptr(), tensor) for tensor in super().averageable(network)]

    @torch.no_grad()
    def publish(self) -> None:
        torch._foreach_copy_(self.parameters, self.masters)
