"""The optimizers, and the learning rates of every step."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from kernels.orthogonalize import POLAR_EXPRESS, Polynomial
from pipelines.host.devices import has_bfloat16
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
from pipelines.optim.scheduled_optimizer import GradScalerOptimizer, MasterWeightOptimizer, ScheduledOptimizer
from pipelines.optim.schedules import ScheduleFunction, make_schedule, whitening_bias_schedule
from pipelines.optim.sutskever_sgd import SutskeverSGD
from pipelines.recipe import Recipe
from pipelines.recipe import optimizers as recipe_optimizers

Optimizers = list[torch.optim.Optimizer]


def sgd(trained: list[Trained], config: recipe_optimizers.SGD, scale: int) -> Optimizers:
    groups = parameter_groups(trained, depth_rates(config), scale)
    if config.momentum_convention == "sutskever":
        return [SutskeverSGD(groups, config.lr, config.momentum, nesterov=config.nesterov)]
    return [torch.optim.SGD(groups, momentum=config.momentum, nesterov=config.nesterov, fused=True)]


def adam(trained: list[Trained], config: recipe_optimizers.Adam, scale: int) -> Optimizers:
    groups = parameter_groups(trained, depth_rates(config))
    return [torch.optim.Adam(groups, betas=config.betas, eps=config.eps, fused=True)]


def adamw(trained: list[Trained], config: recipe_optimizers.AdamW, scale: int) -> Optimizers:
    groups = parameter_groups(trained, depth_rates(config))
    return [torch.optim.AdamW(groups, betas=config.betas, eps=config.eps, fused=True)]


def rmsprop(trained: list[Trained], config: recipe_optimizers.RMSProp, scale: int) -> Optimizers:
    groups = parameter_groups(trained, bias_rates(config))
    options = {"alpha": config.alpha, "eps": config.eps, "momentum": config.momentum, "centered": config.centered}
    return [torch.optim.RMSprop(groups, foreach=True, **options)]


def adadelta(trained: list[Trained], config: recipe_optimizers.Adadelta, scale: int) -> Optimizers:
    groups = parameter_groups(trained, bias_rates(config))
    return [torch.optim.Adadelta(groups, rho=config.rho, eps=config.eps, foreach=True)]


def lars(trained: list[Trained], config: recipe_optimizers.LARS, scale: int) -> Optimizers:
    return [LARS(trust_ratio_groups(trained, config), momentum=config.momentum, trust=config.trust)]


def lamb(trained: list[Trained], config: recipe_optimizers.LAMB, scale: int) -> Optimizers:
    return [LAMB(trust_ratio_groups(trained, config), betas=config.betas, eps=config.eps)]


def trust_ratio_groups(trained: list[Trained], config: recipe_optimizers.TrustRatio) -> list[dict]:
    groups = parameter_groups(trained, trust_ratio_rates(config))
    return [group | {"adaptive": group["role"] not in VECTORS} for group in groups]


def muon(trained: list[Trained], config: recipe_optimizers.Muon, scale: int) -> Optimizers:
    filters = [one.parameter for one in trained if one.role == FILTER]
    others = parameter_groups([one for one in trained if one.role != FILTER], muon_rates(config), scale)
    group = {"params": filters, "role": FILTER, "base_lr": config.lr}  # its rate knows no scale of gradients
    return [
        Muon(
            [group],
            config.lr,
            config.momentum,
            polynomials(config),
            config.renormalize_every,
            config.renormalize_growth,
            config.filter_decay,
            orthogonalization_dtype(trained[0].parameter.device),
        ),
        # without momentum, Nesterov's form is the plain one, and torch refuses to be asked for it
        torch.optim.SGD(others, momentum=config.sgd_momentum, nesterov=config.sgd_momentum > 0, fused=True),
    ]


def orthogonalization_dtype(device: torch.device) -> torch.dtype:
    """bfloat16, as published; float32 where the device would emulate bfloat16, which is much slower."""
    return torch.bfloat16 if has_bfloat16(device) else torch.float32


def polynomials(config: recipe_optimizers.Muon) -> list[Polynomial]:
    """One for each Newton-Schulz iteration."""
    given = POLAR_EXPRESS if config.coefficients == "polar_express" else [config.coefficients]
    return [given[min(step, len(given) - 1)] for step in range(config.steps)]


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
"""from the parameters, the configuration, and how many times the gradient of the mean loss the optimizer sees"""


def gradient_scale(recipe: Recipe, local_batch_size: int, dtype: torch.dtype) -> int:
    """How many times the gradient of the mean loss the gradients are, in which the processes average theirs.

    dtype: of the weights. In float16 the gradients of a mean loss would be too small for its range, so they are those
    of the summed loss, whatever the recipe minimises; unless torch's GradScaler scales them, which divides its own
    scale out before each step.
    """
    if recipe.loss.scaling == "dynamic":
        return 1
    return local_batch_size if recipe.loss.reduction == "sum" or dtype == torch.float16 else 1


def make_optimizer(
    network: nn.Module, recipe: Recipe, *, local_batch_size: int, steps: int, steps_per_epoch: int
) -> ScheduledOptimizer:
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
    is_divided_out = recipe.optimizer.scale_free
    assert recipe.loss.reduction == "mean" or not is_divided_out
    optimizers = OPTIMIZERS[recipe.optimizer.name](trained, recipe.optimizer, 1 if is_divided_out else scale)
    factors = {
        role: lr_factors(schedule_of(recipe, role), steps, steps_per_epoch, recipe.schedule.first_step)
        for role in {t.role for t in trained}
    }
    if recipe.loss.scaling == "dynamic":
        return GradScalerOptimizer(optimizers, factors, pairs)
    loss_scale = scale if recipe.loss.reduction == "mean" else 1
    if pairs:
        return MasterWeightOptimizer(optimizers, factors, pairs, loss_scale, divisor=scale if is_divided_out else 1)
    return ScheduledOptimizer(optimizers, factors, loss_scale)


def needs_master(recipe: Recipe, dtype: torch.dtype) -> bool:
    """Whether parameters of this dtype are trained through float32 copies of themselves.

    bfloat16 has too few bits for SGD's small updates; float16 has too small a range for the squares of gradients, and
    torch's GradScaler takes none in it.
    """
    wants_float32 = recipe.optimizer.scale_free or recipe.loss.scaling == "dynamic"
    return dtype == torch.bfloat16 or (dtype == torch.float16 and wants_float32)


def schedule_of(recipe: Recipe, role: str) -> ScheduleFunction:
    """The factor on the learning rate of a role as a function of the epochs done."""
    own = recipe.techniques.whitening_bias
    is_own = role == WHITENING_BIAS and own and own.decay
    return scaled(whitening_bias_schedule(own) if is_own else make_schedule(recipe), recipe)


def lr_factors(schedule: ScheduleFunction, steps: int, steps_per_epoch: int, first_step: int = 0) -> list[float]:
    """The factor at each step of a training: the first one is `first_step` steps after the schedule's start."""
    return [schedule(step / steps_per_epoch) for step in range(first_step, first_step + steps)]
